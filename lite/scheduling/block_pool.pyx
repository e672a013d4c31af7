"""BlockPool: which blocks are free, in which order they are reused, and who shares the others."""

import numpy as np

from lite.scheduling.sequence import checked_int


cdef class BlockPool:
    """Reference counts of `num_blocks` blocks and a doubly linked list of the free ones.

    Blocks are taken from the list's front. A block given back with `keep` goes to the end, so
    that its contents stay findable as long as possible; others go to the front. Every
    operation is O(1).

    Raises:
        ValueError: num_blocks is not at least 1.
    """

    def __cinit__(self, num_blocks):
        self.num_blocks = self.num_free = checked_int("num_blocks", num_blocks, 1, 2**31 - 2)
        self.ref_counts = np.zeros(num_blocks, dtype=np.int32)
        self.next_free = np.arange(1, num_blocks + 2, dtype=np.int32)
        self.next_free[num_blocks] = 0
        self.previous_free = np.arange(-1, num_blocks, dtype=np.int32)
        self.previous_free[0] = num_blocks

    cpdef int32_t allocate(self) except -1:
        """Take the free block that was used least recently, with one reference.

        Raises:
            IndexError: no block is free.
        """
        if self.num_free == 0:
            raise IndexError(f"none of {self.num_blocks} blocks is free")
        cdef int32_t block = self.next_free[self.num_blocks]
        self._unlink(block)
        self.ref_counts[block] = 1
        return block

    cpdef int retain(self, int32_t block) except -1:
        """Add a reference to a block, free or not."""
        self._check_block(block)
        if self.ref_counts[block] == 0:
            self._unlink(block)
        self.ref_counts[block] += 1
        return 0

    cpdef int release(self, int32_t block, bint keep) except -1:
        """Drop a reference; the last one frees the block, for late reuse if `keep`.

        Raises:
            ValueError: the block has no reference.
        """
        cdef int32_t previous
        self._check_block(block)
        if self.ref_counts[block] == 0:
            raise ValueError(f"block {block} is already free")
        self.ref_counts[block] -= 1
        if self.ref_counts[block] == 0:
            previous = self.previous_free[self.num_blocks] if keep else self.num_blocks
            self._link_after(block, previous)
        return 0

    cpdef int32_t ref_count(self, int32_t block) except -1:
        """Return how many references a block has; 0 is free."""
        self._check_block(block)
        return self.ref_counts[block]

    def free_blocks(self):
        """Return the free blocks in the order in which they will be taken."""
        blocks = []
        block = self.next_free[self.num_blocks]
        while block != self.num_blocks:
            blocks.append(block)
            block = self.next_free[block]
        return blocks

    def check(self):
        """Prove the invariants; raise AssertionError when one is broken."""
        cdef int32_t block = self.num_blocks
        cdef int32_t i
        cdef int32_t num_free = 0
        for i in range(self.num_blocks + 1):
            assert self.previous_free[self.next_free[block]] == block, f"broken link at {block}"
            block = self.next_free[block]
            if block == self.num_blocks:
                break
            assert self.ref_counts[block] == 0, f"free block {block} is referenced"
            num_free += 1
        assert block == self.num_blocks, "the free list does not close"
        assert num_free == self.num_free, f"{num_free} blocks listed, {self.num_free} counted"
        used = sum(1 for count in self.ref_counts if count > 0)
        assert min(self.ref_counts) >= 0, "negative reference count"
        assert used + num_free == self.num_blocks, f"{used} used + {num_free} free"

    cdef int _link_after(self, int32_t block, int32_t previous) except -1:
        cdef int32_t following = self.next_free[previous]
        self.next_free[previous] = block
        self.previous_free[block] = previous
        self.next_free[block] = following
        self.previous_free[following] = block
        self.num_free += 1
        return 0

    cdef int _unlink(self, int32_t block) except -1:
        cdef int32_t previous = self.previous_free[block]
        cdef int32_t following = self.next_free[block]
        self.next_free[previous] = following
        self.previous_free[following] = previous
        self.num_free -= 1
        return 0

    cdef int _check_block(self, int32_t block) except -1:
        if not 0 <= block < self.num_blocks:
            raise ValueError(f"block must lie in [0, {self.num_blocks}), got {block}")
        return 0
