"""Writes a checkpoint's weights, bit for bit in BF16, as a GGUF file for llama.cpp.

    python gguf_writer.py CHECKPOINT_DIRECTORY TARGET.gguf

llama.cpp's own converter refuses tokenizers that it does not know.
"""

import json
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np

ARCHITECTURES = {
    "qwen3": (gguf.MODEL_ARCH.QWEN3, "qwen2"),
    "llama": (gguf.MODEL_ARCH.LLAMA, "llama-bpe"),
}


def main(checkpoint: Path, target: Path) -> None:
    """Write the file; it appears when it is complete."""
    config = json.loads((checkpoint / "config.json").read_text())
    arch, pre_tokenizer = ARCHITECTURES[config["model_type"]]
    unfinished = target.with_suffix(".unfinished")
    writer = gguf.GGUFWriter(unfinished, gguf.MODEL_ARCH_NAMES[arch])
    add_hyperparameters(writer, config)
    add_tokenizer(writer, checkpoint, config, pre_tokenizer)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    for name, values in read_bfloat16(checkpoint / "model.safetensors"):
        short = names.get_name(name, try_suffixes=(".weight",))
        if short is None:
            raise ValueError(f"no GGUF name for tensor {name}")
        add_tensor(writer, short, _permuted(name, values, config))
    if (factors := rope_factors(config)) is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.rename(target)


def add_hyperparameters(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    """Write what config.json says, under GGUF's names."""
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(config["model_type"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_tokenizer(
    writer: gguf.GGUFWriter, checkpoint: Path, config: dict[str, Any], pre_tokenizer: str
) -> None:
    """Write the vocabulary, padded to the embedding's size, and the merges."""
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())
    tokens = [f"[PAD{i}]" for i in range(config["vocab_size"])]
    types = [gguf.TokenType.UNUSED] * len(tokens)
    for text, i in tokenizer["model"]["vocab"].items():
        tokens[i], types[i] = text, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]], types[added["id"]] = added["content"], gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)


def add_tensor(writer: gguf.GGUFWriter, name: str, values: np.ndarray) -> None:
    """Write a matrix as BF16, a vector as float32, which holds it exactly."""
    if values.ndim == 1:
        writer.add_tensor(name, (values.astype(np.uint32) << 16).view(np.float32))
        return
    as_bytes = np.ascontiguousarray(values).view(np.uint8)
    writer.add_tensor(name, as_bytes, raw_dtype=gguf.GGMLQuantizationType.BF16)


def rope_factors(config: dict[str, Any]) -> np.ndarray | None:
    """Return the divisors of the frequencies for Llama 3's scaling, None without scaling.

    Formula: transformers, `modeling_rope_utils._compute_llama3_parameters`.
    """
    scaling = config.get("rope_scaling")
    if not scaling:
        return None
    if scaling["rope_type"] != "llama3":
        raise ValueError(f"rope type {scaling['rope_type']!r} is not written")
    factor, low, high = (scaling[key] for key in ("factor", "low_freq_factor", "high_freq_factor"))
    trained = scaling["original_max_position_embeddings"]
    exponents = np.arange(0, config["head_dim"], 2, dtype=np.float64) / config["head_dim"]
    wavelengths = 2 * math.pi * config["rope_theta"] ** exponents
    smooth = np.clip((trained / wavelengths - low) / (high - low), 0.0, 1.0)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def read_bfloat16(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors of a safetensors file of bfloat16, as uint16 bits."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    data = np.memmap(path, np.uint8, "r", offset=8 + length)
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            raise ValueError(f"tensor {name} is {entry['dtype']}, expected BF16")
        start, end = entry["data_offsets"]
        yield name, data[start:end].view("<u2").reshape(entry["shape"])


def _permuted(name: str, values: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Return queries and keys of a Llama in the interleaved order that its GGUF has."""
    num_heads = {
        "q_proj": config["num_attention_heads"],
        "k_proj": config["num_key_value_heads"],
    }.get(name.split(".")[-2])
    if config["model_type"] != "llama" or num_heads is None:
        return values
    halves = values.reshape(num_heads, 2, len(values) // num_heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(values.shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
