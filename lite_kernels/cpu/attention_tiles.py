"""Micro-kernels of attention as LLVM IR: scores, softmax weights and weighted values.

Vectors are 16 float32 wide whatever the ISA; LLVM splits them where registers are narrower.
Every row goes through the same operations in the same order whichever of the row counts handles
it, which is what makes attention independent of the batch and of chunk boundaries.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.isa.emitter import BFloat, Emitter
from lite_kernels.cpu.isa.memory import declare

# Keys a softmax step takes together: four tiles.
STEP_TILES = 4
STEP_KEYS = 64
# The running maximum before any key was seen: finite, so that differences never are NaN.
NO_MAXIMUM = -1e30

_I16 = ir.IntType(16)
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_F32 = ir.FloatType()
_V16F = ir.VectorType(_F32, 16)
_V16I = ir.VectorType(_I32, 16)
_LANES = 16
_LINE_BYTES = 64
# PERF: how far ahead lines of each key tile, and rows of a value tile, are fetched into L1: 65 %
# of the streaming bandwidth instead of 60. Behind a tile's keys lie its values, behind those the
# next head's keys. Whole tiles ahead are too far: such prefetches are dropped.
_LINES_AHEAD = 16
_ROWS_AHEAD = 8


def _int(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


def _floats(value: float) -> ir.Constant:
    return ir.Constant(_V16F, [value] * _LANES)


def _ints(value: int) -> ir.Constant:
    return ir.Constant(_V16I, [value] * _LANES)


@dataclasses.dataclass(frozen=True)
class _Products(Emitter):
    """acc[r][t] += tile vector t * value of row r, for the number format of the tiles.

    A step takes one line of each tile: 16 float32, or 16 pairs of bfloat16. Rows are pairs of
    bfloat16 where the ISA has the pair product, else float32.
    """

    dtype: Any

    @property
    def pairs(self) -> bool:
        return bool(self.dtype.dtype == types.uint16)

    @property
    def native(self) -> bool:
        return self.pairs and self.isa.has_dpbf16

    @property
    def row_bytes(self) -> int:
        """What a row advances by a step."""
        return 8 if self.pairs and not self.native else 4

    @property
    def width(self) -> int:
        """Vectors of accumulators a row: 6 rows x 4 fill 24 of AVX-512's 32 registers."""
        return STEP_TILES if self.isa.num_accumulators >= 6 * STEP_TILES else 1

    def add(self, base: Any, *offsets: Any) -> Any:
        for offset in offsets:
            base = self.builder.add(base, offset if isinstance(offset, ir.Value) else _int(offset))
        return base

    def scale(self, value: Any, factor: Any) -> Any:
        return self.builder.mul(value, factor if isinstance(factor, ir.Value) else _int(factor))

    def maximum(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def fold(self, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """Reduce 16 lanes as a fixed tree: lane i with lane i + 8, then 4, 2, 1."""
        undefined = ir.Constant(vector.type, ir.Undefined)
        for half in (8, 4, 2, 1):
            lanes = [(i + half) % _LANES for i in range(_LANES)]
            moved = self.builder.shuffle_vector(vector, undefined, ir.Constant(_V16I, lanes))
            vector = combine(vector, moved)
        return self.builder.extract_element(vector, ir.Constant(_I32, 0))

    def exp(self, x: Any) -> Any:
        """Emit e ** x for x <= 0 (Cephes expf): 2e-7 relative, exact at 0, NaN for NaN."""
        builder = self.builder
        low = builder.fcmp_ordered("<", x, _floats(-87.0))
        x = builder.select(low, _floats(-87.0), x)
        # Adding 1.5 * 2**23 leaves the rounded integer in the low bits.
        shifted = builder.fadd(builder.fmul(x, _floats(1.44269504)), _floats(12582912.0))
        n = builder.fsub(shifted, _floats(12582912.0))
        r = self.multiply_add(n, _floats(-0.693359375), x)
        r = self.multiply_add(n, _floats(2.12194440e-4), r)
        p = _floats(1.9875691500e-4)
        for coefficient in (
            1.3981999507e-3,
            8.3334519073e-3,
            4.1665795894e-2,
            1.6666665459e-1,
            5.0000001201e-1,
        ):
            p = self.multiply_add(p, r, _floats(coefficient))
        y = self.multiply_add(p, builder.fmul(r, r), builder.fadd(r, _floats(1.0)))
        bits = builder.shl(builder.bitcast(shifted, _V16I), _ints(23))
        power = builder.bitcast(builder.add(bits, _ints(0x3F800000)), _V16F)
        return builder.fmul(y, power)

    def step(self, sums: Sequence[Any], lines: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
        """Return the new sums; `lines` and `rows` are addresses."""
        sums = list(sums)
        vectors = [self.load(line, _V16I, _LINE_BYTES) for line in lines]
        for r, row in enumerate(rows):
            for t, vector in enumerate(vectors):
                at = r * len(vectors) + t
                sums[at] = self._product(sums[at], vector, row)
        return sums

    def _product(self, total: Any, vector: Any, row: Any) -> Any:
        builder = self.builder
        if self.native:
            return self.dot_pairs(vector, self.broadcast(self.load(row, _I32, 4)), total)
        if not self.pairs:
            value = self.broadcast(self.load(row, _F32, 4))
            return self.multiply_add(builder.bitcast(vector, _V16F), value, total)
        low = builder.shl(vector, _ints(16))
        high = builder.and_(vector, _ints(0xFFFF0000))
        for offset, half in ((0, low), (4, high)):
            value = self.broadcast(self.load(self.add(row, offset), _F32, 4))
            total = self.multiply_add(builder.bitcast(half, _V16F), value, total)
        return total

    def narrow(self, vector: Any) -> Any:
        """Round 16 float32 to bfloat16."""
        bfloats = ir.VectorType(BFloat(), _LANES)
        name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
        function = declare(self.builder.module, name, bfloats, [_V16F])
        return self.builder.call(function, [vector])


def _products(builder: ir.IRBuilder, dtype: Any) -> _Products:
    """Return an emitter of vectors of 16 lanes, whatever the ISA."""
    return _Products(builder, dataclasses.replace(host_isa(), lanes=_LANES), dtype)


@intrinsic
def scores_of_rows(typingctx, rows, dtype, q, q_bytes, scores, tiles, num_lines):
    """Scores of `rows` (a literal) queries over the four key tiles of a step.

    q: address of the first row, `q_bytes` apart; scores: float32 rows of 64; tiles: address of
    the step's four tile addresses; num_lines: lines of a key tile.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    num_rows = rows.literal_value

    def codegen(context, builder, signature, args):
        _, _, q, q_bytes, scores, tiles, num_lines = args
        emit = _products(builder, signature.args[1])
        width = emit.width
        q_rows = [emit.add(q, emit.scale(q_bytes, r)) for r in range(num_rows)]

        def tile_group(group, _):
            first = emit.scale(group, width * 8)
            bases = [emit.load(emit.add(tiles, first, 8 * t), _I64, 8) for t in range(width)]

            def line(i, sums):
                lines = [emit.add(base, emit.scale(i, _LINE_BYTES)) for base in bases]
                for address in lines:
                    emit.prefetch(emit.add(address, _LINES_AHEAD * _LINE_BYTES), locality=3)
                at = emit.scale(i, emit.row_bytes)
                return emit.step(sums, lines, [emit.add(row, at) for row in q_rows])

            sums = emit.loop(num_lines, [_floats(0.0)] * (num_rows * width), line)
            for r in range(num_rows):
                for t in range(width):
                    at = emit.add(scores, emit.scale(first, 8), 4 * STEP_KEYS * r + 64 * t)
                    emit.store(sums[r * width + t], at, _LINE_BYTES)
            return []

        emit.loop(_int(STEP_TILES // width), [], tile_group)
        return context.get_dummy_value()

    return types.void(rows, dtype, *[types.int64] * 5), codegen


def _column_widths(num_rows: int) -> list[int]:
    """Return how many vectors of a row are accumulated at once, widest first.

    PERF: few rows take all columns of a head at once, so that memory is read in its order.
    """
    isa = host_isa()
    most = isa.num_accumulators * isa.lanes // _LANES // num_rows
    return [width for width in (8, 4, 1) if width == 1 or width <= most]


@intrinsic
def weighted_values_of_rows(
    typingctx, rows, dtype, weights, factors, out, out_vectors, tiles, num_tiles, value_offset
):
    """Set out = out * factor + weights @ values for `rows` (a literal) rows over a step.

    weights: rows of 64 as `softmax_row` wrote them; factors: float32 per row; out: float32 rows
    of `out_vectors` vectors; tiles: as for `scores_of_rows`; value_offset: bytes of the keys
    before the values.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    num_rows = rows.literal_value

    def codegen(context, builder, signature, args):
        _, _, weights, factors, out, out_vectors, tiles, num_tiles, value_offset = args
        emit = _products(builder, signature.args[1])
        lines_per_tile = 8 if emit.pairs else 16
        out_bytes = emit.scale(out_vectors, _LINE_BYTES)
        weight_bytes = lines_per_tile * emit.row_bytes
        out_rows = [emit.add(out, emit.scale(out_bytes, r)) for r in range(num_rows)]
        weight_rows = [emit.add(weights, r * STEP_TILES * weight_bytes) for r in range(num_rows)]

        def columns(first, width):
            """Accumulate `width` vectors from byte `first` of a row."""
            sums = []
            for r, row in enumerate(out_rows):
                factor = emit.broadcast(emit.load(emit.add(factors, 4 * r), _F32, 4))
                for t in range(width):
                    at = emit.add(row, first, _LINE_BYTES * t)
                    sums.append(builder.fmul(emit.load(at, _V16F, _LINE_BYTES), factor))

            def tile(i, sums):
                at = emit.add(tiles, emit.scale(i, 8))
                base = emit.load(at, _I64, 8)
                base = emit.add(base, value_offset, first)
                rows_at = [emit.add(row, emit.scale(i, weight_bytes)) for row in weight_rows]

                def line(j, sums):
                    at = emit.scale(j, out_bytes)
                    lines = [emit.add(base, at, _LINE_BYTES * t) for t in range(width)]
                    for address in lines:
                        ahead = emit.add(address, emit.scale(out_bytes, _ROWS_AHEAD))
                        emit.prefetch(ahead, locality=3)
                    step = emit.scale(j, emit.row_bytes)
                    return emit.step(sums, lines, [emit.add(row, step) for row in rows_at])

                return emit.loop(_int(lines_per_tile), sums, line)

            sums = emit.loop(num_tiles, sums, tile)
            for r, row in enumerate(out_rows):
                for t in range(width):
                    at = emit.add(row, first, _LINE_BYTES * t)
                    emit.store(sums[r * width + t], at, _LINE_BYTES)

        done = _int(0)
        for width in _column_widths(num_rows):

            def group(i, _, width=width, start=done):
                offset = emit.scale(emit.add(emit.scale(i, width), start), _LINE_BYTES)
                columns(offset, width)
                return []

            count = builder.udiv(builder.sub(out_vectors, done), _int(width))
            with builder.if_then(builder.icmp_signed(">", count, _int(0))):
                emit.loop(count, [], group)
            done = builder.add(done, emit.scale(count, width))
        return context.get_dummy_value()

    return types.void(rows, dtype, *[types.int64] * 7), codegen


@intrinsic
def softmax_row(typingctx, dtype, scores, weights, maximum, total, factor, first, end):
    """Turn a row's 64 scores into weights and update its running softmax.

    Keys outside [first, end) weigh exactly 0; if none is inside, maximum and total stay as they
    are and the factor is 1. maximum, total, factor: addresses of float32; the factor is what
    earlier sums are to be multiplied by.
    """

    def codegen(context, builder, signature, args):
        _, scores, weights, maximum, total, factor, first, end = args
        emit = _products(builder, signature.args[0])
        first, end = (emit.broadcast(builder.trunc(bound, _I32)) for bound in (first, end))
        nothing = _floats(NO_MAXIMUM)
        visible, parts = [], []
        for t in range(STEP_TILES):
            lanes = ir.Constant(_V16I, list(range(_LANES * t, _LANES * (t + 1))))
            inside = builder.and_(
                builder.icmp_signed(">=", lanes, first), builder.icmp_signed("<", lanes, end)
            )
            part = emit.load(emit.add(scores, _LINE_BYTES * t), _V16F, _LINE_BYTES)
            visible.append(inside)
            parts.append(builder.select(inside, part, nothing))
        largest = emit.maximum(emit.maximum(parts[0], parts[1]), emit.maximum(parts[2], parts[3]))
        before = emit.load(maximum, _F32, 4)
        now = emit.maximum(emit.fold(largest, emit.maximum), before)
        level = emit.broadcast(now)
        shrink = emit.exp(builder.fsub(emit.broadcast(before), level))
        shrink = builder.extract_element(shrink, ir.Constant(_I32, 0))
        for t in range(STEP_TILES):
            weight = emit.exp(builder.fsub(parts[t], level))
            parts[t] = builder.select(visible[t], weight, _floats(0.0))
        added = builder.fadd(builder.fadd(parts[0], parts[1]), builder.fadd(parts[2], parts[3]))
        added = emit.fold(added, builder.fadd)
        shrunk = builder.fmul(emit.load(total, _F32, 4), shrink)
        emit.store(builder.fadd(shrunk, added), total, 4)
        emit.store(now, maximum, 4)
        emit.store(shrink, factor, 4)
        for t, part in enumerate(parts):
            if emit.native:
                emit.store(emit.narrow(part), emit.add(weights, 32 * t), 32)
            else:
                emit.store(part, emit.add(weights, _LINE_BYTES * t), _LINE_BYTES)
        return context.get_dummy_value()

    return types.void(dtype, *[types.int64] * 7), codegen


@intrinsic
def bytes_of(typingctx, dtype):
    """Return the bytes of one value of a type such as np.float32."""

    def codegen(context, builder, signature, args):
        return _int(signature.args[0].dtype.bitwidth // 8)

    return types.int64(dtype), codegen


@intrinsic
def queries_are_float32(typingctx, dtype):
    """Whether query rows and weights are float32 in the scratch memory, not bfloat16 pairs."""

    def codegen(context, builder, signature, args):
        native = _products(builder, signature.args[0]).native
        return ir.Constant(ir.IntType(1), int(not native))

    return types.boolean(dtype), codegen


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
