"""What a benchmark writes down: figures, how they were obtained, and on which machine."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lite
from lite.bench.step_report import Ceilings
from lite.bench.table import format_table
from lite.errors import ConfigError
from lite.machine import describe_commit, describe_machine
from lite.version import __version__

_SOURCES = ("lite", "lite_kernels", "server")


@dataclass(slots=True)
class Probe:
    """The memory's streaming rate, and the multiply rate, taken beside the measurement.

    The memory of a shared machine changes its pace within minutes, so it is probed before and
    after; a ceiling is the mean.
    """

    num_threads: int
    dtype: str
    num_threads_origin: str = ""
    read_bandwidths: list[float] = field(default_factory=list)  # bytes/s
    multiply_rates: list[float] = field(default_factory=list)  # FLOP/s

    def take(self, *, multiply: bool = False) -> None:
        """Measure the memory now, and the multiply rate if it is wanted.

        Raises:
            ConfigError: the system does not start so many threads.
        """
        from lite_kernels.cpu.probe import multiply_rate, read_bandwidth

        try:
            self.read_bandwidths.append(read_bandwidth(self.num_threads))
            if multiply:
                self.multiply_rates.append(multiply_rate(self.num_threads, dtype=self.dtype))
        except ValueError as error:
            raise ConfigError(f"{error}.") from None

    def ceilings(self) -> Ceilings:
        """Return what a profile measures against."""
        bandwidths, rates = self.read_bandwidths, self.multiply_rates
        return Ceilings(sum(bandwidths) / len(bandwidths), sum(rates) / len(rates))

    def figures(self) -> dict[str, Any]:
        """Return the probes as the record shows them."""
        figures = {"read_gb_s": [round(value / 1e9, 2) for value in self.read_bandwidths]}
        if self.multiply_rates:
            rates = [round(value / 1e9, 1) for value in self.multiply_rates]
            figures[f"multiply_{self.dtype}_gflop_s"] = rates
        return figures


def describe(probe: Probe) -> dict[str, Any]:
    """Return the machine as a record shows it."""
    from lite_kernels.cpu.isa import host_isa
    from lite_kernels.cpu.topology import available_cores

    return {
        **describe_machine(),
        "isa": host_isa().name,
        "num_cores": available_cores(),
        "num_threads": probe.num_threads,
        "num_threads_origin": probe.num_threads_origin,
        "probe": probe.figures(),
    }


def make_record(
    benchmark: str, settings: Mapping[str, Any], results: Mapping[str, Any], probe: Probe
) -> dict[str, Any]:
    """Return the whole of what --output-json holds."""
    return {
        "benchmark": benchmark,
        "version": __version__,
        "commit": describe_commit(Path(lite.__file__).parents[1], _SOURCES),
        "machine": describe(probe),
        "settings": dict(settings),
        "results": dict(results),
    }


def check_writable(flag: str, name: str | None) -> None:
    """Refuse a file that cannot be written before minutes are spent on what it shall hold.

    Raises:
        ConfigError: its directory does not exist, it is a directory itself, or may not be written.
    """
    if name is None:
        return
    directory = os.path.dirname(os.path.abspath(name))
    if os.path.exists(name):
        is_writable = not os.path.isdir(name) and os.access(name, os.W_OK)
    else:
        is_writable = os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK)
    if not is_writable:
        raise ConfigError(f"{flag}: {name} cannot be written; name a file in a directory that is.")


def write_json(record: Mapping[str, Any], name: str) -> None:
    """Write a record as JSON.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        Path(name).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output-json: {name} cannot be written: {error}.") from None


def show(lines: Iterable[str]) -> None:
    """Print lines; a character that the terminal's encoding lacks becomes an escape."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(line.encode(encoding, "backslashreplace").decode(encoding))


def heading(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield who measured what on which machine."""
    machine, commit, settings = record["machine"], record["commit"], record["settings"]
    version = f"lite {record['version']}"
    if commit["id"]:
        version += f" ({commit['id'][:12]}{', modified' if commit['modified'] else ''})"
    probes = machine["probe"]["read_gb_s"]
    memory = f", memory read at {' and '.join(f'{v:.1f}' for v in probes)} GB/s" if probes else ""
    yield f"{version}, {record['benchmark']}: {settings['workload']}"
    cores = f"{machine['cpu']}, {_count(machine['num_cores'], 'core')}"
    if record["benchmark"] == "serve":
        # The server's instruction set and threads are its own, wherever it runs.
        yield f"the client's machine: {cores}{memory}"
        return
    origin = f" ({machine['num_threads_origin']})" if machine["num_threads_origin"] else ""
    threads = f"{_count(machine['num_threads'], 'thread')}{origin}"
    yield f"{cores}, {machine['isa']}, {threads}{memory}"
    yield (
        f"{settings['model']['model']}: {settings['weights_format']} weights, "
        f"{settings['kv_cache_format']} KV cache, computed in {settings['dtype']}"
    )


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def throughput_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures of `throughput`."""
    yield (
        f"Throughput: {results['requests_per_second']:.2f} requests/s, "
        f"{results['tokens_per_second']:.2f} total tokens/s, "
        f"{results['output_tokens_per_second']:.2f} output tokens/s"
    )
    yield from format_table(
        ("", ""),
        [
            ("Requests", str(results["num_requests"])),
            ("Elapsed time (s)", f"{results['elapsed_time']:.2f}"),
            ("Total prompt tokens", str(results["total_prompt_tokens"])),
            ("Total output tokens", str(results["total_output_tokens"])),
            ("Preemptions", str(results["num_preemptions"])),
        ],
    )


def latency_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures of `latency`."""
    rate = results["median_decode_tokens_per_second"]
    rows = [
        ("Batch size", str(results["batch_size"])),
        ("Iterations", str(len(results["latencies"]))),
        ("Avg latency (s)", f"{results['avg_latency']:.4f}"),
        ("Std latency (s)", f"{results['std_latency']:.4f}"),
        *(
            (f"{percentile}% percentile latency (s)", f"{value:.4f}")
            for percentile, value in results["percentiles"].items()
        ),
        ("Median time to first token (s)", f"{results['median_first_token_s']:.4f}"),
        ("Median decode (tok/s)", "-" if rate is None else f"{rate:.2f}"),
    ]
    yield from format_table(("", ""), rows)


_METRICS = {
    "ttft": "TTFT",
    "tpot": "TPOT",
    "itl": "ITL",
    "e2el": "E2EL",
    "client_queue_time": "client queue",
}


def serve_lines(results: Mapping[str, Any], labels: list[str]) -> Iterator[str]:
    """Yield the figures of `serve`; `labels` are those of the percentiles, such as "99".

    Failures come last; if no request succeeded they come first, and there are no times.
    """
    completed = results["completed"]
    failures = [
        f"Failed {_count(count, 'time')}: {error}" for error, count in results["errors"].items()
    ]
    if failures and not completed:
        yield from [*failures, ""]
    yield from _load_lines(results)
    if completed:
        yield ""
        yield from _time_lines(results, labels)
    num_cached = results["total_cached_tokens"]
    if num_cached:
        yield (
            f"{num_cached} of {results['total_input_tokens']} input tokens came from the server's "
            "prefix cache instead of being computed; give another --seed, or start the server anew."
        )
    missing = results["total_requested_output_tokens"] - results["total_output_tokens"]
    if missing > 0:
        yield f"Outputs are {missing} tokens shorter than asked for."
    if num_interrupted := results["num_interrupted"]:
        yield f"Interrupted: {num_interrupted} requests had not ended and are in no figure."
    if completed:
        yield from failures


def _load_lines(results: Mapping[str, Any]) -> Iterator[str]:
    num_cached = results["total_cached_tokens"]
    rows = [
        ("Successful requests", str(results["completed"])),
        ("Failed requests", str(results["failed"])),
        ("Benchmark duration (s)", f"{results['duration']:.2f}"),
        ("Total input tokens", str(results["total_input_tokens"])),
        ("Cached input tokens", "-" if num_cached is None else str(num_cached)),
        ("Total generated tokens", str(results["total_output_tokens"])),
        ("Request throughput (req/s)", f"{results['request_throughput']:.2f}"),
        ("Output token throughput (tok/s)", f"{results['output_throughput']:.2f}"),
        ("Total token throughput (tok/s)", f"{results['total_token_throughput']:.2f}"),
        ("Peak concurrent requests", str(results["max_concurrent_requests"])),
        ("Client CPU (share of one core)", f"{results['client_cpu_share']:.1%}"),
    ]
    if results["request_goodput"] is not None:
        rows.insert(7, ("Request goodput (req/s)", f"{results['request_goodput']:.2f}"))
    yield from format_table(("", ""), rows)


def _time_lines(results: Mapping[str, Any], labels: list[str]) -> Iterator[str]:
    columns = ["mean", "median", "std", *(f"p{label}" for label in labels)]
    shown = [name for name in _METRICS if f"mean_{name}_ms" in results]
    yield from format_table(
        ("ms", *columns),
        [
            (_METRICS[name], *(_ms(results[f"{column}_{name}_ms"]) for column in columns))
            for name in shown
        ],
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
