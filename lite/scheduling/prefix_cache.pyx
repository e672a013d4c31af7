"""PrefixCache: find the block that already holds the keys and values of a known prefix."""

from libc.string cimport memcmp, memcpy

import numpy as np

from lite.scheduling.sequence import checked_int

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static inline uint64_t lite_rotate(uint64_t x, int bits) {
        return (x << bits) | (x >> (64 - bits));
    }

    /* XXH64's tail steps and avalanche (xxHash specification, 3.1), the seed being the parent's
       hash. In C because its wraparound is meant, whatever the build's overflow checks say. */
    static uint64_t lite_chained_hash(uint64_t seed, const void *data, size_t num_bytes) {
        const uint64_t p1 = 0x9E3779B185EBCA87u, p2 = 0xC2B2AE3D27D4EB4Fu;
        const uint64_t p3 = 0x165667B19E3779F9u, p4 = 0x85EBCA77C2B2AE63u;
        const uint64_t p5 = 0x27D4EB2F165667C5u;
        const unsigned char *bytes = (const unsigned char *)data;
        uint64_t hash = seed + p5 + num_bytes;
        for (; num_bytes >= 8; num_bytes -= 8, bytes += 8) {
            uint64_t lane;
            memcpy(&lane, bytes, 8);
            hash ^= lite_rotate(lane * p2, 31) * p1;
            hash = lite_rotate(hash, 27) * p1 + p4;
        }
        if (num_bytes >= 4) {
            uint32_t lane;
            memcpy(&lane, bytes, 4);
            hash ^= lane * p1;
            hash = lite_rotate(hash, 23) * p2 + p3;
            num_bytes -= 4, bytes += 4;
        }
        for (; num_bytes > 0; num_bytes--, bytes++) {
            hash ^= *bytes * p5;
            hash = lite_rotate(hash, 11) * p1;
        }
        hash = (hash ^ (hash >> 33)) * p2;
        hash = (hash ^ (hash >> 29)) * p3;
        return hash ^ (hash >> 32);
    }
    """
    uint64_t lite_chained_hash(uint64_t seed, const void* data, size_t num_bytes)


cdef class PrefixCache:
    """Full blocks by content: a block's tokens, its parent block and so its whole prefix.

    The hash of a block is chained from its parent's, a root's from the salt. A hit is verified:
    tokens and the parent's identity must match, for a root the salt, so colliding hashes cost
    time and never correctness. A block is identified by a serial number that is not used
    again, so a child never passes for the child of whatever replaces its parent.

    Args:
        num_blocks: size of the pool whose blocks are cached.
        block_size: tokens in a block.
        hash_bits: how much of the hash is used; few bits force collisions.

    Raises:
        ValueError: a size below 1, or hash_bits outside [1, 64].
    """

    def __cinit__(self, num_blocks, block_size, *, hash_bits=64):
        self.num_blocks = checked_int("num_blocks", num_blocks, 1)
        self.block_size = checked_int("block_size", block_size, 1)
        self.hash_mask = 2 ** int(checked_int("hash_bits", hash_bits, 1, 64)) - 1
        table_size = 1 << (2 * int(self.num_blocks) - 1).bit_length()
        self.table_mask = table_size - 1
        self.table = np.full(table_size, -1, dtype=np.int32)
        self.hashes = np.zeros(num_blocks, dtype=np.uint64)
        self.serials = np.zeros(num_blocks, dtype=np.int64)
        self.parent_serials = np.zeros(num_blocks, dtype=np.int64)
        self.tokens = np.zeros((num_blocks, block_size), dtype=np.int32)
        self.salts = [None] * num_blocks

    def __len__(self):
        return self.num_entries

    def __contains__(self, int32_t block):
        return 0 <= block < self.num_blocks and self.is_cached(block)

    def find(self, int32_t parent, const int32_t[::1] tokens not None, bytes salt not None=b""):
        """Return the block with these tokens after `parent` (-1: at the start), or -1."""
        self._check_arguments(parent, tokens)
        return self.lookup(self._hash_of(parent, salt, tokens), parent, salt, &tokens[0])

    def insert(
        self,
        int32_t block,
        int32_t parent,
        const int32_t[::1] tokens not None,
        bytes salt not None=b"",
    ):
        """Remember a computed block; return it, or the one that already has this content.

        Raises:
            ValueError: `parent` is not cached, or `block` already is.
        """
        self._check_arguments(parent, tokens)
        if not 0 <= block < self.num_blocks or self.is_cached(block):
            raise ValueError(f"block {block} is already cached or outside [0, {self.num_blocks})")
        cdef uint64_t block_hash = self._hash_of(parent, salt, tokens)
        cdef int32_t known = self.lookup(block_hash, parent, salt, &tokens[0])
        if known >= 0:
            return known
        self.register(block, block_hash, parent, salt, &tokens[0])
        return block

    cpdef int forget(self, int32_t block) except -1:
        """Drop a block that is about to be reused; do nothing if it is not cached."""
        if not self.is_cached(block):
            return 0
        cdef uint64_t hole = self.hashes[block] & self.table_mask
        cdef uint64_t probe, home
        while self.table[hole] != block:
            hole = (hole + 1) & self.table_mask
        # Close the gap: whoever may stand in the hole without passing its home moves there.
        probe = (hole + 1) & self.table_mask
        while self.table[probe] >= 0:
            home = self.hashes[self.table[probe]] & self.table_mask
            if _distance(home, probe, self.table_mask) >= _distance(hole, probe, self.table_mask):
                self.table[hole] = self.table[probe]
                hole = probe
            probe = (probe + 1) & self.table_mask
        self.table[hole] = -1
        self.serials[block] = 0
        self.salts[block] = None
        self.num_entries -= 1
        return 0

    def clear(self):
        """Drop every block."""
        self.table[:] = -1
        self.serials[:] = 0
        self.salts = [None] * self.num_blocks
        self.num_entries = 0

    def parents(self):
        """Return the parent of every cached block: -1 for a root, None if no longer cached."""
        cdef int32_t block
        cached = [block for block in range(self.num_blocks) if self.serials[block] != 0]
        by_serial = {self.serials[block]: block for block in cached}
        by_serial[0] = -1
        return {block: by_serial.get(self.parent_serials[block]) for block in cached}

    def check(self):
        """Prove the invariants; raise AssertionError when one is broken."""
        cdef uint64_t slot, probe
        cdef int32_t block
        listed = []
        for slot in range(self.table_mask + 1):
            block = self.table[slot]
            if block < 0:
                continue
            listed.append(block)
            assert self.is_cached(block), f"block {block} is listed but not cached"
            assert self.hashes[block] <= self.hash_mask, f"block {block} has a wide hash"
            probe = self.hashes[block] & self.table_mask
            while probe != slot:
                assert self.table[probe] >= 0, f"block {block} is behind a gap"
                probe = (probe + 1) & self.table_mask
        cached = [block for block in range(self.num_blocks) if self.serials[block]]
        assert sorted(listed) == cached, f"listed {sorted(listed)}, cached {cached}"
        assert len(cached) == self.num_entries, f"{len(cached)} cached, {self.num_entries} counted"

    cdef uint64_t root_hash(self, bytes salt):
        return lite_chained_hash(0, <const char*>salt, len(salt)) & self.hash_mask

    cdef uint64_t child_hash(self, uint64_t parent_hash, const int32_t* tokens):
        cdef size_t num_bytes = self.block_size * sizeof(int32_t)
        return lite_chained_hash(parent_hash, tokens, num_bytes) & self.hash_mask

    cdef bint is_cached(self, int32_t block):
        return self.serials[block] != 0

    cdef int32_t lookup(
        self, uint64_t block_hash, int32_t parent, bytes salt, const int32_t* tokens
    ):
        """Return the verified block of this content, or -1; `parent` is cached or -1."""
        cdef int64_t parent_serial = 0 if parent < 0 else self.serials[parent]
        cdef size_t num_bytes = self.block_size * sizeof(int32_t)
        cdef uint64_t slot = block_hash & self.table_mask
        cdef int32_t block = self.table[slot]
        while block >= 0:
            if (
                self.hashes[block] == block_hash
                and self.parent_serials[block] == parent_serial
                and memcmp(&self.tokens[block, 0], tokens, num_bytes) == 0
                and (parent >= 0 or self.salts[block] == salt)
            ):
                return block
            slot = (slot + 1) & self.table_mask
            block = self.table[slot]
        return -1

    cdef int register(
        self, int32_t block, uint64_t block_hash, int32_t parent, bytes salt, const int32_t* tokens
    ) except -1:
        """Enter a block that is not cached, whose content `lookup` did not find."""
        cdef uint64_t slot = block_hash & self.table_mask
        while self.table[slot] >= 0:
            slot = (slot + 1) & self.table_mask
        self.table[slot] = block
        self.last_serial += 1
        self.serials[block] = self.last_serial
        self.hashes[block] = block_hash
        self.parent_serials[block] = 0 if parent < 0 else self.serials[parent]
        memcpy(&self.tokens[block, 0], tokens, self.block_size * sizeof(int32_t))
        if parent < 0:
            self.salts[block] = salt
        self.num_entries += 1
        return 0

    def _check_arguments(self, int32_t parent, const int32_t[::1] tokens):
        if tokens.shape[0] != self.block_size:
            raise ValueError(f"a block holds {self.block_size} tokens, got {tokens.shape[0]}")
        if parent != -1 and parent not in self:
            raise ValueError(f"parent block {parent} is not cached")

    cdef uint64_t _hash_of(
        self, int32_t parent, bytes salt, const int32_t[::1] tokens
    ) except? 0:
        cdef uint64_t seed = self.root_hash(salt) if parent < 0 else self.hashes[parent]
        return self.child_hash(seed, &tokens[0])


cdef inline uint64_t _distance(uint64_t start, uint64_t end, uint64_t mask):
    """Steps from one slot to another around the table."""
    return (end - start if end >= start else end + (mask + 1) - start)
