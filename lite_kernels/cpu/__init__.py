"""Kernels for CPUs: Numba and LLVM IR, one team of threads an instance."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from lite_kernels.cpu import embed, pack
from lite_kernels.cpu.isa.memory import empty_aligned
from lite_kernels.cpu.linear import Linears
from lite_kernels.cpu.pack import PackedLinear
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
        self.num_threads = available_cores() if num_threads is None else num_threads
        self._linears = Linears(dtype)
        self._team = Team(self.num_threads)
        self._recorder = Recorder(self._team)

    # --- load time -------------------------------------------------------------------------

    def pack_linear(
        self, weights: Sequence[Array], biases: Sequence[Array | None] | None = None
    ) -> PackedLinear:
        with self._recorder.at_once() as program:
            return pack.pack_linear(program, self.dtype, weights, biases or [None] * len(weights))

    def pack_gated_linear(
        self, gate: Array, up: Array, biases: tuple[Array | None, Array | None] = (None, None)
    ) -> PackedLinear:
        with self._recorder.at_once() as program:
            return pack.pack_gated(program, self.dtype, (gate, up), biases)

    def pack_embedding(self, weight: Array) -> Array:
        return pack.pack_table(self.dtype, weight)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        if dtype == "act":
            dtype = "float32" if self.dtype == "float32" else "uint16"
            return empty_aligned(shape, np.dtype(dtype))
        if dtype not in _DTYPES:
            known = ", ".join((*_DTYPES, "act"))
            raise ValueError(f"dtype {dtype!r} is not supported; choose one of {known}")
        return empty_aligned(shape, np.dtype(_DTYPES[dtype]))

    # --- a step ----------------------------------------------------------------------------

    def embed(self, token_ids: Array, table: Array | PackedLinear, out: Array) -> None:
        with self._recorder.operation() as program:
            embed.embed(program, self.dtype, token_ids, table, out)

    def rope_rows(self, cos_sin: Array, positions: Array, out: Array) -> None:
        with self._recorder.operation() as program:
            embed.rope_rows(program, cos_sin, positions, out)

    def norm_linear(
        self, x: Array, norm_weight: Array, eps: float, linear: PackedLinear, out: Array
    ) -> None:
        with self._recorder.operation() as program:
            self._linears.norm_linear(program, x, None, norm_weight, eps, linear, out)

    def linear_add(self, x: Array, linear: PackedLinear, residual: Array) -> None:
        with self._recorder.operation() as program:
            self._linears.linear_add(program, x, linear, residual)

    def norm_gated_linear(
        self,
        x: Array,
        norm_weight: Array,
        eps: float,
        linear: PackedLinear,
        activation: str,
        out: Array,
    ) -> None:
        with self._recorder.operation() as program:
            self._linears.norm_gated_linear(program, x, norm_weight, eps, linear, activation, out)

    def logits(
        self,
        x: Array,
        rows: Array,
        norm_weight: Array,
        eps: float,
        linear: PackedLinear,
        out: Array,
    ) -> None:
        with self._recorder.operation() as program:
            self._linears.norm_linear(program, x, rows, norm_weight, eps, linear, out)

    # --- programs --------------------------------------------------------------------------

    def record(self) -> AbstractContextManager[Program]:
        return self._recorder.record()

    def run(self, program: Program) -> None:
        self._team.run(program)

    def close(self) -> None:
        self._team.close()
