"""The passes of sampling over a whole vocabulary, as LLVM IR on 16 logits at a time."""

import dataclasses
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.memory import declare
from lite_kernels.reference_sampling import (
    EXP_COEFFICIENTS,
    EXP_MIN,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    ROUND_MAGIC,
    WEIGHT_ONE,
)

# Logits of a block; its largest key is known after the first look at a row.
BLOCK = 128
_LANES = 16
_NUM_VECTORS = BLOCK // _LANES

_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_FLOATS = ir.VectorType(_F32, _LANES)
_INTS = ir.VectorType(_I32, _LANES)
_LONGS = ir.VectorType(_I64, _LANES)


def _constant(kind: ir.Type, value: Any) -> ir.Constant:
    """Return a scalar constant, or one repeated over the lanes of a vector type."""
    value = int(value) if kind in (_I32, _INTS) else float(value)
    return ir.Constant(kind, [value] * _LANES if isinstance(kind, ir.VectorType) else value)


def _emit_key(builder: ir.IRBuilder, logits: ir.Value, kind: ir.Type) -> ir.Value:
    logits = builder.fadd(logits, _constant(logits.type, 0.0))
    bits = builder.bitcast(logits, kind)
    sign = builder.ashr(bits, _constant(kind, 31))
    return builder.xor(bits, builder.and_(sign, _constant(kind, 0x7FFFFFFF)))


def _emit_weight(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Emit `reference_sampling.exp_weights`: the same products and sums, none fused."""
    floats = x.type
    ints, longs = (_INTS, _LONGS) if floats == _FLOATS else (_I32, _I64)

    def number(value: Any) -> ir.Constant:
        return _constant(floats, value)

    above = builder.fcmp_ordered(">", x, number(EXP_MIN))
    x = builder.select(above, x, number(EXP_MIN))
    # The rounded exponent is left in the low bits of `shifted`.
    shifted = builder.fadd(builder.fmul(x, number(LOG2_E)), number(ROUND_MAGIC))
    n = builder.fsub(shifted, number(ROUND_MAGIC))
    r = builder.fsub(x, builder.fmul(n, number(LN2_HIGH)))
    r = builder.fsub(r, builder.fmul(n, number(LN2_LOW)))
    p = number(EXP_COEFFICIENTS[0])
    for coefficient in EXP_COEFFICIENTS[1:]:
        p = builder.fadd(builder.fmul(p, r), number(coefficient))
    y = builder.fadd(builder.fmul(p, builder.fmul(r, r)), r)
    y = builder.fadd(y, number(1.0))
    bits = builder.shl(builder.bitcast(shifted, ints), _constant(ints, 23))
    power = builder.bitcast(builder.add(bits, _constant(ints, 0x3F800000)), floats)
    scaled = builder.fmul(builder.fmul(y, power), number(WEIGHT_ONE))
    return builder.fptosi(scaled, longs)


@intrinsic
def key_of(typingctx, logit):
    """Return an int32 in the order of the floats; -0 and 0 are equal, NaNs lie beyond infinity."""

    def codegen(context, builder, signature, args):
        return _emit_key(builder, args[0], _I32)

    return types.int32(types.float32), codegen


@intrinsic
def weight_of(typingctx, x):
    """Return floor(exp(x) * 2**44) of a float32 x <= 0 as int64."""

    def codegen(context, builder, signature, args):
        return _emit_weight(builder, args[0])

    return types.int64(types.float32), codegen


@intrinsic
def block_keys(typingctx, address):
    """Return the largest and the smallest key of the BLOCK logits at an address."""

    def codegen(context, builder, signature, args):
        emitter = Emitter(builder, dataclasses.replace(host_isa(), lanes=_LANES))
        largest = smallest = None
        for i in range(_NUM_VECTORS):
            logits = emitter.load(emitter.offset(args[0], 64 * i), _FLOATS, 4)
            keys = _emit_key(builder, logits, _INTS)
            if largest is None:
                largest = smallest = keys
                continue
            larger = builder.icmp_signed(">", keys, largest)
            largest = builder.select(larger, keys, largest)
            smaller = builder.icmp_signed("<", keys, smallest)
            smallest = builder.select(smaller, keys, smallest)
        ends = [
            builder.call(
                declare(builder.module, f"llvm.vector.reduce.{name}.v16i32", _I32, [_INTS]), [keys]
            )
            for name, keys in (("smax", largest), ("smin", smallest))
        ]
        return context.make_tuple(builder, signature.return_type, ends)

    return types.UniTuple(types.int32, 2)(types.int64), codegen


@intrinsic
def block_weight(typingctx, address, largest, inverse, lowest):
    """Return the weight of x = (logit - largest) * inverse, summed over x >= lowest of BLOCK."""

    def codegen(context, builder, signature, args):
        emitter = Emitter(builder, dataclasses.replace(host_isa(), lanes=_LANES))
        address = args[0]
        largest, inverse, lowest = (emitter.broadcast(value) for value in args[1:])
        nothing = ir.Constant(_LONGS, [0] * _LANES)

        def body(i, carried):
            where = builder.add(address, builder.mul(i, emitter.constant(64)))
            logits = emitter.load(where, _FLOATS, 4)
            x = builder.fmul(builder.fsub(logits, largest), inverse)
            counts = builder.fcmp_ordered(">=", x, lowest)
            weight = builder.select(counts, _emit_weight(builder, x), nothing)
            return [builder.add(carried[0], weight)]

        (total,) = emitter.loop(emitter.constant(_NUM_VECTORS), [nothing], body)
        add = declare(builder.module, "llvm.vector.reduce.add.v16i64", _I64, [_LONGS])
        return builder.call(add, [total])

    return types.int64(types.int64, *[types.float32] * 3), codegen
