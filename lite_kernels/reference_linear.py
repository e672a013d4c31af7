"""Linear layers of the reference backend, and the activations of gated MLPs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lite_kernels.dtypes import Float32Array
from lite_kernels.reference_quantized import QuantizedWeight, multiply, quantize_rows


@dataclass(slots=True, kw_only=True)
class ReferenceLinear:
    """Row-major weights [N, K], float32 values of the kernels' dtype or quantized; bias [N]."""

    weight: Float32Array | QuantizedWeight
    bias: Float32Array | None
    nbytes: int

    @property
    def is_quantized(self) -> bool:
        return isinstance(self.weight, QuantizedWeight)

    @property
    def in_features(self) -> int:
        if isinstance(self.weight, QuantizedWeight):
            return self.weight.in_features
        return int(self.weight.shape[1])

    @property
    def out_features(self) -> int:
        if isinstance(self.weight, QuantizedWeight):
            return len(self.weight.scales)
        return int(self.weight.shape[0])

    def dequantize(self) -> Float32Array:
        """Return the weights as float32 [N, K]."""
        if isinstance(self.weight, QuantizedWeight):
            return self.weight.dequantize()
        return self.weight


def apply_linear(linear: ReferenceLinear, x: Float32Array) -> Float32Array:
    """Return x @ W.T + bias, row by row."""
    if isinstance(linear.weight, QuantizedWeight):
        out = multiply(quantize_rows(x), linear.weight)
    else:
        out = np.empty((len(x), linear.out_features), np.float32)
        for row, result in zip(x, out, strict=True):
            result[:] = linear.weight @ row
    if linear.bias is not None:
        out += linear.bias
    return out


def silu(x: Float32Array) -> Float32Array:
    """Return x * sigmoid(x), without overflow."""
    sigmoid: Float32Array = np.exp(-np.logaddexp(np.float32(0.0), -x))
    return x * sigmoid


def gelu(x: Float32Array) -> Float32Array:
    """Return x * Phi(x), by the error function."""
    phi = [0.5 * (1.0 + math.erf(value * 0.5**0.5)) for value in x.flat]
    return x * np.array(phi, np.float32).reshape(x.shape)


def gelu_tanh(x: Float32Array) -> Float32Array:
    """Return the tanh approximation of GELU."""
    inner = np.float32(math.sqrt(2.0 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
    phi: Float32Array = np.float32(0.5) * (np.float32(1.0) + np.tanh(inner))
    return x * phi


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"silu": silu, "gelu": gelu, "gelu_tanh": gelu_tanh}
