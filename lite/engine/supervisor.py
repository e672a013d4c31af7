"""The supervisor: a small process that starts the engine process and starts it again.

`start` is for the process that owns the front ends (gunicorn's arbiter). The supervisor ends when
that one does. It never imports the engine, so it costs little memory.
"""

import argparse
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lite.config import Config
from lite.engine.address import parse_address, private_address
from lite.engine.waker import Waker
from lite.errors import ConfigError
from lite.log import configure, get_logger
from lite.settings import environ_with_flags, load_config

ENGINE = (sys.executable, "-m", "lite.engine.process")
MIN_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
_STABLE_S = 60.0
_STDIN = 0  # a pipe from the parent
_EXIT_UNUSABLE = 2  # as lite.engine.process says it
_PARENT_CHECK_S = 1.0
_KILL_MARGIN_S = 10.0  # beyond the drain time
_MAX_PATH = 60  # leaves room for the socket's name

log = get_logger("lite.engine.supervisor")  # __name__ is "__main__" here


class Supervisor:
    """A handle on a started supervisor, for the process that started it.

    It may be reaped by that process's own `waitpid(-1)`: nothing here depends on its exit code.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        address: str,
        lifeline: int,
        directory: Path | None,
    ) -> None:
        self.pid = process.pid
        self.address = address
        self._process = process
        self._lifeline: int | None = lifeline
        self._directory = directory

    def is_running(self) -> bool:
        """Whether the supervisor is there: it ends by itself when the engine cannot start."""
        return self._process.poll() is None

    def stop(self, timeout_s: float) -> bool:
        """Drain the engine and end it; kill it after `timeout_s`. Return whether it drained."""
        # The end of a pipe rather than a signal: its number may belong to another process by now.
        # A byte, because worker processes may still hold the pipe open.
        if self._lifeline is not None:
            with contextlib.suppress(OSError):
                os.write(self._lifeline, b"\0")
            os.close(self._lifeline)
            self._lifeline = None
        deadline_s = time.monotonic() + timeout_s
        while self.is_running() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        drained = not self.is_running()
        if not drained:
            # The engine sees its own pipe end, and the supervisor's death with it.
            self._process.kill()
            self._process.wait()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        return drained


def start(
    config: Config,
    environ: Mapping[str, str] = os.environ,
    *,
    engine: Sequence[str] = ENGINE,
    restart: bool = True,
) -> Supervisor:
    """Start a supervisor, and with it an engine process that reads the same configuration.

    `config` gives the address, or none: then a private one is made. Front ends need the handle's
    `address` as LITE_SERVER_ENGINE_ADDRESS. Returns at once; the engine is there some time later.
    Without `restart` the supervisor ends with an engine that dies, and the reason stays readable.

    Raises:
        ConfigError: `config.server.engine_address` is not a usable address.
    """
    directory = None
    address = config.server.engine_address
    if address is None:
        directory = _private_directory()
        address = private_address(directory)
    else:
        parse_address(address)
    command = [sys.executable, "-m", __name__, "--parent", str(os.getpid())]
    if directory is not None:
        command += ["--directory", str(directory)]
    if not restart:
        command.append("--once")
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            [*command, "--", *engine],
            stdin=read_end,
            env=environ_with_flags(environ, {"server.engine_address": address}),
            # Ctrl-C is for the parent alone, which stops us in its own time.
            process_group=0,
        )
    finally:
        os.close(read_end)
    return Supervisor(process, address, write_end, directory)


def _private_directory() -> Path:
    """Make a directory (0700) with a path short enough for a socket file."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):
        if parent and len(parent) <= _MAX_PATH and os.access(parent, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="lite-", dir=parent))
    raise ConfigError(
        "No writable temporary directory with a short path was found for the engine's socket; "
        "set TMPDIR, or server.engine_address to an ipc:// address."
    )


class _Watch:
    """One engine process after the other, until told to stop."""

    def __init__(
        self, config: Config, engine: Sequence[str], parent: int, *, restart: bool
    ) -> None:
        assert config.server.engine_address is not None
        self._config = config
        self._engine = engine
        self._parent = parent
        self._restart = restart
        self._error_file = parse_address(config.server.engine_address).error_file
        self._waker = Waker()
        self._num_stops = 0
        self._parent_gone = False

    def on_signal(self, number: int, _frame: object) -> None:
        """Take note of SIGTERM and SIGINT; SIGCHLD only wakes."""
        if number != signal.SIGCHLD:
            self._num_stops += 1
        self._waker.wake()

    @property
    def _stopping(self) -> bool:
        return self._num_stops > 0 or self._parent_gone

    def run(self) -> int:
        """Keep an engine running; return the exit code."""
        backoff_s = MIN_BACKOFF_S
        while True:
            started_s = time.monotonic()
            code = self._run_engine()
            if self._stopping or code in (0, _EXIT_UNUSABLE):
                return code if code in (0, _EXIT_UNUSABLE) else 1
            if time.monotonic() - started_s >= _STABLE_S:
                backoff_s = MIN_BACKOFF_S
            reason = (
                f"it was killed by signal {-code}" if code < 0 else f"it ended with code {code}"
            )
            if not self._restart:
                log.error("engine died", reason=reason)
                self._tell(f"{reason}; its log says more.")
                return _EXIT_UNUSABLE
            log.error("engine died", reason=reason, restart_in_s=backoff_s)
            self._tell(f"{reason}; a new one starts within {backoff_s:g} s.")
            self._wait(time.monotonic() + backoff_s)
            if self._stopping:
                return 1
            backoff_s = min(2.0 * backoff_s, MAX_BACKOFF_S)

    def _tell(self, reason: str) -> None:
        if self._error_file is not None:
            with contextlib.suppress(OSError):
                self._error_file.write_text(reason, encoding="utf-8")

    def _run_engine(self) -> int:
        """Run one engine process to its end; ask it to drain when told to stop."""
        with subprocess.Popen(
            [*self._engine, "--lifeline", str(_STDIN)], stdin=subprocess.PIPE
        ) as engine:
            log.info("engine started", engine_pid=engine.pid)
            kill_at_s: float | None = None
            while engine.poll() is None:
                if self._stopping and kill_at_s is None:
                    assert engine.stdin is not None
                    engine.stdin.close()
                    kill_at_s = time.monotonic() + self._config.server.drain_s + _KILL_MARGIN_S
                if self._num_stops > 1 or (kill_at_s and time.monotonic() >= kill_at_s):
                    engine.kill()
                    engine.wait()
                    break
                self._wait_once(kill_at_s, engine)
            return engine.returncode

    def _wait(self, until_s: float) -> None:
        while not self._stopping and time.monotonic() < until_s:
            self._wait_once(until_s)

    def _wait_once(
        self, until_s: float | None = None, engine: "subprocess.Popen[bytes] | None" = None
    ) -> None:
        """Sleep until a signal, the end of the parent, or `until_s`."""
        timeout_s = _PARENT_CHECK_S
        if until_s is not None:
            timeout_s = max(0.0, min(timeout_s, until_s - time.monotonic()))
        descriptors = [self._waker.fileno()]
        if not self._parent_gone:
            descriptors.append(_STDIN)
        ready, _, _ = select.select(descriptors, [], [], timeout_s)
        if self._waker.fileno() in ready:
            self._waker.clear()
        # Worker processes hold our parent's end of the pipe too, so its end may come late.
        if _STDIN in ready or os.getppid() != self._parent:
            self._parent_gone = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Supervise until the parent process ends or says so, on standard input."""
    parser = argparse.ArgumentParser(prog="lite.engine.supervisor", description=__doc__)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--directory", type=Path, help="removed at the end")
    parser.add_argument("--once", action="store_true", help="start no second engine")
    parser.add_argument("engine", nargs="+", help="command of the engine process")
    options = parser.parse_args(arguments)
    try:
        config = load_config().config
        configure(config.log, secrets=[*config.auth.api_keys, *config.auth.admin_keys])
    except ConfigError as error:
        print(f"lite: {error}", file=sys.stderr)
        return _EXIT_UNUSABLE
    watch = _Watch(config, options.engine, options.parent, restart=not options.once)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, watch.on_signal)
    code = watch.run()
    # After an engine that cannot start, the reason stays readable as long as the parent lives.
    if options.directory is not None and code != _EXIT_UNUSABLE:
        shutil.rmtree(options.directory, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
