"""Rows that enter a matrix product: RMS norm, and copies to the layout the product reads."""

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, bits_to_float, float_to_bits
from lite_kernels.cpu.kernel import jit, jit_fast, jit_inline, kernel
from lite_kernels.cpu.program import argument, float_argument, share

# What a row becomes: bfloat16 bits, float32 rounded to bfloat16, float32.
BFLOAT16, ROUNDED, FLOAT32 = range(3)


@jit_inline
def round_to_bfloat16(x):
    """Return the bit pattern of the nearest bfloat16 (ties to even) as uint16; NaN stays NaN."""
    bits = float_to_bits(x)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.uint16(rounded if x == x else (bits >> np.uint32(16)) | np.uint32(0x40))  # noqa: PLR0124


@jit_inline
def widen_bfloat16(bits):
    """Return a bfloat16 bit pattern as float32."""
    return bits_to_float(np.uint32(bits) << np.uint32(16))


@jit_fast
def _sum_of_squares(x):
    # PERF: over indices; an array's iterator is not vectorised.
    total = np.float32(0.0)
    for i in range(x.size):
        total += x[i] * x[i]
    return total


@jit
def inverse_rms(row, eps):
    """Return 1 / sqrt(mean(x^2) + eps)."""
    mean = _sum_of_squares(row) / np.float32(row.size)
    return np.float32(1.0) / np.sqrt(mean + eps)


@jit
def _clear(address, nbytes):
    """Zero the padding of a row; a loop, since slices take Numba a second to compile."""
    padding = array_at(address, nbytes, np.uint8)
    for i in range(nbytes):
        padding[i] = 0


@jit
def _write_row(x, weight, scale, out, width, layout):
    """Write x * scale * weight, then zeros up to `width`."""
    n = x.size
    if layout == BFLOAT16:
        bits = array_at(out, width, np.uint16)
        for i in range(n):
            bits[i] = round_to_bfloat16(x[i] * scale * weight[i])
        _clear(out + 2 * n, 2 * (width - n))
    elif layout == ROUNDED:
        floats = array_at(out, width, np.float32)
        for i in range(n):
            floats[i] = widen_bfloat16(round_to_bfloat16(x[i] * scale * weight[i]))
        _clear(out + 4 * n, 4 * (width - n))
    else:
        floats = array_at(out, width, np.float32)
        for i in range(n):
            floats[i] = x[i] * scale * weight[i]
        _clear(out + 4 * n, 4 * (width - n))


@kernel()
def norm_rows(tid, num_threads, args):
    """RMS norm of rows: x rsqrt(mean(x^2) + eps) weight, as Hugging Face computes it.

    Record: x [T, H], rows int32 [R] or 0 for all, weight, eps, out, out stride in bytes, R, H,
    width of an out row, layout.
    """
    x, rows, weight_address = argument(args, 0), argument(args, 1), argument(args, 2)
    eps = float_argument(args, 3)
    out, out_stride = argument(args, 4), argument(args, 5)
    num_rows, n, width, layout = (
        argument(args, 6),
        argument(args, 7),
        argument(args, 8),
        argument(args, 9),
    )
    weight = array_at(weight_address, n, np.float32)
    start, stop = share(num_rows, tid, num_threads)
    for r in range(start, stop):
        source = r
        if rows != 0:
            source = np.int64(array_at(rows, num_rows, np.int32)[r])
        row = array_at(x + source * n * 4, n, np.float32)
        _write_row(row, weight, inverse_rms(row, eps), out + r * out_stride, width, layout)


@kernel()
def stage_bfloat16(tid, num_threads, args):
    """Copy bfloat16 rows to the layout the product reads.

    Record: x uint16 [T, K], out, out stride in bytes, T, K, width of an out row, layout.
    """
    x, out, out_stride = argument(args, 0), argument(args, 1), argument(args, 2)
    num_rows, n, width, layout = (
        argument(args, 3),
        argument(args, 4),
        argument(args, 5),
        argument(args, 6),
    )
    start, stop = share(num_rows, tid, num_threads)
    for r in range(start, stop):
        row = array_at(x + r * n * 2, n, np.uint16)
        target = out + r * out_stride
        if layout == BFLOAT16:
            bits = array_at(target, width, np.uint16)
            for i in range(n):
                bits[i] = row[i]
            _clear(target + 2 * n, 2 * (width - n))
        else:
            floats = array_at(target, width, np.float32)
            for i in range(n):
                floats[i] = widen_bfloat16(row[i])
            _clear(target + 4 * n, 4 * (width - n))
