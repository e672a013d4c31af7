"""The executable specification of quantized linears, in plain NumPy, exact to the bit.

Weights [N, K] become blocks of 32 inputs with a float16 scale each; rows that enter a product
become blocks of int8 with a float32 scale each; a product sums each block exactly and adds the
blocks in ascending order with one rounding each.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lite_kernels.dtypes import QUANTIZATIONS, QUANTIZED_BLOCK, Float32Array

_ONE = np.float32(1.0)
_TINY = np.float32(2.0**-100)
# Where the value of largest magnitude may come to lie on int4's scale, which starts at -8.
INT4_EXTREMES = tuple(np.float32(-quarters / 4) for quarters in range(25, 37))


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """scale * value: float16 [N, G] scales, int8 [N, G, 32] values; K is padded with zeros."""

    scales: npt.NDArray[np.float16]
    values: npt.NDArray[np.int8]
    in_features: int

    def dequantize(self) -> Float32Array:
        """Return the weights as float32 [N, K]."""
        weights = self.values * self.scales.astype(np.float32)[..., None]
        return weights.reshape(len(weights), -1)[:, : self.in_features]


@dataclass(frozen=True, slots=True)
class QuantizedRows:
    """scale * value: float32 [T, G] scales, int8 [T, G, 32] values; or [...] and [..., D]."""

    scales: Float32Array
    values: npt.NDArray[np.int8]


def quantized_row_nbytes(in_features: int, quantization: str) -> int:
    """Return the bytes of one output's weights: integers and scales."""
    _check(quantization)
    num_blocks = -(-in_features // QUANTIZED_BLOCK)
    return num_blocks * (2 + QUANTIZED_BLOCK // (1 if quantization == "int8" else 2))


def quantize_weight(weight: Float32Array, quantization: str) -> QuantizedWeight:
    """Quantize float32 [N, K] to "int8" or "int4".

    A block with a NaN, an infinity, or values too large for its scale (int8 8.3e6, int4 4e5) gets
    the scale NaN, so that no finite result hides them.
    """
    _check(quantization)
    blocks = _blocks(weight)
    with np.errstate(all="ignore"):
        scales = _int8_scales(blocks) if quantization == "int8" else _int4_scales(blocks)
        limits = (-127, 127) if quantization == "int8" else (-8, 7)
        values = _round(blocks, scales, *limits).astype(np.int8)
    return QuantizedWeight(scales.astype(np.float16), values, weight.shape[1])


def quantize_rows(x: Float32Array) -> QuantizedRows:
    """Quantize float32 [T, K]: scale absmax / 127, values round(127 x / absmax), ties to even.

    A block with a NaN or an infinity gets the scale NaN; one below 2^-100 becomes zeros.
    """
    return quantize_vectors(_blocks(x))


def quantize_vectors(x: Float32Array) -> QuantizedRows:
    """Quantize float32 [..., D] as `quantize_rows` does, with one scale for the last axis."""
    with np.errstate(all="ignore"):
        largest = np.abs(x).max(axis=-1)
        is_tiny = largest < _TINY
        inverse = np.where(is_tiny, np.float32(0), np.float32(127) / largest)
        scales = np.where(is_tiny, np.float32(0), largest / np.float32(127))
        scales = np.where(np.isfinite(largest), scales, np.float32(np.nan))
        values = np.nan_to_num(np.rint(x * inverse[..., None])).astype(np.int8)
    return QuantizedRows(scales.astype(np.float32), values)


def multiply(rows: QuantizedRows, weight: QuantizedWeight, *, fused: bool = True) -> Float32Array:
    """Return rows @ weight.T as float32 [T, N].

    Args:
        fused: add a block with one rounding, as a fused multiply-add does; else with two.
    """
    out = np.zeros((len(rows.scales), len(weight.scales)), np.float32)
    weight_scales = weight.scales.astype(np.float32)
    with np.errstate(all="ignore"):
        for block in range(weight.scales.shape[1]):
            sums = rows.values[:, block].astype(np.int32) @ weight.values[:, block].T.astype(
                np.int32
            )
            scales = rows.scales[:, block, None] * weight_scales[:, block]
            if fused:
                out = fused_multiply_add(sums.astype(np.float32), scales, out)
            else:
                out = sums.astype(np.float32) * scales + out
    return out


def _check(quantization: str) -> None:
    if quantization not in QUANTIZATIONS:
        known = ", ".join(QUANTIZATIONS)
        raise ValueError(f"quantization {quantization!r} is not supported; choose one of {known}")


def _blocks(values: Float32Array) -> Float32Array:
    """Return [N, K] as [N, G, 32], padded with zeros."""
    num_rows, size = values.shape
    padded = np.zeros((num_rows, -(-size // QUANTIZED_BLOCK) * QUANTIZED_BLOCK), np.float32)
    padded[:, :size] = values
    return padded.reshape(num_rows, -1, QUANTIZED_BLOCK)


def _to_float16(scales: Float32Array) -> Float32Array:
    """Round to what a float16 holds; what is too large for one becomes NaN."""
    rounded = scales.astype(np.float16).astype(np.float32)
    return np.where(np.isinf(rounded), np.float32(np.nan), rounded)


def _round(blocks: Float32Array, scales: Float32Array, lowest: int, highest: int) -> Float32Array:
    """Return the integers of a scale, as float32; a scale that is no number gives zeros."""
    inverse = np.where(scales == 0, np.float32(0), _ONE / scales)
    scaled = np.nan_to_num(blocks * inverse[..., None], nan=0.0)
    return np.rint(np.clip(scaled, np.float32(lowest), np.float32(highest)))


def _int8_scales(blocks: Float32Array) -> Float32Array:
    return _to_float16(np.abs(blocks).max(axis=-1) / np.float32(127))


def _int4_scales(blocks: Float32Array) -> Float32Array:
    """Return the scales with the least squared error among a dozen, and one more fitted to it.

    In each of the dozen the value of largest magnitude lies at one of `INT4_EXTREMES`. The last
    candidate fits the integers of the best one by least squares.
    """
    where = np.abs(blocks).argmax(axis=-1)[..., None]
    extreme = np.take_along_axis(blocks, where, axis=-1)[..., 0]
    best = np.full(extreme.shape, np.nan, np.float32)
    least = np.full(extreme.shape, np.inf, np.float32)
    for position in INT4_EXTREMES:
        best, least = _better(blocks, _to_float16(extreme / position), best, least)
    values = _round(blocks, best, -8, 7)
    products, squares = np.zeros_like(best), np.zeros_like(best)
    for k in range(QUANTIZED_BLOCK):
        products = products + blocks[..., k] * values[..., k]
        squares = squares + values[..., k] * values[..., k]
    best = _better(blocks, _to_float16(products / squares), best, least)[0]
    return best + np.float32(0)  # -0 becomes 0


def _better(
    blocks: Float32Array, scales: Float32Array, best: Float32Array, least: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """Return the better scales and their squared errors, summed in ascending k."""
    values = _round(blocks, scales, -8, 7)
    error = np.zeros_like(scales)
    for k in range(QUANTIZED_BLOCK):
        difference = blocks[..., k] - values[..., k] * scales
        error = error + difference * difference
    improves = error < least
    return np.where(improves, scales, best), np.where(improves, error, least)


def fused_multiply_add(a: Float32Array, b: Float32Array, c: Float32Array) -> Float32Array:
    """Return a * b + c with one rounding, for integers |a| < 2^24.

    The product is exact in float64. The sum is rounded to odd there, which keeps what the
    second rounding needs (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums").
    """
    product, addend = a.astype(np.float64) * b, c.astype(np.float64)
    total = product + addend
    shadow = total - product
    error = (product - (total - shadow)) + (addend - shadow)
    is_even = (total.view(np.int64) & 1) == 0
    neighbour = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    total = np.where((error != 0) & is_even & np.isfinite(total), neighbour, total)
    return total.astype(np.float32)
