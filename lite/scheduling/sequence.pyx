"""Sequence: the token ids, the block table and the progress of one scheduled generation."""

import numpy as np

_MAX_INT32 = 2**31 - 1
# Room for this many output tokens is allocated at first; it doubles from there.
_FIRST_OUTPUT_TOKENS = 256


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
    """

    def __init__(
        self,
        int64_t seq_id,
        prompt,
        *,
        int32_t block_size,
        int64_t max_tokens,
        int64_t min_tokens=0,
        stop_token_ids=(),
        bytes salt not None=b"",
        bint read_prefix_cache=True,
    ):
        """Start with the prompt known and nothing computed.

        Raises:
            ValueError: an empty prompt, a negative id, or limits that contradict each other.
            TypeError: token ids that are not integers.
        """
        prompt_array = _int32_array("prompt", prompt)
        num_prompt_tokens = len(prompt_array)
        if num_prompt_tokens == 0:
            raise ValueError("prompt must hold at least one token")
        if max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
        if not 0 <= min_tokens <= max_tokens:
            raise ValueError(f"min_tokens must lie in [0, max_tokens={max_tokens}], got {min_tokens}")
        if max_tokens > _MAX_INT32 - num_prompt_tokens:
            raise ValueError(
                f"prompt of {num_prompt_tokens} tokens + max_tokens {max_tokens} > {_MAX_INT32}"
            )
        self.seq_id = seq_id
        self.state = WAITING
        self.num_tokens = self.num_prompt_tokens = num_prompt_tokens
        self.last_token = prompt_array[num_prompt_tokens - 1]
        self.min_num_tokens = num_prompt_tokens + min_tokens
        self.max_num_tokens = num_prompt_tokens + max_tokens
        self.max_num_blocks = (self.max_num_tokens - 1 + block_size - 1) // block_size
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
