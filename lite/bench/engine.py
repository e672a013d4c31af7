"""The engine that is measured: on a thread of this process, or in a process as in the server."""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from lite.bench.engine_process import read_profile
from lite.bench.step_profile import ProfiledSteps, StepProfile, profiled_core
from lite.client.in_process import InProcessClient
from lite.client.remote import RemoteEngineClient
from lite.config import Config
from lite.engine import supervisor
from lite.engine.core import EngineCore
from lite.errors import CapacityError, ConfigError, EngineDeadError
from lite.generator import Generator
from lite.settings import SETTINGS, environ_with_flags
from lite.text_model import TextModel, load_text_model

_SECTIONS = ("model", "engine", "log")  # what an engine process reads of the configuration
_POLL_S = 0.05
_STOP_TIMEOUT_S = 30.0


class BenchEngine(Protocol):
    """An engine with its front end, open."""

    generator: Generator
    text_model: TextModel

    def reset_profile(self) -> None:
        """Begin to collect anew; while no request runs, and with `profile` only."""
        ...

    def take_profile(self) -> ProfiledSteps:
        """Return what was collected since; last of all, and with `profile` only."""
        ...


class _InProcess:
    def __init__(self, text_model: TextModel, core: EngineCore, profile: StepProfile) -> None:
        self.text_model = text_model
        self._profile = profile
        self._client = InProcessClient(core)
        self.generator = Generator(
            self._client, text_model, max_model_len=core.model.plan.max_model_len
        )

    def reset_profile(self) -> None:
        self._profile.reset()

    def take_profile(self) -> ProfiledSteps:
        return self._profile.steps()

    def close(self) -> None:
        self._client.close()


class _InEngineProcess:
    def __init__(self, text_model: TextModel, config: Config, result: Path | None) -> None:
        self.text_model = text_model
        self._result = result  # where the profile goes; None: the server's own engine process
        settings = {
            path: getattr(getattr(config, setting.section), setting.field)
            for path, setting in SETTINGS.items()
            if setting.section in _SECTIONS
        }
        # An address of its own: a server may run with the configured one.
        server = replace(config.server, engine_address=None)
        self._supervisor = supervisor.start(
            replace(config, server=server),
            environ_with_flags(os.environ, settings),
            engine=supervisor.ENGINE
            if result is None
            else (sys.executable, "-m", "lite.bench.engine_process", str(result)),
            # One that dies ends the benchmark, whose figures would be those of another one.
            restart=False,
        )
        try:
            self._client = RemoteEngineClient(self._supervisor.address)
            try:
                self._pid = self._wait_until_ready()
            except BaseException:
                self._client.close()
                raise
        except BaseException:
            self._supervisor.stop(_STOP_TIMEOUT_S)
            raise
        self.generator = Generator(self._client, text_model)

    def _wait_until_ready(self) -> int:
        """Return the engine's process id.

        Raises:
            CapacityError: the engine cannot start, or died while loading; says why.
        """
        while True:
            # Before the call, which reads the reason that is written before the supervisor ends.
            is_running = self._supervisor.is_running()
            try:
                stats = self._client.stats()
            except EngineDeadError as error:
                if not is_running:
                    raise CapacityError(f"The engine process did not start: {error}") from None
            else:
                if stats.state == "ready":
                    return stats.pid
            time.sleep(_POLL_S)

    def reset_profile(self) -> None:
        os.kill(self._pid, signal.SIGUSR1)
        # The thread that answers is the one that the signal interrupts first.
        self._client.stats()

    def take_profile(self) -> ProfiledSteps:
        assert self._result is not None
        self.close()
        return read_profile(self._result)

    def close(self) -> None:
        self._client.close()
        self._supervisor.stop(_STOP_TIMEOUT_S)


@contextlib.contextmanager
def open_engine(config: Config, *, in_process: bool, profile: bool) -> Iterator[BenchEngine]:
    """Load the model of `config`, and close it at the end.

    Args:
        config: model and engine.
        in_process: on a thread of this process; else in one of its own, over ZMQ.
        profile: time the engine's steps.

    Raises:
        LiteError: the model cannot be loaded.
    """
    text_model = load_text_model(config.model)
    with contextlib.ExitStack() as stack:
        engine: _InProcess | _InEngineProcess
        if in_process:
            collected = StepProfile()
            core = profiled_core(config, collected) if profile else EngineCore.from_config(config)
            engine = _InProcess(text_model, core, collected)
        else:
            result = None
            if profile:
                if not hasattr(signal, "SIGUSR1"):
                    raise ConfigError(
                        "--profile with --engine-process: this system has no signals to steer it; "
                        "leave out one of them."
                    )
                result = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "profile"
            engine = _InEngineProcess(text_model, config, result)
        stack.callback(engine.close)
        yield engine
