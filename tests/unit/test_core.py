"""EngineCore: queueing, refusals, failures and the release of blocks."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lite.engine.core import EngineCore
from lite.engine.loading import LoadedModel
from lite.errors import CheckpointError, UnsupportedModelError
from lite.messages import TokenOutput
from tests.engines import make_core, request, run, tiny_model, tokens_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    path: Path = tmp_path_factory.mktemp("model")
    return tiny_model(path)


def assert_idle(core: EngineCore) -> None:
    stats = core.stats()
    assert stats.num_free_blocks == stats.num_blocks
    assert stats.num_running == stats.num_waiting == stats.num_waiting_tokens == 0
    assert not core.has_work()


def errors(outputs: list[TokenOutput]) -> list[str]:
    return [output.error for output in outputs if output.error]


def test_a_request_ends_with_length_and_frees_its_blocks(model: LoadedModel) -> None:
    core = make_core(model)
    core.add(request("a", range(40), max_tokens=5, temperature=0.0), "owner")
    outputs = run(core)
    assert len(tokens_of(outputs, "a")) == 5
    assert outputs[-1].finish_reason == "length"
    assert outputs[-1].timings is not None
    assert_idle(core)


def test_a_stop_token_ends_the_output_and_is_named(model: LoadedModel) -> None:
    core = make_core(model)
    core.add(request("a", range(9), max_tokens=9, temperature=0.0), "owner")
    free = tokens_of(run(core), "a")
    stop = free[3]
    core.add(request("b", range(9), max_tokens=9, temperature=0.0, stop_token_ids=[stop]), "owner")
    outputs = run(core)
    assert tokens_of(outputs, "b") == free[: free.index(stop) + 1]
    assert (outputs[-1].finish_reason, outputs[-1].stop_reason) == ("stop", stop)


def test_min_tokens_bans_stop_tokens_until_reached(model: LoadedModel) -> None:
    core = make_core(model)
    core.add(request("a", range(9), max_tokens=12, temperature=0.0), "owner")
    stop = tokens_of(run(core), "a")[0]
    sampling = {"max_tokens": 12, "temperature": 0.0, "stop_token_ids": [stop], "min_tokens": 6}
    core.add(request("b", range(9), **sampling), "owner")
    tokens = tokens_of(run(core), "b")
    assert len(tokens) >= 6
    assert stop not in tokens[:6]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_tokens": 600}, "context of 512"),
        ({"logit_bias": {10**6: 1.0}}, "logit_bias"),
        ({"allowed_token_ids": [-1]}, "allowed_token_ids"),
        ({"bad_words_token_ids": [[10**6]]}, "bad_words"),
    ],
)
def test_impossible_requests_are_refused_with_the_field(
    model: LoadedModel, fields: dict[str, object], words: str
) -> None:
    core = make_core(model)
    core.add(request("a", range(4), **fields), "owner")
    outputs = run(core)
    assert [output.finish_reason for output in outputs] == ["error"]
    assert words in errors(outputs)[0]
    assert_idle(core)


@pytest.mark.parametrize("prompt", [[], [-1], [10**6]])
def test_prompts_outside_the_vocabulary_are_refused(model: LoadedModel, prompt: list[int]) -> None:
    core = make_core(model)
    core.add(request("a", prompt), "owner")
    assert errors(run(core))[0].startswith("InvalidRequestError")
    assert_idle(core)


def test_a_request_id_is_unique_per_owner_only(model: LoadedModel) -> None:
    core = make_core(model)
    core.add(request("a", range(4), max_tokens=3), "one")
    core.add(request("a", range(4), max_tokens=3), "two")
    core.add(request("a", range(4), max_tokens=3), "two")
    assert len(errors(run(core))) == 1
    assert_idle(core)


def test_a_full_queue_refuses_at_once(model: LoadedModel) -> None:
    core = make_core(model, max_waiting_requests=2)
    for i in range(3):
        core.add(request(f"r{i}", range(4), max_tokens=2), "owner")
    outputs = run(core)
    assert [e.split()[0] for e in errors(outputs)] == ["OverloadedError"]
    assert "max_waiting_requests is 2" in errors(outputs)[0]


def test_the_queue_is_bounded_in_tokens(model: LoadedModel) -> None:
    core = make_core(model, max_waiting_tokens=100)
    core.add(request("a", range(60), max_tokens=2), "owner")
    core.add(request("b", range(60), max_tokens=2), "owner")
    assert "max_waiting_tokens is 100" in errors(run(core))[0]


def test_a_request_that_waits_too_long_times_out(model: LoadedModel) -> None:
    core = make_core(model, max_num_seqs=1)
    core.add(request("long", range(4), max_tokens=200), "owner")
    core.step()
    core.add(request("late", range(4), max_tokens=2, queue_timeout_s=0.01), "owner")
    assert core.next_deadline() is not None
    time.sleep(0.02)
    outputs = run(core)
    assert errors(outputs)[0].startswith("QueueTimeoutError")
    assert len(tokens_of(outputs, "long")) == 199
    assert core.next_deadline() is None
    assert_idle(core)


def test_the_engines_own_queue_timeout_holds_where_a_request_brings_none(
    model: LoadedModel,
) -> None:
    core = make_core(model, max_num_seqs=1, queue_timeout_s=0.01)
    core.add(request("long", range(4), max_tokens=50, queue_timeout_s=60.0), "owner")
    core.step()
    core.add(request("late", range(4), max_tokens=2), "owner")
    time.sleep(0.02)
    outputs = run(core)
    assert "queue_timeout_s is 0.01." in errors(outputs)[0]
    assert len(tokens_of(outputs, "long")) == 49


def test_all_times_count_from_the_arrival(model: LoadedModel) -> None:
    core = make_core(model)
    core.add(request("a", range(4), max_tokens=2), "owner", time.monotonic() - 5.0)
    timings = run(core)[-1].timings
    assert timings is not None
    assert 5.0 <= timings.queue_s < 6.0
    core.add(
        request("late", range(4), max_tokens=2, queue_timeout_s=1.0),
        "owner",
        time.monotonic() - 5.0,
    )
    assert "waited 5.0 s" in errors(run(core))[0]
    assert_idle(core)


def test_deadlines_of_requests_that_run_are_forgotten(model: LoadedModel) -> None:
    core = make_core(model)
    for i in range(5):
        core.add(request(str(i), range(4), max_tokens=2), "owner")
    assert core.next_deadline() is not None
    core.step()
    core.step()
    assert core.next_deadline() is None


@pytest.mark.parametrize("num_steps", [0, 1, 2, 5])
def test_an_abort_at_any_moment_frees_everything(model: LoadedModel, num_steps: int) -> None:
    core = make_core(model, max_num_batched_tokens=32)
    core.add(request("a", range(100), max_tokens=50, n=3), "owner")
    core.add(request("b", range(50), max_tokens=4), "owner")
    for _ in range(num_steps):
        core.step()
    assert core.abort("a", [], "owner")
    assert not core.abort("a", [], "owner")
    outputs = run(core)
    assert outputs[-1].request_id == "b"
    assert_idle(core)


def test_the_requests_of_a_lost_front_end_are_aborted(model: LoadedModel) -> None:
    core = make_core(model)
    for i in range(4):
        core.add(request(f"r{i}", range(30), max_tokens=50), i % 2)
    core.step()
    assert core.abort_owner(1) == 2
    assert {output.request_id for output in run(core)} == {"r0", "r2"}
    assert_idle(core)


def test_siblings_share_the_prompts_blocks(model: LoadedModel) -> None:
    core = make_core(model)
    core.add(request("a", range(64), max_tokens=8, n=4, seed=1), "owner")
    outputs = run(core)
    texts = {tuple(tokens_of(outputs, "a", index)) for index in range(4)}
    assert len(texts) == 4
    assert core.stats().prefix_cache_hits == 3 * 48
    assert_idle(core)


def test_a_seed_fixes_the_output_and_its_absence_does_not(model: LoadedModel) -> None:
    core = make_core(model)
    for i, seed in enumerate([7, 7, None, None]):
        core.add(request(f"r{i}", range(30), max_tokens=20, seed=seed), "owner")
    outputs = run(core)
    tokens = [tokens_of(outputs, f"r{i}") for i in range(4)]
    assert tokens[0] == tokens[1]
    assert tokens[2] != tokens[3]


def test_tenants_do_not_share_blocks(model: LoadedModel) -> None:
    core = make_core(model)
    hits = []
    for i, salt in enumerate([b"one", b"two", b"one"]):
        core.add(request(f"r{i}", range(64), max_tokens=2, salt=salt), "owner")
        run(core)
        hits.append(core.stats().prefix_cache_hits)
    assert hits == [0, 0, 48]


@pytest.mark.parametrize(
    "edits",
    [
        {"allowed_token_ids": [5], "bad_words_token_ids": [[5]]},
        {"allowed_token_ids": [2], "stop_token_ids": [2], "min_tokens": 1},
    ],
)
def test_a_request_whose_edits_leave_no_token_is_told_so(
    model: LoadedModel, edits: dict[str, Any]
) -> None:
    core = make_core(model)
    core.add(request("a", range(4), max_tokens=3, **edits), "owner")
    core.add(request("b", range(4), max_tokens=3), "owner")
    outputs = run(core)
    assert errors(outputs)[0].startswith("InvalidRequestError No token is possible")
    assert len(tokens_of(outputs, "b")) == 3
    assert_idle(core)


def test_the_warm_up_ends_whatever_the_budget(model: LoadedModel) -> None:
    core = make_core(model, max_num_batched_tokens=3)
    core.warm_up()
    assert_idle(core)


def test_weights_of_nan_are_refused_at_the_start(tmp_path: Path) -> None:
    core = make_core(tiny_model(tmp_path))
    core.model.weights.final_norm[:] = np.nan
    with pytest.raises(CheckpointError, match="the weights give NaN or infinite logits"):
        core.warm_up()


def test_a_model_that_the_kernels_cannot_run_is_refused_at_the_start(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core(model)

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("a vocabulary of 600000 tokens is more than sampling supports")

    monkeypatch.setattr(core.model.kernels, "sample", refuse)
    with pytest.raises(UnsupportedModelError, match=r"cannot be run: .* 600000 tokens"):
        core.warm_up()


def test_longer_steps_take_no_more_memory_for_rows(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core(model, max_num_batched_tokens=64, enable_prefix_caching=False)
    monkeypatch.setattr("lite_kernels.cpu.linear.empty_aligned", lambda *_: pytest.fail("grown"))
    for length in (5, 6, 64):
        core.add(request("a", range(length), max_tokens=2), "owner")
        assert len(tokens_of(run(core), "a")) == 2


def test_a_row_of_nan_fails_its_sequence_only(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core(model)
    real = model.kernels.sample

    def sample_with_a_failure(logits: np.ndarray, *rest: np.ndarray) -> None:
        real(logits, *rest)
        rest[-1][0] = -1

    # With logprobs, sampling is no part of the recorded step.
    core.add(request("a", range(4), max_tokens=3, logprobs=1), "owner")
    core.add(request("b", range(4), max_tokens=3), "owner")
    monkeypatch.setattr(type(model.kernels), "sample", lambda _, *a: sample_with_a_failure(*a))
    outputs = [output for _, output in core.step()]
    monkeypatch.undo()
    outputs += run(core)
    assert errors(outputs)[0].startswith("NotFiniteError")
    assert len(tokens_of(outputs, "b")) == 3
    assert_idle(core)


def test_a_failed_step_fails_its_batch_and_the_next_one_works(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core(model, max_num_seqs=2)
    for i in range(3):
        core.add(request(f"r{i}", range(20), max_tokens=3), "owner")

    def fail(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(type(model.kernels), "run", fail)
    outputs = [output for _, output in core.step()]
    monkeypatch.undo()
    assert [e.split()[0] for e in errors(outputs)] == ["EngineError", "EngineError"]
    assert len(tokens_of(run(core), "r2")) == 3
    assert_idle(core)


def test_a_draw_in_the_step_gives_what_a_draw_after_it_gives(model: LoadedModel) -> None:
    core = make_core(model)
    options = {"seed": 7, "max_tokens": 6, "temperature": 0.9, "top_k": 40}
    core.add(request("alone", range(9), **options), "owner")
    alone = tokens_of(run(core), "alone")
    # Reported logprobs of a neighbour take the draw out of the recorded step.
    core.add(request("again", range(9), **options), "owner")
    core.add(request("other", range(5), max_tokens=3, logprobs=2), "owner")
    assert tokens_of(run(core), "again") == alone


def test_sequences_that_change_places_keep_their_options(model: LoadedModel) -> None:
    core = make_core(model)
    options = {
        name: {"seed": seed, "max_tokens": length, "temperature": 1.0 + seed}
        for seed, (name, length) in enumerate([("a", 2), ("b", 9), ("c", 4), ("d", 7)])
    }
    alone = {}
    for name, one in options.items():
        core.add(request(name, range(3, 9), **one), "owner")
        alone[name] = tokens_of(run(core), name)
    for name, one in options.items():
        core.add(request(name, range(3, 9), **one), "owner")
    outputs = run(core)
    assert {name: tokens_of(outputs, name) for name in options} == alone


def test_weights_that_turn_nan_fail_a_recorded_draw(tmp_path: Path) -> None:
    core = make_core(tiny_model(tmp_path))
    core.add(request("a", range(4), max_tokens=3), "owner")
    core.add(request("b", range(4), max_tokens=3), "owner")
    core.step()
    core.model.weights.final_norm[:] = np.nan
    found = errors(run(core))
    assert len(found) == 2
    assert all(text.startswith("NotFiniteError") for text in found)
    assert_idle(core)
