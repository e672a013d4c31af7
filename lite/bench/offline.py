"""Throughput and latency of an engine that this program runs itself."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, cast

import numpy as np

from lite.bench.workload import BenchRequest, Workload
from lite.errors import ConfigError
from lite.generator import Generator, PreparedRequest
from lite.outputs import RequestOutput
from lite.sampling_params import SamplingParams

# As `vllm bench latency` reports them.
LATENCY_PERCENTILES = (10, 25, 50, 75, 90, 99)

Progress = Callable[[int], object]  # told how many more requests, or iterations, are done


def throughput(
    generator: Generator, workload: Workload, sampling: SamplingParams, progress: Progress
) -> tuple[dict[str, Any], list[tuple[float, float, int]]]:
    """Run all requests at once.

    Returns:
        The figures of `vllm bench throughput`, and for each request the seconds to its first token
        and to its end, and its output tokens. The clock runs from the first request's preparation
        to the last output's text.
    """
    start_s, ends_s = time.perf_counter(), []

    def note_end(num_done: int) -> None:
        ends_s.append(time.perf_counter() - start_s)
        progress(num_done)

    elapsed_s, outputs = _generate(generator, workload.requests, sampling, note_end)
    num_input = sum(len(output.prompt_token_ids) for output in outputs)
    num_output = sum(len(part.token_ids) for output in outputs for part in output.outputs)
    figures = {
        "elapsed_time": elapsed_s,
        "num_requests": len(outputs),
        "total_num_tokens": num_input + num_output,
        "total_prompt_tokens": num_input,
        "total_output_tokens": num_output,
        "requests_per_second": len(outputs) / elapsed_s,
        "tokens_per_second": (num_input + num_output) / elapsed_s,
        "output_tokens_per_second": num_output / elapsed_s,
        "num_preemptions": sum(t.num_preemptions for t in _timings(outputs)),
    }
    return figures, [_span(*one) for one in zip(outputs, ends_s, strict=True)]


def latency(
    generator: Generator,
    workload: Workload,
    sampling: SamplingParams,
    *,
    num_iters: int,
    num_iters_warmup: int,
    progress: Progress,
    on_warm: Callable[[], None],
) -> dict[str, Any]:
    """Run the same batch again and again and return the figures of `vllm bench latency`.

    `on_warm` is called between the last warm-up and the first measured iteration. A batch whose
    prompts take several steps decodes beside its last prompts: the first token's time is that of
    the last sequence, and decoding is counted from the first token of all.
    """
    latencies, firsts, decode_rates = [], [], []
    for iteration in range(-num_iters_warmup, num_iters):
        if iteration == 0:
            on_warm()
        elapsed_s, outputs = _generate(generator, workload.requests, sampling, lambda _: None)
        progress(1)
        if iteration < 0:
            continue
        latencies.append(elapsed_s)
        read_s = [t.queue_s + t.prefill_s for t in _timings(outputs)]
        firsts.append(max(read_s))
        num_decoded = sum(len(part.token_ids) - 1 for o in outputs for part in o.outputs)
        if num_decoded:
            decode_rates.append(num_decoded / max(elapsed_s - min(read_s), 1e-9))
    return {
        "avg_latency": statistics.fmean(latencies),
        "std_latency": statistics.pstdev(latencies),
        "latencies": latencies,
        "percentiles": {str(p): float(np.percentile(latencies, p)) for p in LATENCY_PERCENTILES},
        "median_latency": statistics.median(latencies),
        "median_first_token_s": statistics.median(firsts),
        "median_decode_tokens_per_second": statistics.median(decode_rates)
        if decode_rates
        else None,
        "batch_size": len(workload.requests),
        "total_prompt_tokens": sum(request.num_input for request in workload.requests),
        "total_output_tokens": workload.num_output,
    }


def check_iterations(num_iters: int, num_iters_warmup: int) -> None:
    """Refuse a negative number of iterations, and none to measure.

    Raises:
        ConfigError: names the flag.
    """
    if num_iters < 1:
        raise ConfigError(f"--num-iters is {num_iters}, but must be an integer >= 1.")
    if num_iters_warmup < 0:
        raise ConfigError(f"--num-iters-warmup is {num_iters_warmup}, but must be an integer >= 0.")


def _generate(
    generator: Generator,
    requests: Sequence[BenchRequest],
    sampling: SamplingParams,
    progress: Progress,
) -> tuple[float, list[RequestOutput]]:
    """Return the seconds it took, and the outputs in the order in which they ended."""
    ended: list[RequestOutput] = []
    start_s = time.perf_counter()
    prepared: list[PreparedRequest] = [
        generator.prepare(
            request.token_ids,
            sampling.clone(max_tokens=request.num_output),
            request_id=f"bench-{i}",
        )
        for i, request in enumerate(requests)
    ]
    running = generator.generate_all(prepared)
    with closing(cast("Any", running)) as outputs:
        for _, output in outputs:
            ended.append(output)
            progress(1)
    return time.perf_counter() - start_s, ended


def _span(output: RequestOutput, end_s: float) -> tuple[float, float, int]:
    decode_s = output.timings.decode_s if output.timings is not None else 0.0
    return max(end_s - decode_s, 0.0), end_s, len(output.outputs[0].token_ids)


def _timings(outputs: Sequence[RequestOutput]) -> list[Any]:
    return [output.timings for output in outputs if output.timings is not None]
