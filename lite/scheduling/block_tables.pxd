from libc.stdint cimport int32_t, int64_t, uint64_t
cimport cython

from lite.scheduling.block_pool cimport BlockPool
from lite.scheduling.prefix_cache cimport PrefixCache
from lite.scheduling.sequence cimport Sequence


@cython.final
cdef class BlockTables:
    cdef readonly int32_t block_size
    cdef readonly bint enable_prefix_caching
    cdef readonly BlockPool pool
    cdef readonly PrefixCache cache
    cdef int64_t last_table_id

    cdef int32_t find_prefix(self, Sequence seq) except -1
    cdef int32_t num_blocks_to_start(self, Sequence seq, int32_t num_hits) except -1
    cdef int start(self, Sequence seq, int32_t num_hits) except -1
    cdef int grow(self, Sequence seq) except -1
    cdef int register_full_blocks(self, Sequence seq) except -1
    cdef int free(self, Sequence seq) except -1
    cdef int64_t work_lost(self, Sequence seq) except -1
    cdef int _register_block(self, Sequence seq) except -1
    cdef int _hash_blocks(self, Sequence seq, int32_t num_blocks) except -1
