"""Attention over keys and values of the kernels' dtype: query rows, and a step of 64 keys."""

import numpy as np

from lite_kernels.cpu.attention_emitter import STEP_KEYS, STEP_TILES
from lite_kernels.cpu.attention_softmax import softmax_row
from lite_kernels.cpu.attention_tiles import scores_of_rows, weighted_values_of_rows
from lite_kernels.cpu.isa.memory import array_at
from lite_kernels.cpu.kernel import jit
from lite_kernels.cpu.number_formats import bytes_of, float32_of
from lite_kernels.cpu.program import argument

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
def _values_6(dtype, weights, factors, sums, vectors, tiles, num_tiles):
    weighted_values_of_rows(6, dtype, weights, factors, sums, vectors, tiles, num_tiles)


@jit
def _values_2(dtype, weights, factors, sums, vectors, tiles, num_tiles):
    weighted_values_of_rows(2, dtype, weights, factors, sums, vectors, tiles, num_tiles)


@jit
def _values_1(dtype, weights, factors, sums, vectors, tiles, num_tiles):
    weighted_values_of_rows(1, dtype, weights, factors, sums, vectors, tiles, num_tiles)


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
def _values(dtype, row, num_rows, weights, weight_bytes, factors, sums, vectors, tiles, num_tiles):
    while row < num_rows:
        left = num_rows - row
        at, factor, total = (
            weights + row * weight_bytes,
            factors + 4 * row,
            sums + row * vectors * 64,
        )
        if left >= 6:
            _values_6(dtype, at, factor, total, vectors, tiles, num_tiles)
            row += 6
        elif left >= 2:
            _values_2(dtype, at, factor, total, vectors, tiles, num_tiles)
            row += 2
        else:
            _values_1(dtype, at, factor, total, vectors, tiles, num_tiles)
            row += 1


def copy_query(cache, dtype, args, source, target):
    """Copy one query row into the scratch memory, in the format that the products take."""
    head_dim = argument(args, 9)
    values = array_at(source, (head_dim,), dtype)
    if argument(args, 20) == 4 * STEP_KEYS and bytes_of(dtype) == 2:
        wide = array_at(target, (head_dim,), np.float32)
        for d in range(head_dim):
            wide[d] = float32_of(values[d])
    else:
        same = array_at(target, (head_dim,), dtype)
        for d in range(head_dim):
            same[d] = values[d]


def take_step(cache, dtype, args, areas, num_heads, rows, skipped, position, group, key, num_tiles):
    """Let each head's rows from `skipped` on, the first at `position`, see the keys of a step.

    PERF: as in `attention_bytes.take_step`.
    """
    window, head_dim = argument(args, 11), argument(args, 9)
    key_lines = argument(args, 17)
    q_bytes, weight_bytes = argument(args, 19), argument(args, 20)
    for h in range(num_heads):
        first, end, tiles = h * rows + skipped, (h + 1) * rows, areas[8] + 16 * STEP_TILES * h
        _scores(dtype, first, end, areas[0], q_bytes, areas[2], tiles, key_lines)
    for h in range(num_heads):
        at, member = position, 0
        for row in range(h * rows + skipped, (h + 1) * rows):
            softmax_row(
                dtype,
                areas[2] + row * STEP_KEYS * 4,
                areas[3] + row * weight_bytes,
                areas[4] + 4 * row,
                areas[5] + 4 * row,
                areas[6] + 4 * row,
                max(0, at - window + 1 - key) if window > 0 else 0,
                at + 1 - key,
            )
            member += 1
            if member == group:
                at, member = at + 1, 0
    for h in range(num_heads):
        _values(
            dtype,
            h * rows + skipped,
            (h + 1) * rows,
            areas[3],
            weight_bytes,
            areas[6],
            areas[1],
            (head_dim + 15) // 16,
            areas[8] + 16 * STEP_TILES * h + 8 * STEP_TILES,
            num_tiles,
        )
