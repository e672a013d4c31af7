"""Per-head norm, rotary embedding and the store into the paged cache, in one pass over qkv."""

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, load, prefetch_line, stack_bytes, store
from lite_kernels.cpu.kernel import by_cache, jit, jit_fast, kernel
from lite_kernels.cpu.kv_cache import SCALES_BYTES, TILE_TOKENS, CpuKVLayer
from lite_kernels.cpu.number_formats import bytes_of, quantize_head, round_to
from lite_kernels.cpu.program import Program, argument, float_argument

# Tokens a thread handles together; a run of tokens in one tile is never split between threads.
_CHUNK_TOKENS = 32


@jit_fast
def _sum_of_squares(x):
    total = np.float32(0.0)
    for d in range(x.size):
        total += x[d] * x[d]
    return total


@jit
def _norm_rope(x, norm, eps, cos_sin, scale, out):
    """Write rotate(rms_norm(x) * norm) * scale of one head; no norm where `norm` is 0."""
    head_dim = x.size
    half = head_dim // 2
    if norm != 0:
        factor = np.float32(1.0) / np.sqrt(_sum_of_squares(x) / np.float32(head_dim) + eps)
        weight = array_at(norm, (head_dim,), np.float32)
        for d in range(head_dim):
            out[d] = x[d] * factor * weight[d]
    else:
        for d in range(head_dim):
            out[d] = x[d]
    for d in range(half):
        first, second, cos, sin = out[d], out[d + half], cos_sin[d], cos_sin[d + half]
        out[d] = (first * cos - second * sin) * scale
        out[d + half] = (second * cos + first * sin) * scale


@jit
def _store_key(key, tile, lane, dtype):
    """Write one token's key into a tile: [D/2][16][2] bfloat16, [D][16] float32."""
    head_dim = key.size
    if bytes_of(dtype) == 2:
        pairs = array_at(tile, (head_dim // 2, TILE_TOKENS), np.uint32)
        for d in range(head_dim // 2):
            low = np.uint32(round_to(key[2 * d], dtype))
            pairs[d, lane] = low | np.uint32(round_to(key[2 * d + 1], dtype)) << np.uint32(16)
    else:
        cells = array_at(tile, (head_dim, TILE_TOKENS), dtype)
        for d in range(head_dim):
            cells[d, lane] = round_to(key[d], dtype)


@jit
def _is_finite(value, dtype):
    """Tell whether all of a float32 array is finite, also once it is rounded to `dtype`."""
    # PERF: integers, so that this is vector code.
    bits = value.view(np.uint32)
    largest = np.uint32(0)
    for d in range(bits.size):
        largest = max(largest, bits[d] & np.uint32(0x7FFFFFFF))
    if bytes_of(dtype) == 2:
        return largest < np.uint32(0x7F7F8000)
    return largest < np.uint32(0x7F800000)


@jit
def _store_value(value, tile, lane, padded, dtype):
    """Write one token's value into a tile: [8][Dp][2] bfloat16, [16][Dp] float32.

    The first token of a tile clears the others' values: a stale NaN times weight 0 is a NaN.
    """
    if lane == 0:
        cells = array_at(tile, (padded * TILE_TOKENS,), dtype)
        for i in range(cells.size):
            cells[i] = 0
    if bytes_of(dtype) == 2:
        # PERF: whole pairs, so that this is vector code.
        pairs = array_at(tile + lane // 2 * padded * 4, (value.size,), np.uint32)
        shift = np.uint32(lane % 2 * 16)
        others = np.uint32(0xFFFF0000) >> shift
        for d in range(value.size):
            pairs[d] = pairs[d] & others | np.uint32(round_to(value[d], dtype)) << shift
    else:
        row = array_at(tile + lane * padded * bytes_of(dtype), (value.size,), dtype)
        for d in range(value.size):
            row[d] = round_to(value[d], dtype)


def _store_floats(cache, dtype, args, key, value, key_tile, value_tile, lane):
    """Write one token's key and value into tiles of the kernels' dtype; `key` is overwritten.

    A value that is not finite is stored as zeros with a key of NaNs: it makes the same queries
    NaN, but not those that must not see it, since the weight 0 times NaN would be NaN.
    """
    is_finite = _is_finite(value, dtype)
    if not is_finite:
        key[:] = np.float32(np.nan)
    _store_key(key, key_tile, lane, dtype)
    if not is_finite:
        key[:] = np.float32(0.0)
        value = key
    _store_value(value, value_tile, lane, (key.size + 15) // 16 * 16, dtype)


def _store_bytes(cache, dtype, args, key, value, key_tile, value_tile, lane):
    """Quantize one token's key and value into tiles of int8: see `kv_cache`."""
    head_dim = key.size
    padded = (head_dim + 15) // 16 * 16
    quads = (head_dim + 3) // 4
    scales = key_tile + quads * 4 * TILE_TOKENS + 4 * lane
    buffer = stack_bytes(256)
    integers = array_at(buffer, (head_dim,), np.int8)
    store(buffer + 4 * quads - 4, 0, np.int32)
    store(scales, quantize_head(key, integers), np.float32)
    words = array_at(buffer, (quads,), np.uint32)
    cells = array_at(key_tile, (quads, TILE_TOKENS), np.uint32)
    for i in range(quads):
        # As bytes with an offset of 128.
        cells[i, lane] = words[i] ^ np.uint32(0x80808080)
    store(scales + SCALES_BYTES, quantize_head(value, integers), np.float32)
    quads_at = array_at(value_tile + lane // 4 * padded * 4, (head_dim,), np.uint32)
    shift = np.uint32(lane % 4 * 8)
    others = np.uint32(0xFFFFFFFF) ^ (np.uint32(0xFF) << shift)
    # PERF: whole words, so that this is vector code.
    for d in range(head_dim):
        quads_at[d] = quads_at[d] & others | np.uint32(np.uint8(integers[d])) << shift


_store_token = by_cache(_store_floats, _store_bytes)


@jit
def _tile_start(slots, token, num_tokens):
    """Move `token` forward to where a new tile begins."""
    while 0 < token < num_tokens and (
        slots[token] // TILE_TOKENS == slots[token - 1] // TILE_TOKENS
    ):
        token += 1
    return min(token, num_tokens)


@jit
def _tiles_of(args, token, head):
    """Return where the tiles of a token's key and of its value begin, and its place in them."""
    slot = np.int64(load(argument(args, 5) + 4 * token, np.int32))
    per_block = argument(args, 12)
    num_tiles = argument(args, 10) * per_block
    block, offset = slot // (per_block * TILE_TOKENS), slot % (per_block * TILE_TOKENS)
    key_bytes, value_bytes = argument(args, 13), argument(args, 14)
    all_keys = num_tiles * key_bytes
    block_start = argument(args, 6) + block * (all_keys + num_tiles * value_bytes)
    index = head * per_block + offset // TILE_TOKENS
    lane = offset % TILE_TOKENS
    return block_start + index * key_bytes, block_start + all_keys + index * value_bytes, lane


@jit
def _token(cache, dtype, args, token, head, key_tile, value_tile, lane):
    """Normalise, rotate, scale and store one token's heads of one key/value group."""
    num_heads, num_kv_heads, head_dim = argument(args, 9), argument(args, 10), argument(args, 11)
    group = num_heads // num_kv_heads
    q_norm, k_norm, eps = argument(args, 1), argument(args, 2), float_argument(args, 3)
    row = argument(args, 0) + 4 * token * (num_heads + 2 * num_kv_heads) * head_dim
    cos_sin = array_at(argument(args, 4) + 4 * token * head_dim, (head_dim,), np.float32)
    rotated = array_at(stack_bytes(1024), (head_dim,), np.float32)
    scale = np.float32(1.0 / np.sqrt(np.float64(head_dim)))

    q_out = argument(args, 7) + token * num_heads * head_dim * bytes_of(dtype)
    for h in range(head * group, (head + 1) * group):
        x = array_at(row + 4 * h * head_dim, (head_dim,), np.float32)
        _norm_rope(x, q_norm, eps, cos_sin, scale, rotated)
        query = array_at(q_out + h * head_dim * bytes_of(dtype), (head_dim,), dtype)
        for d in range(head_dim):
            query[d] = round_to(rotated[d], dtype)

    key = array_at(row + 4 * (num_heads + head) * head_dim, (head_dim,), np.float32)
    _norm_rope(key, k_norm, eps, cos_sin, np.float32(1.0), rotated)
    at = row + 4 * (num_heads + num_kv_heads + head) * head_dim
    value = array_at(at, (head_dim,), np.float32)
    _store_token(cache, dtype, args, rotated, value, key_tile, value_tile, lane)


@jit
def _fetch_rows(args, token, head):
    """Fetch a token's queries, key and value of one key/value head.

    PERF: the hardware foresees neither such strides nor, below, where tiles lie.
    """
    num_heads, num_kv_heads, head_dim = argument(args, 9), argument(args, 10), argument(args, 11)
    group = num_heads // num_kv_heads
    row = argument(args, 0) + 4 * token * (num_heads + 2 * num_kv_heads) * head_dim
    _fetch(row + 4 * head * group * head_dim, 4 * group * head_dim)
    _fetch(row + 4 * (num_heads + head) * head_dim, 4 * head_dim)
    _fetch(row + 4 * (num_heads + num_kv_heads + head) * head_dim, 4 * head_dim)


@jit
def _fetch(start, nbytes):
    for at in range(start, start + nbytes, 64):
        prefetch_line(at)


@jit
def _qk_norm_rope_store(tid, num_threads, args, cache, dtype):
    num_tokens, num_kv_heads = argument(args, 8), argument(args, 10)
    # A key lies in every line of its tile, a value in one of the tile's runs of 4 Dp bytes.
    key_bytes, run_bytes = argument(args, 13), 4 * ((argument(args, 11) + 15) // 16 * 16)
    slots = array_at(argument(args, 5), (num_tokens,), np.int32)
    num_chunks = (num_tokens + _CHUNK_TOKENS - 1) // _CHUNK_TOKENS
    for item in range(tid, num_chunks * num_kv_heads, num_threads):
        chunk, head = item // num_kv_heads, item % num_kv_heads
        first = _tile_start(slots, chunk * _CHUNK_TOKENS, num_tokens)
        end = _tile_start(slots, min((chunk + 1) * _CHUNK_TOKENS, num_tokens), num_tokens)
        if first == end:
            continue
        key_tile, value_tile, lane = _tiles_of(args, first, head)
        for token in range(first, end):
            following = min(token + 1, end - 1)
            next_key_tile, next_value_tile, next_lane = _tiles_of(args, following, head)
            _fetch_rows(args, following, head)
            if next_key_tile != key_tile:
                _fetch(next_key_tile, key_bytes)
                run = next_lane * bytes_of(cache) // 4
                _fetch(next_value_tile + run * run_bytes, run_bytes)
            _token(cache, dtype, args, token, head, key_tile, value_tile, lane)
            key_tile, value_tile, lane = next_key_tile, next_value_tile, next_lane


@kernel()
def qk_norm_rope_store_bfloat16(tid, num_threads, args):
    _qk_norm_rope_store(tid, num_threads, args, np.uint16, np.uint16)


@kernel()
def qk_norm_rope_store_float32(tid, num_threads, args):
    _qk_norm_rope_store(tid, num_threads, args, np.float32, np.float32)


@kernel()
def qk_norm_rope_store_bfloat16_int8(tid, num_threads, args):
    _qk_norm_rope_store(tid, num_threads, args, np.uint8, np.uint16)


@kernel()
def qk_norm_rope_store_float32_int8(tid, num_threads, args):
    _qk_norm_rope_store(tid, num_threads, args, np.uint8, np.float32)


# By the dtype of the queries, and whether keys and values are int8.
_KERNELS = {
    (np.dtype(np.uint16), False): qk_norm_rope_store_bfloat16,
    (np.dtype(np.float32), False): qk_norm_rope_store_float32,
    (np.dtype(np.uint16), True): qk_norm_rope_store_bfloat16_int8,
    (np.dtype(np.float32), True): qk_norm_rope_store_float32_int8,
}


def append_qk_norm_rope_store(
    program: Program,
    qkv: np.ndarray,
    q_norm: np.ndarray | None,
    k_norm: np.ndarray | None,
    eps: float,
    cos_sin: np.ndarray,
    slot_mapping: np.ndarray,
    kv: CpuKVLayer,
    q_out: np.ndarray,
) -> None:
    """Append `Kernels.qk_norm_rope_store`."""
    program.append(
        _KERNELS[q_out.dtype, kv.is_quantized],
        qkv,
        q_norm,
        k_norm,
        float(eps),
        cos_sin,
        slot_mapping,
        kv.data,
        q_out,
        len(slot_mapping),
        q_out.shape[1],
        kv.num_kv_heads,
        kv.head_dim,
        kv.tiles_per_block,
        kv.key_tile_bytes,
        kv.value_tile_bytes,
    )
