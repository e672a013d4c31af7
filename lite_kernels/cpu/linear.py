"""Matrix products over packed weights, with the norm before and the epilogue after them."""

import numpy as np

from lite_kernels.cpu.isa import Isa, host_isa
from lite_kernels.cpu.isa.activation import ACTIVATIONS, GELU, GELU_TANH, SILU
from lite_kernels.cpu.isa.epilogue import store_gated_tile, store_tile
from lite_kernels.cpu.isa.memory import array_at, empty_aligned, prefetch_line, stack_bytes
from lite_kernels.cpu.isa.multiply import fetched_bytes, max_rows, multiply_tile, single_rows
from lite_kernels.cpu.isa.panel import PANEL, row_bytes
from lite_kernels.cpu.isa.tile import activation_bytes
from lite_kernels.cpu.kernel import Kernel, jit, kernel
from lite_kernels.cpu.norm import (
    BFLOAT16,
    FLOAT32,
    ROUNDED,
    norm_rows,
    stage_bfloat16,
)
from lite_kernels.cpu.pack import PackedLinear
from lite_kernels.cpu.program import Program, argument, next_range
from lite_kernels.cpu.quantized_rows import QUANTIZE_ROWS, norm_rows_quantized
from lite_kernels.interface import Array

# Epilogues: out = tile + bias; out += tile + bias; out = activation(gate + bias) * (up + bias).
_STORE, _ADD, _GATED = range(3)
_HALF = PANEL // 2
_TILE_BYTES = 12 * PANEL * 4  # of any ISA's largest tile
# PERF: rows of one block of a large product; their activations stay in half of an L2 of 1 MiB.
_BLOCK_BYTES = 512 * 1024
_JUMP_BYTES = 2048


@jit
def _store(tile, bias, out, stride, num_rows, width, adds):
    """Write, or add, tile + bias to `width` columns of float32 rows."""
    if width == PANEL:
        store_tile(tile, bias, out, stride, num_rows, adds)
        return
    for r in range(num_rows):
        sums = array_at(tile + r * PANEL * 4, PANEL, np.float32)
        row = array_at(out + r * stride, PANEL, np.float32)
        for c in range(width):
            total = sums[c]
            if bias != 0:
                total += array_at(bias, PANEL, np.float32)[c]
            row[c] = row[c] + total if adds else total


@jit
def _store_activated(activation, dtype, tile, bias, out, stride, num_rows):
    if activation == SILU:
        store_gated_tile(SILU, dtype, tile, bias, out, stride, num_rows)
    elif activation == GELU:
        store_gated_tile(GELU, dtype, tile, bias, out, stride, num_rows)
    else:
        store_gated_tile(GELU_TANH, dtype, tile, bias, out, stride, num_rows)


@jit
def _store_gated(activation, dtype, tile, bias, out, stride, num_rows, width):
    """Write activation(gate + bias) * (up + bias) to `width` columns of bfloat16 or float32."""
    if width == _HALF:
        _store_activated(activation, dtype, tile, bias, out, stride, num_rows)
        return
    _store_activated(activation, dtype, tile, bias, tile, PANEL * 4, num_rows)
    for r in range(num_rows):
        values = array_at(tile + r * PANEL * 4, _HALF, dtype)
        row = array_at(out + r * stride, _HALF, dtype)
        for c in range(width):
            row[c] = values[c]


@jit
def _gemm(tid, num_threads, args, dtype):
    """Tiles of 32 columns by at most `max_rows` rows, one panel of one block of rows a task."""
    weights, bias = argument(args, 0), argument(args, 1)
    x, x_stride = argument(args, 2), argument(args, 3)
    out, out_stride, itemsize = argument(args, 4), argument(args, 5), argument(args, 6)
    num_rows, num_columns = argument(args, 7), argument(args, 8)
    num_panels, num_steps, num_blocks = argument(args, 9), argument(args, 10), argument(args, 11)
    max_rows, epilogue, activation = argument(args, 12), argument(args, 13), argument(args, 14)
    columns, panel_bytes, fetched = argument(args, 15), argument(args, 16), argument(args, 17)
    single_rows = argument(args, 18)
    tile = stack_bytes(_TILE_BYTES)
    count = num_blocks * num_panels
    task, stop = next_range(args, num_threads, count)
    while task < count:
        upcoming = task + 1
        if upcoming == stop:
            upcoming, stop = next_range(args, num_threads, count)
            if num_blocks == 1 and upcoming < count:
                # PERF: where the stream jumps, the hardware would have to find it anew.
                for at in range(0, _JUMP_BYTES, 64):
                    prefetch_line(weights + upcoming * panel_bytes + at)
        # PERF: no divisions where one block is all: meanwhile no weights are fetched.
        first, rows, panel, next_panel = 0, num_rows, task, upcoming
        if num_blocks > 1:
            block, panel, next_panel = task // num_panels, task % num_panels, upcoming % num_panels
            first = num_rows * block // num_blocks
            rows = num_rows * (block + 1) // num_blocks - first
        num_tiles = 1
        if rows > single_rows:
            num_tiles = max(2, (rows + max_rows - 1) // max_rows)
        column = panel * columns
        width = min(columns, num_columns - column)
        panel_bias = bias + panel * PANEL * 4 if bias != 0 else 0
        start = first
        for t in range(num_tiles):
            end = first + rows
            if t + 1 < num_tiles:
                end = first + rows * (t + 1) // num_tiles
            tile_rows = end - start
            # PERF: two tiles fetch half of the next panel each; a single tile is a plain stream,
            # which the hardware follows better alone.
            prefetch = 0
            if num_tiles > 1 and t >= num_tiles - 2 and upcoming < count:
                prefetch = weights + next_panel * panel_bytes + (t - num_tiles + 2) * fetched
            where = out + start * out_stride + column * itemsize
            # PERF: rows of `out` lie pages apart; without this each would be waited for.
            for r in range(tile_rows):
                prefetch_line(where + r * out_stride)
                if epilogue != _GATED:
                    prefetch_line(where + r * out_stride + 64)
            multiply_tile(
                dtype,
                tile_rows,
                weights + panel * panel_bytes,
                x + start * x_stride,
                x_stride,
                tile,
                num_steps,
                prefetch,
            )
            if epilogue == _GATED:
                if itemsize == 2:
                    _store_gated(
                        activation, np.uint16, tile, panel_bias, where, out_stride, tile_rows, width
                    )
                else:
                    _store_gated(
                        activation,
                        np.float32,
                        tile,
                        panel_bias,
                        where,
                        out_stride,
                        tile_rows,
                        width,
                    )
            else:
                _store(tile, panel_bias, where, out_stride, tile_rows, width, epilogue == _ADD)
            start = end
        task = upcoming


@kernel()
def gemm_bfloat16(tid, num_threads, args):
    """Multiply by bfloat16 panels; the record is read in `_gemm`."""
    _gemm(tid, num_threads, args, np.uint16)


@kernel()
def gemm_float32(tid, num_threads, args):
    """Multiply by float32 panels; the record is read in `_gemm`."""
    _gemm(tid, num_threads, args, np.float32)


@kernel()
def gemm_int8(tid, num_threads, args):
    """Multiply by int8 panels; the record is read in `_gemm`."""
    _gemm(tid, num_threads, args, np.int8)


@kernel()
def gemm_int4(tid, num_threads, args):
    """Multiply by int4 panels; the record is read in `_gemm`."""
    _gemm(tid, num_threads, args, np.uint8)


_GEMM: dict[str, Kernel] = {
    "bfloat16": gemm_bfloat16,
    "float32": gemm_float32,
    "int8": gemm_int8,
    "int4": gemm_int4,
}


class Linears:
    """Appends products to programs; owns the rows that enter them, reused by every product."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._isa: Isa = host_isa()
        self._x_itemsize = activation_bytes(self._isa, dtype)
        self._act = np.dtype(np.uint16 if dtype == "bfloat16" else np.float32)
        if dtype == "float32":
            self._layout = FLOAT32
        else:
            self._layout = BFLOAT16 if self._x_itemsize == 2 else ROUNDED
        self._rows = empty_aligned((0,), np.dtype(np.uint8))

    def norm_linear(
        self,
        program: Program,
        x: Array,
        rows: Array | None,
        norm_weight: Array,
        eps: float,
        linear: PackedLinear,
        out: Array,
    ) -> None:
        """Append out = act(rms_norm(x[rows]) * norm_weight) @ W.T + bias; rows None for all."""
        num_rows = self._check_norm(x, rows, norm_weight, linear)
        _check(out, "out", np.float32, (num_rows, linear.out_features))
        normed = self._norm(program, x, rows, norm_weight, eps, linear, num_rows)
        self._gemm(program, normed, num_rows, linear, out, _STORE, 0)

    def norm_gated_linear(
        self,
        program: Program,
        x: Array,
        norm_weight: Array,
        eps: float,
        linear: PackedLinear,
        activation: str,
        out: Array,
    ) -> None:
        """Append out = activation(gate) * up of the normed rows; see `Kernels`."""
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation {activation!r} is not supported; choose one of {known}")
        num_rows = self._check_norm(x, None, norm_weight, linear, gated=True)
        _check(out, "out", self._act, (num_rows, linear.out_features))
        normed = self._norm(program, x, None, norm_weight, eps, linear, num_rows)
        self._gemm(program, normed, num_rows, linear, out, _GATED, ACTIVATIONS[activation])

    def linear_add(self, program: Program, x: Array, linear: PackedLinear, residual: Array) -> None:
        """Append residual += x @ W.T + bias; see `Kernels`."""
        num_rows = x.shape[0]
        _check_linear(linear, gated=False)
        _check(x, "x", self._act, (num_rows, linear.in_features))
        _check(residual, "residual", np.float32, (num_rows, linear.out_features))
        staged = self._stage(program, x, num_rows, linear)
        self._gemm(program, staged, num_rows, linear, residual, _ADD, 0)

    def _stage(self, program: Program, x: Array, num_rows: int, linear: PackedLinear) -> Array:
        """Return the rows of `x` as the product reads them: a copy, unless they are so already."""
        width = self._width(linear)
        if linear.panel.is_quantized:
            stage, options = QUANTIZE_ROWS[self._dtype], (linear.num_steps, linear.panel.offset)
        elif self._act.itemsize != self._x_itemsize or width != linear.in_features:
            stage, options = stage_bfloat16, (width, self._layout)
        else:
            return x
        rows = self._take(num_rows, linear)
        program.append(stage, x, rows, rows.strides[0], num_rows, linear.in_features, *options)
        return rows

    def _check_norm(
        self,
        x: Array,
        rows: Array | None,
        norm_weight: Array,
        linear: PackedLinear,
        gated: bool = False,
    ) -> int:
        """Return the number of rows that enter the product."""
        _check_linear(linear, gated=gated)
        _check(x, "x", np.float32, (x.shape[0], linear.in_features))
        _check(norm_weight, "norm_weight", np.float32, (linear.in_features,))
        if rows is None:
            return int(x.shape[0])
        _check(rows, "rows", np.int32, (rows.shape[0],))
        return int(rows.shape[0])

    def _norm(
        self,
        program: Program,
        x: Array,
        rows: Array | None,
        norm_weight: Array,
        eps: float,
        linear: PackedLinear,
        num_rows: int,
    ) -> np.ndarray:
        normed = self._take(num_rows, linear)
        if linear.panel.is_quantized:
            norm, options = norm_rows_quantized, (linear.num_steps, linear.panel.offset)
        else:
            norm, options = norm_rows, (self._width(linear), self._layout)
        program.append(
            norm,
            x,
            rows,
            norm_weight,
            float(eps),
            normed,
            normed.strides[0],
            num_rows,
            linear.in_features,
            *options,
        )
        return normed

    def _width(self, linear: PackedLinear) -> int:
        """Values of a row as the micro-kernel reads it: K is padded to whole steps."""
        return linear.num_steps * linear.panel.step_size

    def _stride(self, linear: PackedLinear) -> int:
        """Bytes of a row as the micro-kernel reads it."""
        if linear.panel.is_quantized:
            return row_bytes(linear.num_steps)
        return self._width(linear) * self._x_itemsize

    def _take(self, num_rows: int, linear: PackedLinear) -> np.ndarray:
        """Return scratch rows; a larger request leaves the old memory to the programs using it."""
        stride = self._stride(linear)
        if self._rows.size < num_rows * stride:
            self._rows = empty_aligned((num_rows * stride,), np.dtype(np.uint8))
        return self._rows[: num_rows * stride].reshape(num_rows, stride)

    def _gemm(
        self,
        program: Program,
        x: np.ndarray,
        num_rows: int,
        linear: PackedLinear,
        out: Array,
        epilogue: int,
        activation: int,
    ) -> None:
        most = max_rows(self._isa, linear.panel)
        tiles = max(4, _BLOCK_BYTES // (self._stride(linear) * most))
        num_blocks = -(-num_rows // (tiles * most))
        program.append(
            _GEMM[linear.panel.name],
            linear.weights,
            linear.bias,
            x,
            x.strides[0],
            out,
            out.strides[0],
            out.itemsize,
            num_rows,
            linear.out_features,
            linear.num_panels,
            linear.num_steps,
            num_blocks,
            most,
            epilogue,
            activation,
            _HALF if linear.is_gated else PANEL,
            linear.panel_bytes,
            linear.num_steps * fetched_bytes(linear.panel),
            single_rows(self._isa, linear.panel),
        )


def _check(array: Array, name: str, dtype: object, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(
            f"{name} is {array.dtype} {array.shape}; it must be a C-contiguous {dtype} {shape}"
        )


def _check_linear(linear: PackedLinear, *, gated: bool) -> None:
    if linear.is_gated != gated:
        packer = "pack_gated_linear" if gated else "pack_linear"
        raise ValueError(f"this operation needs weights packed by {packer}")
