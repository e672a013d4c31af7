from libc.stdint cimport int32_t
cimport cython


@cython.final
cdef class BlockPool:
    cdef readonly int32_t num_blocks
    cdef readonly int32_t num_free
    cdef int32_t[::1] ref_counts
    # Neighbours in the ring of free blocks; entry num_blocks is its sentinel.
    cdef int32_t[::1] next_free
    cdef int32_t[::1] previous_free

    cpdef int32_t allocate(self) except -1
    cpdef int retain(self, int32_t block) except -1
    cpdef int release(self, int32_t block, bint keep) except -1
    cpdef int32_t ref_count(self, int32_t block) except -1
    cdef int _link_after(self, int32_t block, int32_t previous) except -1
    cdef int _unlink(self, int32_t block) except -1
    cdef int _check_block(self, int32_t block) except -1
