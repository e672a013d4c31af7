"""Floor 1: arrays in, arrays out. Knows no engine."""

from typing import cast

from lite_kernels.interface import Kernels

__all__ = ["BACKENDS", "Kernels", "are_compiled", "load"]

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


def are_compiled(name: str) -> bool:
    """Whether this machine has run these kernels before: else they compile now, which takes long.

    Raises:
        ValueError: `LITE_CPU_ISA` names an instruction set that the CPU lacks.
    """
    if name != "cpu":
        return True
    from lite_kernels.cpu.cache import has_kernels
    from lite_kernels.cpu.isa import host_isa

    return has_kernels(host_isa().name)
