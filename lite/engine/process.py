"""The engine process: `python -m lite.engine.process`.

The main thread owns the socket and answers at once, whatever the engine's thread does; the
engine's thread (lite.engine.loop) owns the EngineCore. Queues lie between them.
"""

import argparse
import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from lite.config import Config
from lite.engine.address import EngineAddress, parse_address
from lite.engine.frontdoor import FrontDoor
from lite.engine.loop import Core
from lite.errors import CapacityError, ConfigError, ModelError
from lite.log import configure, get_logger
from lite.settings import load_config

EXIT_FAILED = 1
EXIT_UNUSABLE = 2  # the configuration or the model is wrong: trying again would not help
UNUSABLE = (ConfigError, ModelError, CapacityError, ImportError)

log = get_logger("lite.engine.process")  # __name__ is "__main__" here


def load_core(config: Config) -> Core:
    """Load the model and return the engine; imports the kernels, so it takes seconds."""
    from lite.engine.core import EngineCore

    return EngineCore.from_config(config)


def serve(
    config: Config, *, load: Callable[[Config], Core] = load_core, lifeline: int | None = None
) -> int:
    """Run the engine at `config.server.engine_address` until it is told to stop.

    SIGTERM, or the end of the file `lifeline`, refuses new requests and ends the process when the
    open ones are done, or after `config.server.drain_s`; a second SIGTERM ends it at once.

    Returns:
        The exit code: 0 after a drain, 2 where the configuration or the model is at fault (the
        reason stays in the address's error file), 1 after any other failure.
    """
    try:
        if config.server.engine_address is None:
            raise ConfigError("server.engine_address is not set; name an ipc:// address.")
        address = parse_address(config.server.engine_address)
        with _exclusive(address):
            failure = _run(config, address, load, lifeline)
            if isinstance(failure, UNUSABLE) and address.error_file is not None:
                address.error_file.write_text(str(failure), encoding="utf-8")
    except ConfigError as error:
        failure = error
    if failure is None:
        return 0
    if isinstance(failure, UNUSABLE):
        log.error("engine cannot start", reason=str(failure), kind=type(failure).__name__)
        return EXIT_UNUSABLE
    log.error("engine failed", exc_info=failure)
    return EXIT_FAILED


def _run(
    config: Config, address: EngineAddress, load: Callable[[Config], Core], lifeline: int | None
) -> BaseException | None:
    """Run to the end; return what went wrong."""
    try:
        front_door = FrontDoor(config, address, load)
    except ConfigError as error:
        return error
    with _stopped_by_signals(front_door, address):
        return front_door.run(lifeline)


@contextlib.contextmanager
def _exclusive(address: EngineAddress) -> Iterator[None]:
    """Keep a second engine from taking over the socket file of this one."""
    if address.lock_file is None or address.path is None:
        yield
        return
    import fcntl

    try:
        lock = address.lock_file.open("a")
    except OSError as error:
        raise ConfigError(
            f"engine address {address.endpoint}: {error.strerror}; its directory must exist."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"engine address {address.endpoint} is in use by another engine; stop that one "
                "or choose another server.engine_address."
            ) from None
        try:
            yield
        finally:
            address.path.unlink(missing_ok=True)


@contextlib.contextmanager
def _stopped_by_signals(front_door: FrontDoor, address: EngineAddress) -> Iterator[None]:
    """Let the first SIGTERM or SIGINT drain and the second one exit."""
    signals_seen = 0

    def stop(_signal: int, _frame: object) -> None:
        nonlocal signals_seen
        signals_seen += 1
        if signals_seen > 1:
            if address.path is not None:
                address.path.unlink(missing_ok=True)
            os._exit(EXIT_FAILED)
        front_door.drain()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None, load: Callable[[Config], Core] = load_core) -> int:
    """Read the configuration as every process does, and serve."""
    parser = argparse.ArgumentParser(prog="lite.engine.process", description=__doc__)
    parser.add_argument(
        "--lifeline", type=int, metavar="FD", help="end when this file descriptor reaches its end"
    )
    options = parser.parse_args(arguments)
    try:
        config = load_config().config
        configure(config.log, secrets=[*config.auth.api_keys, *config.auth.admin_keys])
    except ConfigError as error:
        print(f"lite: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    return serve(config, load=load, lifeline=options.lifeline)


def exit_with(code: int) -> None:
    """End the process without waiting for a thread that still loads or computes."""
    # Temporary files are removed there.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    exit_with(main())
