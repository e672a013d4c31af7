"""Scheduler: which tokens of which sequences the next step computes, and in which blocks."""

from collections import OrderedDict

import numpy as np

from lite.scheduling.sequence cimport FINISHED, RUNNING, STOP, UNFINISHED, WAITING, FinishReason

from lite.scheduling.sequence import checked_int


cdef class Scheduler:
    """Continuous batching over one token budget, with paged blocks and a prefix cache.

    One rule: a step gives every running sequence min(num_tokens - num_computed_tokens, budget)
    tokens, those that need one token first, then admits waiting ones in order of arrival.
    Only a budget that is left over admits, so no more sequences run than it has tokens for,
    and decodes are never starved.

    A sequence is admitted when all its known tokens get blocks, with one block to spare for
    every running sequence that may still grow. When growing ones find no block, the sequence
    losing least work is preempted before anything is scheduled: it returns to the head of the
    queue and computes again what the prefix cache does not give back.

    A step is schedule(batch), then the model, then update(batch, sampled tokens) or
    cancel(batch). add() and abort() may be called at any point between.

    Args:
        num_blocks: blocks in the pool.
        block_size: tokens in a block.
        max_num_seqs: sequences in a step.
        max_num_batched_tokens: tokens in a step.
        max_model_len: prompt and output of one sequence.
        enable_prefix_caching: share blocks of equal prefixes.
        hash_bits: how much of the prefix cache's hashes is used; for tests.

    Raises:
        ValueError: a limit below 1, or more slots than 32-bit slot numbers can tell apart.
    """

    def __cinit__(
        self,
        *,
        num_blocks,
        block_size,
        max_num_seqs,
        max_num_batched_tokens,
        max_model_len,
        bint enable_prefix_caching=True,
        int hash_bits=64,
    ):
        self.num_blocks = checked_int("num_blocks", num_blocks, 1)
        self.block_size = checked_int("block_size", block_size, 1)
        self.max_num_seqs = checked_int("max_num_seqs", max_num_seqs, 1)
        self.max_num_batched_tokens = checked_int(
            "max_num_batched_tokens", max_num_batched_tokens, 1
        )
        self.max_model_len = checked_int("max_model_len", max_model_len, 1)
        if int(self.num_blocks) * int(self.block_size) >= 2**31:
            raise ValueError(
                f"{num_blocks} blocks of {block_size} tokens exceed 32-bit slot numbers; "
                "use fewer blocks"
            )
        self.enable_prefix_caching = enable_prefix_caching
        self._tables = BlockTables(
            self.num_blocks, self.block_size, enable_prefix_caching, hash_bits
        )
        self._sequences = {}
        self._waiting = OrderedDict()
        self._running = []
        self._finished = []
        self._no_events = np.empty((0, 3), dtype=np.int64)
        self._no_events.flags.writeable = False

    # --- requests --------------------------------------------------------------------------

    def add(
        self,
        seq_id,
        prompt,
        *,
        max_tokens,
        min_tokens=0,
        stop_token_ids=(),
        bytes salt not None=b"",
        bint read_prefix_cache=True,
    ):
        """Put a sequence at the end of the queue.

        Args:
            seq_id: unique among the sequences that have not ended.
            prompt: int32 token ids, copied.
            max_tokens: end after this many output tokens.
            min_tokens: stop tokens count only after this many output tokens.
            stop_token_ids: token ids that end the output.
            salt: only sequences with the same salt share cached blocks.
            read_prefix_cache: False computes the whole prompt; its blocks are still shared.

        Raises:
            ValueError: arguments out of range, or a sequence that can never fit.
            TypeError: token ids that are not integers.
        """
        known = self._sequences.get(seq_id)
        if known is not None and (<Sequence>known).state != FINISHED:
            raise ValueError(f"sequence {seq_id} is already scheduled")
        cdef Sequence seq = Sequence(
            seq_id,
            prompt,
            block_size=self.block_size,
            max_tokens=max_tokens,
            min_tokens=min_tokens,
            stop_token_ids=stop_token_ids,
            salt=salt,
            read_prefix_cache=read_prefix_cache,
        )
        if seq.max_num_tokens > self.max_model_len:
            raise ValueError(
                f"prompt of {seq.num_prompt_tokens} tokens + max_tokens {max_tokens} = "
                f"{seq.max_num_tokens} exceeds max_model_len {self.max_model_len}; shorten one"
            )
        if seq.max_num_blocks > self.num_blocks:
            raise ValueError(
                f"prompt of {seq.num_prompt_tokens} tokens + max_tokens {max_tokens} needs "
                f"{seq.max_num_blocks} blocks of {self.block_size}, the pool has "
                f"{self.num_blocks}; shorten one or enlarge the pool"
            )
        self._sequences[seq_id] = seq
        self._waiting[seq_id] = seq
        self.num_waiting_tokens += seq.num_tokens

    def abort(self, int64_t seq_id):
        """End a sequence and free its blocks now; return False if there is none."""
        cdef Sequence seq = self._sequences.get(seq_id)
        if seq is None or seq.state == FINISHED:
            return False
        del self._sequences[seq_id]
        if seq.state == WAITING:
            del self._waiting[seq_id]
            self.num_waiting_tokens -= seq.num_tokens
        else:
            self._tables.free(seq)
            self.num_running -= 1
        seq.state = FINISHED
        return True

    # --- a step ----------------------------------------------------------------------------

    def schedule(self, Batch batch not None):
        """Fill the batch with the next step and return its number of sequences.

        0 means that nothing is waiting or running.

        Raises:
            ValueError: the batch is smaller than the scheduler's limits.
            RuntimeError: the last batch was neither updated nor cancelled.
        """
        cdef int32_t budget = self.max_num_batched_tokens
        cdef int32_t num_decodes, i, num_scheduled_tokens
        cdef int32_t max_blocks = (self.max_model_len - 1) // self.block_size + 1
        cdef Sequence seq
        if self._in_flight is not None:
            raise RuntimeError("the last batch is in flight; call update() or cancel() first")
        batch.begin(
            self,
            self.max_num_seqs,
            self.max_num_batched_tokens,
            min(max_blocks, self.num_blocks),
        )
        self._forget_finished()

        num_decodes = self._make_room()
        for i in range(num_decodes):
            seq = <Sequence>self._running[i]
            if seq.num_tokens > seq.num_blocks * self.block_size:
                self._tables.grow(seq)
            batch.append(seq, 1, self.block_size)
        budget -= num_decodes
        for i in range(num_decodes, self.num_running):
            if budget == 0:
                break
            seq = <Sequence>self._running[i]
            num_scheduled_tokens = min(seq.num_tokens - seq.num_computed_tokens, budget)
            batch.append(seq, num_scheduled_tokens, self.block_size)
            budget -= num_scheduled_tokens
        self._admit(batch, budget)

        if batch.num_seqs > 0:
            self._in_flight = batch
        return batch.num_seqs

    def update(self, Batch batch not None, const int32_t[::1] sampled_token_ids not None):
        """Take in the results of a step.

        Commits what was computed, appends the sampled tokens and applies the stop rules.
        Sequences aborted since are skipped. A finished sequence frees its blocks at once and
        stays readable until the next schedule().

        Args:
            batch: the batch of the last schedule().
            sampled_token_ids: int32 [batch.num_sampled].

        Returns:
            int64 [n, 3], one row for each sequence that finished: its id, FINISHED_STOP or
            FINISHED_LENGTH, and the stop token or -1.

        Raises:
            ValueError: not the batch in flight, or not one valid token per sample.
        """
        cdef int32_t row, sample = 0
        cdef bint samples
        cdef Py_ssize_t i
        cdef Sequence seq
        cdef FinishReason reason
        cdef list events = None
        self._check_in_flight(batch)
        if sampled_token_ids.shape[0] != batch.num_sampled:
            raise ValueError(
                f"{batch.num_sampled} sequences sample, got {sampled_token_ids.shape[0]} tokens"
            )
        for i in range(sampled_token_ids.shape[0]):
            if sampled_token_ids[i] < 0:
                raise ValueError(f"sampled token {i} is {sampled_token_ids[i]}, must be >= 0")
        self._in_flight = None

        for row in range(batch.num_seqs):
            seq = <Sequence>batch.sequences[row]
            samples = sample < batch.num_sampled and batch._sampled_seqs[sample] == row
            if seq.state == RUNNING:
                self._commit(seq, batch._seq_lens[row])
                if samples:
                    seq.append_token(sampled_token_ids[sample])
                    reason = seq.finish_reason()
                    if reason != UNFINISHED:
                        self._finish(seq)
                        stop_token = seq.last_token if reason == STOP else -1
                        events = events or []
                        events.append((seq.seq_id, <int>reason, stop_token))
            sample += samples
        batch.sequences.clear()
        return self._no_events if events is None else np.array(events, dtype=np.int64)

    def cancel(self, Batch batch not None):
        """Drop a step that failed: nothing was computed, the next schedule() repeats it.

        Raises:
            ValueError: not the batch in flight.
        """
        self._check_in_flight(batch)
        self._in_flight = None
        batch.sequences.clear()

    def reset_prefix_cache(self):
        """Forget every cached block; what is running now is never shared."""
        cdef Sequence seq
        self._tables.cache.clear()
        for seq in self._running:
            seq.registers_blocks = False

    # --- what an owner may ask -------------------------------------------------------------

    @property
    def num_waiting(self):
        return len(self._waiting)

    @property
    def num_free_blocks(self):
        return self._tables.pool.num_free

    @property
    def num_cached_blocks(self):
        return len(self._tables.cache)

    def waiting_ids(self):
        """Return the waiting sequences in the order in which they will be admitted."""
        return list(self._waiting)

    def running_ids(self):
        """Return the running sequences."""
        return [seq.seq_id for seq in self._running if (<Sequence>seq).state == RUNNING]

    def is_waiting(self, int64_t seq_id):
        """Say whether a sequence waits, for the first time or after a preemption."""
        return self._get(seq_id).state == WAITING

    def token_ids(self, int64_t seq_id):
        """Return prompt and output so far, a read-only int32 view."""
        return self._get(seq_id).token_ids

    def num_prompt_tokens(self, int64_t seq_id):
        """Return the length of the prompt."""
        return self._get(seq_id).num_prompt_tokens

    def num_cached_tokens(self, int64_t seq_id):
        """Return how many tokens the prefix cache gave at the first admission."""
        return max(0, self._get(seq_id).num_cached_tokens)

    def num_preemptions_of(self, int64_t seq_id):
        """Return how often a sequence was preempted."""
        return self._get(seq_id).num_preemptions

    def check(self):
        """Prove the invariants; raise AssertionError when one is broken."""
        cdef Sequence seq
        for seq in self._running:
            assert seq.state == RUNNING or seq.num_blocks == 0, "one that left kept its blocks"
        running = [seq for seq in self._running if (<Sequence>seq).state == RUNNING]
        self._tables.check(running)
        assert len(running) == self.num_running, f"{len(running)} run, not {self.num_running}"
        assert self.num_running <= min(self.max_num_seqs, self.max_num_batched_tokens)
        for seq in running:
            assert seq.num_computed_tokens < seq.num_tokens < seq.max_num_tokens
        for seq in self._waiting.values():
            assert seq.state == WAITING
            assert seq.num_blocks == 0
            assert seq.num_computed_tokens == 0
        assert self.num_waiting_tokens == sum(seq.num_tokens for seq in self._waiting.values())
        live = [seq for seq in self._sequences.values() if (<Sequence>seq).state != FINISHED]
        known = self.running_ids() + self.waiting_ids()
        assert sorted(seq.seq_id for seq in live) == sorted(known), "a sequence is lost"

    # --- room ------------------------------------------------------------------------------

    cdef int32_t _make_room(self) except -1:
        """Preempt until every growing sequence gets its block; return the number of decodes."""
        cdef int32_t num_decodes, num_others, num_needed, i
        cdef bint in_order
        cdef Sequence seq
        while True:
            num_decodes = num_others = num_needed = 0
            in_order = True
            for i in range(len(self._running)):
                seq = <Sequence>self._running[i]
                if seq.state != RUNNING:
                    in_order = False
                    continue
                if seq.num_tokens - seq.num_computed_tokens == 1:
                    num_decodes += 1
                    in_order = in_order and num_others == 0
                else:
                    num_others += 1
                num_needed += seq.num_tokens > seq.num_blocks * self.block_size
            if num_needed <= self._tables.pool.num_free:
                break
            self._preempt_cheapest()
        if not in_order:
            self._arrange(num_decodes)
        return num_decodes

    cdef int _preempt_cheapest(self) except -1:
        """Return the sequence that loses least work to the queue's head; of equals, the latest."""
        cdef Sequence seq, victim = None
        cdef int64_t lost, least = 0
        for seq in self._running:
            if seq.state == RUNNING:
                lost = self._tables.work_lost(seq)
                if victim is None or (lost, -seq.admission) < (least, -victim.admission):
                    victim = seq
                    least = lost
        assert self.num_running > 1, "a sequence that add() let in does not fit alone"
        self._tables.free(victim)
        victim.state = WAITING
        victim.num_computed_tokens = 0
        victim.num_preemptions += 1
        self.num_preemptions += 1
        self.num_running -= 1
        self._waiting[victim.seq_id] = victim
        self._waiting.move_to_end(victim.seq_id, last=False)
        self.num_waiting_tokens += victim.num_tokens
        return 0

    cdef int _arrange(self, int32_t num_decodes) except -1:
        """Put decodes first; whoever can keep its place does.

        PERF: a decode that moves has its block table copied, so only the last ones move, into
        the places that others left.
        """
        cdef list places = self._running
        cdef list others = []
        cdef Sequence seq
        cdef Py_ssize_t i
        cdef Py_ssize_t end = len(places)
        for i in range(len(places)):
            seq = <Sequence>places[i]
            if seq.state != RUNNING:
                places[i] = None
            elif seq.num_tokens - seq.num_computed_tokens > 1:
                others.append(seq)
                places[i] = None
        for i in range(num_decodes):
            if places[i] is None:
                end -= 1
                while places[end] is None:
                    end -= 1
                places[i] = places[end]
                places[end] = None
        places[num_decodes:] = others
        return 0

    # --- admission -------------------------------------------------------------------------

    cdef int32_t _admit(self, Batch batch, int32_t budget) except -1:
        """Start waiting sequences while budget, places and blocks last."""
        cdef int32_t num_reserved, num_hits, num_needed, num_scheduled_tokens
        cdef Sequence seq
        if budget == 0 or self.num_running == self.max_num_seqs or not self._waiting:
            return 0
        num_reserved = self._num_reserved_blocks()
        while budget > 0 and self.num_running < self.max_num_seqs and self._waiting:
            seq = next(iter(self._waiting.values()))
            num_hits = self._tables.find_prefix(seq)
            num_needed = self._tables.num_blocks_to_start(seq, num_hits)
            if num_needed + num_reserved > self._tables.pool.num_free:
                break
            self._start(seq, num_hits)
            num_reserved += seq.num_blocks < seq.max_num_blocks
            num_scheduled_tokens = min(seq.num_tokens - seq.num_computed_tokens, budget)
            batch.append(seq, num_scheduled_tokens, self.block_size)
            budget -= num_scheduled_tokens
        return 0

    cdef int32_t _num_reserved_blocks(self) except -1:
        """Count running sequences that may still need a block."""
        cdef int32_t num_reserved = 0
        cdef Sequence seq
        for seq in self._running:
            num_reserved += seq.num_blocks < seq.max_num_blocks
        return num_reserved

    cdef int _start(self, Sequence seq, int32_t num_hits) except -1:
        """Move the head of the queue to the running sequences."""
        del self._waiting[seq.seq_id]
        self.num_waiting_tokens -= seq.num_tokens
        self._tables.start(seq, num_hits)
        self._running.append(seq)
        self.num_running += 1
        self._num_admissions += 1
        seq.admission = self._num_admissions
        seq.state = RUNNING
        if seq.num_cached_tokens < 0:
            seq.num_cached_tokens = seq.num_computed_tokens
            if self.enable_prefix_caching and seq.read_prefix_cache:
                self.prefix_cache_queries += seq.num_tokens
                self.prefix_cache_hits += seq.num_computed_tokens
        return 0

    # --- bookkeeping -----------------------------------------------------------------------

    cdef int _commit(self, Sequence seq, int32_t num_computed_tokens) except -1:
        """Record what a step computed and share the blocks that it filled."""
        if seq.num_computed_tokens < seq.most_computed_tokens:
            self.num_recomputed_tokens += (
                min(num_computed_tokens, seq.most_computed_tokens) - seq.num_computed_tokens
            )
        seq.num_computed_tokens = num_computed_tokens
        seq.most_computed_tokens = max(seq.most_computed_tokens, num_computed_tokens)
        self._tables.register_full_blocks(seq)
        return 0

    cdef int _finish(self, Sequence seq) except -1:
        self._tables.free(seq)
        seq.state = FINISHED
        self.num_running -= 1
        self._finished.append(seq)
        return 0

    cdef int _forget_finished(self) except -1:
        cdef Sequence seq
        for seq in self._finished:
            if self._sequences.get(seq.seq_id) is seq:
                del self._sequences[seq.seq_id]
        self._finished.clear()
        return 0

    cdef Sequence _get(self, int64_t seq_id):
        seq = self._sequences.get(seq_id)
        if seq is None:
            raise KeyError(f"no sequence {seq_id}")
        return <Sequence>seq

    cdef int _check_in_flight(self, Batch batch) except -1:
        if batch is not self._in_flight or batch.filled_by is not self:
            raise ValueError("this is not the batch that the last schedule() filled")
        return 0
