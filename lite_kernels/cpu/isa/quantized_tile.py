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
from lite_kernels.cpu.isa.panel import GROUP_BYTES, INT8, PANEL, SCALES_BYTES, PanelFormat
from lite_kernels.dtypes import QUANTIZED_BLOCK

_F32 = ir.FloatType()
_I32 = ir.IntType(32)


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

    Rows of x lie as `panel.row_bytes` says; out is float32 [rows, 32]. With `prefetches` half of
    a panel's cache lines is fetched, from `prefetch` on.
    """
    isa = emitter.isa
    needs_two = isa.byte_products in ("maddubs", "multiply") and panel is INT8
    sums_each = 2 if needs_two else 1
    vectors = PANEL // isa.lanes
    width = vectors
    while width > 1 and width * rows * sums_each > isa.num_accumulators:
        width //= 2
    # A float accumulator that has no register left is kept in `out`, which stays in L1.
    in_registers = width * rows * (sums_each + 1) <= isa.num_accumulators
    for first in range(0, vectors, width):
        tile = _Pass(emitter, arguments, panel, rows, range(first, first + width))
        tile.emit(prefetches and first == 0, in_registers)


class _Pass:
    """The loop over blocks for some of the panel's vectors."""

    def __init__(
        self,
        emitter: Emitter,
        arguments: Sequence[ir.Value],
        panel: PanelFormat,
        rows: int,
        vectors: range,
    ) -> None:
        self._emit = emitter
        self._panel = panel
        self._rows = rows
        self._vectors = vectors
        self._vector_bytes = 4 * emitter.isa.lanes
        self._products = BlockProducts(emitter, panel, rows, len(vectors))
        weights, x, x_stride, out, num_blocks, prefetch = arguments
        builder = emitter.builder
        self._weights, self._out = weights, out
        self._num_blocks, self._prefetch = num_blocks, prefetch
        self._x = [x]
        for _ in range(1, rows):
            self._x.append(builder.add(self._x[-1], x_stride))
        self._scales = builder.mul(num_blocks, emitter.constant(QUANTIZED_BLOCK))
        self._starts = builder.add(self._scales, builder.mul(num_blocks, emitter.constant(4)))

    def emit(self, prefetches: bool, in_registers: bool) -> None:
        emit = self._emit
        cells = [(row, vector) for row in range(self._rows) for vector in self._vectors]
        zeros = [emit.zero()] * len(cells)

        def body(block: ir.Value, carried: list[ir.Value]) -> Sequence[ir.Value]:
            sums = self._block_sums(block, prefetches)
            scales = self._weight_scales(block)
            values = carried if in_registers else [self._load(*cell) for cell in cells]
            added = [
                value
                for row in range(self._rows)
                for value in self._add(block, row, sums[row], scales, values)
            ]
            if in_registers:
                return added
            self._store(cells, added)
            return []

        if in_registers:
            self._store(cells, emit.loop(self._num_blocks, zeros, body))
        else:
            self._store(cells, zeros)
            emit.loop(self._num_blocks, [], body)

    def _block_sums(self, block: ir.Value, prefetches: bool) -> list[Columns]:
        emit, builder = self._emit, self._emit.builder
        size = self._vector_bytes
        quants = emit.offset(self._weight_block(block), SCALES_BYTES)
        first_k = builder.mul(block, emit.constant(QUANTIZED_BLOCK))
        fetch = self._prefetcher(block) if prefetches else None

        def load_group(offset: int) -> Columns:
            if fetch is not None:
                fetch(offset)
            return [
                emit.load(emit.offset(quants, offset + vector * size), emit.ints, size)
                for vector in self._vectors
            ]

        def load_x(row: int, k: int) -> ir.Value:
            address = emit.offset(builder.add(self._x[row], first_k), k)
            return emit.broadcast(emit.load(address, _I32, 4))

        starts = [
            emit.broadcast(emit.load(self._of_block(row, self._starts, block), _I32, 4))
            for row in range(self._rows)
        ]
        return self._products.sums(load_group, load_x, starts)

    def _prefetcher(self, block: ir.Value) -> Callable[[int], None]:
        """Return what fetches a group's share of this block's lines of the next panel."""
        emit, builder = self._emit, self._emit.builder
        num_lines = fetched_lines(self._panel)
        num_groups = (self._panel.step_bytes - SCALES_BYTES) // GROUP_BYTES
        offset = builder.mul(block, emit.constant(64 * num_lines))
        start = builder.add(self._prefetch, offset)

        def fetch(offset: int) -> None:
            group = offset // GROUP_BYTES
            for line in range(
                num_lines * group // num_groups, num_lines * (group + 1) // num_groups
            ):
                emit.prefetch(emit.offset(start, 64 * line))

        return fetch

    def _weight_block(self, block: ir.Value) -> ir.Value:
        builder = self._emit.builder
        size = self._emit.constant(self._panel.step_bytes)
        return builder.add(self._weights, builder.mul(block, size))

    def _of_block(self, row: int, offset: ir.Value, block: ir.Value) -> ir.Value:
        """Address of this block's scale or start in a row."""
        builder = self._emit.builder
        address = builder.add(self._x[row], offset)
        return builder.add(address, builder.mul(block, self._emit.constant(4)))

    def _weight_scales(self, block: ir.Value) -> Columns:
        emit, address = self._emit, self._weight_block(block)
        half_bytes = self._vector_bytes // 2
        return [
            emit.load_float16(emit.offset(address, vector * half_bytes), half_bytes)
            for vector in self._vectors
        ]

    def _add(
        self, block: ir.Value, row: int, sums: Columns, scales: Columns, values: list[ir.Value]
    ) -> Columns:
        """Return the row's `values` plus its sums, scaled."""
        emit, builder = self._emit, self._emit.builder
        width = len(self._vectors)
        scale = emit.broadcast(emit.load(self._of_block(row, self._scales, block), _F32, 4))
        return [
            emit.multiply_add(
                builder.sitofp(total, emit.floats), builder.fmul(column, scale), value
            )
            for total, column, value in zip(
                sums, scales, values[row * width : (row + 1) * width], strict=True
            )
        ]

    def _cell(self, row: int, vector: int) -> ir.Value:
        return self._emit.offset(self._out, row * 4 * PANEL + vector * self._vector_bytes)

    def _load(self, row: int, vector: int) -> ir.Value:
        return self._emit.load(self._cell(row, vector), self._emit.floats, self._vector_bytes)

    def _store(self, cells: list[tuple[int, int]], values: list[ir.Value]) -> None:
        for cell, value in zip(cells, values, strict=True):
            self._emit.store(value, self._cell(*cell), self._vector_bytes)
