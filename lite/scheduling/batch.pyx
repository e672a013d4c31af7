"""Batch: the preallocated integer arrays that describe one step to the model."""

import numpy as np

from lite.scheduling.sequence import checked_int


cdef class Batch:
    """What one step computes: S = `num_seqs` sequences, T = `num_tokens` tokens, R samples.

    Attributes:
        token_ids, positions, slot_mapping: int32 [T]; slot = block * block_size + offset.
        query_start_loc: int32 [S + 1]; sequence s owns tokens [loc[s], loc[s + 1]).
        seq_lens: int32 [S], tokens with keys and values once this step has run.
        block_tables: int32 [S, max_blocks_per_seq]; entries past a sequence's length are stale.
        seq_ids: int64 [S].
        num_computed_before: int32 [S], the first position this step computes.
        logits_rows: int32 [R], the token of T after which each sampling sequence samples.
        sampled_seqs: int32 [R], its row in S.

    The arrays have full capacity; only the leading part named here is valid. A row of
    `block_tables` is appended to as long as it belongs to the same table.

    Raises:
        ValueError: a size below 1.
    """

    def __cinit__(self, *, max_num_seqs, max_num_batched_tokens, max_blocks_per_seq):
        self.max_num_seqs = checked_int("max_num_seqs", max_num_seqs, 1)
        self.max_num_batched_tokens = checked_int(
            "max_num_batched_tokens", max_num_batched_tokens, 1
        )
        self.max_blocks_per_seq = checked_int("max_blocks_per_seq", max_blocks_per_seq, 1)
        self.token_ids = self._token_ids = np.zeros(max_num_batched_tokens, dtype=np.int32)
        self.positions = self._positions = np.zeros(max_num_batched_tokens, dtype=np.int32)
        self.slot_mapping = self._slot_mapping = np.zeros(max_num_batched_tokens, dtype=np.int32)
        self.query_start_loc = self._query_start_loc = np.zeros(max_num_seqs + 1, dtype=np.int32)
        self.seq_lens = self._seq_lens = np.zeros(max_num_seqs, dtype=np.int32)
        self.block_tables = self._block_tables = np.zeros(
            (max_num_seqs, max_blocks_per_seq), dtype=np.int32
        )
        self.seq_ids = self._seq_ids = np.zeros(max_num_seqs, dtype=np.int64)
        self.num_computed_before = self._num_computed_before = np.zeros(
            max_num_seqs, dtype=np.int32
        )
        self.logits_rows = self._logits_rows = np.zeros(max_num_seqs, dtype=np.int32)
        self.sampled_seqs = self._sampled_seqs = np.zeros(max_num_seqs, dtype=np.int32)
        self.sequences = []
        self.row_table_ids = np.zeros(max_num_seqs, dtype=np.int64)
        self.row_num_blocks = np.zeros(max_num_seqs, dtype=np.int32)

    cdef int begin(
        self, scheduler, int32_t num_seqs, int32_t num_tokens, int32_t num_blocks
    ) except -1:
        """Empty the batch, which must be able to hold this much.

        The tables of another scheduler are forgotten: their ids mean nothing here.
        """
        if (
            self.max_num_seqs < num_seqs
            or self.max_num_batched_tokens < num_tokens
            or self.max_blocks_per_seq < num_blocks
        ):
            raise ValueError(
                f"the batch holds {self.max_num_seqs} sequences, {self.max_num_batched_tokens} "
                f"tokens and {self.max_blocks_per_seq} blocks each; this scheduler needs "
                f"{num_seqs}, {num_tokens} and {num_blocks}"
            )
        self.num_seqs = self.num_tokens = self.num_sampled = 0
        self.sequences.clear()
        if self.filled_by is not scheduler:
            self.filled_by = scheduler
            self.row_table_ids[:] = 0
        return 0

    cdef int append(self, Sequence seq, int32_t num_scheduled_tokens, int32_t block_size) except -1:
        """Add the next tokens of a sequence whose blocks are allocated."""
        cdef int32_t row = self.num_seqs
        cdef int32_t token = self.num_tokens
        cdef int32_t end_token = token + num_scheduled_tokens
        cdef int32_t position = seq.num_computed_tokens
        cdef int32_t block_index = position // block_size
        cdef int32_t offset = position - block_index * block_size
        cdef int32_t i

        self._seq_ids[row] = seq.seq_id
        self._num_computed_before[row] = position
        self._seq_lens[row] = position + num_scheduled_tokens
        self._query_start_loc[row + 1] = end_token
        while token < end_token:
            if offset == block_size:
                offset = 0
                block_index += 1
            self._token_ids[token] = seq.tokens[position]
            self._positions[token] = position
            self._slot_mapping[token] = seq.block_table[block_index] * block_size + offset
            token += 1
            position += 1
            offset += 1

        # PERF: 1024 tables of 8192 blocks are 32 MB; only a step's new entries are written.
        if self.row_table_ids[row] != seq.table_id:
            self.row_table_ids[row] = seq.table_id
            self.row_num_blocks[row] = 0
        for i in range(self.row_num_blocks[row], seq.num_blocks):
            self._block_tables[row, i] = seq.block_table[i]
        self.row_num_blocks[row] = seq.num_blocks

        if position == seq.num_tokens:
            self._logits_rows[self.num_sampled] = end_token - 1
            self._sampled_seqs[self.num_sampled] = row
            self.num_sampled += 1
        self.sequences.append(seq)
        self.num_seqs = row + 1
        self.num_tokens = end_token
        return 0
