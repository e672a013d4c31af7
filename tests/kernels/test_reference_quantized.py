"""The specification of quantized linears, against exact arithmetic and plainer schemes."""

from fractions import Fraction

import numpy as np
import pytest

import lite_kernels
from lite_kernels import reference_quantized as reference
from lite_kernels.dtypes import QUANTIZATIONS


def plain_int4(weight):
    """Quantize as Q4_0 does: the value of largest magnitude becomes -8."""
    blocks = weight.reshape(len(weight), -1, 32)
    where = np.abs(blocks).argmax(axis=-1)[..., None]
    scales = (np.take_along_axis(blocks, where, axis=-1)[..., 0] / -8).astype(np.float16)
    scales = scales.astype(np.float32)[..., None]
    return (np.clip(np.rint(blocks / scales), -8, 7) * scales).reshape(weight.shape)


def squared_error(weight, quantized):
    return float(((weight.astype(np.float64) - quantized) ** 2).sum())


def test_the_fused_multiply_add_rounds_once():
    rng = np.random.default_rng(5)
    a = rng.integers(-(2**21), 2**21, 20_000).astype(np.float32)
    b = (rng.standard_normal(20_000) * 2.0 ** rng.integers(-40, 10, 20_000)).astype(np.float32)
    product = a.astype(np.float64) * b
    # Addends that nearly cancel the product, or that lie near a tie of the last rounding.
    near = (-product * (1 + rng.integers(-3, 4, 20_000) * 2.0**-23)).astype(np.float32)
    far = (product * 2.0 ** rng.integers(-26, 27, 20_000)).astype(np.float32)
    for c in (near, far, np.zeros_like(a)):
        got = reference.fused_multiply_add(a, b, c)
        for i in range(0, 20_000, 25):
            exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
            error = abs(Fraction(float(got[i])) - exact)
            for neighbour in np.nextafter(got[i], np.float32([-np.inf, np.inf])):
                other = abs(Fraction(float(neighbour)) - exact)
                assert error < other or (error == other and got[i].view(np.uint32) % 2 == 0)


@pytest.mark.parametrize("distribution", ["standard_normal", "laplace", "uniform"])
def test_int4_loses_less_than_the_plain_scheme_does(distribution):
    rng = np.random.default_rng(3)
    weight = getattr(rng, distribution)(size=(200, 256)).astype(np.float32) - np.float32(0.1)
    quantized = reference.quantize_weight(weight, "int4").dequantize()
    ratio = squared_error(weight, quantized) / squared_error(weight, plain_int4(weight))
    assert ratio < 0.94
    blocks = (200, 8, 32)
    errors = ((weight - quantized) ** 2).reshape(blocks).sum(-1)
    plain = ((weight - plain_int4(weight)) ** 2).reshape(blocks).sum(-1)
    assert np.all(errors <= plain * (1 + 1e-5))


def test_weights_on_the_grid_of_q4_0_are_kept_exactly():
    rng = np.random.default_rng(4)
    values = rng.integers(-8, 8, (50, 4, 32))
    values[..., 9] = -8
    scales = rng.standard_normal((50, 4, 1)).astype(np.float16).astype(np.float32)
    weight = (values * scales).astype(np.float32).reshape(50, 128)
    quantized = reference.quantize_weight(weight, "int4")
    np.testing.assert_array_equal(quantized.dequantize(), weight)


def test_an_int8_weight_is_off_by_half_a_step_at_most():
    weight = np.random.default_rng(6).standard_normal((100, 320), dtype=np.float32)
    quantized = reference.quantize_weight(weight, "int8")
    assert np.abs(quantized.values.astype(np.int32)).max() == 127
    steps = np.repeat(quantized.scales.astype(np.float64), 32, axis=1)
    # The scale is rounded to 11 bits, so the largest value may be clipped by 127 / 2048 of a step.
    error = np.abs(weight.astype(np.float64) - quantized.dequantize())
    assert np.all(error <= (0.5 + 127 / 2048) * steps)
    inner = np.abs(weight) < 126 * steps
    assert np.all(error[inner] <= 0.5001 * steps[inner])


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_product_is_close_to_that_of_the_dequantized_factors(quantization):
    rng = np.random.default_rng(8)
    weight = rng.standard_normal((60, 100), dtype=np.float32)
    x = rng.standard_normal((5, 100), dtype=np.float32)
    quantized, rows = reference.quantize_weight(weight, quantization), reference.quantize_rows(x)
    values = (rows.values * rows.scales.astype(np.float64)[..., None]).reshape(5, -1)[:, :100]
    assert np.all(np.abs(values - x) <= 0.5001 * np.repeat(rows.scales, 32, axis=1)[:, :100])
    exact = values @ quantized.dequantize().T.astype(np.float64)
    bound = 4 * 2.0**-24 * 4 * (np.abs(values) @ np.abs(quantized.dequantize()).T)
    for fused in (True, False):
        got = reference.multiply(rows, quantized, fused=fused)
        assert np.all(np.abs(got - exact) <= bound)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_reference_backend_applies_quantized_linears(quantization, dtype):
    kernels = lite_kernels.load("reference", dtype=dtype)
    rng = np.random.default_rng(9)
    w, bias = rng.standard_normal((20, 70), dtype=np.float32), np.arange(20, dtype=np.float32)
    linear = kernels.pack_linear([w[:5], w[5:]], [bias[:5], bias[5:]], quantization=quantization)
    assert (linear.out_features, linear.in_features) == (20, 70)
    assert linear.nbytes == kernels.linear_nbytes(20, 70, quantization) + bias.nbytes
    x, weight = rng.standard_normal((3, 70), dtype=np.float32), np.ones(70, np.float32)
    out = kernels.empty((3, 20), "float32")
    kernels.norm_linear(x, weight, 1e-6, linear, out)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True)) @ w.T + bias
    largest = np.abs(expected).max()
    np.testing.assert_allclose(
        out, expected, atol=largest * (0.01 if quantization == "int8" else 0.15)
    )
    table = kernels.empty((2, 70), "float32")
    kernels.embed(np.array([19, 4], np.int32), linear, table)
    np.testing.assert_allclose(table, w[[19, 4]], atol=0.02 if quantization == "int8" else 0.3)
