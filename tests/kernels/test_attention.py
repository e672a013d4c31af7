"""Paged attention on the CPU: right, and the same bits in every schedule.

Runs with the ISA that `LITE_CPU_ISA` names; `test_instruction_sets.py` repeats it for every one.
"""

import numpy as np
import pytest

import lite_kernels
from lite_kernels.dtypes import from_bfloat16
from tests.kernels.paged_sequences import PagedSequences

DTYPES = ["bfloat16", "float32"]
# (query heads, key/value heads, head size)
SHAPES = [
    (4, 4, 64),
    (4, 2, 80),
    (8, 2, 96),
    (16, 8, 128),
    (8, 1, 128),
    (3, 1, 16),
    (6, 1, 32),
    (14, 2, 40),
    (2, 1, 34),
    (7, 1, 256),
    (16, 1, 64),
]
LENGTHS = [1, 15, 16, 17, 63, 64, 65, 133]


@pytest.fixture(scope="module", params=DTYPES)
def kernels(request):
    with_two_threads = lite_kernels.load("cpu", dtype=request.param, num_threads=2)
    yield with_two_threads
    with_two_threads.close()


@pytest.fixture(params=[None, "int8"], ids=["floats", "int8"])
def quantization(request):
    return request.param


def _pair(kernels, lengths, shape, **options):
    num_heads, num_kv_heads, head_dim = shape
    options |= {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
    reference = lite_kernels.load("reference", dtype=kernels.dtype)
    return (
        PagedSequences(kernels, lengths, **options),
        PagedSequences(reference, lengths, **options),
    )


def _tolerance(kernels, head_dim):
    """Relative to the largest output.

    bfloat16: weights and output are rounded. float32: a score is a sum of head_dim products,
    whose rounding moves its weight by as much. int8: sums are exact, but a weight at the border
    of two bytes may fall to either, which moves an output by 1/255 of a value.
    """
    return 2.0**-7 if kernels.dtype == "bfloat16" else 2.0**-24 * max(head_dim, 32)


def _assert_close(kernels, head_dim, got, expected, quantization=None):
    errors = []
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.dtype == theirs.dtype
        left, right = ours, theirs
        if kernels.dtype == "bfloat16":
            left, right = from_bfloat16(ours), from_bfloat16(theirs)
        errors.append(np.abs(left - right).ravel() / np.abs(right).max())
    errors, tolerance = np.concatenate(errors), _tolerance(kernels, head_dim)
    if quantization is None:
        assert errors.max() <= tolerance
    else:
        assert errors.max() <= 1 / 128
        assert np.mean(errors > tolerance) <= 0.002


@pytest.mark.parametrize("window", [0, 1, 5, 100])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_prefill_agrees_with_the_reference(kernels, quantization, shape, window):
    ours, theirs = _pair(kernels, LENGTHS, shape, quantization=quantization)
    results = ours.whole(window=window), theirs.whole(window=window)
    _assert_close(kernels, shape[2], *results, quantization)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_decode_agrees_with_the_reference(kernels, quantization, shape):
    ours, theirs = _pair(kernels, LENGTHS, shape, block_size=32, quantization=quantization)
    for sequences in (ours, theirs):
        sequences.whole()
    chunks = [(s, n - 1, n) for s, n in enumerate(LENGTHS)]
    _assert_close(kernels, shape[2], ours.step(chunks), theirs.step(chunks), quantization)


def _in_chunks(sequences, seed, window):
    """Compute all sequences in random chunks and random company."""
    rng = np.random.default_rng(seed)
    done = [0] * len(sequences.qkv)
    parts = [[] for _ in done]
    while True:
        waiting = [s for s, n in enumerate(done) if n < len(sequences.qkv[s])]
        if not waiting:
            return [np.concatenate(p) for p in parts]
        chosen = rng.permutation(waiting)[: rng.integers(1, len(waiting) + 1)]
        chunks = []
        for s in chosen.tolist():
            size = int(rng.choice([1, 1, 2, 7, 16, 50]))
            chunks.append((s, done[s], min(done[s] + size, len(sequences.qkv[s]))))
        for (s, _, end), out in zip(chunks, sequences.step(chunks, window=window), strict=True):
            parts[s].append(out)
            done[s] = end


@pytest.mark.parametrize("window", [0, 20])
@pytest.mark.parametrize("shape", [(4, 2, 64), (3, 1, 80), (14, 2, 40), (8, 1, 128)], ids=str)
def test_outputs_have_the_same_bits_in_every_schedule(kernels, quantization, shape, window):
    num_heads, num_kv_heads, head_dim = shape
    options = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
    options["quantization"] = quantization
    lengths = [5, 70, 150]
    whole = PagedSequences(kernels, lengths, **options).whole(window=window)
    for seed in range(4):
        sequences = PagedSequences(
            kernels, lengths, layout=seed, block_size=(16, 32, 48, 128)[seed], **options
        )
        sequences.fill_cache(np.nan)
        for got, expected in zip(_in_chunks(sequences, seed, window), whole, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_decode_token_by_token_has_the_bits_of_the_prefill(kernels, quantization):
    options = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 64, "quantization": quantization}
    sequences = PagedSequences(kernels, [140], **options)
    (whole,) = sequences.whole()
    single = [sequences.step([(0, t, t + 1)])[0] for t in range(140)]
    np.testing.assert_array_equal(np.concatenate(single), whole)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_the_number_of_threads_does_not_change_bits(kernels, quantization, num_threads):
    options = {"num_heads": 8, "num_kv_heads": 2, "head_dim": 128, "quantization": quantization}
    expected = PagedSequences(kernels, LENGTHS, **options).whole()
    other = lite_kernels.load("cpu", dtype=kernels.dtype, num_threads=num_threads)
    for got, whole in zip(PagedSequences(other, LENGTHS, **options).whole(), expected, strict=True):
        np.testing.assert_array_equal(got, whole)
    other.close()


def test_a_sequence_of_nans_stays_alone(kernels, quantization):
    options = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 64, "quantization": quantization}
    clean = PagedSequences(kernels, [40, 90, 3], **options)
    expected = clean.whole()
    broken = PagedSequences(kernels, [40, 90, 3], **options)
    broken.qkv[1][:] = np.nan
    got = broken.whole()
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[2], expected[2])
    assert np.isnan(broken.values(got[1])).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.4e38])
@pytest.mark.parametrize("window", [0, 30])
def test_a_value_that_is_not_finite_reaches_no_query_that_must_not_see_it(
    kernels, quantization, value, window
):
    options = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 64, "quantization": quantization}
    clean = PagedSequences(kernels, [120], **options).whole(window=window)[0]
    broken = PagedSequences(kernels, [120], **options)
    broken.qkv[0][50, 6 * 64 + 3] = value  # of the first key/value head
    for out in (broken.whole(window=window)[0], *broken.step([(0, 40, 120)], window=window)):
        first = 120 - len(out)
        seen = range(50, 80 if window else 120)
        blind = [n for n in range(first, 120) if n not in seen]
        np.testing.assert_array_equal(out[[n - first for n in blind]], clean[blind])
        if not np.isfinite(value):
            hit = broken.values(out)[[n - first for n in seen], : 2 * 64]
            assert np.isnan(hit).any(axis=1).all()


@pytest.mark.parametrize("scale", [1e2, 1e17])
def test_large_scores_do_not_overflow(kernels, quantization, scale):
    ours, theirs = _pair(kernels, [100], (2, 1, 64), quantization=quantization)
    for sequences in (ours, theirs):
        sequences.qkv[0][:, : 3 * 64] *= np.float32(scale)
    got, expected = ours.whole(), theirs.whole()
    assert np.isfinite(ours.values(got[0])).all()
    _assert_close(kernels, 64, got, expected, quantization)


def test_a_recorded_program_reads_its_arrays_anew(kernels, quantization):
    options = {"num_heads": 2, "num_kv_heads": 1, "head_dim": 64, "quantization": quantization}
    sequences = PagedSequences(kernels, [50], **options)
    (expected,) = sequences.whole()
    q = sequences.store(sequences.qkv[0][:1] * 0, np.array([0], np.int32))
    tables, loc = sequences.tables.copy(), np.array([0, 1], np.int32)
    seq_lens, out = np.array([1], np.int32), kernels.empty((1, 128), "act")
    with kernels.record() as program:
        kernels.attention(q, sequences.kv, tables, seq_lens, loc, 0, out)
    sequences.whole()
    for position in (0, 30, 49):
        slot = tables[0, position // 16] * 16 + position % 16
        row = sequences.qkv[0][position : position + 1]
        q[:] = sequences.store(row, np.array([slot], np.int32))
        sequences.step([(0, position, 50)])
        seq_lens[0] = position + 1
        kernels.run(program)
        np.testing.assert_array_equal(out[0], expected[position])


@pytest.mark.parametrize("block_size", [0, 8, 24])
def test_a_block_size_that_is_no_multiple_of_16_is_refused(kernels, block_size):
    with pytest.raises(ValueError, match=rf"block_size {block_size} .* multiple of 16"):
        kernels.kv_block_nbytes(block_size=block_size, num_kv_heads=1, head_dim=64)


@pytest.mark.parametrize("head_dim", [0, 63, 258])
def test_an_unsupported_head_dim_is_refused(kernels, head_dim):
    with pytest.raises(ValueError, match=f"head_dim {head_dim} .* even and at most 256"):
        kernels.allocate_kv_cache(
            num_layers=1, num_blocks=1, block_size=16, num_kv_heads=1, head_dim=head_dim
        )


def test_the_bytes_of_a_block_are_those_allocated(kernels, quantization):
    shape = {"block_size": 32, "num_kv_heads": 3, "head_dim": 80, "quantization": quantization}
    layers = kernels.allocate_kv_cache(num_layers=2, num_blocks=5, **shape)
    assert [layer.nbytes for layer in layers] == [5 * kernels.kv_block_nbytes(**shape)] * 2


def test_a_cache_of_int8_takes_half_the_memory(kernels):
    shape = {"block_size": 16, "num_kv_heads": 8, "head_dim": 128}
    floats = kernels.kv_block_nbytes(**shape)
    ratio = kernels.kv_block_nbytes(**shape, quantization="int8") / floats
    # Beside 128 bytes stands a scale of 4.
    assert ratio == 132 / (256 if kernels.dtype == "bfloat16" else 512)


def test_an_unknown_format_of_the_cache_is_refused(kernels):
    with pytest.raises(ValueError, match="'fp8' is not supported; choose int8"):
        kernels.kv_block_nbytes(block_size=16, num_kv_heads=1, head_dim=64, quantization="fp8")


@pytest.mark.parametrize("window", [1, 64, 100])
def test_blocks_before_the_window_are_not_read(kernels, quantization, window):
    """Neither by decodes nor by prefills: they may hold NaN, or be gone from the table."""
    options = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 64, "quantization": quantization}
    sequences = PagedSequences(kernels, [400], **options)
    (expected,) = sequences.whole(window=window)
    for first, end in ((399, 400), (340, 400)):
        # Keys are taken in steps of 64, whose first may begin before the window.
        num_outside = max(0, first - window + 1) // 64 * 64
        nan = np.full((num_outside, sequences.qkv[0].shape[1]), np.nan, np.float32)
        slots = sequences.tables[0, np.arange(num_outside) // 16] * 16
        sequences.store(nan, (slots + np.arange(num_outside) % 16).astype(np.int32))
        # Reading far outside of the cache would crash.
        sequences.tables[0, : num_outside // 16] = 2**30
        (got,) = sequences.step([(0, first, end)], window=window)
        np.testing.assert_array_equal(got, expected[first:end])
        sequences = PagedSequences(kernels, [400], **options)
        sequences.whole(window=window)
