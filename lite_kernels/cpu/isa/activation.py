"""Activations of gated MLPs as LLVM IR; every product and sum is rounded, on any ISA."""

import struct
from typing import Any

from llvmlite import ir

from lite_kernels.cpu.isa.emitter import Emitter

SILU, GELU, GELU_TANH = range(3)
ACTIVATIONS = {"silu": SILU, "gelu": GELU, "gelu_tanh": GELU_TANH}

_I32 = ir.IntType(32)
_F32 = ir.FloatType()
# Beyond these exp is not a normal float32; the result saturates there.
_EXP_LOWEST, _EXP_HIGHEST = -87.3, 88.7
_LOG2_E = 1.44269504088896341
# ln 2 in two parts, the first exact in few bits (Cephes expf).
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_ROUND = 12582912.0  # 1.5 * 2^23: adding and subtracting it rounds to an integer
_EXP = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
# Minimax polynomials by N. Juffa: log(1 - erf(t)) beyond _SMALL, erf(t)/t - 1 up to there.
_SMALL = 0.927734375
_LARGE_ERF = (
    -1.72853470e-5,
    3.83197126e-4,
    -3.88396438e-3,
    2.42546219e-2,
    -1.06777877e-1,
    -6.34846687e-1,
    -1.28717512e-1,
)
_SMALL_ERF = (
    -5.96761703e-4,
    4.99119423e-3,
    -2.67681349e-2,
    1.12819925e-1,
    -3.76125336e-1,
    1.28379166e-1,
)
_SQRT_HALF = 0.70710678118654752
_TANH_SCALE = 2.0 * 0.7978845608028654
_TANH_CUBE = 0.044715


def emit_activation(emitter: Emitter, activation: int, x: ir.Value) -> ir.Value:
    """Return the activation of a float vector.

    silu: x sigmoid(x). gelu: x Phi(x), Phi the normal distribution. gelu_tanh: x/2 (1 + tanh(u))
    = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
    """
    math = _Math(emitter)
    if activation == SILU:
        return math.times_sigmoid(x, x)
    if activation == GELU:
        half_x = math.mul(math.number(0.5), x)
        return math.mul(half_x, math.one_plus_erf(math.mul(x, math.number(_SQRT_HALF))))
    cube = math.mul(math.mul(math.mul(math.number(_TANH_CUBE), x), x), x)
    return math.times_sigmoid(x, math.mul(math.number(_TANH_SCALE), math.add(x, cube)))


class _Math:
    """Vector functions at the builder's position."""

    def __init__(self, emitter: Emitter) -> None:
        self._emit = emitter
        self._builder = emitter.builder
        self.add = emitter.builder.fadd
        self.sub = emitter.builder.fsub
        self.mul = emitter.builder.fmul

    def number(self, value: float) -> ir.Constant:
        """Return the nearest float32 in every lane."""
        (nearest,) = struct.unpack("f", struct.pack("f", value))
        return ir.Constant(self._emit.floats, [nearest] * self._emit.isa.lanes)

    def polynomial(self, coefficients: tuple[float, ...], x: ir.Value) -> ir.Value:
        """Evaluate by Horner's rule, highest power first."""
        total: Any = self.number(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.add(self.mul(total, x), self.number(coefficient))
        return total

    def choose(self, how: str, a: ir.Value, b: ir.Value, yes: Any, no: Any) -> ir.Value:
        """Return `yes` where a how b holds, else, and for a NaN, `no`."""
        return self._builder.select(self._builder.fcmp_ordered(how, a, b), yes, no)

    def exp(self, x: ir.Value) -> ir.Value:
        """Return e^x to 2e-7 relative, saturating outside [-87.3, 88.7]; NaN is not kept."""
        builder, ints = self._builder, self._emit.ints
        lowest, highest = self.number(_EXP_LOWEST), self.number(_EXP_HIGHEST)
        x = self.choose(">", x, lowest, x, lowest)
        x = self.choose("<", x, highest, x, highest)
        shift = self.number(_ROUND)
        n = self.sub(self.add(self.mul(x, self.number(_LOG2_E)), shift), shift)
        r = self.sub(x, self.mul(n, self.number(_LN2_HIGH)))
        r = self.sub(r, self.mul(n, self.number(_LN2_LOW)))
        p = self.mul(self.polynomial(_EXP, r), self.mul(r, r))
        p = self.add(self.add(p, r), self.number(1.0))

        def integers(value: int) -> ir.Constant:
            return ir.Constant(ints, [value] * self._emit.isa.lanes)

        exponent = builder.add(builder.fptosi(n, ints), integers(127))
        power = builder.bitcast(builder.shl(exponent, integers(23)), self._emit.floats)
        return self.mul(p, power)

    def times_sigmoid(self, x: ir.Value, u: ir.Value) -> ir.Value:
        """Return x / (1 + e^-u)."""
        below = self.add(self.number(1.0), self.exp(self._builder.fneg(u)))
        return self._builder.fdiv(x, below)

    def one_plus_erf(self, a: ir.Value) -> ir.Value:
        """Return 1 + erf(a) to 1e-7 absolute, without cancellation in the negative tail."""
        builder, ints = self._builder, self._emit.ints
        mask = ir.Constant(ints, [0x7FFFFFFF] * self._emit.isa.lanes)
        magnitude = builder.and_(builder.bitcast(a, ints), mask)
        t = builder.bitcast(magnitude, self._emit.floats)
        one = self.number(1.0)
        r = self.polynomial(_LARGE_ERF, t)
        tail = self.exp(self.sub(self.mul(r, t), t))
        r = self.polynomial(_SMALL_ERF, self.mul(t, t))
        near = self.add(one, self.add(self.mul(r, a), a))
        positive = self.sub(self.number(2.0), tail)
        far = self.choose(">", a, self.number(0.0), positive, tail)
        return self.choose(">", t, self.number(_SMALL), far, near)
