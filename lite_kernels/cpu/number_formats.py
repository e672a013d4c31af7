"""The kernels' number formats: bfloat16 as uint16 bits, float32, heads of int8."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa.memory import bits_to_float, float_to_bits
from lite_kernels.cpu.kernel import jit

_I16 = ir.IntType(16)
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_F32 = ir.FloatType()


@intrinsic
def bytes_of(typingctx, dtype):
    """Return the bytes of one value of a type such as np.float32."""

    def codegen(context, builder, signature, args):
        return ir.Constant(_I64, signature.args[0].dtype.bitwidth // 8)

    return types.int64(dtype), codegen


@intrinsic
def round_to(typingctx, value, dtype):
    """Return bfloat16 bits (np.uint16), nearest even, or the value itself (np.float32).

    A NaN stays a (quiet) NaN.
    """

    def codegen(context, builder, signature, args):
        if signature.return_type == types.float32:
            return args[0]

        def number(value: int) -> ir.Constant:
            return ir.Constant(_I32, value)

        bits = builder.bitcast(args[0], _I32)
        high = builder.lshr(bits, number(16))
        bias = builder.add(builder.and_(high, number(1)), number(0x7FFF))
        rounded = builder.lshr(builder.add(bits, bias), number(16))
        quiet = builder.or_(high, number(0x40))
        is_nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.trunc(builder.select(is_nan, quiet, rounded), _I16)

    return dtype.dtype(types.float32, dtype), codegen


@intrinsic
def float32_of(typingctx, value):
    """Return the float32 of bfloat16 bits (uint16); a float32 as it is."""

    def codegen(context, builder, signature, args):
        if signature.args[0] == types.float32:
            return args[0]
        bits = builder.shl(builder.zext(args[0], _I32), ir.Constant(_I32, 16))
        return builder.bitcast(bits, _F32)

    return types.float32(value), codegen


@jit
def quantize_head(values, out):
    """Write round(127 x / absmax) of float32 `values` to int8 `out`; return absmax / 127.

    Ties go to the even integer. With a NaN or an infinity the scale is NaN; an absmax below
    2^-100 gives zeros. `out` may be longer.
    """
    largest_bits = np.uint32(0)
    for d in range(values.size):
        largest_bits = max(largest_bits, float_to_bits(values[d]) & np.uint32(0x7FFFFFFF))
    # As integers, so that a NaN is the largest.
    largest = bits_to_float(largest_bits)
    inverse, scale = np.float32(0.0), np.float32(0.0)
    if largest_bits >= np.uint32(0x7F800000):
        scale = np.float32(np.nan)
    elif largest_bits >= np.uint32(0x0D800000):
        inverse, scale = np.float32(127.0) / largest, largest / np.float32(127.0)
    for d in range(values.size):
        # Adding 1.5 * 2^23 leaves the rounded integer in the low bits.
        out[d] = np.int8(float_to_bits(values[d] * inverse + np.float32(12582912.0)) & 0xFF)
    return scale
