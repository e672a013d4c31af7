"""From logits to tokens: per-sequence sampling state, edits, draws and logprobs."""

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lite.engine.logit_edits import BannedTokens, Edits, Penalties
from lite.errors import InvalidRequestError, LiteError, NotFiniteError
from lite.messages import SamplingSpec, TokenLogprobs
from lite.sampling_params import GREEDY_TEMPERATURE
from lite_kernels import Kernels

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

_MASK32 = 0xFFFFFFFF
NOT_FINITE, NONE_LEFT = -1, -2


@dataclass(slots=True)
class SequenceSampling:
    """Sampling state of one sequence; depends on its own tokens only.

    What is None edits nothing.
    """

    spec: SamplingSpec
    key: tuple[int, int]
    allowed: IntArray | None
    penalties: Penalties | None
    banned: BannedTokens | None
    num_output_tokens: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether the logits are drawn from as they are, and nothing else is wanted of them."""
        return (
            self.allowed is None
            and self.penalties is None
            and self.banned is None
            and self.spec.logprobs is None
        )

    @classmethod
    def start(cls, spec: SamplingSpec, seed: int, prompt_token_ids: IntArray) -> "SequenceSampling":
        """Begin a sequence; `seed` is taken modulo 2**64."""
        allowed, penalties, banned = spec.allowed_token_ids, None, None
        if (
            spec.repetition_penalty != 1.0
            or spec.presence_penalty != 0.0
            or spec.frequency_penalty != 0.0
            or spec.logit_bias
        ):
            penalties = Penalties(spec, prompt_token_ids)
        if spec.bad_words_token_ids or spec.min_tokens:
            banned = BannedTokens(spec, prompt_token_ids)
        return cls(
            spec=spec,
            key=(seed & _MASK32, (seed >> 32) & _MASK32),
            allowed=None if allowed is None else np.unique(np.array(allowed, np.int32)),
            penalties=penalties,
            banned=banned,
        )

    def append(self, token_id: int) -> None:
        """Take note of a sampled token."""
        self.num_output_tokens += 1
        if self.penalties is not None:
            self.penalties.append(token_id)
        if self.banned is not None:
            self.banned.append(token_id)


@dataclass(frozen=True, slots=True)
class SampledRows:
    """Token ids per row, and logprobs where asked for.

    A row without a token holds `NOT_FINITE`, or `NONE_LEFT` where the request's edits leave none.
    """

    token_ids: IntArray
    logprobs: list[TokenLogprobs | None]


class Sampler:
    """Chooses tokens for up to `max_rows` rows of logits at once.

    PERF: what `Kernels.sample` reads lies in arrays of its own, so that a draw can be recorded, and
    is written only where other sequences come than in the step before.
    """

    def __init__(self, kernels: Kernels, max_rows: int) -> None:
        self._kernels = kernels
        self._states: list[SequenceSampling] = []
        self._temperature = kernels.empty((max_rows,), "float32")
        self._top_k = kernels.empty((max_rows,), "int32")
        self._top_p = kernels.empty((max_rows,), "float32")
        self._min_p = kernels.empty((max_rows,), "float32")
        self._keys = kernels.empty((max_rows, 2), "uint32")
        self._counters = kernels.empty((max_rows,), "uint32")
        self._token_ids = kernels.empty((max_rows,), "int32")

    def prepare(self, states: Sequence[SequenceSampling]) -> None:
        """Take the states of the rows that the next `draw` is about."""
        before = self._states
        if len(states) != len(before) or any(map(operator.is_not, states, before)):
            self._states = list(states)
            for row, state in enumerate(states):
                spec = state.spec
                greedy = spec.temperature < GREEDY_TEMPERATURE
                self._temperature[row] = 0.0 if greedy else spec.temperature
                self._top_k[row] = spec.top_k
                self._top_p[row] = spec.top_p
                self._min_p[row] = spec.min_p
                self._keys[row] = state.key
        for row, state in enumerate(states):
            self._counters[row] = state.num_output_tokens

    def draw(self, logits: FloatArray) -> None:
        """Draw a token from each row of `logits`; may be recorded, and run after `prepare`."""
        size = len(logits)
        self._kernels.sample(
            logits,
            self._temperature[:size],
            self._top_k[:size],
            self._top_p[:size],
            self._min_p[:size],
            self._keys[:size],
            self._counters[:size],
            self._token_ids[:size],
        )

    def drawn(self, logits: FloatArray) -> SampledRows:
        """Return what the last draw chose."""
        token_ids: IntArray = self._token_ids[: len(logits)].copy()
        # PERF: a list's loop, since reductions of NumPy are slow right after a step's kernels.
        for row, token_id in enumerate(token_ids.tolist()):
            if token_id < 0:
                all_masked = bool(np.isneginf(logits[row]).all())
                token_ids[row] = NONE_LEFT if all_masked else NOT_FINITE
        return SampledRows(token_ids, [None] * len(logits))

    def sample(self, logits: FloatArray, states: Sequence[SequenceSampling]) -> SampledRows:
        """Choose a token for each row of `logits` float32 [R, V]; edits them in place.

        Logprobs are those of the model itself, before penalties, masks and temperature (vLLM's
        default, `raw_logprobs`).
        """
        wants = [row for row, state in enumerate(states) if state.spec.logprobs is not None]
        # Edits are in place, so rows whose raw logprobs are wanted are set aside first.
        raw = logits[wants].copy() if wants else logits[:0]
        _apply_edits(self._kernels, logits, states)
        self.prepare(states)
        self.draw(logits)
        sampled = self.drawn(logits)
        if wants:
            nums = [states[row].spec.logprobs or 0 for row in wants]
            reported = row_logprobs(self._kernels, raw, sampled.token_ids[wants], nums)
            for row, entry in zip(wants, reported, strict=True):
                sampled.logprobs[row] = entry
        return sampled


def no_token_error(reason: int) -> LiteError:
    """Return the error for a row of `SampledRows` without a token."""
    if reason == NONE_LEFT:
        return InvalidRequestError(
            "No token is possible: allowed_token_ids, bad_words, min_tokens and logit_bias leave "
            "none; relax one of them."
        )
    return NotFiniteError("The logits are NaN or infinite: broken weights, or an extreme penalty.")


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
        if state.allowed is not None:
            kernels.keep_only(logits, row, state.allowed)
    penalties = [None if s.penalties is None else s.penalties.arrays() for s in states]
    if any(arrays is not None for arrays in penalties):
        _edit(kernels, logits, penalties, [state.spec for state in states])
    banned = [None if s.banned is None else s.banned.ids() for s in states]
    if any(ids is not None and ids.size for ids in banned):
        # Last, so that nothing lifts a ban.
        _edit(
            kernels,
            logits,
            [None if ids is None else _bans(ids) for ids in banned],
            [SamplingSpec()] * len(states),
        )


def _bans(ids: IntArray) -> Edits:
    size = ids.size
    return ids, np.zeros(size, np.int32), np.zeros(size, np.uint8), np.full(size, -np.inf, "f4")


def _edit(
    kernels: Kernels,
    logits: FloatArray,
    edits: Sequence[Edits | None],
    specs: Sequence[SamplingSpec],
) -> None:
    present = [arrays for arrays in edits if arrays is not None]
    sizes = [0 if arrays is None else arrays[0].size for arrays in edits]
    ids, counts, in_prompt, bias = (np.concatenate(column) for column in zip(*present, strict=True))
    kernels.edit_logits(
        logits,
        np.array([0, *itertools.accumulate(sizes)], np.int32),
        ids,
        counts,
        in_prompt,
        bias,
        np.array([spec.repetition_penalty for spec in specs], np.float32),
        np.array([spec.presence_penalty for spec in specs], np.float32),
        np.array([spec.frequency_penalty for spec in specs], np.float32),
    )
