"""Micro-kernels of attention over int8 keys and values, as LLVM IR.

Products are summed exactly in int32, so that only the order of the few float operations counts:
it is the same for every number of rows, and on every ISA that has a fused multiply-add.
"""

import dataclasses
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
    STEP_KEYS,
    STEP_TILES,
    V16F,
    V16I,
    AttentionEmitter,
    column_widths,
    int64,
    ints,
    wide_isa,
)
from lite_kernels.cpu.isa import Isa, host_isa
from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.memory import declare

# A query row is its float32 scale and the int32 that its sums start at, then its bytes.
QUERY_HEADER_BYTES = 64
# PERF: bytes ahead that are fetched into L1, as in `attention_tiles`.
_KEYS_AHEAD = 1024
_VALUES_AHEAD = 2048
_MADD = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd"}


@dataclasses.dataclass(frozen=True)
class ByteProducts(AttentionEmitter):
    """Products of unsigned and signed bytes, 16 lanes of four, on registers of `native`."""

    native: Isa

    def products(self, unsigned: Any, signed: Any, total: Any) -> Any:
        """Return int32 total + the sum of the four products of each lane; exact."""
        if self.native.byte_products == "multiply":
            return self._multiply(unsigned, signed, total)
        parts = [
            self._native_products(*(self._part(value, at) for value in (unsigned, signed, total)))
            for at in range(0, LANES, self.native.lanes)
        ]
        return self._joined(parts)

    def _part(self, value: Any, at: int) -> Any:
        lanes = self.native.lanes
        if lanes == LANES:
            return value
        mask = ir.Constant(ir.VectorType(I32, lanes), list(range(at, at + lanes)))
        return self.builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)

    def _joined(self, parts: list[Any]) -> Any:
        while len(parts) > 1:
            size = 2 * parts[0].type.count
            mask = ir.Constant(ir.VectorType(I32, size), list(range(size)))
            parts = [
                self.builder.shuffle_vector(low, high, mask)
                for low, high in zip(parts[::2], parts[1::2], strict=True)
            ]
        return parts[0]

    def _native_products(self, unsigned: Any, signed: Any, total: Any) -> Any:
        builder, emit = self.builder, Emitter(self.builder, self.native)
        lanes = self.native.lanes
        if self.native.byte_products == "vnni":
            return emit.dot_quads(unsigned, signed, total)
        if self.native.byte_products == "sdot":
            # Both are signed there: u = (u - 128) + 64 + 64.
            quads = ir.VectorType(I8, 4 * lanes)
            shifted = builder.xor(
                builder.bitcast(unsigned, quads), ir.Constant(quads, [-128] * (4 * lanes))
            )
            half = ir.Constant(quads, [64] * (4 * lanes))
            for operand in (shifted, half, half):
                total = emit.dot_quads(operand, signed, total)
            return total
        halves = ir.VectorType(ir.IntType(16), 2 * lanes)
        eight = ir.Constant(halves, [8] * (2 * lanes))
        unsigned, signed = builder.bitcast(unsigned, halves), builder.bitcast(signed, halves)
        even = builder.and_(unsigned, ir.Constant(halves, [0xFF] * (2 * lanes)))
        pairs = (
            (even, builder.ashr(builder.shl(signed, eight), eight)),
            (builder.lshr(unsigned, eight), builder.ashr(signed, eight)),
        )
        madd = declare(builder.module, _MADD[lanes], emit.ints, [halves, halves])
        for left, right in pairs:
            total = builder.add(total, builder.call(madd, [left, right]))
        return total

    def _multiply(self, unsigned: Any, signed: Any, total: Any) -> Any:
        builder = self.builder
        for byte in range(4):
            left = builder.and_(builder.lshr(unsigned, ints(8 * byte)), ints(0xFF))
            right = builder.ashr(builder.shl(signed, ints(24 - 8 * byte)), ints(24))
            total = builder.add(total, builder.mul(left, right))
        return total


def _bytes(builder: ir.IRBuilder) -> ByteProducts:
    return ByteProducts(builder, wide_isa(), host_isa())


@intrinsic
def byte_scores_of_rows(typingctx, rows, q, q_bytes, scores, tiles, num_lines):
    """Scores of `rows` (a literal) queries over the four key tiles of a step.

    q: address of the first row, `q_bytes` apart; scores: float32 rows of 64; tiles: address of
    the step's four tile addresses; num_lines: lines of a tile's keys, its scales behind them.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    num_rows = rows.literal_value

    def codegen(context, builder, signature, args):
        _, q, q_bytes, scores, tiles, num_lines = args
        emit = _bytes(builder)
        width = emit.width
        headers = [emit.add(q, emit.scale(q_bytes, r)) for r in range(num_rows)]
        q_rows = [emit.add(header, QUERY_HEADER_BYTES) for header in headers]

        def tile_group(group, _):
            first = emit.scale(group, width * 8)
            bases = [emit.load(emit.add(tiles, first, 8 * t), I64, 8) for t in range(width)]
            starts = [emit.broadcast(emit.load(emit.add(header, 4), I32, 4)) for header in headers]

            def line(i, sums):
                lines = [emit.add(base, emit.scale(i, LINE_BYTES)) for base in bases]
                for address in lines:
                    emit.prefetch(emit.add(address, _KEYS_AHEAD), locality=3)
                keys = [emit.load(address, V16I, LINE_BYTES) for address in lines]
                at = emit.scale(i, 4)
                sums = list(sums)
                for r, row in enumerate(q_rows):
                    value = emit.broadcast(emit.load(emit.add(row, at), I32, 4))
                    for t in range(width):
                        where = r * width + t
                        sums[where] = emit.products(keys[t], value, sums[where])
                return sums

            carried = [start for start in starts for _ in range(width)]
            sums = emit.loop(num_lines, carried, line)
            end = emit.scale(num_lines, LINE_BYTES)
            scales = [emit.load(emit.add(base, end), V16F, LINE_BYTES) for base in bases]
            for r, header in enumerate(headers):
                scale = emit.broadcast(emit.load(header, F32, 4))
                for t in range(width):
                    score = builder.sitofp(sums[r * width + t], V16F)
                    score = builder.fmul(score, builder.fmul(scales[t], scale))
                    at = emit.add(scores, emit.scale(first, 8), 4 * STEP_KEYS * r + 64 * t)
                    emit.store(score, at, LINE_BYTES)
            return []

        emit.loop(int64(STEP_TILES // width), [], tile_group)
        return context.get_dummy_value()

    return types.void(rows, *[types.int64] * 5), codegen


@intrinsic
def weighted_byte_values_of_rows(
    typingctx,
    rows,
    weights,
    step_scales,
    factors,
    out,
    out_vectors,
    tiles,
    num_tiles,
):
    """Set out = out * factor + step scale * (weights @ values) for `rows` (a literal) rows.

    weights: rows of 64 bytes as `softmax_row_bytes` writes them; step_scales, factors: float32
    per row; out: float32 rows of `out_vectors` vectors; tiles: address of the
    step's value tile addresses.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    num_rows = rows.literal_value

    def codegen(context, builder, signature, args):
        _, weights, step_scales, factors, out, out_vectors, tiles, num_tiles = args
        emit = _bytes(builder)
        quads = LANES // 4  # lines of four tokens a tile
        out_bytes = emit.scale(out_vectors, LINE_BYTES)
        out_rows = [emit.add(out, emit.scale(out_bytes, r)) for r in range(num_rows)]
        weight_rows = [emit.add(weights, r * STEP_KEYS) for r in range(num_rows)]

        def columns(first, width):
            """Accumulate `width` vectors from byte `first` of a row."""

            def tile(i, sums):
                base = emit.load(emit.add(tiles, emit.scale(i, 8)), I64, 8)
                base = emit.add(base, first)
                rows_at = [emit.add(row, emit.scale(i, LANES)) for row in weight_rows]

                def line(j, sums):
                    sums = list(sums)
                    lines = [
                        emit.add(base, emit.scale(j, out_bytes), LINE_BYTES * t)
                        for t in range(width)
                    ]
                    for address in lines:
                        emit.prefetch(emit.add(address, _VALUES_AHEAD), locality=3)
                    values = [emit.load(address, V16I, LINE_BYTES) for address in lines]
                    for r, row in enumerate(rows_at):
                        at = emit.add(row, emit.scale(j, 4))
                        weight = emit.broadcast(emit.load(at, I32, 4))
                        for t in range(width):
                            where = r * width + t
                            sums[where] = emit.products(weight, values[t], sums[where])
                    return sums

                return emit.loop(int64(quads), sums, line)

            sums = emit.loop(num_tiles, [ints(0)] * (num_rows * width), tile)
            for r, row in enumerate(out_rows):
                factor, scale = (
                    emit.broadcast(emit.load(emit.add(array, 4 * r), F32, 4))
                    for array in (factors, step_scales)
                )
                for t in range(width):
                    at = emit.add(row, first, LINE_BYTES * t)
                    before = builder.fmul(emit.load(at, V16F, LINE_BYTES), factor)
                    total = builder.sitofp(sums[r * width + t], V16F)
                    emit.store(emit.multiply_add(total, scale, before), at, LINE_BYTES)

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

    return types.void(rows, *[types.int64] * 7), codegen
