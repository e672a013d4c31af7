"""The micro-kernel of quantized weights as LLVM IR: `rows` x 32 outputs.

An output's block of 32 k is summed exactly in int32; the blocks are added in ascending order by
one chain of v = fma(float(sum), weight scale * x scale, v). So its bits depend neither on the
number of rows, nor on the vectors, nor on how the products of a block are made.
"""

from collections.abc import Callable, Sequence

from llvmlite import ir

from lite_kernels.cpu.isa import Isa
from lite_kernels.cpu.isa.byte_products import BlockProducts, Columns
from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.panel import (
    GROUP_BYTES,
    INT8,
    PANEL,
    ROW_BLOCK_BYTES,
    SCALES_BYTES,
    PanelFormat,
)

_F32 = ir.FloatType()
_I32 = ir.IntType(32)


# PERF: int4 takes so many instructions a cache line that its stream stalls unless it is fetched
# ahead: 3 rows 40 % faster, 6 rows twice as fast. int8 loses 5 to 10 % by it.
_AHEAD_BYTES = 8192
_L1, _L2 = 3, 2  # localities of a prefetch


def quantized_rows(isa: Isa) -> int:
    """Rows of one tile at most: beside each sum of a block stands the float it is added to."""
    return isa.num_accumulators // 4 if isa.lanes == 16 else isa.num_accumulators // 2


def fetched_lines(panel: PanelFormat) -> int:
    """Cache lines of the next panel that one tile of two fetches in a block."""
    return -(-panel.step_lines // 2)


def emit_quantized_tile(
    emitter: Emitter, arguments: Sequence[ir.Value], panel: PanelFormat, rows: int, prefetches: bool
) -> None:
    """Emit the body of void f(weights, x, x_stride, out, num_blocks, prefetch).

    Rows of x lie as `ROW_BLOCK_BYTES` says; out is float32 [rows, 32]. With `prefetches` half of
    a panel's cache lines is fetched, from `prefetch` on; else int4 fetches its own, ahead.
    """
    tile = _Tile(emitter, arguments, panel, rows)
    if tile.num_passes == 1:
        tile.emit_pass(emitter.constant(0), prefetches)
        return

    def body(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        tile.emit_pass(index, prefetches)
        return []

    emitter.loop(emitter.constant(tile.num_passes), [], body)


class _Tile:
    """A tile in passes over as many of the panel's vectors as there are registers for."""

    def __init__(
        self, emitter: Emitter, arguments: Sequence[ir.Value], panel: PanelFormat, rows: int
    ) -> None:
        isa, builder = emitter.isa, emitter.builder
        self._emit = emitter
        self._panel = panel
        self._rows = rows
        self._vector_bytes = 4 * isa.lanes
        splits_bytes = isa.byte_products in ("maddubs", "multiply") and panel is INT8
        sums_each = 2 if splits_bytes else 1
        self._width = PANEL // isa.lanes
        while self._width > 1 and self._width * rows * sums_each > isa.num_accumulators:
            self._width //= 2
        self.num_passes = PANEL // isa.lanes // self._width
        # A float that has no register left is kept in `out`, which stays in L1.
        self._in_registers = self._width * rows * (sums_each + 1) <= isa.num_accumulators
        self._cells = [(row, vector) for row in range(rows) for vector in range(self._width)]
        self._products = BlockProducts(emitter, panel, rows, self._width)
        self._weights, x, x_stride, self._out, self._num_blocks, self._prefetch = arguments
        self._x = [x]
        for _ in range(1, rows):
            self._x.append(builder.add(self._x[-1], x_stride))

    def emit_pass(self, index: ir.Value, prefetches: bool) -> None:
        """Emit the loop over blocks for the vectors from index * width on."""
        emit, builder = self._emit, self._emit.builder
        column = builder.mul(index, emit.constant(self._width * self._vector_bytes))
        out = builder.add(self._out, column)
        zeros = [emit.zero()] * len(self._cells)

        def body(block: ir.Value, carried: list[ir.Value]) -> Sequence[ir.Value]:
            fetch = self._fetch_next(index, block) if prefetches else self._fetch_ahead(block)
            sums = self._block_sums(column, block, fetch)
            scales = self._weight_scales(column, block)
            values = carried if self._in_registers else self._load(out)
            added: list[ir.Value] = []
            for row in range(self._rows):
                before = values[row * self._width : (row + 1) * self._width]
                added += self._add(block, row, sums[row], scales, before)
            if self._in_registers:
                return added
            self._store(out, added)
            return []

        if self._in_registers:
            self._store(out, emit.loop(self._num_blocks, zeros, body))
        else:
            self._store(out, zeros)
            emit.loop(self._num_blocks, [], body)

    def _block_sums(
        self, column: ir.Value, block: ir.Value, fetch: Callable[[int], None] | None
    ) -> list[Columns]:
        emit, builder = self._emit, self._emit.builder
        size = self._vector_bytes
        quants = emit.offset(builder.add(self._weight_block(block), column), SCALES_BYTES)

        def load_group(offset: int) -> Columns:
            if fetch is not None:
                fetch(offset // GROUP_BYTES)
            return [
                emit.load(emit.offset(quants, offset + vector * size), emit.ints, size)
                for vector in range(self._width)
            ]

        def load_x(row: int, k: int) -> ir.Value:
            return emit.broadcast(emit.load(self._of_block(row, block, 8 + k), _I32, 4))

        starts = [
            emit.broadcast(emit.load(self._of_block(row, block, 4), _I32, 4))
            for row in range(self._rows)
        ]
        return self._products.sums(load_group, load_x, starts)

    def _fetch_next(self, index: ir.Value, block: ir.Value) -> Callable[[int], None]:
        """Return what fetches a group's share of this block's lines of the next panel."""
        emit, builder = self._emit, self._emit.builder
        num_lines = -(-fetched_lines(self._panel) // self.num_passes)
        before = builder.add(builder.mul(index, self._num_blocks), block)
        start = builder.add(self._prefetch, builder.mul(before, emit.constant(64 * num_lines)))
        return self._spread(start, num_lines, _L1 if self._panel is INT8 else _L2)

    def _fetch_ahead(self, block: ir.Value) -> Callable[[int], None] | None:
        """Return what fetches a group's share of the block that lies ahead in this panel."""
        if self._panel is INT8:
            return None
        start = self._emit.offset(self._weight_block(block), _AHEAD_BYTES)
        return self._spread(start, self._panel.step_lines, _L1)

    def _spread(self, start: ir.Value, num_lines: int, locality: int) -> Callable[[int], None]:
        num_groups = (self._panel.step_bytes - SCALES_BYTES) // GROUP_BYTES

        def fetch(group: int) -> None:
            first, stop = (num_lines * at // num_groups for at in (group, group + 1))
            for line in range(first, stop):
                self._emit.prefetch(self._emit.offset(start, 64 * line), locality)

        return fetch

    def _weight_block(self, block: ir.Value) -> ir.Value:
        builder = self._emit.builder
        size = self._emit.constant(self._panel.step_bytes)
        return builder.add(self._weights, builder.mul(block, size))

    def _of_block(self, row: int, block: ir.Value, offset: int) -> ir.Value:
        builder = self._emit.builder
        size = self._emit.constant(ROW_BLOCK_BYTES)
        return self._emit.offset(builder.add(self._x[row], builder.mul(block, size)), offset)

    def _weight_scales(self, column: ir.Value, block: ir.Value) -> Columns:
        emit, builder = self._emit, self._emit.builder
        half_column = builder.lshr(column, emit.constant(1))
        address = builder.add(self._weight_block(block), half_column)
        size = self._vector_bytes // 2
        return [
            emit.load_float16(emit.offset(address, vector * size), size)
            for vector in range(self._width)
        ]

    def _add(
        self, block: ir.Value, row: int, sums: Columns, scales: Columns, values: list[ir.Value]
    ) -> list[ir.Value]:
        """Return the row's `values` plus its sums, scaled."""
        emit, builder = self._emit, self._emit.builder
        scale = emit.broadcast(emit.load(self._of_block(row, block, 0), _F32, 4))
        return [
            emit.multiply_add(
                builder.sitofp(total, emit.floats), builder.fmul(column, scale), value
            )
            for total, column, value in zip(sums, scales, values, strict=True)
        ]

    def _addresses(self, out: ir.Value) -> list[ir.Value]:
        return [
            self._emit.offset(out, row * 4 * PANEL + vector * self._vector_bytes)
            for row, vector in self._cells
        ]

    def _load(self, out: ir.Value) -> list[ir.Value]:
        emit = self._emit
        return [emit.load(at, emit.floats, self._vector_bytes) for at in self._addresses(out)]

    def _store(self, out: ir.Value, values: Sequence[ir.Value]) -> None:
        for at, value in zip(self._addresses(out), values, strict=True):
            self._emit.store(value, at, self._vector_bytes)
