"""From starting Python to the first token: the very first start, and later ones.

    python -m benchmarks.cold_start

Writes a 1.2 GB Qwen3-0.6B-shaped checkpoint of random weights with a tokenizer of 151,936 entries
to --directory, and what `lite quantize` makes of it beside it. Then starts them in new processes:
once with an empty kernel cache, --repeats times with a warm one, the ways of loading interleaved.
The page cache is warm, since every file has just been written or read.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import write_result
from lite.formats.checkpoint import open_checkpoint
from lite.formats.safetensors import write_safetensors

CONFIG = Path(__file__).parent / "configs" / "qwen3-0.6b"
START = """
import json, sys, time
from lite import LLM, SamplingParams
llm = LLM(sys.argv[1], max_model_len=4096, **json.loads(sys.argv[2]))
loaded = time.time()
for delta in llm.stream("Hello, how are you?", SamplingParams(temperature=0.0, max_tokens=4)):
    print(loaded, time.time(), flush=True)
    break
llm.close()
"""


# Ways to load: directory beside the checkpoint, settings.
WAYS: dict[str, tuple[str, dict[str, object]]] = {
    "bfloat16": (".", {}),
    "bfloat16, weights_cache": (".", {"weights_cache": True}),
    "int8 while loading": (".", {"quantization": "int8"}),
    "int4 while loading": (".", {"quantization": "int4"}),
    "int8 checkpoint": ("int8", {}),
    "int4 checkpoint": ("int4", {}),
}


def main() -> None:
    """Run the benchmark and print or write its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", default=None, help="where the checkpoint is kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", help="file for the JSON result")
    args = parser.parse_args()
    directory = Path(args.directory or Path(tempfile.gettempdir()) / "lite-cold-start")
    make_checkpoint(directory)
    cache = Path(tempfile.mkdtemp(prefix="lite-cache-"))
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    try:
        first = start("bfloat16", directory, cache, args.threads)
        for way in WAYS:  # compiles what is missing, fills the cache of weights
            start(way, directory, cache, args.threads)
        for _ in range(args.repeats):
            for way in WAYS:
                runs[way].append(start(way, directory, cache, args.threads))
    finally:
        shutil.rmtree(cache)
    files = {way: directory / WAYS[way][0] / "model.safetensors" for way in WAYS}
    figures = {"first_start_ever_s": first["first_token_s"]}
    for way, found in runs.items():
        for name in ("loaded_s", "first_token_s"):
            figures[f"{way}: {name}"] = statistics.median(run[name] for run in found)
    for way in ("bfloat16", "int8 checkpoint", "int4 checkpoint"):
        figures[f"{way}: bytes"] = files[way].stat().st_size
        figures[f"{way}: reading the file_s"] = min(read_file(files[way]) for _ in range(3))
    for name, value in figures.items():
        print(f"{name:40} {value:.2f}")
    write_result("cold_start", {"medians": figures, "first": first, "runs": runs}, args.out)


def start(way: str, directory: Path, cache: Path, num_threads: int) -> dict[str, float]:
    """Start a process; return seconds until the model is loaded and until the first token."""
    environment = os.environ | {"LITE_CACHE_DIR": str(cache)}
    place, settings = WAYS[way]
    options = json.dumps({"num_threads": num_threads} | settings)
    started_s = time.time()
    done = subprocess.run(
        [sys.executable, "-c", START, str(directory / place), options],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    loaded_s, first_token_s = map(float, done.stdout.split())
    return {"loaded_s": loaded_s - started_s, "first_token_s": first_token_s - started_s}


def read_file(path: Path) -> float:
    """Return the seconds that reading a file into memory takes."""
    buffer = bytearray(1 << 20)
    started_s = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - started_s


def make_checkpoint(directory: Path) -> None:
    """Write the checkpoint and the quantized ones, unless they are there already."""
    if not (directory / "tokenizer.json").is_file():
        _write_checkpoint(directory)
    for quantization in ("int8", "int4"):
        if not (directory / quantization).exists():
            target = str(directory / quantization)
            command = ["quantize", str(directory), target, "--quantization", quantization]
            subprocess.run([sys.executable, "-m", "lite", *command], check=True)


def _write_checkpoint(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(CONFIG / "config.json", directory / "config.json")
    with open_checkpoint(CONFIG, "dummy") as checkpoint:
        tensors = {name: checkpoint.tensors[name] for name in checkpoint.tensors}
        write_safetensors(directory / "model.safetensors", tensors)
    (directory / "tokenizer.json").write_text(json.dumps(_large_tokenizer(151_643)))


def _large_tokenizer(num_entries: int) -> dict[str, object]:
    """Return a byte-level BPE tokenizer of many made-up entries: realistic in size only."""
    alphabet = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    alphabet += [chr(256 + i) for i in range(256 - len(alphabet))]
    vocab = {char: i for i, char in enumerate(alphabet)}
    merges = []
    pairs = itertools.product(alphabet, alphabet)
    triples = ((a + b, c) for a, b, c in itertools.product(alphabet, repeat=3))
    for left, right in itertools.chain(pairs, triples):
        if len(vocab) == num_entries:
            break
        vocab[left + right] = len(vocab)
        merges.append([left, right])
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }


if __name__ == "__main__":
    main()
