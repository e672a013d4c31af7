"""llama.cpp's Q8_0 and Q4_0 in NumPy: the yardstick of the formats here.

Formulas: quantize_row_q8_0_ref, quantize_row_q4_0_ref and the vec_dot functions of ggml-quants.c.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lite_kernels.dtypes import to_float32
from lite_kernels.interface import Array
from lite_kernels.reference import ACTIVATIONS, ReferenceKernels, rms_norm

BLOCK = 32
Float32Array = npt.NDArray[np.float32]


def q8_0(values: Float32Array) -> Float32Array:
    """Return [N, K] after rounding to Q8_0 and back."""
    blocks = _blocks(values)
    scale = np.abs(blocks).max(axis=-1, keepdims=True) / np.float32(127)
    scaled = blocks * _inverse(scale)
    # roundf: halves go away from zero.
    integers = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
    return _values(integers, scale, values.shape)


def q4_0(values: Float32Array) -> Float32Array:
    """Return [N, K] after rounding to Q4_0 and back: the value of largest magnitude becomes -8."""
    blocks = _blocks(values)
    where = np.abs(blocks).argmax(axis=-1)[..., None]
    scale = np.take_along_axis(blocks, where, axis=-1) / np.float32(-8)
    integers = np.minimum(15, np.trunc(blocks * _inverse(scale) + np.float32(8.5))) - 8
    return _values(integers, scale, values.shape)


def _blocks(values: Float32Array) -> Float32Array:
    rows, size = values.shape
    padded = np.zeros((rows, -(-size // BLOCK) * BLOCK), np.float32)
    padded[:, :size] = values
    return padded.reshape(rows, -1, BLOCK)


def _inverse(scale: Float32Array) -> Float32Array:
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)


def _values(integers: Float32Array, scale: Float32Array, shape: tuple[int, ...]) -> Float32Array:
    stored = scale.astype(np.float16).astype(np.float32)  # the integers are those of the exact one
    return (integers * stored).reshape(shape[0], -1)[:, : shape[1]]


_ROUND = {"int8": q8_0, "int4": q4_0}


@dataclass(frozen=True, slots=True)
class LlamaCppLinear:
    """Weights [N, K] as the values that their format holds."""

    weight: Float32Array
    bias: Float32Array | None

    @property
    def nbytes(self) -> int:
        return int(self.weight.nbytes)

    def __call__(self, x: Float32Array) -> Float32Array:
        """Return x @ W.T + bias with x rounded to Q8_0, in float32."""
        out = q8_0(np.ascontiguousarray(x, np.float32)) @ self.weight.T
        return out if self.bias is None else out + self.bias


class LlamaCppKernels(ReferenceKernels):
    """Float32 but for the products, whose weights are Q8_0 ("int8") or Q4_0 ("int4").

    So the layers of "int4" are Q4_0 and the head Q8_0: finer than the Q6_K of llama.cpp's own Q4_0
    files. Keys and values stay float32, where llama.cpp has float16.
    """

    def __init__(self) -> None:
        super().__init__(dtype="float32")

    def pack_linear(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array | None] | None = None,
        *,
        quantization: str | None = None,
    ) -> LlamaCppLinear:
        assert quantization is not None
        parts = [_ROUND[quantization](to_float32(weight)) for weight in weights]
        bias = None
        if biases is not None and any(part is not None for part in biases):
            bias = np.concatenate([to_float32(part) for part in biases])
        return LlamaCppLinear(np.concatenate(parts), bias)

    def pack_gated_linear(
        self,
        gate: Array,
        up: Array,
        biases: tuple[Array | None, Array | None] = (None, None),
        *,
        quantization: str | None = None,
    ) -> LlamaCppLinear:
        return self.pack_linear([gate, up], biases, quantization=quantization)

    def embed(self, token_ids: Array, table: LlamaCppLinear, out: Array) -> None:
        out[:] = table.weight[token_ids]

    def norm_linear(
        self, x: Array, norm_weight: Array, eps: float, linear: LlamaCppLinear, out: Array
    ) -> None:
        out[:] = linear(rms_norm(x, norm_weight, eps))

    def linear_add(self, x: Array, linear: LlamaCppLinear, residual: Array) -> None:
        residual += linear(x)

    def norm_gated_linear(
        self,
        x: Array,
        norm_weight: Array,
        eps: float,
        linear: LlamaCppLinear,
        activation: str,
        out: Array,
    ) -> None:
        gate, up = np.split(linear(rms_norm(x, norm_weight, eps)), 2, axis=1)
        out[:] = ACTIVATIONS[activation](gate) * up

    def logits(
        self,
        x: Array,
        rows: Array,
        norm_weight: Array,
        eps: float,
        linear: LlamaCppLinear,
        out: Array,
    ) -> None:
        out[:] = linear(rms_norm(x[rows], norm_weight, eps))
