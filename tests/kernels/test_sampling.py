"""Sampling on the CPU: the reference's choices bit for bit, and the right distribution."""

import numpy as np
import pytest

import lite_kernels
from lite_kernels.reference_sampling import exp_weights


@pytest.fixture(scope="module")
def kernels():
    with_two_threads = lite_kernels.load("cpu", num_threads=2)
    yield with_two_threads
    with_two_threads.close()


REFERENCE = lite_kernels.load("reference")


def _sample(
    kernels, logits, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seeds=(1, 2), counters=0
):
    """Sample every row; options are one value for all rows, or one for each."""
    rows = len(logits)
    token_ids = np.full(rows, -7, np.int32)
    kernels.sample(
        np.ascontiguousarray(logits, np.float32),
        np.array(np.broadcast_to(temperature, rows), np.float32),
        np.array(np.broadcast_to(top_k, rows), np.int32),
        np.array(np.broadcast_to(top_p, rows), np.float32),
        np.array(np.broadcast_to(min_p, rows), np.float32),
        np.ascontiguousarray(np.broadcast_to(seeds, (rows, 2)), np.uint32),
        np.array(np.broadcast_to(counters, rows), np.uint32),
        token_ids,
    )
    return token_ids


def _random_options(rng, rows):
    return {
        "temperature": rng.choice([0, 1e-6, 0.3, 1, 1.7, 100], rows),
        "top_k": rng.choice([0, 1, 2, 5, 50, 3000], rows),
        "top_p": rng.choice([1, 0.999, 0.9, 0.5, 0.01], rows),
        "min_p": rng.choice([0, 0.001, 0.1, 1], rows),
        "seeds": rng.integers(0, 2**32, (rows, 2)),
        "counters": rng.integers(0, 2**32, rows),
    }


@pytest.mark.parametrize("spread", [0.0, 0.3, 2.0, 8.0])
@pytest.mark.parametrize("vocab_size", [1, 7, 127, 128, 129, 1000, 5003, 151_936])
def test_choices_are_those_of_the_reference(kernels, vocab_size, spread):
    rng = np.random.default_rng(vocab_size)
    rows = 4 if vocab_size > 100_000 else 60
    logits = (rng.standard_normal((rows, vocab_size)) * spread).astype(np.float32)
    # Ties, and tokens that are banned.
    logits[::3] = np.round(logits[::3] * 2) / 2
    logits[1::4, rng.integers(0, vocab_size, vocab_size // 3)] = -np.inf
    options = _random_options(rng, rows)
    np.testing.assert_array_equal(
        _sample(kernels, logits, **options), _sample(REFERENCE, logits, **options)
    )


@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("top_p", [0.001, 0.5, 0.9, 0.999, 0.999999])
def test_the_shortest_prefix_of_a_large_vocabulary_is_exact(kernels, top_p, spread):
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((6, 50_001)) * spread).astype(np.float32)
    logits[:, rng.integers(0, 50_001, 30)] += 4.0
    options = {"top_p": top_p, "temperature": [1, 0.5, 3, 1, 1, 100], "counters": np.arange(6)}
    np.testing.assert_array_equal(
        _sample(kernels, logits, **options), _sample(REFERENCE, logits, **options)
    )


def test_a_row_is_sampled_alike_wherever_it_stands(kernels):
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((40, 3000)) * 3).astype(np.float32)
    options = _random_options(rng, 40)
    expected = _sample(kernels, logits, **options)
    order = rng.permutation(40)[:23]
    moved = {name: values[order] for name, values in options.items()}
    np.testing.assert_array_equal(_sample(kernels, logits[order], **moved), expected[order])


def _kept(logits, *, temperature, top_k, top_p, min_p):
    """Return the probabilities after the filters, in float64 and by sorting."""
    order = np.argsort(-logits, kind="stable")
    probabilities = np.exp((logits[order] - logits.max()).astype(np.float64) / temperature)
    probabilities /= probabilities.sum()
    probabilities[probabilities < min_p * probabilities[0]] = 0
    if top_k:
        probabilities[top_k:] = 0
    probabilities /= probabilities.sum()
    probabilities[np.cumsum(probabilities) - probabilities >= top_p] = 0
    out = np.zeros(len(logits))
    out[order] = probabilities / probabilities.sum()
    return out


@pytest.mark.parametrize(
    "filters",
    [
        {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
        {"temperature": 0.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
        {"temperature": 2.0, "top_k": 8, "top_p": 1.0, "min_p": 0.0},
        {"temperature": 1.0, "top_k": 0, "top_p": 0.8, "min_p": 0.0},
        {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.1},
        {"temperature": 1.5, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
    ],
    ids=str,
)
def test_draws_follow_the_filtered_distribution(kernels, filters):
    num_draws, vocab_size = 20_000, 60
    logits = np.random.default_rng(3).standard_normal(vocab_size).astype(np.float32) * 1.5
    expected = _kept(logits, **filters) * num_draws
    rows = np.tile(logits, (num_draws, 1))
    token_ids = _sample(kernels, rows, counters=np.arange(num_draws), seeds=(11, 5), **filters)
    counts = np.bincount(token_ids, minlength=vocab_size)
    assert not counts[expected == 0].any()
    seen = expected > 0
    chi_square = ((counts[seen] - expected[seen]) ** 2 / expected[seen]).sum()
    freedom = seen.sum() - 1
    # Wilson and Hilferty's approximation of the quantile exceeded once in 10 000.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.72 * (2 / (9 * freedom)) ** 0.5) ** 3
    assert chi_square < limit


def test_draws_of_two_seeds_are_independent(kernels):
    logits = np.zeros((4000, 4), np.float32)
    counters = np.arange(4000)
    draws = [_sample(kernels, logits, seeds=seed, counters=counters) for seed in [(1, 0), (2, 0)]]
    pairs = np.bincount(draws[0] * 4 + draws[1], minlength=16)
    # 15 degrees of freedom: 44.3 is exceeded once in 10 000.
    assert ((pairs - 250) ** 2 / 250).sum() < 44.3


def test_the_same_seed_and_position_give_the_same_token(kernels):
    logits = np.tile(np.random.default_rng(0).standard_normal(500), (30, 1))
    assert len(set(_sample(kernels, logits, seeds=(7, 7), counters=9).tolist())) == 1
    assert len(set(_sample(kernels, logits, seeds=(7, 7), counters=np.arange(30)).tolist())) > 1


@pytest.mark.parametrize("temperature", [0.0, 1e-6])
def test_greedy_takes_the_lowest_id_of_a_tie(kernels, temperature):
    logits = np.zeros((3, 700), np.float32)
    logits[0, [650, 300, 301]] = 2.0
    logits[1] = -0.0
    logits[1, 5:] = 0.0
    logits[2, 699] = 1.0
    assert _sample(kernels, logits, temperature=temperature).tolist() == [300, 0, 699]


@pytest.mark.parametrize(
    "options", [{"top_k": 1}, {"top_p": 1e-9}, {"top_p": 0.0}, {"min_p": 1.0, "top_k": 1}], ids=str
)
def test_the_strictest_filters_keep_the_likeliest_of_lowest_id(kernels, options):
    logits = np.tile(np.random.default_rng(0).standard_normal(1000), (50, 1))
    logits[:, [400, 900]] = 9.0
    chosen = _sample(kernels, logits, counters=np.arange(50), **options)
    assert set(chosen.tolist()) == {400}


def test_a_tie_at_the_k_th_place_goes_to_the_lowest_ids(kernels):
    logits = np.zeros((400, 300), np.float32)
    logits[:, 200] = 1.0
    chosen = _sample(kernels, logits, top_k=3, counters=np.arange(400))
    assert set(chosen.tolist()) == {0, 1, 200}


def test_a_top_k_beyond_the_vocabulary_keeps_everything(kernels):
    logits = np.zeros((400, 5), np.float32)
    chosen = _sample(kernels, logits, top_k=1000, counters=np.arange(400))
    assert set(chosen.tolist()) == set(range(5))


def test_banned_tokens_are_never_chosen(kernels):
    logits = np.full((500, 300), -np.inf, np.float32)
    logits[:, [3, 299]] = [0.0, -20.0]
    for options in ({}, {"temperature": 100.0}, {"top_k": 50}, {"top_p": 0.99999}):
        chosen = _sample(kernels, logits, counters=np.arange(500), **options)
        assert set(chosen.tolist()) <= {3, 299}


@pytest.mark.parametrize("each", ["kernels", "reference"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_without_a_usable_maximum_gives_minus_one(kernels, each, temperature):
    logits = np.zeros((6, 200), np.float32)
    logits[0, 150] = np.nan
    logits[1, 3] = -np.nan
    logits[2, 199] = np.inf
    logits[3] = -np.inf
    logits[4, 1:] = -np.inf
    chosen = _sample(
        kernels if each == "kernels" else REFERENCE, logits, temperature=temperature, top_k=1
    )
    assert chosen.tolist() == [-1, -1, -1, -1, 0, 0]


def test_logits_are_left_unchanged(kernels):
    logits = np.random.default_rng(0).standard_normal((5, 999)).astype(np.float32)
    before = logits.copy()
    _sample(kernels, logits, top_k=40, top_p=0.9, temperature=0.7)
    np.testing.assert_array_equal(logits, before)


def test_a_vocabulary_whose_weights_could_overflow_is_refused(kernels):
    with pytest.raises(ValueError, match="524289 tokens"):
        _sample(kernels, np.zeros((1, 2**19 + 1), np.float32))


def test_edits_are_those_of_the_reference(kernels):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((20, 500)).astype(np.float32) * 4
    counts = rng.integers(0, 60, 20)
    loc = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    ids = [rng.choice(500, n, replace=False) for n in counts]
    edits = (
        loc,
        np.concatenate(ids).astype(np.int32),
        rng.integers(0, 4, loc[-1]).astype(np.int32),
        rng.integers(0, 2, loc[-1]).astype(np.uint8),
        rng.choice([0.0, 1.5, -100.0, -np.inf], loc[-1]).astype(np.float32),
        rng.choice([1.0, 1.3, 0.7], 20).astype(np.float32),
        rng.choice([0.0, 0.5, -2.0], 20).astype(np.float32),
        rng.choice([0.0, 0.25, 2.0], 20).astype(np.float32),
    )
    ours, theirs = logits.copy(), logits.copy()
    kernels.edit_logits(ours, *edits)
    REFERENCE.edit_logits(theirs, *edits)
    np.testing.assert_array_equal(ours, theirs)
    assert (ours != logits).any()


@pytest.mark.parametrize("each", ["kernels", "reference"])
def test_penalties_follow_their_definitions(kernels, each):
    logits = np.array([[2.0, -2.0, 3.0, 1.0]], np.float32)
    (kernels if each == "kernels" else REFERENCE).edit_logits(
        logits,
        np.array([0, 3], np.int32),
        np.array([0, 1, 2], np.int32),
        np.array([3, 0, 0], np.int32),
        np.array([0, 1, 0], np.uint8),
        np.array([0.0, 0.0, 10.0], np.float32),
        np.array([2.0], np.float32),
        np.array([0.5], np.float32),
        np.array([0.125], np.float32),
    )
    assert logits.tolist() == [[2.0 / 2 - 3 * 0.125 - 0.5, -2.0 * 2, 3.0 + 10, 1.0]]


@pytest.mark.parametrize("each", ["kernels", "reference"])
def test_keep_only_bans_all_other_tokens(kernels, each):
    logits = np.arange(12, dtype=np.float32).reshape(2, 6)
    (kernels if each == "kernels" else REFERENCE).keep_only(logits, 1, np.array([4, 0], np.int32))
    ban = -np.inf
    assert logits.tolist() == [[0, 1, 2, 3, 4, 5], [6, ban, ban, ban, 10, ban]]


def _logprobs(kernels, logits, token_ids, num_top):
    shape = (len(logits), 1 + num_top)
    out = (np.zeros(shape, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.int32))
    kernels.logprobs(logits, np.array(token_ids, np.int32), num_top, *out)
    return out


@pytest.mark.parametrize("num_top", [0, 1, 5, 20])
@pytest.mark.parametrize("vocab_size", [3, 129, 5000])
def test_logprobs_are_those_of_the_reference(kernels, vocab_size, num_top):
    rng = np.random.default_rng(vocab_size)
    logits = np.round(rng.standard_normal((30, vocab_size)) * 8).astype(np.float32) / 2
    logits[3, 1] = -np.inf
    logits[4] = -np.inf
    logits[5, 2] = np.nan
    token_ids = rng.integers(0, vocab_size, 30)
    token_ids[3], token_ids[6] = 1, -1
    ours = _logprobs(kernels, logits, token_ids, num_top)
    theirs = _logprobs(REFERENCE, logits, token_ids, num_top)
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_logprobs_are_log_softmax_with_ranks(kernels):
    logits = np.random.default_rng(0).standard_normal((4, 3000)).astype(np.float32) * 4
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum(1, keepdims=True))
    ids, logprobs, ranks = _logprobs(kernels, logits, [5, 17, 0, 2999], 10)
    order = np.argsort(-logits, axis=1)
    np.testing.assert_array_equal(ids[:, 0], [5, 17, 0, 2999])
    np.testing.assert_array_equal(ids[:, 1:], order[:, :10])
    np.testing.assert_array_equal(ranks[:, 1:], np.tile(np.arange(1, 11), (4, 1)))
    for row in range(4):
        np.testing.assert_allclose(logprobs[row], exact[row, ids[row]], atol=2e-6)
        assert order[row, ranks[row, 0] - 1] == ids[row, 0]


def test_a_row_has_the_same_logprobs_wherever_it_stands(kernels):
    logits = np.random.default_rng(0).standard_normal((9, 777)).astype(np.float32)
    token_ids = np.arange(9) * 80
    whole = _logprobs(kernels, logits, token_ids, 5)
    for row in range(9):
        alone = _logprobs(kernels, logits[row : row + 1], token_ids[row : row + 1], 5)
        for got, expected in zip(alone, whole, strict=True):
            np.testing.assert_array_equal(got[0], expected[row])


def test_weights_do_not_depend_on_where_the_vocabulary_ends(kernels):
    logits = np.random.default_rng(0).standard_normal((1, 300)).astype(np.float32)
    padded = np.full((1, 1000), -np.inf, np.float32)
    padded[:, :300] = logits
    assert exp_weights(padded[0] - padded.max())[300:].sum() == 0
    for got, expected in zip(
        _logprobs(kernels, padded, [7], 5), _logprobs(kernels, logits, [7], 5), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
