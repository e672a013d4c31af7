"""Tiny random checkpoints of every architecture, with a trained byte-level BPE tokenizer.

Weights come from a seed through NumPy's frozen legacy generator, so stored goldens hold for
ever. Nothing here uses the engine: tests compare it against files it has not written.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "mistral": "MistralForCausalLM",
}
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
Array = npt.NDArray[Any]
_DTYPE_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def make_checkpoint(
    path: str | Path,
    architecture: str = "qwen3",
    *,
    seed: int = 0,
    dtype: str = "bfloat16",
    gain: float = 1.0,
    num_shards: int = 1,
    tokenizer: bool = True,
    generation_config: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Path:
    """Write config.json, weights, tokenizer and generation_config.json; return the directory.

    `overrides` are fields of config.json; None removes a field, a `Null` writes null. `gain`
    scales the projections: above 1 the logits of different contexts differ more.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    vocab_size = make_tokenizer(path, add_bos=architecture == "llama") if tokenizer else 320
    config = make_config(architecture, dtype=dtype, **{"vocab_size": vocab_size, **overrides})
    _write_json(path / "config.json", config)
    if generation_config is None:
        generation_config = {
            key: config[key] for key in ("bos_token_id", "eos_token_id") if key in config
        }
    _write_json(path / "generation_config.json", generation_config)
    tensors = make_tensors(config, seed=seed, dtype=dtype, gain=gain)
    if num_shards == 1:
        write_safetensors(path / "model.safetensors", tensors)
        return path
    names = list(tensors)
    weight_map = {}
    for shard in range(num_shards):
        file = f"model-{shard + 1:05d}-of-{num_shards:05d}.safetensors"
        part = names[shard::num_shards]
        write_safetensors(path / file, {name: tensors[name] for name in part})
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    _write_json(path / "model.safetensors.index.json", index)
    return path


class Null:
    """An override that writes null; None removes the field."""


def make_config(
    architecture: str = "qwen3", *, dtype: str = "bfloat16", **overrides: Any
) -> dict[str, Any]:
    """Return a small config.json of one architecture."""
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[architecture]],
        "model_type": architecture,
        "torch_dtype": dtype,
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": architecture in ("qwen2", "qwen3"),
        "bos_token_id": 3 if architecture == "llama" else 0,
        "eos_token_id": 2,
    }
    if architecture == "mistral":
        config["sliding_window"] = Null
    for name, value in overrides.items():
        config[name] = value
    config = {name: value for name, value in config.items() if value is not None}
    return {name: None if value is Null else value for name, value in config.items()}


def tensor_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of every tensor Hugging Face saves for this config."""
    kind = config["model_type"]
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or hidden // heads
    qkv_bias = kind == "qwen2" or (kind != "mistral" and config.get("attention_bias", False))
    output_bias = kind != "qwen2" and qkv_bias
    mlp_bias = kind == "llama" and config.get("mlp_bias", False)

    def linear(name: str, rows: int, columns: int, bias: bool) -> list[tuple[str, tuple[int, ...]]]:
        weight = [(f"{name}.weight", (rows, columns))]
        return weight + ([(f"{name}.bias", (rows,))] if bias else [])

    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
        yield from linear(f"{layer}.self_attn.q_proj", heads * head_dim, hidden, qkv_bias)
        yield from linear(f"{layer}.self_attn.k_proj", kv_heads * head_dim, hidden, qkv_bias)
        yield from linear(f"{layer}.self_attn.v_proj", kv_heads * head_dim, hidden, qkv_bias)
        yield from linear(f"{layer}.self_attn.o_proj", hidden, heads * head_dim, output_bias)
        if kind == "qwen3":
            yield f"{layer}.self_attn.q_norm.weight", (head_dim,)
            yield f"{layer}.self_attn.k_norm.weight", (head_dim,)
        yield from linear(f"{layer}.mlp.gate_proj", inner, hidden, mlp_bias)
        yield from linear(f"{layer}.mlp.up_proj", inner, hidden, mlp_bias)
        yield from linear(f"{layer}.mlp.down_proj", hidden, inner, mlp_bias)
    yield "model.norm.weight", (hidden,)
    if not config.get("tie_word_embeddings", False):
        yield "lm_head.weight", (config["vocab_size"], hidden)


def make_tensors(
    config: Mapping[str, Any], *, seed: int = 0, dtype: str = "bfloat16", gain: float = 1.0
) -> dict[str, Array]:
    """Return seeded weights; bfloat16 as uint16 bit patterns.

    Projections keep the variance of their input (times gain squared), norms lie near 1.
    """
    generator = np.random.RandomState(seed)
    tensors: dict[str, Array] = {}
    for name, shape in tensor_shapes(config):
        values = generator.standard_normal(shape)
        if name.endswith("bias"):
            values *= 0.3
        elif len(shape) == 1:
            values = 1.0 + 0.1 * values
        elif name != "model.embed_tokens.weight":
            values *= gain / np.sqrt(shape[1])
        elif config.get("tie_word_embeddings", False):
            values *= 0.2  # a larger one makes every token predict itself
        tensors[name] = cast(values, dtype)
    return tensors


def checksum(path: Path) -> int:
    """Return the CRC-32 of a single-file checkpoint's tensors, without the header."""
    data = (path / "model.safetensors").read_bytes()
    return zlib.crc32(data[8 + struct.unpack_from("<Q", data)[0] :])


def cast(values: Array, dtype: str) -> Array:
    """Return float32, float16, or bfloat16 (uint16 bits, nearest even) values."""
    if dtype != "bfloat16":
        return values.astype(dtype)
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_safetensors(path: str | Path, tensors: Mapping[str, Array]) -> None:
    """Write a safetensors file; uint16 arrays are bfloat16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        dtype = "bfloat16" if tensor.dtype == np.uint16 else str(tensor.dtype)
        header[name] = {
            "dtype": _DTYPE_NAMES[dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())


def make_tokenizer(path: str | Path, *, vocab_size: int = 512, add_bos: bool = False) -> int:
    """Write tokenizer.json and tokenizer_config.json; return the number of tokens.

    Special tokens come first: 0 <|endoftext|>, 1 <|im_start|>, 2 <|im_end|> (EOS),
    3 <|begin_of_text|>, which the post-processor prepends when `add_bos`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(), trainer)
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 3)]
        )
    tokenizer.save(str(Path(path) / "tokenizer.json"))
    template = "{{ bos_token }}" + CHAT_TEMPLATE if add_bos else CHAT_TEMPLATE
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin_of_text|>" if add_bos else None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "add_bos_token": add_bos,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "chat_template": template,
    }
    _write_json(Path(path) / "tokenizer_config.json", config)
    size: int = tokenizer.get_vocab_size()
    return size


def _training_text() -> Iterator[str]:
    subjects = ("the cat", "a small engine", "my neighbour", "the café", "every token", "日本語")
    verbs = ("reads", "answers", "counts", "remembers", "translates", "streams")
    objects = ("the question", "a number", "this sentence", "the weather", "naïve text", "emoji 🙂")
    for subject in subjects:
        for verb in verbs:
            for thing in objects:
                yield f"{subject} {verb} {thing}. What is {thing}, and why? Hello, {subject}!"


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
