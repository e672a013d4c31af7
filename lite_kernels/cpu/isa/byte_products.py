"""Exact products of weight bytes and int8 activations, summed in int32 over a block of 32 k.

Where an ISA lacks the product of four bytes, weights are split into nibbles: 32 products of a
nibble and an int8 value fit into the two 16 bit halves of a lane.
"""

from collections.abc import Callable, Iterator, Sequence

from llvmlite import ir

from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.memory import declare
from lite_kernels.cpu.isa.panel import GROUP_BYTES, INT8, PanelFormat

_I8 = ir.IntType(8)
_I16 = ir.IntType(16)
_I32 = ir.IntType(32)
_MADDUBS = {16: "llvm.x86.avx512.pmaddubs.w.512", 8: "llvm.x86.avx2.pmadd.ub.sw"}
_MADD = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd"}

Columns = list[ir.Value]  # vectors of the columns of one row, or of one group of weights
LoadX = Callable[[int, int], ir.Value]  # (row, k) -> four bytes in every lane


class BlockProducts:
    """Emits the sums of one block for `rows` rows and `width` vectors of columns."""

    def __init__(self, emitter: Emitter, panel: PanelFormat, rows: int, width: int) -> None:
        self._emit = emitter
        self._panel = panel
        self._rows = rows
        self._width = width
        lanes = emitter.isa.lanes
        self._bytes = ir.VectorType(_I8, 4 * lanes)
        self._halves = ir.VectorType(_I16, 2 * lanes)

    def sums(
        self, load_group: Callable[[int], Columns], load_x: LoadX, starts: Sequence[ir.Value]
    ) -> list[Columns]:
        """Return int32 start + sum of (stored integer) * x for every row and vector.

        Args:
            load_group: from the byte offset in the block's quants to a group's vectors.
            load_x: int32 vectors of x, four neighbouring k repeated in every lane.
            starts: per row the int32 vector -offset * sum of x.
        """
        if self._emit.isa.byte_products in ("vnni", "sdot"):
            return self._sum_quads(load_group, load_x, starts)
        return self._sum_nibbles(load_group, load_x, starts)

    # --- products of four bytes ------------------------------------------------------------

    def _sum_quads(
        self, load_group: Callable[[int], Columns], load_x: LoadX, starts: Sequence[ir.Value]
    ) -> list[Columns]:
        builder = self._emit.builder
        # PERF: integers may be added in any order, so few rows use several chains for latency.
        num_chains = {1: 4, 2: 2}.get(self._rows, 1)
        chains: list[list[Columns | None]] = [[None] * self._rows for _ in range(num_chains)]
        is_signed = self._has_signed_weights
        if not is_signed:
            chains[0] = [[start] * self._width for start in starts]
        for index, (k, columns) in enumerate(self._quads(load_group)):
            sums = chains[index % num_chains]
            for row in range(self._rows):
                x = load_x(row, k)
                before = sums[row] or [self._emit.zero_ints()] * self._width
                sums[row] = [
                    self._emit.dot_quads(column, x, value)
                    for column, value in zip(columns, before, strict=True)
                ]
        totals: list[Columns] = [row or [] for row in chains[0]]
        for other in chains[1:]:
            for row, values in enumerate(other):
                totals[row] = [
                    builder.add(a, b) for a, b in zip(totals[row], values or [], strict=True)
                ]
        if is_signed and self._panel is not INT8:
            totals = [
                [builder.add(value, start) for value in row]
                for row, start in zip(totals, starts, strict=True)
            ]
        return totals

    @property
    def _has_signed_weights(self) -> bool:
        return self._emit.isa.byte_products == "sdot"

    def _quads(self, load_group: Callable[[int], Columns]) -> Iterator[tuple[int, Columns]]:
        """Yield the first k of four and their weights, as the product takes them."""
        builder = self._emit.builder
        if self._panel is INT8:
            for group in range(8):
                columns = load_group(group * GROUP_BYTES)
                if self._has_signed_weights:
                    flip = ir.Constant(self._bytes, [-128] * (4 * self._emit.isa.lanes))
                    columns = [
                        builder.xor(builder.bitcast(column, self._bytes), flip)
                        for column in columns
                    ]
                yield 4 * group, columns
        else:
            for group in range(4):
                columns = load_group(group * GROUP_BYTES)
                yield 4 * group, [self._nibbles(column, 0) for column in columns]
                yield 16 + 4 * group, [self._nibbles(column, 4) for column in columns]

    # --- products of nibbles ---------------------------------------------------------------

    def _sum_nibbles(
        self, load_group: Callable[[int], Columns], load_x: LoadX, starts: Sequence[ir.Value]
    ) -> list[Columns]:
        builder = self._emit.builder
        low: list[list[ir.Value | None]] = [[None] * self._width for _ in range(self._rows)]
        high: list[list[ir.Value | None]] = [[None] * self._width for _ in range(self._rows)]
        for group in range(8 if self._panel is INT8 else 4):
            columns = load_group(group * GROUP_BYTES)
            if self._panel is INT8:
                planes = ((0, 4 * group, low), (4, 4 * group, high))
            else:
                planes = ((0, 4 * group, low), (4, 16 + 4 * group, low))
            for shift, k, sums in planes:
                nibbles = [self._nibbles(column, shift) for column in columns]
                for row in range(self._rows):
                    x = load_x(row, k)
                    for i, column in enumerate(nibbles):
                        product = self._multiply_pairs(column, x)
                        before = sums[row][i]
                        sums[row][i] = product if before is None else builder.add(before, product)
        totals = []
        for row, start in enumerate(starts):
            totals.append([builder.add(self._fold(value, 1), start) for value in low[row]])
            if self._panel is INT8:
                totals[row] = [
                    builder.add(total, self._fold(value, 16))
                    for total, value in zip(totals[row], high[row], strict=True)
                ]
        return totals

    def _nibbles(self, columns: ir.Value, shift: int) -> ir.Value:
        """Return the low (shift 0) or high (4) nibble of every byte, as 16 bit lanes."""
        builder, lanes = self._emit.builder, self._emit.isa.lanes
        value = builder.bitcast(columns, self._halves)
        if shift:
            value = builder.lshr(value, ir.Constant(self._halves, [shift] * (2 * lanes)))
        return builder.and_(value, ir.Constant(self._halves, [0x0F0F] * (2 * lanes)))

    def _multiply_pairs(self, nibbles: ir.Value, x: ir.Value) -> ir.Value:
        """Return per 16 bit lane the sum of two products, at most 2 * 15 * 127."""
        builder, lanes = self._emit.builder, self._emit.isa.lanes
        if self._emit.isa.byte_products == "maddubs":
            arguments = [self._bytes, self._bytes]
            function = declare(builder.module, _MADDUBS[lanes], self._halves, arguments)
            operands = [builder.bitcast(value, self._bytes) for value in (nibbles, x)]
            return builder.call(function, operands)
        eight = ir.Constant(self._halves, [8] * (2 * lanes))
        x = builder.bitcast(x, self._halves)
        even = builder.and_(nibbles, ir.Constant(self._halves, [0xFF] * (2 * lanes)))
        even_x = builder.ashr(builder.shl(x, eight), eight)
        odd, odd_x = builder.lshr(nibbles, eight), builder.ashr(x, eight)
        return builder.add(builder.mul(even, even_x), builder.mul(odd, odd_x))

    def _fold(self, halves: ir.Value | None, factor: int) -> ir.Value:
        """Return factor * (sum of the two 16 bit halves) of every 32 bit lane."""
        builder, lanes = self._emit.builder, self._emit.isa.lanes
        if self._emit.isa.byte_products == "maddubs":
            arguments = [self._halves, self._halves]
            function = declare(builder.module, _MADD[lanes], self._emit.ints, arguments)
            factors = ir.Constant(self._halves, [factor] * (2 * lanes))
            return builder.call(function, [halves, factors])
        sixteen = ir.Constant(self._emit.ints, [16] * lanes)
        words = builder.bitcast(halves, self._emit.ints)
        low = builder.ashr(builder.shl(words, sixteen), sixteen)
        total = builder.add(low, builder.ashr(words, sixteen))
        return builder.mul(total, ir.Constant(self._emit.ints, [factor] * lanes))
