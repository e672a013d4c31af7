"""Mistral: Llama without biases, every layer looking back over a window unless it is null."""

from dataclasses import replace

from lite.errors import UnsupportedModelError
from lite.models import llama
from lite.models.fields import Fields
from lite.models.spec import Decoder


def declare(config: Fields) -> Decoder:
    """Read a Mistral `config.json`; an absent window is 4096, as in `MistralConfig`."""
    if config.has("layer_types"):
        raise UnsupportedModelError(
            f"{config.file}: 'layer_types' (Ministral's alternating windows) is not supported"
        )
    decoder = llama.declare(config)
    window = config.integer("sliding_window", 4096, nullable=True)
    attention = replace(
        decoder.attention,
        qkv_bias=False,
        output_bias=False,
        sliding_window=window,
        sliding_layers=() if window is None else (True,) * decoder.num_layers,
    )
    return replace(decoder, attention=attention, mlp=replace(decoder.mlp, bias=False))
