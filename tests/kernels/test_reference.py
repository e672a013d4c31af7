"""The reference itself, against independent float64 formulas and published vectors."""

import math

import numpy as np
import pytest

import lite_kernels
from lite_kernels import reference_sampling as sampling
from lite_kernels.dtypes import from_bfloat16, to_bfloat16, to_float32


def test_every_bfloat16_survives_the_way_to_float32_and_back():
    bits = np.arange(2**16, dtype=np.uint16)
    finite = ~np.isnan(from_bfloat16(bits))
    np.testing.assert_array_equal(to_bfloat16(from_bfloat16(bits))[finite], bits[finite])
    assert np.isnan(from_bfloat16(to_bfloat16(from_bfloat16(bits)))[~finite]).all()


def test_rounding_to_bfloat16_takes_the_nearest_and_then_the_even():
    step = 2.0**-7
    cases = {
        1 + 0.49 * step: 1.0,
        1 + 0.5 * step: 1.0,
        1 + 0.51 * step: 1 + step,
        1 + 1.5 * step: 1 + 2 * step,
        -1 - 1.5 * step: -1 - 2 * step,
        3.4e38: math.inf,
        -3.4e38: -math.inf,
        math.inf: math.inf,
    }
    got = from_bfloat16(to_bfloat16(list(cases)))
    np.testing.assert_array_equal(got, np.array(list(cases.values()), np.float32))


def test_a_nan_with_low_bits_only_stays_a_nan():
    quiet = np.array([0x7F800001, 0xFF800001], np.uint32).view(np.float32)
    assert to_bfloat16(quiet).tolist() == [0x7FC0, 0xFFC0]


def test_weights_of_an_unknown_dtype_are_refused():
    with pytest.raises(ValueError, match="int8 are not supported"):
        to_float32(np.zeros(3, np.int8))


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, expected):
    assert sampling.philox(counter, key) == expected


def test_uniforms_lie_in_the_unit_interval_evenly():
    draws = np.array([sampling.uniform((1, 2), i) for i in range(4000)])
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, bins=20, range=(0, 1))[0]
    # 19 degrees of freedom: 43.8 is exceeded once in a thousand.
    assert ((counts - 200) ** 2 / 200).sum() < 43.8


def test_weights_are_exponentials():
    x = -np.geomspace(1e-6, 20, 10_000).astype(np.float32)
    weights = sampling.exp_weights(x) / sampling.WEIGHT_ONE
    np.testing.assert_allclose(weights, np.exp(x.astype(np.float64)), rtol=2e-7, atol=2.0**-44)
    ends = sampling.exp_weights(np.array([0.0, -31.0, -1e30, -np.inf], np.float32))
    assert ends.tolist() == [2**44, 0, 0, 0]


def test_rotation_is_a_complex_product():
    kernels = lite_kernels.load("reference", dtype="float32")
    rng = np.random.default_rng(0)
    qkv = rng.standard_normal((3, 4 * 8), np.float32)
    angles = rng.standard_normal((3, 4))
    cos_sin = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    (kv,) = kernels.allocate_kv_cache(
        num_layers=1, num_blocks=1, block_size=4, num_kv_heads=1, head_dim=8
    )
    q = kernels.empty((3, 2, 8), "act")
    kernels.qk_norm_rope_store(qkv, None, None, 0.0, cos_sin, np.arange(3), kv, q)
    heads = qkv.reshape(3, 4, 2, 4).astype(np.float64)
    turned = (heads[:, :, 0] + 1j * heads[:, :, 1]) * np.exp(1j * angles)[:, None]
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    np.testing.assert_allclose(q, expected[:, :2] * 8**-0.5, atol=1e-6)
    np.testing.assert_allclose(kv.keys[0, :3, 0], expected[:, 2], atol=1e-6)
    np.testing.assert_array_equal(kv.values[0, :3, 0], qkv[:, 24:])


@pytest.mark.parametrize("window", [0, 3])
def test_attention_is_softmax_over_the_visible_keys(window):
    kernels = lite_kernels.load("reference", dtype="float32")
    rng = np.random.default_rng(0)
    (kv,) = kernels.allocate_kv_cache(
        num_layers=1, num_blocks=4, block_size=4, num_kv_heads=2, head_dim=8
    )
    kv.keys[:], kv.values[:] = rng.standard_normal((2, 4, 4, 2, 8), np.float32)
    q = rng.standard_normal((5, 4, 8), np.float32)
    out = kernels.empty((5, 32), "act")
    tables = np.array([[2, 0], [3, 1]], np.int32)
    loc, seq_lens = np.array([0, 1, 5], np.int32), np.array([7, 6], np.int32)
    kernels.attention(q, kv, tables, seq_lens, loc, window, out)
    for t, (s, position) in enumerate([(0, 6), (1, 2), (1, 3), (1, 4), (1, 5)]):
        keys = kv.keys[tables[s]].reshape(8, 2, 8).astype(np.float64)
        values = kv.values[tables[s]].reshape(8, 2, 8)
        seen = [p for p in range(position + 1) if not window or p > position - window]
        for h in range(4):
            weights = np.exp(keys[seen, h // 2] @ q[t, h])
            expected = weights @ values[seen, h // 2] / weights.sum()
            np.testing.assert_allclose(out[t].reshape(4, 8)[h], expected, atol=1e-5)


def test_linear_layers_multiply_normed_rows():
    kernels = lite_kernels.load("reference", dtype="float32")
    rng = np.random.default_rng(0)
    x, norm = rng.standard_normal((3, 8), np.float32), rng.standard_normal(8, np.float32)
    gate, up = rng.standard_normal((2, 5, 8), np.float32)
    bias = rng.standard_normal(5, np.float32)
    normed = x / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-6) * norm
    stacked = kernels.pack_linear([gate, up], [None, bias])
    out = kernels.empty((3, 10), "float32")
    kernels.norm_linear(x, norm, 1e-6, stacked, out)
    expected = np.concatenate([normed @ gate.T, normed @ up.T + bias], axis=1)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    activations = {
        "silu": lambda g: g / (1 + np.exp(-g)),
        "gelu": lambda g: 0.5 * g * (1 + np.vectorize(math.erf)(g / math.sqrt(2))),
        "gelu_tanh": lambda g: (
            0.5 * g * (1 + np.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)))
        ),
    }
    for name, activation in activations.items():
        out = kernels.empty((3, 5), "act")
        gated = kernels.pack_gated_linear(gate, up)
        kernels.norm_gated_linear(x, norm, 1e-6, gated, name, out)
        expected = activation(normed @ gate.T) * (normed @ up.T)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    residual = x.copy()
    kernels.linear_add(x, kernels.pack_linear([np.eye(8, dtype=np.float32)]), residual)
    np.testing.assert_array_equal(residual, 2 * x)


def test_act_arrays_are_rounded_to_bfloat16():
    kernels = lite_kernels.load("reference", dtype="bfloat16")
    x = np.array([[1.0 + 2.0**-9, 3.0]], np.float32)
    linear = kernels.pack_linear([np.array([[1.0 + 2.0**-12, 1.0]], np.float32)])
    residual = np.zeros((1, 1), np.float32)
    kernels.linear_add(to_bfloat16(x), linear, residual)
    assert residual.tolist() == [[4.0]]
    assert kernels.empty((2,), "act").dtype == np.uint16


def test_recorded_operations_run_when_told_and_read_arrays_anew():
    kernels = lite_kernels.load("reference", dtype="float32")
    table, ids = np.eye(3, dtype=np.float32), np.array([0], np.int32)
    out = np.zeros((1, 3), np.float32)
    with kernels.record() as program:
        kernels.embed(ids, kernels.pack_embedding(table), out)
    assert not out.any()
    for ids[0] in (2, 1):
        kernels.run(program)
        assert out[0].argmax() == ids[0]


def test_recordings_do_not_nest():
    kernels = lite_kernels.load("reference")
    with kernels.record(), pytest.raises(RuntimeError, match="do not nest"), kernels.record():
        pass
