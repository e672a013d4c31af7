"""Per-head norm, rotary embedding and the store into the paged cache, in one pass over qkv."""

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, load, stack_bytes, store
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
    cells = array_at(tile, (head_dim * TILE_TOKENS,), dtype)
    if bytes_of(dtype) == 2:
        for d in range(head_dim):
            cells[(d // 2 * TILE_TOKENS + lane) * 2 + d % 2] = round_to(key[d], dtype)
    else:
        for d in range(head_dim):
            cells[d * TILE_TOKENS + lane] = round_to(key[d], dtype)


@jit
def _store_value(value, tile, lane, padded, dtype):
    """Write one token's value into a tile: [8][Dp][2] bfloat16, [16][Dp] float32.

    The first token of a tile clears the others' values: a stale NaN times weight 0 is a NaN.
    """
    cells = array_at(tile, (padded * TILE_TOKENS,), dtype)
    if lane == 0:
        for i in range(cells.size):
            cells[i] = 0
    if bytes_of(dtype) == 2:
        row = lane // 2 * padded
        for d in range(value.size):
            cells[(row + d) * 2 + lane % 2] = round_to(value[d], dtype)
    else:
        for d in range(value.size):
            cells[lane * padded + d] = round_to(value[d], dtype)


def _store_floats(cache, dtype, args, key, value, key_tile, value_tile, lane):
    """Write one token's key and value into tiles of the kernels' dtype."""
    _store_key(key, key_tile, lane, dtype)
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
    columns = array_at(value_tile + lane // 4 * padded * 4, (padded, 4), np.int8)
    for d in range(head_dim):
        columns[d, lane % 4] = integers[d]


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
def _token(cache, dtype, args, token, head):
    """Normalise, rotate, scale and store one token's heads of one key/value group."""
    num_heads, num_kv_heads, head_dim = argument(args, 9), argument(args, 10), argument(args, 11)
    group = num_heads // num_kv_heads
    q_norm, k_norm, eps = argument(args, 1), argument(args, 2), float_argument(args, 3)
    row = argument(args, 0) + 4 * token * (num_heads + 2 * num_kv_heads) * head_dim
    cos_sin = array_at(argument(args, 4) + 4 * token * head_dim, (head_dim,), np.float32)
    rotated = array_at(stack_bytes(1024), (head_dim,), np.float32)
    scale = np.float32(1.0 / np.sqrt(np.float64(head_dim)))

    q_out = array_at(argument(args, 7), (argument(args, 8), num_heads, head_dim), dtype)
    for h in range(head * group, (head + 1) * group):
        x = array_at(row + 4 * h * head_dim, (head_dim,), np.float32)
        _norm_rope(x, q_norm, eps, cos_sin, scale, rotated)
        for d in range(head_dim):
            q_out[token, h, d] = round_to(rotated[d], dtype)

    slot = np.int64(load(argument(args, 5) + 4 * token, np.int32))
    per_block = argument(args, 12)
    block, offset = slot // (per_block * TILE_TOKENS), slot % (per_block * TILE_TOKENS)
    key_bytes, value_bytes = argument(args, 13), argument(args, 14)
    all_keys = num_kv_heads * per_block * key_bytes
    block_start = argument(args, 6) + block * (all_keys + num_kv_heads * per_block * value_bytes)
    index = head * per_block + offset // TILE_TOKENS
    key_tile = block_start + index * key_bytes
    value_tile = block_start + all_keys + index * value_bytes

    key = array_at(row + 4 * (num_heads + head) * head_dim, (head_dim,), np.float32)
    _norm_rope(key, k_norm, eps, cos_sin, np.float32(1.0), rotated)
    at = row + 4 * (num_heads + num_kv_heads + head) * head_dim
    value = array_at(at, (head_dim,), np.float32)
    _store_token(cache, dtype, args, rotated, value, key_tile, value_tile, offset % TILE_TOKENS)


@jit
def _qk_norm_rope_store(tid, num_threads, args, cache, dtype):
    num_tokens, num_kv_heads = argument(args, 8), argument(args, 10)
    slots = array_at(argument(args, 5), (num_tokens,), np.int32)
    num_chunks = (num_tokens + _CHUNK_TOKENS - 1) // _CHUNK_TOKENS
    for item in range(tid, num_chunks * num_kv_heads, num_threads):
        chunk, head = item // num_kv_heads, item % num_kv_heads
        first = _tile_start(slots, chunk * _CHUNK_TOKENS, num_tokens)
        end = _tile_start(slots, min((chunk + 1) * _CHUNK_TOKENS, num_tokens), num_tokens)
        for token in range(first, end):
            _token(cache, dtype, args, token, head)


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
