"""The scheduler and its oracle side by side, over a model of the memory they hand out."""

from typing import Any

import numpy as np
import pytest

from lite.scheduling import Batch, Scheduler
from tests.oracle.scheduler import WAITING, OracleScheduler, OracleSequence, Scheduled


class SchedulerPair:
    """Does everything twice and compares; each slot remembers the prefix whose key it holds."""

    def __init__(self, *, max_model_len: int, hash_bits: int, **limits: int) -> None:
        self.num_blocks = limits["num_blocks"]
        self.block_size = limits["block_size"]
        self.max_num_batched_tokens = limits["max_num_batched_tokens"]
        self.max_model_len = max_model_len
        self.scheduler = Scheduler(max_model_len=max_model_len, hash_bits=hash_bits, **limits)
        self.oracle = OracleScheduler(**limits)
        self.batches = [
            Batch(
                max_num_seqs=limits["max_num_seqs"],
                max_num_batched_tokens=limits["max_num_batched_tokens"],
                max_blocks_per_seq=-(-max_model_len // self.block_size),
            )
            for _ in range(2)
        ]
        self.live: dict[int, OracleSequence] = {}
        self.slots: dict[int, tuple[bytes, tuple[int, ...]]] = {}

    def add(
        self,
        seq_id: int,
        prompt: list[int],
        max_tokens: int,
        *,
        min_tokens: int = 0,
        stop_token_ids: tuple[int, ...] = (),
        salt: bytes = b"",
        read_prefix_cache: bool = True,
    ) -> None:
        """Add to both, or see that a sequence which can never fit is refused."""

        def add() -> None:
            self.scheduler.add(
                seq_id,
                np.array(prompt, np.int32),
                max_tokens=max_tokens,
                min_tokens=min_tokens,
                stop_token_ids=np.array(stop_token_ids, np.int32),
                salt=salt,
                read_prefix_cache=read_prefix_cache,
            )

        if len(prompt) + max_tokens > self.max_model_len:
            with pytest.raises(ValueError, match=f"exceeds max_model_len {self.max_model_len}"):
                add()
        elif len(prompt) + max_tokens - 1 > self.num_blocks * self.block_size:
            with pytest.raises(ValueError, match=f"the pool has {self.num_blocks}"):
                add()
        else:
            add()
            self.live[seq_id] = OracleSequence(
                seq_id,
                list(prompt),
                max_tokens,
                min_tokens,
                stop_token_ids,
                salt,
                read_prefix_cache,
            )
            self.oracle.add(self.live[seq_id])

    def abort(self, seq_id: int) -> None:
        assert self.scheduler.abort(seq_id) is True
        assert self.scheduler.abort(seq_id) is False
        self.oracle.leave(self.live.pop(seq_id))

    def reset_prefix_cache(self) -> None:
        self.scheduler.reset_prefix_cache()
        self.oracle.reset_prefix_cache()

    def run_step(
        self, shift: int, which_batch: int, *, abort: int | None = None, add_again: bool = False
    ) -> None:
        """Run a step; in its middle abort a sequence, perhaps to add another of the same id."""
        batch = self.batches[which_batch]
        step = self._schedule(batch)
        self._launch(step)
        if abort is not None:
            prompt = self.live[abort].tokens[:8]
            self.abort(abort)
            if add_again:
                self.add(abort, prompt, 3)
        if not step:
            return
        sampled = [(shift + 5 * i) % 4 for i in range(batch.num_sampled)]
        events = self.scheduler.update(batch, np.array(sampled, np.int32))
        expected = self.oracle.update(step, sampled)
        assert [tuple(event) for event in events.tolist()] == expected
        for seq_id, _, _ in expected:
            assert self.scheduler.token_ids(seq_id).tolist() == self.live.pop(seq_id).tokens
            assert self.scheduler.abort(seq_id) is False

    def cancel_step(self, which_batch: int) -> None:
        if self._schedule(self.batches[which_batch]):
            self.scheduler.cancel(self.batches[which_batch])

    def drain(self) -> None:
        """See that everything known finishes, whatever happened before."""
        for count in range(5000):
            if not self.live:
                break
            self.run_step(count % 4, count % 2)
        assert not self.live
        assert self.scheduler.num_free_blocks == self.num_blocks

    def check(self) -> None:
        """Compare everything an owner can see."""
        ours, oracle = self.scheduler, self.oracle
        ours.check()
        assert ours.waiting_ids() == [seq.seq_id for seq in oracle.waiting]
        assert ours.num_waiting == len(oracle.waiting)
        assert ours.num_waiting_tokens == sum(len(seq.tokens) for seq in oracle.waiting)
        assert sorted(ours.running_ids()) == sorted(seq.seq_id for seq in oracle.live())
        assert ours.num_running == len(oracle.live())
        assert ours.num_free_blocks == len(oracle.pool.free)
        assert ours.num_cached_blocks == len(oracle.cached)
        assert ours.num_preemptions == oracle.num_preemptions
        assert ours.num_recomputed_tokens == oracle.num_recomputed_tokens
        assert ours.prefix_cache_queries == oracle.prefix_cache_queries
        assert ours.prefix_cache_hits == oracle.prefix_cache_hits
        for seq_id, seq in self.live.items():
            assert ours.token_ids(seq_id).tolist() == seq.tokens
            assert ours.is_waiting(seq_id) == (seq.state == WAITING)
            assert ours.num_cached_tokens(seq_id) == (seq.num_cached_tokens or 0)
            assert ours.num_preemptions_of(seq_id) == seq.num_preemptions
            assert ours.num_prompt_tokens(seq_id) == seq.num_prompt_tokens

    def _schedule(self, batch: Batch) -> list[Scheduled]:
        step = self.oracle.schedule()
        assert self.scheduler.schedule(batch) == len(step)
        assert bool(step) == bool(self.live), "there is work and nothing runs"
        self._compare(batch, step)
        return step

    def _compare(self, batch: Batch, step: list[Scheduled]) -> None:
        expected: dict[str, list[Any]] = {
            "seq_ids": [row.seq.seq_id for row in step],
            "num_computed_before": [row.start for row in step],
            "seq_lens": [row.end for row in step],
            "query_start_loc": [0],
            "token_ids": [],
            "positions": [],
            "slot_mapping": [],
            "sampled_seqs": [],
            "logits_rows": [],
        }
        for i, row in enumerate(step):
            for position in range(row.start, row.end):
                expected["token_ids"].append(row.seq.tokens[position])
                expected["positions"].append(position)
                expected["slot_mapping"].append(self._slot(row, position))
            expected["query_start_loc"].append(len(expected["token_ids"]))
            if row.samples:
                expected["sampled_seqs"].append(i)
                expected["logits_rows"].append(len(expected["token_ids"]) - 1)
            assert batch.block_tables[i, : len(row.table)].tolist() == row.table
        for name, values in expected.items():
            assert getattr(batch, name)[: len(values)].tolist() == values, name
        assert batch.num_seqs == len(step)
        assert batch.num_tokens == len(expected["token_ids"]) <= self.max_num_batched_tokens
        assert batch.num_sampled == len(expected["sampled_seqs"])

    def _slot(self, row: Scheduled, position: int) -> int:
        block = row.table[position // self.block_size]
        return block * self.block_size + position % self.block_size

    def _launch(self, step: list[Scheduled]) -> None:
        """Write this step's keys, then read each sequence's whole past, as attention does."""
        for row in step:
            for position in range(row.start, row.end):
                prefix = tuple(row.seq.tokens[: position + 1])
                self.slots[self._slot(row, position)] = (row.seq.salt, prefix)
        for row in step:
            for position in range(row.end):
                expected = (row.seq.salt, tuple(row.seq.tokens[: position + 1]))
                assert self.slots[self._slot(row, position)] == expected
