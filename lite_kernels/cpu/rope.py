"""Per-head norm, rotary embedding and the store into the paged cache, in one pass over qkv."""

import numpy as np

from lite_kernels.cpu.attention_tiles import bytes_of, round_to
from lite_kernels.cpu.isa.memory import array_at, load, prefetch_line, stack_bytes
from lite_kernels.cpu.kernel import jit, jit_fast, kernel
from lite_kernels.cpu.kv_cache import TILE_TOKENS, CpuKVLayer
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


@jit
def _fetch_tile(tile, lane, head_dim, padded, dtype):
    """Fetch the lines of a tile that a token writes: all of its keys', and its value's."""
    size = bytes_of(dtype)
    for at in range(tile, tile + head_dim * TILE_TOKENS * size, 64):
        prefetch_line(at)
    value = (
        tile
        + head_dim * TILE_TOKENS * size
        + (lane // 2 * 2 if size == 2 else lane) * padded * size
    )
    for at in range(value, value + padded * 4, 64):
        prefetch_line(at)


@jit
def _tile_start(slots, token, num_tokens):
    """Move `token` forward to where a new tile begins."""
    while 0 < token < num_tokens and (
        slots[token] // TILE_TOKENS == slots[token - 1] // TILE_TOKENS
    ):
        token += 1
    return min(token, num_tokens)


@jit
def _tile_of(args, token, head, tile_bytes):
    """Return where the tile that holds a token's key and value begins, and its place there."""
    slot = np.int64(load(argument(args, 5) + 4 * token, np.int32))
    per_block = argument(args, 12)
    block, offset = slot // (per_block * TILE_TOKENS), slot % (per_block * TILE_TOKENS)
    index = (block * argument(args, 10) + head) * per_block + offset // TILE_TOKENS
    return argument(args, 6) + index * tile_bytes, offset % TILE_TOKENS


@jit
def _token(args, token, head, tile, lane, dtype):
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
    _store_key(rotated, tile, lane, dtype)
    at = row + 4 * (num_heads + num_kv_heads + head) * head_dim
    value = array_at(at, (head_dim,), np.float32)
    padded = (head_dim + 15) // 16 * 16
    _store_value(value, tile + head_dim * TILE_TOKENS * bytes_of(dtype), lane, padded, dtype)


@jit
def _fetch_row(args, token, head):
    """Fetch a token's queries, key and value of one key/value head.

    PERF: the hardware does not foresee such strides, nor from where tiles lie.
    """
    num_heads, num_kv_heads, head_dim = argument(args, 9), argument(args, 10), argument(args, 11)
    group = num_heads // num_kv_heads
    row = argument(args, 0) + 4 * token * (num_heads + 2 * num_kv_heads) * head_dim
    first = row + 4 * head * group * head_dim
    for at in range(first, first + 4 * group * head_dim, 64):
        prefetch_line(at)
    for h in (num_heads + head, num_heads + num_kv_heads + head):
        first = row + 4 * h * head_dim
        for at in range(first, first + 4 * head_dim, 64):
            prefetch_line(at)


@jit
def _qk_norm_rope_store(tid, num_threads, args, dtype):
    num_tokens, num_kv_heads, head_dim = argument(args, 8), argument(args, 10), argument(args, 11)
    padded = (head_dim + 15) // 16 * 16
    tile_bytes = (head_dim + padded) * TILE_TOKENS * bytes_of(dtype)
    slots = array_at(argument(args, 5), (num_tokens,), np.int32)
    num_chunks = (num_tokens + _CHUNK_TOKENS - 1) // _CHUNK_TOKENS
    for item in range(tid, num_chunks * num_kv_heads, num_threads):
        chunk, head = item // num_kv_heads, item % num_kv_heads
        first = _tile_start(slots, chunk * _CHUNK_TOKENS, num_tokens)
        end = _tile_start(slots, min((chunk + 1) * _CHUNK_TOKENS, num_tokens), num_tokens)
        if first == end:
            continue
        tile, lane = _tile_of(args, first, head, tile_bytes)
        for token in range(first, end):
            next_tile, next_lane = _tile_of(args, min(token + 1, end - 1), head, tile_bytes)
            _fetch_row(args, min(token + 1, end - 1), head)
            if next_tile != tile:
                _fetch_tile(next_tile, next_lane, head_dim, padded, dtype)
            _token(args, token, head, tile, lane, dtype)
            tile, lane = next_tile, next_lane


@kernel()
def qk_norm_rope_store_bfloat16(tid, num_threads, args):
    _qk_norm_rope_store(tid, num_threads, args, np.uint16)


@kernel()
def qk_norm_rope_store_float32(tid, num_threads, args):
    _qk_norm_rope_store(tid, num_threads, args, np.float32)


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
    """Append `Kernels.qk_norm_rope_store`; q_out has the dtype of the cache."""
    is_float32 = kv.data.dtype == np.float32
    program.append(
        qk_norm_rope_store_float32 if is_float32 else qk_norm_rope_store_bfloat16,
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
    )
