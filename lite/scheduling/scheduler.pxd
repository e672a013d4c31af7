from libc.stdint cimport int32_t, int64_t
cimport cython

from lite.scheduling.batch cimport Batch
from lite.scheduling.block_tables cimport BlockTables
from lite.scheduling.sequence cimport Sequence


@cython.final
cdef class Scheduler:
    cdef readonly int32_t num_blocks
    cdef readonly int32_t block_size
    cdef readonly int32_t max_num_seqs
    cdef readonly int32_t max_num_batched_tokens
    cdef readonly int32_t max_model_len
    cdef readonly bint enable_prefix_caching

    cdef readonly int32_t num_running
    cdef readonly int64_t num_waiting_tokens
    cdef readonly int64_t num_preemptions
    cdef readonly int64_t num_recomputed_tokens
    cdef readonly int64_t prefix_cache_queries
    cdef readonly int64_t prefix_cache_hits

    cdef BlockTables _tables
    cdef dict _sequences
    cdef object _waiting
    # In batch order; a sequence that left keeps its place until the next schedule().
    cdef list _running
    cdef list _finished
    cdef Batch _in_flight
    cdef int64_t _num_admissions
    cdef object _no_events

    cdef Sequence _get(self, int64_t seq_id)
    cdef int32_t _make_room(self) except -1
    cdef int _preempt_cheapest(self) except -1
    cdef int _arrange(self, int32_t num_decodes) except -1
    cdef int32_t _admit(self, Batch batch, int32_t budget) except -1
    cdef int32_t _num_reserved_blocks(self) except -1
    cdef int _start(self, Sequence seq, int32_t num_hits) except -1
    cdef int _commit(self, Sequence seq, int32_t num_computed_tokens) except -1
    cdef int _finish(self, Sequence seq) except -1
    cdef int _forget_finished(self) except -1
    cdef int _check_in_flight(self, Batch batch) except -1
