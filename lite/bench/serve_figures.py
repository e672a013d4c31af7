"""What the clients of a loaded server saw, under the names of `vllm bench serve`."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lite.bench.openai_stream import Outcome
from lite.bench.statistics import summary
from lite.bench.workload import BenchRequest
from lite.errors import ConfigError, LiteError
from lite.text.tokenizer import Tokenizer

SLO_NAMES = ("ttft", "tpot", "e2el")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests that were sent, and what became of each.

    Attributes:
        requests: in the order of `outcomes`.
        outcomes: failed ones included.
        duration_s: from the first arrival to the last end.
        client_cpu_s: what sending and reading took of this process's CPU time meanwhile.
        has_queue: whether requests had a time at which they were due.
        num_interrupted: further requests that had not ended when Ctrl-C came.
    """

    requests: Sequence[BenchRequest]
    outcomes: Sequence[Outcome]
    duration_s: float
    client_cpu_s: float
    has_queue: bool = False
    num_interrupted: int = 0


def parse_goodput(pairs: Sequence[str]) -> dict[str, float]:
    """Read objectives such as `ttft:500 tpot:50`, in milliseconds.

    Raises:
        ConfigError: one is not NAME:MILLISECONDS, or its name is unknown.
    """
    objectives: dict[str, float] = {}
    for pair in pairs:
        name, _, text = pair.partition(":")
        try:
            limit = float(text)
        except ValueError:
            limit = math.nan
        if name not in SLO_NAMES or not 0.0 <= limit < math.inf:
            raise ConfigError(
                f"--goodput {pair!r} is not NAME:MILLISECONDS with one of {', '.join(SLO_NAMES)}, "
                "such as ttft:500 tpot:50."
            )
        if name in objectives:
            raise ConfigError(f"--goodput names {name} twice; give it once.")
        objectives[name] = limit
    return objectives


def serve_figures(
    load: Load,
    tokenizer: Tokenizer,
    *,
    percentiles: Sequence[float],
    goodput: Mapping[str, float],
) -> dict[str, Any]:
    """Return what `vllm bench serve` reports, with its keys.

    Failed requests count in `failed` and `errors`, in `max_concurrent_requests` while they were
    open, and in nothing else. `request_goodput` is None without objectives; a request of one token
    meets any `tpot`, as in vLLM. `tokenizer` counts the outputs of a server that does not;
    `total_cached_tokens` is None if it does not say.
    """
    counted_here = _count_output(load.outcomes, tokenizer)
    requests, outcomes, duration_s = load.requests, load.outcomes, load.duration_s
    done = [
        (one, request) for one, request in zip(outcomes, requests, strict=True) if not one.error
    ]
    good = [one for one, _ in done]
    errors = Counter(one.error for one in outcomes if one.error)
    num_input = sum(
        request.num_input if one.num_input is None else one.num_input for one, request in done
    )
    num_output = sum(one.num_output or 0 for one in good)
    cached = [one.num_cached for one in good if one.num_cached is not None]
    meets = [all(1e3 * _measure(one, name) <= goodput[name] for name in goodput) for one in good]
    figures: dict[str, Any] = {
        "duration": duration_s,
        "completed": len(good),
        "failed": len(outcomes) - len(good),
        "num_interrupted": load.num_interrupted,
        "total_input_tokens": num_input,
        "total_output_tokens": num_output,
        "total_cached_tokens": sum(cached) if cached else None,
        "total_requested_output_tokens": sum(request.num_output for _, request in done),
        "request_throughput": len(good) / duration_s,
        "request_goodput": sum(meets) / duration_s if goodput else None,
        "output_throughput": num_output / duration_s,
        "total_token_throughput": (num_input + num_output) / duration_s,
        "max_concurrent_requests": _peak(outcomes),
        "client_cpu_share": load.client_cpu_s / duration_s,
        "output_counted_by": "tokenizer" if counted_here else "usage",
        "errors": dict(errors.most_common()),
    }
    several = [one for one in good if (one.num_output or 0) > 1]
    figures |= summary("ttft", [one.ttft_s for one in good], percentiles)
    figures |= summary("tpot", [_measure(one, "tpot") for one in several], percentiles)
    figures |= summary("itl", [gap for one in good for gap in one.itl_s], percentiles)
    figures |= summary("e2el", [one.latency_s for one in good], percentiles)
    if load.has_queue:
        figures |= summary("client_queue_time", [one.queue_s for one in good], percentiles)
    return figures


def _count_output(outcomes: Sequence[Outcome], tokenizer: Tokenizer) -> bool:
    """Count the output tokens that the server did not; return whether there were any."""
    uncounted = [one for one in outcomes if not one.error and one.num_output is None]
    for outcome in uncounted:
        try:
            outcome.num_output = len(tokenizer.encode(outcome.text, add_special_tokens=False))
        except LiteError as error:
            outcome.error = f"the server reports no usage, and its text: {error}"
    return bool(uncounted)


def distributions(load: Load) -> dict[str, list[float]]:
    """Return what a chart shows, in ms."""
    good = [one for one in load.outcomes if not one.error]
    several = [one for one in good if (one.num_output or 0) > 1]
    return {
        "time to first token": [1e3 * one.ttft_s for one in good],
        "inter-token latency": [1e3 * gap for one in good for gap in one.itl_s],
        "time per output token": [1e3 * _measure(one, "tpot") for one in several],
        "end-to-end latency": [1e3 * one.latency_s for one in good],
    }


def details(load: Load) -> dict[str, Any]:
    """Return the lists of `vllm bench serve --save-detailed`, one entry a request."""
    outcomes = load.outcomes
    return {
        "input_lens": [
            request.num_input if one.num_input is None else one.num_input
            for one, request in zip(outcomes, load.requests, strict=True)
        ],
        "cached_lens": [one.num_cached for one in outcomes],
        "output_lens": [one.num_output or 0 for one in outcomes],
        "ttfts": [one.ttft_s for one in outcomes],
        "itls": [one.itl_s for one in outcomes],
        "latencies": [one.latency_s for one in outcomes],
        "start_times": [one.start_s for one in outcomes],
        "queue_times": [one.queue_s for one in outcomes],
        "errors_by_request": [one.error for one in outcomes],
    }


def _measure(outcome: Outcome, name: str) -> float:
    """Return one of `SLO_NAMES` of a request, in seconds."""
    if name == "ttft":
        return outcome.ttft_s
    if name == "e2el":
        return outcome.latency_s
    num_later = (outcome.num_output or 0) - 1
    return (outcome.latency_s - outcome.ttft_s) / num_later if num_later > 0 else 0.0


def _peak(outcomes: Sequence[Outcome]) -> int:
    """Return how many requests were open at once, at most."""
    begins = [(one.start_s, 1) for one in outcomes]
    ends = [(one.end_s, -1) for one in outcomes]
    peak = num_open = 0
    for _, change in sorted(begins + ends):
        num_open += change
        peak = max(peak, num_open)
    return peak
