"""Scheduler and Batch: admission, budgets, preemption, stop rules, aborts."""

import gc
import weakref

import numpy as np
import numpy.typing as npt
import pytest

from lite.scheduling import FINISHED_LENGTH, FINISHED_STOP, Batch, Scheduler

Tokens = npt.NDArray[np.int32]


def prompt(length: int, start: int = 0) -> Tokens:
    return np.arange(start, start + length, dtype=np.int32)


class Run:
    """A scheduler, its batch, and a model that always samples the same token."""

    def __init__(self, **limits: int) -> None:
        sizes = {
            "num_blocks": 64,
            "block_size": 4,
            "max_num_seqs": 8,
            "max_num_batched_tokens": 64,
            "max_model_len": 128,
            **limits,
        }
        self.scheduler = Scheduler(**sizes)
        self.batch = Batch(
            max_num_seqs=sizes["max_num_seqs"],
            max_num_batched_tokens=sizes["max_num_batched_tokens"],
            max_blocks_per_seq=-(-sizes["max_model_len"] // sizes["block_size"]),
        )

    def schedule(self) -> dict[int, int]:
        """Return how many tokens each sequence of the next step gets, in batch order."""
        n = self.scheduler.schedule(self.batch)
        counts = np.diff(self.batch.query_start_loc[: n + 1])
        return dict(zip(self.batch.seq_ids[:n].tolist(), counts.tolist(), strict=True))

    def update(self, token: int = 9) -> list[list[int]]:
        sampled = np.full(self.batch.num_sampled, token, dtype=np.int32)
        events = self.scheduler.update(self.batch, sampled).tolist()
        self.scheduler.check()
        return events

    def step(self, token: int = 9) -> dict[int, int]:
        counts = self.schedule()
        if counts:
            self.update(token)
        return counts


# --- budget and order ----------------------------------------------------------------------


def test_a_prompt_is_computed_and_then_one_token_a_step() -> None:
    run = Run()
    run.scheduler.add(1, prompt(10), max_tokens=3)
    assert run.schedule() == {1: 10}
    assert run.batch.logits_rows[:1].tolist() == [9]
    assert run.batch.token_ids[:10].tolist() == list(range(10))
    assert run.update(50) == []
    assert run.schedule() == {1: 1}
    assert run.batch.token_ids[0] == 50
    assert run.batch.positions[0] == 10
    assert run.batch.seq_lens[0] == 11
    assert run.batch.num_computed_before[0] == 10
    table = run.batch.block_tables[0]
    assert run.batch.slot_mapping[0] == table[2] * 4 + 2
    assert run.update(51) == []
    assert run.step(52) == {1: 1}
    assert run.scheduler.token_ids(1).tolist() == [*range(10), 50, 51, 52]
    assert run.schedule() == {}


def test_a_long_prompt_is_chunked_to_the_budget_and_samples_once_at_its_end() -> None:
    run = Run(max_num_batched_tokens=8)
    run.scheduler.add(1, prompt(20), max_tokens=2)
    sampled = []
    for expected in (8, 8, 4):
        assert run.schedule() == {1: expected}
        sampled.append(run.batch.num_sampled)
        run.update()
    assert sampled == [0, 0, 1]


def test_decodes_come_first_and_a_prefill_gets_what_is_left() -> None:
    run = Run(max_num_batched_tokens=8)
    for seq_id in range(3):
        run.scheduler.add(seq_id, prompt(2), max_tokens=20)
    run.step()
    run.scheduler.add(9, prompt(12, start=100), max_tokens=2)
    assert run.step() == {0: 1, 1: 1, 2: 1, 9: 5}
    assert run.step() == {0: 1, 1: 1, 2: 1, 9: 5}
    assert run.step() == {0: 1, 1: 1, 2: 1, 9: 2}


def test_no_more_sequences_run_than_the_budget_has_tokens_for() -> None:
    run = Run(max_num_batched_tokens=2, max_num_seqs=8)
    for seq_id in range(5):
        run.scheduler.add(seq_id, prompt(1), max_tokens=4)
    assert run.step() == {0: 1, 1: 1}
    assert run.step() == {0: 1, 1: 1}
    assert run.scheduler.num_waiting == 3


def test_sequences_are_admitted_in_order_of_arrival() -> None:
    run = Run(num_blocks=8, max_num_seqs=4)
    run.scheduler.add(5, prompt(20), max_tokens=4)
    run.scheduler.add(6, prompt(20, start=40), max_tokens=4)
    run.scheduler.add(7, prompt(1, start=80), max_tokens=1)
    assert run.step() == {5: 20}
    assert run.scheduler.waiting_ids() == [6, 7]
    assert run.scheduler.num_waiting_tokens == 21


# --- admission and refusal -----------------------------------------------------------------


def test_a_sequence_that_outgrows_the_context_is_refused_with_the_numbers() -> None:
    run = Run(max_model_len=16)
    with pytest.raises(ValueError, match=r"10 tokens \+ max_tokens 7 = 17 .* max_model_len 16"):
        run.scheduler.add(1, prompt(10), max_tokens=7)
    run.scheduler.add(1, prompt(10), max_tokens=6)


def test_a_sequence_that_outgrows_the_pool_is_refused_with_the_numbers() -> None:
    run = Run(num_blocks=4)
    with pytest.raises(ValueError, match="needs 5 blocks of 4, the pool has 4"):
        run.scheduler.add(1, prompt(10), max_tokens=8)
    run.scheduler.add(1, prompt(10), max_tokens=7)
    while run.step():
        pass
    assert run.scheduler.num_free_blocks == 4


def test_known_tokens_without_blocks_are_not_admitted() -> None:
    run = Run(num_blocks=5)
    run.scheduler.add(1, prompt(12), max_tokens=2)
    run.scheduler.add(2, prompt(12, start=50), max_tokens=2)
    assert run.step() == {1: 12}
    assert run.step() == {1: 1}
    assert run.step() == {2: 12}


def test_blocks_that_running_sequences_may_grow_into_are_not_given_away() -> None:
    run = Run(num_blocks=6)
    run.scheduler.add(1, prompt(3), max_tokens=12)
    run.scheduler.add(2, prompt(3, start=20), max_tokens=12)
    assert run.step() == {1: 3, 2: 3}
    run.scheduler.add(3, prompt(12, start=40), max_tokens=1)
    run.scheduler.add(4, prompt(8, start=60), max_tokens=1)
    assert run.step() == {1: 1, 2: 1}
    run.scheduler.abort(3)
    assert run.step() == {1: 1, 2: 1}
    run.scheduler.abort(2)
    assert run.step() == {1: 1, 4: 8}


def test_cached_blocks_that_are_hit_do_not_count_as_free() -> None:
    """Four free blocks, three of them hit: the fourth and fifth known block do not fit."""
    run = Run(num_blocks=6)
    run.scheduler.add(1, prompt(13), max_tokens=1)
    run.step()
    run.scheduler.add(2, prompt(5, start=50), max_tokens=3)
    run.step()
    assert run.scheduler.num_free_blocks == 4
    run.scheduler.add(3, np.concatenate([prompt(12), prompt(7, start=90)]), max_tokens=1)
    assert run.step() == {2: 1}
    assert run.scheduler.is_waiting(3)


# --- prefix cache --------------------------------------------------------------------------


def test_a_shared_system_prompt_shares_blocks() -> None:
    run = Run()
    run.scheduler.add(1, prompt(18), max_tokens=8)
    run.step()
    free = run.scheduler.num_free_blocks
    run.scheduler.add(2, np.concatenate([prompt(16), prompt(2, start=70)]), max_tokens=8)
    assert run.schedule() == {1: 1, 2: 2}
    assert run.batch.block_tables[0, :4].tolist() == run.batch.block_tables[1, :4].tolist()
    run.update()
    assert run.scheduler.num_cached_tokens(2) == 16
    assert run.scheduler.num_free_blocks == free - 1
    assert (run.scheduler.prefix_cache_queries, run.scheduler.prefix_cache_hits) == (36, 16)


def test_the_last_prompt_token_is_computed_even_if_every_block_is_cached() -> None:
    run = Run()
    run.scheduler.add(1, prompt(8), max_tokens=1)
    run.step()
    run.scheduler.add(2, prompt(8), max_tokens=1)
    assert run.schedule() == {2: 4}
    assert run.batch.num_sampled == 1


def test_equal_prompts_that_are_computed_together_end_up_sharing_one_copy() -> None:
    run = Run()
    for seq_id in range(4):
        run.scheduler.add(seq_id, prompt(10), max_tokens=4)
    run.step()
    assert run.scheduler.num_free_blocks == 64 - (2 + 4)
    run.schedule()
    tables = run.batch.block_tables[:4, :3]
    assert len({tuple(row[:2]) for row in tables.tolist()}) == 1
    assert len(set(tables[:, 2].tolist())) == 4


def test_output_is_found_again_by_a_following_turn() -> None:
    run = Run()
    run.scheduler.add(1, prompt(6), max_tokens=7)
    while run.step(33):
        pass
    run.scheduler.add(2, np.concatenate([prompt(6), np.full(7, 33, np.int32)]), max_tokens=1)
    run.schedule()
    assert run.scheduler.num_cached_tokens(2) == 12


def test_other_salts_and_readers_that_decline_hit_nothing() -> None:
    run = Run()
    run.scheduler.add(1, prompt(12), max_tokens=1, salt=b"a")
    run.step()
    run.scheduler.add(2, prompt(12), max_tokens=1, salt=b"b")
    run.scheduler.add(3, prompt(12), max_tokens=1, salt=b"a", read_prefix_cache=False)
    run.scheduler.add(4, prompt(12), max_tokens=1, salt=b"a")
    assert run.step() == {2: 12, 3: 12, 4: 4}


def test_the_least_recently_used_prefix_is_evicted_first_and_from_its_end() -> None:
    run = Run(num_blocks=8)
    for start in (0, 100):
        run.scheduler.add(start, prompt(12, start), max_tokens=1)
        run.step()
    run.scheduler.add(1, prompt(13), max_tokens=1)
    run.step()
    assert run.scheduler.num_cached_tokens(1) == 12
    run.scheduler.add(2, prompt(16, start=200), max_tokens=1)
    run.step()
    run.scheduler.add(3, prompt(13, start=100), max_tokens=1)
    run.schedule()
    assert run.scheduler.num_cached_tokens(3) == 4


def test_a_reset_prefix_cache_gives_nothing_back_not_even_from_running_sequences() -> None:
    run = Run(max_num_batched_tokens=6)
    run.scheduler.add(1, prompt(10), max_tokens=8)
    run.schedule()
    run.scheduler.reset_prefix_cache()
    run.update()
    run.step()
    assert run.scheduler.num_cached_blocks == 0
    run.scheduler.add(2, prompt(10), max_tokens=1)
    run.step()
    assert run.scheduler.num_cached_tokens(2) == 0


def test_without_prefix_caching_nothing_is_shared_or_counted() -> None:
    run = Run(enable_prefix_caching=False)
    for seq_id in (1, 2):
        run.scheduler.add(seq_id, prompt(12), max_tokens=1)
        assert run.step() == {seq_id: 12}
    assert run.scheduler.num_cached_blocks == 0
    assert run.scheduler.prefix_cache_queries == 0


# --- preemption ----------------------------------------------------------------------------


def test_the_sequence_that_loses_least_work_is_preempted_and_resumes_at_the_queues_head() -> None:
    run = Run(num_blocks=6, enable_prefix_caching=False)
    run.scheduler.add(1, prompt(3), max_tokens=12)
    run.scheduler.add(2, prompt(9, start=50), max_tokens=12)
    run.step()
    run.scheduler.add(3, prompt(1), max_tokens=1)
    while not run.scheduler.num_preemptions:
        run.step()
    assert run.scheduler.num_preemptions_of(1) == 1
    assert run.scheduler.waiting_ids()[0] == 1
    known = run.scheduler.token_ids(1).size
    while run.scheduler.is_waiting(1):
        counts = run.step()
    assert counts[1] == known
    assert run.scheduler.num_recomputed_tokens == known - 1


def test_work_that_others_keep_alive_is_not_lost() -> None:
    """2 has computed more than 3 but shares most of it with 1, so 2 is the cheaper victim."""
    run = Run(num_blocks=12)
    run.scheduler.add(1, prompt(17), max_tokens=12)
    run.step()
    run.scheduler.add(2, np.concatenate([prompt(16), prompt(1, start=90)]), max_tokens=12)
    run.scheduler.add(3, prompt(9, start=50), max_tokens=12)
    while not run.scheduler.num_preemptions:
        run.step()
    assert [run.scheduler.num_preemptions_of(seq_id) for seq_id in (1, 2, 3)] == [0, 1, 0]


@pytest.mark.parametrize(("enable_prefix_caching", "recomputed"), [(False, 11), (True, 3)])
def test_a_preempted_sequence_takes_back_what_the_prefix_cache_still_holds(
    enable_prefix_caching: bool, recomputed: int
) -> None:
    run = Run(num_blocks=6, enable_prefix_caching=enable_prefix_caching)
    run.scheduler.add(1, prompt(7), max_tokens=12)
    run.scheduler.add(2, prompt(8, start=50), max_tokens=9)
    while run.step():
        pass
    assert run.scheduler.num_preemptions == 1
    assert run.scheduler.num_recomputed_tokens == recomputed


# --- stop rules ----------------------------------------------------------------------------


def test_a_stop_token_ends_the_sequence_and_frees_its_blocks_at_once() -> None:
    run = Run()
    run.scheduler.add(1, prompt(5), max_tokens=10, stop_token_ids=np.array([7, 8], np.int32))
    run.step(6)
    run.schedule()
    assert run.update(8) == [[1, FINISHED_STOP, 8]]
    assert run.scheduler.num_free_blocks == 64
    assert run.scheduler.token_ids(1).tolist() == [0, 1, 2, 3, 4, 6, 8]


def test_stop_tokens_count_only_after_min_tokens() -> None:
    run = Run()
    stop = np.array([8], np.int32)
    run.scheduler.add(1, prompt(5), max_tokens=10, min_tokens=2, stop_token_ids=stop)
    run.step(8)
    run.step(8)
    run.schedule()
    assert run.update(8) == [[1, FINISHED_STOP, 8]]


def test_max_tokens_ends_the_sequence_and_a_stop_token_there_still_counts_as_stop() -> None:
    run = Run()
    stop = np.array([8], np.int32)
    for seq_id in (1, 2):
        run.scheduler.add(seq_id, prompt(5), max_tokens=1, stop_token_ids=stop)
    run.schedule()
    events = run.scheduler.update(run.batch, np.array([3, 8], np.int32))
    assert events.tolist() == [[1, FINISHED_LENGTH, -1], [2, FINISHED_STOP, 8]]


def test_a_finished_sequence_stays_readable_until_the_next_step() -> None:
    run = Run()
    run.scheduler.add(1, prompt(5), max_tokens=1)
    run.step()
    assert run.scheduler.token_ids(1).size == 6
    assert run.scheduler.num_cached_tokens(1) == 0
    assert run.scheduler.abort(1) is False
    run.schedule()
    with pytest.raises(KeyError, match="no sequence 1"):
        run.scheduler.token_ids(1)


def test_token_views_are_read_only_and_outlive_the_sequence() -> None:
    run = Run(max_model_len=2000, num_blocks=600)
    run.scheduler.add(1, prompt(3), max_tokens=1500)
    run.step(4)
    view = run.scheduler.token_ids(1)
    while run.step(5):
        pass
    assert view.tolist() == [0, 1, 2, 4]
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


# --- abort ---------------------------------------------------------------------------------


def test_an_aborted_sequence_frees_its_blocks() -> None:
    run = Run()
    run.scheduler.add(1, prompt(9), max_tokens=5)
    run.scheduler.add(2, prompt(9, start=40), max_tokens=5)
    run.step()
    assert run.scheduler.abort(1) is True
    assert run.scheduler.abort(1) is False
    run.scheduler.check()
    assert run.schedule() == {2: 1}


def test_a_waiting_sequence_can_be_aborted() -> None:
    run = Run(max_num_seqs=1)
    for seq_id in (1, 2, 3):
        run.scheduler.add(seq_id, prompt(3), max_tokens=2)
    run.step()
    assert run.scheduler.abort(2) is True
    assert run.scheduler.waiting_ids() == [3]
    assert run.scheduler.num_waiting_tokens == 3


def test_update_skips_a_sequence_that_was_aborted_in_flight() -> None:
    run = Run()
    for seq_id in (1, 2, 3):
        run.scheduler.add(seq_id, prompt(3, start=10 * seq_id), max_tokens=seq_id % 2 + 1)
    run.schedule()
    run.scheduler.abort(2)
    events = run.scheduler.update(run.batch, np.array([71, 72, 73], np.int32))
    assert events.tolist() == []
    run.scheduler.check()
    assert run.scheduler.token_ids(1)[-1] == 71
    assert run.scheduler.token_ids(3)[-1] == 73


def test_a_new_sequence_with_an_aborted_ones_id_is_not_confused_with_it() -> None:
    run = Run()
    run.scheduler.add(1, prompt(3), max_tokens=3)
    run.schedule()
    run.scheduler.abort(1)
    run.scheduler.add(1, prompt(5, start=20), max_tokens=3)
    run.update(71)
    assert run.scheduler.token_ids(1).tolist() == [20, 21, 22, 23, 24]
    assert run.step() == {1: 5}


# --- the step's protocol -------------------------------------------------------------------


def test_a_cancelled_step_is_scheduled_again() -> None:
    run = Run(max_num_batched_tokens=6)
    run.scheduler.add(1, prompt(8), max_tokens=2)
    assert run.schedule() == {1: 6}
    run.scheduler.cancel(run.batch)
    assert run.schedule() == {1: 6}
    run.update()
    assert run.step() == {1: 2}


def test_steps_strictly_alternate() -> None:
    run = Run()
    run.scheduler.add(1, prompt(8), max_tokens=3)
    nothing = np.empty(0, np.int32)
    with pytest.raises(ValueError, match="not the batch that the last"):
        run.scheduler.update(run.batch, nothing)
    run.schedule()
    with pytest.raises(RuntimeError, match="in flight"):
        run.schedule()
    run.update()
    with pytest.raises(ValueError, match="not the batch that the last"):
        run.scheduler.update(run.batch, nothing)
    with pytest.raises(ValueError, match="not the batch that the last"):
        run.scheduler.cancel(run.batch)


def test_a_batch_filled_by_another_scheduler_is_not_taken_for_ones_own() -> None:
    first, second = Run(), Run()
    first.scheduler.add(1, prompt(8), max_tokens=3)
    second.scheduler.add(2, prompt(8, start=50), max_tokens=3)
    first.schedule()
    second.scheduler.schedule(first.batch)
    with pytest.raises(ValueError, match="not the batch that the last"):
        first.update()
    second.scheduler.update(first.batch, np.array([4], np.int32))
    assert second.scheduler.token_ids(2)[-1] == 4


def test_a_refused_update_changes_nothing_and_can_be_repeated() -> None:
    run = Run()
    run.scheduler.add(1, prompt(8), max_tokens=3)
    run.schedule()
    with pytest.raises(ValueError, match="1 sequences sample, got 2 tokens"):
        run.scheduler.update(run.batch, np.array([1, 2], np.int32))
    with pytest.raises(ValueError, match="sampled token 0 is -5"):
        run.scheduler.update(run.batch, np.array([-5], np.int32))
    with pytest.raises(ValueError, match="dtype"):
        run.scheduler.update(run.batch, np.array([1]))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        run.scheduler.update(run.batch, [1])  # type: ignore[arg-type]
    assert run.update(6) == []
    assert run.scheduler.token_ids(1)[-1] == 6


def test_a_batch_that_is_too_small_is_refused_with_the_numbers() -> None:
    run = Run()
    small = Batch(max_num_seqs=8, max_num_batched_tokens=8, max_blocks_per_seq=32)
    with pytest.raises(ValueError, match="8 tokens and 32 blocks each; this scheduler needs 8, 64"):
        run.scheduler.schedule(small)
    with pytest.raises(TypeError):
        run.scheduler.schedule(None)  # type: ignore[arg-type]


def test_a_step_writes_only_the_new_entries_of_block_tables() -> None:
    """Rows that stay where they are keep what an earlier step wrote: marks prove it."""
    run = Run(num_blocks=256, max_num_batched_tokens=512)
    for seq_id in range(8):
        run.scheduler.add(seq_id, prompt(40, start=100 * seq_id), max_tokens=20 + seq_id)
    run.step()
    run.schedule()
    run.batch.block_tables[:8, 0] = -7
    run.update()
    while run.scheduler.num_running == 8:
        run.step()
    run.schedule()
    assert run.batch.seq_ids[:7].tolist() == [7, 1, 2, 3, 4, 5, 6]
    assert run.batch.block_tables[1:7, 0].tolist() == [-7] * 6
    assert run.batch.block_tables[0, 0] >= 0


# --- malformed arguments -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prompt": []}, ValueError, "at least one token"),
        ({"prompt": [[1]]}, ValueError, "one dimension"),
        ({"prompt": [-1]}, ValueError, "prompt must lie in"),
        ({"prompt": [2**31]}, ValueError, "prompt must lie in"),
        ({"prompt": [1.5]}, TypeError, "prompt must hold integers"),
        ({"prompt": ["a"]}, TypeError, "prompt must hold integers"),
        ({"prompt": [2**70]}, TypeError, "prompt must hold integers"),
        ({"max_tokens": 0}, ValueError, "max_tokens must lie in"),
        ({"max_tokens": 2**70}, ValueError, "max_tokens must lie in"),
        ({"max_tokens": None}, TypeError, "integer"),
        ({"min_tokens": -1}, ValueError, "min_tokens must lie in"),
        ({"min_tokens": 5}, ValueError, r"min_tokens must lie in \[0, 4\]"),
        ({"stop_token_ids": [-2]}, ValueError, "stop_token_ids must lie in"),
        ({"salt": "text"}, TypeError, "bytes"),
        ({"seq_id": 2**64}, ValueError, "seq_id must lie in"),
        ({"seq_id": "x"}, TypeError, "integer"),
    ],
)
def test_malformed_sequences_are_refused(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    run = Run()
    given: dict[str, object] = {"seq_id": 1, "prompt": [1, 2], "max_tokens": 4, **arguments}
    with pytest.raises(error, match=message):
        run.scheduler.add(**given)  # type: ignore[arg-type]
    assert run.scheduler.num_waiting == 0
    run.scheduler.check()


def test_an_id_in_use_is_refused() -> None:
    run = Run()
    run.scheduler.add(1, prompt(3), max_tokens=2)
    with pytest.raises(ValueError, match="sequence 1 is already scheduled"):
        run.scheduler.add(1, prompt(3), max_tokens=2)


@pytest.mark.parametrize("name", ["num_blocks", "block_size", "max_num_seqs", "max_model_len"])
def test_limits_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must lie in"):
        Run(**{name: 0}) if name != "block_size" else Scheduler(
            num_blocks=1,
            block_size=0,
            max_num_seqs=1,
            max_num_batched_tokens=1,
            max_model_len=2,
        )


def test_a_pool_beyond_32_bit_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="32-bit slot numbers"):
        Run(num_blocks=2**27, block_size=16)


def test_batches_that_do_not_fit_in_memory_raise_memory_error() -> None:
    with pytest.raises(MemoryError):
        Batch(max_num_seqs=2**20, max_num_batched_tokens=1, max_blocks_per_seq=2**31 - 1)


def test_nothing_outlives_the_scheduler_or_its_sequences() -> None:
    run = Run()
    run.scheduler.add(1, prompt(40), max_tokens=2)
    run.step()
    tokens = weakref.ref(run.scheduler.token_ids(1).base)
    run.step()
    assert tokens() is not None
    run.schedule()
    assert tokens() is None
    run.scheduler.add(2, prompt(40), max_tokens=2)
    run.schedule()
    tokens = weakref.ref(run.scheduler.token_ids(2).base)
    del run
    gc.collect()
    assert tokens() is None
