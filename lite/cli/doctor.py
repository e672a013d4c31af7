"""`lite doctor`: what this machine offers, and what would keep the engine from running."""

import argparse
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lite.cli import flags
from lite.config import Config
from lite.errors import LiteError
from lite.machine import cpu_name
from lite.settings import check_public_bind
from lite.version import __version__

_GIB = 1 << 30
DEPENDENCIES = (
    "falcon", "gunicorn", "jinja2", "msgspec", "numba", "numpy", "prometheus-client",
    "prompt-toolkit", "pyyaml", "pyzmq", "safetensors", "structlog", "tokenizers", "tqdm",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact, or one problem."""

    topic: str
    text: str
    good: bool = True


def add_command(commands: flags.Commands) -> None:
    """Add the command to the parser."""
    parser = flags.add_command(
        commands, "doctor", "Check this machine and the configuration.", flags.ALL_SECTIONS
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one line a finding; the exit code is 1 if any of them is a problem."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _cpu,
        _memory,
        _bandwidth,
        _cache,
        _dependencies,
        lambda: _configuration(arguments),
    )
    good = True
    for check in checks:
        for finding in _guarded(check):
            mark = "ok  " if finding.good else "FAIL"
            print(f"{mark}  {finding.topic:14} {finding.text}", flush=True)
            good = good and finding.good
    return 0 if good else 1


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Turn what a check raises into a finding: one broken part must not hide the others."""
    try:
        yield from check()
    except (LiteError, OSError, ValueError, ImportError) as error:
        yield Finding("problem", " ".join(f"{type(error).__name__}: {error}".split()), good=False)


def _python() -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    text = f"{platform.python_version()} at {sys.executable}"
    yield Finding("lite", __version__)
    yield Finding("python", text if good else f"{text}; 3.11 or newer is needed", good)


def _cpu() -> Iterator[Finding]:
    from lite_kernels.cpu.isa import ISAS, host_isa, supported
    from lite_kernels.cpu.topology import usable_cores

    yield Finding("cpu", f"{cpu_name()} ({platform.machine()})")
    others = ", ".join(isa.name for isa in ISAS if supported(isa))
    yield Finding("isa", f"{host_isa().name} (this CPU has: {others})")
    yield Finding("cores", f"{usable_cores()} usable, {os.cpu_count() or 1} hardware threads")


def _memory() -> Iterator[Finding]:
    from lite.engine.memory_plan import available_memory

    yield Finding("memory", f"{available_memory() / _GIB:.1f} GiB available to this process")


def _bandwidth() -> Iterator[Finding]:
    from lite_kernels.cpu.probe import read_bandwidth

    yield Finding("bandwidth", f"{read_bandwidth() / 1e9:.1f} GB/s read by all usable cores")


def _cache() -> Iterator[Finding]:
    from lite_kernels.cpu.cache import keeps_kernels, kernel_directory
    from lite_kernels.cpu.isa import host_isa

    path = Path(kernel_directory(host_isa().name))
    lasting = keeps_kernels(host_isa().name)
    remedy = "" if lasting else "; it is lost at exit: set LITE_CACHE_DIR to a writable directory"
    num_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    yield Finding("kernel cache", f"{path} ({num_bytes / 1e6:.1f} MB){remedy}", lasting)


def _dependencies() -> Iterator[Finding]:
    versions = []
    for name in DEPENDENCIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding("dependency", f"{name} is missing: pip install {name}", good=False)
    yield Finding("dependencies", ", ".join(versions))
    yield Finding("gpu", "not used: there is no CUDA backend yet")


def _configuration(arguments: argparse.Namespace) -> Iterator[Finding]:
    from lite_kernels.cpu.topology import choose_threads

    loaded = flags.load(arguments)
    threads = choose_threads(loaded.config.engine.num_threads)
    yield Finding("threads", "; ".join((str(threads), *threads.warnings)))
    check_public_bind(loaded.config)
    yield Finding("configuration", f"valid: {loaded.path or 'defaults (no file)'}")
    yield from _model(loaded.config)


def _model(config: Config) -> Iterator[Finding]:
    import lite_kernels
    from lite.engine.loading import plan_for, resolve_device, resolve_dtype
    from lite.engine.weight_source import WeightSource
    from lite.formats.checkpoint import open_checkpoint
    from lite.models import declare
    from lite.models.location import locate_model

    model, engine = config.model, config.engine
    location = locate_model(model.model)
    with open_checkpoint(location.config_file, model.load_format, seed=model.seed) as checkpoint:
        decoder = declare(checkpoint.config, file=str(checkpoint.config_file))
        source = WeightSource.find(decoder, checkpoint, model)
        dtype = resolve_dtype(model.dtype, checkpoint.config)
    stored = " (as stored)" if source.is_packed else ""
    weights = f"{source.quantization or dtype} weights{stored}"
    yield Finding("model", f"{model.model}: {decoder.architecture}, supported, {weights}")
    device = resolve_device(engine)
    with closing(lite_kernels.load(device, dtype=dtype, num_threads=engine.num_threads)) as kernels:
        plan = plan_for(decoder, kernels, config, source.parts, source.quantization)
    for line in plan.lines():
        yield Finding("memory plan", line)
