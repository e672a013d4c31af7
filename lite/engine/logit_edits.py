"""What a request changes about the logits of its next token, as arrays that are ready each step."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from lite.messages import SamplingSpec

IntArray = npt.NDArray[np.int32]
# Token ids, each once; occurrences in the output; whether in the prompt; bias.
Edits = tuple[IntArray, IntArray, npt.NDArray[np.uint8], npt.NDArray[np.float32]]

_NONE: IntArray = np.empty(0, np.int32)


class Penalties:
    """Penalties and biases of one sequence: parallel arrays, one place for each token id.

    PERF: arrays that grow, since a request may name the whole vocabulary.
    """

    def __init__(self, spec: SamplingSpec, prompt_token_ids: IntArray) -> None:
        bias = spec.logit_bias or {}
        in_prompt = np.unique(prompt_token_ids) if spec.repetition_penalty != 1.0 else _NONE
        biased = np.fromiter(bias, np.int32, len(bias))
        ids = np.union1d(in_prompt, biased).astype(np.int32)
        self._size = ids.size
        self._ids = ids
        self._counts = np.zeros(ids.size, np.int32)
        self._in_prompt = np.zeros(ids.size, np.uint8)
        self._in_prompt[np.searchsorted(ids, in_prompt)] = 1
        self._bias = np.zeros(ids.size, np.float32)
        self._bias[np.searchsorted(ids, biased)] = np.fromiter(bias.values(), np.float32, len(bias))
        self._counts_output = (
            spec.repetition_penalty != 1.0
            or spec.presence_penalty != 0.0
            or spec.frequency_penalty != 0.0
        )
        self._places: dict[int, int] = {}
        if self._counts_output:
            self._places.update(zip(ids.tolist(), range(ids.size), strict=True))

    def append(self, token_id: int) -> None:
        """Take note of a sampled token."""
        if not self._counts_output:
            return
        place = self._places.setdefault(token_id, self._size)
        if place == self._size:
            if place == self._ids.size:
                self._grow()
            self._ids[place] = token_id
            self._size += 1
        self._counts[place] += 1

    def _grow(self) -> None:
        more = max(16, self._size)
        self._ids = np.pad(self._ids, (0, more))
        self._counts = np.pad(self._counts, (0, more))
        self._in_prompt = np.pad(self._in_prompt, (0, more))
        self._bias = np.pad(self._bias, (0, more))

    def arrays(self) -> Edits:
        """Return the edits of the next token, as `Kernels.edit_logits` takes them."""
        size = self._size
        return self._ids[:size], self._counts[:size], self._in_prompt[:size], self._bias[:size]


class BannedTokens:
    """Which token ids may not come next: the ends of bad words, and stop tokens before
    `min_tokens`.

    PERF: words are looked up by the token before their last one.
    """

    def __init__(self, spec: SamplingSpec, prompt_token_ids: IntArray) -> None:
        words = [word for word in spec.bad_words_token_ids if word]
        self._always = _unique(word[0] for word in words if len(word) == 1)
        self._at_first = np.union1d(self._always, _unique(spec.stop_token_ids)).astype(np.int32)
        self._num_at_first = spec.min_tokens
        self._after: dict[int, list[tuple[Sequence[int], int]]] = {}
        for word in words:
            if len(word) > 1:
                self._after.setdefault(word[-2], []).append((word[:-1], word[-1]))
        self._tokens: list[int] = prompt_token_ids.tolist() if self._after else []
        self._num_output_tokens = 0

    def append(self, token_id: int) -> None:
        """Take note of a sampled token."""
        self._num_output_tokens += 1
        if self._after:
            self._tokens.append(token_id)

    def ids(self) -> IntArray:
        """Return the banned token ids, each once."""
        early = self._num_output_tokens < self._num_at_first
        banned = self._at_first if early else self._always
        if not self._after:
            return banned
        tokens = self._tokens
        ends = [
            end
            for prefix, end in self._after.get(tokens[-1], ())
            if tokens[-len(prefix) :] == prefix
        ]
        return np.union1d(banned, _unique(ends)).astype(np.int32) if ends else banned


def _unique(token_ids: Iterable[int]) -> IntArray:
    return np.unique(np.array(list(token_ids), np.int32))
