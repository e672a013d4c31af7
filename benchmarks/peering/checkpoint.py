"""The checkpoint that all engines run: a public config.json, seeded random weights, a tokenizer."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT
from lite.formats.checkpoint import open_checkpoint
from lite.formats.safetensors import write_safetensors

CONFIGS = ROOT / "benchmarks" / "configs"
# Entries below this are single bytes, which may not be text on their own.
FIRST_TEXT_ID = 256
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def read_config(source: Path) -> dict[str, Any]:
    """Return the config.json of a directory as a dict."""
    config: dict[str, Any] = json.loads((source / "config.json").read_text())
    return config


def make_checkpoint(source: Path, directory: Path) -> None:
    """Write a checkpoint of `source`'s config.json unless it is there already."""
    finished = directory / "tokenizer_config.json"
    if finished.is_file():
        return
    directory.mkdir(parents=True, exist_ok=True)
    config = read_config(source)
    shutil.copy(source / "config.json", directory / "config.json")
    with open_checkpoint(source, "dummy") as checkpoint:
        tensors = {name: checkpoint.tensors[name] for name in checkpoint.tensors}
        write_safetensors(directory / "model.safetensors", tensors)
    special = special_tokens(config)
    (directory / "tokenizer.json").write_text(json.dumps(make_tokenizer(special)))
    description = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": special[config["bos_token_id"]],
        "eos_token": special[config["eos_token_id"]],
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": config["max_position_embeddings"],
        "chat_template": _CHAT_TEMPLATE,
    }
    finished.write_text(json.dumps(description))


def special_tokens(config: dict[str, Any]) -> dict[int, str]:
    """Return id -> text of the tokens from BOS to EOS, the last entries of the vocabulary."""
    first, last = config["bos_token_id"], config["eos_token_id"]
    return {i: f"<|special_{i - first}|>" for i in range(first, last + 1)}


def make_tokenizer(special: dict[int, str]) -> dict[str, Any]:
    """Return a byte-level BPE tokenizer of made-up ASCII entries that fills the vocabulary.

    Every id from FIRST_TEXT_ID up to the special ones is text by itself, so that a stream of
    random tokens shows each of them at once.
    """
    text = [chr(c) for c in range(33, 127)]
    other = [chr(c) for c in [*range(161, 173), *range(174, 256)]]
    alphabet = text + other + [chr(256 + i) for i in range(256 - len(text) - len(other))]
    vocab = {char: i for i, char in enumerate(alphabet)}
    merges = []
    pairs = itertools.product(text, text)
    triples = ((a + b, c) for a, b, c in itertools.product(text, repeat=3))
    for left, right in itertools.chain(pairs, triples):
        if len(vocab) == min(special):
            break
        vocab[left + right] = len(vocab)
        merges.append([left, right])
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for i, content in special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": False,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": False,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocab,
            "merges": merges,
        },
    }
