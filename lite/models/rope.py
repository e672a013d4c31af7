"""Rotary position embedding: reading its configuration, and its cosines and sines.

Frequencies are computed as Hugging Face does (transformers, `modeling_rope_utils`), operation
for operation in float32, because the angle of a late position multiplies every rounding.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lite.errors import UnsupportedModelError
from lite.models.fields import Fields
from lite.models.spec import DynamicScaling, LinearScaling, Llama3Scaling, Rope

Float32Array = npt.NDArray[np.float32]
ROPE_TYPES = ("default", "linear", "dynamic", "llama3")
_DEFAULT_THETA = 10_000.0


def read_rope(config: Fields) -> Rope:
    """Read `rope_theta` and `rope_scaling`, or `rope_parameters`, which newer files have.

    Raises:
        CheckpointError: a field is missing or out of range.
        UnsupportedModelError: unknown rope type, partial rotation, or one rope per layer type.
    """
    name = "rope_scaling" if config.section("rope_scaling") else "rope_parameters"
    scaling = config.section(name) or Fields({}, config.file, f"{name}.")
    if any(isinstance(value, dict) for value in scaling.values.values()):
        raise UnsupportedModelError(f"{config.file}: {name!r} differs by layer; not supported")
    for fields in (scaling, config):
        if fields.number("partial_rotary_factor", None) not in (None, 1.0):
            raise fields.error("partial_rotary_factor", "1, the only value supported")
    theta = (scaling if scaling.has("rope_theta") else config).number(
        "rope_theta", None, above=1.0, high=1e15
    )
    kind = scaling.string("rope_type", None) or scaling.string("type", "default")
    return Rope(theta=theta or _DEFAULT_THETA, scaling=_read_scaling(kind, scaling, config))


def _read_scaling(
    kind: str, scaling: Fields, config: Fields
) -> LinearScaling | DynamicScaling | Llama3Scaling | None:
    if kind == "default":
        return None
    if kind not in ROPE_TYPES:
        raise UnsupportedModelError(
            f"{config.file}: rope type {kind!r} is not supported; "
            f"supported are {', '.join(ROPE_TYPES)}"
        )
    factor = scaling.number("factor", low=1.0, high=1e6)
    max_position = config.integer("max_position_embeddings")
    if kind == "linear":
        return LinearScaling(factor=factor)
    if kind == "dynamic":
        return DynamicScaling(factor=factor, original_max_position=max_position)
    low_freq = scaling.number("low_freq_factor", above=0.0)
    # The top-level field wins, as in `standardize_rope_params`.
    owner = config if config.has("original_max_position_embeddings") else scaling
    return Llama3Scaling(
        factor=factor,
        low_freq_factor=low_freq,
        high_freq_factor=scaling.number("high_freq_factor", above=low_freq),
        original_max_position=owner.integer("original_max_position_embeddings", None)
        or max_position,
    )


def context_length(rope: Rope, max_position: int) -> int:
    """Return how many positions a model reaches; linear and dynamic scaling extend it.

    The rule is vLLM's: `max_position_embeddings` then names the length before scaling.
    """
    if isinstance(rope.scaling, LinearScaling | DynamicScaling):
        return int(max_position * rope.scaling.factor)
    return max_position


def inverse_frequencies(rope: Rope, head_dim: int) -> Float32Array:
    """Return float32 [head_dim / 2], radians per position; dynamic: within the trained context."""
    inv_freq = _inverse_frequencies(rope.theta, head_dim)
    scaling = rope.scaling
    if isinstance(scaling, LinearScaling):
        return inv_freq / np.float32(scaling.factor)
    if isinstance(scaling, Llama3Scaling):
        return _llama3_frequencies(inv_freq, scaling)
    return inv_freq


def cos_sin_table(rope: Rope, head_dim: int, num_positions: int) -> Float32Array:
    """Return cosines, then sines: float32 [num_positions, head_dim], for `rope_rows`."""
    positions = np.arange(num_positions, dtype=np.float32)
    return _cos_sin(positions[:, None] * inverse_frequencies(rope, head_dim))


def dynamic_cos_sin(
    rope: Rope, head_dim: int, positions: npt.NDArray[Any], lengths: npt.NDArray[Any]
) -> Float32Array:
    """Return float32 [T, head_dim]: row t at positions[t] with the base for lengths[t] tokens.

    Lengths within the trained context use the unscaled base.
    """
    assert isinstance(rope.scaling, DynamicScaling)
    factor, trained = np.float32(rope.scaling.factor), rope.scaling.original_max_position
    unique, inverse = np.unique(np.maximum(lengths, trained), return_inverse=True)
    growth = factor * unique.astype(np.float32) / np.float32(trained) - (factor - np.float32(1.0))
    power = (growth.astype(np.float64) ** (head_dim / (head_dim - 2))).astype(np.float32)
    bases = (np.float32(rope.theta) * power).astype(np.float64)
    inv_freq = _inverse_frequencies(bases[:, None], head_dim)
    return _cos_sin(positions.astype(np.float32)[:, None] * inv_freq[inverse])


def _inverse_frequencies(base: float | npt.NDArray[np.float64], head_dim: int) -> Float32Array:
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    # Rounding a float64 power gives PyTorch's float32 power; NumPy's own is off by an ulp.
    powers = np.power(base, exponents.astype(np.float64)).astype(np.float32)
    inv_freq: Float32Array = np.float32(1.0) / powers
    return inv_freq


def _llama3_frequencies(inv_freq: Float32Array, scaling: Llama3Scaling) -> Float32Array:
    original = scaling.original_max_position
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    factor = np.float32(scaling.factor)
    wavelengths = np.float32(2 * math.pi) / inv_freq
    slowed = np.where(wavelengths > original / low, inv_freq / factor, inv_freq)
    smooth = (np.float32(original) / wavelengths - np.float32(low)) / np.float32(high - low)
    blended = (np.float32(1.0) - smooth) * slowed / factor + smooth * slowed
    between = (wavelengths >= original / high) & (wavelengths <= original / low)
    result: Float32Array = np.where(between, blended, slowed)
    return result


def _cos_sin(angles: Float32Array) -> Float32Array:
    out = np.empty((angles.shape[0], 2 * angles.shape[1]), dtype=np.float32)
    np.cos(angles, out=out[:, : angles.shape[1]])
    np.sin(angles, out=out[:, angles.shape[1] :])
    return out
