"""Micro-kernels of attention over floats, as LLVM IR: scores and weighted values.

Every row goes through the same operations in the same order whichever of the row counts handles
it, which is what makes attention independent of the batch and of chunk boundaries.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.attention_emitter import (
    F32,
    I32,
    I64,
    LINE_BYTES,
    STEP_KEYS,
    STEP_TILES,
    V16F,
    V16I,
    AttentionEmitter,
    column_widths,
    floats,
    int64,
    ints,
    wide_isa,
)
from lite_kernels.cpu.isa import host_isa

# PERF: bytes ahead of each key tile, and of the value tile, that are fetched into L1. Behind a
# tile lies the next head's: so one thread reads long runs. Much further ahead it fetches less.
_KEYS_AHEAD = 1024
_VALUES_AHEAD = 2048


@dataclasses.dataclass(frozen=True)
class _Products(AttentionEmitter):
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

    def step(self, sums: Sequence[Any], lines: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
        """Return the new sums; `lines` and `rows` are addresses."""
        sums = list(sums)
        vectors = [self.load(line, V16I, LINE_BYTES) for line in lines]
        for r, row in enumerate(rows):
            for t, vector in enumerate(vectors):
                at = r * len(vectors) + t
                sums[at] = self._product(sums[at], vector, row)
        return sums

    def _product(self, total: Any, vector: Any, row: Any) -> Any:
        builder = self.builder
        if self.native:
            return self.dot_pairs(vector, self.broadcast(self.load(row, I32, 4)), total)
        if not self.pairs:
            value = self.broadcast(self.load(row, F32, 4))
            return self.multiply_add(builder.bitcast(vector, V16F), value, total)
        low = builder.shl(vector, ints(16))
        high = builder.and_(vector, ints(0xFFFF0000))
        for offset, half in ((0, low), (4, high)):
            value = self.broadcast(self.load(self.add(row, offset), F32, 4))
            total = self.multiply_add(builder.bitcast(half, V16F), value, total)
        return total


def _products(builder: ir.IRBuilder, dtype: Any) -> _Products:
    """Return an emitter of vectors of 16 lanes, whatever the ISA."""
    return _Products(builder, wide_isa(), dtype)


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
            bases = [emit.load(emit.add(tiles, first, 8 * t), I64, 8) for t in range(width)]

            def line(i, sums):
                lines = [emit.add(base, emit.scale(i, LINE_BYTES)) for base in bases]
                for address in lines:
                    emit.prefetch(emit.add(address, _KEYS_AHEAD), locality=3)
                at = emit.scale(i, emit.row_bytes)
                return emit.step(sums, lines, [emit.add(row, at) for row in q_rows])

            sums = emit.loop(num_lines, [floats(0.0)] * (num_rows * width), line)
            for r in range(num_rows):
                for t in range(width):
                    at = emit.add(scores, emit.scale(first, 8), 4 * STEP_KEYS * r + 64 * t)
                    emit.store(sums[r * width + t], at, LINE_BYTES)
            return []

        emit.loop(int64(STEP_TILES // width), [], tile_group)
        return context.get_dummy_value()

    return types.void(rows, dtype, *[types.int64] * 5), codegen


@intrinsic
def weighted_values_of_rows(
    typingctx, rows, dtype, weights, factors, out, out_vectors, tiles, num_tiles
):
    """Set out = out * factor + weights @ values for `rows` (a literal) rows over a step.

    weights: rows of 64 as `softmax_row` writes them; factors: float32 per row; out: float32 rows
    of `out_vectors` vectors; tiles: address of the step's value tile addresses.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    num_rows = rows.literal_value

    def codegen(context, builder, signature, args):
        _, _, weights, factors, out, out_vectors, tiles, num_tiles = args
        emit = _products(builder, signature.args[1])
        lines_per_tile = 8 if emit.pairs else 16
        out_bytes = emit.scale(out_vectors, LINE_BYTES)
        weight_bytes = lines_per_tile * emit.row_bytes
        out_rows = [emit.add(out, emit.scale(out_bytes, r)) for r in range(num_rows)]
        weight_rows = [emit.add(weights, r * STEP_TILES * weight_bytes) for r in range(num_rows)]

        def columns(first, width):
            """Accumulate `width` vectors from byte `first` of a row."""
            sums = []
            for r, row in enumerate(out_rows):
                factor = emit.broadcast(emit.load(emit.add(factors, 4 * r), F32, 4))
                for t in range(width):
                    at = emit.add(row, first, LINE_BYTES * t)
                    sums.append(builder.fmul(emit.load(at, V16F, LINE_BYTES), factor))

            def tile(i, sums):
                at = emit.add(tiles, emit.scale(i, 8))
                base = emit.load(at, I64, 8)
                base = emit.add(base, first)
                rows_at = [emit.add(row, emit.scale(i, weight_bytes)) for row in weight_rows]

                def line(j, sums):
                    at = emit.scale(j, out_bytes)
                    lines = [emit.add(base, at, LINE_BYTES * t) for t in range(width)]
                    for address in lines:
                        emit.prefetch(emit.add(address, _VALUES_AHEAD), locality=3)
                    step = emit.scale(j, emit.row_bytes)
                    return emit.step(sums, lines, [emit.add(row, step) for row in rows_at])

                return emit.loop(int64(lines_per_tile), sums, line)

            sums = emit.loop(num_tiles, sums, tile)
            for r, row in enumerate(out_rows):
                for t in range(width):
                    at = emit.add(row, first, LINE_BYTES * t)
                    emit.store(sums[r * width + t], at, LINE_BYTES)

        done = int64(0)
        for width in column_widths(num_rows):

            def group(i, _, width=width, start=done):
                offset = emit.scale(emit.add(emit.scale(i, width), start), LINE_BYTES)
                columns(offset, width)
                return []

            count = builder.udiv(builder.sub(out_vectors, done), int64(width))
            with builder.if_then(builder.icmp_signed(">", count, int64(0))):
                emit.loop(count, [], group)
            done = builder.add(done, emit.scale(count, width))
        return context.get_dummy_value()

    return types.void(rows, dtype, *[types.int64] * 6), codegen


def queries_are_float32(is_float32: bool) -> bool:
    """Whether query rows and weights of a float cache are float32, not bfloat16 pairs."""
    return is_float32 or not host_isa().has_dpbf16
