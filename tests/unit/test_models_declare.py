"""config.json to declaration: what is read, derived and refused."""

from typing import Any

import pytest

from lite.errors import CheckpointError, UnsupportedModelError
from lite.models import ARCHITECTURES, declare
from lite.models.spec import DynamicScaling, LinearScaling, Llama3Scaling, Rope
from tests.checkpoints import Null, make_config

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def test_llama_reads_shapes_biases_and_head_size() -> None:
    decoder = declare(make_config("llama", head_dim=80, attention_bias=True, mlp_bias=True))
    attention = decoder.attention
    assert decoder.architecture == "LlamaForCausalLM"
    assert (attention.num_heads, attention.num_kv_heads, attention.head_dim) == (4, 2, 80)
    assert attention.qkv_bias
    assert attention.output_bias
    assert decoder.mlp.bias
    assert not decoder.tie_word_embeddings


@pytest.mark.parametrize("absent", [None, Null])
def test_llama_derives_head_size_and_key_value_heads(absent: Any) -> None:
    decoder = declare(
        make_config("llama", hidden_size=96, head_dim=absent, num_key_value_heads=absent)
    )
    assert decoder.attention.head_dim == 24
    assert decoder.attention.num_kv_heads == 4


def test_qwen2_always_has_input_biases_and_never_output_biases() -> None:
    attention = declare(make_config("qwen2", attention_bias=False)).attention
    assert attention.qkv_bias
    assert not attention.output_bias
    assert not attention.qk_norm


def test_qwen3_normalises_heads_of_128_by_default() -> None:
    decoder = declare(make_config("qwen3", head_dim=None))
    assert decoder.attention.qk_norm
    assert decoder.attention.head_dim == 128
    assert "layer.q_norm" in decoder.weight_names


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    ("fields", "window", "layers"),
    [
        ({}, None, ()),
        ({"sliding_window": 8, "max_window_layers": 0}, None, ()),
        ({"use_sliding_window": True, "sliding_window": 8}, None, ()),
        ({"use_sliding_window": True, "sliding_window": Null, "max_window_layers": 0}, None, ()),
        ({"use_sliding_window": True, "max_window_layers": 1}, 4096, (False, True)),
        (
            {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0},
            8,
            (True, True),
        ),
        (
            {
                "use_sliding_window": True,
                "sliding_window": 8,
                "max_window_layers": 0,
                "layer_types": ["sliding_attention", "full_attention"],
            },
            8,
            (True, False),
        ),
        ({"layer_types": ["full_attention", "full_attention"]}, None, ()),
    ],
)
def test_qwen_window_layers(
    architecture: str, fields: dict[str, Any], window: int | None, layers: tuple[bool, ...]
) -> None:
    attention = declare(make_config(architecture, **fields)).attention
    assert (attention.sliding_window, attention.sliding_layers) == (window, layers)


@pytest.mark.parametrize(
    ("value", "window", "layers"),
    [(16, 16, (True, True)), (Null, None, ()), (None, 4096, (True, True))],
)
def test_mistral_windows_every_layer_unless_null(
    value: Any, window: int | None, layers: tuple[bool, ...]
) -> None:
    attention = declare(make_config("mistral", sliding_window=value)).attention
    assert (attention.sliding_window, attention.sliding_layers) == (window, layers)


@pytest.mark.parametrize(
    ("fields", "rope"),
    [
        ({"rope_theta": None}, Rope(theta=10_000.0)),
        ({"rope_theta": 5e5}, Rope(theta=5e5)),
        ({"rope_theta": 5e5, "rope_scaling": Null}, Rope(theta=5e5)),
        ({"rope_theta": 5e5, "rope_scaling": {"type": "default"}}, Rope(theta=5e5)),
        (
            {"rope_theta": 5e5, "rope_parameters": {"rope_type": "default", "rope_theta": 3e5}},
            Rope(theta=3e5),
        ),
        (
            {"rope_scaling": {"type": "linear", "factor": 2}},
            Rope(theta=10_000.0, scaling=LinearScaling(factor=2.0)),
        ),
        (
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 7e4}},
            Rope(theta=7e4, scaling=DynamicScaling(factor=2.0, original_max_position=2048)),
        ),
        (
            {"rope_scaling": LLAMA3},
            Rope(
                theta=10_000.0,
                scaling=Llama3Scaling(
                    factor=8.0,
                    low_freq_factor=1.0,
                    high_freq_factor=4.0,
                    original_max_position=8192,
                ),
            ),
        ),
    ],
)
def test_rope_is_read_from_old_and_new_fields(fields: dict[str, Any], rope: Rope) -> None:
    assert declare(make_config("llama", **fields)).attention.rope == rope


@pytest.mark.parametrize(
    ("scaling", "length"),
    [
        ({"type": "linear", "factor": 4.0}, 8192),
        ({"type": "dynamic", "factor": 1.5}, 3072),
        (LLAMA3, 2048),
    ],
)
def test_linear_and_dynamic_scaling_extend_the_context(
    scaling: dict[str, Any], length: int
) -> None:
    assert declare(make_config("llama", rope_scaling=scaling)).max_model_len == length


UNSUPPORTED = {
    "architecture": ({"architectures": ["FooForCausalLM"]}, "'FooForCausalLM'.*Qwen3ForCausalLM"),
    "rope type": ({"rope_scaling": {"type": "yarn", "factor": 2}}, "'yarn'.*default, linear"),
    "activation": ({"hidden_act": "relu2"}, "'relu2'.*silu"),
    "quantization": ({"quantization_config": {"quant_method": "awq"}}, "quantization.*'awq'"),
    "rope by layer": (
        {"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "differs by layer",
    ),
    "layer type": ({"layer_types": ["linear_attention"] * 2}, "'linear_attention'.*full_attention"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_is_not_implemented_is_refused_with_what_is(case: str) -> None:
    fields, message = UNSUPPORTED[case]
    with pytest.raises(UnsupportedModelError, match=rf"^some/config\.json: .*{message}"):
        declare(make_config("qwen3", **fields), file="some/config.json")


def test_ministrals_layer_types_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="Ministral"):
        declare(make_config("mistral", layer_types=["full_attention"] * 2))


REFUSED = [
    ("architectures", None),
    ("architectures", []),
    ("architectures", "LlamaForCausalLM"),
    ("vocab_size", None),
    ("vocab_size", 0),
    ("vocab_size", -1),
    ("vocab_size", 320.0),
    ("vocab_size", "320"),
    ("vocab_size", True),
    ("vocab_size", 2**40),
    ("hidden_size", Null),
    ("hidden_size", [64]),
    ("num_hidden_layers", None),
    ("num_hidden_layers", 10**9),
    ("num_attention_heads", 0),
    ("num_key_value_heads", 3),
    ("head_dim", 63),
    ("head_dim", 4096),
    ("intermediate_size", None),
    ("max_position_embeddings", None),
    ("max_position_embeddings", 10**12),
    ("rms_norm_eps", "1e-6"),
    ("rms_norm_eps", -1.0),
    ("rms_norm_eps", float("nan")),
    ("rope_theta", 0.0),
    ("rope_theta", float("inf")),
    ("rope_theta", 10**400),
    ("tie_word_embeddings", 1),
    ("hidden_act", 3),
    ("attention_bias", "yes"),
    ("rope_scaling", [2]),
    ("rope_scaling", "linear"),
    ("quantization_config", "awq"),
    ("partial_rotary_factor", 0.5),
    ("use_sliding_window", 1),
    ("layer_types", ["full_attention"]),
    ("layer_types", ["sliding_attention", "full_attention"]),
    ("layer_types", [1, 2]),
]


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_a_bad_field_is_refused_with_file_and_name(field: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=rf"^some/config\.json: field '{field}' is ."):
        declare(make_config("qwen3", **{field: value}), file="some/config.json")


@pytest.mark.parametrize(
    ("scaling", "field"),
    [
        ({"type": "linear"}, "factor"),
        ({"type": "linear", "factor": 0}, "factor"),
        ({"type": "dynamic", "factor": "2"}, "factor"),
        ({"type": 3}, "type"),
        (LLAMA3 | {"low_freq_factor": None}, "low_freq_factor"),
        (LLAMA3 | {"high_freq_factor": 1.0}, "high_freq_factor"),
        (LLAMA3 | {"original_max_position_embeddings": 0.5}, "original_max_position_embeddings"),
        (LLAMA3 | {"rope_theta": -1}, "rope_theta"),
    ],
)
def test_a_bad_rope_field_is_named_with_its_path(scaling: dict[str, Any], field: str) -> None:
    with pytest.raises(CheckpointError, match=rf"field 'rope_scaling\.{field}' is "):
        declare(make_config("llama", rope_scaling=scaling))


def test_a_window_size_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'sliding_window' is 0"):
        declare(make_config("mistral", sliding_window=0))


def test_a_hidden_size_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'hidden_size' is 66.*multiple"):
        declare(make_config("llama", hidden_size=66, head_dim=None))


def test_every_listed_architecture_can_be_declared() -> None:
    for name in ARCHITECTURES:
        decoder = declare(make_config("llama", architectures=[name]))
        assert decoder.architecture == name
