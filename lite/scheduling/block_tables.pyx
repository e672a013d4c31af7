"""BlockTables: gives sequences their blocks, shared where the prefix cache knows the content."""


cdef class BlockTables:
    """The block tables of the running sequences, over one pool and one prefix cache.

    A sequence that runs has blocks for all its known tokens but perhaps the last; one that
    does not run has none. Its leading registered blocks are cached, each the child of the one
    before it. So whoever holds a cached block holds its whole prefix, and tables are freed from
    their end: a block is never evicted before those that continue it.
    """

    def __cinit__(
        self, int32_t num_blocks, int32_t block_size, bint enable_prefix_caching, int hash_bits
    ):
        self.block_size = block_size
        self.enable_prefix_caching = enable_prefix_caching
        self.pool = BlockPool(num_blocks)
        self.cache = PrefixCache(num_blocks, block_size, hash_bits=hash_bits)

    cdef int32_t find_prefix(self, Sequence seq) except -1:
        """Write the cached blocks of a sequence into its unused table and return their number.

        The last known token is left out: it has to be computed to be followed.
        """
        cdef int32_t num_hits = 0
        cdef int32_t block = -1
        if not (self.enable_prefix_caching and seq.read_prefix_cache):
            return 0
        while num_hits < (seq.num_tokens - 1) // self.block_size:
            self._hash_blocks(seq, num_hits + 1)
            block = self.cache.lookup(
                seq.block_hashes[num_hits],
                block,
                seq.salt,
                &seq.tokens[num_hits * self.block_size],
            )
            if block < 0:
                break
            seq.block_table[num_hits] = block
            num_hits += 1
        return num_hits

    cdef int32_t num_blocks_to_start(self, Sequence seq, int32_t num_hits) except -1:
        """Count the free blocks that start() takes: new ones, and hits nobody references."""
        cdef int32_t num_needed = (
            (seq.num_tokens + self.block_size - 1) // self.block_size - num_hits
        )
        cdef int32_t k
        for k in range(num_hits):
            num_needed += self.pool.ref_counts[seq.block_table[k]] == 0
        return num_needed

    cdef int start(self, Sequence seq, int32_t num_hits) except -1:
        """Share the blocks that find_prefix() found and allocate those of the other tokens."""
        cdef int32_t k
        for k in range(num_hits):
            self.pool.retain(seq.block_table[k])
        seq.num_blocks = seq.num_registered_blocks = num_hits
        seq.num_computed_tokens = num_hits * self.block_size
        seq.registers_blocks = self.enable_prefix_caching
        while seq.num_blocks * self.block_size < seq.num_tokens:
            self.grow(seq)
        self.last_table_id += 1
        seq.table_id = self.last_table_id
        return 0

    cdef int grow(self, Sequence seq) except -1:
        """Append one block, whose former content is forgotten."""
        cdef int32_t block = self.pool.allocate()
        self.cache.forget(block)
        seq.block_table[seq.num_blocks] = block
        seq.num_blocks += 1
        return 0

    cdef int register_full_blocks(self, Sequence seq) except -1:
        """Make the blocks that are now full and computed findable."""
        if seq.registers_blocks:
            while (seq.num_registered_blocks + 1) * self.block_size <= seq.num_computed_tokens:
                self._register_block(seq)
        return 0

    cdef int free(self, Sequence seq) except -1:
        """Release a table from its end, cached blocks for late reuse."""
        cdef int32_t block
        while seq.num_blocks > 0:
            seq.num_blocks -= 1
            block = seq.block_table[seq.num_blocks]
            self.pool.release(block, self.cache.is_cached(block))
        seq.num_registered_blocks = 0
        return 0

    cdef int64_t work_lost(self, Sequence seq) except -1:
        """Count computed tokens in blocks that no other sequence keeps alive."""
        cdef int32_t num_shared = 0
        while (
            num_shared < seq.num_blocks
            and self.pool.ref_counts[seq.block_table[num_shared]] > 1
        ):
            num_shared += 1
        return seq.num_computed_tokens - num_shared * self.block_size

    def check(self, running):
        """Prove the invariants for these sequences; raise AssertionError when one is broken."""
        cdef Sequence seq
        cdef int32_t k
        self.pool.check()
        self.cache.check()
        parents = self.cache.parents()
        assert None not in parents.values(), "a block was evicted before one that continues it"
        ref_counts = [0] * self.pool.num_blocks
        for seq in running:
            assert seq.num_computed_tokens <= seq.num_blocks * self.block_size
            assert seq.num_tokens - 1 <= seq.num_blocks * self.block_size
            for k in range(seq.num_blocks):
                ref_counts[seq.block_table[k]] += 1
            for k in range(seq.num_registered_blocks if seq.registers_blocks else 0):
                parent = seq.block_table[k - 1] if k > 0 else -1
                assert parents[seq.block_table[k]] == parent, "a table is not a cached chain"
        counted = [self.pool.ref_count(block) for block in range(self.pool.num_blocks)]
        assert ref_counts == counted, f"tables hold {ref_counts}, the pool counts {counted}"

    cdef int _register_block(self, Sequence seq) except -1:
        """Make the next full block findable, or give it up for one with the same content."""
        cdef int32_t k = seq.num_registered_blocks
        cdef int32_t block = seq.block_table[k]
        cdef int32_t parent = seq.block_table[k - 1] if k > 0 else -1
        cdef const int32_t* tokens = &seq.tokens[k * self.block_size]
        self._hash_blocks(seq, k + 1)
        cdef int32_t known = self.cache.lookup(seq.block_hashes[k], parent, seq.salt, tokens)
        if known < 0:
            self.cache.register(block, seq.block_hashes[k], parent, seq.salt, tokens)
        else:
            self.pool.retain(known)
            self.pool.release(block, False)
            seq.block_table[k] = known
            self.last_table_id += 1
            seq.table_id = self.last_table_id
        seq.num_registered_blocks = k + 1
        return 0

    cdef int _hash_blocks(self, Sequence seq, int32_t num_blocks) except -1:
        """Extend the sequence's chain of hashes to its first `num_blocks` full blocks."""
        cdef int32_t k
        cdef uint64_t parent_hash
        for k in range(seq.num_hashed_blocks, num_blocks):
            parent_hash = seq.block_hashes[k - 1] if k > 0 else self.cache.root_hash(seq.salt)
            seq.block_hashes[k] = self.cache.child_hash(
                parent_hash, &seq.tokens[k * self.block_size]
            )
            seq.num_hashed_blocks = k + 1
        return 0
