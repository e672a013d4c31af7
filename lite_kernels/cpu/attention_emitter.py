"""What the micro-kernels of attention share: vectors of 16 lanes, their sizes and reductions."""

import dataclasses
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.isa.emitter import BFloat, Emitter
from lite_kernels.cpu.isa.memory import declare

# Keys a softmax step takes together: four tiles.
STEP_TILES = 4
STEP_KEYS = 64
# The running maximum before any key was seen: the least finite float32, so that differences are
# never NaN.
NO_MAXIMUM = -float.fromhex("0x1.fffffep127")

I8 = ir.IntType(8)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
F32 = ir.FloatType()
V16F = ir.VectorType(F32, 16)
V16I = ir.VectorType(I32, 16)
LANES = 16
LINE_BYTES = 64


def int64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def floats(value: float) -> ir.Constant:
    return ir.Constant(V16F, [value] * LANES)


def ints(value: int) -> ir.Constant:
    return ir.Constant(V16I, [value] * LANES)


@dataclasses.dataclass(frozen=True)
class AttentionEmitter(Emitter):
    """Emits vectors of 16 lanes whatever the ISA; LLVM splits them where registers are narrower."""

    @property
    def width(self) -> int:
        """Tiles that are multiplied at once: 6 rows x 4 fill 24 of AVX-512's 32 registers."""
        return STEP_TILES if self.isa.num_accumulators >= 6 * STEP_TILES else 1

    def add(self, base: Any, *offsets: Any) -> Any:
        for offset in offsets:
            base = self.builder.add(base, offset if isinstance(offset, ir.Value) else int64(offset))
        return base

    def scale(self, value: Any, factor: Any) -> Any:
        return self.builder.mul(value, factor if isinstance(factor, ir.Value) else int64(factor))

    def maximum(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def fold(self, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """Reduce 16 lanes as a fixed tree: lane i with lane i + 8, then 4, 2, 1."""
        undefined = ir.Constant(vector.type, ir.Undefined)
        for half in (8, 4, 2, 1):
            lanes = [(i + half) % LANES for i in range(LANES)]
            moved = self.builder.shuffle_vector(vector, undefined, ir.Constant(V16I, lanes))
            vector = combine(vector, moved)
        return self.builder.extract_element(vector, ir.Constant(I32, 0))

    def exp(self, x: Any) -> Any:
        """Emit e ** x for x <= 0 (Cephes expf): 2e-7 relative, exact at 0, NaN for NaN."""
        builder = self.builder
        low = builder.fcmp_ordered("<", x, floats(-87.0))
        x = builder.select(low, floats(-87.0), x)
        # Adding 1.5 * 2**23 leaves the rounded integer in the low bits.
        shifted = builder.fadd(builder.fmul(x, floats(1.44269504)), floats(12582912.0))
        n = builder.fsub(shifted, floats(12582912.0))
        r = self.multiply_add(n, floats(-0.693359375), x)
        r = self.multiply_add(n, floats(2.12194440e-4), r)
        p = floats(1.9875691500e-4)
        for coefficient in (
            1.3981999507e-3,
            8.3334519073e-3,
            4.1665795894e-2,
            1.6666665459e-1,
            5.0000001201e-1,
        ):
            p = self.multiply_add(p, r, floats(coefficient))
        y = self.multiply_add(p, builder.fmul(r, r), builder.fadd(r, floats(1.0)))
        bits = builder.shl(builder.bitcast(shifted, V16I), ints(23))
        power = builder.bitcast(builder.add(bits, ints(0x3F800000)), V16F)
        return builder.fmul(y, power)

    def narrow(self, vector: Any) -> Any:
        """Round 16 float32 to bfloat16."""
        bfloats = ir.VectorType(BFloat(), LANES)
        name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
        function = declare(self.builder.module, name, bfloats, [V16F])
        return self.builder.call(function, [vector])


def wide_isa() -> Any:
    """Return this process's ISA as one of 16 lanes."""
    return dataclasses.replace(host_isa(), lanes=LANES)


def column_widths(num_rows: int) -> list[int]:
    """Return how many vectors of a row are accumulated at once, widest first.

    PERF: few rows take all columns of a head at once, so that memory is read in its order.
    """
    isa = host_isa()
    most = isa.num_accumulators * isa.lanes // LANES // num_rows
    return [width for width in (8, 4, 1) if width == 1 or width <= most]
