"""The measurement: every case, repeat by repeat, engine after engine in rotating order."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peering.cases import (
    NUM_WARM_UP_OUTPUT,
    NUM_WARM_UP_PROMPT,
    Case,
    random_prompts,
)
from benchmarks.peering.engines import Engine
from benchmarks.peering.pool import Pool, is_ours
from benchmarks.peering.processes import RunnerError, RunnerProcess, machine_cpu_s
from lite_kernels.cpu.probe import read_bandwidth

CALL_TIMEOUT_S = 1800.0
# Cores' worth of CPU that others may use during a measurement before it is done again.
MAX_DISTURBANCE = 0.1
MAX_ATTEMPTS = 3
_IDLE_SAMPLE_S = 0.5
_NUM_CHECKED_PROMPT = 32
# Engines whose runner tells the logprob of any token.
_REFERENCES = ("transformers BF16", "llama.cpp BF16")


@dataclass(slots=True)
class Runs:
    """All repeats of one engine in one case; the lists are parallel."""

    rates: list[float] = field(default_factory=list)  # tokens/s
    bandwidth_gb_s: list[float] = field(default_factory=list)  # mean of before and after
    own_bandwidth_gb_s: list[float] = field(default_factory=list)  # in our engine's process
    disturbance: list[float] = field(default_factory=list)  # cores used by others
    load_average: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    num_attempts: int = 0
    error: str | None = None

    def figures(self) -> dict[str, Any]:
        """Return what goes into the JSON file."""
        if not self.rates:
            return {"error": self.error}
        figures: dict[str, Any] = {"median": statistics.median(self.rates)}
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, list) and value:
                figures[name] = [float(f"{x:.5g}") for x in value]
            elif not isinstance(value, list) and value is not None:
                figures[name] = value
        return figures


class Measurement:
    """Measures engines in turns; keeps what it has found."""

    def __init__(
        self,
        pool: Pool,
        *,
        num_threads: int,
        vocab_size: int,
        patience_s: float,
        report: Callable[[str], None],
    ) -> None:
        self._pool = pool
        self._num_threads = num_threads
        self._vocab_size = vocab_size
        self._patience_s = patience_s
        self._report = report
        self.runs: dict[str, dict[str, Runs]] = {}
        self.failed: dict[str, str] = {}  # engines that could not be loaded

    def run_case(self, case: Case, engines: Sequence[Engine], num_repeats: int) -> None:
        """Measure a case on all engines, repeat by repeat."""
        runs = self.runs.setdefault(case.name, {})
        engines = [engine for engine in engines if engine.name not in self.failed]
        for repeat, engine, upcoming in turns(engines, num_repeats):
            found = runs.setdefault(engine.name, Runs())
            if engine.name in self.failed or found.error is not None:
                continue
            if (process := self._load(engine, upcoming)) is None:
                continue
            try:
                self._measure(process, engine, case, repeat, found)
            except RunnerError as error:
                found.error = str(error)
                self._report(f"{engine.name} FAILED in {case.name}: {error}")
                self._pool.drop(engine)

    def check_weights(self, engines: Sequence[Engine]) -> dict[str, Any]:
        """Compare the next token's logprobs after one prompt, to see that weights are equal."""
        reference = next((e for name in _REFERENCES for e in engines if e.name == name), None)
        if reference is None:
            self._report("NOT CHECKED: no engine tells the logprobs of any token")
            return {}
        (prompt,) = random_prompts([0], 1, _NUM_CHECKED_PROMPT, self._vocab_size)
        candidates: list[int] = []
        differences: dict[str, Any] = {"reference": reference.name, "num_prompt": len(prompt)}
        order = [reference, *(e for e in engines if e is not reference)]
        for engine in order:
            if (process := self._load(engine, ())) is None:
                continue
            try:
                found = _logprobs(process, prompt, candidates)
                candidates = candidates or list(found)
                expected = _logprobs(self._pool.get(reference, ()), prompt, list(found))
            except RunnerError as error:
                differences[engine.name] = {"error": str(error)}
                self._report(f"{engine.name} NOT CHECKED: {error}")
                continue
            worst = max(abs(found[i] - expected[i]) for i in found)
            differences[engine.name] = {
                "num_tokens": len(found),
                "max_difference": float(f"{worst:.3g}"),
            }
            self._report(f"{engine.name}: logprobs differ by at most {worst:.3f}")
        return differences

    def _load(self, engine: Engine, upcoming: Sequence[Engine]) -> RunnerProcess | None:
        try:
            return self._pool.get(engine, upcoming)
        except RunnerError as error:
            self.failed[engine.name] = str(error)
            self._report(f"{engine.name} CANNOT BE LOADED: {error}")
            return None

    def _measure(
        self, process: RunnerProcess, engine: Engine, case: Case, repeat: int, runs: Runs
    ) -> None:
        prompts = case.prompts(self._vocab_size, repeat)
        description = self._pool.descriptions[engine.name]
        if "memory_after_run" not in description:
            _generate(process, prompts, case.num_output, case.keep_prompt)
            num_tokens = case.num_seqs * (case.num_prompt + case.num_output)
            description["memory_after_run"] = process.memory() | {"num_tokens": num_tokens}
        if not case.keep_prompt:
            # Some engines compile for a length when they first see it, which is most of a prefill.
            whole = case.metric == "prefill" and not runs.rates
            warm_up = prompts if whole else [prompt[:NUM_WARM_UP_PROMPT] for prompt in prompts]
            _generate(process, warm_up, min(NUM_WARM_UP_OUTPUT, case.num_output), False)
        own_probe = is_ours(engine) and case.num_seqs == 1 and case.metric == "decode"
        num_attempts = MAX_ATTEMPTS if self._patience_s else 1
        for attempt in range(num_attempts):
            self._wait_until_idle()
            runs.num_attempts += 1
            own = [_probe(process)] if own_probe else []
            bandwidth = [read_bandwidth(self._num_threads)]
            others_s, start_s = machine_cpu_s() - process.cpu_s(), time.monotonic()
            result = _generate(process, prompts, case.num_output, case.keep_prompt)
            wall_s = time.monotonic() - start_s
            others_s = machine_cpu_s() - process.cpu_s() - others_s
            bandwidth.append(read_bandwidth(self._num_threads))
            own += [_probe(process)] if own_probe else []
            disturbance = max(others_s, 0.0) / wall_s
            if disturbance <= MAX_DISTURBANCE or attempt == num_attempts - 1:
                break
            self._report(f"{engine.name} disturbed by {disturbance:.2f} cores; once more")
        runs.rates.append(case.rate(result))
        runs.first_s.append(result["first_s"])
        runs.bandwidth_gb_s.append(statistics.mean(bandwidth) / 1e9)
        if own:
            runs.own_bandwidth_gb_s.append(statistics.mean(own) / 1e9)
        runs.disturbance.append(disturbance)
        runs.load_average.append(os.getloadavg()[0])
        self._report(
            f"{case.name} {repeat + 1} {engine.name}: {runs.rates[-1]:.1f} tok/s "
            f"(probe {runs.bandwidth_gb_s[-1]:.0f} GB/s, others {disturbance:.2f} cores)"
        )

    def _wait_until_idle(self) -> None:
        deadline_s, told = time.monotonic() + self._patience_s, False
        while time.monotonic() < deadline_s:
            before_s = machine_cpu_s()
            time.sleep(_IDLE_SAMPLE_S)
            if (machine_cpu_s() - before_s) / _IDLE_SAMPLE_S <= MAX_DISTURBANCE:
                return
            if not told:
                self._report("waiting for the machine to become idle")
                told = True


def turns(
    engines: Sequence[Engine], num_repeats: int
) -> Iterator[tuple[int, Engine, list[Engine]]]:
    """Yield (repeat, engine, the turns after it); each repeat begins with another engine."""
    order = [
        (repeat, engines[(repeat + i) % len(engines)])
        for repeat in range(num_repeats)
        for i in range(len(engines))
    ]
    for turn, (repeat, engine) in enumerate(order):
        yield repeat, engine, [later for _, later in order[turn + 1 :]]


def _generate(
    process: RunnerProcess, prompts: list[list[int]], num_tokens: int, keep_prompt: bool
) -> dict[str, Any]:
    """Generate, and check that every sequence has as many tokens as it should.

    Raises:
        RunnerError: also if not.
    """
    result: dict[str, Any] = process.call(
        "generate",
        timeout_s=CALL_TIMEOUT_S,
        prompts=prompts,
        num_tokens=num_tokens,
        keep_prompt=keep_prompt,
    )
    lengths = [len(output) for output in result.pop("outputs")]
    if lengths != [num_tokens] * len(prompts):
        raise RunnerError(f"asked for {num_tokens} tokens of each sequence, got {lengths}")
    return result


def _logprobs(process: RunnerProcess, prompt: list[int], token_ids: list[int]) -> dict[int, float]:
    reply = process.call("logprobs", timeout_s=CALL_TIMEOUT_S, prompt=prompt, token_ids=token_ids)
    return {int(i): float(logprob) for i, logprob in reply.items()}


def _probe(process: RunnerProcess) -> float:
    bandwidth: float = process.call("probe", timeout_s=CALL_TIMEOUT_S)
    return bandwidth
