"""Compiling many kernels at once, each in one of several processes, into the cache on disk.

Numba compiles one function at a time in a process. What is missed here is compiled at its first
use, so this only saves time, and the compiler's memory in this process.
"""

import contextlib
import importlib
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from lite_kernels.cpu import (
    attention,
    checksum,
    embed,
    linear,
    norm,
    pack,
    quantize,
    quantized_rows,
    rope,
    sampling,
    team,
)
from lite_kernels.cpu.cache import PACKAGE, kernel_directory
from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.kernel import Kernel

# A kernel's name ends in one of these; the longest match counts.
_FORMATS = ("bfloat16_int8", "float32_int8", "bfloat16", "float32", "int8", "int4")
# A process takes some 200 MB, and the slowest kernel a third of the whole time.
_MAX_PROCESSES = 4
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from {} import main; main()"


def needed_kernels(
    dtype: str, quantization: str | None, kv_quantization: str | None = None
) -> list[Kernel]:
    """Return what a model of this dtype and these formats runs, the slowest to compile first.

    A kernel whose name ends in a format is for that one, any other for all.
    """
    products = {dtype} if quantization is None else {quantization, "int8"}
    stored = {dtype if kv_quantization is None else f"{dtype}_{kv_quantization}"}
    found = [
        *_kernels(sampling, {dtype}),
        *_kernels(attention, stored),
        *_kernels(linear, products),
        *_kernels(rope, stored),
        *_kernels(quantize, products),
        *_kernels(pack, products),
        *_kernels(embed, products | {"float32"}),  # rows of the rope table are float32
        *_kernels(checksum, set()),
        *_kernels(team, set()),
    ]
    return found + _kernels(norm if quantization is None else quantized_rows, {dtype})


def _kernels(module: object, formats: set[str]) -> list[Kernel]:
    kernels = [value for value in vars(module).values() if isinstance(value, Kernel)]
    return [
        kernel
        for kernel in kernels
        if kernel.__module__ == module.__name__  # type: ignore[attr-defined]
        and (_format(kernel) is None or _format(kernel) in formats)
    ]


def _format(kernel: Kernel) -> str | None:
    return next((name for name in _FORMATS if kernel.__name__.endswith(f"_{name}")), None)


def uncompiled(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Return those that are neither loaded nor in the cache."""
    names = {path.name for path in Path(kernel_directory(host_isa().name)).glob("*/*.nbc")}
    prefixes = {name.partition(".py")[0] for name in names}
    return [one for one in kernels if not one.is_loaded and one.cache_name not in prefixes]


def compile_ahead(kernels: Sequence[Kernel], num_processes: int) -> None:
    """Compile kernels into the cache, in `num_processes` processes or a few; return when done."""
    pending = deque(kernels)
    children: list[subprocess.Popen[str]] = []
    threads = [
        threading.Thread(target=_feed, args=(pending, children), name="lite-compile", daemon=True)
        for _ in range(min(num_processes, _MAX_PROCESSES, len(kernels)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        pending.clear()
        for child in children:
            child.kill()
        raise


def _feed(pending: deque[Kernel], children: list[subprocess.Popen[str]]) -> None:
    """Run one process and give it kernel after kernel; whatever goes wrong is left to later."""
    directory = Path(kernel_directory(host_isa().name))
    command = [sys.executable, "-P", "-c", _CODE.format(__name__), str(PACKAGE.parent)]
    # What was chosen here is chosen there: also a directory of this process alone.
    environment = os.environ | {"LITE_CACHE_DIR": str(directory.parent)}
    with (
        contextlib.suppress(OSError, ValueError, IndexError),
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child,
    ):
        children.append(child)
        assert child.stdin is not None
        assert child.stdout is not None
        done = "ready\n"
        while done and (kernel := pending.popleft()):
            child.stdin.write(f"{kernel.__module__} {kernel.__name__}\n")
            child.stdin.flush()
            done = child.stdout.readline()


def main() -> None:
    """Compile what standard input names, a line each, and answer each with a line."""
    for line in sys.stdin:
        module, name = line.split()
        kernel: Kernel = getattr(importlib.import_module(module), name)
        print(kernel.address, flush=True)
