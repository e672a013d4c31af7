"""EngineMetrics: what is counted about the engine and its front ends, in one registry."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lite.config import EngineConfig
from lite.engine.histogram import Histogram, RateWindow, one_two_five
from lite.engine.http_metrics import HttpMetrics
from lite.engine.metric_names import engine_families
from lite.engine.stats import RequestRecord, kv_cache_usage, prefix_cache_hit_rate
from lite.messages import EngineStats, HttpObservation

TTFT_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
PER_TOKEN_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
LATENCY_BUCKETS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0),
    *(60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
STEP_TOKENS_BUCKETS = (1.0, *(2.0**power for power in range(3, 15)))
N_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0)
_NUM_RECENT = 1_000


class EngineCounts:
    """Everything counted about one loaded engine, by the engine's thread."""

    def __init__(self, stats: EngineStats, config: EngineConfig) -> None:
        lengths = one_two_five(stats.max_model_len)
        self.model = stats.model
        self.config = config
        self.num_prompt_tokens_computed = 0
        self.num_generated_tokens = 0
        self.num_outputs: Counter[str] = Counter()  # finished, by reason
        self.num_requests: Counter[str] = Counter()  # the same, counting output 0 alone

        self.ttft_s = Histogram(TTFT_BUCKETS)
        self.itl_s = Histogram(PER_TOKEN_BUCKETS)
        self.tpot_s = Histogram(PER_TOKEN_BUCKETS)
        self.e2e_s = Histogram(LATENCY_BUCKETS)
        self.request_e2e_s = Histogram(LATENCY_BUCKETS)
        self.queue_s = Histogram(LATENCY_BUCKETS)
        self.prefill_s = Histogram(LATENCY_BUCKETS)
        self.decode_s = Histogram(LATENCY_BUCKETS)
        self.inference_s = Histogram(LATENCY_BUCKETS)
        self.prompt_tokens = Histogram(lengths)
        self.computed_tokens = Histogram(lengths)
        self.output_tokens = Histogram(lengths)
        self.most_output_tokens = Histogram(lengths)
        self.max_tokens = Histogram(lengths)
        self.n = Histogram(N_BUCKETS)
        self.step_tokens = Histogram(STEP_TOKENS_BUCKETS)

        self.last_num_seqs = 0
        self.recent_prompt_tokens = RateWindow()
        self.recent_generated_tokens = RateWindow()
        self.recent_steps = RateWindow()
        self.recent_step_tokens = RateWindow()
        self.recent_seqs = RateWindow()
        self.recent_e2e_s: deque[float] = deque(maxlen=_NUM_RECENT)
        self.recent_queue_s: deque[float] = deque(maxlen=_NUM_RECENT)

    def add_step(
        self,
        now_s: float,
        *,
        num_tokens: int,
        num_seqs: int,
        num_prompt_tokens: int,
        num_generated: int,
    ) -> None:
        """Count one step."""
        self.num_prompt_tokens_computed += num_prompt_tokens
        self.num_generated_tokens += num_generated
        self.step_tokens.observe(num_tokens)
        self.last_num_seqs = num_seqs
        self.recent_prompt_tokens.add(now_s, num_prompt_tokens)
        self.recent_generated_tokens.add(now_s, num_generated)
        self.recent_steps.add(now_s, 1)
        self.recent_step_tokens.add(now_s, num_tokens)
        self.recent_seqs.add(now_s, num_seqs)

    def add_finished(self, record: RequestRecord) -> None:
        """Count one output that ended."""
        self.num_outputs[record.finish_reason] += 1
        self.e2e_s.observe(record.e2e_s)
        self.prompt_tokens.observe(record.num_prompt_tokens)
        self.output_tokens.observe(record.num_output_tokens)
        self.max_tokens.observe(record.max_tokens)
        if record.queue_s is not None:
            self.queue_s.observe(record.queue_s)
            self.recent_queue_s.append(record.queue_s)
        if record.prefill_s is not None and record.decode_s is not None:
            self.prefill_s.observe(record.prefill_s)
            self.decode_s.observe(record.decode_s)
            self.inference_s.observe(record.prefill_s + record.decode_s)
            self.computed_tokens.observe(record.num_prompt_tokens - record.num_cached_tokens)
            if record.num_output_tokens > 1:
                self.tpot_s.observe(record.decode_s / (record.num_output_tokens - 1))
        if record.index == 0:
            self.num_requests[record.finish_reason] += 1
            self.n.observe(record.n)
            self.request_e2e_s.observe(record.e2e_s)
            self.recent_e2e_s.append(record.e2e_s)
        most = record.num_output_tokens if record.n == 1 else record.most_output_tokens
        if most is not None:
            self.most_output_tokens.observe(most)


class EngineMetrics(Collector):
    """The engine's observer, and the text that /metrics shows.

    The observer's methods belong to the engine's thread; `observe_http`, `render` and `progress`
    to one other. Engine metrics appear once `describe_engine` was called, after the model was
    loaded. `compat` picks the sets of names: "vllm", "llm", "lite", "vllm-retired".
    """

    def __init__(self, compat: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._compat = tuple(compat)
        self._clock = clock
        self._http = HttpMetrics()
        self._counts: EngineCounts | None = None
        self._stats = EngineStats()
        self._num_first_tokens = 0  # since the last step
        self._itls_s: list[float] = []  # since the last step
        # PERF: called for each token, so it is the list's own method.
        self.on_token: Callable[[float], None] = self._itls_s.append
        self._last_progress = (clock(), 0, 0)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def describe_engine(self, stats: EngineStats, config: EngineConfig) -> None:
        """Begin to show the engine's metrics; `stats` names the model and its context length."""
        self._stats = stats
        self._counts = EngineCounts(stats, config)

    def on_first_token(self, ttft_s: float) -> None:
        """Note an output's first token."""
        self._num_first_tokens += 1
        self._counted.ttft_s.observe(ttft_s)

    def on_step(self, *, num_tokens: int, num_seqs: int, num_sampled: int) -> None:
        """Note a step; the tokens that it gave were noted before."""
        counts, itls_s = self._counted, self._itls_s
        num_first, self._num_first_tokens = self._num_first_tokens, 0
        num_generated = num_first + len(itls_s)
        counts.itl_s.observe_all(itls_s)
        itls_s.clear()
        counts.add_step(
            self._clock(),
            num_tokens=num_tokens,
            num_seqs=num_seqs,
            # A decoding sequence computes one token; all else belongs to prompts.
            num_prompt_tokens=num_tokens - (num_sampled - num_first),
            num_generated=num_generated,
        )

    def on_request_finished(self, record: RequestRecord) -> None:
        """Note an output that ended."""
        self._counted.add_finished(record)

    @property
    def _counted(self) -> EngineCounts:
        assert self._counts is not None, "describe_engine comes first"
        return self._counts

    def observe_http(self, observation: HttpObservation) -> None:
        """Note an HTTP request that a front end finished."""
        self._http.observe(observation)

    def render(self, stats: EngineStats) -> str:
        """Return the exposition text, with gauges from `stats`."""
        self._stats = stats
        return generate_latest(self._registry).decode()

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families, for the registry."""
        if self._counts is not None:
            yield from engine_families(self._counts, self._stats, self._compat, self._clock())
        yield from self._http.collect()

    def progress(self, stats: EngineStats) -> dict[str, float] | None:
        """Return the fields of the periodic log line, since the last call; None: nothing ran."""
        now_s, counts = self._clock(), self._counts
        if counts is None:
            return None
        last_s, last_prompt, last_generated = self._last_progress
        num_prompt, num_generated = counts.num_prompt_tokens_computed, counts.num_generated_tokens
        self._last_progress = (now_s, num_prompt, num_generated)
        num_open = stats.num_running + stats.num_waiting
        if (num_prompt, num_generated) == (last_prompt, last_generated) and not num_open:
            return None
        elapsed_s = max(now_s - last_s, 1e-9)
        return {
            "prompt_tokens_per_s": round((num_prompt - last_prompt) / elapsed_s, 1),
            "generated_tokens_per_s": round((num_generated - last_generated) / elapsed_s, 1),
            "num_running": stats.num_running,
            "num_waiting": stats.num_waiting,
            "kv_cache_usage": round(kv_cache_usage(stats), 3),
            "prefix_cache_hit_rate": round(prefix_cache_hit_rate(stats), 3),
        }
