"""The micro-kernel of float weights as LLVM IR: `rows` x 32 outputs, accumulators in registers.

Every output is one chain of operations in ascending k, so its bits do not depend on the number
of rows, nor on how the columns are split over vectors.
"""

from collections.abc import Sequence

from llvmlite import ir

from lite_kernels.cpu.isa import Isa
from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.panel import PANEL, STEP_BYTES

_F32 = ir.FloatType()
_I32 = ir.IntType(32)


def activation_bytes(isa: Isa, dtype: str) -> int:
    """Bytes of one activation as the micro-kernel reads it: bfloat16 pairs need the ISA's help."""
    return 2 if dtype == "bfloat16" and isa.has_dpbf16 else 4


def emit_tile(
    emitter: Emitter, arguments: Sequence[ir.Value], dtype: str, rows: int, prefetches: bool
) -> None:
    """Emit the body of void f(weights, x, x_stride, out, num_steps, prefetch).

    x as `activation_bytes` says, out float32 [rows, 32]. With `prefetches` one cache line a step
    is fetched, from `prefetch` on.
    """
    vectors = PANEL // emitter.isa.lanes
    width = vectors
    while width * rows > emitter.isa.num_accumulators:
        width //= 2
    for first in range(0, vectors, width):
        _emit_pass(emitter, arguments, dtype, rows, range(first, first + width), prefetches)


def _emit_pass(
    emitter: Emitter,
    arguments: Sequence[ir.Value],
    dtype: str,
    rows: int,
    vectors: range,
    prefetches: bool,
) -> None:
    """Emit the k loop and the stores of some of the panel's vectors."""
    builder, isa = emitter.builder, emitter.isa
    weights, x, x_stride, out, num_steps, prefetch = arguments
    width = len(vectors)
    vector_bytes = 4 * isa.lanes
    row_addresses = [x]
    for _ in range(1, rows):
        row_addresses.append(builder.add(row_addresses[-1], x_stride))
    pairs = dtype == "bfloat16"
    x_step = 2 * activation_bytes(isa, dtype) if pairs else 4

    def load_weights(step: ir.Value, llvm_type: ir.Type) -> list[ir.Value]:
        where = builder.add(weights, builder.mul(step, emitter.constant(STEP_BYTES)))
        return [
            emitter.load(emitter.offset(where, vector * vector_bytes), llvm_type, vector_bytes)
            for vector in vectors
        ]

    def add_products(
        step: ir.Value, x_offset: int, columns: list[ir.Value], sums: list[ir.Value]
    ) -> None:
        offset = emitter.offset(builder.mul(step, emitter.constant(x_step)), x_offset)
        for row, address in enumerate(row_addresses):
            scalar = emitter.load(builder.add(address, offset), _F32, 4)
            value = emitter.broadcast(scalar)
            for index, column in enumerate(columns):
                at = row * width + index
                sums[at] = emitter.multiply_add(column, value, sums[at])

    def body(step: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        if prefetches and vectors.start == 0:
            emitter.prefetch(builder.add(prefetch, builder.mul(step, emitter.constant(64))))
        if not pairs:
            add_products(step, 0, load_weights(step, emitter.floats), sums)
        elif isa.has_dpbf16:
            columns = load_weights(step, emitter.ints)
            offset = builder.mul(step, emitter.constant(4))
            for row, address in enumerate(row_addresses):
                value = emitter.broadcast(emitter.load(builder.add(address, offset), _I32, 4))
                for index, column in enumerate(columns):
                    at = row * width + index
                    sums[at] = emitter.dot_pairs(column, value, sums[at])
        else:
            loaded = load_weights(step, emitter.ints)
            shift = ir.Constant(emitter.ints, [16] * isa.lanes)
            mask = ir.Constant(emitter.ints, [-65536] * isa.lanes)
            even = [builder.bitcast(builder.shl(v, shift), emitter.floats) for v in loaded]
            add_products(step, 0, even, sums)
            odd = [builder.bitcast(builder.and_(v, mask), emitter.floats) for v in loaded]
            add_products(step, 4, odd, sums)
        return sums

    sums = emitter.loop(num_steps, [emitter.zero()] * (rows * width), body)
    for row in range(rows):
        for index, vector in enumerate(vectors):
            where = emitter.offset(out, row * 4 * PANEL + vector * vector_bytes)
            emitter.store(sums[row * width + index], where, vector_bytes)
