"""From logits to tokens: per-sequence sampling state, edits, draws and logprobs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lite.messages import SamplingSpec, TokenLogprobs
from lite_kernels import Kernels

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

GREEDY_TEMPERATURE = 1e-5
_MASK32 = 0xFFFFFFFF


@dataclass(slots=True)
class SequenceSampling:
    """Sampling state of one sequence; depends on its own tokens only.

    `token_index` maps the token ids whose logits are edited to their place in the parallel
    lists `counts` (occurrences in the output), `in_prompt` and `bias`.
    """

    spec: SamplingSpec
    key: tuple[int, int]
    num_output_tokens: int = 0
    tail: list[int] = field(default_factory=list)  # last tokens, as long as bad words need
    token_index: dict[int, int] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    in_prompt: list[int] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    penalizes: bool = False
    edits: bool = False
    tail_len: int = 0

    @classmethod
    def start(
        cls, spec: SamplingSpec, seed: int, prompt_token_ids: Sequence[int]
    ) -> "SequenceSampling":
        """Begin a sequence; `seed` is taken modulo 2**64."""
        state = cls(spec=spec, key=(seed & _MASK32, (seed >> 32) & _MASK32))
        state.penalizes = (
            spec.repetition_penalty != 1.0
            or spec.presence_penalty != 0.0
            or spec.frequency_penalty != 0.0
        )
        state.tail_len = max((len(word) - 1 for word in spec.bad_words_token_ids), default=0)
        state.edits = bool(
            state.penalizes or spec.logit_bias or spec.bad_words_token_ids or spec.min_tokens
        )
        if spec.repetition_penalty != 1.0:
            for token_id in sorted(set(prompt_token_ids)):
                state.in_prompt[state._entry(token_id)] = 1
        for token_id, bias in (spec.logit_bias or {}).items():
            state.bias[state._entry(token_id)] = bias
        if state.tail_len:
            state.tail = list(prompt_token_ids[-state.tail_len :])
        return state

    def _entry(self, token_id: int) -> int:
        index = self.token_index.get(token_id)
        if index is None:
            index = self.token_index[token_id] = len(self.counts)
            self.counts.append(0)
            self.in_prompt.append(0)
            self.bias.append(0.0)
        return index

    def append(self, token_id: int) -> None:
        """Take note of a sampled token."""
        self.num_output_tokens += 1
        if self.penalizes:
            self.counts[self._entry(token_id)] += 1
        if self.tail_len:
            self.tail = [*self.tail, token_id][-self.tail_len :]

    def banned(self) -> list[int]:
        """Return the token ids that may not come next."""
        ids: list[int] = []
        if self.num_output_tokens < self.spec.min_tokens:
            ids.extend(self.spec.stop_token_ids)
        for word in self.spec.bad_words_token_ids:
            prefix = word[:-1]
            if not prefix or self.tail[-len(prefix) :] == prefix:
                ids.append(word[-1])
        return ids

    def edit_lists(self) -> tuple[list[int], list[int], list[int], list[float]]:
        """Return ids, counts, in_prompt and bias of this step, ids unique."""
        ids = list(self.token_index)
        banned = self.banned()
        if not banned:
            return ids, self.counts, self.in_prompt, self.bias
        counts, in_prompt, bias = list(self.counts), list(self.in_prompt), list(self.bias)
        extra: set[int] = set()
        for token_id in banned:
            index = self.token_index.get(token_id)
            if index is not None:
                bias[index] = -np.inf
            elif token_id not in extra:
                extra.add(token_id)
                ids.append(token_id)
                counts.append(0)
                in_prompt.append(0)
                bias.append(-np.inf)
        return ids, counts, in_prompt, bias


@dataclass(frozen=True, slots=True)
class SampledRows:
    """Token ids per row, -1 where no token can be chosen, and logprobs where asked for."""

    token_ids: IntArray
    logprobs: list[TokenLogprobs | None]


def sample_rows(
    kernels: Kernels, logits: FloatArray, states: Sequence[SequenceSampling]
) -> SampledRows:
    """Choose a token for each row of `logits` float32 [R, V]; edits them in place.

    Logprobs are those of the model itself, before penalties, masks and temperature (vLLM's
    default, `raw_logprobs`).
    """
    wants = [row for row, state in enumerate(states) if state.spec.logprobs is not None]
    # Edits are in place, so rows whose raw logprobs are wanted are set aside first.
    raw = logits[wants].copy() if wants else logits[:0]
    _apply_edits(kernels, logits, states)
    token_ids = _draw(kernels, logits, states)
    logprobs: list[TokenLogprobs | None] = [None] * len(states)
    if wants:
        nums = [states[row].spec.logprobs or 0 for row in wants]
        reported = row_logprobs(kernels, raw, token_ids[wants], nums)
        for row, entry in zip(wants, reported, strict=True):
            logprobs[row] = entry
    return SampledRows(token_ids, logprobs)


def row_logprobs(
    kernels: Kernels, logits: FloatArray, token_ids: IntArray, nums: Sequence[int]
) -> list[TokenLogprobs]:
    """Report each row's chosen token and its `nums[r]` most likely ones."""
    num_rows, num_top = len(nums), max(nums, default=0)
    num_top = min(num_top, logits.shape[1])
    ids = np.empty((num_rows, 1 + num_top), np.int32)
    values = np.empty((num_rows, 1 + num_top), np.float32)
    ranks = np.empty((num_rows, 1 + num_top), np.int32)
    chosen = np.maximum(token_ids, 0).astype(np.int32)
    kernels.logprobs(logits, chosen, num_top, ids, values, ranks)
    return [
        list(
            zip(
                ids[row, : 1 + num].tolist(),
                values[row, : 1 + num].tolist(),
                ranks[row, : 1 + num].tolist(),
                strict=True,
            )
        )
        for row, num in enumerate(nums)
    ]


def _apply_edits(kernels: Kernels, logits: FloatArray, states: Sequence[SequenceSampling]) -> None:
    for row, state in enumerate(states):
        if state.spec.allowed_token_ids is not None:
            kernels.keep_only(logits, row, np.unique(state.spec.allowed_token_ids).astype(np.int32))
    if not any(state.edits for state in states):
        return
    starts, ids, counts, in_prompt, bias = [0], [], [], [], []
    for state in states:
        if state.edits:
            row_ids, row_counts, row_in_prompt, row_bias = state.edit_lists()
            ids += row_ids
            counts += row_counts
            in_prompt += row_in_prompt
            bias += row_bias
        starts.append(len(ids))
    specs = [state.spec for state in states]
    kernels.edit_logits(
        logits,
        np.array(starts, np.int32),
        np.array(ids, np.int32),
        np.array(counts, np.int32),
        np.array(in_prompt, np.uint8),
        np.array(bias, np.float32),
        np.array([spec.repetition_penalty for spec in specs], np.float32),
        np.array([spec.presence_penalty for spec in specs], np.float32),
        np.array([spec.frequency_penalty for spec in specs], np.float32),
    )


def _draw(kernels: Kernels, logits: FloatArray, states: Sequence[SequenceSampling]) -> IntArray:
    specs = [state.spec for state in states]
    temperature = [s.temperature if s.temperature >= GREEDY_TEMPERATURE else 0.0 for s in specs]
    token_ids = np.empty(len(states), np.int32)
    kernels.sample(
        logits,
        np.array(temperature, np.float32),
        np.array([spec.top_k for spec in specs], np.int32),
        np.array([spec.top_p for spec in specs], np.float32),
        np.array([spec.min_p for spec in specs], np.float32),
        np.array([state.key for state in states], np.uint32),
        np.array([state.num_output_tokens for state in states], np.uint32),
        token_ids,
    )
    return token_ids
