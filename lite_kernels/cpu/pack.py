"""Weights packed into panels of 32 output columns, each one linear stream of memory.

bfloat16: [N/32][K/2][32][2], float32: [N/32][K][32]; N and K are padded with zeros. A gated pair
puts 16 columns of gate and the same 16 of up into one panel, so one thread has both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lite_kernels.cpu.isa.memory import (
    array_at,
    bits_to_float,
    empty_aligned,
    load,
    stack_bytes,
    store,
)
from lite_kernels.cpu.isa.tile import PANEL, STEP_BYTES
from lite_kernels.cpu.kernel import Kernel, jit, jit_inline, kernel
from lite_kernels.cpu.norm import round_to_bfloat16, widen_bfloat16
from lite_kernels.cpu.program import Program, argument, next_ticket
from lite_kernels.dtypes import to_bfloat16, to_float32
from lite_kernels.interface import Array

# PERF: k is packed in blocks whose destination stays in L1.
_BLOCK = 128
_BUFFER_BYTES = 4 * _BLOCK
_SOURCES = {np.dtype(np.uint16): 0, np.dtype(np.float16): 1, np.dtype(np.float32): 2}
_SOURCE_BFLOAT16, _SOURCE_FLOAT16, _SOURCE_FLOAT32 = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class PackedLinear:
    """Weights in panels of `num_steps` x 128 bytes, and float32 biases in panel order."""

    weights: np.ndarray
    bias: np.ndarray | None
    in_features: int
    out_features: int
    num_panels: int
    num_steps: int
    is_gated: bool

    @property
    def nbytes(self) -> int:
        """Bytes of weights and biases."""
        return self.weights.nbytes + (0 if self.bias is None else self.bias.nbytes)


_EXPONENT_SHIFT = np.float32(2.0**112)  # the exponent biases of float32 and float16 differ by 112


@jit_inline
def _widen_float16(half):
    """Convert float16 bits to float32 without hardware support; exact."""
    bits = np.uint32(half)
    magnitude = bits_to_float((bits & np.uint32(0x7FFF)) << np.uint32(13)) * _EXPONENT_SHIFT
    if (bits & np.uint32(0x7C00)) == np.uint32(0x7C00):
        mantissa = (bits & np.uint32(0x3FF)) << np.uint32(13)
        magnitude = bits_to_float(np.uint32(0x7F800000) | mantissa)
    return -magnitude if bits & np.uint32(0x8000) else magnitude


@jit
def _read(row, k, source):
    """Return element k of a source row as float32."""
    if source == _SOURCE_FLOAT32:
        return load(row + 4 * k, np.float32)
    bits = load(row + 2 * k, np.uint16)
    if source == _SOURCE_FLOAT16:
        return _widen_float16(bits)
    return widen_bfloat16(bits)


@jit
def _pack_pairs(row, out, start, stop, source, buffer):
    """Write pairs [start, stop) of one column as bfloat16, through `buffer` if converted.

    PERF: arrays, not `load`, where it converts: only those are vectorised.
    """
    if source != _SOURCE_BFLOAT16:
        n = 2 * (stop - start)
        rounded = array_at(buffer, n, np.uint16)
        if source == _SOURCE_FLOAT16:
            halves = array_at(row + 4 * start, n, np.uint16)
            for i in range(n):
                rounded[i] = round_to_bfloat16(_widen_float16(halves[i]))
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
                    last = np.uint32(round_to_bfloat16(_read(row, n - 1, source)))
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
                        value = _read(row, k, source)
                    store(where + k * STEP_BYTES, value, np.float32)
        panel = next_ticket(args, num_threads, num_panels)


_PACKERS: dict[str, Kernel] = {"bfloat16": pack_bfloat16, "float32": pack_float32}


def pack_linear(
    program: Program, dtype: str, weights: Sequence[Array], biases: Sequence[Array | None]
) -> PackedLinear:
    """Append the packing of [N_i, K] weights stacked along N; see `Kernels.pack_linear`."""
    in_features = _check(weights, biases)
    out_features = sum(weight.shape[0] for weight in weights)
    num_panels = -(-out_features // PANEL)
    order = np.arange(num_panels * PANEL)
    order[out_features:] = -1
    return _pack(program, dtype, weights, biases, order, in_features, out_features, False)


def pack_gated(
    program: Program, dtype: str, weights: Sequence[Array], biases: Sequence[Array | None]
) -> PackedLinear:
    """Append the packing of (gate, up), each [I, K]; see `Kernels.pack_gated_linear`."""
    in_features = _check(weights, biases)
    gate, up = weights
    if gate.shape != up.shape:
        raise ValueError(f"gate is {gate.shape} and up is {up.shape}; the shapes must be equal")
    out_features = gate.shape[0]
    half = PANEL // 2
    num_panels = -(-out_features // half)
    order = np.arange(num_panels * half)
    order[out_features:] = -1
    order = order.reshape(num_panels, 1, half).repeat(2, axis=1)
    order[:, 1] = np.where(order[:, 1] < 0, -1, order[:, 1] + out_features)
    return _pack(program, dtype, weights, biases, order.ravel(), in_features, out_features, True)


def _check(weights: Sequence[Array], biases: Sequence[Array | None]) -> int:
    """Return K after checking every array."""
    if not weights or len(biases) != len(weights):
        raise ValueError(f"{len(weights)} weights and {len(biases)} biases; give one bias each")
    in_features = weights[0].shape[-1]
    for weight, bias in zip(weights, biases, strict=True):
        if weight.ndim != 2 or weight.shape[1] != in_features or weight.dtype not in _SOURCES:
            raise ValueError(
                f"a weight is {weight.dtype} {weight.shape}; "
                f"it must be float32, float16 or uint16 (bfloat16 bits), [N, {in_features}]"
            )
        if weight.dtype != weights[0].dtype:
            raise ValueError("the weights of one linear must have one dtype")
        if bias is not None and bias.shape != (weight.shape[0],):
            raise ValueError(f"a bias is {bias.shape}; it must be ({weight.shape[0]},)")
    return int(in_features)


def _pack(
    program: Program,
    dtype: str,
    weights: Sequence[Array],
    biases: Sequence[Array | None],
    order: np.ndarray,
    in_features: int,
    out_features: int,
    is_gated: bool,
) -> PackedLinear:
    """Pack row order[i] of the stacked weights as column i of the panels; -1 is a zero column."""
    sources = [np.ascontiguousarray(weight) for weight in weights]
    addresses = np.concatenate(
        [
            source.ctypes.data + source.strides[0] * np.arange(source.shape[0], dtype=np.int64)
            for source in sources
        ]
    )
    rows = np.where(order < 0, 0, addresses[order])
    num_panels = order.size // PANEL
    num_steps = (in_features + 1) // 2 if dtype == "bfloat16" else in_features
    packed = empty_aligned((num_panels * num_steps * STEP_BYTES,), np.dtype(np.uint8))
    source = _SOURCES[sources[0].dtype]
    program.append(_PACKERS[dtype], rows, packed, num_panels, in_features, source)
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
    return PackedLinear(packed, bias, in_features, out_features, num_panels, num_steps, is_gated)


def pack_table(dtype: str, weight: Array) -> np.ndarray:
    """Copy [V, H] to a row-major table in the kernels' dtype, a few rows at a time."""
    if weight.ndim != 2 or weight.dtype not in _SOURCES:
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
