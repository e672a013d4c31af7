"""The names under which the engine's counts are shown: vLLM's, and those of smaller servers.

Only what really happens here has a name: nothing about speculation, LoRA or sleeping.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from lite.engine.histogram import Histogram, percentile
from lite.engine.stats import kv_cache_usage, prefix_cache_hit_rate
from lite.messages import FINISH_REASONS, EngineStats

if TYPE_CHECKING:
    from lite.engine.metrics import EngineCounts


def engine_families(
    counts: "EngineCounts", stats: EngineStats, compat: Sequence[str], now_s: float
) -> Iterator[Metric]:
    """Yield the families of the chosen sets; gauges as of `stats`, rates as of `now_s`."""
    if "vllm" in compat:
        yield from _vllm(counts, stats)
    if "vllm-retired" in compat:
        yield from _vllm_retired(counts, stats)
    if "llm" in compat:
        yield from _llm(counts, stats)
    if "lite" in compat:
        yield from _lite(counts, stats, now_s)


class _Families:
    """Makes families whose samples all carry the same labels."""

    def __init__(self, prefix: str, labels: dict[str, str]) -> None:
        self._prefix = prefix
        self._names = list(labels)
        self._values = list(labels.values())

    def gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(self._prefix + name, text, labels=self._names)
        family.add_metric(self._values, value)
        return family

    def counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(self._prefix + name, text, labels=self._names)
        family.add_metric(self._values, value)
        return family

    def counters(self, name: str, text: str, label: str, values: dict[str, float]) -> Metric:
        family = CounterMetricFamily(self._prefix + name, text, labels=[*self._names, label])
        for key, value in values.items():
            family.add_metric([*self._values, key], value)
        return family

    def gauges(self, name: str, text: str, label: str, values: dict[str, float]) -> Metric:
        family = GaugeMetricFamily(self._prefix + name, text, labels=[*self._names, label])
        for key, value in values.items():
            family.add_metric([*self._values, key], value)
        return family

    def histogram(self, name: str, text: str, histogram: Histogram) -> Metric:
        family = HistogramMetricFamily(self._prefix + name, text, labels=self._names)
        family.add_metric(self._values, histogram.cumulative(), histogram.sum)
        return family


def _vllm(c: "EngineCounts", stats: EngineStats) -> Iterator[Metric]:
    labels = {"model_name": c.model, "engine": "0"}
    f = _Families("vllm:", labels)
    computed, cached = c.num_prompt_tokens_computed, stats.prefix_cache_hits

    yield f.gauge("num_requests_running", "Requests in the running batch.", stats.num_running)
    yield f.gauge("num_requests_waiting", "Requests waiting for a place.", stats.num_waiting)
    yield f.gauges(
        "num_requests_waiting_by_reason",
        "Requests waiting, by reason.",
        "reason",
        {"capacity": stats.num_waiting},
    )
    yield f.gauge(
        "kv_cache_usage_perc", "KV blocks in use; 1 means all of them.", kv_cache_usage(stats)
    )
    yield _cache_config(c, stats, labels)

    yield f.counter(
        "prefix_cache_queries", "Prompt tokens looked up in the cache.", stats.prefix_cache_queries
    )
    yield f.counter("prefix_cache_hits", "Prompt tokens found in the prefix cache.", cached)
    yield f.counter("num_preemptions", "Sequences preempted.", stats.num_preemptions)
    yield f.counter("prompt_tokens", "Prefill tokens, computed or cached.", computed + cached)
    yield f.counters(
        "prompt_tokens_by_source",
        "Prefill tokens by where they came from.",
        "source",
        {"local_compute": computed, "local_cache_hit": cached},
    )
    yield f.counter("prompt_tokens_cached", "Prefill tokens taken from the cache.", cached)
    yield f.counter("generation_tokens", "Tokens generated.", c.num_generated_tokens)
    yield f.counters(
        "request_success",
        "Outputs that ended, by reason.",
        "finished_reason",
        {reason: c.num_outputs[reason] for reason in FINISH_REASONS},
    )
    for name, text, histogram in (
        ("time_to_first_token_seconds", "Arrival to first token.", c.ttft_s),
        ("inter_token_latency_seconds", "Between two tokens of an output.", c.itl_s),
        (
            "request_time_per_output_token_seconds",
            "Mean time between two tokens of an output.",
            c.tpot_s,
        ),
        ("e2e_request_latency_seconds", "Arrival to the last token.", c.e2e_s),
        ("request_queue_time_seconds", "Arrival to the first step.", c.queue_s),
        ("request_prefill_time_seconds", "First step to first token.", c.prefill_s),
        ("request_decode_time_seconds", "First token to last token.", c.decode_s),
        ("request_inference_time_seconds", "First step to last token.", c.inference_s),
        ("request_prompt_tokens", "Prompt tokens of a request.", c.prompt_tokens),
        ("request_generation_tokens", "Tokens of an output.", c.output_tokens),
        (
            "request_max_num_generation_tokens",
            "Most tokens of any output of a request.",
            c.most_output_tokens,
        ),
        ("request_params_max_tokens", "The max_tokens parameter.", c.max_tokens),
        ("request_params_n", "The n parameter.", c.n),
        (
            "request_prefill_kv_computed_tokens",
            "Prompt tokens of a request that were not cached.",
            c.computed_tokens,
        ),
        ("iteration_tokens_total", "Tokens computed in a step.", c.step_tokens),
    ):
        yield f.histogram(name, text, histogram)


def _cache_config(c: "EngineCounts", stats: EngineStats, labels: dict[str, str]) -> Metric:
    return _Families(
        "vllm:",
        {
            **labels,
            "block_size": str(stats.block_size),
            "cache_dtype": stats.kv_cache_format,
            "enable_prefix_caching": str(c.config.enable_prefix_caching),
            "num_cpu_blocks": str(stats.num_blocks if stats.device == "cpu" else 0),
            "num_gpu_blocks": str(0 if stats.device == "cpu" else stats.num_blocks),
        },
    ).gauge("cache_config_info", "How the KV cache is laid out; always 1.", 1.0)


def _vllm_retired(c: "EngineCounts", stats: EngineStats) -> Iterator[Metric]:
    f = _Families("vllm:", {"model_name": c.model, "engine": "0"})
    yield f.gauge("gpu_cache_usage_perc", "Now kv_cache_usage_perc.", kv_cache_usage(stats))
    yield f.counter(
        "gpu_prefix_cache_queries", "Now prefix_cache_queries.", stats.prefix_cache_queries
    )
    yield f.counter("gpu_prefix_cache_hits", "Now prefix_cache_hits.", stats.prefix_cache_hits)
    yield f.histogram("time_per_output_token_seconds", "Now inter_token_latency_seconds.", c.itl_s)
    yield f.gauge("num_requests_swapped", "Always 0: preemption recomputes.", 0)
    yield f.gauge("cpu_cache_usage_perc", "Always 0: no second-level cache.", 0)


def _llm(c: "EngineCounts", stats: EngineStats) -> Iterator[Metric]:
    f = _Families("llm_", {})
    num_succeeded = c.num_requests["stop"] + c.num_requests["length"]
    num_all = c.num_requests.total()
    yield f.counter("requests", "Requests that ended.", num_all)
    yield f.counter("requests_success", "Requests that ended well.", num_succeeded)
    yield f.counter("requests_failed", "Requests aborted or failed.", num_all - num_succeeded)
    yield f.histogram("request_duration_seconds", "Arrival to the last token.", c.request_e2e_s)
    yield f.counter("tokens_generated", "Tokens generated.", c.num_generated_tokens)
    yield f.gauge("queue_size", "Requests waiting.", stats.num_waiting)
    yield f.gauge("active_requests", "Requests running.", stats.num_running)


def _lite(c: "EngineCounts", stats: EngineStats, now_s: float) -> Iterator[Metric]:
    f = _Families("", {})
    latencies_ms = [1_000.0 * value for value in list(c.recent_e2e_s)]
    waits_ms = [1_000.0 * value for value in list(c.recent_queue_s)]
    prompt_rate, decode_rate = c.recent_prompt_tokens, c.recent_generated_tokens
    num_steps, num_seqs = c.recent_steps.total(now_s), c.recent_seqs.total(now_s)
    num_tokens = c.recent_step_tokens.total(now_s)
    budget = num_steps * c.config.max_num_batched_tokens

    yield f.counter("requests", "Requests that ended.", c.num_requests.total())
    yield f.counter("tokens", "Tokens generated.", c.num_generated_tokens)
    num_open = stats.num_running + stats.num_waiting
    yield f.gauge("requests_in_flight", "Requests running or waiting.", num_open)
    yield f.gauge("request_queue_depth", "Requests waiting.", stats.num_waiting)
    yield f.gauge("active_sequences", "Sequences running.", stats.num_running)
    yield f.gauge("kv_cache_usage_percent", "KV blocks in use.", 100.0 * kv_cache_usage(stats))
    yield f.gauge(
        "prefix_cache_hit_rate", "Share of prompt tokens found.", prefix_cache_hit_rate(stats)
    )
    yield f.gauge(
        "prefill_throughput_tps", "Prompt tokens a second, recent.", prompt_rate.rate(now_s)
    )
    yield f.gauge("decode_throughput_tps", "Tokens a second, recent.", decode_rate.rate(now_s))
    yield f.gauge("avg_latency_ms", "Mean time of recent requests.", _mean(latencies_ms))
    for share in (50, 90, 99):
        yield f.gauge(
            f"latency_p{share}_ms",
            f"Time that {share} % of recent requests kept.",
            percentile(latencies_ms, share / 100),
        )
    yield f.gauge(
        "avg_batch_size",
        "Mean sequences of recent steps.",
        num_seqs / num_steps if num_steps else 0,
    )
    batch_size = c.last_num_seqs if stats.num_running else 0
    yield f.gauge("current_batch_size", "Sequences of the last step.", batch_size)
    yield f.gauge("avg_scheduler_wait_time_ms", "Mean wait of recent requests.", _mean(waits_ms))
    yield f.gauge(
        "packing_efficiency",
        "Share of the token budget that recent steps used.",
        num_tokens / budget if budget else 0.0,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
