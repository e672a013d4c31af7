"""An engine process whose steps are profiled: `python -m lite.bench.engine_process FILE`.

SIGUSR1 begins the profile anew; its end is written to FILE when the process is told to stop.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from lite.bench.step_profile import ProfiledSteps, StepProfile, profiled_core
from lite.config import Config
from lite.engine.loop import Core
from lite.engine.process import exit_with
from lite.engine.process import main as engine_main
from lite.errors import EngineError


class _WritesProfile:
    """A core that writes the profile before it closes, while its threads are still there."""

    def __init__(self, core: Core, profile: StepProfile, result: Path) -> None:
        self._core = core
        self._profile = profile
        self._result = result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def close(self) -> None:
        try:
            self._result.write_bytes(msgspec.msgpack.encode(self._profile.steps()))
        finally:
            self._core.close()


def read_profile(result: Path) -> ProfiledSteps:
    """Return what an engine process wrote.

    Raises:
        EngineError: there is nothing, since it was killed.
    """
    try:
        return msgspec.msgpack.decode(result.read_bytes(), type=ProfiledSteps)
    except FileNotFoundError:
        raise EngineError("The engine process ended without its profile.") from None


def main(arguments: Sequence[str]) -> int:
    """Serve as lite.engine.process does."""
    result, *rest = arguments
    profile = StepProfile()
    signal.signal(signal.SIGUSR1, lambda *_: profile.reset())

    def load(config: Config) -> Core:
        core = profiled_core(config, profile)
        return cast(Core, _WritesProfile(core, profile, Path(result)))

    return engine_main(rest, load)


if __name__ == "__main__":
    exit_with(main(sys.argv[1:]))
