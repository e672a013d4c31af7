"""From starting Python, or a server, to the first token: the very first start, and later ones.

    python -m benchmarks.cold_start

Takes a 1.2 GB Qwen3-0.6B-shaped checkpoint of random weights, --checkpoint or one that it writes
to --directory with a tokenizer of 151,646 entries, and beside it what `lite quantize` makes of it.
Then starts it in new processes, in each format as an `LLM` and as a server: once with an empty
kernel cache, --repeats times with a warm one, the ways of loading interleaved. The page cache is
warm, since every file has just been written or read. Caches lie in a directory that is removed.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peering.checkpoint import CONFIGS, make_checkpoint
from benchmarks.report import write_result
from benchmarks.starting import Way, start_llm, start_server
from lite_kernels.cpu.probe import read_bandwidth
from lite_kernels.cpu.topology import choose_threads

FORMATS: dict[str, Way] = {
    "bfloat16": Way(),
    "int8": Way(quantization="int8"),
    "int4": Way(quantization="int4"),
}
WAYS: dict[str, Way] = {
    **{f"{name}, packed at the start": way for name, way in FORMATS.items()},
    **{
        f"{name}, weights_cache": Way(quantization=way.quantization, weights_cache=True)
        for name, way in FORMATS.items()
    },
    "int8, lite quantize": Way(place="int8"),
    "int4, lite quantize": Way(place="int4"),
}
Start = Callable[[Path, Way, Path, int], dict[str, Any]]
KINDS: dict[str, Start] = {"LLM": start_llm, "server": start_server}


def main() -> None:
    """Run the benchmark and print or write its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint to start instead")
    parser.add_argument("--directory", type=Path, help="where checkpoints are written and kept")
    parser.add_argument("--threads", type=int, default=choose_threads().number)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", help="file for the JSON result")
    args = parser.parse_args()
    directory = args.directory or Path(tempfile.gettempdir()) / "lite-cold-start"
    prepare_checkpoints(directory, args.checkpoint)
    read_gb_s = [read_bandwidth(args.threads) / 1e9]
    cold = cold_starts(directory, args.threads)
    warm = warm_starts(directory, args.threads, args.repeats)
    read_gb_s.append(read_bandwidth(args.threads) / 1e9)
    medians = {
        name: {
            figure: statistics.median(run[figure] for run in runs)
            for figure in runs[0]
            if figure.endswith("_s")
        }
        for name, runs in warm.items()
    }
    for name, figures in [*cold.items(), *medians.items()]:
        shown = ", ".join(f"{f} {v:.2f}" for f, v in figures.items() if f.endswith("_s"))
        print(f"{name:44} {shown}")
    files = {
        place: {"bytes": path.stat().st_size, "read_s": min(read_file(path) for _ in range(3))}
        for place in (".", "int8", "int4")
        for path in [directory / place / "model.safetensors"]
    }
    write_result(
        "cold_start",
        {"medians": medians, "cold": cold, "files": files, "read_gb_s": read_gb_s, "runs": warm},
        args.out,
    )


def cold_starts(directory: Path, num_threads: int) -> dict[str, dict[str, Any]]:
    """Start each format with an empty kernel cache."""
    found = {}
    for (name, way), (kind, start) in itertools.product(FORMATS.items(), KINDS.items()):
        with tempfile.TemporaryDirectory(prefix="lite-cache-") as cache:
            figures = start(directory, way, Path(cache), num_threads)
        found[f"first start ever: {kind}, {name}"] = _times(figures)
    return found


def warm_starts(
    directory: Path, num_threads: int, repeats: int
) -> dict[str, list[dict[str, float]]]:
    """Start every way in turns, `repeats` times, once everything is cached."""
    cases = [(f"{kind}: {way}", kind, way) for kind in KINDS for way in WAYS]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name, _, _ in cases}
    with tempfile.TemporaryDirectory(prefix="lite-cache-") as cache:
        for way in WAYS.values():  # compiles what is missing, fills the cache of weights
            start_llm(directory, way, Path(cache), num_threads)
        for _ in range(repeats):
            for name, kind, way in cases:
                figures = KINDS[kind](directory, WAYS[way], Path(cache), num_threads)
                runs[name].append(_times(figures))
    return runs


def _times(figures: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name.endswith("_s")}


def read_file(path: Path) -> float:
    """Return the seconds that reading a file into memory takes."""
    buffer = bytearray(1 << 20)
    started_s = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - started_s


def prepare_checkpoints(directory: Path, original: Path | None) -> None:
    """Write the checkpoint, or link to `original`, and the quantized ones, where they lack."""
    if original is not None:
        directory = _linked(directory, original)
    elif not (directory / "tokenizer.json").is_file():
        make_checkpoint(CONFIGS / "qwen3-0.6b", directory)
    for quantization in ("int8", "int4"):
        if not (directory / quantization).exists():
            target = str(directory / quantization)
            command = ["quantize", str(directory), target, "--quantization", quantization]
            subprocess.run([sys.executable, "-m", "lite", *command], check=True)


def _linked(directory: Path, original: Path) -> Path:
    """Make `directory` hold links to the files of `original`."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in original.iterdir():
        link = directory / file.name
        if link.is_symlink() and link.resolve() != file.resolve():
            raise SystemExit(f"{directory}: holds another checkpoint; name another --directory")
        if not link.exists():
            link.symlink_to(file.resolve())
    return directory


if __name__ == "__main__":
    main()
