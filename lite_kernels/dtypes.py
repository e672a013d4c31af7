"""Number formats that NumPy lacks: bfloat16, held as uint16 bits, and quantized weights."""

from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
UInt16Array = npt.NDArray[np.uint16]

# Formats of quantized weights: blocks of 32 inputs share a float16 scale.
QUANTIZATIONS = ("int8", "int4")
QUANTIZED_BLOCK = 32


def to_bfloat16(values: npt.ArrayLike) -> UInt16Array:
    """Round float32 values to bfloat16, nearest even; return the bit patterns.

    Infinities and zeros keep their sign; every NaN becomes a quiet NaN of the same sign.
    Values beyond the largest finite bfloat16 round to infinity, as IEEE 754 asks.
    """
    source = np.ascontiguousarray(values, dtype=np.float32)
    bits = source.view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(
        16
    )
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    out = np.where(np.isnan(source), quiet, rounded).astype(np.uint16)
    return out.reshape(np.shape(values))


def from_bfloat16(bits: npt.NDArray[np.uint16]) -> Float32Array:
    """Return the float32 values of bfloat16 bit patterns; exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_float32(weights: npt.NDArray[Any]) -> Float32Array:
    """Return float32 values of a checkpoint array: float32, float16, or uint16 (bfloat16 bits).

    Raises:
        ValueError: any other dtype.
    """
    if weights.dtype == np.uint16:
        return from_bfloat16(weights)
    if weights.dtype in (np.float32, np.float16):
        return weights.astype(np.float32)
    raise ValueError(
        f"weights of dtype {weights.dtype} are not supported; give float32, float16, "
        "or uint16 bit patterns of bfloat16"
    )


def check_kv_quantization(quantization: str | None) -> None:
    """Refuse a format that keys and values cannot have.

    Raises:
        ValueError: neither None nor "int8".
    """
    if quantization not in (None, "int8"):
        raise ValueError(
            f"a KV cache of {quantization!r} is not supported; choose int8, or None for the dtype"
        )
