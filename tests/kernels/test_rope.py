"""The rotary store on the CPU: norms, rotation, scaling, and what lands in which tile."""

import numpy as np
import pytest

import lite_kernels
from lite_kernels.dtypes import from_bfloat16, to_bfloat16

DTYPES = ["bfloat16", "float32"]
SHAPES = [(4, 4, 64), (4, 2, 80), (8, 1, 128), (3, 1, 16), (2, 2, 34), (2, 1, 256)]


@pytest.fixture(scope="module", params=DTYPES)
def kernels(request):
    with_two_threads = lite_kernels.load("cpu", dtype=request.param, num_threads=2)
    yield with_two_threads
    with_two_threads.close()


def _inputs(num_tokens, shape, *, seed=0, first_position=0):
    num_heads, num_kv_heads, head_dim = shape
    rng = np.random.default_rng(seed)
    qkv = rng.standard_normal((num_tokens, (num_heads + 2 * num_kv_heads) * head_dim), np.float32)
    positions = np.arange(first_position, first_position + num_tokens)[:, None]
    angles = positions * 1e4 ** (-np.arange(head_dim // 2) * 2 / head_dim)
    cos_sin = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    norms = rng.standard_normal((2, head_dim), np.float32)
    return qkv, cos_sin, norms


def _store(kernels, kv, shape, qkv, cos_sin, slots, norms=(None, None)):
    q = kernels.empty((len(qkv), shape[0], shape[2]), "act")
    slots = np.asarray(slots, np.int32)
    kernels.qk_norm_rope_store(qkv, *norms, 1e-6, cos_sin, slots, kv, q)
    return q


def _cache(kernels, shape, *, num_blocks=8, block_size=32, quantization=None):
    (kv,) = kernels.allocate_kv_cache(
        num_layers=1,
        num_blocks=num_blocks,
        block_size=block_size,
        num_kv_heads=shape[1],
        head_dim=shape[2],
        quantization=quantization,
    )
    return kv


def _read(kv):
    """Return keys and values [num_blocks, block_size, Hkv, D] out of the documented tiles."""
    padded = -(-kv.head_dim // 16) * 16
    blocks = kv.data.reshape(kv.num_blocks, -1)
    num_key_bytes = kv.num_kv_heads * kv.tiles_per_block * kv.key_tile_bytes
    parts = np.split(blocks, [num_key_bytes // kv.data.itemsize], axis=1)
    tiles = (kv.num_blocks, kv.num_kv_heads, kv.tiles_per_block)
    keys, values = (part.reshape(*tiles, -1) for part in parts)
    if kv.data.dtype == np.uint16:
        keys = keys.reshape(*tiles, kv.head_dim // 2, 16, 2).swapaxes(3, 4)
        values = values.reshape(*tiles, 8, padded, 2).swapaxes(4, 5)
    else:
        keys = keys.reshape(*tiles, kv.head_dim, 16).swapaxes(3, 4)
    shape = (kv.num_blocks, kv.num_kv_heads, kv.block_size, -1)
    keys, values = (x.reshape(shape).swapaxes(1, 2) for x in (keys, values))
    assert not values[..., kv.head_dim :].any()
    return keys, values[..., : kv.head_dim]


def _read_int8(kv):
    """Return int8 keys and values, and their scales, as the reference holds them."""
    padded, quads = -(-kv.head_dim // 16) * 16, -(-kv.head_dim // 4)
    blocks = kv.data.reshape(kv.num_blocks, -1)
    num_key_bytes = kv.num_kv_heads * kv.tiles_per_block * kv.key_tile_bytes
    keys, values = np.split(blocks, [num_key_bytes], axis=1)
    tiles = (kv.num_blocks, kv.num_kv_heads, kv.tiles_per_block)
    keys, scales = np.split(keys.reshape(*tiles, -1), [quads * 64], axis=-1)
    keys = keys.reshape(*tiles, quads, 16, 4).swapaxes(3, 4) ^ 128
    values = values.reshape(*tiles, 4, padded, 4).swapaxes(4, 5)
    shape = (kv.num_blocks, kv.num_kv_heads, kv.block_size, -1)
    keys, values = (x.reshape(shape).swapaxes(1, 2)[..., : kv.head_dim] for x in (keys, values))
    scales = np.ascontiguousarray(scales).view(np.float32).reshape(*tiles, 2, 16)
    scales = np.moveaxis(scales, 3, 0).reshape(2, *shape[:3]).swapaxes(2, 3)
    return keys.view(np.int8), values.view(np.int8), *scales


def _float32(act):
    return from_bfloat16(act) if act.dtype == np.uint16 else act


def _assert_close(got, expected):
    # One unit in the last place: float32 values that differ a little may round apart.
    tolerance = 2.0**-7 if expected.dtype == np.uint16 else 1e-6
    got, expected = _float32(got), _float32(expected)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_queries_keys_and_values_agree_with_the_reference(kernels, shape, normed):
    reference = lite_kernels.load("reference", dtype=kernels.dtype)
    qkv, cos_sin, norms = _inputs(70, shape, first_position=5)
    slots = np.random.default_rng(1).permutation(8)[:3, None] * 32 + np.arange(32)
    results = []
    for each in (kernels, reference):
        kv = _cache(each, shape)
        weights = norms if normed else (None, None)
        q = _store(each, kv, shape, qkv, cos_sin, slots.ravel()[:70], weights)
        results.append((q, *(_read(kv) if each is kernels else (kv.keys, kv.values))))
    for got, expected in zip(*results, strict=True):
        _assert_close(got, expected)


def test_values_are_stored_bit_for_bit(kernels):
    shape = (2, 1, 64)
    qkv, cos_sin, _ = _inputs(40, shape)
    kv = _cache(kernels, shape)
    _store(kernels, kv, shape, qkv, cos_sin, range(40))
    expected = qkv[:, 3 * 64 :]
    expected = to_bfloat16(expected) if kernels.dtype == "bfloat16" else expected
    np.testing.assert_array_equal(_read(kv)[1].reshape(-1, 64)[:40], expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_int8_keys_and_values_are_those_of_the_reference(kernels, shape):
    """Values bit for bit; keys within the rounding of the norm, which may move one by a step."""
    qkv, cos_sin, norms = _inputs(70, shape, first_position=5)
    qkv[3] = 0.0
    qkv[4, -3] = np.inf
    slots = np.random.default_rng(1).permutation(8)[:3, None] * 32 + np.arange(32)
    results = []
    for each in (kernels, lite_kernels.load("reference", dtype=kernels.dtype)):
        kv = _cache(each, shape, quantization="int8")
        q = _store(each, kv, shape, qkv, cos_sin, slots.ravel()[:70], norms)
        if each is kernels:
            parts = _read_int8(kv)
        else:
            parts = kv.keys, kv.values, kv.key_scales, kv.value_scales
        written = (part.reshape(8 * 32, *part.shape[2:])[slots.ravel()[:70]] for part in parts)
        results.append((q, *written))
    (q, *ours), (expected_q, *theirs) = results
    _assert_close(q, expected_q)
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_array_equal(ours[3], theirs[3])
    assert np.isnan(theirs[3]).sum() == 1
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-6)
    assert np.abs(ours[0].astype(np.int32) - theirs[0]).max() <= 1
    assert np.mean(ours[0] != theirs[0]) < 1e-3


def test_the_first_slot_of_a_tile_clears_its_other_values(kernels):
    shape = (2, 1, 64)
    qkv, cos_sin, _ = _inputs(64, shape)
    kv = _cache(kernels, shape)
    _store(kernels, kv, shape, np.full_like(qkv, 7.0), cos_sin, range(64))
    _store(kernels, kv, shape, qkv[:1], cos_sin[:1], [16])
    values = _float32(_read(kv)[1]).reshape(-1, 64)
    assert (values[16] != 7.0).any()
    assert not values[17:32].any()
    assert (values[:16] == 7.0).all()
    assert (values[32:64] == 7.0).all()


@pytest.mark.parametrize("quantization", [None, "int8"])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_bits_do_not_depend_on_chunks_or_threads(kernels, num_threads, quantization):
    shape = (8, 2, 128)
    qkv, cos_sin, norms = _inputs(200, shape)
    whole = _cache(kernels, shape, quantization=quantization)
    expected = _store(kernels, whole, shape, qkv, cos_sin, range(200), norms)
    other = lite_kernels.load("cpu", dtype=kernels.dtype, num_threads=num_threads)
    kv, parts, first = _cache(other, shape, quantization=quantization), [], 0
    for size in (1, 30, 2, 100, 66, 1):
        rows = slice(first, first + size)
        slots = range(first, first + size)
        parts.append(_store(other, kv, shape, qkv[rows], cos_sin[rows], slots, norms))
        first += size
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    np.testing.assert_array_equal(kv.data, whole.data)
    other.close()
