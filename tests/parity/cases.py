"""The parity cases: one tiny checkpoint each, shared by the test and the tool that made goldens.

Between them they cover grouped-query ratios 1, 2, 4, 8, head sizes 64, 80, 96, 128, odd
vocabularies, every bias, tied and untied heads, each rope scaling and each kind of window.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.checkpoints import Null

NUM_STEPS = 64  # greedy tokens


@dataclass(frozen=True, kw_only=True)
class Case:
    """A checkpoint (`make_checkpoint`'s arguments) and the length of its prompt."""

    architecture: str
    config: dict[str, Any] = field(default_factory=dict)
    num_prompt_tokens: int = 29


def _heads(num_heads: int, num_kv_heads: int, head_dim: int | None) -> dict[str, Any]:
    return {
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "head_dim": head_dim,
    }


CASES = {
    "llama_derived_head_dim": Case(
        architecture="llama",
        config={"hidden_size": 256, "vocab_size": 199, **_heads(4, 4, None)},
    ),
    "llama_biases": Case(
        architecture="llama",
        config={
            "attention_bias": True, "mlp_bias": True, "vocab_size": 201, **_heads(4, 2, 80),
        },
    ),
    "llama_tied_gelu": Case(
        architecture="llama",
        config={
            "tie_word_embeddings": True,
            "hidden_act": "gelu_pytorch_tanh",
            "vocab_size": 193,
            **_heads(8, 2, 64),
        },
    ),
    "llama_linear_rope": Case(
        architecture="llama",
        config={"rope_scaling": {"type": "linear", "factor": 4.0}, **_heads(4, 2, 64)},
    ),
    "llama_dynamic_rope_long_prompt": Case(
        architecture="llama",
        config={
            "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
            "max_position_embeddings": 64,
            **_heads(4, 1, 64),
        },
        num_prompt_tokens=90,
    ),
    "llama_dynamic_rope_crossing": Case(
        architecture="llama",
        config={
            "rope_parameters": {"rope_type": "dynamic", "factor": 3.0, "rope_theta": 20000.0},
            "rope_theta": None,
            "max_position_embeddings": 64,
            **_heads(4, 2, 80),
        },
        num_prompt_tokens=41,
    ),
    "llama_llama3_rope": Case(
        architecture="llama",
        config={
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
            "rope_theta": 500000.0,
            **_heads(8, 1, 128),
        },
        num_prompt_tokens=80,
    ),
    "qwen2": Case(
        architecture="qwen2",
        config={"vocab_size": 257, "rope_theta": 1000000.0, **_heads(8, 2, 96)},
    ),
    "qwen2_untied_upper_windows": Case(
        architecture="qwen2",
        config={
            "tie_word_embeddings": False,
            "num_hidden_layers": 3,
            "use_sliding_window": True,
            "sliding_window": 9,
            "max_window_layers": 1,
            **_heads(4, 2, 64),
        },
    ),
    "qwen3": Case(
        architecture="qwen3",
        config={"vocab_size": 263, "rope_theta": 1000000.0, **_heads(8, 1, 128)},
    ),
    "qwen3_biases_layer_types": Case(
        architecture="qwen3",
        config={
            "tie_word_embeddings": False,
            "attention_bias": True,
            "num_hidden_layers": 3,
            "use_sliding_window": True,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            **_heads(4, 2, 96),
        },
    ),
    "mistral_window": Case(
        architecture="mistral",
        config={"sliding_window": 12, "vocab_size": 211, **_heads(4, 1, 96)},
        num_prompt_tokens=45,
    ),
    "mistral_null_window": Case(
        architecture="mistral",
        config={"sliding_window": Null, "vocab_size": 211, **_heads(8, 4, 128)},
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RopeCase:
    """The rope of a published model, and for dynamic scaling the length of the sequence."""

    head_dim: int
    theta: float
    scaling: dict[str, Any]
    max_position_embeddings: int = 4096
    length: int | None = None


ROPE_POSITIONS = [0, 1, 5, 63, 1000, 4095, 8191, 32767, 131071]
ROPE_CASES = {
    "default": RopeCase(head_dim=128, theta=1000000.0, scaling={"rope_type": "default"}),
    "default_80": RopeCase(head_dim=80, theta=10000.0, scaling={"rope_type": "default"}),
    "linear": RopeCase(head_dim=128, theta=10000.0, scaling={"rope_type": "linear", "factor": 2.5}),
    "dynamic_within": RopeCase(
        head_dim=128, theta=10000.0, scaling={"rope_type": "dynamic", "factor": 2.0}, length=4096
    ),
    "dynamic_beyond": RopeCase(
        head_dim=96, theta=10000.0, scaling={"rope_type": "dynamic", "factor": 2.0}, length=5001
    ),
    "llama3": RopeCase(
        head_dim=128,
        theta=500000.0,
        max_position_embeddings=131072,
        scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    ),
}
