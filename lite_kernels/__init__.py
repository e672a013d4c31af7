"""Floor 1: arrays in, arrays out. Knows no engine."""

from collections.abc import Callable
from typing import cast

from lite_kernels.interface import Kernels

__all__ = ["BACKENDS", "Kernels", "compile_ahead", "load"]

BACKENDS = ("cpu", "reference")


def load(name: str, *, dtype: str = "bfloat16", num_threads: int | None = None) -> Kernels:
    """Return the kernels of a backend.

    Args:
        name: "cpu", or "reference" (NumPy: slow, obvious, for tests).
        dtype: "bfloat16" or "float32", the type of weights, keys and values.
        num_threads: None for OMP_NUM_THREADS, or one per physical core that the process may use.

    Raises:
        ValueError: unknown backend or dtype.
    """
    if dtype not in ("bfloat16", "float32"):
        raise ValueError(f"dtype {dtype!r} is not supported; choose bfloat16 or float32")
    if name == "cpu":
        from lite_kernels.cpu import CpuKernels

        return cast(Kernels, CpuKernels(dtype=dtype, num_threads=num_threads))
    if name == "reference":
        from lite_kernels.reference import ReferenceKernels

        return cast(Kernels, ReferenceKernels(dtype=dtype))
    raise ValueError(f"unknown kernel backend {name!r}; choose one of {', '.join(BACKENDS)}")


def compile_ahead(
    name: str,
    *,
    dtype: str = "bfloat16",
    quantization: str | None = None,
    kv_quantization: str | None = None,
    num_threads: int | None = None,
    on_start: Callable[[int, bool], object] | None = None,
) -> None:
    """Compile what a model of this dtype and these formats needs and this machine has not run yet.

    In as many processes as `num_threads`, or a few. Before that begins, which takes seconds,
    `on_start` is told how many kernels there are, and whether they are kept for later starts; it
    is not called where there are none.

    Raises:
        ValueError: `LITE_CPU_ISA` names an instruction set that the CPU lacks.
    """
    if name != "cpu":
        return
    from lite_kernels.cpu.cache import keeps_kernels
    from lite_kernels.cpu.compile_ahead import compile_ahead, needed_kernels, uncompiled
    from lite_kernels.cpu.isa import host_isa
    from lite_kernels.cpu.topology import choose_threads

    missing = uncompiled(needed_kernels(dtype, quantization, kv_quantization))
    if not missing:
        return
    if on_start is not None:
        on_start(len(missing), keeps_kernels(host_isa().name))
    compile_ahead(missing, choose_threads(num_threads).number)
