"""The running softmax over steps of 64 keys as LLVM IR: scores become weights."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.attention_emitter import (
    F32,
    I8,
    I32,
    I64,
    LANES,
    LINE_BYTES,
    NO_MAXIMUM,
    STEP_TILES,
    V16F,
    V16I,
    AttentionEmitter,
    floats,
    ints,
    wide_isa,
)

_TINY_BITS = 0x0D800000  # 2^-100: 255 / smaller values might overflow
_ROUND = 12582912.0  # 1.5 * 2^23: adding it rounds to an integer, which the low bits then hold


def _weigh(emit: AttentionEmitter, arguments: Any) -> tuple[list[Any], list[Any]]:
    """Return the weights of 64 scores as vectors, and their masks; update the row's state.

    Keys outside [first, end) weigh exactly 0; if none is inside, maximum and total stay as they
    are and the factor is 1. maximum, total, factor: addresses of float32; the factor is what
    earlier sums are to be multiplied by.
    """
    builder = emit.builder
    scores, maximum, total, factor, first, end = arguments
    first, end = (emit.broadcast(builder.trunc(bound, I32)) for bound in (first, end))
    nothing = floats(NO_MAXIMUM)
    visible, parts = [], []
    for t in range(STEP_TILES):
        lanes = ir.Constant(V16I, list(range(LANES * t, LANES * (t + 1))))
        inside = builder.and_(
            builder.icmp_signed(">=", lanes, first), builder.icmp_signed("<", lanes, end)
        )
        part = emit.load(emit.add(scores, LINE_BYTES * t), V16F, LINE_BYTES)
        visible.append(inside)
        parts.append(builder.select(inside, part, nothing))
    largest = emit.maximum(emit.maximum(parts[0], parts[1]), emit.maximum(parts[2], parts[3]))
    before = emit.load(maximum, F32, 4)
    now = emit.maximum(emit.fold(largest, emit.maximum), before)
    level = emit.broadcast(now)
    shrink = emit.exp(builder.fsub(emit.broadcast(before), level))
    shrink = builder.extract_element(shrink, ir.Constant(I32, 0))
    for t in range(STEP_TILES):
        weight = emit.exp(builder.fsub(parts[t], level))
        parts[t] = builder.select(visible[t], weight, floats(0.0))
    added = builder.fadd(builder.fadd(parts[0], parts[1]), builder.fadd(parts[2], parts[3]))
    added = emit.fold(added, builder.fadd)
    shrunk = builder.fmul(emit.load(total, F32, 4), shrink)
    emit.store(builder.fadd(shrunk, added), total, 4)
    emit.store(now, maximum, 4)
    emit.store(shrink, factor, 4)
    return parts, visible


@intrinsic
def fetch_tiles(typingctx, tiles, num_lines):
    """Fetch the first lines of a step's four tiles into L1; tiles: address of their addresses."""

    def codegen(context, builder, signature, args):
        emit = AttentionEmitter(builder, wide_isa())
        bases = [emit.load(emit.add(args[0], 8 * t), I64, 8) for t in range(STEP_TILES)]

        def line(i, _):
            for base in bases:
                emit.prefetch(emit.add(base, emit.scale(i, LINE_BYTES)), locality=3)
            return []

        emit.loop(args[1], [], line)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 2), codegen


@intrinsic
def softmax_row(typingctx, dtype, scores, weights, maximum, total, factor, first, end):
    """Turn a row's 64 scores into weights and update its running softmax, see `_weigh`.

    weights: pairs of bfloat16 where dtype is np.uint16 and the ISA has their product, else
    float32.
    """

    def codegen(context, builder, signature, args):
        _, scores, weights, *state = args
        emit = AttentionEmitter(builder, wide_isa())
        parts, _ = _weigh(emit, (scores, *state))
        is_narrow = signature.args[0].dtype == types.uint16 and emit.isa.has_dpbf16
        for t, part in enumerate(parts):
            if is_narrow:
                emit.store(emit.narrow(part), emit.add(weights, 32 * t), 32)
            else:
                emit.store(part, emit.add(weights, LINE_BYTES * t), LINE_BYTES)
        return context.get_dummy_value()

    return types.void(dtype, *[types.int64] * 7), codegen


@intrinsic
def softmax_row_bytes(
    typingctx, scores, weights, maximum, total, factor, first, end, tiles, scales_offset, step_scale
):
    """As `softmax_row`; the weights times their values' scales become 0 .. 255 of a scale.

    tiles: address of the step's four tile addresses; scales_offset: bytes of a tile before the
    values' scales; step_scale: address of the float32 that is written. The total is that of
    the exact weights. A visible value whose scale is NaN makes the step's scale NaN.
    """

    def codegen(context, builder, signature, args):
        scores, weights, *state, tiles, scales_offset, step_scale = args
        emit = AttentionEmitter(builder, wide_isa())
        parts, visible = _weigh(emit, (scores, *state))

        def umax(a: Any, b: Any) -> Any:
            return builder.select(builder.icmp_unsigned(">", a, b), a, b)

        for t in range(STEP_TILES):
            tile = emit.load(emit.add(tiles, 8 * t), I64, 8)
            scales = emit.load(emit.add(tile, scales_offset), V16F, LINE_BYTES)
            scaled = builder.fmul(parts[t], scales)
            parts[t] = builder.select(visible[t], scaled, floats(0.0))
        # As integers, so that a NaN is the largest.
        bits = [builder.bitcast(part, V16I) for part in parts]
        bits = umax(umax(bits[0], bits[1]), umax(bits[2], bits[3]))
        largest_bits = emit.fold(bits, umax)
        largest = builder.bitcast(largest_bits, F32)
        is_tiny = builder.icmp_unsigned("<", largest_bits, ir.Constant(I32, _TINY_BITS))
        most, zero = ir.Constant(F32, 255.0), ir.Constant(F32, 0.0)
        inverse = emit.broadcast(builder.select(is_tiny, zero, builder.fdiv(most, largest)))
        emit.store(builder.select(is_tiny, zero, builder.fdiv(largest, most)), step_scale, 4)
        for t, part in enumerate(parts):
            rounded = builder.fadd(builder.fmul(part, inverse), floats(_ROUND))
            integers = builder.and_(builder.bitcast(rounded, V16I), ints(0xFF))
            narrow = builder.trunc(integers, ir.VectorType(I8, LANES))
            emit.store(narrow, emit.add(weights, LANES * t), LANES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10), codegen
