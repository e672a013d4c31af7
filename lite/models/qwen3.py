"""Qwen3 (dense): Llama with an RMSNorm on every query and key head."""

from dataclasses import replace

from lite.models import llama
from lite.models.fields import Fields
from lite.models.qwen2 import with_window_layers
from lite.models.spec import Decoder

WEIGHT_NAMES = llama.WEIGHT_NAMES | {
    "layer.q_norm": "model.layers.{i}.self_attn.q_norm.weight",
    "layer.k_norm": "model.layers.{i}.self_attn.k_norm.weight",
}


def declare(config: Fields) -> Decoder:
    """Read a Qwen3 `config.json`; the MLP never has biases, heads are 128 wide by default."""
    decoder = llama.declare(config, default_head_dim=128)
    decoder = replace(
        decoder,
        attention=replace(decoder.attention, qk_norm=True),
        mlp=replace(decoder.mlp, bias=False),
        weight_names=WEIGHT_NAMES,
    )
    return with_window_layers(decoder, config)
