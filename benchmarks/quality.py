"""What every format costs in quality: perplexity and top-1 agreement against float32.

    python -m benchmarks.quality --model demo
    python -m benchmarks.quality --model path/to/checkpoint --text README.md docs/*.md

Without --text the bundled model is asked about conversations that its training has not seen (their
generator under another seed), and its answers are scored. Texts are cut into pieces of --context
tokens, and every token but a piece's first is scored. Q8_0 and Q4_0 are llama.cpp's formats and
arithmetic in NumPy, slow, on the same weights.
"""

import argparse
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.llama_cpp_formats import LlamaCppKernels
from benchmarks.report import write_result
from lite.models.location import locate_model
from tests.parity.driver import SequenceDriver
from tools.demo_model.data import MAX_TOKENS, Marker, Renderer, sample

Array = np.ndarray[Any, np.dtype[Any]]

# Name -> arguments of the driver; the first is what the others are compared with.
FORMATS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"dtype": "bfloat16", "quantization": "int8"},
    "int8 KV": {"dtype": "bfloat16", "kv_quantization": "int8"},
    "int8 KV (float32)": {"dtype": "float32", "kv_quantization": "int8"},
    "int4": {"dtype": "bfloat16", "quantization": "int4"},
    "int8 (float32)": {"dtype": "float32", "quantization": "int8"},
    "int4 (float32)": {"dtype": "float32", "quantization": "int4"},
    "Q8_0": {"kernels": LlamaCppKernels(), "quantization": "int8"},
    "Q4_0": {"kernels": LlamaCppKernels(), "quantization": "int4"},
}
# What a format is measured against: llama.cpp's of the same size.
YARDSTICKS = {"int8": "Q8_0", "int4": "Q4_0"}


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids of one sequence, and which of them are scored (never the first)."""

    token_ids: Array  # int32 [T]
    is_scored: Array  # bool [T]


@dataclass(slots=True)
class Score:
    """Sums over scored tokens."""

    num_tokens: int = 0
    surprise: float = 0.0  # -log p of the text
    divergence: float = 0.0  # Kullback-Leibler, from the first format
    num_equal: int = 0  # where the most likely token is that of the first format
    per_token: list[Array] = field(default_factory=list)

    def add(self, logits: Array, expected: Array, text: Text) -> None:
        """Count one text: logits [T, V] of this format and of the first."""
        rows = np.flatnonzero(text.is_scored) - 1
        own, first = _log_softmax(logits[rows]), _log_softmax(expected[rows])
        surprise = -own[np.arange(len(rows)), text.token_ids[rows + 1]]
        self.num_tokens += len(rows)
        self.surprise += float(surprise.sum())
        self.divergence += float((np.exp(first) * (first - own)).sum())
        self.num_equal += int((own.argmax(axis=1) == first.argmax(axis=1)).sum())
        self.per_token.append(surprise)

    def change_percent(self, other: "Score") -> tuple[float, float]:
        """Return how far the perplexity lies above another's, and the standard error of that."""
        paired = np.concatenate(self.per_token) - np.concatenate(other.per_token)
        error = float(paired.std()) / math.sqrt(self.num_tokens)
        return 100 * math.expm1(float(paired.mean())), 100 * error

    def figures(self, first: "Score") -> dict[str, float]:
        """Return what is reported of one format."""
        change, error = self.change_percent(first)
        return {
            "perplexity": math.exp(self.surprise / self.num_tokens),
            "perplexity_change_percent": change,
            "standard_error_percent": error,
            "top1_agreement_percent": 100 * self.num_equal / self.num_tokens,
            "divergence": self.divergence / self.num_tokens,
        }


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def measure(path: Path, texts: list[Text], formats: list[str]) -> dict[str, dict[str, float]]:
    """Return the figures of each format of the checkpoint at `path`, "float32" among them."""
    longest = max(len(text.token_ids) for text in texts)
    names = ["float32", *(name for name in formats if name != "float32")]
    drivers = [SequenceDriver(path, max_len=longest, **FORMATS[name]) for name in names]
    scores = [Score() for _ in names]
    try:
        for text in texts:
            logits = [d.step(text.token_ids, 0, len(text.token_ids)) for d in drivers]
            for score, own in zip(scores, logits, strict=True):
                score.add(own, logits[0], text)
    finally:
        for driver in drivers:
            driver.close()
    by_name = dict(zip(names, scores, strict=True))
    figures = {name: score.figures(scores[0]) for name, score in by_name.items()}
    for name, yardstick in YARDSTICKS.items():
        if name in by_name and yardstick in by_name:
            change, error = by_name[name].change_percent(by_name[yardstick])
            figures[name] |= {"above_yardstick_percent": change, "its_error_percent": error}
    return figures


def conversations(directory: Path, count: int, seed: str) -> Iterator[Text]:
    """Yield what the demo model's generator makes under `seed`; its answers are scored."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    render, mark, rng = Renderer(), Marker(tokenizer), random.Random(seed)
    while count:
        made = sample(rng)
        ids = np.array(tokenizer.encode(render(made), add_special_tokens=False).ids, np.int32)
        is_scored = mark(ids, made)
        if len(ids) <= MAX_TOKENS and is_scored.any():
            yield Text(ids, is_scored)
            count -= 1


def pieces(directory: Path, files: list[Path], context: int) -> Iterator[Text]:
    """Yield texts cut into pieces of `context` tokens."""
    from lite.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(directory)
    for file in files:
        ids = np.array(tokenizer.encode(file.read_text(encoding="utf-8")), np.int32)
        for start in range(0, len(ids) - 1, context):
            piece = ids[start : start + context]
            yield Text(piece, np.arange(len(piece)) > 0)


def main() -> None:
    """Run the benchmark and print or write its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--text", type=Path, nargs="+", help="files; default: conversations")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--seed", default="quality")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--out", help="file for the JSON result")
    args = parser.parse_args()
    directory = locate_model(args.model).directory
    if args.text:
        texts = list(pieces(directory, args.text, args.context))
    else:
        texts = list(conversations(directory, args.conversations, args.seed))
    figures = measure(directory, texts, args.formats)
    num_scored = sum(int(text.is_scored.sum()) for text in texts)
    print(f"{num_scored} tokens scored\n{'':16}perplexity   change (+-)        top-1      KL")
    for name, row in figures.items():
        print(
            f"{name:16}{row['perplexity']:10.4f}  {row['perplexity_change_percent']:+7.3f} % "
            f"({row['standard_error_percent']:.3f})  {row['top1_agreement_percent']:7.2f} %"
            f"  {row['divergence']:.2e}"
        )
    for name, yardstick in YARDSTICKS.items():
        if "above_yardstick_percent" in figures.get(name, {}):
            row = figures[name]
            change, error = row["above_yardstick_percent"], row["its_error_percent"]
            print(f"{name}: perplexity {change:+.3f} % ({error:.3f}) above {yardstick}'s")
    settings = {"tokens": num_scored, "texts": "files" if args.text else "conversations"}
    write_result("quality", {"settings": settings, "formats": figures}, args.out)


if __name__ == "__main__":
    main()
