"""Serving over HTTP: closed-loop clients against every server, in turns."""

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peering.cases import random_prompts
from benchmarks.peering.client import Request, run_clients
from benchmarks.peering.measuring import MAX_DISTURBANCE
from benchmarks.peering.processes import machine_cpu_s
from benchmarks.peering.servers import MODEL_NAME, RunningServer, Server, ServerError
from lite_kernels.cpu.probe import read_bandwidth

NUM_PROMPT = 100
NUM_OUTPUT = 100
RUN_TIMEOUT_S = 900.0


def measure_servers(
    servers: Sequence[Server],
    scratch: Path,
    *,
    num_threads: int,
    num_clients: int,
    num_requests: int,
    num_repeats: int,
    vocab_size: int,
    report: Callable[[str], None],
    save: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Return name -> figures of each server; those that do not start, or fail, have an "error".

    `save` gets what has been found after every repeat, since a run may be ended.
    """
    errors: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        running = []
        for server in servers:
            try:
                running.append(_start(server, scratch, num_threads, stack))
            except (OSError, ServerError) as error:
                errors[server.name] = str(error)
                report(f"{server.name} SKIPPED: {error}")
            else:
                report(f"{server.name} is ready")
        runs: dict[str, list[dict[str, float]]] = {r.server.name: [] for r in running}
        for repeat in range(-1, num_repeats):  # the first is not measured: it warms up
            shift = max(repeat, 0) % max(len(running), 1)
            for one in running[shift:] + running[:shift]:
                name = one.server.name
                if name in errors:
                    continue
                num = num_requests if repeat >= 0 else num_clients
                prompts = random_prompts([1, repeat + 1], num, NUM_PROMPT, vocab_size)
                try:
                    run = _run(one, prompts, num_threads, num_clients)
                except (OSError, ServerError) as error:
                    errors[name] = str(error)
                    report(f"{name} FAILED: {error}")
                    one.close()  # it may still work on what it was sent
                    continue
                if repeat >= 0:
                    runs[name].append(run)
                    shown = ", ".join(f"{key} {value:.4g}" for key, value in run.items())
                    report(f"{name} {repeat + 1}: {shown}")
            if repeat >= 0:
                save(_figures(runs, errors))
    return _figures(runs, errors)


def _figures(
    runs: Mapping[str, list[dict[str, float]]], errors: Mapping[str, str]
) -> dict[str, Any]:
    """Return what is stored; who failed has no medians, since half of its work is missing."""
    figures: dict[str, Any] = {name: {"error": error} for name, error in errors.items()}
    for name, found in runs.items():
        if not found:
            continue
        one = figures.setdefault(name, {})
        if name not in errors:
            one["medians"] = {key: statistics.median(run[key] for run in found) for key in found[0]}
        one["runs"] = list(found)
    return figures


def _start(
    server: Server, scratch: Path, num_threads: int, stack: contextlib.ExitStack
) -> RunningServer:
    if server.missing is not None:
        raise ServerError(server.missing)
    running = stack.enter_context(RunningServer(server, scratch, num_threads))
    try:
        running.wait_until_ready()
    except ServerError:
        running.close()
        raise
    return running


def _run(
    running: RunningServer, prompts: list[list[int]], num_threads: int, num_clients: int
) -> dict[str, float]:
    """Send all prompts once and return what the clients saw."""
    body: dict[str, Any] = {
        "model": MODEL_NAME,
        "max_tokens": NUM_OUTPUT,
        "temperature": 0.0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        **running.server.body,
    }
    bandwidth = read_bandwidth(num_threads)
    client_s, others_s = time.process_time(), machine_cpu_s() - running.cpu_s()
    requests, wall_s = run_clients(
        running.address, prompts, num_clients=num_clients, body=body, timeout_s=RUN_TIMEOUT_S
    )
    client_s = time.process_time() - client_s
    others_s = machine_cpu_s() - running.cpu_s() - others_s - client_s
    bandwidth = (bandwidth + read_bandwidth(num_threads)) / 2
    check_counts(requests, len(prompts))
    return {
        "output_tok_s": len(prompts) * NUM_OUTPUT / wall_s,
        "requests_s": len(prompts) / wall_s,
        **_quantiles("ttft", [r.first_s for r in requests if r.first_s is not None]),
        **_quantiles("latency", [r.done_s for r in requests]),
        "client_cores": client_s / wall_s,
        "disturbance": max(others_s, 0.0) / wall_s,
        "bandwidth_gb_s": bandwidth / 1e9,
    }


def check_counts(requests: Sequence[Request], num_requests: int) -> None:
    """Refuse a run in which a request has too few tokens or was never seen to begin.

    Raises:
        ServerError: if so.
    """
    counts = sorted({request.num_tokens for request in requests}, key=str)
    if len(requests) != num_requests or counts != [NUM_OUTPUT]:
        raise ServerError(f"{len(requests)} requests ended, with {counts} tokens each")
    if any(request.first_s is None for request in requests):
        raise ServerError("a request ended without any text")


def is_disturbed(run: dict[str, float]) -> bool:
    """Whether other processes took so much of the machine that a run means little."""
    return run["disturbance"] > MAX_DISTURBANCE


def _quantiles(name: str, values: list[float]) -> dict[str, float]:
    p50, p99 = np.quantile(values, [0.5, 0.99]).tolist()
    return {f"{name}_p50_s": p50, f"{name}_p99_s": p99}
