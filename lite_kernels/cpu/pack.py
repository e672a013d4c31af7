"""Weights packed into panels of 32 output columns, each one linear stream of memory.

`isa/panel.py` describes the formats; N and K are padded with zeros. A gated pair puts 16 columns
of gate and the same 16 of up into one panel, so one thread has both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, empty_aligned, load, stack_bytes, store
from lite_kernels.cpu.isa.panel import FORMATS, PANEL, STEP_BYTES, PanelFormat
from lite_kernels.cpu.kernel import Kernel, jit, kernel
from lite_kernels.cpu.norm import round_to_bfloat16
from lite_kernels.cpu.program import Program, argument, next_ticket
from lite_kernels.cpu.quantize import pack_int4, pack_int8
from lite_kernels.cpu.source import (
    SOURCE_BFLOAT16,
    SOURCE_FLOAT16,
    SOURCES,
    read,
    widen_float16,
)
from lite_kernels.dtypes import QUANTIZATIONS, to_bfloat16, to_float32
from lite_kernels.interface import Array

# PERF: k is packed in blocks whose destination stays in L1.
_BLOCK = 128
_BUFFER_BYTES = 4 * _BLOCK


@dataclass(frozen=True, slots=True, eq=False)
class PackedLinear:
    """Weights in panels, uint8, and float32 biases in panel order."""

    panel: PanelFormat
    weights: np.ndarray
    bias: np.ndarray | None
    in_features: int
    out_features: int
    is_gated: bool

    @property
    def num_panels(self) -> int:
        return self.panel.num_panels(self.out_features, gated=self.is_gated)

    @property
    def num_steps(self) -> int:
        return self.panel.num_steps(self.in_features)

    @property
    def panel_bytes(self) -> int:
        return self.num_steps * self.panel.step_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of weights and biases."""
        return self.weights.nbytes + (0 if self.bias is None else self.bias.nbytes)


@jit
def _pack_pairs(row, out, start, stop, source, buffer):
    """Write pairs [start, stop) of one column as bfloat16, through `buffer` if converted.

    PERF: arrays, not `load`, where it converts: only those are vectorised.
    """
    if source != SOURCE_BFLOAT16:
        n = 2 * (stop - start)
        rounded = array_at(buffer, n, np.uint16)
        if source == SOURCE_FLOAT16:
            halves = array_at(row + 4 * start, n, np.uint16)
            for i in range(n):
                rounded[i] = round_to_bfloat16(widen_float16(halves[i]))
        else:
            floats = array_at(row + 8 * start, n, np.float32)
            for i in range(n):
                rounded[i] = round_to_bfloat16(floats[i])
        row = buffer - 4 * start
    for pair in range(start, stop):
        store(out + pair * STEP_BYTES, load(row + 4 * pair, np.uint32), np.uint32)


@kernel()
def pack_bfloat16(tid, num_threads, args):
    """Pack rows into bfloat16 panels.

    Record: int64 addresses of the source rows in panel order (0: zeros), out, panels, K, source.
    """
    rows, out = argument(args, 0), argument(args, 1)
    num_panels, n, source = argument(args, 2), argument(args, 3), argument(args, 4)
    addresses = array_at(rows, num_panels * PANEL, np.int64)
    buffer = stack_bytes(_BUFFER_BYTES)
    pairs = n // 2
    panel_bytes = (n + 1) // 2 * STEP_BYTES
    panel = next_ticket(args, num_threads, num_panels)
    while panel >= 0:
        for start in range(0, pairs, _BLOCK):
            stop = min(start + _BLOCK, pairs)
            for column in range(PANEL):
                row = addresses[panel * PANEL + column]
                where = out + panel * panel_bytes + column * 4
                if row == 0:
                    for pair in range(start, stop):
                        store(where + pair * STEP_BYTES, 0, np.uint32)
                else:
                    _pack_pairs(row, where, start, stop, source, buffer)
        if n % 2:
            for column in range(PANEL):
                row = addresses[panel * PANEL + column]
                last = np.uint32(0)
                if row != 0:
                    last = np.uint32(round_to_bfloat16(read(row, n - 1, source)))
                where = out + panel * panel_bytes + column * 4
                store(where + pairs * STEP_BYTES, last, np.uint32)
        panel = next_ticket(args, num_threads, num_panels)


@kernel()
def pack_float32(tid, num_threads, args):
    """Pack rows into float32 panels; the record is that of `pack_bfloat16`."""
    rows, out = argument(args, 0), argument(args, 1)
    num_panels, n, source = argument(args, 2), argument(args, 3), argument(args, 4)
    addresses = array_at(rows, num_panels * PANEL, np.int64)
    panel = next_ticket(args, num_threads, num_panels)
    while panel >= 0:
        for start in range(0, n, _BLOCK):
            stop = min(start + _BLOCK, n)
            for column in range(PANEL):
                row = addresses[panel * PANEL + column]
                where = out + panel * n * STEP_BYTES + column * 4
                for k in range(start, stop):
                    value = np.float32(0.0)
                    if row != 0:
                        value = read(row, k, source)
                    store(where + k * STEP_BYTES, value, np.float32)
        panel = next_ticket(args, num_threads, num_panels)


_PACKERS: dict[str, Kernel] = {
    "bfloat16": pack_bfloat16,
    "float32": pack_float32,
    "int8": pack_int8,
    "int4": pack_int4,
}


def pack_linear(
    program: Program,
    panel: PanelFormat,
    weights: Sequence[Array],
    biases: Sequence[Array | None],
) -> PackedLinear:
    """Append the packing of [N_i, K] weights stacked along N; see `Kernels.pack_linear`."""
    in_features = _check(weights, biases)
    out_features = sum(weight.shape[0] for weight in weights)
    num_panels = panel.num_panels(out_features, gated=False)
    order = np.arange(num_panels * PANEL)
    order[out_features:] = -1
    return _pack(program, panel, weights, biases, order, in_features, out_features, False)


def pack_gated(
    program: Program,
    panel: PanelFormat,
    weights: Sequence[Array],
    biases: Sequence[Array | None],
) -> PackedLinear:
    """Append the packing of (gate, up), each [I, K]; see `Kernels.pack_gated_linear`."""
    in_features = _check(weights, biases)
    gate, up = weights
    if gate.shape != up.shape:
        raise ValueError(f"gate is {gate.shape} and up is {up.shape}; the shapes must be equal")
    out_features = gate.shape[0]
    half = PANEL // 2
    num_panels = panel.num_panels(out_features, gated=True)
    order = np.arange(num_panels * half)
    order[out_features:] = -1
    order = order.reshape(num_panels, 1, half).repeat(2, axis=1)
    order[:, 1] = np.where(order[:, 1] < 0, -1, order[:, 1] + out_features)
    return _pack(program, panel, weights, biases, order.ravel(), in_features, out_features, True)


def _check(weights: Sequence[Array], biases: Sequence[Array | None]) -> int:
    """Return K after checking every array."""
    if not weights or len(biases) != len(weights):
        raise ValueError(f"{len(weights)} weights and {len(biases)} biases; give one bias each")
    in_features = weights[0].shape[-1]
    for weight, bias in zip(weights, biases, strict=True):
        if weight.ndim != 2 or weight.shape[1] != in_features or weight.dtype not in SOURCES:
            raise ValueError(
                f"a weight is {weight.dtype} {weight.shape}; "
                f"it must be float32, float16 or uint16 (bfloat16 bits), [N, {in_features}]"
            )
        if bias is not None and bias.shape != (weight.shape[0],):
            raise ValueError(f"a bias is {bias.shape}; it must be ({weight.shape[0]},)")
    return int(in_features)


def _pack(
    program: Program,
    panel: PanelFormat,
    weights: Sequence[Array],
    biases: Sequence[Array | None],
    order: np.ndarray,
    in_features: int,
    out_features: int,
    is_gated: bool,
) -> PackedLinear:
    """Pack row order[i] of the stacked weights as column i of the panels; -1 is a zero column."""
    if len({weight.dtype for weight in weights}) > 1:
        weights = [to_float32(weight) for weight in weights]
    sources = [np.ascontiguousarray(weight) for weight in weights]
    addresses = np.concatenate(
        [
            source.ctypes.data + source.strides[0] * np.arange(source.shape[0], dtype=np.int64)
            for source in sources
        ]
    )
    rows = np.where(order < 0, 0, addresses[order])
    num_panels = order.size // PANEL
    nbytes = panel.nbytes(out_features, in_features, gated=is_gated)
    packed = empty_aligned((nbytes,), np.dtype(np.uint8))
    source = SOURCES[sources[0].dtype]
    program.append(
        _PACKERS[panel.name], rows, packed, num_panels, in_features, source, panel.step_bytes
    )
    program.keep(*sources)
    bias = None
    if any(part is not None for part in biases):
        stacked = np.concatenate(
            [
                np.zeros(source.shape[0], np.float32) if part is None else to_float32(part)
                for source, part in zip(sources, biases, strict=True)
            ]
        )
        bias = np.where(order < 0, np.float32(0), stacked[order])
    return PackedLinear(panel, packed, bias, in_features, out_features, is_gated)


def panel_format(dtype: str, quantization: str | None) -> PanelFormat:
    """Return the format of weights packed with `quantization`, of the kernels' dtype if None."""
    if quantization is not None and quantization not in QUANTIZATIONS:
        known = ", ".join(QUANTIZATIONS)
        raise ValueError(f"quantization {quantization!r} is not supported; choose one of {known}")
    return FORMATS[quantization or dtype]


def pack_table(dtype: str, weight: Array) -> np.ndarray:
    """Copy [V, H] to a row-major table in the kernels' dtype, a few rows at a time."""
    if weight.ndim != 2 or weight.dtype not in SOURCES:
        raise ValueError(
            f"an embedding is {weight.dtype} {weight.shape}; "
            "it must be float32, float16 or uint16 (bfloat16 bits), [V, H]"
        )
    out = empty_aligned(weight.shape, np.dtype(np.uint16 if dtype == "bfloat16" else np.float32))
    for start in range(0, weight.shape[0], 4096):
        part = weight[start : start + 4096]
        if part.dtype == out.dtype:
            out[start : start + 4096] = part
        elif dtype == "bfloat16":
            out[start : start + 4096] = to_bfloat16(part.astype(np.float32))
        else:
            out[start : start + 4096] = to_float32(part)
    return out
