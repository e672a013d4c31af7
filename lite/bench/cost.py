"""What an operation of the model has to do at least: bytes from memory, and floating-point work."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes that must come from memory once, and operations (two a multiply-add)."""

    num_bytes: float = 0.0
    num_flops: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.num_bytes + other.num_bytes, self.num_flops + other.num_flops)

    def __mul__(self, count: float) -> "Cost":
        return Cost(self.num_bytes * count, self.num_flops * count)

    def least_s(self, read_bandwidth: float, multiply_rate: float) -> float:
        """Return the seconds it takes at bytes/s and FLOP/s that cannot be exceeded."""
        return max(self.num_bytes / read_bandwidth, self.num_flops / multiply_rate)


def linear_cost(operation: str, arguments: Mapping[str, Any]) -> Cost:
    """Return the cost of a product of `Kernels`: its packed weights once, a multiply-add each.

    Activations are left out: those of a decode step stay in the caches.
    """
    linear = arguments["linear"]
    num_rows = arguments["rows" if operation == "logits" else "x"].shape[0]
    num_weights = linear.in_features * linear.out_features
    if operation == "norm_gated_linear":
        num_weights *= 2  # gate and up
    return Cost(float(linear.nbytes), 2.0 * num_rows * num_weights)


def attention_cost(
    seq_lens: IntArray,
    query_start_loc: IntArray,
    *,
    sliding_window: int,
    num_heads: int,
    head_dim: int,
    token_bytes: float,
) -> Cost:
    """Return the cost of one layer's attention: each visible key and value once from memory.

    Args:
        seq_lens: keys cached of each sequence, this step's included, as `Kernels.attention`.
        query_start_loc: where each sequence's queries begin, [S + 1].
        sliding_window: 0 for none.
        num_heads: query heads.
        head_dim: values of a head.
        token_bytes: keys and values of one position in one layer.
    """
    ends = seq_lens.astype(np.float64)
    starts = ends - np.diff(query_start_loc)
    window = float(sliding_window) if sliding_window else np.inf
    first_visible = np.maximum(starts + 1 - window, 0.0)
    num_scores = (_num_scores(ends, window) - _num_scores(starts, window)).sum()
    return Cost(
        token_bytes * float((ends - first_visible).sum()),
        4.0 * num_heads * head_dim * float(num_scores),
    )


def _num_scores(num_tokens: FloatArray, window: float) -> FloatArray:
    """Return how many keys the queries at 0 .. num_tokens - 1 see together."""
    growing: FloatArray = np.minimum(num_tokens, window)
    # From the window's length on every query sees as many; without a window none gets there.
    return growing * (growing + 1) / 2 + (num_tokens - growing) * growing
