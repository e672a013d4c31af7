"""Stop strings: an incremental matcher that never leaks part of a match.

An Aho-Corasick automaton (Aho and Corasick, 1975) over characters: the depth of its state is the
length of the longest suffix of the text that could still become a stop string, which is exactly
what has to be held back.
"""

import re
from collections.abc import Sequence

from lite.errors import InvalidRequestError

# SAFETY: bounds the automaton's memory (some 300 bytes a character) and build time per request.
MAX_STOP_CHARS = 16_384


class StopStrings:
    """The stop strings of one request, compiled; immutable, shared by its outputs and threads.

    Args:
        strings: non-empty stop strings, in any order.

    Raises:
        InvalidRequestError: more than `MAX_STOP_CHARS` characters altogether.
    """

    __slots__ = ("_depth", "_fail", "_first", "_length", "_next", "_strings")

    def __init__(self, strings: Sequence[str]) -> None:
        num_chars = sum(map(len, strings))
        if num_chars > MAX_STOP_CHARS:
            raise InvalidRequestError(
                f"stop has {num_chars} characters in all, the limit is {MAX_STOP_CHARS}: "
                "use fewer or shorter stop strings.",
                param="stop",
            )
        self._strings = tuple(strings)
        self._next: list[dict[str, int]] = [{}]
        self._depth = [0]
        self._length = [0]  # of the longest stop string that ends in this state
        for string in strings:
            self._add(string)
        self._fail = self._link()
        heads = "".join(sorted({string[0] for string in strings}))
        self._first = re.compile(f"[{re.escape(heads)}]") if heads else None

    def __bool__(self) -> bool:
        return bool(self._strings)

    def _add(self, string: str) -> None:
        state = 0
        for char in string:
            following = self._next[state].get(char)
            if following is None:
                following = len(self._next)
                self._next[state][char] = following
                self._next.append({})
                self._depth.append(self._depth[state] + 1)
                self._length.append(0)
            state = following
        self._length[state] = len(string)

    def _link(self) -> list[int]:
        """Return each state's failure link, and complete `_length` along the links."""
        fail = [0] * len(self._next)
        queue = list(self._next[0].values())
        for state in queue:
            if not self._length[state]:
                self._length[state] = self._length[fail[state]]
            for char, following in self._next[state].items():
                link = fail[state]
                while link and char not in self._next[link]:
                    link = fail[link]
                fail[following] = self._next[link].get(char, 0)
                queue.append(following)
        return fail

    def advance(self, state: int, text: str, *, armed: bool) -> tuple[int, int, int]:
        """Read `text` from `state` and return (new state, end, length).

        `end` is how much of `text` was read when a match completed and `length` that of the
        matched string; `end` is -1 without a match, and always when not `armed`.
        """
        if self._first is None:
            return 0, -1, 0
        transitions, fail, lengths = self._next, self._fail, self._length
        position, end = 0, len(text)
        while position < end:
            if state == 0:  # PERF: most text never starts a stop string; scan it in C
                head = self._first.search(text, position)
                if head is None:
                    return 0, -1, 0
                position = head.start()
            char = text[position]
            position += 1
            while state and char not in transitions[state]:
                state = fail[state]
            state = transitions[state].get(char, 0)
            if armed and lengths[state]:
                return 0, position, lengths[state]
        while state and not transitions[state]:  # a complete match that was not wanted
            state = fail[state]
        return state, -1, 0

    def num_held(self, state: int) -> int:
        """Return how many trailing characters could be the beginning of a stop string."""
        return self._depth[state]


class StopMatcher:
    """Finds the first stop string in one output's text, delta by delta.

    The match that completes first wins, and of several that complete at the same character the
    one that starts first (the longest). The result does not depend on how the text is split.

    Args:
        stop_strings: what to look for.
        include: keep the matched stop string in the visible text.
    """

    __slots__ = ("_held", "_include", "_state", "_stop_strings", "matched")

    def __init__(self, stop_strings: StopStrings, *, include: bool = False) -> None:
        self._stop_strings = stop_strings
        self._include = include
        self._state = 0
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str, *, armed: bool = True) -> str:
        """Add text and return what became visible; `matched` is set when a stop string is found.

        Text after the match is dropped. Matches that complete while not `armed` are ignored; one
        that began there and completes later counts.
        """
        if self.matched is not None or not text:
            return ""
        self._state, end, length = self._stop_strings.advance(self._state, text, armed=armed)
        if end < 0:
            num_held = self._stop_strings.num_held(self._state)
            if not num_held and not self._held:
                return text
            text = self._held + text
            visible = len(text) - num_held
            self._held = text[visible:]
            return text[:visible]
        end += len(self._held)
        text = self._held + text
        self._held = ""
        self.matched = text[end - length : end]
        return text[: end if self._include else end - length]

    def finish(self) -> str:
        """Return the text still held back; the output has ended without a match."""
        held, self._held, self._state = self._held, "", 0
        return held
