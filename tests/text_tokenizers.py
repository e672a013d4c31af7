"""Small tokenizers for tests, trained here from a few lines of text."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from lite.text.tokenizer import JsonTokenizer, load_tokenizer
from lite.text.tokenizer_files import TokenizerConfig

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "A tokenizer turns text into numbers; a detokenizer turns numbers into text again.",
    "Grüße aus Köln! Ça va très bien, merci. ¿Qué tal? Dvořák, Łódź, naïve café.",
    "Привет, мир! Как дела? 你好,世界。今天天气很好。 こんにちは世界 안녕하세요",
    "שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก",
    "👩‍👩‍👧‍👦 👍🏽 🇩🇪 🙂🙃 e\u0301 o\u0308 z\u0330\u0324",
    "def f(x):\n    return {'a': [1, 2, 3], \"b\": x ** 2}  # comment\n\n\t<b>&amp;</b>",
    "system user assistant tool <|im_start|>user\nHello there, how are you today?",
]
CHAT_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def _with_added_tokens(backend: Tokenizer) -> Tokenizer:
    """Add the awkward kinds: not special, with spaces, with bytes' stand-ins, not ASCII."""
    backend.add_tokens([AddedToken("<think>", normalized=False, special=False)])
    backend.add_tokens([AddedToken(" two  words ", normalized=False, special=False)])
    backend.add_tokens([AddedToken("é▁ü", normalized=False, special=False)])
    backend.add_special_tokens([AddedToken("<|특별 🙂|>", normalized=False, special=True)])
    return backend


@cache
def byte_level_backend() -> str:
    """GPT-2, Llama 3 and Qwen: byte-level BPE without BOS."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=CHAT_TOKENS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return _with_added_tokens(backend).to_str()


@cache
def llama2_backend(*, strip: bool = True) -> str:
    """Llama 2 and Mistral: SentencePiece-like BPE with byte fallback, BOS in front."""
    byte_tokens = [f"<0x{value:02X}>" for value in range(256)]
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.train_from_iterator(
        [*CORPUS[:4], "words  with   runs    of     spaces"] * 2,
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=["<unk>", "<s>", "</s>", *byte_tokens],
            limit_alphabet=60,
            show_progress=False,
        ),
    )
    content = json.loads(backend.to_str())
    # The trainer marks the byte tokens special; in real files they are plain vocabulary.
    content["added_tokens"] = [t for t in content["added_tokens"] if t["id"] < 3]
    backend = Tokenizer.from_str(json.dumps(content))
    stages: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if strip:
        stages.append(decoders.Strip(" ", 1, 0))
    backend.decoder = decoders.Sequence(stages)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return _with_added_tokens(backend).to_str()


@cache
def staged_byte_level_backend() -> str:
    """A contrived pipeline: something before the bytes and something after them."""
    backend = Tokenizer.from_str(byte_level_backend())
    backend.decoder = decoders.Sequence(
        [decoders.Metaspace("Ġ"), decoders.ByteLevel(), decoders.Strip("a", 2, 0)]
    )
    return backend.to_str()


@cache
def metaspace_backend() -> str:
    """Unigram with the Metaspace decoder, which strips the first token's spaces."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=400,
            special_tokens=["<unk>", "</s>"],
            unk_token="<unk>",
            show_progress=False,
        ),
    )
    return _with_added_tokens(backend).to_str()


@cache
def metaspace_fallback_backend() -> str:
    """The Llama 2 vocabulary behind ByteFallback and then Metaspace, without Fuse."""
    backend = Tokenizer.from_str(llama2_backend())
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return backend.to_str()


@cache
def wordpiece_backend() -> str:
    """BERT's decoder: spaces between words, `##` continuations, cleaned-up punctuation."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(
        CORPUS,
        trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=["[UNK]", "[CLS]"], show_progress=False
        ),
    )
    return _with_added_tokens(backend).to_str()


@cache
def undecided_backend() -> str:
    """BPEDecoder: whether a space follows is known only when the next token comes."""
    backend = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.BPEDecoder()
    backend.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=300, end_of_word_suffix="</w>", show_progress=False),
    )
    return _with_added_tokens(backend).to_str()


@cache
def bare_backend() -> str:
    """No decoder at all: tokens joined by spaces."""
    backend = Tokenizer.from_str(wordpiece_backend())
    content = json.loads(backend.to_str())
    content["decoder"] = None
    return json.dumps(content)


BACKENDS = {
    "byte-level": byte_level_backend,
    "byte-level-staged": staged_byte_level_backend,
    "llama2": llama2_backend,
    "gemma": lambda: llama2_backend(strip=False),
    "metaspace": metaspace_backend,
    "metaspace-fallback": metaspace_fallback_backend,
    "wordpiece": wordpiece_backend,
    "bpe-suffix": undecided_backend,
    "no-decoder": bare_backend,
}


@cache
def tokenizer(name: str) -> JsonTokenizer:
    """Return one of `BACKENDS` without any file beside it."""
    config = TokenizerConfig(
        named_tokens={},
        special_tokens=frozenset(),
        add_bos_token=None,
        chat_templates={},
        chat_template_source="tokenizer_config.json",
    )
    return JsonTokenizer(Tokenizer.from_str(BACKENDS[name]()), config)


def write_tokenizer(directory: Path, name: str, **config: Any) -> JsonTokenizer:
    """Write tokenizer.json and tokenizer_config.json into a directory and load them."""
    (directory / "tokenizer.json").write_text(BACKENDS[name](), encoding="utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return load_tokenizer(directory)
