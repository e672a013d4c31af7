"""Resident memory beyond weights and keys and values: in a program, and of a whole server.

    python -m benchmarks.memory

Each format is loaded as an `LLM` in a process of its own and as a server with one worker, packed
at the start and mapped from the cache of weights; each then answers a prompt of 512 tokens with 64,
16 sequences of 64 tokens, and a prompt as long as the largest step (2048). The page cache's
mapped files count where they are mapped: a process by its resident set, a server by the sum of its
processes' proportional shares, so that nothing counts twice.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.cold_start import FORMATS, prepare_checkpoints
from benchmarks.report import write_result
from benchmarks.starting import Way, Work, start_llm, start_server
from lite_kernels.cpu.topology import choose_threads

WORK: list[Work] = [(1, 512, 64), (16, 32, 32), (1, 2048, 2)]
MB = 1e6


def main() -> None:
    """Run the benchmark and print or write its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint to load instead")
    parser.add_argument("--directory", type=Path, help="where checkpoints are written and kept")
    parser.add_argument("--threads", type=int, default=choose_threads().number)
    parser.add_argument("--out", help="file for the JSON result")
    args = parser.parse_args()
    directory = args.directory or Path(tempfile.gettempdir()) / "lite-cold-start"
    prepare_checkpoints(directory, args.checkpoint)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="lite-cache-") as cache:
        for name, way in FORMATS.items():
            for cached in (False, True):
                one = Way(quantization=way.quantization, weights_cache=cached)
                label = f"{name}, {'weights_cache' if cached else 'packed at the start'}"
                start_llm(directory, one, Path(cache), args.threads)  # compiles, fills the cache
                figures[label] = measure(directory, one, Path(cache), args.threads)
                _print(label, figures[label])
    write_result("memory", figures, args.out)


def measure(directory: Path, way: Way, cache: Path, num_threads: int) -> dict[str, Any]:
    """Return bytes of one way to load: of weights, keys and values, and all above them."""
    llm = start_llm(directory, way, cache, num_threads, WORK)
    server = start_server(directory, way, cache, num_threads, WORK)
    weights, keys_and_values = llm["weights_bytes"], llm["kv_bytes"]
    needed = weights + keys_and_values
    return {
        "weights": weights,
        "keys_and_values": keys_and_values,
        "llm": {
            "loaded_above": llm["loaded"]["rss"] - weights,
            "peak_of_loading_above": llm["loaded"]["peak"] - weights,
            "worked_above": llm["worked"]["rss"] - needed,
        },
        "engine": {"worked_above": server["worked"]["engine"]["rss"] - needed},
        "server": {
            "loaded_above": sum(one["pss"] for one in server["loaded"].values()) - weights,
            "worked_above": sum(one["pss"] for one in server["worked"].values()) - needed,
        },
        "processes": {"llm": llm["worked"], **server["worked"]},
    }


def _print(label: str, figures: dict[str, Any]) -> None:
    weights, keys_and_values = figures["weights"] / MB, figures["keys_and_values"] / MB
    print(f"{label}: weights {weights:.0f} MB, KV {keys_and_values:.0f} MB; above them, in MB:")
    for name in ("llm", "engine", "server"):
        shown = ", ".join(f"{key} {value / MB:.0f}" for key, value in figures[name].items())
        print(f"    {name:8} {shown}", flush=True)


if __name__ == "__main__":
    main()
