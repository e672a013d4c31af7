"""Incremental detokenization: the joined deltas equal the full decode of any token id sequence.

Why it holds. With `Pipeline` read off the tokenizer's decoder, the full decode is the concatenation
of what each token contributes, less leading strips, and only the joint stage couples tokens:

- "bytes": UTF-8 decoding with U+FFFD for each maximal malformed part is left to right, and an
  undecided suffix is at most three bytes, so everything before it is final. Those are held.
- "byte_runs": ByteFallback decides a whole run of byte tokens at once: its text if all of it is
  UTF-8, else one U+FFFD a byte. So a run is held while it is well-formed, and from the first
  malformed byte on every byte is U+FFFD at once. Each byte is looked at once.
- "none": every token's text is final when it comes.

Leading strips remove characters until one does not match or the count is used up, which a prefix
of the text decides. Any other decoder falls to `WholeDetokenizer`, which decodes once, at the end.
Work per token is bounded by the token's own length in all three.
"""

from codecs import utf_8_decode
from collections.abc import Callable, Sequence
from typing import Protocol

from lite.text.decoder_pipeline import Pipeline, level_bytes

_REPLACEMENT = "\ufffd"
# What a token contributes after the first: text, bytes that are no UTF-8 by themselves (joint
# "bytes"), the value of a byte token (joint "byte_runs"), or nothing at all.
Piece = str | bytes | int | None


class Detokenizer(Protocol):
    """Turns one output's token ids into text, one at a time."""

    def push(self, token_id: int) -> str:
        """Add a token and return the text that became final."""
        ...

    def finish(self) -> str:
        """Return the rest of the text; nothing may be pushed afterwards."""
        ...


class PieceTable(dict[int, Piece]):
    """Token id -> `Piece`, filled on demand; safe to share between threads.

    Args:
        pipeline: the tokenizer's decoder.
        token_of: returns the token of an id, None where the decode leaves it out (an id out of
            the vocabulary, or a special token that is to be skipped).
    """

    def __init__(self, pipeline: Pipeline, token_of: Callable[[int], str | None]) -> None:
        super().__init__()
        self.pipeline = pipeline
        self._token_of = token_of

    def __missing__(self, token_id: int) -> Piece:
        token = self._token_of(token_id)
        if token is None:  # not kept: such ids are without number
            return None
        piece = self._piece(self.pipeline.before.later(token), first=False)
        self[token_id] = piece
        return piece

    def first(self, token_id: int) -> Piece:
        """Return the piece of a token that opens the text."""
        token = self._token_of(token_id)
        return None if token is None else self._piece(self.pipeline.before.first(token), first=True)

    def _piece(self, token: str, *, first: bool) -> Piece:
        if self.pipeline.joint == "bytes":
            data = level_bytes(token)
            try:
                return data.decode()
            except UnicodeDecodeError:
                return data
        value = self.pipeline.byte_value(token)
        if value is not None:
            return value
        after = self.pipeline.after
        return after.first(token) if first else after.later(token)


class ByteDetokenizer:
    """For joint "bytes": holds back the bytes of an unfinished character, at most three."""

    __slots__ = ("_at_start", "_pending", "_pieces", "_strip")

    def __init__(self, pieces: PieceTable, *, continues_text: bool) -> None:
        self._pieces = pieces
        self._at_start = not continues_text
        self._strip = _LeadingStrips(() if continues_text else pieces.pipeline.strips)
        self._pending = b""

    def push(self, token_id: int) -> str:
        piece = self._pieces.first(token_id) if self._at_start else self._pieces[token_id]
        if piece is None:
            return ""
        self._at_start = False
        if type(piece) is str and not self._pending:
            return self._strip(piece) if self._strip.active else piece
        assert not isinstance(piece, int)
        data = self._pending + (piece.encode() if isinstance(piece, str) else piece)
        text, num_used = utf_8_decode(data, "replace", False)
        self._pending = data[num_used:]
        return self._strip(text)

    def finish(self) -> str:
        data, self._pending = self._pending, b""
        return self._strip(data.decode(errors="replace"))


class ByteRunDetokenizer:
    """For joint "byte_runs" and "none": holds back a well-formed run of byte tokens."""

    __slots__ = ("_at_start", "_pending", "_pieces", "_run", "_run_opens", "_strip", "_valid")

    def __init__(self, pieces: PieceTable, *, continues_text: bool) -> None:
        self._pieces = pieces
        self._at_start = not continues_text
        self._strip = _LeadingStrips(() if continues_text else pieces.pipeline.strips)
        self._run = bytearray()  # the bytes of the current run not yet turned into text
        self._pending = b""  # its undecided suffix, at most three bytes
        self._valid = True  # the current run is UTF-8 so far
        self._run_opens = False  # the text begins with the current run

    def push(self, token_id: int) -> str:
        piece = self._pieces.first(token_id) if self._at_start else self._pieces[token_id]
        if piece is None:
            return ""
        opens, self._at_start = self._at_start, False
        if isinstance(piece, int):
            self._run_opens |= opens
            return self._strip(self._push_byte(piece))
        assert isinstance(piece, str)
        if self._run or not self._valid:
            piece = self._end_run() + piece
        return self._strip(piece) if self._strip.active else piece

    def finish(self) -> str:
        return self._strip(self._end_run())

    def _push_byte(self, value: int) -> str:
        self._run.append(value)
        if self._valid:
            data = self._pending + bytes((value,))
            try:
                _, num_used = utf_8_decode(data, "strict", False)
            except UnicodeDecodeError:
                self._valid = False
            else:
                self._pending = data[num_used:]
                return ""
        return self._replace_run()

    def _replace_run(self) -> str:
        num_bytes = len(self._run)
        self._run.clear()
        text = self._after(_REPLACEMENT) if num_bytes else ""
        return text + self._pieces.pipeline.after.later(_REPLACEMENT) * (num_bytes - 1)

    def _end_run(self) -> str:
        if not self._run:
            text = ""
        elif self._pending or not self._valid:
            text = self._replace_run()
        else:
            text = self._after(self._run.decode())
            self._run.clear()
        self._pending, self._valid, self._run_opens = b"", True, False
        return text

    def _after(self, text: str) -> str:
        after = self._pieces.pipeline.after
        if self._run_opens:
            self._run_opens = False
            return after.first(text)
        return after.later(text)


class WholeDetokenizer:
    """For decoders that are not understood: all text comes from `finish`."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._token_ids: list[int] = []

    def push(self, token_id: int) -> str:
        self._token_ids.append(token_id)
        return ""

    def finish(self) -> str:
        return self._decode(self._token_ids)


class _LeadingStrips:
    """Removes leading characters from a text that comes in parts; `active` until decided."""

    __slots__ = ("_left", "active")

    def __init__(self, strips: Sequence[tuple[str, int]]) -> None:
        self._left = list(strips)
        self.active = bool(strips)

    def __call__(self, text: str) -> str:
        for i, (content, count) in enumerate(self._left):
            num_same = len(text) - len(text.lstrip(content))
            text = text[min(num_same, count) :]
            # Text that follows means that this strip has met a character it leaves alone.
            self._left[i] = (content, 0 if text else count - num_same)
        self.active = any(count for _, count in self._left)
        return text
