"""Llama 2, 3 and 3.x: grouped-query attention, RMSNorm before each block, SwiGLU."""

from lite.models.attention_fields import read_activation, read_heads
from lite.models.fields import Fields
from lite.models.rope import context_length, read_rope
from lite.models.spec import Attention, Decoder, GatedMLP

WEIGHT_NAMES = {
    "embedding": "model.embed_tokens.weight",
    "final_norm": "model.norm.weight",
    "head": "lm_head.weight",
    "layer.attention_norm": "model.layers.{i}.input_layernorm.weight",
    "layer.q": "model.layers.{i}.self_attn.q_proj",
    "layer.k": "model.layers.{i}.self_attn.k_proj",
    "layer.v": "model.layers.{i}.self_attn.v_proj",
    "layer.output": "model.layers.{i}.self_attn.o_proj",
    "layer.mlp_norm": "model.layers.{i}.post_attention_layernorm.weight",
    "layer.gate": "model.layers.{i}.mlp.gate_proj",
    "layer.up": "model.layers.{i}.mlp.up_proj",
    "layer.down": "model.layers.{i}.mlp.down_proj",
}


def declare(config: Fields, *, default_head_dim: int | None = None) -> Decoder:
    """Read a Llama-style `config.json`; without `head_dim` it is hidden size / heads."""
    num_heads, num_kv_heads, head_dim = read_heads(config, default_head_dim)
    rope = read_rope(config)
    bias = config.flag("attention_bias", False)
    return Decoder(
        architecture=config.values["architectures"][0],
        vocab_size=config.integer("vocab_size"),
        hidden_size=config.integer("hidden_size"),
        num_layers=config.integer("num_hidden_layers", high=4096),
        max_model_len=context_length(rope, config.integer("max_position_embeddings")),
        norm_eps=config.number("rms_norm_eps", 1e-6, low=0.0, high=1.0),
        attention=Attention(
            num_heads=num_heads,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            rope=rope,
            qkv_bias=bias,
            output_bias=bias,
        ),
        mlp=GatedMLP(
            intermediate_size=config.integer("intermediate_size"),
            activation=read_activation(config),
            bias=config.flag("mlp_bias", False),
        ),
        tie_word_embeddings=config.flag("tie_word_embeddings", False),
        weight_names=WEIGHT_NAMES,
    )
