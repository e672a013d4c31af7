from libc.stdint cimport int32_t, int64_t, uint64_t
cimport cython


cdef enum State:
    WAITING
    RUNNING
    FINISHED


cdef enum FinishReason:
    STOP = 0
    LENGTH = 1
    UNFINISHED = 2


@cython.final
cdef class Sequence:
    cdef readonly int64_t seq_id
    cdef State state
    cdef readonly int32_t num_tokens
    cdef readonly int32_t num_prompt_tokens
    cdef readonly int32_t num_computed_tokens
    cdef readonly int32_t last_token
    # Limits on num_tokens: no stop token up to the first, the end at the second.
    cdef int32_t min_num_tokens
    cdef readonly int32_t max_num_tokens

    # The block table; `table_id` changes whenever it changes other than by growing.
    cdef int32_t[::1] block_table
    cdef int32_t num_blocks
    cdef int32_t max_num_blocks
    cdef int64_t table_id

    # The prefix cache's view: hashes of full blocks, and how many blocks are registered.
    cdef readonly bytes salt
    cdef readonly bint read_prefix_cache
    cdef bint registers_blocks
    cdef uint64_t[::1] block_hashes
    cdef int32_t num_hashed_blocks
    cdef int32_t num_registered_blocks

    cdef int64_t admission
    cdef readonly int32_t num_cached_tokens
    cdef readonly int32_t num_preemptions
    cdef int32_t most_computed_tokens

    cdef int32_t[::1] tokens
    cdef object tokens_array
    cdef int32_t[::1] stop_token_ids

    cdef int append_token(self, int32_t token_id) except -1
    cdef FinishReason finish_reason(self)
