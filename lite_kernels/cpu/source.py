"""Reading a checkpoint's weights, whatever their type: float32, float16, or bfloat16 bits."""

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, bits_to_float, load
from lite_kernels.cpu.kernel import jit, jit_inline
from lite_kernels.cpu.norm import widen_bfloat16

SOURCES = {np.dtype(np.uint16): 0, np.dtype(np.float16): 1, np.dtype(np.float32): 2}
SOURCE_BFLOAT16, SOURCE_FLOAT16, SOURCE_FLOAT32 = range(3)
_EXPONENT_SHIFT = np.float32(2.0**112)  # the exponent biases of float32 and float16 differ by 112


@jit_inline
def widen_float16(half):
    """Convert float16 bits to float32 without hardware support; exact."""
    bits = np.uint32(half)
    magnitude = bits_to_float((bits & np.uint32(0x7FFF)) << np.uint32(13)) * _EXPONENT_SHIFT
    if (bits & np.uint32(0x7C00)) == np.uint32(0x7C00):
        mantissa = (bits & np.uint32(0x3FF)) << np.uint32(13)
        magnitude = bits_to_float(np.uint32(0x7F800000) | mantissa)
    return -magnitude if bits & np.uint32(0x8000) else magnitude


@jit
def read(row, k, source):
    """Return element k of a source row as float32."""
    if source == SOURCE_FLOAT32:
        return load(row + 4 * k, np.float32)
    bits = load(row + 2 * k, np.uint16)
    if source == SOURCE_FLOAT16:
        return widen_float16(bits)
    return widen_bfloat16(bits)


@jit
def read_floats(row, start, count, source, out):
    """Write elements [start, start + count) of a source row as float32 to address `out`."""
    floats = array_at(out, count, np.float32)
    if source == SOURCE_FLOAT32:
        values = array_at(row + 4 * start, count, np.float32)
        for i in range(count):
            floats[i] = values[i]
    else:
        bits = array_at(row + 2 * start, count, np.uint16)
        if source == SOURCE_FLOAT16:
            for i in range(count):
                floats[i] = widen_float16(bits[i])
        else:
            for i in range(count):
                floats[i] = widen_bfloat16(bits[i])
