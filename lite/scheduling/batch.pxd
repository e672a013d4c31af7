from libc.stdint cimport int32_t, int64_t
cimport cython

from lite.scheduling.sequence cimport Sequence


@cython.final
cdef class Batch:
    cdef readonly int32_t max_num_seqs
    cdef readonly int32_t max_num_batched_tokens
    cdef readonly int32_t max_blocks_per_seq
    cdef readonly int32_t num_seqs
    cdef readonly int32_t num_tokens
    cdef readonly int32_t num_sampled

    cdef readonly object token_ids
    cdef readonly object positions
    cdef readonly object slot_mapping
    cdef readonly object query_start_loc
    cdef readonly object seq_lens
    cdef readonly object block_tables
    cdef readonly object seq_ids
    cdef readonly object num_computed_before
    cdef readonly object logits_rows
    cdef readonly object sampled_seqs

    # Typed views of the arrays above.
    cdef int32_t[::1] _token_ids
    cdef int32_t[::1] _positions
    cdef int32_t[::1] _slot_mapping
    cdef int32_t[::1] _query_start_loc
    cdef int32_t[::1] _seq_lens
    cdef int32_t[:, ::1] _block_tables
    cdef int64_t[::1] _seq_ids
    cdef int32_t[::1] _num_computed_before
    cdef int32_t[::1] _logits_rows
    cdef int32_t[::1] _sampled_seqs

    cdef list sequences
    # Whose table each row holds, and how much of it, so that a step copies only what is new.
    cdef object filled_by
    cdef int64_t[::1] row_table_ids
    cdef int32_t[::1] row_num_blocks

    cdef int begin(
        self, scheduler, int32_t num_seqs, int32_t num_tokens, int32_t num_blocks
    ) except -1
    cdef int append(self, Sequence seq, int32_t num_scheduled_tokens, int32_t block_size) except -1
