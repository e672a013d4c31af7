"""Attention over int8 keys and values: query rows become int8, and a step of 64 keys."""

import numpy as np

from lite_kernels.cpu.attention_byte_tiles import (
    QUERY_HEADER_BYTES,
    byte_scores_of_rows,
    weighted_byte_values_of_rows,
)
from lite_kernels.cpu.attention_emitter import LINE_BYTES, STEP_KEYS, STEP_TILES
from lite_kernels.cpu.attention_softmax import fetch_tiles, softmax_row_bytes
from lite_kernels.cpu.isa.memory import array_at, stack_bytes, store
from lite_kernels.cpu.kernel import jit
from lite_kernels.cpu.kv_cache import SCALES_BYTES
from lite_kernels.cpu.number_formats import float32_of, quantize_head
from lite_kernels.cpu.program import argument

# One function per row count: inlined into one, they would spill their accumulators.


@jit
def _scores_6(q, q_bytes, scores, tiles, num_lines):
    byte_scores_of_rows(6, q, q_bytes, scores, tiles, num_lines)


@jit
def _scores_2(q, q_bytes, scores, tiles, num_lines):
    byte_scores_of_rows(2, q, q_bytes, scores, tiles, num_lines)


@jit
def _scores_1(q, q_bytes, scores, tiles, num_lines):
    byte_scores_of_rows(1, q, q_bytes, scores, tiles, num_lines)


@jit
def _values_6(weights, scales, factors, sums, vectors, tiles, num_tiles):
    weighted_byte_values_of_rows(6, weights, scales, factors, sums, vectors, tiles, num_tiles)


@jit
def _values_2(weights, scales, factors, sums, vectors, tiles, num_tiles):
    weighted_byte_values_of_rows(2, weights, scales, factors, sums, vectors, tiles, num_tiles)


@jit
def _values_1(weights, scales, factors, sums, vectors, tiles, num_tiles):
    weighted_byte_values_of_rows(1, weights, scales, factors, sums, vectors, tiles, num_tiles)


@jit
def _scores(row, num_rows, q, q_bytes, scores, tiles, num_lines):
    while row < num_rows:
        left = num_rows - row
        q_row, scores_row = q + row * q_bytes, scores + row * STEP_KEYS * 4
        if left >= 6:
            _scores_6(q_row, q_bytes, scores_row, tiles, num_lines)
            row += 6
        elif left >= 2:
            _scores_2(q_row, q_bytes, scores_row, tiles, num_lines)
            row += 2
        else:
            _scores_1(q_row, q_bytes, scores_row, tiles, num_lines)
            row += 1


@jit
def _values(row, num_rows, weights, scales, factors, sums, vectors, tiles, num_tiles):
    while row < num_rows:
        left = num_rows - row
        at, total = weights + row * STEP_KEYS, sums + row * vectors * 64
        scale, factor = scales + 4 * row, factors + 4 * row
        if left >= 6:
            _values_6(at, scale, factor, total, vectors, tiles, num_tiles)
            row += 6
        elif left >= 2:
            _values_2(at, scale, factor, total, vectors, tiles, num_tiles)
            row += 2
        else:
            _values_1(at, scale, factor, total, vectors, tiles, num_tiles)
            row += 1


def copy_query(cache, dtype, args, source, target):
    """Quantize one query row into the scratch memory: scale, start of its sums, bytes."""
    head_dim, key_lines = argument(args, 9), argument(args, 17)
    values = array_at(source, (head_dim,), dtype)
    wide = array_at(stack_bytes(1024), (head_dim,), np.float32)
    for d in range(head_dim):
        wide[d] = float32_of(values[d])
    row = array_at(target + QUERY_HEADER_BYTES, (4 * key_lines,), np.int8)
    for d in range(head_dim, 4 * key_lines):
        row[d] = 0
    scale = quantize_head(wide, row)
    total = np.int32(0)
    for d in range(head_dim):
        total += np.int32(row[d])
    store(target, scale, np.float32)
    store(target + 4, -128 * total, np.int32)


def take_step(cache, dtype, args, areas, num_heads, rows, skipped, position, group, key, num_tiles):
    """Let each head's rows from `skipped` on, the first at `position`, see the keys of a step.

    PERF: all heads' scores, then all softmaxes, then all values: the softmaxes of independent
    rows overlap, and memory is read in long runs.
    """
    window, head_dim = argument(args, 11), argument(args, 9)
    key_lines = argument(args, 17)
    for h in range(num_heads):
        first, end, tiles = h * rows + skipped, (h + 1) * rows, areas[8] + 16 * STEP_TILES * h
        _scores(first, end, areas[0], argument(args, 19), areas[2], tiles, key_lines)
    for h in range(num_heads):
        # PERF: memory would idle while the weights are computed: 5 to 10 % slower.
        value_tiles = areas[8] + 16 * STEP_TILES * h + 8 * STEP_TILES
        fetch_tiles(value_tiles, argument(args, 18) // LINE_BYTES)
        at, member = position, 0
        for row in range(h * rows + skipped, (h + 1) * rows):
            softmax_row_bytes(
                areas[2] + row * STEP_KEYS * 4,
                areas[3] + row * STEP_KEYS,
                areas[4] + 4 * row,
                areas[5] + 4 * row,
                areas[6] + 4 * row,
                max(0, at - window + 1 - key) if window > 0 else 0,
                at + 1 - key,
                areas[8] + 16 * STEP_TILES * h,
                (key_lines + 1) * SCALES_BYTES,
                areas[7] + 4 * row,
            )
            member += 1
            if member == group:
                at, member = at + 1, 0
    for h in range(num_heads):
        _values(
            h * rows + skipped,
            (h + 1) * rows,
            areas[3],
            areas[7],
            areas[6],
            areas[1],
            (head_dim + 15) // 16,
            areas[8] + 16 * STEP_TILES * h + 8 * STEP_TILES,
            num_tiles,
        )
