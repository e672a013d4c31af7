"""Floor 1: arrays in, arrays out. Knows no engine."""

from typing import cast

from lite_kernels.interface import Kernels

__all__ = ["BACKENDS", "Kernels", "load"]

BACKENDS = ("cpu", "reference")


def load(name: str, *, dtype: str = "bfloat16", num_threads: int | None = None) -> Kernels:
    """Return the kernels of a backend.

    Args:
        name: "cpu", or "reference" (NumPy: slow, obvious, for tests).
        dtype: "bfloat16" or "float32", the type of weights, keys and values.
        num_threads: None for one per physical core available to the process.

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
