from libc.stdint cimport int32_t, int64_t, uint64_t
cimport cython


@cython.final
cdef class PrefixCache:
    cdef readonly int32_t num_blocks
    cdef readonly int32_t block_size
    cdef uint64_t hash_mask
    cdef int32_t num_entries
    cdef int64_t last_serial
    # Open addressing with linear probing: a block id or -1.
    cdef int32_t[::1] table
    cdef uint64_t table_mask
    # Per block: its chained hash, its serial number (0: not cached), its parent's (0: a root).
    cdef uint64_t[::1] hashes
    cdef int64_t[::1] serials
    cdef int64_t[::1] parent_serials
    cdef int32_t[:, ::1] tokens
    # The salt of each cached root.
    cdef list salts

    cdef uint64_t root_hash(self, bytes salt)
    cdef uint64_t child_hash(self, uint64_t parent_hash, const int32_t* tokens)
    cdef bint is_cached(self, int32_t block)
    cdef int32_t lookup(
        self, uint64_t block_hash, int32_t parent, bytes salt, const int32_t* tokens
    )
    cdef int register(
        self, int32_t block, uint64_t block_hash, int32_t parent, bytes salt, const int32_t* tokens
    ) except -1
    cpdef int forget(self, int32_t block) except -1
    cdef uint64_t _hash_of(self, int32_t parent, bytes salt, const int32_t[::1] tokens) except? 0
