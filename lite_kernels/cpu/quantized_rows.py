"""Rows that enter a product with quantized weights: int8 values, a scale per 32 of them."""

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, stack_bytes
from lite_kernels.cpu.isa.panel import ROW_BLOCK_BYTES
from lite_kernels.cpu.isa.quantize_block import (
    quantize_bfloat16,
    quantize_floats,
    quantize_normed,
)
from lite_kernels.cpu.kernel import Kernel, jit, kernel
from lite_kernels.cpu.norm import inverse_rms, widen_bfloat16
from lite_kernels.cpu.program import argument, float_argument, share
from lite_kernels.dtypes import QUANTIZED_BLOCK

_BUFFER_BYTES = 4 * QUANTIZED_BLOCK


@jit
def _cleared(buffer):
    """View 32 float32 of zeros."""
    padded = array_at(buffer, QUANTIZED_BLOCK, np.float32)
    for i in range(QUANTIZED_BLOCK):
        padded[i] = np.float32(0.0)
    return padded


@kernel()
def norm_rows_quantized(tid, num_threads, args):
    """RMS norm of rows, as `norm_rows` computes it, quantized without another rounding before.

    Record: x [T, H], rows int32 [R] or 0 for all, weight, eps, out, out stride in bytes, R, H,
    blocks of a row, offset of the weights' integers.
    """
    x, rows, weight_address = argument(args, 0), argument(args, 1), argument(args, 2)
    eps = float_argument(args, 3)
    out, out_stride = argument(args, 4), argument(args, 5)
    num_rows, n = argument(args, 6), argument(args, 7)
    num_blocks, offset = argument(args, 8), argument(args, 9)
    weight = array_at(weight_address, n, np.float32)
    buffer = stack_bytes(_BUFFER_BYTES)
    # Threads share blocks, so that one row keeps several busy; each needs the whole row's norm.
    task, end = share(num_rows * num_blocks, tid, num_threads)
    while task < end:
        r, first = task // num_blocks, task % num_blocks
        stop = min(num_blocks, first + end - task)
        source = r
        if rows != 0:
            source = np.int64(array_at(rows, num_rows, np.int32)[r])
        row = array_at(x + source * n * 4, n, np.float32)
        factor = inverse_rms(row, eps)
        for block in range(first, stop):
            target = out + r * out_stride + block * ROW_BLOCK_BYTES
            k = block * QUANTIZED_BLOCK
            if k + QUANTIZED_BLOCK <= n:
                quantize_normed(
                    x + (source * n + k) * 4,
                    weight_address + 4 * k,
                    factor,
                    target,
                    offset,
                )
            else:
                padded = _cleared(buffer)
                for i in range(n - k):
                    padded[i] = row[k + i] * factor * weight[k + i]
                quantize_floats(buffer, target, offset)
        task += stop - first


@kernel()
def quantize_rows_bfloat16(tid, num_threads, args):
    """Quantize rows of bfloat16.

    Record: x uint16 [T, K], out, out stride in bytes, T, K, blocks of a row, offset of the
    weights' integers.
    """
    x, out, out_stride = argument(args, 0), argument(args, 1), argument(args, 2)
    num_rows, n = argument(args, 3), argument(args, 4)
    num_blocks, offset = argument(args, 5), argument(args, 6)
    buffer = stack_bytes(_BUFFER_BYTES)
    first, end = share(num_rows * num_blocks, tid, num_threads)
    for task in range(first, end):
        r, block = task // num_blocks, task % num_blocks
        target = out + r * out_stride + block * ROW_BLOCK_BYTES
        k = block * QUANTIZED_BLOCK
        source = x + (r * n + k) * 2
        if k + QUANTIZED_BLOCK <= n:
            quantize_bfloat16(source, target, offset)
        else:
            padded, bits = _cleared(buffer), array_at(source, n - k, np.uint16)
            for i in range(n - k):
                padded[i] = widen_bfloat16(bits[i])
            quantize_floats(buffer, target, offset)


@kernel()
def quantize_rows_float32(tid, num_threads, args):
    """Quantize rows of float32; the record is that of `quantize_rows_bfloat16`."""
    x, out, out_stride = argument(args, 0), argument(args, 1), argument(args, 2)
    num_rows, n = argument(args, 3), argument(args, 4)
    num_blocks, offset = argument(args, 5), argument(args, 6)
    buffer = stack_bytes(_BUFFER_BYTES)
    first, end = share(num_rows * num_blocks, tid, num_threads)
    for task in range(first, end):
        r, block = task // num_blocks, task % num_blocks
        target = out + r * out_stride + block * ROW_BLOCK_BYTES
        k = block * QUANTIZED_BLOCK
        source = x + (r * n + k) * 4
        if k + QUANTIZED_BLOCK <= n:
            quantize_floats(source, target, offset)
        else:
            padded, floats = _cleared(buffer), array_at(source, n - k, np.float32)
            for i in range(n - k):
                padded[i] = floats[i]
            quantize_floats(buffer, target, offset)


QUANTIZE_ROWS: dict[str, Kernel] = {
    "bfloat16": quantize_rows_bfloat16,
    "float32": quantize_rows_float32,
}
