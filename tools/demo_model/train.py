"""Train the demo model on what data.py made: an hour or two on two cores.

`python -m tools.demo_model.train DATA OUT` reads DATA/shard-*.npz and writes
OUT/model.safetensors (bfloat16), OUT/checkpoint.pt (to go on after an interruption) and
OUT/loss.csv. Needs torch, a C++ compiler for it,
NumPy and safetensors.
"""

import argparse
import csv
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tools.demo_model.model import DemoModel

TOKENS_PER_MICROBATCH = 4096
MICROBATCHES_PER_STEP = 3
# Rows of one microbatch are padded to the same length, a multiple of this.
LENGTH_STEP = 16
MATRIX_LR = 0.02
EMBEDDING_LR = 0.004
WEIGHT_DECAY = 0.05
WARM_UP_STEPS = 100
# The learning rate falls to 0 over the last part of the run (warm-up, stable, decay).
DECAY_PART = 0.35
VALIDATION_MICROBATCHES = 24
CHECKPOINT_EVERY_S = 300


@dataclass(frozen=True)
class Microbatch:
    """`tokens[batch, length]` and, for each, the token that should follow or -100."""

    tokens: Tensor
    targets: Tensor

    @property
    def count(self) -> int:
        return int((self.targets >= 0).sum())


class Corpus:
    """All conversations of the shards, and how they are packed into microbatches."""

    def __init__(self, directory: Path) -> None:
        shards = [np.load(path) for path in sorted(directory.glob("shard-*.npz"))]
        self.tokens = np.concatenate([shard["tokens"] for shard in shards])
        self.targets = np.concatenate([shard["targets"] for shard in shards])
        lengths = np.concatenate([shard["lengths"] for shard in shards])
        self.ends = np.cumsum(lengths, dtype=np.int64)
        self.starts = self.ends - lengths
        padded = -(-lengths // LENGTH_STEP) * LENGTH_STEP
        self.plan = []
        for length in np.unique(padded):
            rows = np.flatnonzero(padded == length)
            size = max(1, TOKENS_PER_MICROBATCH // int(length))
            self.plan += [(rows[i : i + size], int(length)) for i in range(0, len(rows), size)]
        random.Random(0).shuffle(self.plan)
        self.validation = [self.microbatch(n) for n in range(VALIDATION_MICROBATCHES)]

    def microbatch(self, number: int) -> Microbatch:
        rows, length = self.plan[number]
        tokens = np.zeros((len(rows), length), np.int64)
        targets = np.full((len(rows), length), -100, np.int64)
        for i, row in enumerate(rows):
            ids = self.tokens[self.starts[row] : self.ends[row]].astype(np.int64)
            learn = self.targets[self.starts[row] : self.ends[row]]
            tokens[i, : len(ids)] = ids
            targets[i, : len(ids) - 1] = np.where(learn[1:], ids[1:], -100)
        return Microbatch(torch.from_numpy(tokens), torch.from_numpy(targets))

    def steps(self, first: int) -> Iterator[list[Microbatch]]:
        """Yield steps from number `first` on, without end: after the last microbatch the first."""
        usable = len(self.plan) - VALIDATION_MICROBATCHES
        step = first
        while True:
            numbers = range(step * MICROBATCHES_PER_STEP, (step + 1) * MICROBATCHES_PER_STEP)
            yield [self.microbatch(VALIDATION_MICROBATCHES + n % usable) for n in numbers]
            step += 1


class Training:
    """Model, optimizers and the place in the run; what a checkpoint holds."""

    def __init__(self, seed: int) -> None:
        self.model = DemoModel(seed)
        self.model.hidden = torch.compile(self.model.hidden, dynamic=True)
        matrices = [p for p in self.model.model.layers.parameters() if p.dim() == 2]
        others = [p for p in self.model.parameters() if not any(p is m for m in matrices)]
        self.optimizers = [
            torch.optim.Muon(
                matrices, lr=MATRIX_LR, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=EMBEDDING_LR, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.peaks = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self.step = 0
        self.seconds = 0.0
        self.tokens = 0

    def learn(self, batches: list[Microbatch], progress: float) -> float:
        """Take one step; return the mean loss of a target token. `progress`: 0 to 1 of the run."""
        warm_up = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        scale = warm_up * min(1.0, max(0.0, 1.0 - progress) / DECAY_PART)
        for optimizer, peak in zip(self.optimizers, self.peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * scale
        count = torch.tensor(float(sum(batch.count for batch in batches)))
        total = 0.0
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16):
                loss = self.model.loss(batch.tokens, batch.targets, count)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.tokens += sum(batch.tokens.numel() for batch in batches)
        return total

    @torch.no_grad()
    def validate(self, batches: list[Microbatch]) -> float:
        count = torch.tensor(float(sum(batch.count for batch in batches)))
        with torch.autocast("cpu", torch.bfloat16):
            return sum(self.model.loss(b.tokens, b.targets, count).item() for b in batches)

    def save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "place": (self.step, self.seconds, self.tokens),
        }
        torch.save(state, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)

    def load(self, path: Path) -> None:
        state = torch.load(path)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds, self.tokens = state["place"]

    def export(self, path: Path) -> None:
        """Write the weights in bfloat16 under Hugging Face's names."""
        weights = {n: p.detach().bfloat16().contiguous() for n, p in self.model.named_parameters()}
        save_file(weights, path, metadata={"format": "pt"})


def train(training: Training, corpus: Corpus, out: Path, steps: int) -> None:
    if training.step >= steps:
        training.export(out / "model.safetensors")
        return
    forget_rows_after(training.step, out / "loss.csv")
    checkpoint, saved, shown, recent = out / "checkpoint.pt", time.time(), time.time(), []
    last = time.time()
    with (out / "loss.csv").open("a", newline="") as file:
        log = csv.writer(file)
        if file.tell() == 0:
            log.writerow(("step", "seconds", "tokens", "training", "validation"))
        for batches in corpus.steps(training.step):
            recent.append(training.learn(batches, training.step / steps))
            now = time.time()
            training.seconds += now - last
            last = now
            finished = training.step >= steps
            if finished or now - shown > 60:
                row = (training.step, round(training.seconds), training.tokens)
                losses = sum(recent) / len(recent), training.validate(corpus.validation)
                log.writerow((*row, *(f"{loss:.4f}" for loss in losses)))
                file.flush()
                print(*row, *(f"{loss:.4f}" for loss in losses), flush=True)
                shown, recent = now, []
            if finished or now - saved > CHECKPOINT_EVERY_S:
                training.save(checkpoint)
                training.export(out / "model.safetensors")
                saved = now
            if finished:
                return


def forget_rows_after(step: int, log: Path) -> None:
    """Take away what an interrupted run logged after its last checkpoint; it comes again."""
    if log.exists():
        lines = log.read_bytes().splitlines(keepends=True)
        kept = [row for row in lines[1:] if row.endswith(b"\n") and int(row.split(b",")[0]) <= step]
        log.write_bytes(b"".join(lines[:1] + kept))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    training = Training(options.seed)
    if (options.out / "checkpoint.pt").exists():
        training.load(options.out / "checkpoint.pt")
        print(f"going on after step {training.step}", flush=True)
    train(training, Corpus(options.data), options.out, options.steps)


if __name__ == "__main__":
    main()
