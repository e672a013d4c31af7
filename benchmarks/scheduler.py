"""Cost of one schedule + update, with nano-vllm's scheduler as the yardstick in the same run.

    python -m benchmarks.scheduler --nano-vllm ~/nano-vllm

Ours fills the whole batch (token ids, positions, slots, block tables) and checks stop tokens,
min_tokens, max_tokens and the context length; nano-vllm's leaves the batch to its model runner.
"""

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.report import write_result
from lite.scheduling import Batch, Scheduler

TARGETS_US = {256: 25.0, 1024: 100.0}
PROMPT_TOKENS = 100
BLOCK_SIZE = 16
STOP_TOKENS = np.array([50000, 50001], dtype=np.int32)

Step = Callable[[], None]


class Lite:
    """A scheduler with room for `num_seqs` sequences of this prompt and output."""

    def __init__(self, num_seqs: int, prompt_tokens: int, max_tokens: int) -> None:
        self.random = np.random.default_rng(0)
        self.prompt_tokens = prompt_tokens
        max_blocks_per_seq = -(-(prompt_tokens + max_tokens) // BLOCK_SIZE)
        max_num_batched_tokens = max(8192, 2 * num_seqs)
        self.scheduler = Scheduler(
            num_blocks=num_seqs * max_blocks_per_seq,
            block_size=BLOCK_SIZE,
            max_num_seqs=num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            max_model_len=prompt_tokens + max_tokens,
        )
        self.batch = Batch(
            max_num_seqs=num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            max_blocks_per_seq=max_blocks_per_seq,
        )
        self.num_added = 0
        self.tokens = self.random.integers(0, 50000, num_seqs).astype(np.int32)

    def add(self, max_tokens: int) -> None:
        prompt = self.random.integers(0, 50000, self.prompt_tokens).astype(np.int32)
        self.scheduler.add(
            self.num_added, prompt, max_tokens=max_tokens, stop_token_ids=STOP_TOKENS
        )
        self.num_added += 1

    def step(self) -> None:
        self.scheduler.schedule(self.batch)
        self.scheduler.update(self.batch, self.tokens[: self.batch.num_sampled])

    def prefill(self) -> None:
        self.step()
        while self.scheduler.num_waiting or self.batch.num_sampled < self.batch.num_seqs:
            self.step()


def decoding(num_seqs: int, max_tokens: int, prompt_tokens: int = PROMPT_TOKENS) -> Step:
    """All sequences decode; none begins or ends."""
    engine = Lite(num_seqs, prompt_tokens, max_tokens)
    for _ in range(num_seqs):
        engine.add(max_tokens)
    engine.prefill()
    return engine.step


def turning_over(num_seqs: int, prompt_tokens: int = PROMPT_TOKENS) -> Step:
    """Every step one sequence ends and the next one begins."""
    engine = Lite(num_seqs, prompt_tokens, 2 * num_seqs)
    for i in range(num_seqs):
        engine.add(num_seqs // 2 + i)
    engine.prefill()

    def step() -> None:
        engine.add(num_seqs)
        engine.step()

    for _ in range(num_seqs // 2):
        engine.step()
    return step


def nano_vllm(checkout: Path, num_seqs: int, max_tokens: int) -> Step:
    """Return the same step of nano-vllm's scheduler at its own block size of 256."""
    scheduler_module = load_nano_vllm(checkout)
    sequence_module = sys.modules["nanovllm.engine.sequence"]
    sampling_params = importlib.import_module("nanovllm.sampling_params").SamplingParams(
        max_tokens=max_tokens, temperature=1.0
    )
    config = SimpleNamespace(
        max_num_seqs=num_seqs,
        max_num_batched_tokens=max(8192, 2 * num_seqs),
        eos=50000,
        num_kvcache_blocks=num_seqs * -(-(PROMPT_TOKENS + max_tokens) // 256),
        kvcache_block_size=256,
    )
    scheduler = scheduler_module.Scheduler(config)
    random = np.random.default_rng(0)
    for _ in range(num_seqs):
        prompt = random.integers(0, 50000, PROMPT_TOKENS).tolist()
        scheduler.add(sequence_module.Sequence(prompt, sampling_params))
    tokens = random.integers(0, 50000, num_seqs).tolist()

    def step() -> None:
        seqs, is_prefill = scheduler.schedule()
        scheduler.postprocess(seqs, tokens[: len(seqs)], is_prefill)

    while scheduler.waiting:
        step()
    return step


def load_nano_vllm(checkout: Path) -> ModuleType:
    """Import nano-vllm's scheduler without its package, which would import torch."""
    if not (checkout / "nanovllm" / "engine" / "scheduler.py").is_file():
        raise SystemExit(f"{checkout} is not a checkout of nano-vllm")
    if "nanovllm" not in sys.modules:
        package = ModuleType("nanovllm")
        package.__path__ = [str(checkout / "nanovllm")]
        config = ModuleType("nanovllm.config")
        config.Config = SimpleNamespace  # type: ignore[attr-defined]
        sys.modules |= {"nanovllm": package, "nanovllm.config": config}
    try:
        return importlib.import_module("nanovllm.engine.scheduler")
    except ModuleNotFoundError as error:
        raise SystemExit(f"nano-vllm's scheduler needs {error.name}: pip install it") from error


def median_us(step: Step, num_steps: int) -> float:
    samples = []
    for _ in range(num_steps):
        start = time.perf_counter_ns()
        step()
        samples.append(time.perf_counter_ns() - start)
    return statistics.median(samples) / 1000


def measure(steps: dict[str, Step], repeats: int, num_steps: int) -> dict[str, dict[str, Any]]:
    """Take turns, so that a noisy moment meets every candidate; medians of medians."""
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            samples[name].append(median_us(step, num_steps))
    return {
        name: {
            "median_us": round(statistics.median(values), 2),
            "repeats_us": [round(value, 2) for value in values],
        }
        for name, values in samples.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nano-vllm", type=Path, help="checkout of nano-vllm to compare with")
    parser.add_argument("--out", type=Path, help="file for the JSON result")
    parser.add_argument("--check", action="store_true", help="end with 1 if a target is missed")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=150, help="steps in a repeat")
    arguments = parser.parse_args()

    max_tokens = arguments.repeats * arguments.steps + 256
    steps: dict[str, Step] = {}
    for num_seqs in TARGETS_US:
        steps[f"lite decode {num_seqs}"] = decoding(num_seqs, max_tokens)
        if arguments.nano_vllm is not None:
            nano_step = nano_vllm(arguments.nano_vllm, num_seqs, max_tokens)
            steps[f"nano-vllm decode {num_seqs}"] = nano_step
    steps["lite decode 1024, tables of 256 blocks"] = decoding(1024, max_tokens, 4096)
    steps["lite turnover 1024"] = turning_over(1024)
    steps["lite turnover 1024, tables of 256 blocks"] = turning_over(1024, prompt_tokens=4096)
    results = measure(steps, arguments.repeats, arguments.steps)

    missed = []
    for name, result in results.items():
        print(f"{name:44} {result['median_us']:9.2f} us")
    for num_seqs, target in TARGETS_US.items():
        result = results[f"lite decode {num_seqs}"]
        result["target_us"] = target
        if result["median_us"] > target:
            missed.append(f"{num_seqs} sequences: {result['median_us']} us > {target} us")
    print("written to", write_result("scheduler", results, arguments.out))
    if missed:
        print("target missed:", json.dumps(missed), file=sys.stderr)
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
