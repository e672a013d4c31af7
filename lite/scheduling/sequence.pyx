"""Sequence: the token ids, the block table and the progress of one scheduled generation."""

from operator import index

import numpy as np

_MAX_INT32 = 2**31 - 1
# Room for this many output tokens is allocated at first; it doubles from there.
_FIRST_OUTPUT_TOKENS = 256


def checked_int(str name, value, low, high=_MAX_INT32):
    """Return an integer that lies in [low, high].

    Raises:
        ValueError: it lies outside; names the limits.
        TypeError: it is not an integer.
    """
    number = index(value)
    if not low <= number <= high:
        raise ValueError(f"{name} must lie in [{low}, {high}], got {number}")
    return number


def _int32_array(str name, values):
    """Copy token ids into a new int32 array; refuse what is not a list of ids >= 0."""
    given = np.asarray(values)
    if given.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {given.shape}")
    if given.size == 0:
        return np.empty(0, dtype=np.int32)
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got {given.dtype}")
    if given.min() < 0 or given.max() > _MAX_INT32:
        raise ValueError(f"{name} must lie in [0, {_MAX_INT32}], got {given.min()}..{given.max()}")
    return np.array(given, dtype=np.int32)


cdef class Sequence:
    """One generation: `num_tokens` known, `num_computed_tokens` of them with keys and values.

    Positions up to `max_num_tokens` - 1 may be computed: the last token of a full output is
    sampled, never fed back.

    Raises:
        ValueError: an empty prompt, a negative token id, or a limit out of range.
        TypeError: numbers that are not integers.
    """

    def __cinit__(
        self,
        seq_id,
        prompt,
        *,
        block_size,
        max_tokens,
        min_tokens=0,
        stop_token_ids=(),
        bytes salt not None=b"",
        bint read_prefix_cache=True,
    ):
        prompt_array = _int32_array("prompt", prompt)
        num_prompt_tokens = len(prompt_array)
        if num_prompt_tokens == 0:
            raise ValueError("prompt must hold at least one token")
        max_tokens = checked_int("max_tokens", max_tokens, 1, _MAX_INT32 - num_prompt_tokens)
        min_tokens = checked_int("min_tokens", min_tokens, 0, max_tokens)
        block_size = checked_int("block_size", block_size, 1)
        self.seq_id = checked_int("seq_id", seq_id, -(2**63), 2**63 - 1)
        self.state = WAITING
        self.num_tokens = self.num_prompt_tokens = num_prompt_tokens
        self.last_token = prompt_array[num_prompt_tokens - 1]
        self.min_num_tokens = num_prompt_tokens + min_tokens
        self.max_num_tokens = num_prompt_tokens + max_tokens
        self.max_num_blocks = (self.max_num_tokens - 2) // block_size + 1
        self.block_table = np.empty(self.max_num_blocks, dtype=np.int32)
        self.block_hashes = np.empty(self.max_num_blocks, dtype=np.uint64)
        self.salt = salt
        self.read_prefix_cache = read_prefix_cache
        self.num_cached_tokens = -1
        self.tokens_array = np.empty(
            min(self.max_num_tokens, num_prompt_tokens + _FIRST_OUTPUT_TOKENS), dtype=np.int32
        )
        self.tokens_array[:num_prompt_tokens] = prompt_array
        self.tokens = self.tokens_array
        self.stop_token_ids = _int32_array("stop_token_ids", stop_token_ids)

    @property
    def token_ids(self):
        """Prompt and output, a read-only int32 view that later tokens do not change."""
        view = self.tokens_array[:self.num_tokens]
        view.flags.writeable = False
        return view

    cdef int append_token(self, int32_t token_id) except -1:
        if self.num_tokens == self.tokens.shape[0]:
            grown = np.empty(min(self.max_num_tokens, 2 * self.num_tokens), dtype=np.int32)
            grown[:self.num_tokens] = self.tokens_array
            self.tokens_array = grown
            self.tokens = grown
        self.tokens[self.num_tokens] = token_id
        self.num_tokens += 1
        self.last_token = token_id
        return 0

    cdef FinishReason finish_reason(self):
        """Say why the token just appended ends the sequence, if it does."""
        cdef Py_ssize_t i
        if self.num_tokens > self.min_num_tokens:
            for i in range(self.stop_token_ids.shape[0]):
                if self.stop_token_ids[i] == self.last_token:
                    return STOP
        return LENGTH if self.num_tokens >= self.max_num_tokens else UNFINISHED
