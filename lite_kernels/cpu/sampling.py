"""Choosing tokens and reporting their probabilities: `reference_sampling.py`, bit for bit."""

import math

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, empty_aligned
from lite_kernels.cpu.kernel import jit, kernel
from lite_kernels.cpu.program import Program, argument, next_ticket
from lite_kernels.cpu.sampling_blocks import BLOCK, key_of, weight_of
from lite_kernels.cpu.sampling_selection import (
    UNUSABLE,
    first_with_key,
    gather_above,
    gather_prefix,
    gather_top,
    keep_weight,
    needed_weight,
    scan,
    weigh_blocks,
)
from lite_kernels.reference_sampling import (
    GREEDY_TEMPERATURE,
    NO_TOKEN,
    PHILOX_MULTIPLIERS,
    PHILOX_WEYL,
    WEIGHT_ONE,
)

# Sums of this many weights of at most WEIGHT_ONE fit an int64.
MAX_VOCAB_SIZE = 2**19

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
def _choose_from_row(row, largest, inverse, block_weights, total, uniform):
    """Return the id that the draw hits among all tokens."""
    left = _draw(uniform, total)
    block = 0
    while left >= block_weights[block]:
        left -= block_weights[block]
        block += 1
    token_id = block * BLOCK
    weight = weight_of((row[token_id] - largest) * inverse)
    while left >= weight:
        left -= weight
        token_id += 1
        weight = weight_of((row[token_id] - largest) * inverse)
    return token_id


@jit
def _sample_row(row, temperature, top_k, top_p, min_p, uniform, scratch):
    block_weights, weights, largest_keys, keys, ids = _scratch_arrays(scratch, row.size)
    key = scan(row, largest_keys)
    if key == UNUSABLE:
        return NO_TOKEN
    best = first_with_key(row, largest_keys, key)
    if not temperature >= GREEDY_TEMPERATURE:
        return best
    largest, inverse = row[best], np.float32(1.0) / temperature
    lowest = np.float32(-np.inf)
    if min_p > 0:
        lowest = np.float32(min(math.log(np.float64(min_p)), 0.0))
    if 0 < top_k < row.size:
        count, total = np.int64(0), np.int64(0)
        for i in range(gather_top(row, largest_keys, top_k, keys, ids)):
            x = (row[ids[i]] - largest) * inverse
            if x >= lowest:
                keys[count], ids[count], weights[count] = keys[i], ids[i], weight_of(x)
                total += weights[count]
                count += 1
    elif min_p > 0:
        count, total = gather_above(row, largest_keys, largest, inverse, lowest, keys, ids, weights)
    else:
        total = weigh_blocks(row, largest, inverse, block_weights)
        if not top_p < 1:
            return _choose_from_row(row, largest, inverse, block_weights, total, uniform)
        count = gather_prefix(row, largest_keys, largest, inverse, total, top_p, keys, ids, weights)
    if top_p < 1:
        count = keep_weight(keys, ids, weights, count, needed_weight(top_p, total))
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
    key = key_of(row[token_id])
    rank = 1
    for i in range(row.size):
        rank += key_of(row[i]) > key
    for i in range(token_id):
        rank += key_of(row[i]) == key
    return rank


@jit
def _logprobs_row(row, token_id, num_top, out_ids, out_logprobs, out_ranks, scratch):
    block_weights, _, largest_keys, keys, ids = _scratch_arrays(scratch, row.size)
    for i in range(1 + num_top):
        out_ids[i], out_logprobs[i], out_ranks[i] = NO_TOKEN, np.nan, 0
    out_ids[0] = token_id
    key = scan(row, largest_keys)
    if key == UNUSABLE:
        return
    largest = row[first_with_key(row, largest_keys, key)]
    total = weigh_blocks(row, largest, np.float32(1.0), block_weights)
    log_total = np.float32(math.log(np.float64(total) / WEIGHT_ONE))
    if 0 <= token_id < row.size:
        out_logprobs[0] = (row[token_id] - largest) - log_total
        out_ranks[0] = _rank(row, token_id)
    if num_top == 0:
        return
    count = gather_top(row, largest_keys, min(num_top, row.size), keys, ids)
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
