"""Blocks of weights, 32 k of 32 columns, to the quantized layout of `panel.py`.

One vector holds one k of all columns, so sums over k have one order on every CPU.
`lite_kernels/reference_quantized.py` specifies every bit.
"""

import dataclasses

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.panel import (
    GROUP_BYTES,
    INT4,
    INT8,
    PANEL,
    SCALES_BYTES,
    PanelFormat,
    panel_of,
)
from lite_kernels.dtypes import QUANTIZED_BLOCK

_I16 = ir.IntType(16)
_I64 = ir.IntType(64)
_ROUND = 12582912.0  # 1.5 * 2^23: adding it rounds to an integer, which the low bits then hold
_SMALLEST_NORMAL = 2.0**-14  # of float16
_TOO_LARGE = 65520.0  # for a float16
# In quarters: the value of largest magnitude comes to lie at -6.25, -6.5 .. -9 (`INT4_EXTREMES`).
_FIRST_EXTREME, _NUM_EXTREMES = 25, 12


class _Block:
    """Emits the quantization of one block; every value is a vector over the 32 columns."""

    def __init__(self, builder: ir.IRBuilder, weights: ir.Value, panel: PanelFormat) -> None:
        self._emit = Emitter(builder, dataclasses.replace(host_isa(), lanes=PANEL))
        self._builder = builder
        self._weights = weights
        self._panel = panel
        self._lowest, self._highest = (-127.0, 127.0) if panel is INT8 else (-8.0, 7.0)

    def store(self, out: ir.Value) -> None:
        """Write scales and integers."""
        emit, builder = self._emit, self._builder
        scales = self._int8_scales() if self._panel is INT8 else self._int4_scales()
        scales = builder.fadd(scales, emit.zero())  # -0 becomes 0
        bits = builder.trunc(self._float16_bits(scales), ir.VectorType(_I16, PANEL))
        emit.store(bits, out, 64)
        inverse = self._inverse(scales)
        quants = emit.offset(out, SCALES_BYTES)
        eight = emit.constant(8)

        def stored(k: ir.Value) -> ir.Value:
            value = self._round(self._load(k), inverse)
            # What is no number becomes 0; its scale says what it was.
            value = builder.select(builder.fcmp_ordered("ord", value, value), value, emit.zero())
            shifted = builder.fadd(value, self._number(_ROUND + self._panel.offset))
            return builder.and_(builder.bitcast(shifted, emit.ints), self._int(0xFF))

        def group(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            word = ir.Constant(emit.ints, [0] * PANEL)
            for i in range(4):
                k = builder.add(builder.mul(index, emit.constant(4)), emit.constant(i))
                byte = stored(k)
                if self._panel is INT4:
                    high = stored(builder.add(k, emit.constant(16)))
                    byte = builder.or_(byte, builder.shl(high, self._int(4)))
                word = builder.or_(word, builder.shl(byte, self._int(8 * i)))
            where = builder.add(quants, builder.mul(index, emit.constant(GROUP_BYTES)))
            emit.store(word, where, 64)
            return []

        emit.loop(eight if self._panel is INT8 else emit.constant(4), [], group)

    # --- scales ----------------------------------------------------------------------------

    def _int8_scales(self) -> ir.Value:
        """Return the largest magnitude / 127; a NaN is the largest of all."""
        emit, builder = self._emit, self._builder

        def body(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            bits = self._magnitude_bits(self._load(k))
            larger = builder.icmp_unsigned(">", bits, carried[0])
            return [builder.select(larger, bits, carried[0])]

        (largest,) = self._over_k([emit.zero_ints()], body)
        magnitude = builder.bitcast(largest, emit.floats)
        return self._to_float16(builder.fdiv(magnitude, self._number(127.0)))

    def _int4_scales(self) -> ir.Value:
        """Return the best of a dozen candidates and of one fitted to the best by least squares."""
        emit, builder = self._emit, self._builder

        def find(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            largest, extreme = carried
            value = self._load(k)
            bits = self._magnitude_bits(value)
            larger = builder.icmp_unsigned(">", bits, largest)
            return [
                builder.select(larger, bits, largest),
                builder.select(larger, value, extreme),
            ]

        _, extreme = self._over_k([emit.zero_ints(), emit.zero()], find)

        def candidate(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            quarters = builder.add(index, emit.constant(_FIRST_EXTREME))
            position = builder.fmul(
                builder.sitofp(quarters, ir.FloatType()), ir.Constant(ir.FloatType(), -0.25)
            )
            scales = self._to_float16(builder.fdiv(extreme, emit.broadcast(position)))
            return self._better(scales, *carried)

        start = [self._number(float("nan")), self._number(float("inf"))]
        best, least = emit.loop(emit.constant(_NUM_EXTREMES), start, candidate)
        inverse = self._inverse(best)

        def fit(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            weights = self._load(k)
            values = self._round(weights, inverse)
            return [
                builder.fadd(carried[0], builder.fmul(weights, values)),
                builder.fadd(carried[1], builder.fmul(values, values)),
            ]

        products, squares = self._over_k([emit.zero(), emit.zero()], fit)
        return self._better(self._to_float16(builder.fdiv(products, squares)), best, least)[0]

    def _better(self, scales: ir.Value, best: ir.Value, least: ir.Value) -> list[ir.Value]:
        """Return the scales with the smaller squared error, and that error."""
        builder = self._builder
        inverse = self._inverse(scales)

        def body(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            weights = self._load(k)
            values = self._round(weights, inverse)
            difference = builder.fsub(weights, builder.fmul(values, scales))
            return [builder.fadd(carried[0], builder.fmul(difference, difference))]

        (error,) = self._over_k([self._emit.zero()], body)
        improves = builder.fcmp_ordered("<", error, least)
        return [builder.select(improves, scales, best), builder.select(improves, error, least)]

    def _inverse(self, scales: ir.Value) -> ir.Value:
        """Return 1 / scale, and 0 for 0."""
        builder, zero = self._builder, self._emit.zero()
        is_zero = builder.fcmp_ordered("==", scales, zero)
        return builder.select(is_zero, zero, builder.fdiv(self._number(1.0), scales))

    def _round(self, weights: ir.Value, inverse: ir.Value) -> ir.Value:
        """Return the integers of a scale as floats: clipped, nearest, ties to even."""
        builder = self._builder
        value = builder.fmul(weights, inverse)
        # Unordered comparisons keep a NaN.
        lowest, highest = self._number(self._lowest), self._number(self._highest)
        value = builder.select(builder.fcmp_ordered("<", value, lowest), lowest, value)
        value = builder.select(builder.fcmp_ordered(">", value, highest), highest, value)
        shift = self._number(_ROUND)
        return builder.fsub(builder.fadd(value, shift), shift)

    # --- float16 ---------------------------------------------------------------------------

    def _to_float16(self, values: ir.Value) -> ir.Value:
        """Round to what a float16 holds; what is too large for one becomes NaN."""
        emit, builder = self._emit, self._builder
        bits = builder.bitcast(values, emit.ints)
        sign = builder.and_(bits, self._int(-0x80000000))
        magnitude_bits = self._magnitude_bits(values)
        magnitude = builder.bitcast(magnitude_bits, emit.floats)
        even = builder.and_(builder.lshr(magnitude_bits, self._int(13)), self._int(1))
        rounded = builder.add(magnitude_bits, builder.add(even, self._int(0xFFF)))
        rounded = builder.and_(rounded, self._int(-0x2000))
        half = self._number(0.5)  # its neighbours are as far apart as float16's subnormals
        subnormal = builder.fsub(builder.fadd(magnitude, half), half)
        is_small = builder.fcmp_ordered("<", magnitude, self._number(_SMALLEST_NORMAL))
        rounded = builder.select(is_small, builder.bitcast(subnormal, emit.ints), rounded)
        result = builder.bitcast(builder.or_(rounded, sign), emit.floats)
        fits = builder.fcmp_ordered("<", magnitude, self._number(_TOO_LARGE))
        return builder.select(fits, result, self._number(float("nan")))

    def _float16_bits(self, values: ir.Value) -> ir.Value:
        """Return the float16 bit patterns of what `_to_float16` yields."""
        emit, builder = self._emit, self._builder
        sign = builder.lshr(builder.bitcast(values, emit.ints), self._int(16))
        sign = builder.and_(sign, self._int(0x8000))
        magnitude_bits = self._magnitude_bits(values)
        magnitude = builder.bitcast(magnitude_bits, emit.floats)
        normal = builder.sub(builder.lshr(magnitude_bits, self._int(13)), self._int(112 << 10))
        shifted = builder.fadd(magnitude, self._number(0.5))
        subnormal = builder.and_(builder.bitcast(shifted, emit.ints), self._int(0x3FF))
        is_small = builder.fcmp_ordered("<", magnitude, self._number(_SMALLEST_NORMAL))
        bits = builder.or_(builder.select(is_small, subnormal, normal), sign)
        is_number = builder.fcmp_ordered("ord", values, values)
        return builder.select(is_number, bits, self._int(0x7E00))

    # --- vectors ---------------------------------------------------------------------------

    def _over_k(self, start, body):
        return self._emit.loop(self._emit.constant(QUANTIZED_BLOCK), start, body)

    def _load(self, k: ir.Value) -> ir.Value:
        offset = self._builder.mul(k, self._emit.constant(4 * PANEL))
        return self._emit.load(self._builder.add(self._weights, offset), self._emit.floats, 64)

    def _magnitude_bits(self, values: ir.Value) -> ir.Value:
        bits = self._builder.bitcast(values, self._emit.ints)
        return self._builder.and_(bits, self._int(0x7FFFFFFF))

    def _number(self, value: float) -> ir.Constant:
        return ir.Constant(self._emit.floats, [value] * PANEL)

    def _int(self, value: int) -> ir.Constant:
        return ir.Constant(self._emit.ints, [value] * PANEL)


def _define(module: ir.Module, panel: PanelFormat) -> ir.Function:
    """Define void f(weights, out), once per module."""
    name = f"lite_quantize_{panel.name}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * 2), name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    _Block(builder, function.args[0], panel).store(function.args[1])
    builder.ret_void()
    return function


@intrinsic
def quantize_block(typingctx, dtype, weights, out):
    """Quantize float32 [32 k][32 columns], 64-byte aligned, to a step of a panel.

    dtype: np.int8, or np.uint8 for int4.
    """
    panel = panel_of(dtype)

    def codegen(context, builder, signature, args):
        builder.call(_define(builder.module, panel), args[1:])
        return context.get_dummy_value()

    return types.void(dtype, types.int64, types.int64), codegen
