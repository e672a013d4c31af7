"""Choosing tokens: `reference_sampling.py` bit for bit, without sorting the vocabulary.

Logits are compared as integer keys in the order of the floats. Probabilities are integers too,
so a sum may be taken in any order, and a threshold is found digit by digit.
"""

import math

import numpy as np

from lite_kernels.cpu.isa.memory import (
    array_at,
    bits_to_float,
    empty_aligned,
    float_to_bits,
    stack_bytes,
)
from lite_kernels.cpu.kernel import jit, kernel
from lite_kernels.cpu.program import Program, argument, next_ticket
from lite_kernels.reference_sampling import (
    EXP_COEFFICIENTS,
    EXP_MIN,
    GREEDY_TEMPERATURE,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    NO_TOKEN,
    PHILOX_MULTIPLIERS,
    PHILOX_WEYL,
    ROUND_MAGIC,
    WEIGHT_ONE,
)

# Sums of this many weights of at most WEIGHT_ONE fit an int64.
MAX_VOCAB_SIZE = 2**19
# Tokens whose largest key is known after the first look at a row.
_BLOCK = 128
_KEY_INFINITY = 0x7F800000
_KEY_MINUS_INFINITY = -0x7F800001

_C0, _C1, _C2, _C3, _C4, _C5 = EXP_COEFFICIENTS
_ONE = np.float32(1.0)
_WEIGHT_ONE = np.float32(WEIGHT_ONE)
_M0, _M1 = (np.uint64(multiplier) for multiplier in PHILOX_MULTIPLIERS)
_W0, _W1 = (np.uint64(weyl) for weyl in PHILOX_WEYL)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF_BITS = np.uint64(32)
_UNUSED_BITS = np.uint64(11)


class SamplingScratch:
    """Working memory of `num_threads` threads for rows of up to `vocab_size` logits."""

    def __init__(self, num_threads: int, vocab_size: int) -> None:
        if vocab_size > MAX_VOCAB_SIZE:
            raise ValueError(
                f"a vocabulary of {vocab_size} tokens is more than sampling supports "
                f"({MAX_VOCAB_SIZE})"
            )
        self.vocab_size = vocab_size
        self.thread_bytes = -(-vocab_size // 64) * 64 * (8 + 8 + 4 + 4 + 4)
        self.memory = empty_aligned((num_threads, self.thread_bytes), np.dtype(np.uint8))


@jit
def _scratch_arrays(address, size):
    """Return block weights, weights, block keys, keys and ids, each of up to `size`."""
    padded = (size + 63) // 64 * 64
    return (
        array_at(address, (size,), np.int64),
        array_at(address + 8 * padded, (size,), np.int64),
        array_at(address + 16 * padded, (size,), np.int32),
        array_at(address + 20 * padded, (size,), np.int32),
        array_at(address + 24 * padded, (size,), np.int32),
    )


@jit
def _key(logit):
    """Return an int32 in the order of the floats; -0 and 0 are equal, NaNs lie beyond infinity."""
    bits = np.int32(float_to_bits(logit + np.float32(0.0)))
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


@jit
def _logit(key):
    """Return the float32 that has a key."""
    return bits_to_float(np.uint32(key ^ ((key >> np.int32(31)) & np.int32(0x7FFFFFFF))))


@jit
def _scan(row, block_keys):
    """Write each block's largest key; return the row's, or _KEY_INFINITY if it is unusable."""
    largest, smallest = np.int32(_KEY_MINUS_INFINITY), np.int32(_KEY_INFINITY)
    for block in range((row.size + _BLOCK - 1) // _BLOCK):
        high, low = np.int32(_KEY_MINUS_INFINITY), np.int32(_KEY_INFINITY)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, row.size)):
            key = _key(row[i])
            high, low = max(high, key), min(low, key)
        block_keys[block] = high
        largest, smallest = max(largest, high), min(smallest, low)
    if smallest < _KEY_MINUS_INFINITY or largest == _KEY_MINUS_INFINITY:
        return np.int32(_KEY_INFINITY)
    return min(largest, np.int32(_KEY_INFINITY))


@jit
def _first_with_key(row, block_keys, key):
    """Return the lowest id whose logit has `key`; there is one."""
    block = 0
    while block_keys[block] != key:
        block += 1
    token_id = block * _BLOCK
    while _key(row[token_id]) != key:
        token_id += 1
    return token_id


@jit
def _weight(x):
    """Return floor(exp(x) * 2**44) for x <= 0, as `reference_sampling.exp_weights`."""
    x = x if x > EXP_MIN else EXP_MIN
    shifted = x * LOG2_E + ROUND_MAGIC
    n = shifted - ROUND_MAGIC
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = ((((_C0 * r + _C1) * r + _C2) * r + _C3) * r + _C4) * r + _C5
    y = (p * (r * r) + r) + _ONE
    power = bits_to_float((float_to_bits(shifted) << np.uint32(23)) + np.uint32(0x3F800000))
    return np.int64((y * power) * _WEIGHT_ONE)


@jit
def _uniform(key0, key1, counter):
    """Return a multiple of 2**-53 in [0, 1): Philox-4x32-10, the counter in its first word."""
    c0, c1, c2, c3 = np.uint64(counter), np.uint64(0), np.uint64(0), np.uint64(0)
    k0, k1 = np.uint64(key0), np.uint64(key1)
    for _ in range(10):
        product0, product1 = _M0 * c0, _M1 * c2
        c0, c1 = (product1 >> _HALF_BITS) ^ c1 ^ k0, product1 & _LOW_HALF
        c2, c3 = (product0 >> _HALF_BITS) ^ c3 ^ k1, product0 & _LOW_HALF
        k0, k1 = (k0 + _W0) & _LOW_HALF, (k1 + _W1) & _LOW_HALF
    return np.float64((c1 << _HALF_BITS | c0) >> _UNUSED_BITS) * 2.0**-53


@jit
def _threshold(keys, weights, count, needed):
    """Find the largest key t whose keys >= t weigh `needed` or more; return t and what is above.

    One pass for each byte of the keys, from the top; `weights` of length 0 counts keys.
    """
    sums = array_at(stack_bytes(2048), (256,), np.int64)
    counting = weights.size == 0
    prefix, above = np.int64(0), np.int64(0)
    for shift in (24, 16, 8, 0):
        sums[:] = 0
        for i in range(count):
            key = np.int64(keys[i]) + 0x80000000
            if key >> (shift + 8) == prefix >> (shift + 8):
                sums[(key >> shift) & 0xFF] += 1 if counting else weights[i]
        digit = 255
        while digit > 0 and above + sums[digit] < needed:
            above += sums[digit]
            digit -= 1
        prefix |= digit << shift
    return np.int32(prefix - 0x80000000), above


@jit
def _gather_top(row, block_keys, k, keys, ids):
    """Collect the k largest logits (ties: lowest ids) in the order of their ids.

    PERF: with at least k blocks, the k-th largest block maximum bounds the k-th largest logit
    from below, so only blocks above it are looked at: 12 us instead of 150 for k = 50.
    """
    num_blocks = (row.size + _BLOCK - 1) // _BLOCK
    empty = array_at(np.int64(0), (0,), np.int64)
    bound = np.int32(_KEY_MINUS_INFINITY)
    if k <= num_blocks:
        bound, _ = _threshold(block_keys, empty, num_blocks, k)
    count = 0
    for block in range(num_blocks):
        if block_keys[block] >= bound:
            for i in range(block * _BLOCK, min((block + 1) * _BLOCK, row.size)):
                key = _key(row[i])
                if key >= bound:
                    keys[count], ids[count] = key, i
                    count += 1
    bound, above = _threshold(keys, empty, count, k)
    ties = k - above
    kept = 0
    for i in range(count):
        if keys[i] > bound or (keys[i] == bound and ties > 0):
            ties -= keys[i] == bound
            keys[kept], ids[kept] = keys[i], ids[i]
            kept += 1
    return kept


@jit
def _gather_above(row, block_keys, largest, inverse, lowest, keys, ids, weights):
    """Collect the tokens with (logit - largest) * inverse >= lowest, in the order of their ids."""
    count = 0
    for block in range((row.size + _BLOCK - 1) // _BLOCK):
        end = min((block + 1) * _BLOCK, row.size)
        if (_logit(block_keys[block]) - largest) * inverse < lowest:
            continue
        for i in range(block * _BLOCK, end):
            x = (row[i] - largest) * inverse
            if x >= lowest:
                keys[count], ids[count], weights[count] = _key(row[i]), i, _weight(x)
                count += 1
    return count


@jit
def _weigh_blocks(row, largest, inverse, lowest, block_weights):
    """Write each block's weight of tokens with x >= lowest; return their sum."""
    total = np.int64(0)
    for block in range((row.size + _BLOCK - 1) // _BLOCK):
        weight = np.int64(0)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, row.size)):
            x = (row[i] - largest) * inverse
            weight += _weight(x) if x >= lowest else np.int64(0)
        block_weights[block] = weight
        total += weight
    return total


@jit
def _keep_mass(keys, ids, weights, count, needed):
    """Keep the likeliest candidates (ties: lowest ids) that weigh `needed`, in order of ids."""
    bound, mass = _threshold(keys, weights, count, needed)
    kept = 0
    for i in range(count):
        tied = keys[i] == bound
        if keys[i] > bound or (tied and mass < needed):
            if tied:
                mass += weights[i]
            ids[kept], weights[kept] = ids[i], weights[i]
            kept += 1
    return kept


@jit
def _needed(top_p, total):
    return max(np.int64(1), np.int64(np.float64(top_p) * np.float64(total)))


@jit
def _draw(uniform, total):
    return min(np.int64(uniform * np.float64(total)), total - 1)


@jit
def _choose(ids, weights, count, uniform):
    """Return the id at which the cumulative weight, in the order of ids, passes the draw."""
    total = np.int64(0)
    for i in range(count):
        total += weights[i]
    left = _draw(uniform, total)
    i = 0
    while left >= weights[i]:
        left -= weights[i]
        i += 1
    return ids[i]


@jit
def _choose_from_row(row, largest, inverse, lowest, block_weights, total, uniform):
    """Return the id that the draw hits among all tokens with x >= lowest."""
    left = _draw(uniform, total)
    block = 0
    while left >= block_weights[block]:
        left -= block_weights[block]
        block += 1
    token_id = block * _BLOCK
    while True:
        x = (row[token_id] - largest) * inverse
        weight = _weight(x) if x >= lowest else np.int64(0)
        if left < weight:
            return token_id
        left -= weight
        token_id += 1


@jit
def _sample_row(row, temperature, top_k, top_p, min_p, uniform, scratch):
    block_weights, weights, block_keys, keys, ids = _scratch_arrays(scratch, row.size)
    key = _scan(row, block_keys)
    if key == _KEY_INFINITY:
        return NO_TOKEN
    best = _first_with_key(row, block_keys, key)
    if not temperature >= GREEDY_TEMPERATURE:
        return best
    largest, inverse = row[best], _ONE / temperature
    lowest = np.float32(-np.inf)
    if min_p > 0:
        lowest = np.float32(min(math.log(np.float64(min_p)), 0.0))
    if 0 < top_k < row.size:
        count = 0
        total = np.int64(0)
        for i in range(_gather_top(row, block_keys, top_k, keys, ids)):
            x = (row[ids[i]] - largest) * inverse
            if x >= lowest:
                keys[count], ids[count], weights[count] = keys[i], ids[i], _weight(x)
                total += weights[count]
                count += 1
    else:
        total = _weigh_blocks(row, largest, inverse, lowest, block_weights)
        if not top_p < 1:
            return _choose_from_row(row, largest, inverse, lowest, block_weights, total, uniform)
        # Tokens below an equal share of what may be left out cannot be in the shortest prefix.
        share = np.float64(total - _needed(top_p, total)) / row.size
        if share >= 1.0:
            bound = np.float32(math.log(share / WEIGHT_ONE) - 0.001)
            lowest = max(lowest, bound)
        count = _gather_above(row, block_keys, largest, inverse, lowest, keys, ids, weights)
    if top_p < 1:
        count = _keep_mass(keys, ids, weights, count, _needed(top_p, total))
    return _choose(ids, weights, count, uniform)


@kernel()
def sample_rows(tid, num_threads, args):
    """Record: logits, R, V, temperature, top_k, top_p, min_p, seeds, counters, out, scratch."""
    num_rows, size = argument(args, 1), argument(args, 2)
    temperature = array_at(argument(args, 3), (num_rows,), np.float32)
    top_k = array_at(argument(args, 4), (num_rows,), np.int32)
    top_p = array_at(argument(args, 5), (num_rows,), np.float32)
    min_p = array_at(argument(args, 6), (num_rows,), np.float32)
    seeds = array_at(argument(args, 7), (num_rows, 2), np.uint32)
    counters = array_at(argument(args, 8), (num_rows,), np.uint32)
    token_ids = array_at(argument(args, 9), (num_rows,), np.int32)
    scratch = argument(args, 10) + tid * argument(args, 11)
    while True:
        r = next_ticket(args, num_threads, num_rows)
        if r < 0:
            return
        row = array_at(argument(args, 0) + 4 * r * size, (size,), np.float32)
        uniform = _uniform(seeds[r, 0], seeds[r, 1], counters[r])
        token_ids[r] = _sample_row(
            row, temperature[r], np.int64(top_k[r]), top_p[r], min_p[r], uniform, scratch
        )


@jit
def _sort(keys, ids, count):
    """Sort by descending key; insertion keeps equal keys in the order of their ids."""
    for i in range(1, count):
        key, token_id = keys[i], ids[i]
        j = i
        while j > 0 and keys[j - 1] < key:
            keys[j], ids[j] = keys[j - 1], ids[j - 1]
            j -= 1
        keys[j], ids[j] = key, token_id


@jit
def _rank(row, token_id):
    """Return 1 + the number of likelier tokens, equally likely ones of lower id included."""
    key = _key(row[token_id])
    rank = 1
    for i in range(row.size):
        rank += _key(row[i]) > key
    for i in range(token_id):
        rank += _key(row[i]) == key
    return rank


@jit
def _logprobs_row(row, token_id, num_top, out_ids, out_logprobs, out_ranks, scratch):
    block_weights, _, block_keys, keys, ids = _scratch_arrays(scratch, row.size)
    out_ids[:] = NO_TOKEN
    out_logprobs[:] = np.nan
    out_ranks[:] = 0
    out_ids[0] = token_id
    key = _scan(row, block_keys)
    if key == _KEY_INFINITY:
        return
    largest = row[_first_with_key(row, block_keys, key)]
    total = _weigh_blocks(row, largest, _ONE, np.float32(-np.inf), block_weights)
    log_total = np.float32(math.log(np.float64(total) / WEIGHT_ONE))
    if 0 <= token_id < row.size:
        out_logprobs[0] = (row[token_id] - largest) - log_total
        out_ranks[0] = _rank(row, token_id)
    if num_top == 0:
        return
    count = _gather_top(row, block_keys, min(num_top, row.size), keys, ids)
    _sort(keys, ids, count)
    for i in range(count):
        out_ids[1 + i] = ids[i]
        out_logprobs[1 + i] = (row[ids[i]] - largest) - log_total
        out_ranks[1 + i] = 1 + i


@kernel()
def logprobs_of_rows(tid, num_threads, args):
    """Record: logits, R, V, token ids, num_top, out ids, logprobs, ranks, scratch."""
    num_rows, size, num_top = argument(args, 1), argument(args, 2), argument(args, 4)
    token_ids = array_at(argument(args, 3), (num_rows,), np.int32)
    out_ids = array_at(argument(args, 5), (num_rows, 1 + num_top), np.int32)
    out_logprobs = array_at(argument(args, 6), (num_rows, 1 + num_top), np.float32)
    out_ranks = array_at(argument(args, 7), (num_rows, 1 + num_top), np.int32)
    scratch = argument(args, 8) + tid * argument(args, 9)
    while True:
        r = next_ticket(args, num_threads, num_rows)
        if r < 0:
            return
        row = array_at(argument(args, 0) + 4 * r * size, (size,), np.float32)
        _logprobs_row(
            row, token_ids[r], num_top, out_ids[r], out_logprobs[r], out_ranks[r], scratch
        )


@kernel()
def edit_rows(tid, num_threads, args):
    """Record: logits, R, V, the edits' arrays as in `Kernels.edit_logits`."""
    num_rows, size = argument(args, 1), argument(args, 2)
    loc = array_at(argument(args, 3), (num_rows + 1,), np.int32)
    num_edits = np.int64(loc[num_rows])
    ids = array_at(argument(args, 4), (num_edits,), np.int32)
    counts = array_at(argument(args, 5), (num_edits,), np.int32)
    in_prompt = array_at(argument(args, 6), (num_edits,), np.uint8)
    bias = array_at(argument(args, 7), (num_edits,), np.float32)
    repetition = array_at(argument(args, 8), (num_rows,), np.float32)
    presence = array_at(argument(args, 9), (num_rows,), np.float32)
    frequency = array_at(argument(args, 10), (num_rows,), np.float32)
    for r in range(tid, num_rows, num_threads):
        row = array_at(argument(args, 0) + 4 * r * size, (size,), np.float32)
        for i in range(loc[r], loc[r + 1]):
            value = row[ids[i]]
            if counts[i] > 0 or in_prompt[i] > 0:
                value = value / repetition[r] if value > 0 else value * repetition[r]
            value -= frequency[r] * np.float32(counts[i])
            if counts[i] > 0:
                value -= presence[r]
            row[ids[i]] = value + bias[i]


def append_sample(
    program: Program,
    logits: np.ndarray,
    *options: np.ndarray,
    scratch: SamplingScratch,
) -> None:
    """Append `Kernels.sample`; `options` are its remaining arrays, in its order."""
    program.append(
        sample_rows, logits, *logits.shape, *options, scratch.memory, scratch.thread_bytes
    )


def append_logprobs(
    program: Program,
    logits: np.ndarray,
    token_ids: np.ndarray,
    num_top: int,
    *outputs: np.ndarray,
    scratch: SamplingScratch,
) -> None:
    """Append `Kernels.logprobs`; `outputs` are its output arrays, in its order."""
    program.append(
        logprobs_of_rows,
        logits,
        *logits.shape,
        token_ids,
        num_top,
        *outputs,
        scratch.memory,
        scratch.thread_bytes,
    )


def append_edit_logits(program: Program, logits: np.ndarray, *edits: np.ndarray) -> None:
    """Append `Kernels.edit_logits`; `edits` are its remaining arrays, in its order."""
    program.append(edit_rows, logits, *logits.shape, *edits)
