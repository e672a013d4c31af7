"""Paged attention: one kernel for decode, chunked prefill and prefill.

A work item is a tile of queries of one sequence with all query heads of one key/value head. It
walks the keys in steps of 64 at fixed absolute positions, and a step in which a query sees no key
leaves that query's state as it is, bit for bit: so an output depends on the query's position
alone, not on the chunk, the batch, the threads or the blocks.
"""

import numpy as np

from lite_kernels.cpu import attention_bytes, attention_floats
from lite_kernels.cpu.attention_byte_tiles import QUERY_HEADER_BYTES
from lite_kernels.cpu.attention_emitter import NO_MAXIMUM, STEP_KEYS, STEP_TILES
from lite_kernels.cpu.attention_tiles import queries_are_float32
from lite_kernels.cpu.isa.memory import array_at, empty_aligned, load, store
from lite_kernels.cpu.kernel import by_cache, jit, kernel
from lite_kernels.cpu.kv_cache import TILE_TOKENS, CpuKVLayer, padded_head_dim
from lite_kernels.cpu.number_formats import bytes_of, round_to
from lite_kernels.cpu.program import Program, argument, next_ticket

# Rows (queries x query heads of one key/value head) of a work item, unless one query has more.
MAX_ROWS = 96
# Items wanted of each thread where they cannot all get the same number of heads.
_ITEMS_PER_THREAD = 2


class AttentionScratch:
    """Working memory of `num_threads` threads; one instance serves every layer of an engine."""

    def __init__(self, num_threads: int, num_heads: int, num_kv_heads: int, head_dim: int) -> None:
        rows = max(MAX_ROWS, num_heads // num_kv_heads)
        self.max_rows = rows
        self.thread_bytes = _scratch_offsets(rows, padded_head_dim(head_dim))[-1]
        self.memory = empty_aligned((num_threads, self.thread_bytes), np.dtype(np.uint8))


def _scratch_offsets(max_rows: int, padded: int) -> tuple[int, ...]:
    """Byte offsets of queries, sums, scores, weights, maxima, totals, factors, step scales and
    tiles; the end.
    """
    queries = 0
    sums = queries + max_rows * (padded * 4 + QUERY_HEADER_BYTES)
    scores = sums + max_rows * padded * 4
    weights = scores + max_rows * STEP_KEYS * 4
    maxima = weights + max_rows * STEP_KEYS * 4
    totals = maxima + max_rows * 4
    factors = totals + max_rows * 4
    scales = factors + max_rows * 4
    tiles = (scales + max_rows * 4 + 63) // 64 * 64
    end = (tiles + max_rows * 16 * STEP_TILES + 63) // 64 * 64
    return queries, sums, scores, weights, maxima, totals, factors, scales, tiles, end


_offsets = jit(_scratch_offsets)
_copy_query = by_cache(attention_floats.copy_query, attention_bytes.copy_query)
_take_step = by_cache(attention_floats.take_step, attention_bytes.take_step)


@jit
def _areas(scratch, max_rows, padded):
    """Return the addresses of a thread's areas, in the order of `_scratch_offsets`."""
    offsets = _offsets(max_rows, padded)
    return (
        scratch + offsets[0],
        scratch + offsets[1],
        scratch + offsets[2],
        scratch + offsets[3],
        scratch + offsets[4],
        scratch + offsets[5],
        scratch + offsets[6],
        scratch + offsets[7],
        scratch + offsets[8],
    )


@jit
def _find_tiles(args, tiles, first_tile, num_tiles, table, head, num_heads):
    """Write where each head's four key tiles of a step lie, then its value tiles.

    Missing ones repeat the last.
    """
    per_block, num_kv_heads = argument(args, 10), argument(args, 8)
    key_bytes, value_bytes = argument(args, 16), argument(args, 18)
    all_keys = num_kv_heads * per_block * key_bytes
    block_bytes = all_keys + num_kv_heads * per_block * value_bytes
    for t in range(STEP_TILES):
        tile = min(first_tile + t, num_tiles - 1)
        block = np.int64(load(table + 4 * (tile // per_block), np.int32))
        index = head * per_block + tile % per_block
        start = argument(args, 1) + block * block_bytes
        for h in range(num_heads):
            at = tiles + 8 * (2 * STEP_TILES * h + t)
            store(at, start + index * key_bytes, np.int64)
            store(at + 8 * STEP_TILES, start + all_keys + index * value_bytes, np.int64)
            index += per_block


@jit
def _start_rows(cache, dtype, args, areas, padded, head, num_heads, first_token, num_queries):
    """Copy the item's queries, head by head, and reset their sums."""
    all_heads, head_dim = argument(args, 7), argument(args, 9)
    group = all_heads // argument(args, 8)
    item_size, q_bytes = bytes_of(dtype), argument(args, 19)
    row = 0
    for h in range(head, head + num_heads):
        for i in range(num_queries):
            for g in range(group):
                at = (first_token + i) * all_heads + h * group + g
                source = argument(args, 0) + at * head_dim * item_size
                _copy_query(cache, dtype, args, source, areas[0] + row * q_bytes)
                store(areas[4] + 4 * row, NO_MAXIMUM, np.float32)
                store(areas[5] + 4 * row, 0.0, np.float32)
                row += 1
    sums = array_at(areas[1], (row * padded,), np.float32)
    for i in range(row * padded):
        sums[i] = 0.0


@jit
def _finish_rows(dtype, args, areas, padded, head, num_heads, first_token, num_queries):
    """Divide by the total weights and write the outputs."""
    all_heads, head_dim = argument(args, 7), argument(args, 9)
    group = all_heads // argument(args, 8)
    item_size = bytes_of(dtype)
    row = 0
    for h in range(head, head + num_heads):
        for i in range(num_queries):
            for g in range(group):
                at = (first_token + i) * all_heads + h * group + g
                result = array_at(
                    argument(args, 12) + at * head_dim * item_size, (head_dim,), dtype
                )
                total = array_at(areas[1] + row * padded * 4, (head_dim,), np.float32)
                inverse = np.float32(1.0) / load(areas[5] + 4 * row, np.float32)
                for d in range(head_dim):
                    result[d] = round_to(total[d] * inverse, dtype)
                row += 1


@jit
def _attend(cache, dtype, args, scratch, sequence, head, num_heads, first_query, num_queries):
    """Compute one work item: some queries of a sequence, with `num_heads` key/value heads."""
    num_kv_heads, head_dim = argument(args, 8), argument(args, 9)
    window = argument(args, 11)
    table = argument(args, 2) + 4 * sequence * argument(args, 3)
    padded = (head_dim + 15) // 16 * 16
    areas = _areas(scratch, argument(args, 14), padded)
    group = argument(args, 7) // num_kv_heads

    loc = argument(args, 5) + 4 * sequence
    start, end = np.int64(load(loc, np.int32)), np.int64(load(loc + 4, np.int32))
    seq_len = np.int64(load(argument(args, 4) + 4 * sequence, np.int32))
    first_position = seq_len - (end - start) + first_query
    last_position = first_position + num_queries - 1
    first_token = start + first_query
    _start_rows(cache, dtype, args, areas, padded, head, num_heads, first_token, num_queries)

    last_tiles = last_position // TILE_TOKENS + 1
    key = max(0, first_position - window + 1) if window > 0 else 0
    key = key // STEP_KEYS * STEP_KEYS
    while key <= last_position:
        tile = key // TILE_TOKENS
        _find_tiles(args, areas[8], tile, last_tiles, table, head, num_heads)
        # Queries before the first key of the step would keep their state: skip them.
        skipped = max(0, key - first_position)
        _take_step(
            cache,
            dtype,
            args,
            areas,
            num_heads,
            num_queries * group,
            skipped * group,
            first_position + skipped,
            group,
            key,
            min(STEP_TILES, last_tiles - tile),
        )
        key += STEP_KEYS
    _finish_rows(dtype, args, areas, padded, head, num_heads, first_token, num_queries)


@jit
def _split_sequence(args, num_threads, sequence):
    """Return how a sequence is cut: its queries, queries an item, heads an item, items.

    Few queries take several heads an item, whose tiles lie one after the other in memory, but
    not so many that threads would be idle.
    """
    loc = argument(args, 5) + 4 * sequence
    num_queries = np.int64(load(loc + 4, np.int32)) - np.int64(load(loc, np.int32))
    num_kv_heads, max_rows = argument(args, 8), argument(args, 14)
    group = argument(args, 7) // num_kv_heads
    queries = min(num_queries, max(1, max_rows // group))
    heads = 1
    if queries > 0:
        wanted = (num_threads - 1) // argument(args, 6) + 1
        if num_kv_heads % wanted != 0:
            wanted *= _ITEMS_PER_THREAD
        heads = max(1, min(max_rows // (queries * group), num_kv_heads // wanted))
    tiles = (num_queries + queries - 1) // max(1, queries)
    return num_queries, queries, heads, tiles * ((num_kv_heads + heads - 1) // heads)


@jit
def _attention(tid, num_threads, args, cache, dtype):
    """Hand out the work items, last sequence and last queries first: prefills before decodes.

    cache, dtype: types of the layer's data, and of queries and outputs.
    """
    num_kv_heads = argument(args, 8)
    scratch = argument(args, 13) + tid * argument(args, 15)
    sequence = argument(args, 6)
    count = np.int64(0)
    for s in range(sequence):
        count += _split_sequence(args, num_threads, s)[3]
    passed, num_queries, queries, heads, items = 0, 0, 0, 0, 0
    while True:
        ticket = next_ticket(args, num_threads, count)
        if ticket < 0:
            return
        # Tickets only grow, so each thread walks the sequences once.
        while ticket >= passed + items:
            passed += items
            sequence -= 1
            num_queries, queries, heads, items = _split_sequence(args, num_threads, sequence)
        parts = (num_kv_heads + heads - 1) // heads
        item = items - 1 - (ticket - passed)
        first, head = item // parts * queries, item % parts * heads
        _attend(
            cache,
            dtype,
            args,
            scratch,
            sequence,
            head,
            min(heads, num_kv_heads - head),
            first,
            min(queries, num_queries - first),
        )


@kernel()
def attention_bfloat16(tid, num_threads, args):
    _attention(tid, num_threads, args, np.uint16, np.uint16)


@kernel()
def attention_float32(tid, num_threads, args):
    _attention(tid, num_threads, args, np.float32, np.float32)


@kernel()
def attention_bfloat16_int8(tid, num_threads, args):
    _attention(tid, num_threads, args, np.uint8, np.uint16)


@kernel()
def attention_float32_int8(tid, num_threads, args):
    _attention(tid, num_threads, args, np.uint8, np.float32)


# By the dtype of the queries, and whether keys and values are int8.
_KERNELS = {
    (np.dtype(np.uint16), False): attention_bfloat16,
    (np.dtype(np.float32), False): attention_float32,
    (np.dtype(np.uint16), True): attention_bfloat16_int8,
    (np.dtype(np.float32), True): attention_float32_int8,
}


def _row_bytes(q: np.ndarray, kv: CpuKVLayer) -> tuple[int, int]:
    """Return the bytes of a query row and of a step's weights in the scratch memory."""
    padded = padded_head_dim(kv.head_dim)
    if kv.is_quantized:
        return QUERY_HEADER_BYTES + -(-padded // 64) * 64, STEP_KEYS
    item_bytes = 4 if queries_are_float32(q.dtype == np.float32) else 2
    return padded * item_bytes, STEP_KEYS * item_bytes


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
    """Append `Kernels.attention`."""
    program.append(
        _KERNELS[q.dtype, kv.is_quantized],
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
        kv.key_tile_bytes,
        kv.key_lines,
        kv.value_tile_bytes,
        *_row_bytes(q, kv),
    )
