"""Paged attention: one kernel for decode, chunked prefill and prefill.

A work item is a tile of queries of one sequence with all query heads of one key/value head. It
walks the keys in steps of 64 at fixed absolute positions, and a step in which a query sees no key
leaves that query's state as it is, bit for bit: so an output depends on the query's position
alone, not on the chunk, the batch, the threads or the blocks.
"""

import numpy as np

from lite_kernels.cpu.attention_tiles import (
    NO_MAXIMUM,
    STEP_KEYS,
    STEP_TILES,
    float32_of,
    queries_are_float32,
    round_to,
    scores_of_rows,
    softmax_row,
    weighted_values_of_rows,
)
from lite_kernels.cpu.isa.memory import array_at, empty_aligned, load, store
from lite_kernels.cpu.kernel import jit, kernel
from lite_kernels.cpu.kv_cache import TILE_TOKENS, CpuKVLayer, padded_head_dim
from lite_kernels.cpu.program import Program, argument, next_ticket

# Rows (queries x query heads of one key/value head) of a work item, unless one query has more.
MAX_ROWS = 96


class AttentionScratch:
    """Working memory of `num_threads` threads; one instance serves every layer of an engine."""

    def __init__(self, num_threads: int, num_heads: int, num_kv_heads: int, head_dim: int) -> None:
        rows = max(MAX_ROWS, num_heads // num_kv_heads)
        self.max_rows = rows
        self.thread_bytes = _scratch_offsets(rows, padded_head_dim(head_dim))[-1]
        self.memory = empty_aligned((num_threads, self.thread_bytes), np.dtype(np.uint8))


def _scratch_offsets(max_rows: int, padded: int) -> tuple[int, ...]:
    """Byte offsets of queries, sums, scores, weights, maxima, totals, factors, tiles; the end."""
    queries = 0
    sums = queries + max_rows * padded * 4
    scores = sums + max_rows * padded * 4
    weights = scores + max_rows * STEP_KEYS * 4
    maxima = weights + max_rows * STEP_KEYS * 4
    totals = maxima + max_rows * 4
    factors = totals + max_rows * 4
    tiles = (factors + max_rows * 4 + 63) // 64 * 64
    return queries, sums, scores, weights, maxima, totals, factors, tiles, tiles + 64


_offsets = jit(_scratch_offsets)


# One function per row count: inlined into one, they would spill their accumulators.


@jit
def _scores_6(dtype, q, q_bytes, scores, tiles, num_lines):
    scores_of_rows(6, dtype, q, q_bytes, scores, tiles, num_lines)


@jit
def _scores_2(dtype, q, q_bytes, scores, tiles, num_lines):
    scores_of_rows(2, dtype, q, q_bytes, scores, tiles, num_lines)


@jit
def _scores_1(dtype, q, q_bytes, scores, tiles, num_lines):
    scores_of_rows(1, dtype, q, q_bytes, scores, tiles, num_lines)


@jit
def _values_6(dtype, weights, factors, sums, vectors, tiles, num_tiles, offset):
    weighted_values_of_rows(6, dtype, weights, factors, sums, vectors, tiles, num_tiles, offset)


@jit
def _values_2(dtype, weights, factors, sums, vectors, tiles, num_tiles, offset):
    weighted_values_of_rows(2, dtype, weights, factors, sums, vectors, tiles, num_tiles, offset)


@jit
def _values_1(dtype, weights, factors, sums, vectors, tiles, num_tiles, offset):
    weighted_values_of_rows(1, dtype, weights, factors, sums, vectors, tiles, num_tiles, offset)


@jit
def _scores(dtype, row, num_rows, q, q_bytes, scores, tiles, num_lines):
    while row < num_rows:
        left = num_rows - row
        q_row, scores_row = q + row * q_bytes, scores + row * STEP_KEYS * 4
        if left >= 6:
            _scores_6(dtype, q_row, q_bytes, scores_row, tiles, num_lines)
            row += 6
        elif left >= 2:
            _scores_2(dtype, q_row, q_bytes, scores_row, tiles, num_lines)
            row += 2
        else:
            _scores_1(dtype, q_row, q_bytes, scores_row, tiles, num_lines)
            row += 1


@jit
def _values(
    dtype, row, num_rows, weights, weight_bytes, factors, sums, vectors, tiles, num_tiles, offset
):
    while row < num_rows:
        left = num_rows - row
        at, factor, total = (
            weights + row * weight_bytes,
            factors + 4 * row,
            sums + row * vectors * 64,
        )
        if left >= 6:
            _values_6(dtype, at, factor, total, vectors, tiles, num_tiles, offset)
            row += 6
        elif left >= 2:
            _values_2(dtype, at, factor, total, vectors, tiles, num_tiles, offset)
            row += 2
        else:
            _values_1(dtype, at, factor, total, vectors, tiles, num_tiles, offset)
            row += 1


@jit
def _copy_query(dtype, source, target, head_dim):
    """Copy one query row into the scratch memory, in the format that the products take."""
    values = array_at(source, (head_dim,), dtype)
    if queries_are_float32(dtype):
        wide = array_at(target, (head_dim,), np.float32)
        for d in range(head_dim):
            wide[d] = float32_of(values[d])
    else:
        same = array_at(target, (head_dim,), dtype)
        for d in range(head_dim):
            same[d] = values[d]


@jit
def _find_tiles(tiles, first_tile, num_tiles, kv, table, head, num_kv_heads, per_block, tile_bytes):
    """Write the addresses of a step's four tiles; missing ones repeat the last."""
    for t in range(STEP_TILES):
        tile = min(first_tile + t, num_tiles - 1)
        block = np.int64(load(table + 4 * (tile // per_block), np.int32))
        index = (block * num_kv_heads + head) * per_block + tile % per_block
        store(tiles + 8 * t, kv + index * tile_bytes, np.int64)


@jit
def _attend(dtype, args, scratch, sequence, head, first_query, num_queries):
    """Compute one work item: queries [first_query, first_query + num_queries) of a sequence."""
    q, kv = argument(args, 0), argument(args, 1)
    num_heads, num_kv_heads, head_dim = argument(args, 7), argument(args, 8), argument(args, 9)
    per_block, window, max_rows = argument(args, 10), argument(args, 11), argument(args, 14)
    table = argument(args, 2) + 4 * sequence * argument(args, 3)
    item_size = array_at(q, (1,), dtype).itemsize
    padded = (head_dim + 15) // 16 * 16
    vectors = padded // 16
    key_bytes = head_dim * TILE_TOKENS * item_size
    tile_bytes = key_bytes + padded * TILE_TOKENS * item_size
    offsets = _offsets(max_rows, padded)
    queries, sums, scores, weights = (
        scratch + offsets[0],
        scratch + offsets[1],
        scratch + offsets[2],
        scratch + offsets[3],
    )
    maxima, totals, factors, tiles = (
        scratch + offsets[4],
        scratch + offsets[5],
        scratch + offsets[6],
        scratch + offsets[7],
    )
    group = num_heads // num_kv_heads
    num_rows = num_queries * group
    wide = queries_are_float32(dtype)
    q_bytes = padded * (4 if wide else 2)
    weight_bytes = STEP_KEYS * (4 if wide else 2)

    loc = argument(args, 5) + 4 * sequence
    start, end = np.int64(load(loc, np.int32)), np.int64(load(loc + 4, np.int32))
    seq_len = np.int64(load(argument(args, 4) + 4 * sequence, np.int32))
    first_position = seq_len - (end - start) + first_query
    last_position = first_position + num_queries - 1

    for i in range(num_queries):
        at = ((start + first_query + i) * num_heads + head * group) * head_dim * item_size
        for g in range(group):
            source = q + at + g * head_dim * item_size
            _copy_query(dtype, source, queries + (i * group + g) * q_bytes, head_dim)
    array_at(sums, (num_rows * padded,), np.float32)[:] = 0.0
    array_at(totals, (num_rows,), np.float32)[:] = 0.0
    array_at(maxima, (num_rows,), np.float32)[:] = NO_MAXIMUM

    num_tiles = last_position // TILE_TOKENS + 1
    first_key = max(0, first_position - window + 1) if window > 0 else 0
    key = first_key // STEP_KEYS * STEP_KEYS
    num_lines = key_bytes // 64
    ahead = tiles + 8 * STEP_TILES
    tile = key // TILE_TOKENS
    _find_tiles(ahead, tile, num_tiles, kv, table, head, num_kv_heads, per_block, tile_bytes)
    while key <= last_position:
        for t in range(STEP_TILES):
            store(tiles + 8 * t, load(ahead + 8 * t, np.int64), np.int64)
        tile = key // TILE_TOKENS
        _find_tiles(
            ahead,
            tile + STEP_TILES,
            num_tiles,
            kv,
            table,
            head,
            num_kv_heads,
            per_block,
            tile_bytes,
        )
        # Queries before the first key of the step would keep their state: skip them.
        row = max(0, key - first_position) * group
        _scores(dtype, row, num_rows, queries, q_bytes, scores, tiles, num_lines)
        for r in range(row, num_rows):
            position = first_position + r // group
            low = max(0, position - window + 1 - key) if window > 0 else 0
            softmax_row(
                dtype,
                scores + r * STEP_KEYS * 4,
                weights + r * weight_bytes,
                maxima + 4 * r,
                totals + 4 * r,
                factors + 4 * r,
                low,
                position + 1 - key,
            )
        present = min(STEP_TILES, num_tiles - tile)
        _values(
            dtype,
            row,
            num_rows,
            weights,
            weight_bytes,
            factors,
            sums,
            vectors,
            tiles,
            present,
            key_bytes,
        )
        key += STEP_KEYS

    for r in range(num_rows):
        inverse = np.float32(1.0) / load(totals + 4 * r, np.float32)
        total = array_at(sums + r * padded * 4, (head_dim,), np.float32)
        at = (start + first_query + r // group) * num_heads + head * group + r % group
        target = argument(args, 12) + at * head_dim * item_size
        result = array_at(target, (head_dim,), dtype)
        for d in range(head_dim):
            result[d] = round_to(total[d] * inverse, dtype)


@jit
def _attention(tid, num_threads, args, dtype):
    """Hand out the work items, last sequence and last queries first: prefills before decodes."""
    num_sequences = argument(args, 6)
    num_kv_heads = argument(args, 8)
    tile_queries = max(1, argument(args, 14) // (argument(args, 7) // num_kv_heads))
    query_start_loc = array_at(argument(args, 5), (num_sequences + 1,), np.int32)
    scratch = argument(args, 13) + tid * argument(args, 15)
    count = np.int64(0)
    for s in range(num_sequences):
        num_queries = np.int64(query_start_loc[s + 1] - query_start_loc[s])
        count += (num_queries + tile_queries - 1) // tile_queries * num_kv_heads
    sequence, passed, here = num_sequences, 0, 0
    while True:
        ticket = next_ticket(args, num_threads, count)
        if ticket < 0:
            return
        # Tickets only grow, so each thread walks the sequences once.
        while ticket >= passed + here:
            passed += here
            sequence -= 1
            num_queries = np.int64(query_start_loc[sequence + 1] - query_start_loc[sequence])
            here = (num_queries + tile_queries - 1) // tile_queries * num_kv_heads
        num_queries = np.int64(query_start_loc[sequence + 1] - query_start_loc[sequence])
        item = ticket - passed
        first = (here - 1 - item) // num_kv_heads * tile_queries
        _attend(
            dtype,
            args,
            scratch,
            sequence,
            item % num_kv_heads,
            first,
            min(tile_queries, num_queries - first),
        )


@kernel()
def attention_bfloat16(tid, num_threads, args):
    _attention(tid, num_threads, args, np.uint16)


@kernel()
def attention_float32(tid, num_threads, args):
    _attention(tid, num_threads, args, np.float32)


def append_attention(
    program: Program,
    q: np.ndarray,
    kv: CpuKVLayer,
    block_tables: np.ndarray,
    seq_lens: np.ndarray,
    query_start_loc: np.ndarray,
    sliding_window: int,
    out: np.ndarray,
    scratch: AttentionScratch,
) -> None:
    """Append `Kernels.attention`; q and out have the dtype of the cache."""
    program.append(
        attention_float32 if kv.data.dtype == np.float32 else attention_bfloat16,
        q,
        kv.data,
        block_tables,
        block_tables.shape[1],
        seq_lens,
        query_start_loc,
        len(seq_lens),
        q.shape[1],
        kv.num_kv_heads,
        kv.head_dim,
        kv.tiles_per_block,
        sliding_window,
        out,
        scratch.memory,
        scratch.max_rows,
        scratch.thread_bytes,
    )
