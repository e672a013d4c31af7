"""Rows gathered by index: token embeddings, and the rotary table's rows of this step."""

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, load
from lite_kernels.cpu.isa.panel import (
    GROUP_BYTES,
    INT4,
    INT8,
    PANEL,
    SCALES_BYTES,
    STEP_BYTES,
)
from lite_kernels.cpu.kernel import Kernel, kernel
from lite_kernels.cpu.norm import widen_bfloat16
from lite_kernels.cpu.pack import PackedLinear
from lite_kernels.cpu.program import Program, argument, share
from lite_kernels.cpu.source import widen_float16
from lite_kernels.dtypes import QUANTIZED_BLOCK
from lite_kernels.interface import Array

_INT8_BYTES = INT8.step_bytes
_INT8_OFFSET = np.int32(INT8.offset)


@kernel()
def embed_bfloat16(tid, num_threads, args):
    """out[t] = table[ids[t]], widened.

    Record: ids int32 [T], table, out float32 [T, H], T, H, bytes of a panel (0: row-major).
    """
    ids, table, out = argument(args, 0), argument(args, 1), argument(args, 2)
    num_rows, n, panel_bytes = argument(args, 3), argument(args, 4), argument(args, 5)
    indices = array_at(ids, num_rows, np.int32)
    rows = array_at(out, (num_rows, n), np.float32)
    start, stop = share(num_rows, tid, num_threads)
    for t in range(start, stop):
        index = np.int64(indices[t])
        if panel_bytes == 0:
            source = array_at(table + index * n * 2, n, np.uint16)
            for k in range(n):
                rows[t, k] = widen_bfloat16(source[k])
        else:
            column = table + index // PANEL * panel_bytes + index % PANEL * 4
            for k in range(n):
                where = column + k // 2 * STEP_BYTES + k % 2 * 2
                rows[t, k] = widen_bfloat16(load(where, np.uint16))


@kernel()
def embed_float32(tid, num_threads, args):
    """out[t] = table[ids[t]]; the record is that of `embed_bfloat16`."""
    ids, table, out = argument(args, 0), argument(args, 1), argument(args, 2)
    num_rows, n, panel_bytes = argument(args, 3), argument(args, 4), argument(args, 5)
    indices = array_at(ids, num_rows, np.int32)
    rows = array_at(out, (num_rows, n), np.float32)
    start, stop = share(num_rows, tid, num_threads)
    for t in range(start, stop):
        index = np.int64(indices[t])
        if panel_bytes == 0:
            source = array_at(table + index * n * 4, n, np.float32)
            for k in range(n):
                rows[t, k] = source[k]
        else:
            column = table + index // PANEL * panel_bytes + index % PANEL * 4
            for k in range(n):
                rows[t, k] = load(column + k * STEP_BYTES, np.float32)


@kernel()
def embed_int8(tid, num_threads, args):
    """out[t] = the column ids[t] of int8 panels; the record is that of `embed_bfloat16`."""
    ids, table, out = argument(args, 0), argument(args, 1), argument(args, 2)
    num_rows, n, panel_bytes = argument(args, 3), argument(args, 4), argument(args, 5)
    indices = array_at(ids, num_rows, np.int32)
    rows = array_at(out, (num_rows, n), np.float32)
    start, stop = share(num_rows, tid, num_threads)
    for t in range(start, stop):
        index = np.int64(indices[t])
        panel, column = table + index // PANEL * panel_bytes, index % PANEL
        for first in range(0, n, QUANTIZED_BLOCK):
            block = panel + first // QUANTIZED_BLOCK * _INT8_BYTES
            scale = widen_float16(load(block + 2 * column, np.uint16))
            bytes_ = block + SCALES_BYTES + 4 * column
            for k in range(min(QUANTIZED_BLOCK, n - first)):
                value = load(bytes_ + k // 4 * GROUP_BYTES + k % 4, np.uint8)
                rows[t, first + k] = np.float32(np.int32(value) - _INT8_OFFSET) * scale


_EMBED: dict[str, Kernel] = {
    "bfloat16": embed_bfloat16,
    "float32": embed_float32,
    "int8": embed_int8,
}


def embed(
    program: Program, dtype: str, token_ids: Array, table: Array | PackedLinear, out: Array
) -> None:
    """Append out[t] = table[token_ids[t]]; see `Kernels.embed`."""
    num_rows, width = out.shape
    if token_ids.shape != (num_rows,) or token_ids.dtype != np.int32:
        raise ValueError(f"token_ids is {token_ids.dtype} {token_ids.shape}, not int32 [T]")
    if isinstance(table, PackedLinear):
        if table.is_gated or table.in_features != width:
            raise ValueError(f"the table has rows of {table.in_features}, out of {width}")
        if table.panel is INT4:
            raise ValueError("an int4 linear is no embedding table; pack it as int8")
        source, panel_bytes, dtype = table.weights, table.panel_bytes, table.panel.name
    else:
        if table.shape[1] != width:
            raise ValueError(f"the table has rows of {table.shape[1]}, out of {width}")
        source, panel_bytes = table, 0
    program.append(_EMBED[dtype], token_ids, source, out, num_rows, width, panel_bytes)


def rope_rows(program: Program, cos_sin: Array, positions: Array, out: Array) -> None:
    """Append out[t] = cos_sin[positions[t]]; see `Kernels.rope_rows`."""
    num_rows, width = out.shape
    if positions.shape != (num_rows,) or positions.dtype != np.int32:
        raise ValueError(f"positions is {positions.dtype} {positions.shape}, not int32 [T]")
    if cos_sin.shape[1] != width or cos_sin.dtype != np.float32:
        raise ValueError(f"cos_sin is {cos_sin.dtype} {cos_sin.shape}, not float32 [_, {width}]")
    program.append(embed_float32, positions, cos_sin, out, num_rows, width, 0)
