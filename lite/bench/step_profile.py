"""Where the time of the engine's steps goes: every kernel entry, and what lies outside of them."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import cast

from lite.bench.cost import Cost
from lite.bench.observed_kernels import ObservedKernels, Row, Run
from lite.config import Config
from lite.engine.core import EngineCore
from lite.engine.loading import load_model
from lite.errors import ConfigError
from lite_kernels.interface import Kernels, ObservableKernels

DECODE, PREFILL = "decode", "prefill"
# Parts of a step outside of its kernels, in their order; the names are those of StepTrace.
PARTS = ("schedule", "launch", "collect", "update", "deliver")


def _clock_ns() -> int:
    # The kernels' clock, so that both can be compared.
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


@dataclass(slots=True)
class StepTotals:
    """Sums over steps of one kind.

    `rows` holds entries and nanoseconds, `parts` nanoseconds outside of kernels. Rows, `wake_ns`
    and parts add up to `total_ns`, what the steps took from one's beginning to the next one's.
    """

    num_steps: int = 0
    num_tokens: int = 0
    num_seqs: int = 0
    rows: dict[Row, tuple[int, int]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    wake_ns: int = 0
    total_ns: int = 0

    def add_run(self, run: Run) -> None:
        """Add what a run did and took."""
        self.num_tokens += run.num_tokens
        self.num_seqs += run.num_seqs
        self.wake_ns += run.wake_ns
        for row, count, ns in zip(
            run.rows, run.num_entries.tolist(), run.row_ns.tolist(), strict=True
        ):
            before = self.rows.get(row, (0, 0))
            self.rows[row] = before[0] + count, before[1] + ns
        for name, calls in run.calls.items():
            self.calls[name] = self.calls.get(name, 0) + calls
        for name, cost in run.costs.items():
            self.costs[name] = self.costs.get(name, Cost()) + cost


@dataclass(frozen=True, slots=True)
class ProfiledSteps:
    """The sums of each kind of step that ran, "decode" and "prefill".

    `other_cpu_s` is the CPU time of the process's other threads meanwhile, which is neither in the
    steps nor in the kernels but takes a core from them: detokenizing, or the messages of an
    engine process. None where the system does not count by threads.
    """

    totals: dict[str, StepTotals]
    other_cpu_s: float | None


@dataclass(slots=True)
class _Step:
    """A step under way."""

    runs: list[Run] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    total_ns: int = 0

    def kind(self) -> str | None:
        """Return what it was: every sequence one token, or prompts too; None without a batch."""
        for run in self.runs:
            if run.num_seqs:
                return DECODE if run.num_tokens == run.num_seqs else PREFILL
        return None


class StepProfile:
    """Collects what one engine's thread reports; read it while the engine has no work.

    Its own work is measured and left out.
    """

    def __init__(self) -> None:
        self._part: str | None = None
        self._since_ns = 0
        self._kernels_ns = 0  # since then, like what follows
        self._own_ns = 0
        self._step: _Step | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all that was collected."""
        self._totals: dict[str, StepTotals] = {}
        self._cpu_s = dict(_thread_cpu_s())
        self._process_cpu_s = time.process_time()

    def mark(self, part: str) -> None:
        """Note that a part of a step begins: a StepTrace."""
        now_ns = _clock_ns()
        if self._part is not None and self._step is not None:
            elapsed_ns = now_ns - self._since_ns - self._own_ns
            step = self._step
            step.total_ns += elapsed_ns
            outside_ns = elapsed_ns - self._kernels_ns
            step.parts[self._part] = step.parts.get(self._part, 0) + outside_ns
        if part in ("schedule", "idle"):
            self._finish()
            self._step = _Step() if part == "schedule" else None
        self._part = part
        self._kernels_ns = self._own_ns = 0
        self._since_ns = _clock_ns()

    def _finish(self) -> None:
        step, self._step = self._step, None
        kind = None if step is None else step.kind()
        if step is None or kind is None:
            return
        totals = self._totals.setdefault(kind, StepTotals())
        totals.num_steps += 1
        totals.total_ns += step.total_ns
        for part, ns in step.parts.items():
            totals.parts[part] = totals.parts.get(part, 0) + ns
        for run in step.runs:
            totals.add_run(run)

    def on_run(self, describe: Callable[[], Run]) -> None:
        """Take note of a timed run."""
        start_ns = _clock_ns()
        if self._step is not None:
            run = describe()
            self._step.runs.append(run)
            self._kernels_ns += run.total_ns
        self._own_ns += _clock_ns() - start_ns

    def steps(self) -> ProfiledSteps:
        """Return what was collected; before the engine's threads end."""
        totals = {kind: self._totals[kind] for kind in (DECODE, PREFILL) if kind in self._totals}
        return ProfiledSteps(totals, self._other_cpu_s())

    def _other_cpu_s(self) -> float | None:
        if not hasattr(time, "pthread_getcpuclockid"):
            return None
        before = self._cpu_s
        engine_s = sum(seconds - before.get(ident, 0.0) for ident, seconds in _thread_cpu_s())
        return max(0.0, time.process_time() - self._process_cpu_s - engine_s)


def _thread_cpu_s() -> Iterator[tuple[int, float]]:
    """Yield ident and CPU seconds of the threads that run steps and kernels."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return
    for thread in threading.enumerate():
        engine = thread.name in ("lite-engine", "engine-loop")
        if thread.ident is not None and (engine or thread.name.startswith("lite-kernel-")):
            yield thread.ident, time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def profiled_core(config: Config, profile: StepProfile) -> EngineCore:
    """Load the model of `config` into an engine whose steps `profile` sees.

    Raises:
        ConfigError: the kernels of its device cannot time their entries.
        ModelError: the checkpoint cannot be used.
        CapacityError: it does not fit into memory.
    """
    model = load_model(config)
    if not isinstance(model.kernels, ObservableKernels):
        raise ConfigError(
            f"--profile: the kernels of device {model.kernels.device!r} cannot be timed; "
            "profile on the CPU (--device cpu)."
        )
    kernels = cast(Kernels, ObservedKernels(model.kernels, model.weights, profile.on_run))
    core = EngineCore(replace(model, kernels=kernels), config, trace=profile.mark)
    core.warm_up()
    profile.reset()
    return core
