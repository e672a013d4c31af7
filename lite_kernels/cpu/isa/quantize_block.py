"""Blocks of 32 activations to int8, as the quantized micro-kernels read them."""

import dataclasses

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.memory import declare
from lite_kernels.dtypes import QUANTIZED_BLOCK

_F32 = ir.FloatType()
_I8 = ir.IntType(8)
_I16 = ir.IntType(16)
_I32 = ir.IntType(32)
_INFINITY = 0x7F800000
_TINY = 0x0D800000  # 2^-100: 127 / smaller values might overflow
_ROUND = 12582912.0  # 1.5 * 2^23: adding it rounds to an integer, which the low bits then hold


def _emitter(builder: ir.IRBuilder) -> Emitter:
    """Return an emitter of whole blocks, which LLVM splits over the vectors of the CPU."""
    return Emitter(builder, dataclasses.replace(host_isa(), lanes=QUANTIZED_BLOCK))


def _reduce(emit: Emitter, operation: str, values: ir.Value) -> ir.Value:
    name = f"llvm.vector.reduce.{operation}.v{QUANTIZED_BLOCK}i32"
    return emit.builder.call(declare(emit.builder.module, name, _I32, [emit.ints]), [values])


def _quantize(emit: Emitter, values: ir.Value, out: ir.Value, offset: ir.Value) -> None:
    """Store the scale absmax / 127, -offset * the sum, and rint(127 x / absmax) as int8.

    A block with a NaN or an infinity gets the scale NaN; one below 2^-100 becomes zeros.
    """
    builder = emit.builder

    def number(value: int) -> ir.Constant:
        return ir.Constant(_I32, value)

    bits = builder.bitcast(values, emit.ints)
    magnitudes = builder.and_(bits, emit.broadcast(number(0x7FFFFFFF)))
    # As integers, so that a NaN is the largest.
    largest_bits = _reduce(emit, "umax", magnitudes)
    largest = builder.bitcast(largest_bits, _F32)
    most = ir.Constant(_F32, 127.0)
    zero = ir.Constant(_F32, 0.0)
    is_tiny = builder.icmp_unsigned("<", largest_bits, number(_TINY))
    is_special = builder.icmp_unsigned(">=", largest_bits, number(_INFINITY))
    inverse = builder.select(is_tiny, zero, builder.fdiv(most, largest))
    step = builder.select(is_tiny, zero, builder.fdiv(largest, most))
    not_a_number = builder.bitcast(number(0x7FC00000), _F32)
    step = builder.select(is_special, not_a_number, step)
    rounded = builder.fadd(
        builder.fmul(values, emit.broadcast(inverse)),
        emit.broadcast(ir.Constant(_F32, _ROUND)),
    )
    quantized = builder.trunc(
        builder.bitcast(rounded, emit.ints), ir.VectorType(_I8, QUANTIZED_BLOCK)
    )
    total = _reduce(emit, "add", builder.sext(quantized, emit.ints))
    start = builder.mul(total, builder.neg(builder.trunc(offset, _I32)))
    emit.store(step, out, 4)
    emit.store(start, emit.offset(out, 4), 4)
    emit.store(quantized, emit.offset(out, 8), 8)


@intrinsic
def quantize_floats(typingctx, x, out, offset):
    """Quantize 32 float32 at address x to `ROW_BLOCK_BYTES` at `out`; see `_quantize`.

    offset: of the stored integers of the weights that the row is multiplied by.
    """

    def codegen(context, builder, signature, args):
        emit = _emitter(builder)
        _quantize(emit, emit.load(args[0], emit.floats, 4), *args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), codegen


@intrinsic
def quantize_bfloat16(typingctx, x, out, offset):
    """Quantize 32 bfloat16 at address x, as `quantize_floats` does."""

    def codegen(context, builder, signature, args):
        emit = _emitter(builder)
        bits = emit.load(args[0], ir.VectorType(_I16, QUANTIZED_BLOCK), 2)
        sixteen = emit.broadcast(ir.Constant(_I32, 16))
        values = builder.bitcast(builder.shl(builder.zext(bits, emit.ints), sixteen), emit.floats)
        _quantize(emit, values, *args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), codegen


@intrinsic
def quantize_normed(typingctx, x, weight, factor, out, offset):
    """Quantize x * factor * weight of 32 float32 each, as `quantize_floats` does."""

    def codegen(context, builder, signature, args):
        emit = _emitter(builder)
        x_, weight_ = (emit.load(address, emit.floats, 4) for address in args[:2])
        values = builder.fmul(builder.fmul(x_, emit.broadcast(args[2])), weight_)
        _quantize(emit, values, *args[3:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32, *[types.int64] * 2), codegen
