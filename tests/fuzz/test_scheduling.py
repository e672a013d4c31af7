"""Block pool, prefix cache and scheduler against their oracles, decision by decision."""

from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lite.scheduling.block_pool import BlockPool
from lite.scheduling.prefix_cache import PrefixCache
from tests.fuzz.scheduler_pair import SchedulerPair
from tests.oracle.block_pool import OracleBlockPool
from tests.oracle.prefix_cache import OraclePrefixCache

SETTINGS = settings(
    max_examples=250,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

SALTS = st.sampled_from([b"", b"tenant"])


class BlockPoolMachine(RuleBasedStateMachine):
    @initialize(num_blocks=st.integers(1, 8))
    def create(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.pool = BlockPool(num_blocks)
        self.oracle = OracleBlockPool(num_blocks)

    @rule()
    def allocate(self) -> None:
        if self.oracle.free:
            assert self.pool.allocate() == self.oracle.allocate()
        else:
            with pytest.raises(IndexError, match="is free"):
                self.pool.allocate()

    @rule(data=st.data())
    def retain(self, data: st.DataObject) -> None:
        block = data.draw(st.integers(0, self.num_blocks - 1))
        self.pool.retain(block)
        self.oracle.retain(block)

    @rule(data=st.data(), keep=st.booleans())
    def release(self, data: st.DataObject, keep: bool) -> None:
        block = data.draw(st.integers(0, self.num_blocks - 1))
        if self.oracle.ref_counts[block] == 0:
            with pytest.raises(ValueError, match="already free"):
                self.pool.release(block, keep)
        else:
            self.pool.release(block, keep)
            self.oracle.release(block, keep)

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "pool"):
            self.pool.check()
            assert self.pool.free_blocks() == self.oracle.free
            assert self.pool.num_free == len(self.oracle.free)
            counts = [self.pool.ref_count(block) for block in range(self.num_blocks)]
            assert counts == self.oracle.ref_counts


class PrefixCacheMachine(RuleBasedStateMachine):
    """Few tokens, few hash bits: nearly every lookup meets a collision."""

    @initialize(
        num_blocks=st.integers(1, 6),
        block_size=st.integers(1, 2),
        hash_bits=st.sampled_from([1, 2, 64]),
    )
    def create(self, num_blocks: int, block_size: int, hash_bits: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.cache = PrefixCache(num_blocks, block_size, hash_bits=hash_bits)
        self.oracle = OraclePrefixCache()

    @rule(data=st.data(), salt=SALTS)
    def insert(self, data: st.DataObject, salt: bytes) -> None:
        parent = data.draw(st.sampled_from([-1, *(entry.block for entry in self.oracle.entries)]))
        tokens = data.draw(st.tuples(*[st.integers(0, 1)] * self.block_size))
        block = data.draw(st.integers(0, self.num_blocks - 1))
        array = np.array(tokens, np.int32)
        if self.oracle.entry_of(block) is not None:
            with pytest.raises(ValueError, match="already cached"):
                self.cache.insert(block, parent, array, salt)
        else:
            inserted = self.cache.insert(block, parent, array, salt)
            assert inserted == self.oracle.insert(block, parent, tokens, salt)

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        block = data.draw(st.integers(0, self.num_blocks - 1))
        self.cache.forget(block)
        self.oracle.forget(block)

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.oracle.entries.clear()

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "cache"):
            self.cache.check()
            cached = sorted(entry.block for entry in self.oracle.entries)
            assert [block for block in range(self.num_blocks) if block in self.cache] == cached
            assert len(self.cache) == len(cached)

    @invariant()
    def finds_what_is_there_and_nothing_else(self) -> None:
        if not hasattr(self, "cache"):
            return
        parents = [-1, *(entry.block for entry in self.oracle.entries)]
        contents = product((0, 1), repeat=self.block_size)
        for parent, tokens, salt in product(parents, contents, (b"", b"tenant")):
            found = self.cache.find(parent, np.array(tokens, np.int32), salt)
            assert found == self.oracle.find(parent, tokens, salt)


class SchedulerMachine(RuleBasedStateMachine):
    @initialize(
        num_blocks=st.integers(2, 16),
        block_size=st.integers(1, 4),
        max_num_seqs=st.integers(1, 6),
        max_num_batched_tokens=st.integers(1, 14),
        enable_prefix_caching=st.booleans(),
        hash_bits=st.sampled_from([1, 3, 64]),
    )
    def create(self, **limits: int) -> None:
        self.pair = SchedulerPair(max_model_len=40, **limits)
        self.num_added = 0

    def new_id(self) -> int:
        self.num_added += 1
        return self.num_added

    @rule(
        prompt=st.lists(st.integers(0, 1), min_size=1, max_size=24),
        max_tokens=st.integers(1, 14),
        min_tokens=st.integers(0, 14),
        stop_token_ids=st.sampled_from([(), (3,), (2, 3)]),
        salt=SALTS,
        read_prefix_cache=st.sampled_from([True, True, False]),
    )
    def add(self, prompt: list[int], max_tokens: int, min_tokens: int, **rest: object) -> None:
        min_tokens = min(min_tokens, max_tokens)
        self.pair.add(self.new_id(), prompt, max_tokens, min_tokens=min_tokens, **rest)

    @rule(
        prompt=st.lists(st.integers(0, 1), min_size=1, max_size=12),
        copies=st.integers(2, 4),
        max_tokens=st.integers(2, 10),
    )
    def add_copies(self, prompt: list[int], copies: int, max_tokens: int) -> None:
        for _ in range(copies):
            self.pair.add(self.new_id(), prompt, max_tokens)

    @rule(shifts=st.lists(st.integers(0, 3), min_size=1, max_size=6), which=st.integers(0, 1))
    def run_steps(self, shifts: list[int], which: int) -> None:
        for shift in shifts:
            self.pair.run_step(shift, which)

    @precondition(lambda self: self.pair.live)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.pair.abort(data.draw(st.sampled_from(sorted(self.pair.live))))

    @precondition(lambda self: self.pair.live)
    @rule(data=st.data(), again=st.booleans(), shift=st.integers(0, 3))
    def abort_in_flight(self, data: st.DataObject, again: bool, shift: int) -> None:
        seq_id = data.draw(st.sampled_from(sorted(self.pair.live)))
        self.pair.run_step(shift, 0, abort=seq_id, add_again=again)

    @rule()
    def abort_an_unknown_one(self) -> None:
        assert self.pair.scheduler.abort(-1) is False

    @rule(which=st.integers(0, 1))
    def cancel_step(self, which: int) -> None:
        self.pair.cancel_step(which)

    @rule()
    def reset_prefix_cache(self) -> None:
        self.pair.reset_prefix_cache()

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check()

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.pair.drain()


def test_the_block_pool_agrees_with_its_oracle() -> None:
    run_state_machine_as_test(BlockPoolMachine, settings=SETTINGS)


def test_the_prefix_cache_agrees_with_its_oracle_under_collisions() -> None:
    run_state_machine_as_test(PrefixCacheMachine, settings=SETTINGS)


def test_the_scheduler_agrees_with_its_oracle() -> None:
    run_state_machine_as_test(SchedulerMachine, settings=SETTINGS)


@pytest.mark.parametrize("seed", range(40))
def test_the_scheduler_agrees_with_its_oracle_when_blocks_are_scarce(seed: int) -> None:
    """A crowd of sequences that outgrow the pool, with shared prompts and few samples apart."""
    random = Random(seed)
    block_size = random.randint(1, 4)
    pair = SchedulerPair(
        num_blocks=random.randint(36 // block_size, 54 // block_size),
        block_size=block_size,
        max_num_seqs=random.randint(4, 10),
        max_num_batched_tokens=random.choice([4, 6, 24]),
        max_model_len=40,
        enable_prefix_caching=seed % 4 != 0,
        hash_bits=random.choice([1, 4, 64]),
    )
    prompts = [[random.randint(0, 1) for _ in range(random.randint(2, 20))] for _ in range(5)]
    for seq_id in range(150):
        prompt = random.choice(prompts)
        prompt = prompt + [random.randint(0, 1)] * random.randint(0, 4)
        pair.add(seq_id, prompt, random.randint(4, 16), read_prefix_cache=random.random() < 0.9)
        for _ in range(random.randint(0, 5)):
            doomed = random.choice([None] * 20 + sorted(pair.live))
            pair.run_step(random.randint(0, 3), random.randint(0, 1), abort=doomed)
            pair.check()
    pair.drain()
    assert pair.scheduler.num_preemptions > 0
    assert pair.scheduler.num_recomputed_tokens > 0
    assert seed % 4 == 0 or pair.scheduler.prefix_cache_hits > 0
