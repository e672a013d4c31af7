"""The executable specification of sampling, one row at a time.

Probabilities are integers, `exp_weights`, so their sums do not depend on any order and every
backend that evaluates the same float32 polynomial chooses the same token, bit for bit.
"""

import math

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

# The most likely token weighs 2**44: 2**19 tokens cannot overflow an int64.
WEIGHT_ONE = 2.0**44
# Temperatures below this are greedy, as in vLLM.
GREEDY_TEMPERATURE = np.float32(1e-5)
NO_TOKEN = -1

# exp(x) = 2**n * exp(r), |r| <= ln(2)/2: the Cephes expf reduction and polynomial, with every
# product and sum rounded to float32 (no fused multiply-add), 2e-7 relative.
EXP_MIN = np.float32(-87.0)
LOG2_E = np.float32(1.44269504)
LN2_HIGH = np.float32(0.693359375)
LN2_LOW = np.float32(-2.12194440e-4)
EXP_COEFFICIENTS = tuple(
    np.float32(c)
    for c in (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
)
# Adding and subtracting 1.5 * 2**23 rounds a small float32 to the nearest integer, ties to even.
ROUND_MAGIC = np.float32(12582912.0)

PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK32 = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return four uint32 of Philox-4x32-10.

    Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = PHILOX_MULTIPLIERS[0] * c0, PHILOX_MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> 32) ^ c1 ^ k0,
            product1 & _MASK32,
            (product0 >> 32) ^ c3 ^ k1,
            product0 & _MASK32,
        )
        k0, k1 = (k0 + PHILOX_WEYL[0]) & _MASK32, (k1 + PHILOX_WEYL[1]) & _MASK32
    return c0, c1, c2, c3


def uniform(seed: tuple[int, int], counter: int) -> float:
    """Return the draw of an output position: a multiple of 2**-53 in [0, 1)."""
    low, high, _, _ = philox((counter, 0, 0, 0), seed)
    return float(((high << 32 | low) >> 11) * 2.0**-53)


def exp_weights(x: Float32Array) -> Int64Array:
    """Return floor(exp(x) * 2**44) of float32 x <= 0 as int64; 0 below about -30.5."""
    x = np.maximum(x, EXP_MIN)
    n = (x * LOG2_E + ROUND_MAGIC) - ROUND_MAGIC
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = np.full_like(r, EXP_COEFFICIENTS[0])
    for coefficient in EXP_COEFFICIENTS[1:]:
        p = p * r + coefficient
    y = (p * (r * r) + r) + np.float32(1.0)
    power = ((n.astype(np.int32) + np.int32(127)) << np.int32(23)).view(np.float32)
    weights: Int64Array = ((y * power) * np.float32(WEIGHT_ONE)).astype(np.int64)
    return weights


def usable(logits: Float32Array) -> bool:
    """Tell whether a row has a finite maximum and no NaN."""
    return not bool(np.isnan(logits).any()) and math.isfinite(float(logits.max()))


def sample_row(
    logits: Float32Array,
    *,
    temperature: np.float32,
    top_k: int,
    top_p: np.float32,
    min_p: np.float32,
    seed: tuple[int, int],
    counter: int,
) -> int:
    """Choose a token id, or NO_TOKEN if the row holds a NaN, +inf or nothing but -inf.

    Weights are those of (logit - max) / temperature. Kept are, in this order, the tokens of at
    least min_p times the largest weight, the top_k most likely of them (ties: lowest id), and
    the shortest prefix of those by descending logit that holds top_p of their weight. The draw
    inverts the cumulative weight of the kept tokens in the order of their ids.
    """
    if not usable(logits):
        return NO_TOKEN
    largest = logits.max()
    if not temperature >= GREEDY_TEMPERATURE:
        return int(np.argmax(logits))
    x = (logits - largest) * (np.float32(1.0) / np.float32(temperature))
    kept = np.argsort(-logits, kind="stable")
    if min_p > 0:
        kept = kept[x[kept] >= np.float32(min(math.log(min_p), 0.0))]
    if top_k > 0:
        kept = kept[:top_k]
    weights = exp_weights(x)
    if top_p < 1:
        cumulative = np.cumsum(weights[kept])
        needed = max(1, int(float(top_p) * float(cumulative[-1])))
        kept = kept[: int(np.searchsorted(cumulative, needed)) + 1]
    kept = np.sort(kept)
    cumulative = np.cumsum(weights[kept])
    total = int(cumulative[-1])
    drawn = min(int(uniform(seed, counter) * float(total)), total - 1)
    return int(kept[np.searchsorted(cumulative, drawn, side="right")])


def edit_row(
    logits: Float32Array,
    token_ids: Int32Array,
    *,
    counts: Int32Array,
    in_prompt: npt.NDArray[np.uint8],
    bias: Float32Array,
    repetition: np.float32,
    presence: np.float32,
    frequency: np.float32,
) -> None:
    """Apply, to each listed token: repetition, frequency, presence, then the bias."""
    for i, token_id in enumerate(token_ids):
        value = logits[token_id]
        if counts[i] > 0 or in_prompt[i]:
            value = value / repetition if value > 0 else value * repetition
        value = value - frequency * np.float32(counts[i])
        if counts[i] > 0:
            value = value - presence
        logits[token_id] = value + bias[i]


def logprobs_row(
    logits: Float32Array, token_id: int, num_top: int
) -> tuple[Int32Array, Float32Array, Int32Array]:
    """Return ids, log-probabilities and ranks of the chosen token, then of the most likely.

    A row that is not `usable`, or a token id outside the row, gives NaN and rank 0; the ids of
    the most likely are then NO_TOKEN. Entries beyond the vocabulary are NO_TOKEN likewise.
    """
    ids = np.full(1 + num_top, NO_TOKEN, np.int32)
    values = np.full(1 + num_top, np.nan, np.float32)
    ranks = np.zeros(1 + num_top, np.int32)
    ids[0] = token_id
    if not usable(logits):
        return ids, values, ranks
    largest = logits.max()
    total = int(exp_weights(logits - largest).sum())
    log_total = np.float32(math.log(total / WEIGHT_ONE))
    if 0 <= token_id < len(logits):
        chosen = logits[token_id]
        values[0] = (chosen - largest) - log_total
        ranks[0] = 1 + np.sum(logits > chosen) + np.sum(logits[:token_id] == chosen)
    top = np.argsort(-logits, kind="stable")[:num_top]
    ids[1 : 1 + len(top)] = top
    values[1 : 1 + len(top)] = (logits[top] - largest) - log_total
    ranks[1 : 1 + len(top)] = np.arange(1, 1 + len(top))
    return ids, values, ranks
