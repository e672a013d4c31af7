"""Readings of config.json that all architectures share: heads, activation, window layers."""

from collections.abc import Sequence

from lite.errors import UnsupportedModelError
from lite.models.fields import Fields
from lite.models.spec import Activation

# Names in `hidden_act`, as in transformers' ACT2FN.
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
LAYER_TYPES = ("full_attention", "sliding_attention")


def read_heads(config: Fields, default_head_dim: int | None = None) -> tuple[int, int, int]:
    """Return the numbers of query heads and key/value heads, and the head size."""
    num_heads: int = config.integer("num_attention_heads", high=4096)
    num_kv_heads: int = config.integer("num_key_value_heads", None, high=4096) or num_heads
    if num_heads % num_kv_heads:
        raise config.error("num_key_value_heads", f"a divisor of num_attention_heads ({num_heads})")
    head_dim: int | None = config.integer("head_dim", None, high=1024) or default_head_dim
    if head_dim is None:
        hidden_size: int = config.integer("hidden_size")
        head_dim, rest = divmod(hidden_size, num_heads)
        if rest or head_dim < 1:
            raise config.error("hidden_size", f"a multiple of num_attention_heads ({num_heads})")
    if head_dim % 2:
        name = "head_dim" if config.has("head_dim") else "hidden_size"
        raise config.error(name, f"such that heads have an even size to rotate, not {head_dim}")
    return num_heads, num_kv_heads, head_dim


def read_activation(config: Fields) -> Activation:
    """Return the activation of the gate."""
    name = config.string("hidden_act", "silu")
    if name not in ACTIVATIONS:
        raise UnsupportedModelError(
            f"{config.file}: activation {name!r} in 'hidden_act' is not supported; "
            f"supported are {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def read_layer_types(config: Fields, num_layers: int) -> Sequence[str] | None:
    """Return `layer_types`, one of LAYER_TYPES per layer; None when the file has none."""
    layer_types = config.strings("layer_types")
    if layer_types is None:
        return None
    if len(layer_types) != num_layers:
        raise config.error("layer_types", f"a list of num_hidden_layers ({num_layers}) names")
    unknown = sorted(set(layer_types) - set(LAYER_TYPES))
    if unknown:
        raise UnsupportedModelError(
            f"{config.file}: layer type {unknown[0]!r} in 'layer_types' is not supported; "
            f"supported are {', '.join(LAYER_TYPES)}"
        )
    return layer_types
