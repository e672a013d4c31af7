"""Micro-kernels of attention as LLVM IR: scores, softmax weights and weighted values.

Vectors are 16 float32 wide whatever the ISA; LLVM splits them where registers are narrower.
Every row goes through the same operations in the same order whichever of the row counts handles
it, which is what makes attention independent of the batch and of chunk boundaries.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa import Isa, host_isa
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


class _BFloat(ir.Type):
    """llvmlite has no bfloat type of its own."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_V32B = ir.VectorType(_BFloat(), 32)
_V16B = ir.VectorType(_BFloat(), 16)


class _Emitter:
    """The handful of IR idioms that the micro-kernels are written in."""

    def __init__(self, builder: ir.IRBuilder, isa: Isa) -> None:
        self.builder = builder
        self.isa = isa

    def add(self, base: Any, *offsets: Any) -> Any:
        for offset in offsets:
            base = self.builder.add(base, offset if isinstance(offset, ir.Value) else _int(offset))
        return base

    def scale(self, value: Any, factor: Any) -> Any:
        return self.builder.mul(value, factor if isinstance(factor, ir.Value) else _int(factor))

    def load(self, address: Any, kind: ir.Type, align: int) -> Any:
        value = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        value.align = align
        return value

    def store(self, value: Any, address: Any, align: int) -> None:
        where = self.builder.inttoptr(address, value.type.as_pointer())
        self.builder.store(value, where).align = align

    def call(self, name: str, result: ir.Type, arguments: Sequence[Any]) -> Any:
        function = declare(self.builder.module, name, result, [a.type for a in arguments])
        return self.builder.call(function, list(arguments))

    def splat(self, scalar: Any) -> Any:
        kind = ir.VectorType(scalar.type, _LANES)
        undefined = ir.Constant(kind, ir.Undefined)
        vector = self.builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
        return self.builder.shuffle_vector(vector, undefined, ir.Constant(_V16I, [0] * _LANES))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        if not self.isa.has_fma:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        name = "llvm.fma.v16f32" if a.type == _V16F else "llvm.fma.f32"
        return self.call(name, a.type, [a, b, c])

    def maximum(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def prefetch(self, address: Any) -> None:
        pointer = self.builder.inttoptr(address, ir.IntType(8).as_pointer())
        flags = [ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)]
        self.call("llvm.prefetch.p0", ir.VoidType(), [pointer, *flags])

    def fold(self, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """Reduce 16 lanes as a fixed tree: lane i with lane i + 8, then 4, 2, 1."""
        undefined = ir.Constant(vector.type, ir.Undefined)
        for half in (8, 4, 2, 1):
            lanes = [(i + half) % _LANES for i in range(_LANES)]
            moved = self.builder.shuffle_vector(vector, undefined, ir.Constant(_V16I, lanes))
            vector = combine(vector, moved)
        return self.builder.extract_element(vector, ir.Constant(_I32, 0))

    def loop(
        self, count: Any, values: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]
    ) -> list[Any]:
        """Emit `for i in range(count): values = body(i, values)`; count >= 1."""
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block("loop")
        after = builder.append_basic_block("done")
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_I64)
        index.add_incoming(_int(0), before)
        carried = []
        for value in values:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            carried.append(phi)
        results = list(body(index, carried))
        following = builder.add(index, _int(1))
        last = builder.block
        index.add_incoming(following, last)
        for phi, result in zip(carried, results, strict=True):
            phi.add_incoming(result, last)
        builder.cbranch(builder.icmp_signed("<", following, count), head, after)
        builder.position_at_end(after)
        return results

    def exp(self, x: Any) -> Any:
        """exp(x) for x <= 0 (Cephes expf), 2e-7 relative; NaN stays NaN, 1 at 0 exactly."""
        builder = self.builder

        def constant(value: float) -> ir.Constant:
            return _float(x.type, value)

        low = builder.fcmp_ordered("<", x, constant(-87.0))
        x = builder.select(low, constant(-87.0), x)
        # Adding 1.5 * 2**23 leaves the rounded integer in the low bits.
        magic = constant(12582912.0)
        shifted = builder.fadd(builder.fmul(x, constant(1.44269504)), magic)
        n = builder.fsub(shifted, magic)
        r = self.fma(n, constant(-0.693359375), x)
        r = self.fma(n, constant(2.12194440e-4), r)
        p = constant(1.9875691500e-4)
        for coefficient in (
            1.3981999507e-3,
            8.3334519073e-3,
            4.1665795894e-2,
            1.6666665459e-1,
            5.0000001201e-1,
        ):
            p = self.fma(p, r, constant(coefficient))
        y = self.fma(p, builder.fmul(r, r), builder.fadd(r, constant(1.0)))
        kind = _V16I if x.type == _V16F else _I32
        bits = builder.shl(builder.bitcast(shifted, kind), _integer(kind, 23))
        power = builder.bitcast(builder.add(bits, _integer(kind, 0x3F800000)), x.type)
        return builder.fmul(y, power)


def _int(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


def _float(kind: ir.Type, value: float) -> ir.Constant:
    return ir.Constant(kind, [value] * _LANES if kind == _V16F else value)


def _integer(kind: ir.Type, value: int) -> ir.Constant:
    return ir.Constant(kind, [value] * _LANES if kind == _V16I else value)


class _Products(_Emitter):
    """acc[r][t] += tile vector t * value of row r, for the number format of the tiles.

    A step takes one line of each tile: 16 float32, or 16 pairs of bfloat16. `row_bytes` is what
    a row advances by a step: rows are pairs of bfloat16 for the pair product, else float32.
    """

    def __init__(self, builder: ir.IRBuilder, isa: Isa, dtype: Any) -> None:
        super().__init__(builder, isa)
        self.pairs = dtype.dtype == types.uint16
        self.native = self.pairs and isa.has_dpbf16
        self.row_bytes = 8 if self.pairs and not self.native else 4

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
            pair = builder.bitcast(self.splat(self.load(row, _I32, 4)), _V32B)
            name = "llvm.x86.avx512bf16.dpbf16ps.512"
            return self.call(name, _V16F, [total, builder.bitcast(vector, _V32B), pair])
        if not self.pairs:
            value = self.splat(self.load(row, _F32, 4))
            return self.fma(builder.bitcast(vector, _V16F), value, total)
        low = builder.shl(vector, _integer(_V16I, 16))
        high = builder.and_(vector, _integer(_V16I, 0xFFFF0000))
        for offset, half in ((0, low), (4, high)):
            value = self.splat(self.load(self.add(row, offset), _F32, 4))
            total = self.fma(builder.bitcast(half, _V16F), value, total)
        return total


def _width(isa: Isa) -> int:
    """Vectors a row's accumulators take side by side: 6 rows x 4 fill 24 of 32 registers."""
    return STEP_TILES if isa.lanes == _LANES else 1


@intrinsic
def scores_of_rows(typingctx, rows, dtype, q, q_bytes, scores, tiles, num_lines):
    """Scores of `rows` (a literal) queries over the four key tiles of a step.

    q: address of the first row, `q_bytes` apart; scores: float32 rows of 64; tiles: address of
    four key tile addresses; num_lines: lines of a key tile. Values, right behind the keys, are
    prefetched.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    num_rows = rows.literal_value

    def codegen(context, builder, signature, args):
        _, _, q, q_bytes, scores, tiles, num_lines = args
        emit = _Products(builder, host_isa(), signature.args[1])
        width = _width(emit.isa)
        q_rows = [emit.add(q, emit.scale(q_bytes, r)) for r in range(num_rows)]
        tile_bytes = emit.scale(num_lines, _LINE_BYTES)

        def tile_group(group, _):
            first = emit.scale(group, width * 8)
            bases = [emit.load(emit.add(tiles, first, 8 * t), _I64, 8) for t in range(width)]

            def line(i, sums):
                lines = [emit.add(base, emit.scale(i, _LINE_BYTES)) for base in bases]
                for at in lines:
                    emit.prefetch(emit.add(at, tile_bytes))
                at = emit.scale(i, emit.row_bytes)
                return emit.step(sums, lines, [emit.add(row, at) for row in q_rows])

            sums = emit.loop(num_lines, [_float(_V16F, 0.0)] * (num_rows * width), line)
            for r in range(num_rows):
                for t in range(width):
                    at = emit.add(scores, emit.scale(first, 8), 4 * STEP_KEYS * r + 64 * t)
                    emit.store(sums[r * width + t], at, _LINE_BYTES)
            return []

        emit.loop(_int(STEP_TILES // width), [], tile_group)
        return context.get_dummy_value()

    return types.void(rows, dtype, *[types.int64] * 5), codegen


@intrinsic
def weighted_values_of_rows(
    typingctx, rows, dtype, weights, factors, out, out_vectors, tiles, num_tiles, value_offset
):
    """out = out * factor + weights @ values for `rows` (a literal) rows over the tiles of a step.

    weights: rows of 64 as `softmax_row` wrote them; factors: float32 per row; out: float32 rows
    of `out_vectors` vectors; tiles: address of the tile addresses, then of those of the next
    step, which are prefetched; value_offset: bytes of the keys before the values.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    num_rows = rows.literal_value

    def codegen(context, builder, signature, args):
        _, _, weights, factors, out, out_vectors, tiles, num_tiles, value_offset = args
        emit = _Products(builder, host_isa(), signature.args[1])
        lines_per_tile = 8 if emit.pairs else 16
        out_bytes = emit.scale(out_vectors, _LINE_BYTES)
        weight_bytes = lines_per_tile * emit.row_bytes
        out_rows = [emit.add(out, emit.scale(out_bytes, r)) for r in range(num_rows)]
        weight_rows = [emit.add(weights, r * STEP_TILES * weight_bytes) for r in range(num_rows)]

        def columns(first, width):
            """Accumulate `width` vectors from byte `first` of a row."""
            sums = []
            for r, row in enumerate(out_rows):
                factor = emit.splat(emit.load(emit.add(factors, 4 * r), _F32, 4))
                for t in range(width):
                    at = emit.add(row, first, _LINE_BYTES * t)
                    sums.append(builder.fmul(emit.load(at, _V16F, _LINE_BYTES), factor))

            def tile(i, sums):
                at = emit.add(tiles, emit.scale(i, 8))
                base = emit.load(at, _I64, 8)
                ahead = emit.add(emit.load(emit.add(at, 8 * STEP_TILES), _I64, 8), first)
                base = emit.add(base, value_offset, first)
                rows_at = [emit.add(row, emit.scale(i, weight_bytes)) for row in weight_rows]

                def line(j, sums):
                    at = emit.scale(j, out_bytes)
                    lines = [emit.add(base, at, _LINE_BYTES * t) for t in range(width)]
                    for t in range(width):
                        emit.prefetch(emit.add(ahead, at, _LINE_BYTES * t))
                    step = emit.scale(j, emit.row_bytes)
                    return emit.step(sums, lines, [emit.add(row, step) for row in rows_at])

                return emit.loop(_int(lines_per_tile), sums, line)

            sums = emit.loop(num_tiles, sums, tile)
            for r, row in enumerate(out_rows):
                for t in range(width):
                    at = emit.add(row, first, _LINE_BYTES * t)
                    emit.store(sums[r * width + t], at, _LINE_BYTES)

        def group_of(width, offset):
            def group(i, _):
                columns(emit.add(emit.scale(i, width * _LINE_BYTES), offset), width)
                return []

            return group

        width = _width(emit.isa)
        whole = builder.udiv(out_vectors, _int(width))
        with builder.if_then(builder.icmp_signed(">", whole, _int(0))):
            emit.loop(whole, [], group_of(width, 0))
        if width > 1:
            done = emit.scale(whole, width)
            rest = builder.sub(out_vectors, done)
            with builder.if_then(builder.icmp_signed(">", rest, _int(0))):
                emit.loop(rest, [], group_of(1, emit.scale(done, _LINE_BYTES)))
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
        emit = _Products(builder, host_isa(), signature.args[0])
        first, end = (emit.splat(builder.trunc(bound, _I32)) for bound in (first, end))
        nothing = _float(_V16F, NO_MAXIMUM)
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
        shrink = emit.exp(builder.fsub(before, now))
        level = emit.splat(now)
        for t in range(STEP_TILES):
            weight = emit.exp(builder.fsub(parts[t], level))
            parts[t] = builder.select(visible[t], weight, _float(_V16F, 0.0))
        added = builder.fadd(builder.fadd(parts[0], parts[1]), builder.fadd(parts[2], parts[3]))
        added = emit.fold(added, builder.fadd)
        emit.store(emit.fma(emit.load(total, _F32, 4), shrink, added), total, 4)
        emit.store(now, maximum, 4)
        emit.store(shrink, factor, 4)
        for t, part in enumerate(parts):
            if emit.native:
                name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
                halves = emit.call(name, _V16B, [part])
                emit.store(halves, emit.add(weights, 32 * t), 32)
            else:
                emit.store(part, emit.add(weights, _LINE_BYTES * t), _LINE_BYTES)
        return context.get_dummy_value()

    return types.void(dtype, *[types.int64] * 7), codegen


@intrinsic
def queries_are_float32(typingctx, dtype):
    """Whether query rows and weights are float32 in the scratch memory, not bfloat16 pairs."""

    def codegen(context, builder, signature, args):
        native = _Products(builder, host_isa(), signature.args[0]).native
        return ir.Constant(ir.IntType(1), int(not native))

    return types.boolean(dtype), codegen


@intrinsic
def round_to(typingctx, value, dtype):
    """round_to(x, np.uint16): bfloat16 bits of a float32, nearest even; np.float32: x itself.

    A NaN stays a (quiet) NaN.
    """

    def codegen(context, builder, signature, args):
        if signature.return_type == types.float32:
            return args[0]
        bits = builder.bitcast(args[0], _I32)
        high = builder.lshr(bits, _integer(_I32, 16))
        bias = builder.add(builder.and_(high, _integer(_I32, 1)), _integer(_I32, 0x7FFF))
        rounded = builder.lshr(builder.add(bits, bias), _integer(_I32, 16))
        quiet = builder.or_(high, _integer(_I32, 0x40))
        is_nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.trunc(builder.select(is_nan, quiet, rounded), _I16)

    return dtype.dtype(types.float32, dtype), codegen


@intrinsic
def float32_of(typingctx, value):
    """Return the float32 of bfloat16 bits (uint16); a float32 as it is."""

    def codegen(context, builder, signature, args):
        if signature.args[0] == types.float32:
            return args[0]
        bits = builder.shl(builder.zext(args[0], _I32), _integer(_I32, 16))
        return builder.bitcast(bits, _F32)

    return types.float32(value), codegen
