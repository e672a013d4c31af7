"""Vector operations as LLVM IR, for any width of vector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from lite_kernels.cpu.isa import Isa
from lite_kernels.cpu.isa.memory import declare

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

    def zero_ints(self) -> ir.Constant:
        return ir.Constant(self.ints, [0] * self.isa.lanes)

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

    def load_float16(self, address: ir.Value, align: int) -> ir.Value:
        """Load one float16 a lane as float32; exact."""
        builder, lanes = self.builder, self.isa.lanes
        if lanes > 4:
            return builder.fpext(
                self.load(address, ir.VectorType(ir.HalfType(), lanes), align), self.floats
            )
        # Four lanes do not promise a conversion: by bits, with exponents that differ by 112.
        bits = builder.zext(
            self.load(address, ir.VectorType(ir.IntType(16), lanes), align), self.ints
        )

        def ints(value: int) -> ir.Constant:
            return ir.Constant(self.ints, [value] * lanes)

        magnitude = builder.shl(builder.and_(bits, ints(0x7FFF)), ints(13))
        factor = ir.Constant(self.floats, [2.0**112] * lanes)
        finite = builder.fmul(builder.bitcast(magnitude, self.floats), factor)
        special = builder.bitcast(builder.or_(magnitude, ints(0x7F800000)), self.floats)
        is_special = builder.icmp_unsigned(">=", magnitude, ints(0x7C00 << 13))
        value = builder.bitcast(builder.select(is_special, special, finite), self.ints)
        sign = builder.shl(builder.and_(bits, ints(0x8000)), ints(16))
        return builder.bitcast(builder.or_(value, sign), self.floats)

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

    def dot_quads(self, weights: ir.Value, x: ir.Value, total: ir.Value) -> ir.Value:
        """Return int32 total plus, per lane, the products of four bytes: of weights (unsigned,
        on ARM signed) and of x (signed).
        """
        if self.isa.byte_products == "sdot":
            operand: ir.Type = ir.VectorType(_I8, 4 * self.isa.lanes)
            name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
        else:
            operand = self.ints
            name = f"llvm.x86.avx512.vpdpbusd.{32 * self.isa.lanes}"
        function = declare(self.builder.module, name, self.ints, [self.ints, operand, operand])
        operands = [self.builder.bitcast(value, operand) for value in (weights, x)]
        return self.builder.call(function, [total, *operands])

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
