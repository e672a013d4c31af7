"""A core without a model, and an engine process around it: `python -m tests.fake_core`.

Each step sleeps LITE_TEST_STEP_S and gives every running sequence its next token: the prompt's
first one plus 1, 2, 3 ... The prompt [CRASH] kills the process.
"""

import os
import time
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from lite.config import Config
from lite.engine.process import exit_with, main
from lite.engine.stats import EngineObserver, NullObserver, RequestRecord
from lite.errors import CheckpointError, OverloadedError, to_text
from lite.messages import EngineStats, GenerateRequest, RequestTimings, TokenOutput

CRASH = 666


@dataclass(eq=False)
class Sequence:
    owner: Hashable
    message: GenerateRequest
    index: int
    first_token_id: int
    num_tokens: int = 0
    arrival_s: float = 0.0
    last_token_s: float = 0.0


class FakeCore:
    """Looks like an EngineCore from outside."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._step_s = float(os.environ.get("LITE_TEST_STEP_S", "0.005"))
        self._sequences: list[Sequence] = []
        self._refused: list[tuple[Hashable, TokenOutput]] = []
        self._observer: EngineObserver = NullObserver()
        self._num_steps = 0

    @classmethod
    def from_config(cls, config: Config) -> "FakeCore":
        time.sleep(float(os.environ.get("LITE_TEST_LOAD_S", "0")))
        match os.environ.get("LITE_TEST_LOAD_FAILS"):
            case "checkpoint":
                raise CheckpointError("model.safetensors: the file ends early")
            case "crash":
                os._exit(7)
        return cls(config)

    def set_observer(self, observer: EngineObserver) -> None:
        self._observer = observer

    def add(
        self, message: GenerateRequest, owner: Hashable, arrival_s: float | None = None
    ) -> None:
        prompt = np.frombuffer(message.prompt_token_ids, "<i4")
        if prompt[0] == CRASH:
            os._exit(9)
        if len(self._sequences) - self._num_running() >= self._config.engine.max_waiting_requests:
            error = to_text(OverloadedError("the queue is full"))
            self._refused += [
                (
                    owner,
                    TokenOutput(
                        request_id=message.request_id,
                        index=index,
                        finish_reason="error",
                        error=error,
                    ),
                )
                for index in range(message.n)
            ]
            return
        for index in range(message.n):
            since_s = time.monotonic() if arrival_s is None else arrival_s
            self._sequences.append(
                Sequence(owner, message, index, int(prompt[0]), arrival_s=since_s)
            )

    def abort(self, request_id: str, indices: list[int], owner: Hashable) -> None:
        self._sequences = [
            s
            for s in self._sequences
            if (s.owner, s.message.request_id) != (owner, request_id)
            or (indices and s.index not in indices)
        ]

    def abort_owner(self, owner: Hashable) -> None:
        self._sequences = [s for s in self._sequences if s.owner != owner]

    def has_work(self) -> bool:
        return bool(self._sequences or self._refused)

    def next_deadline(self) -> float | None:
        return None

    def _num_running(self) -> int:
        return min(len(self._sequences), self._config.engine.max_num_seqs)

    def step(self) -> list[tuple[Hashable, TokenOutput]]:
        produced, self._refused = self._refused, []
        running = self._sequences[: self._num_running()]
        if running:
            time.sleep(self._step_s)
            self._num_steps += 1
        num_tokens = 0
        for sequence in running:
            num_tokens += 1 if sequence.num_tokens else len(sequence.message.prompt_token_ids) // 4
            produced.append((sequence.owner, self._next_token(sequence)))
        if running:
            self._observer.on_step(
                num_tokens=num_tokens,
                num_seqs=len(running),
                num_sampled=len(running),
            )
        return produced

    def _next_token(self, sequence: Sequence) -> TokenOutput:
        now_s = time.monotonic()
        sequence.num_tokens += 1
        if sequence.num_tokens == 1:
            self._observer.on_first_token(now_s - sequence.arrival_s)
        else:
            self._observer.on_token(now_s - sequence.last_token_s)
        sequence.last_token_s = now_s
        finished = sequence.num_tokens >= sequence.message.sampling.max_tokens
        if finished:
            self._sequences.remove(sequence)
            self._observer.on_request_finished(
                RequestRecord(
                    finish_reason="length",
                    index=sequence.index,
                    n=sequence.message.n,
                    max_tokens=sequence.message.sampling.max_tokens,
                    num_prompt_tokens=len(sequence.message.prompt_token_ids) // 4,
                    num_cached_tokens=0,
                    num_output_tokens=sequence.num_tokens,
                    e2e_s=now_s - sequence.arrival_s,
                )
            )
        return TokenOutput(
            request_id=sequence.message.request_id,
            index=sequence.index,
            token_ids=[sequence.first_token_id + sequence.num_tokens],
            finish_reason="length" if finished else None,
            timings=RequestTimings() if finished else None,
        )

    def stats(self) -> EngineStats:
        return EngineStats(
            model="fake",
            num_running=self._num_running(),
            num_waiting=len(self._sequences) - self._num_running(),
            num_blocks=100,
            num_free_blocks=100 - min(100, len(self._sequences)),
            max_model_len=1_000,
            num_steps=self._num_steps,
        )

    def close(self) -> None:
        self._sequences.clear()


if __name__ == "__main__":
    exit_with(main(load=FakeCore.from_config))
