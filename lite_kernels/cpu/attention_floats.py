"""Attention over keys and values of the kernels' dtype: query rows, and a step of 64 keys."""

import numpy as np

from lite_kernels.cpu.attention_emitter import STEP_KEYS
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


def take_step(cache, dtype, args, areas, first, end, position, group, key, num_tiles):
    """Let rows [first, end), the first at `position`, see the keys of one step of one head."""
    window, head_dim = argument(args, 11), argument(args, 9)
    key_lines, value_offset = argument(args, 17), argument(args, 18)
    q_bytes, weight_bytes = argument(args, 19), argument(args, 20)
    tiles = areas[8]
    _scores(dtype, first, end, areas[0], q_bytes, areas[2], tiles, key_lines)
    for row in range(first, end):
        at = position + (row - first) // group
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
    _values(
        dtype,
        first,
        end,
        areas[3],
        weight_bytes,
        areas[6],
        areas[1],
        (head_dim + 15) // 16,
        tiles,
        num_tiles,
        value_offset,
    )
