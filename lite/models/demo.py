"""A tiny untrained checkpoint, made on first use: it proves the machinery, and talks nonsense."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lite.errors import CheckpointError
from lite.formats.safetensors import write_safetensors
from lite.models import declare
from lite.models.weights import tensor_shapes
from lite_kernels.cache_root import cache_root
from lite_kernels.dtypes import to_bfloat16

# Part of the directory's name: raise it when the content changes.
VERSION = 1
DESCRIPTION = """# lite demo checkpoint

A Qwen3-shaped model of random, untrained weights with one token per byte. Its answers are
noise, of letters mostly because their embeddings are drawn larger: it is here so that an
engine can be started, tried and tested without a download.
"""
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "dtype": "bfloat16",
    "vocab_size": 256 + len(SPECIAL_TOKENS),
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "tie_word_embeddings": True,
    "eos_token_id": 258,
}


def demo_checkpoint() -> Path:
    """Return the directory of the demo checkpoint, making it in the user's cache if needed.

    The cache is `LITE_CACHE_DIR`, else `lite` in `XDG_CACHE_HOME` or `~/.cache`. Several
    processes may call this at once: a complete directory is renamed into place, first one wins.

    Raises:
        CheckpointError: the cache cannot be written.
    """
    try:
        return _made_once()
    except OSError as error:
        raise CheckpointError(
            f"the demo model cannot be written to the cache ({error}); set LITE_CACHE_DIR to a "
            "writable directory, or name another model"
        ) from error


def _made_once() -> Path:
    target = cache_root() / f"demo-{VERSION}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        write_demo(scratch)
        scratch.chmod(0o755)
        scratch.rename(target)
    except OSError:
        # Renaming onto a directory that someone else completed meanwhile fails.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def write_demo(directory: Path) -> None:
    """Write the checkpoint's files; the same bytes each time."""
    write_safetensors(directory / "model.safetensors", _weights())
    (directory / "README.md").write_text(DESCRIPTION, encoding="utf-8")
    files = {
        "config.json": CONFIG,
        "generation_config.json": {"eos_token_id": [258, 256]},
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "clean_up_tokenization_spaces": False,
            "model_max_length": CONFIG["max_position_embeddings"],
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, value in files.items():
        text = json.dumps(value, indent=2, ensure_ascii=False)
        (directory / name).write_text(text, encoding="utf-8")


def _weights() -> dict[str, npt.NDArray[Any]]:
    # NumPy freezes the legacy generator's numbers, so the files are the same everywhere.
    generator = np.random.RandomState(0)
    weights = {}
    for name, shape in tensor_shapes(declare(CONFIG)).items():
        values = generator.standard_normal(shape)
        if len(shape) == 1:
            values = 1.0 + 0.1 * values
        elif name == "model.embed_tokens.weight":
            legible = [ord("\n"), *range(ord(" "), ord("~") + 1)]
            scale = np.full((shape[0], 1), 0.02)
            scale[legible] = 0.2
            scale[ord("a") : ord("z") + 1] = scale[ord(" ")] = 0.3
            scale[CONFIG["eos_token_id"]] = 0.25
            values *= scale
        else:
            values *= 1.5 / np.sqrt(shape[1])
        weights[name] = to_bfloat16(values)
    return weights


def _tokenizer() -> dict[str, Any]:
    """Return a byte-level BPE tokenizer without merges: ids 0 to 255 are the bytes."""
    special = {
        "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        "special": True,
    }  # fmt: skip
    byte_level = {
        "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False,
    }  # fmt: skip
    vocab = {character: byte for byte, character in enumerate(_byte_characters())}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": 256 + i, "content": token, **special} for i, token in enumerate(SPECIAL_TOKENS)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": vocab, "merges": [],
        },
    }  # fmt: skip


def _byte_characters() -> list[str]:
    """Return GPT-2's printable stand-in for each byte (its `bytes_to_unicode`)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)}
    printable |= set(range(ord("®"), ord("ÿ") + 1))
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else 256 + others.index(byte)) for byte in range(256)]
