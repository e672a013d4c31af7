"""Kernels for CPUs: Numba and LLVM IR, one team of threads an instance."""

from contextlib import AbstractContextManager

import numpy as np

from lite_kernels.cpu.isa.memory import empty_aligned
from lite_kernels.cpu.program import Program, Recorder
from lite_kernels.cpu.team import Team
from lite_kernels.cpu.topology import available_cores
from lite_kernels.interface import Array

_DTYPES = {
    "float32": np.float32,
    "int32": np.int32,
    "int64": np.int64,
    "uint32": np.uint32,
    "uint8": np.uint8,
}


class CpuKernels:
    """See `lite_kernels.interface.Kernels`."""

    device = "cpu"

    def __init__(self, *, dtype: str = "bfloat16", num_threads: int | None = None) -> None:
        if dtype not in ("bfloat16", "float32"):
            raise ValueError(f"dtype {dtype!r} is not supported; choose bfloat16 or float32")
        self.dtype = dtype
        self.num_threads = num_threads or available_cores()
        self._team = Team(self.num_threads)
        self._recorder = Recorder(self._team)

    # --- load time -------------------------------------------------------------------------

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        if dtype == "act":
            dtype = "float32" if self.dtype == "float32" else "uint16"
            return empty_aligned(shape, np.dtype(dtype))
        if dtype not in _DTYPES:
            known = ", ".join((*_DTYPES, "act"))
            raise ValueError(f"dtype {dtype!r} is not supported; choose one of {known}")
        return empty_aligned(shape, np.dtype(_DTYPES[dtype]))

    # --- programs --------------------------------------------------------------------------

    def record(self) -> AbstractContextManager[Program]:
        return self._recorder.record()

    def run(self, program: Program) -> None:
        self._team.run(program)

    def close(self) -> None:
        self._team.close()
