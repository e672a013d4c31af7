"""The matrix micro-kernel as LLVM IR: `rows` x 32 outputs, accumulators in registers.

Every output is one chain of operations in ascending k, so its bits do not depend on the number
of rows, nor on how the columns are split over vectors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa import Isa, host_isa
from lite_kernels.cpu.isa.memory import declare

PANEL = 32  # output columns a panel
STEP_BYTES = 128  # of a panel: one k of float32, two of bfloat16

_F32 = ir.FloatType()
_I8 = ir.IntType(8)
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_VOID = ir.VoidType()


class BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not know."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


@dataclass(frozen=True)
class Emitter:
    """Vector operations of one ISA at the builder's position."""

    builder: ir.IRBuilder
    isa: Isa

    @property
    def floats(self) -> ir.VectorType:
        return ir.VectorType(_F32, self.isa.lanes)

    @property
    def ints(self) -> ir.VectorType:
        return ir.VectorType(_I32, self.isa.lanes)

    def constant(self, value: int) -> ir.Constant:
        return ir.Constant(_I64, value)

    def zero(self) -> ir.Constant:
        return ir.Constant(self.floats, [0.0] * self.isa.lanes)

    def offset(self, address: ir.Value, nbytes: int) -> ir.Value:
        return self.builder.add(address, self.constant(nbytes)) if nbytes else address

    def load(self, address: ir.Value, llvm_type: ir.Type, align: int) -> ir.Value:
        where = self.builder.inttoptr(address, ir.PointerType(llvm_type))
        return self.builder.load(where, align=align)

    def store(self, value: ir.Value, address: ir.Value, align: int) -> None:
        where = self.builder.inttoptr(address, ir.PointerType(value.type))
        self.builder.store(value, where, align=align)

    def broadcast(self, scalar: ir.Value) -> ir.Value:
        lanes = self.isa.lanes
        undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
        mask = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
        return self.builder.shuffle_vector(first, undefined, mask)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """Return a * b + c, rounded once where the ISA can."""
        if not self.isa.has_fma:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        name = f"llvm.fma.v{self.isa.lanes}f32"
        function = declare(self.builder.module, name, self.floats, [self.floats] * 3)
        return self.builder.call(function, [a, b, c])

    def dot_pairs(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """Return c plus, per lane, the products of two bfloat16 pairs."""
        pairs = ir.VectorType(BFloat(), 2 * self.isa.lanes)
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        function = declare(self.builder.module, name, self.floats, [self.floats, pairs, pairs])
        a, b = self.builder.bitcast(a, pairs), self.builder.bitcast(b, pairs)
        return self.builder.call(function, [c, a, b])

    def prefetch(self, address: ir.Value, locality: int = 2) -> None:
        """Fetch a cache line into L2, or with `locality` 3 into L1."""
        arguments = [ir.PointerType(_I8), _I32, _I32, _I32]
        function = declare(self.builder.module, "llvm.prefetch.p0", _VOID, arguments)
        flags = [ir.Constant(_I32, value) for value in (0, locality, 1)]
        self.builder.call(function, [self.builder.inttoptr(address, arguments[0]), *flags])

    def loop(
        self,
        count: ir.Value,
        carried: Sequence[ir.Value],
        body: Callable[[ir.Value, list[ir.Value]], Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """Run body(i, carried) -> carried for i in range(count), count >= 1."""
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block("loop")
        after = builder.append_basic_block("done")
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_I64)
        index.add_incoming(self.constant(0), before)
        phis = [builder.phi(value.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, before)
        results = list(body(index, list(phis)))
        following = builder.add(index, self.constant(1))
        index.add_incoming(following, builder.block)
        for phi, value in zip(phis, results, strict=True):
            phi.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, count), head, after)
        builder.position_at_end(after)
        return results


def activation_bytes(isa: Isa, dtype: str) -> int:
    """Bytes of one activation as the micro-kernel reads it: bfloat16 pairs need the ISA's help."""
    return 2 if dtype == "bfloat16" and isa.has_dpbf16 else 4


def _tile_function(module: ir.Module, dtype: str, rows: int, prefetches: bool) -> ir.Function:
    """Define void f(weights, x, x_stride, out, num_steps, prefetch).

    Each is a function of its own: inlined next to each other, they would spill registers.
    """
    isa = host_isa()
    name = f"lite_tile_{dtype}_{rows}{'_prefetch' if prefetches else ''}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_VOID, [_I64] * 6), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    emitter = Emitter(ir.IRBuilder(function.append_basic_block("entry")), isa)
    vectors = PANEL // isa.lanes
    width = vectors
    while width * rows > isa.num_accumulators:
        width //= 2
    for first in range(0, vectors, width):
        _emit_pass(emitter, function.args, dtype, rows, range(first, first + width), prefetches)
    emitter.builder.ret_void()
    return function


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


@intrinsic
def multiply_tile(typingctx, dtype, rows, weights, x, x_stride, out, num_steps, prefetch):
    """out[r, c] = sum over k of x[r, k] * panel[k, c], for `rows` rows and 32 columns.

    Args:
        dtype: np.uint16 for bfloat16 panels [K/2, 32, 2], np.float32 for [K, 32].
        rows: 1 to the ISA's max_rows; a tile that prefetches has at least a quarter.
        weights, x, x_stride, out: addresses and bytes; x as `activation_bytes` says, out float32
            [rows, 32] aligned to a vector.
        num_steps: k pairs (bfloat16) or k, at least 1.
        prefetch: 0, or where `num_steps` cache lines to fetch meanwhile begin.
    """
    name = "bfloat16" if dtype.dtype == types.uint16 else "float32"

    def codegen(context, builder, signature, args):
        _, rows_value, weights_, x_, stride_, out_, steps_, prefetch_ = args
        max_rows = host_isa().max_rows
        arguments = [weights_, x_, stride_, out_, steps_, prefetch_]
        after = builder.append_basic_block("tile.done")

        def dispatch(first: int, prefetches: bool) -> None:
            switch = builder.switch(rows_value, after)
            for rows_ in range(first, max_rows + 1):
                block = builder.append_basic_block(f"tile.{rows_}")
                switch.add_case(ir.Constant(_I64, rows_), block)
                with builder.goto_block(block):
                    function = _tile_function(builder.module, name, rows_, prefetches)
                    builder.call(function, arguments)
                    builder.branch(after)

        plain = builder.append_basic_block("tile.plain")
        prefetching = builder.append_basic_block("tile.prefetching")
        is_plain = builder.icmp_signed("==", prefetch_, ir.Constant(_I64, 0))
        builder.cbranch(is_plain, plain, prefetching)
        builder.position_at_end(plain)
        dispatch(1, False)
        builder.position_at_end(prefetching)
        dispatch((max_rows // 2 + 1) // 2, True)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(dtype, *[types.int64] * 7), codegen
