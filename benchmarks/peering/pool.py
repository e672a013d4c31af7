"""The engines in memory: as many as fit, so that turns can alternate between them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.peering.engines import (
    OURS,
    RUNNERS,
    Engine,
    Limits,
    offline_variables,
    thread_variables,
)
from benchmarks.peering.processes import RunnerProcess, available_bytes

LOAD_TIMEOUT_S = 900.0


class Pool:
    """Loads engines when they are asked for and ends others when memory runs low."""

    def __init__(
        self,
        scratch: Path,
        model: Path,
        limits: Limits,
        *,
        reserve_bytes: int,
        report: Callable[[str], None],
    ) -> None:
        self._scratch = scratch
        self._model = model
        self._limits = limits
        self._reserve_bytes = reserve_bytes
        self._report = report
        self._processes: dict[str, RunnerProcess] = {}
        self.descriptions: dict[str, dict[str, Any]] = {}

    def get(self, engine: Engine, upcoming: Sequence[Engine]) -> RunnerProcess:
        """Return the engine's process, loading it and making room where needed.

        Args:
            engine: whose turn it is.
            upcoming: the turns after it; the engine needed last gives way first.

        Raises:
            RunnerError: it cannot be loaded.
        """
        self._make_room(engine, upcoming)
        if (process := self._processes.get(engine.name)) is not None:
            return process
        self._report(f"loading {engine.name}")
        process = RunnerProcess(
            [str(engine.python(self._scratch)), str(RUNNERS / engine.runner)],
            variables=(
                thread_variables(self._limits.num_threads)
                | offline_variables()
                | engine.variables(self._scratch, self._limits)
            ),
            log=self._scratch / "logs" / f"{engine.name.replace(' ', '-')}.log",
            cwd=self._scratch,
        )
        self._processes[engine.name] = process
        try:
            description = process.call(
                "load", timeout_s=LOAD_TIMEOUT_S, **engine.arguments(self._model, self._limits)
            )
        except BaseException:
            self.drop(engine)
            raise
        if engine.name not in self.descriptions:
            description.setdefault("weights_bytes", stored_bytes(self._model / engine.needs))
            description["memory_after_load"] = process.memory()
            self.descriptions[engine.name] = description
        return process

    def drop(self, engine: Engine) -> None:
        """End an engine's process."""
        if (process := self._processes.pop(engine.name, None)) is not None:
            process.close()

    def close(self) -> None:
        """End all processes; idempotent."""
        while self._processes:
            _, process = self._processes.popitem()
            process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _make_room(self, engine: Engine, upcoming: Sequence[Engine]) -> None:
        turns = {other.name: turn for turn, other in reversed(list(enumerate(upcoming)))}
        while available_bytes() < self._reserve_bytes:
            others = [name for name in self._processes if name != engine.name]
            if not others:
                return
            name = max(others, key=lambda name: turns.get(name, len(upcoming)))
            self._report(f"ending {name} to make room")
            self._processes.pop(name).close()


def stored_bytes(path: Path) -> int:
    """Return the size of a model's weight files."""
    files = [path] if path.is_file() else [*path.glob("*.safetensors"), *path.glob("*_model.bin")]
    return sum(file.stat().st_size for file in files)


def is_ours(engine: Engine) -> bool:
    """Whether an engine is this project's."""
    return engine.family == OURS
