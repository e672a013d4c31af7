"""EngineMetrics: the names it promises, and what it counts."""

import re
from pathlib import Path

import pytest

from lite.config import EngineConfig
from lite.engine.histogram import Histogram, RateWindow, one_two_five, percentile
from lite.engine.http_metrics import HttpMetrics
from lite.engine.metrics import EngineMetrics
from lite.engine.stats import RequestRecord
from lite.messages import EngineStats, HttpObservation

CONTRACT = Path(__file__).with_name("metrics_contract.txt")
ALL = ("vllm", "vllm-retired", "llm", "lite")
SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:0-9]+)(\{(?P<labels>.*)\})? (?P<value>\S+)")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def make_metrics(
    compat: tuple[str, ...] = ALL, clock: Clock | None = None
) -> tuple[EngineMetrics, EngineStats]:
    stats = EngineStats(
        model="tiny",
        dtype="bfloat16",
        kv_cache_format="int8",
        num_running=3,
        num_waiting=2,
        num_blocks=100,
        num_free_blocks=25,
        max_model_len=100,
        prefix_cache_queries=200,
        prefix_cache_hits=50,
        num_preemptions=4,
    )
    metrics = EngineMetrics(compat, clock or Clock())
    metrics.describe_engine(stats, EngineConfig(max_num_batched_tokens=100))
    return metrics, stats


def record(**changes: object) -> RequestRecord:
    fields: dict[str, object] = {
        "finish_reason": "stop",
        "index": 0,
        "n": 1,
        "max_tokens": 50,
        "num_prompt_tokens": 30,
        "num_cached_tokens": 16,
        "num_output_tokens": 11,
        "e2e_s": 2.0,
        "queue_s": 0.25,
        "prefill_s": 0.75,
        "decode_s": 1.0,
        "ttft_s": 1.0,
    }
    return RequestRecord(**{**fields, **changes})  # type: ignore[arg-type]


def values(text: str) -> dict[str, float]:
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#") and (match := SAMPLE.fullmatch(line)):
            labels = match["labels"]
            name = match["name"] + (f"{{{labels}}}" if labels else "")
            samples[name] = float(match["value"])
    return samples


def vllm(name: str, **labels: str) -> str:
    inner = {"engine": "0", "model_name": "tiny", **labels}
    pairs = ",".join(f'{key}="{inner[key]}"' for key in sorted(inner))
    return f"vllm:{name}{{{pairs}}}"


def contract_of(text: str) -> str:
    """Return the types, and the samples without values, as the contract file lists them."""
    lines = []
    for line in text.splitlines():
        if line.startswith("# TYPE") and not line.startswith("# TYPE process_"):
            lines.append(line.removeprefix("# TYPE "))
        elif not line.startswith(("#", "process_")):
            lines.append("  " + line.rpartition(" ")[0])
    return "\n".join(lines) + "\n"


def test_names_types_labels_and_buckets_are_those_of_the_contract() -> None:
    metrics, stats = make_metrics()
    metrics.observe_http(
        HttpObservation(method="POST", handler="/v1/completions", status=200, duration_s=0.3)
    )
    assert contract_of(metrics.render(stats)) == CONTRACT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("compat", "name"),
    [
        ("vllm", vllm("num_requests_running")),
        ("vllm-retired", vllm("gpu_cache_usage_perc")),
        ("llm", "llm_requests_total"),
        ("lite", "decode_throughput_tps"),
    ],
)
def test_each_set_is_shown_alone(compat: str, name: str) -> None:
    metrics, stats = make_metrics((compat,))
    assert name in values(metrics.render(stats))
    others, _ = make_metrics(tuple(set(ALL) - {compat}))
    assert name not in values(others.render(stats))


def test_before_the_model_is_loaded_only_http_and_the_process_are_shown() -> None:
    metrics = EngineMetrics(ALL)
    metrics.observe_http(HttpObservation(method="GET", handler="/", status=404, duration_s=0.01))
    text = metrics.render(EngineStats(state="loading"))
    assert 'http_requests_total{handler="/",method="GET",status="4xx"} 1.0' in text
    assert "process_cpu_seconds_total" in text
    assert "vllm:" not in text


def test_two_engines_in_one_process_count_apart() -> None:
    first, stats = make_metrics()
    second, _ = make_metrics()
    first.on_request_finished(record())
    name = vllm("request_success_total", finished_reason="stop")
    assert values(first.render(stats))[name] == 1
    assert values(second.render(stats))[name] == 0


def test_a_step_counts_prompt_and_generated_tokens_apart() -> None:
    metrics, stats = make_metrics()
    metrics.on_first_token(0.5)
    metrics.on_token(0.02)
    metrics.on_token(0.04)
    # Two decoding sequences, the last 20 tokens of one prompt, 8 tokens of another.
    metrics.on_step(num_tokens=30, num_seqs=4, num_sampled=3)
    shown = values(metrics.render(stats))
    assert shown[vllm("generation_tokens_total")] == 3
    assert shown[vllm("prompt_tokens_by_source_total", source="local_compute")] == 28
    assert shown[vllm("prompt_tokens_by_source_total", source="local_cache_hit")] == 50
    assert shown[vllm("prompt_tokens_total")] == 78
    assert shown[vllm("iteration_tokens_total_sum")] == 30
    assert shown[vllm("inter_token_latency_seconds_bucket", le="0.025")] == 1
    assert shown[vllm("inter_token_latency_seconds_count")] == 2
    assert shown[vllm("time_to_first_token_seconds_sum")] == 0.5
    assert shown["llm_tokens_generated_total"] == 3


def test_a_finished_request_is_counted_with_its_times() -> None:
    metrics, stats = make_metrics()
    metrics.on_request_finished(record())
    shown = values(metrics.render(stats))
    assert shown[vllm("e2e_request_latency_seconds_sum")] == 2.0
    assert shown[vllm("request_queue_time_seconds_sum")] == 0.25
    assert shown[vllm("request_inference_time_seconds_sum")] == 1.75
    assert shown[vllm("request_time_per_output_token_seconds_sum")] == pytest.approx(0.1)
    assert shown[vllm("request_prefill_kv_computed_tokens_sum")] == 14
    assert shown[vllm("request_max_num_generation_tokens_sum")] == 11
    assert shown["llm_requests_success_total"] == 1
    assert shown["avg_latency_ms"] == 2_000
    assert shown["avg_scheduler_wait_time_ms"] == 250


def test_a_request_that_never_ran_has_no_phases() -> None:
    metrics, stats = make_metrics()
    metrics.on_request_finished(
        record(
            finish_reason="abort",
            num_output_tokens=0,
            queue_s=None,
            prefill_s=None,
            decode_s=None,
            ttft_s=None,
        )
    )
    shown = values(metrics.render(stats))
    assert shown[vllm("request_success_total", finished_reason="abort")] == 1
    assert shown[vllm("request_queue_time_seconds_count")] == 0
    assert shown[vllm("request_prefill_time_seconds_count")] == 0
    assert shown["llm_requests_failed_total"] == 1


def test_the_outputs_of_one_request_make_one_request() -> None:
    metrics, stats = make_metrics()
    metrics.on_request_finished(record(n=2, index=1, num_output_tokens=20))
    metrics.on_request_finished(record(n=2, index=0, most_output_tokens=20))
    shown = values(metrics.render(stats))
    assert shown[vllm("request_success_total", finished_reason="stop")] == 2
    assert shown[vllm("request_params_n_count")] == 1
    assert shown[vllm("request_max_num_generation_tokens_sum")] == 20
    assert shown["requests_total"] == 1


def test_gauges_are_those_of_the_snapshot() -> None:
    metrics, stats = make_metrics()
    shown = values(metrics.render(stats))
    assert shown[vllm("num_requests_running")] == 3
    assert shown[vllm("num_requests_waiting_by_reason", reason="capacity")] == 2
    assert shown[vllm("kv_cache_usage_perc")] == 0.75
    assert shown[vllm("num_preemptions_total")] == 4
    assert shown["kv_cache_usage_percent"] == 75
    assert shown["prefix_cache_hit_rate"] == 0.25
    assert shown["requests_in_flight"] == 5


def test_rates_are_those_of_the_last_seconds() -> None:
    clock = Clock()
    metrics, stats = make_metrics(clock=clock)
    for _ in range(5):
        metrics.on_token(0.1)
        metrics.on_step(num_tokens=41, num_seqs=2, num_sampled=1)
        clock.now_s += 1.0
    shown = values(metrics.render(stats))
    assert shown["decode_throughput_tps"] == pytest.approx(1.0)
    assert shown["prefill_throughput_tps"] == pytest.approx(40.0)
    assert shown["avg_batch_size"] == 2
    assert shown["packing_efficiency"] == pytest.approx(0.41)
    clock.now_s += 20.0
    shown = values(metrics.render(stats))
    assert shown["decode_throughput_tps"] == shown["avg_batch_size"] == 0


def test_the_log_line_covers_the_time_since_the_last_one_and_rests_when_idle() -> None:
    clock = Clock()
    metrics, stats = make_metrics(clock=clock)
    for _ in range(10):
        metrics.on_token(0.1)
    metrics.on_step(num_tokens=30, num_seqs=11, num_sampled=10)
    clock.now_s += 10.0
    assert metrics.progress(stats) == {
        "prompt_tokens_per_s": 2.0,
        "generated_tokens_per_s": 1.0,
        "num_running": 3,
        "num_waiting": 2,
        "kv_cache_usage": 0.75,
        "prefix_cache_hit_rate": 0.25,
    }
    assert metrics.progress(EngineStats()) is None


def test_labels_stay_few_whatever_clients_send() -> None:
    http = HttpMetrics()
    for number in range(1_000):
        http.observe(
            HttpObservation(method=f"M{number}", handler=f"/{number}", status=404, duration_s=0.01)
        )
    requests = next(iter(http.collect()))
    assert len(requests.samples) <= 201
    assert {sample.labels["method"] for sample in requests.samples} == {"other"}
    assert sum(sample.value for sample in requests.samples) == 1_000


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe_all([0.5, 1.0, 1.5, 9.0])
    assert histogram.cumulative() == [("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)]
    assert histogram.sum == 12.0


def test_length_buckets_end_at_the_context_length() -> None:
    assert one_two_five(100) == [1, 2, 5, 10, 20, 50, 100]
    assert one_two_five(99) == [1, 2, 5, 10, 20, 50]
    assert one_two_five(0) == []


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.9, 90), (0.99, 99), (1.0, 100)])
def test_percentiles_are_by_nearest_rank(share: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), share) == expected
    assert percentile([], share) == 0.0


def test_a_rate_window_forgets() -> None:
    window = RateWindow(window_s=10)
    window.add(100.2, 5)
    window.add(100.8, 5)
    assert window.total(101.0) == 10
    assert window.rate(102.0) == pytest.approx(5.0)
    assert window.total(109.9) == 10
    assert window.total(110.0) == 0
