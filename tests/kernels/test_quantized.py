"""Quantized linears on the CPU against the reference, bit for bit, and their batch invariance.

Runs with the ISA that `LITE_CPU_ISA` names; `test_instruction_sets.py` repeats it for every one.
"""

import numpy as np
import pytest

import lite_kernels
from lite_kernels import reference_quantized as reference
from lite_kernels.cpu.isa import host_isa
from lite_kernels.dtypes import QUANTIZATIONS, from_bfloat16, to_bfloat16, to_float32

EPS = 1e-6
SHAPES = [(64, 64), (33, 31), (129, 33), (1, 1), (70, 151), (320, 32)]
MAX_ROWS = 70


class Setup:
    """One set of kernels, and the rows and weights that they take."""

    def __init__(self, dtype, num_threads=2):
        self.kernels = lite_kernels.load("cpu", dtype=dtype, num_threads=num_threads)
        self.floats = lite_kernels.load("cpu", dtype="float32", num_threads=1)
        self.dtype = dtype
        self.rng = np.random.default_rng(11)

    def close(self):
        self.kernels.close()
        self.floats.close()

    def normal(self, *shape):
        """Standard normal numbers, rows of different size, and one row of zeros."""
        values = self.rng.standard_normal(shape, dtype=np.float32)
        if values.ndim > 1:
            values *= np.float32(10.0) ** self.rng.integers(-3, 4, (shape[0], 1))
            values[len(values) // 2] = 0
        return values

    def act(self, values):
        return to_bfloat16(values) if self.dtype == "bfloat16" else values.astype(np.float32)

    def exact(self, act):
        return from_bfloat16(act) if self.dtype == "bfloat16" else act

    def linear_add(self, act, linear):
        residual = np.zeros((len(act), linear.out_features), np.float32)
        self.kernels.linear_add(act, linear, residual)
        return residual

    def norm_linear(self, x, weight, linear):
        out = self.kernels.empty((len(x), linear.out_features), "float32")
        self.kernels.norm_linear(x, weight, EPS, linear, out)
        return out

    def normed(self, x, weight):
        """What enters a product, seen through a float32 identity: exact."""
        identity = self.floats.pack_linear([np.eye(x.shape[1], dtype=np.float32)])
        out = self.floats.empty(x.shape, "float32")
        self.floats.norm_linear(x, weight, EPS, identity, out)
        return out


@pytest.fixture(scope="module", params=["bfloat16", "float32"])
def setup(request):
    setup = Setup(request.param)
    yield setup
    setup.close()


def product(rows, weight):
    """The reference's product with the rounding of this ISA."""
    fused = host_isa().has_fma
    return reference.multiply(reference.quantize_rows(rows), weight, fused=fused)


def unpack(linear):
    """Return float16 scales [columns, G] and integers [columns, G, 32] in panel order."""
    panels = linear.weights.reshape(linear.num_panels, linear.num_steps, linear.panel.step_bytes)
    scales = np.ascontiguousarray(panels[..., :64]).view(np.float16)
    quants = panels[..., 64:]
    if linear.panel.name == "int8":
        values = quants.reshape(*panels.shape[:2], 8, 32, 4).astype(np.int32) - 128
    else:
        groups = quants.reshape(*panels.shape[:2], 4, 32, 4)
        values = np.concatenate([groups & 15, groups >> 4], axis=2).astype(np.int32) - 8
    values = values.transpose(0, 3, 1, 2, 4)
    num_columns = 32 * linear.num_panels
    return (
        scales.transpose(0, 2, 1).reshape(num_columns, -1),
        values.reshape(num_columns, -1, 32),
    )


def assert_packed(linear, columns, expected):
    """Compare the columns of a packed linear with a weight that the reference quantized."""
    scales, values = unpack(linear)
    np.testing.assert_array_equal(scales.view(np.uint16)[columns], expected.scales.view(np.uint16))
    np.testing.assert_array_equal(values[columns], expected.values)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_weights_of_every_source_dtype_are_quantized_as_the_reference_does(
    setup, quantization, source, k, n
):
    weight = setup.normal(n, k)
    weight = to_bfloat16(weight) if source == "bfloat16" else weight.astype(source)
    linear = setup.kernels.pack_linear([weight], quantization=quantization)
    expected = reference.quantize_weight(to_float32(weight), quantization)
    assert_packed(linear, slice(0, n), expected)
    scales, values = unpack(linear)
    assert not scales[n:].any()
    assert not values[n:].any()


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_extreme_weights_are_quantized_as_the_reference_does(setup, quantization):
    largest = 65504.0 * (127 if quantization == "int8" else 9)
    rows = [
        np.zeros(32),
        np.full(32, -0.0),
        np.full(32, np.nan),
        np.where(np.arange(32) == 7, np.inf, 1.0),
        np.where(np.arange(32) == 7, -np.inf, np.nan),
        np.full(32, largest * 0.999),
        np.full(32, largest * 1.01),
        np.full(32, 3e38),
        np.where(np.arange(32) == 31, -1.0, 1.0),
        np.where(np.arange(32) == 31, 1.0, 1e-30),
        *(np.linspace(-1, 0.9, 32) * 2.0**-exponent for exponent in range(0, 45)),
        np.linspace(-1, 1, 32) * 1e-40,
        (np.arange(32) % 16 - 8) * 0.37,
    ]
    weight = np.array(rows, np.float32)
    linear = setup.kernels.pack_linear([weight], quantization=quantization)
    expected = reference.quantize_weight(weight, quantization)
    assert_packed(linear, slice(0, len(rows)), expected)
    assert np.isnan(expected.scales[[2, 3, 4, 6, 7]]).all()
    assert np.isfinite(expected.scales[[0, 1, 5, 8, 9]]).all()


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_products_have_the_reference_bits_for_any_number_of_rows(setup, quantization, k, n):
    w = setup.normal(n, k)
    linear = setup.kernels.pack_linear([w], quantization=quantization)
    act = setup.act(setup.normal(MAX_ROWS, k))
    expected = product(setup.exact(act), reference.quantize_weight(w, quantization))
    for num_rows in range(1, MAX_ROWS + 1):
        got = setup.linear_add(act[:num_rows], linear)
        np.testing.assert_array_equal(got, expected[:num_rows])


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_norm_linear_quantizes_the_normed_rows(setup, quantization, k, n):
    w, bias, weight = setup.normal(n, k), setup.normal(n), setup.normal(k)
    linear = setup.kernels.pack_linear([w], [bias], quantization=quantization)
    x = setup.normal(9, k)
    normed = setup.normed(x, weight)
    expected = product(normed, reference.quantize_weight(w, quantization)) + bias
    np.testing.assert_array_equal(setup.norm_linear(x, weight, linear), expected)
    rows = np.array([8, 0, 3, 3], np.int32)
    out = setup.kernels.empty((4, n), "float32")
    setup.kernels.logits(x, rows, weight, EPS, linear, out)
    np.testing.assert_array_equal(out, expected[rows])


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_norm_gated_linear_multiplies_activation_and_up(setup, quantization, k, n):
    # Small enough that no gate saturates.
    gate, up = setup.rng.standard_normal((2, n, k), dtype=np.float32) / 4
    weight = setup.normal(k)
    linear = setup.kernels.pack_gated_linear(gate, up, quantization=quantization)
    quantized = [reference.quantize_weight(w, quantization) for w in (gate, up)]
    columns = np.arange(n) // 16 * 32 + np.arange(n) % 16
    assert_packed(linear, columns, quantized[0])
    assert_packed(linear, columns + 16, quantized[1])
    x = setup.normal(9, k)
    normed = setup.normed(x, weight)
    g, u = (product(normed, w).astype(np.float64) for w in quantized)
    expected = g / (1 + np.exp(-g)) * u
    out = setup.kernels.empty((9, n), "act")
    setup.kernels.norm_gated_linear(x, weight, EPS, linear, "silu", out)
    relative = 2.0**-8 if setup.dtype == "bfloat16" else 1e-6
    np.testing.assert_allclose(setup.exact(out), expected, rtol=relative, atol=1e-30)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_row_that_is_no_number_makes_only_its_own_outputs_nan(setup, quantization):
    w = setup.normal(40, 96)
    linear = setup.kernels.pack_linear([w], quantization=quantization)
    x = setup.rng.standard_normal((8, 96), dtype=np.float32)
    clean = setup.linear_add(setup.act(x), linear)
    x[2, 50], x[4, 95], x[5, :] = np.nan, np.inf, -np.inf
    got = setup.linear_add(setup.act(x), linear)
    assert np.isnan(got[[2, 4, 5]]).all()
    others = [0, 1, 3, 6, 7]
    np.testing.assert_array_equal(got[others], clean[others])


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_extreme_rows_are_quantized_as_the_reference_does(quantization):
    setup = Setup("float32")
    w = setup.rng.standard_normal((33, 64), dtype=np.float32)
    linear = setup.kernels.pack_linear([w], quantization=quantization)
    x = setup.rng.standard_normal((130, 64), dtype=np.float32)
    x *= np.float32(2.0) ** np.arange(-120, 10, dtype=np.float32)[:, None]
    x[100] *= 1e30
    x[101] *= 1e-38
    expected = product(x, reference.quantize_weight(w, quantization))
    np.testing.assert_array_equal(setup.linear_add(x, linear), expected)
    setup.close()


def results(setup, x, act, linears, rows):
    """Every product of the given rows, in one batch."""
    plain, gated, weight = linears
    normed = setup.norm_linear(np.ascontiguousarray(x[rows]), weight, plain)
    added = setup.linear_add(np.ascontiguousarray(act[rows]), plain)
    activated = setup.kernels.empty((len(rows), gated.out_features), "act")
    setup.kernels.norm_gated_linear(
        np.ascontiguousarray(x[rows]), weight, EPS, gated, "silu", activated
    )
    return normed, added, activated


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize(("k", "n"), [(256, 151), (33, 40)])
def test_a_row_has_the_same_bits_in_every_batch(setup, quantization, k, n):
    x, weight = setup.normal(40, k), setup.normal(k)
    act = setup.act(setup.normal(40, k))
    plain = setup.kernels.pack_linear(
        [setup.normal(n, k)], [setup.normal(n)], quantization=quantization
    )
    gated = setup.kernels.pack_gated_linear(
        setup.normal(n, k), setup.normal(n, k), quantization=quantization
    )
    linears = (plain, gated, weight)
    whole = results(setup, x, act, linears, np.arange(40))
    for size in range(1, 41):
        rows = setup.rng.permutation(40)[:size]
        for all_rows, some in zip(whole, results(setup, x, act, linears, rows), strict=True):
            assert np.array_equal(all_rows[rows], some)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_large_product_is_split_over_blocks_of_rows_without_changing_bits(setup, quantization):
    linear = setup.kernels.pack_linear([setup.normal(40, 24_000)], quantization=quantization)
    act = setup.act(setup.normal(130, 24_000))
    whole = setup.linear_add(act, linear)
    for row in (0, 47, 64, 129):
        assert np.array_equal(whole[row], setup.linear_add(act[row : row + 1], linear)[0])


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_results_do_not_depend_on_the_number_of_threads(quantization):
    outputs = []
    for num_threads in (1, 2, 3):
        setup = Setup("bfloat16", num_threads)
        x, weight = setup.normal(20, 96), setup.normal(96)
        act = setup.act(setup.normal(20, 96))
        plain = setup.kernels.pack_linear([setup.normal(300, 96)], quantization=quantization)
        gated = setup.kernels.pack_gated_linear(
            setup.normal(300, 96), setup.normal(300, 96), quantization=quantization
        )
        outputs.append(results(setup, x, act, (plain, gated, weight), np.arange(20)))
        setup.close()
    for other in outputs[1:]:
        for first, second in zip(outputs[0], other, strict=True):
            assert np.array_equal(first, second)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_stacked_projections_equal_separate_ones(setup, quantization):
    parts = [setup.normal(n, 50) for n in (5, 40, 33)]
    act = setup.act(setup.normal(3, 50))
    pack = setup.kernels.pack_linear
    together = setup.linear_add(act, pack(parts, quantization=quantization))
    separate = [setup.linear_add(act, pack([part], quantization=quantization)) for part in parts]
    assert np.array_equal(together, np.concatenate(separate, axis=1))


def test_embeddings_are_read_from_an_int8_head(setup):
    weight = setup.normal(77, 45)
    head = setup.kernels.pack_linear([weight], quantization="int8")
    ids = np.array([76, 0, 31, 32, 32], np.int32)
    out = setup.kernels.empty((5, 45), "float32")
    setup.kernels.embed(ids, head, out)
    np.testing.assert_array_equal(out, reference.quantize_weight(weight, "int8").dequantize()[ids])


def test_an_int4_linear_is_refused_as_an_embedding(setup):
    linear = setup.kernels.pack_linear([setup.normal(8, 32)], quantization="int4")
    with pytest.raises(ValueError, match="pack it as int8"):
        setup.kernels.embed(np.zeros(1, np.int32), linear, setup.kernels.empty((1, 32), "float32"))


@pytest.mark.parametrize("quantization", [None, *QUANTIZATIONS])
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_memory_is_planned_to_the_byte(setup, quantization, k, n):
    w = setup.normal(n, k)
    plain = setup.kernels.pack_linear([w], quantization=quantization)
    assert setup.kernels.linear_nbytes(n, k, quantization) == plain.nbytes
    gated = setup.kernels.pack_gated_linear(w, w, quantization=quantization)
    assert setup.kernels.linear_nbytes(n, k, quantization, gated=True) == gated.nbytes


def test_an_unknown_quantization_is_refused_by_name(setup):
    w = setup.normal(4, 4)
    with pytest.raises(ValueError, match="'int3' is not supported; choose one of int8, int4"):
        setup.kernels.pack_linear([w], quantization="int3")
    with pytest.raises(ValueError, match="'q8' is not supported"):
        setup.kernels.pack_gated_linear(w, w, quantization="q8")
    with pytest.raises(ValueError, match="'q8' is not supported"):
        setup.kernels.linear_nbytes(4, 4, "q8")
