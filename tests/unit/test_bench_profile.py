"""The step profile: costs, sums, and how they are shown."""

from typing import Any

import numpy as np
import pytest

from lite.bench.chart import check_plot, draw_profile
from lite.bench.cost import Cost, attention_cost, linear_cost
from lite.bench.observed_kernels import Run
from lite.bench.step_profile import ProfiledSteps, StepProfile
from lite.bench.step_report import Ceilings, profile_figures, profile_lines
from lite.errors import ConfigError


class FakeLinear:
    in_features, out_features, nbytes = 8, 20, 320


def visible(seq_len: int, num_queries: int, window: int) -> list[range]:
    """Return the positions that each query sees, by the definition of `Kernels.attention`."""
    positions = range(seq_len - num_queries, seq_len)
    return [range(max(0, p - window + 1) if window else 0, p + 1) for p in positions]


@pytest.mark.parametrize("window", [0, 1, 4, 100])
def test_attention_costs_each_visible_key_once_and_each_score(window: int) -> None:
    sequences = [(1, 1), (10, 1), (10, 10), (30, 7), (4, 2), (5, 5)]
    seen = [visible(*one, window) for one in sequences]
    num_scores = sum(len(keys) for queries in seen for keys in queries)
    num_keys = sum(len({key for keys in queries for key in keys}) for queries in seen)
    cost = attention_cost(
        np.array([seq_len for seq_len, _ in sequences], np.int32),
        np.cumsum([0, *(n for _, n in sequences)]).astype(np.int32),
        sliding_window=window,
        num_heads=6,
        head_dim=16,
        token_bytes=128.0,
    )
    assert cost == Cost(128.0 * num_keys, 4.0 * 6 * 16 * num_scores)


def test_a_product_costs_its_weights_once_and_two_operations_each() -> None:
    x, rows = np.zeros((3, 8)), np.zeros(2, np.int32)
    arguments = {"x": x, "linear": FakeLinear()}
    assert linear_cost("norm_linear", arguments) == Cost(320.0, 2.0 * 3 * 160)
    assert linear_cost("norm_gated_linear", arguments) == Cost(320.0, 2.0 * 3 * 320)
    assert linear_cost("logits", {**arguments, "rows": rows}) == Cost(320.0, 2.0 * 2 * 160)


def test_the_least_time_is_that_of_what_takes_longer() -> None:
    assert Cost(100.0, 10.0).least_s(10.0, 10.0) == 10.0
    assert Cost(10.0, 100.0).least_s(10.0, 5.0) == 20.0


def run_of(num_tokens: int = 2, num_seqs: int = 2, ms: int = 3) -> Run:
    return Run(
        num_tokens=num_tokens,
        num_seqs=num_seqs,
        rows=[("norm", "norm_rows"), ("qkv", "gemm")],
        num_entries=np.array([2, 2]),
        row_ns=np.array([500_000, ms * 1_000_000 - 600_000]),
        calls={"norm": 2, "qkv": 2},
        costs={"qkv": Cost(1e6, 1e9)},
        wake_ns=100_000,
        total_ns=ms * 1_000_000,
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that stands still unless told otherwise, in milliseconds."""

    class Clock:
        now_ms = 0.0

        def __call__(self) -> int:
            return int(self.now_ms * 1e6)

    clock = Clock()
    monkeypatch.setattr("lite.bench.step_profile._clock_ns", clock)
    return clock


def step(profile: StepProfile, clock: Any, run: Run, *, last: bool = False) -> None:
    """Report a step of 1 ms in each part outside of kernels."""
    for part in ("schedule", "launch", "collect", "update"):
        profile.mark(part)
        clock.now_ms += 1.0
        if part == "launch":
            clock.now_ms += run.total_ns / 1e6
            profile.on_run(lambda: run)
    profile.mark("idle" if last else "deliver")
    clock.now_ms += 1.0


def test_a_step_is_split_into_kernels_wake_up_and_parts(clock: Any) -> None:
    profile = StepProfile()
    step(profile, clock, run_of())
    step(profile, clock, run_of(), last=True)
    (totals,) = profile.steps().totals.values()
    assert totals.num_steps == 2
    ms = {part: ns / 1e6 for part, ns in totals.parts.items()}
    # Nothing is delivered after the last step of all.
    assert ms == {"schedule": 2.0, "launch": 2.0, "collect": 2.0, "update": 2.0, "deliver": 1.0}
    assert totals.rows == {("norm", "norm_rows"): (4, 1_000_000), ("qkv", "gemm"): (4, 4_800_000)}
    assert totals.wake_ns == 200_000
    kernels_ns = sum(ns for _, ns in totals.rows.values())
    assert kernels_ns + totals.wake_ns + sum(totals.parts.values()) == totals.total_ns
    assert totals.total_ns == 15_000_000


def test_steps_with_prompts_are_counted_apart(clock: Any) -> None:
    profile = StepProfile()
    step(profile, clock, run_of(num_tokens=9))
    step(profile, clock, run_of())
    step(profile, clock, run_of(), last=True)
    totals = profile.steps().totals
    assert list(totals) == ["decode", "prefill"]
    assert (totals["decode"].num_steps, totals["prefill"].num_steps) == (2, 1)
    assert totals["prefill"].num_tokens == 9


def test_idle_time_and_steps_without_a_batch_do_not_count(clock: Any) -> None:
    profile = StepProfile()
    profile.mark("schedule")
    clock.now_ms += 5.0
    profile.mark("deliver")
    step(profile, clock, run_of(), last=True)
    clock.now_ms += 1000.0
    step(profile, clock, run_of(), last=True)
    (totals,) = profile.steps().totals.values()
    assert totals.total_ns == 14_000_000


def test_the_profiles_own_time_is_left_out(clock: Any) -> None:
    profile = StepProfile()
    profile.mark("schedule")
    profile.mark("launch")
    clock.now_ms += 4.0

    def describe() -> Run:
        clock.now_ms += 50.0
        return run_of()

    profile.on_run(describe)
    profile.mark("idle")
    (totals,) = profile.steps().totals.values()
    assert totals.total_ns == 4_000_000
    assert totals.parts["launch"] == 1_000_000


def test_what_came_before_a_reset_is_forgotten(clock: Any) -> None:
    profile = StepProfile()
    step(profile, clock, run_of(), last=True)
    profile.reset()
    assert profile.steps().totals == {}


def figures_of(clock: Any) -> dict[str, Any]:
    profile = StepProfile()
    step(profile, clock, run_of(num_tokens=9))
    step(profile, clock, run_of())
    step(profile, clock, run_of(), last=True)
    totals = profile.steps().totals
    return profile_figures(ProfiledSteps(totals, 0.011), Ceilings(1e9, 1e12))


def test_figures_are_those_of_one_step(clock: Any) -> None:
    made = figures_of(clock)
    decode = made["steps"]["decode"]
    assert decode["num_steps"] == 2
    assert decode["ms"] == pytest.approx(7.5)
    norm, qkv = decode["operations"]
    assert (norm["operation"], norm["calls"], norm["ms"]) == ("norm", 2.0, 0.5)
    assert "gb_s" not in norm
    assert qkv["ms"] == pytest.approx(2.4)
    assert qkv["share"] == pytest.approx(2.4 / 7.5)
    # A megabyte in 2.4 ms of the 1 ms that it takes at least; a GFLOP likewise.
    assert qkv["memory_share"] == pytest.approx(1 / 2.4)
    assert qkv["compute_share"] == pytest.approx(1 / 2.4)
    assert decode["ceiling_share"] == pytest.approx(1.0 / 7.5)
    assert sum(one["share"] for one in decode["operations"] + decode["outside"]) == pytest.approx(1)
    assert decode["outside_share"] == pytest.approx((4.5 + 0.1) / 7.5)
    # 15 ms of decode and 8 ms of prefill
    assert made["other_cpu_share"] == pytest.approx(11 / 23)


def test_the_table_names_every_operation_and_part(clock: Any) -> None:
    text = "\n".join(profile_lines(figures_of(clock)))
    words = ("decode: 2 steps of 7.500 ms", "prefill: 1 steps", "qkv", "norm", "wake-up")
    numbers = ("schedule, batch", "42% memory", "61.3% outside", "47.8% of the steps' time")
    for word in words + numbers:
        assert word in text, text


def test_a_chart_is_drawn(clock: Any, tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    for suffix in ("png", "svg"):
        file = tmp_path / f"profile.{suffix}"
        check_plot(str(file))
        draw_profile(figures_of(clock)["steps"], "title", str(file))
        assert file.stat().st_size > 5000


def test_a_chart_without_matplotlib_says_how_to_install_it(monkeypatch: Any) -> None:
    for name in ("matplotlib", "matplotlib.backends", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ConfigError, match="pip install"):
        check_plot("chart.png")
    check_plot(None)


def test_a_chart_of_an_unknown_kind_is_refused() -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ConfigError, match=r"\.png"):
        check_plot("chart.docx")
