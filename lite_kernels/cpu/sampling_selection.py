"""Finding the likeliest tokens of a row without sorting it.

Logits are compared as integer keys in the order of the floats. Probabilities are integers too,
so a sum may be taken in any order, and a threshold is found digit by digit.
"""

import math

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, bits_to_float, stack_bytes
from lite_kernels.cpu.kernel import jit
from lite_kernels.cpu.sampling_blocks import BLOCK, block_keys, block_weight, key_of, weight_of
from lite_kernels.reference_sampling import WEIGHT_ONE

# Blocks looked at first for a top_p prefix.
_PREFIX_BLOCKS = 256
# Halvings of the bound's interval where that is not enough.
_PREFIX_LOOKS = 4
# The key of an unusable row: +inf, or a NaN.
UNUSABLE = 0x7F800000
_KEY_MINUS_INFINITY = -0x7F800001


@jit
def _address(row, index):
    return row.ctypes.data + 4 * index


@jit
def _logit(key):
    """Return the float32 that has a key."""
    return bits_to_float(np.uint32(key ^ ((key >> np.int32(31)) & np.int32(0x7FFFFFFF))))


@jit
def scan(row, largest_keys):
    """Write each block's largest key; return the row's, or UNUSABLE if it is unusable."""
    largest, smallest = np.int32(_KEY_MINUS_INFINITY), np.int32(UNUSABLE)
    for block in range((row.size + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        if first + BLOCK <= row.size:
            high, low = block_keys(_address(row, first))
        else:
            high, low = np.int32(_KEY_MINUS_INFINITY), np.int32(UNUSABLE)
            for i in range(first, row.size):
                key = key_of(row[i])
                high, low = max(high, key), min(low, key)
        largest_keys[block] = high
        largest, smallest = max(largest, high), min(smallest, low)
    if smallest < _KEY_MINUS_INFINITY or largest == _KEY_MINUS_INFINITY:
        return np.int32(UNUSABLE)
    return min(largest, np.int32(UNUSABLE))


@jit
def first_with_key(row, largest_keys, key):
    """Return the lowest id whose logit has `key`; there is one."""
    block = 0
    while largest_keys[block] != key:
        block += 1
    token_id = block * BLOCK
    while key_of(row[token_id]) != key:
        token_id += 1
    return token_id


@jit
def _threshold(keys, weights, count, needed):
    """Find the largest key t whose keys >= t weigh `needed` or more; return t and what is above.

    One pass for each byte of the keys, from the top; `weights` of length 0 counts keys.
    """
    sums = array_at(stack_bytes(2048), (256,), np.int64)
    counting = weights.size == 0
    prefix, above = np.int64(0), np.int64(0)
    for shift in (24, 16, 8, 0):
        for i in range(256):
            sums[i] = 0
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
def needed_weight(top_p, total):
    return max(np.int64(1), np.int64(np.float64(top_p) * np.float64(total)))


@jit
def gather_top(row, largest_keys, k, keys, ids):
    """Collect the k largest logits (ties: lowest ids) in the order of their ids.

    PERF: with at least k blocks, the k-th largest block maximum bounds the k-th largest logit
    from below, so only blocks above it are looked at: 12 us instead of 150 for k = 50.
    """
    num_blocks = (row.size + BLOCK - 1) // BLOCK
    unweighted = array_at(0, (np.int64(0),), np.int64)
    bound = np.int32(_KEY_MINUS_INFINITY)
    if k <= num_blocks:
        bound, _ = _threshold(largest_keys, unweighted, num_blocks, k)
    count = np.int64(0)
    for block in range(num_blocks):
        if largest_keys[block] >= bound:
            for i in range(block * BLOCK, min((block + 1) * BLOCK, row.size)):
                key = key_of(row[i])
                if key >= bound:
                    keys[count], ids[count] = key, i
                    count += 1
    bound, above = _threshold(keys, unweighted, count, k)
    ties = k - above
    kept = 0
    for i in range(count):
        if keys[i] > bound or (keys[i] == bound and ties > 0):
            ties -= keys[i] == bound
            keys[kept], ids[kept] = keys[i], ids[i]
            kept += 1
    return kept


@jit
def gather_above(row, largest_keys, largest, inverse, lowest, keys, ids, weights):
    """Collect the tokens with (logit - largest) * inverse >= lowest, in the order of their ids.

    Return how many and their weight.
    """
    count, total = np.int64(0), np.int64(0)
    for block in range((row.size + BLOCK - 1) // BLOCK):
        if (_logit(largest_keys[block]) - largest) * inverse < lowest:
            continue
        for i in range(block * BLOCK, min((block + 1) * BLOCK, row.size)):
            x = (row[i] - largest) * inverse
            if x >= lowest:
                keys[count], ids[count], weights[count] = key_of(row[i]), i, weight_of(x)
                total += weights[count]
                count += 1
    return count, total


@jit
def _weigh_block(row, block, largest, inverse, lowest):
    """Return the weight of a block's tokens with (logit - largest) * inverse >= lowest."""
    first = block * BLOCK
    if first + BLOCK <= row.size:
        return block_weight(_address(row, first), largest, inverse, lowest)
    weight = np.int64(0)
    for i in range(first, row.size):
        x = (row[i] - largest) * inverse
        if x >= lowest:
            weight += weight_of(x)
    return weight


@jit
def weigh_blocks(row, largest, inverse, block_weights):
    """Write the weight of each block; return their sum."""
    total = np.int64(0)
    for block in range((row.size + BLOCK - 1) // BLOCK):
        block_weights[block] = _weigh_block(row, block, largest, inverse, np.float32(-np.inf))
        total += block_weights[block]
    return total


@jit
def _weigh_above(row, largest_keys, largest, inverse, lowest):
    """Return the weight of all tokens with (logit - largest) * inverse >= lowest."""
    total = np.int64(0)
    for block in range((row.size + BLOCK - 1) // BLOCK):
        if (_logit(largest_keys[block]) - largest) * inverse >= lowest:
            total += _weigh_block(row, block, largest, inverse, lowest)
    return total


@jit
def gather_prefix(row, largest_keys, largest, inverse, total, top_p, keys, ids, weights):
    """Collect tokens that include the shortest prefix of weight top_p * total; return how many.

    PERF: mostly that prefix lies above the 256th largest block maximum. Else the bound is
    narrowed by looks at the whole row, 40 us each, since 1 ms would go into gathering it all.
    """
    needed = needed_weight(top_p, total)
    num_blocks = (row.size + BLOCK - 1) // BLOCK
    highest = np.float32(0.0)
    if num_blocks > _PREFIX_BLOCKS:
        unweighted = array_at(0, (np.int64(0),), np.int64)
        bound, _ = _threshold(largest_keys, unweighted, num_blocks, np.int64(_PREFIX_BLOCKS))
        highest = (_logit(bound) - largest) * inverse
        count, mass = gather_above(row, largest_keys, largest, inverse, highest, keys, ids, weights)
        if mass >= needed:
            return count
    # Tokens below an equal share of what may be left out cannot be in the shortest prefix.
    share = max(1.0, np.float64(total - needed) / row.size)
    lowest = np.float32(math.log(share / WEIGHT_ONE) - 0.001)
    if num_blocks > _PREFIX_BLOCKS:
        for _ in range(_PREFIX_LOOKS):
            middle = np.float32(0.5) * (lowest + highest)
            if _weigh_above(row, largest_keys, largest, inverse, middle) >= needed:
                lowest = middle
            else:
                highest = middle
    count, _ = gather_above(row, largest_keys, largest, inverse, lowest, keys, ids, weights)
    return count


@jit
def keep_weight(keys, ids, weights, count, needed):
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
