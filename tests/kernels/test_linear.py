"""Linear layers, norms and embeddings on the CPU against float64, and their batch invariance.

Runs with the ISA that `LITE_CPU_ISA` names; `test_instruction_sets.py` repeats it for every one.
"""

import math

import numpy as np
import pytest

import lite_kernels
from lite_kernels.dtypes import from_bfloat16, to_bfloat16

EPS = 1e-6
SHAPES = [(64, 64), (33, 31), (128, 33), (1, 1), (70, 151), (2, 32)]
ROWS = [1, 2, 3, 6, 7, 12, 13, 25, 40]
ACTIVATIONS = {
    "silu": lambda g: g / (1 + np.exp(-g)),
    "gelu": lambda g: 0.5 * g * (1 + np.vectorize(math.erf)(g / math.sqrt(2))),
    "gelu_tanh": lambda g: 0.5 * g * (1 + np.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3))),
}


class Setup:
    """One set of kernels with the conversions of its dtype."""

    def __init__(self, dtype, num_threads=2):
        self.kernels = lite_kernels.load("cpu", dtype=dtype, num_threads=num_threads)
        self.dtype = dtype
        self.epsilon = 2.0**-24
        self.act_epsilon = 2.0**-8 if dtype == "bfloat16" else 2.0**-24
        self.rng = np.random.default_rng(7)

    def act(self, values):
        return to_bfloat16(values) if self.dtype == "bfloat16" else values.astype(np.float32)

    def exact(self, values):
        """Float64 values of an act array."""
        values = from_bfloat16(values) if values.dtype == np.uint16 else values
        return values.astype(np.float64)

    def weights(self, values):
        """Float64 values of weights as they are packed."""
        return self.exact(self.act(values))

    def normal(self, *shape):
        return self.rng.standard_normal(shape, dtype=np.float32)

    def norm_linear(self, x, weight, linear):
        out = self.kernels.empty((x.shape[0], linear.out_features), "float32")
        self.kernels.norm_linear(x, weight, EPS, linear, out)
        return out

    def normed(self, x, weight):
        """What enters a product, seen through the identity: exact."""
        identity = self.kernels.pack_linear([np.eye(x.shape[1], dtype=np.float32)])
        return self.norm_linear(x, weight, identity).astype(np.float64)

    def bound(self, x, w):
        """Rounding of one chain of K products and sums, twice the worst case."""
        return 2 * (x.shape[1] + 4) * self.epsilon * (np.abs(x) @ np.abs(w).T) + 1e-30


@pytest.fixture(scope="module", params=["bfloat16", "float32"])
def setup(request):
    setup = Setup(request.param)
    yield setup
    setup.kernels.close()


@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_norm_linear_normalises_rounds_and_multiplies(setup, k, n):
    w, bias, weight = setup.normal(n, k), setup.normal(n), setup.normal(k)
    linear = setup.kernels.pack_linear([w], [bias])
    exact_w = setup.weights(w)
    for num_rows in ROWS:
        x = setup.normal(num_rows, k)
        wide = x.astype(np.float64)
        expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + EPS) * weight
        normed = setup.normed(x, weight)
        # Seven roundings of float32 and the one of the activation's type.
        relative = setup.act_epsilon + 7 * setup.epsilon
        assert np.all(np.abs(normed - expected) <= relative * np.abs(expected))
        out = setup.norm_linear(x, weight, linear)
        error = np.abs(out - (normed @ exact_w.T + bias))
        assert np.all(error <= setup.bound(normed, exact_w) + 1e-7 * np.abs(bias))


@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_linear_add_adds_to_the_residual(setup, k, n):
    w = setup.normal(n, k)
    linear = setup.kernels.pack_linear([w])
    exact_w = setup.weights(w)
    for num_rows in ROWS:
        x = setup.act(setup.normal(num_rows, k))
        residual = setup.normal(num_rows, n)
        expected = residual + setup.exact(x) @ exact_w.T
        bound = setup.bound(setup.exact(x), exact_w) + 3e-7 * (1 + np.abs(expected))
        setup.kernels.linear_add(x, linear, residual)
        assert np.all(np.abs(residual - expected) <= bound)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_norm_gated_linear_multiplies_activation_and_up(setup, activation, k, n):
    gate, up, weight = setup.normal(n, k), setup.normal(n, k), setup.normal(k)
    biases = (setup.normal(n), None)
    linear = setup.kernels.pack_gated_linear(gate, up, biases)
    exact_gate, exact_up = setup.weights(gate), setup.weights(up)
    for num_rows in ROWS:
        x = setup.normal(num_rows, k)
        out = setup.kernels.empty((num_rows, n), "act")
        setup.kernels.norm_gated_linear(x, weight, EPS, linear, activation, out)
        normed = setup.normed(x, weight)
        g, u = normed @ exact_gate.T + biases[0], normed @ exact_up.T
        expected = ACTIVATIONS[activation](g) * u
        # The slope of every activation is below 1.2.
        bound = 1.2 * (setup.bound(normed, exact_gate) + 1e-7) * np.abs(u)
        bound += np.abs(ACTIVATIONS[activation](g)) * setup.bound(normed, exact_up)
        bound += (setup.act_epsilon + 1e-6) * np.abs(expected) + 1e-30
        assert np.all(np.abs(setup.exact(out) - expected) <= bound)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_accurate_in_float32_over_their_whole_range(activation):
    setup = Setup("float32")
    # With one feature and no epsilon the norm yields 1, so the weights reach the activation.
    gate = np.linspace(-12, 12, 20_001, dtype=np.float32)[:, None]
    linear = setup.kernels.pack_gated_linear(gate, np.ones_like(gate))
    out = setup.kernels.empty((1, gate.size), "float32")
    one = np.ones((1, 1), np.float32)
    setup.kernels.norm_gated_linear(one, one[0], 0.0, linear, activation, out)
    g = gate[:, 0].astype(np.float64)
    expected = ACTIVATIONS[activation](g)
    absolute = 1e-37 if activation == "silu" else 1e-7
    assert np.all(np.abs(out[0] - expected) <= 2e-7 * np.abs(expected) + absolute)
    setup.kernels.close()


def test_activations_saturate_instead_of_overflowing():
    setup = Setup("float32")
    gate = np.array([-1e30, -1000, -0.0, 0.0, 1000, 1e30], np.float32)[:, None]
    one = np.ones((1, 1), np.float32)
    for activation in ("silu", "gelu", "gelu_tanh"):
        linear = setup.kernels.pack_gated_linear(gate, np.ones_like(gate))
        out = setup.kernels.empty((1, gate.size), "float32")
        setup.kernels.norm_gated_linear(one, one[0], 0.0, linear, activation, out)
        assert np.allclose(out[0], np.maximum(gate[:, 0], 0), rtol=1e-6, atol=1e-4)
    setup.kernels.close()


@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16"])
def test_every_source_dtype_packs_to_the_same_values_as_numpy(setup, source):
    values = setup.normal(45, 37) * np.float32(10.0) ** setup.rng.integers(-9, 4, (45, 37))
    if source == "float16":
        weight = values.astype(np.float16)
        packed_from = weight.astype(np.float32)
    elif source == "bfloat16":
        weight = to_bfloat16(values)
        packed_from = from_bfloat16(weight)
    else:
        weight = packed_from = values.astype(np.float32)
    expected = setup.weights(packed_from)
    ids = np.arange(45, dtype=np.int32)
    out = setup.kernels.empty((45, 37), "float32")
    for table in (setup.kernels.pack_linear([weight]), setup.kernels.pack_embedding(weight)):
        setup.kernels.embed(ids, table, out)
        assert np.array_equal(out, expected)


def test_parts_of_different_dtypes_pack_to_the_values_of_one(setup):
    parts = [to_bfloat16(setup.normal(n, 50)) for n in (5, 40)]
    mixed = [from_bfloat16(parts[0]), parts[1]]
    x, weight = setup.normal(3, 50), setup.normal(50)
    for pack in (setup.kernels.pack_linear, lambda two: setup.kernels.pack_linear(two[::-1])):
        outs = [setup.norm_linear(x, weight, pack(given)) for given in (parts, mixed)]
        assert np.array_equal(*outs)


def test_float16_packing_is_exact_for_every_bit_pattern():
    setup = Setup("float32")
    weight = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(512, 128)
    out = setup.kernels.empty((512, 128), "float32")
    table = setup.kernels.pack_linear([weight])
    setup.kernels.embed(np.arange(512, dtype=np.int32), table, out)
    assert np.array_equal(out, weight.astype(np.float32), equal_nan=True)
    setup.kernels.close()


def test_stacked_projections_equal_separate_ones(setup):
    parts = [setup.normal(n, 50) for n in (5, 40, 33)]
    biases = [None, setup.normal(40), setup.normal(33)]
    x, weight = setup.normal(3, 50), setup.normal(50)
    together = setup.norm_linear(x, weight, setup.kernels.pack_linear(parts, biases))
    separate = [
        setup.norm_linear(x, weight, setup.kernels.pack_linear([part], [bias]))
        for part, bias in zip(parts, biases, strict=True)
    ]
    assert np.array_equal(together, np.concatenate(separate, axis=1))


def test_logits_take_the_chosen_rows(setup):
    x, weight = setup.normal(9, 40), setup.normal(40)
    head = setup.kernels.pack_linear([setup.normal(77, 40)])
    rows = np.array([8, 0, 3, 3], np.int32)
    out = setup.kernels.empty((4, 77), "float32")
    setup.kernels.logits(x, rows, weight, EPS, head, out)
    assert np.array_equal(out, setup.norm_linear(np.ascontiguousarray(x[rows]), weight, head))


def test_rope_rows_copies_the_rows_of_the_positions(setup):
    table = setup.normal(100, 16)
    positions = np.array([0, 99, 5, 5], np.int32)
    out = setup.kernels.empty((4, 16), "float32")
    setup.kernels.rope_rows(table, positions, out)
    assert np.array_equal(out, table[positions])


def results(setup, x, act, linears, rows):
    """Every product of the given rows, in one batch."""
    plain, gated, weight = linears
    normed = setup.norm_linear(np.ascontiguousarray(x[rows]), weight, plain)
    added = np.zeros((len(rows), plain.out_features), np.float32)
    setup.kernels.linear_add(np.ascontiguousarray(act[rows]), plain, added)
    activated = setup.kernels.empty((len(rows), gated.out_features), "act")
    setup.kernels.norm_gated_linear(
        np.ascontiguousarray(x[rows]), weight, EPS, gated, "silu", activated
    )
    return normed, added, activated


@pytest.mark.parametrize(("k", "n"), [(256, 151), (33, 40)])
def test_a_row_has_the_same_bits_in_every_batch(setup, k, n):
    x, weight = setup.normal(40, k), setup.normal(k)
    act = setup.act(setup.normal(40, k))
    plain = setup.kernels.pack_linear([setup.normal(n, k)], [setup.normal(n)])
    gated = setup.kernels.pack_gated_linear(setup.normal(n, k), setup.normal(n, k))
    linears = (plain, gated, weight)
    whole = results(setup, x, act, linears, np.arange(40))
    for size in range(1, 41):
        rows = setup.rng.permutation(40)[:size]
        for all_rows, some in zip(whole, results(setup, x, act, linears, rows), strict=True):
            assert np.array_equal(all_rows[rows], some)


def test_a_large_product_is_split_over_blocks_of_rows_without_changing_bits(setup):
    w = setup.normal(40, 6000)
    linear = setup.kernels.pack_linear([w])
    x = setup.act(setup.normal(130, 6000))
    whole = np.zeros((130, 40), np.float32)
    setup.kernels.linear_add(x, linear, whole)
    for row in (0, 47, 64, 129):
        alone = np.zeros((1, 40), np.float32)
        setup.kernels.linear_add(x[row : row + 1], linear, alone)
        assert np.array_equal(whole[row], alone[0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_results_do_not_depend_on_the_number_of_threads(dtype):
    outputs = []
    for num_threads in (1, 2, 3):
        setup = Setup(dtype, num_threads)
        x, weight = setup.normal(20, 96), setup.normal(96)
        act = setup.act(setup.normal(20, 96))
        plain = setup.kernels.pack_linear([setup.normal(300, 96)])
        gated = setup.kernels.pack_gated_linear(setup.normal(300, 96), setup.normal(300, 96))
        outputs.append(results(setup, x, act, (plain, gated, weight), np.arange(20)))
        setup.kernels.close()
    for other in outputs[1:]:
        for first, second in zip(outputs[0], other, strict=True):
            assert np.array_equal(first, second)


def test_a_recorded_program_follows_its_arrays(setup):
    w, weight = setup.normal(64, 48), setup.normal(48)
    linear = setup.kernels.pack_linear([w])
    x, out = setup.normal(5, 48), setup.kernels.empty((5, 64), "float32")
    out[:] = np.nan
    with setup.kernels.record() as program:
        setup.kernels.norm_linear(x, weight, EPS, linear, out)
    assert np.isnan(out).all()
    # A larger operation afterwards needs more scratch; the program keeps its own.
    setup.norm_linear(setup.normal(400, 48), weight, linear)
    for _ in range(3):
        x[:] = setup.normal(5, 48)
        setup.kernels.run(program)
        assert np.array_equal(out, setup.norm_linear(x, weight, linear))


def test_wrong_arguments_are_refused_by_name(setup):
    kernels = setup.kernels
    linear = kernels.pack_linear([setup.normal(8, 6)])
    gated = kernels.pack_gated_linear(setup.normal(8, 6), setup.normal(8, 6))
    x, weight = setup.normal(2, 6), setup.normal(6)
    out = kernels.empty((2, 8), "float32")
    with pytest.raises(ValueError, match="norm_weight"):
        kernels.norm_linear(x, setup.normal(5), EPS, linear, out)
    with pytest.raises(ValueError, match="out is float64"):
        kernels.norm_linear(x, weight, EPS, linear, out.astype(np.float64))
    with pytest.raises(ValueError, match="C-contiguous"):
        kernels.norm_linear(np.asfortranarray(x), weight, EPS, linear, out)
    with pytest.raises(ValueError, match="pack_linear"):
        kernels.norm_linear(x, weight, EPS, gated, out)
    with pytest.raises(ValueError, match="pack_gated_linear"):
        kernels.norm_gated_linear(x, weight, EPS, linear, "silu", kernels.empty((2, 8), "act"))
    with pytest.raises(ValueError, match="choose one of silu"):
        kernels.norm_gated_linear(x, weight, EPS, gated, "relu", kernels.empty((2, 8), "act"))
    with pytest.raises(ValueError, match="residual"):
        kernels.linear_add(setup.act(x), linear, out[:1])
    with pytest.raises(ValueError, match="float16 or uint16"):
        kernels.pack_linear([np.zeros((4, 4), np.int32)])
    with pytest.raises(ValueError, match="shapes must be equal"):
        kernels.pack_gated_linear(setup.normal(8, 6), setup.normal(7, 6))
    with pytest.raises(ValueError, match="int32"):
        kernels.embed(np.zeros(2, np.int64), linear, kernels.empty((2, 6), "float32"))
    with pytest.raises(ValueError, match="float8"):
        kernels.empty((2,), "float8")
