"""What a decoder-only transformer is made of. Pure data: no arrays, no backend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Activation = Literal["silu", "gelu", "gelu_tanh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearScaling:
    """All positions are divided by `factor`."""

    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicScaling:
    """NTK: the base grows with the sequence once it exceeds the trained context."""

    factor: float
    original_max_position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama3Scaling:
    """Low frequencies are divided by `factor`, high ones kept, with a smooth seam."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """Rotary position embedding over the first `head_dim` values (half-split layout)."""

    theta: float
    scaling: LinearScaling | DynamicScaling | Llama3Scaling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Grouped-query attention."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope: Rope
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: bool = False
    # Layer i attends to the last `sliding_window` positions where `sliding_layers[i]`.
    sliding_window: int | None = None
    sliding_layers: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedMLP:
    """down(activation(gate(x)) * up(x))."""

    intermediate_size: int
    activation: Activation = "silu"
    bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A pre-norm decoder: embedding, `num_layers` x (attention, MLP), norm, head."""

    architecture: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    max_model_len: int
    norm_eps: float
    attention: Attention
    mlp: GatedMLP
    tie_word_embeddings: bool
    weight_names: Mapping[str, str]
