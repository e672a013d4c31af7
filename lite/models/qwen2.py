"""Qwen2 and Qwen2.5: Llama with biases on q, k and v, and optional windows in upper layers."""

from dataclasses import replace

from lite.models import llama
from lite.models.attention_fields import read_layer_types
from lite.models.fields import Fields
from lite.models.spec import Decoder


def declare(config: Fields) -> Decoder:
    """Read a Qwen2 `config.json`; the biases are fixed, whatever it says."""
    decoder = llama.declare(config)
    attention = replace(decoder.attention, qkv_bias=True, output_bias=False)
    decoder = replace(decoder, attention=attention, mlp=replace(decoder.mlp, bias=False))
    return with_window_layers(decoder, config)


def with_window_layers(decoder: Decoder, config: Fields) -> Decoder:
    """Apply `use_sliding_window`, `sliding_window`, `max_window_layers` and `layer_types`.

    Defaults and meaning are those of `Qwen2Config`: without `layer_types`, the layers from
    `max_window_layers` on have the window.
    """
    num_layers = decoder.num_layers
    window = None
    if config.flag("use_sliding_window", False):
        window = config.integer("sliding_window", 4096, nullable=True)
    layer_types = read_layer_types(config, num_layers)
    if layer_types is None:
        first = num_layers if window is None else config.integer("max_window_layers", 28, low=0)
        sliding = tuple(i >= first for i in range(num_layers))
    else:
        sliding = tuple(kind == "sliding_attention" for kind in layer_types)
        if any(sliding) and window is None:
            raise config.error("layer_types", "full_attention everywhere when no window is used")
    if not any(sliding):
        return decoder
    attention = replace(decoder.attention, sliding_window=window, sliding_layers=sliding)
    return replace(decoder, attention=attention)
