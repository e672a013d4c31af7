"""The executable specification of attention over the cache, in plain NumPy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lite_kernels.dtypes import Float32Array
from lite_kernels.interface import Array
from lite_kernels.reference_quantized import quantize_vectors

# Keys whose weights are quantized together, at fixed absolute positions.
STEP_KEYS = 64
_TINY = np.float32(2.0**-100)


@dataclass(slots=True, kw_only=True)
class ReferenceKVLayer:
    """Keys and values [num_blocks, block_size, Hkv, D], "act" or int8.

    int8 comes with float32 scales [num_blocks, block_size, Hkv], one a token and head.
    """

    keys: Array
    values: Array
    key_scales: Array | None = None
    value_scales: Array | None = None

    @property
    def nbytes(self) -> int:
        arrays = (self.keys, self.values, self.key_scales, self.value_scales)
        return sum(int(array.nbytes) for array in arrays if array is not None)

    def store(self, block: int, offset: int, key: Array, value: Array) -> None:
        """Write one token's key and value: act arrays [Hkv, D], float32 for a cache of int8."""
        if self.key_scales is None or self.value_scales is None:
            if offset == 0:
                self.values[block] = 0
            self.keys[block, offset], self.values[block, offset] = key, value
            return
        keys, values = quantize_vectors(key), quantize_vectors(value)
        self.keys[block, offset], self.key_scales[block, offset] = keys.values, keys.scales
        self.values[block, offset], self.value_scales[block, offset] = values.values, values.scales


def attend(q: Float32Array, keys: Float32Array, values: Float32Array) -> Float32Array:
    """Softmax attention of one token: q [Hq, D] over keys and values [n, Hkv, D]."""
    out = np.empty_like(q)
    group = len(q) // keys.shape[1]
    for h in range(len(q)):
        scores = keys[:, h // group] @ q[h]
        weights = np.exp(scores - scores.max())
        out[h] = weights @ values[:, h // group] / weights.sum()
    return out


def attend_quantized(
    q: Float32Array, kv: ReferenceKVLayer, blocks: npt.NDArray[np.int32], first: int, end: int
) -> Float32Array:
    """Softmax attention of one token over keys [first, end) of a cache of int8.

    The query is quantized to int8 with one scale a head; a score is an exact sum of int8
    products times both scales. Weights are multiplied by their values' scales and quantized to
    0 .. 255 with one scale for each step of 64 keys; a step's sum of products is exact too. What
    is divided by in the end is the sum of the exact weights.
    """
    assert kv.key_scales is not None
    assert kv.value_scales is not None
    shape = kv.keys.shape[2:]
    keys, values = (x[blocks].reshape(-1, *shape).astype(np.int32) for x in (kv.keys, kv.values))
    key_scales, value_scales = (
        x[blocks].reshape(-1, shape[0]) for x in (kv.key_scales, kv.value_scales)
    )
    out = np.zeros_like(q)
    queries = quantize_vectors(q)
    group = len(q) // shape[0]
    for h, query in enumerate(queries.values.astype(np.int32)):
        head = h // group
        sums = (keys[first:end, head] @ query).astype(np.float32)
        scores = sums * (key_scales[first:end, head] * queries.scales[h])
        weights = np.exp(scores - scores.max())
        for start in range(first // STEP_KEYS * STEP_KEYS, end, STEP_KEYS):
            seen = slice(max(first, start), min(end, start + STEP_KEYS))
            scaled = weights[seen.start - first : seen.stop - first] * value_scales[seen, head]
            largest = scaled.max()
            if largest < _TINY:
                continue
            rounded = np.rint(np.nan_to_num(scaled * (np.float32(255) / largest)))
            total = rounded.astype(np.int32) @ values[seen, head]
            out[h] += total.astype(np.float32) * (largest / np.float32(255))
        out[h] /= weights.sum()
    return out
