"""What becomes of a tile of sums, [rows, 32] float32, as LLVM IR.

PERF: a tile's rows are too short for a compiler's loops: it spends more on their ends than on
their middle.
"""

import dataclasses
from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.isa.activation import emit_activation
from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.panel import PANEL

_HALF = PANEL // 2
_I16 = ir.IntType(16)
_I64 = ir.IntType(64)
_ROW_BYTES = 4 * PANEL
_ALIGN = 16  # of rows of tiles and of biases: a vector of the narrowest ISA


def _emitter(builder: ir.IRBuilder) -> Emitter:
    """Return an emitter of vectors of 16, which LLVM splits over those of the CPU."""
    return Emitter(builder, dataclasses.replace(host_isa(), lanes=_HALF))


def _loop_with_bias(
    emit: Emitter, num_rows: ir.Value, bias: ir.Value, body: Callable[[ir.Value, bool], None]
) -> None:
    """Emit body(row, has bias) for every row; a sum without bias is not touched."""
    builder = emit.builder

    def rows(has_bias: bool) -> None:
        def row(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            body(index, has_bias)
            return []

        emit.loop(num_rows, [], row)

    with builder.if_else(builder.icmp_signed("==", bias, ir.Constant(_I64, 0))) as (none, some):
        with none:
            rows(False)
        with some:
            rows(True)


def _half_row(emit: Emitter, tile: ir.Value, bias: ir.Value | None, half: int) -> ir.Value:
    """Load 16 of a row's sums, and add their biases if there are any."""
    nbytes = half * 4 * _HALF
    sums = emit.load(emit.offset(tile, nbytes), emit.floats, _ALIGN)
    if bias is None:
        return sums
    return emit.builder.fadd(sums, emit.load(emit.offset(bias, nbytes), emit.floats, _ALIGN))


@intrinsic
def store_tile(typingctx, tile, bias, out, stride, num_rows, adds):
    """Write, or with `adds` (a bool) add, tile + bias to whole rows of 32 float32.

    tile, bias (or 0), out: addresses; stride: bytes from row to row of `out`; num_rows >= 1.
    """

    def codegen(context, builder, signature, args):
        tile_, bias_, out_, stride_, num_rows_, adds_ = args
        emit = _emitter(builder)

        def write(adds: bool) -> None:
            def row(index: ir.Value, has_bias: bool) -> None:
                source = builder.add(tile_, builder.mul(index, emit.constant(_ROW_BYTES)))
                target = builder.add(out_, builder.mul(index, stride_))
                for half in range(2):
                    sums = _half_row(emit, source, bias_ if has_bias else None, half)
                    at = emit.offset(target, half * 4 * _HALF)
                    if adds:
                        sums = builder.fadd(emit.load(at, emit.floats, 4), sums)
                    emit.store(sums, at, 4)

            _loop_with_bias(emit, num_rows_, bias_, row)

        with builder.if_else(adds_) as (add, plain):
            with add:
                write(True)
            with plain:
                write(False)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, types.boolean), codegen


@intrinsic
def store_gated_tile(typingctx, activation, dtype, tile, bias, out, stride, num_rows):
    """Write activation(gate + bias) * (up + bias) to whole rows of 16 bfloat16 or float32.

    activation: a literal; dtype: np.uint16 for bfloat16, or np.float32; otherwise as
    `store_tile`. `out` may be `tile` itself.
    """
    if not isinstance(activation, types.IntegerLiteral):
        return None
    kind = activation.literal_value

    def codegen(context, builder, signature, args):
        _, _, tile_, bias_, out_, stride_, num_rows_ = args
        emit = _emitter(builder)
        is_bfloat16 = signature.args[1].dtype == types.uint16

        def row(index: ir.Value, has_bias: bool) -> None:
            source = builder.add(tile_, builder.mul(index, emit.constant(_ROW_BYTES)))
            gate, up = (_half_row(emit, source, bias_ if has_bias else None, i) for i in range(2))
            value = builder.fmul(emit_activation(emit, kind, gate), up)
            target = builder.add(out_, builder.mul(index, stride_))
            if is_bfloat16:
                emit.store(_round_to_bfloat16(emit, value), target, 2)
            else:
                emit.store(value, target, 4)

        _loop_with_bias(emit, num_rows_, bias_, row)
        return context.get_dummy_value()

    return types.void(activation, dtype, *[types.int64] * 5), codegen


def _round_to_bfloat16(emit: Emitter, values: ir.Value) -> ir.Value:
    """Return bfloat16 bits, nearest even; a NaN stays a (quiet) NaN."""
    builder = emit.builder

    def number(value: int) -> ir.Constant:
        return ir.Constant(emit.ints, [value] * emit.isa.lanes)

    bits = builder.bitcast(values, emit.ints)
    high = builder.lshr(bits, number(16))
    bias = builder.add(builder.and_(high, number(1)), number(0x7FFF))
    rounded = builder.lshr(builder.add(bits, bias), number(16))
    is_nan = builder.fcmp_unordered("uno", values, values)
    chosen = builder.select(is_nan, builder.or_(high, number(0x40)), rounded)
    return builder.trunc(chosen, ir.VectorType(_I16, emit.isa.lanes))
