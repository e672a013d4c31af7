"""`lite bench throughput` and `lite bench latency`: an engine that this program runs itself."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from lite.cli import flags
from lite.cli.bench.arguments import OFFLINE_DEFAULTS, workload_options
from lite.cli.bench.reporting import progress_bar, report
from lite.cli.loading import command_config
from lite.errors import ConfigError
from lite.sampling_params import SamplingParams

if TYPE_CHECKING:
    from lite.bench.engine import BenchEngine
    from lite.bench.record import Probe
    from lite.bench.workload import Workload
    from lite.config import Config

_MAX_BATCH_SIZE = 1 << 16  # what max_num_seqs may be


@dataclass(frozen=True, slots=True)
class _Measurement:
    """An open engine, and what it is to do."""

    config: "Config"
    engine: "BenchEngine"
    workload: "Workload"
    sampling: SamplingParams
    probe: "Probe"
    formats: dict[str, str]
    progress: Callable[[int], object]


def run_throughput(arguments: argparse.Namespace) -> int:
    """Measure how soon a set of requests is through."""
    from lite.bench import chart, record
    from lite.bench.offline import throughput

    num_prompts = arguments.num_prompts
    with _open(arguments, num_prompts=num_prompts, num_rounds=num_prompts, unit="requests") as one:
        if arguments.profile:
            one.engine.reset_profile()
        results, spans = throughput(one.engine.generator, one.workload, one.sampling, one.progress)
        written = _record(arguments, "throughput", one, results)
    _finish(
        arguments,
        written,
        record.throughput_lines(results),
        lambda title, name: chart.draw_progress(spans, title, name),
    )
    return 0


def run_latency(arguments: argparse.Namespace) -> int:
    """Measure how long a batch takes."""
    from lite.bench import chart, record
    from lite.bench.offline import check_iterations, latency

    num_prompts = arguments.batch_size
    if not 1 <= num_prompts <= _MAX_BATCH_SIZE:
        raise ConfigError(
            f"--batch-size is {num_prompts}, but must be an integer from 1 to {_MAX_BATCH_SIZE}."
        )
    check_iterations(arguments.num_iters, arguments.num_iters_warmup)
    num_rounds = arguments.num_iters + arguments.num_iters_warmup
    with _open(arguments, num_prompts=num_prompts, num_rounds=num_rounds, unit="iterations") as one:
        results = latency(
            one.engine.generator,
            one.workload,
            one.sampling,
            num_iters=arguments.num_iters,
            num_iters_warmup=arguments.num_iters_warmup,
            progress=one.progress,
            on_warm=one.engine.reset_profile if arguments.profile else lambda: None,
        )
        written = _record(arguments, "latency", one, results)
    latencies, median_s = results["latencies"], results["median_latency"]
    _finish(
        arguments,
        written,
        record.latency_lines(results),
        lambda title, name: chart.draw_latencies(latencies, median_s, title, name),
    )
    return 0


@contextmanager
def _open(
    arguments: argparse.Namespace, *, num_prompts: int, num_rounds: int, unit: str
) -> Iterator[_Measurement]:
    """Check everything that can be checked, load the model, and make the requests."""
    from lite.bench.chart import check_plot
    from lite.bench.engine import open_engine
    from lite.bench.record import Probe, check_writable
    from lite.bench.workload import make_workload
    from lite.log import configure

    check_plot(arguments.plot)
    check_writable("--plot", arguments.plot)
    check_writable("--output-json", arguments.output_json)
    sampling = SamplingParams(
        temperature=arguments.temperature,
        ignore_eos=True,
        detokenize=not arguments.disable_detokenize,
    )
    # Only a file that was named: ./config.yaml may list every setting of a server.
    asked_for = () if arguments.config is None else ("engine.enable_prefix_caching",)
    config = command_config(flags.load(arguments), OFFLINE_DEFAULTS, from_file=asked_for)
    options = workload_options(arguments, num_prompts=num_prompts, seed=config.model.seed)
    configure(config.log)
    with open_engine(
        config, in_process=not arguments.engine_process, profile=arguments.profile
    ) as engine:
        workload = make_workload(
            options,
            engine.text_model.tokenizer,
            as_text=False,
            vocab_size=engine.text_model.vocab_size,
            max_model_len=engine.generator.max_model_len,
            remedy=_remedy(engine),
        )
        stats = engine.generator.client.stats()
        probe = Probe(stats.num_threads, stats.dtype, num_threads_origin=stats.num_threads_origin)
        probe.take(multiply=arguments.profile)
        formats = {
            "dtype": stats.dtype,
            "weights_format": stats.weights_format,
            "kv_cache_format": stats.kv_cache_format,
        }
        with progress_bar(num_rounds, unit) as progress:
            yield _Measurement(config, engine, workload, sampling, probe, formats, progress)


def _remedy(engine: "BenchEngine") -> str | None:
    """Return what would make room for longer requests; None if the model allows no more."""
    if engine.generator.max_model_len >= engine.text_model.model_max_len:
        return None
    return "raise --max-model-len or --kv-cache-memory"


def _record(
    arguments: argparse.Namespace, benchmark: str, one: _Measurement, results: dict[str, Any]
) -> dict[str, Any]:
    """Probe again, take the profile, and return all that is known; while the engine is open."""
    from lite.bench.record import make_record
    from lite.bench.step_report import profile_figures

    # First, since the probe's work would count as that of other threads.
    steps = one.engine.take_profile() if arguments.profile else None
    one.probe.take(multiply=arguments.profile)
    settings = {
        "workload": one.workload.name,
        "num_requests": len(one.workload.requests),
        "temperature": arguments.temperature,
        "detokenize": not arguments.disable_detokenize,
        "engine_process": arguments.engine_process,
        **one.formats,
        "model": msgspec.to_builtins(one.config.model),
        "engine": msgspec.to_builtins(one.config.engine),
    }
    written = make_record(benchmark, settings, results, one.probe)
    if steps is not None:
        written["profile"] = profile_figures(steps, one.probe.ceilings())
    return written


def _title(written: dict[str, Any]) -> str:
    settings = written["settings"]
    batch = f", batch size {settings['num_requests']}" if written["benchmark"] == "latency" else ""
    return f"{written['benchmark']} of {settings['model']['model']}: {settings['workload']}{batch}"


def _finish(
    arguments: argparse.Namespace,
    written: dict[str, Any],
    lines: Iterator[str],
    draw: Callable[[str, str], None],
) -> None:
    """Write the record; print it whether or not that worked, and draw a chart of it."""
    from lite.bench.chart import draw_profile
    from lite.bench.step_report import profile_lines

    profile = written.get("profile")
    shown, title = [*lines], _title(written)
    if profile is not None:
        shown += ["", *profile_lines(profile)]
    report(
        written,
        shown,
        output_json=arguments.output_json,
        plot=arguments.plot,
        draw=lambda name: (
            draw(title, name) if profile is None else draw_profile(profile["steps"], title, name)
        ),
    )
