"""The process of an engine: requests, pauses between its turns, its memory and CPU time."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_END_S = 10.0


class RunnerError(Exception):
    """An engine failed at a request, ended, or took too long."""


class RunnerProcess:
    """A runner in a session of its own, stopped by a signal while it is not its turn.

    Idle threads of several engines spin; a stopped process does not.
    """

    def __init__(
        self, command: list[str], *, variables: Mapping[str, str], log: Path, cwd: Path
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log_name(log)
        with open(log, "ab") as log_file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env={**os.environ, **variables},
                cwd=cwd,
                start_new_session=True,
            )
        self._pending = b""
        self._closed = False

    def call(self, command: str, *, timeout_s: float, **arguments: Any) -> Any:
        """Send one request and return its result; the process runs only meanwhile.

        Raises:
            RunnerError: with what the engine said.
        """
        if self._closed:
            raise RunnerError(f"the process has ended; see {self._log}")
        self._signal(signal.SIGCONT)
        request = json.dumps({"command": command, "arguments": arguments}) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()
            reply = json.loads(self._read_line(timeout_s))
        except OSError as error:
            raise RunnerError(f"the process has ended; see {self._log}") from error
        except ValueError as error:
            raise RunnerError(f"its answer cannot be read; see {self._log}") from error
        self._signal(signal.SIGSTOP)
        if "error" in reply:
            raise RunnerError(f"{reply['error']} (see {self._log})")
        return reply["result"]

    def memory(self) -> dict[str, int]:
        """Return the resident bytes of all processes of the session, and their peak."""
        total = dict.fromkeys(("VmRSS", "VmHWM", "RssAnon", "RssFile"), 0)
        for pid in self._pids():
            for line in _lines(Path(f"/proc/{pid}/status")):
                key, _, value = line.partition(":")
                if key in total:
                    total[key] += int(value.split()[0]) * 1024
        return total

    def cpu_s(self) -> float:
        """Return the CPU seconds that all processes of the session have used."""
        return session_cpu_s(self._process.pid)

    def close(self) -> None:
        """End every process of the session; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._signal(signal.SIGKILL)
        self._process.wait(_END_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _pids(self) -> list[int]:
        return list(session_pids(self._process.pid))

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _read_line(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        descriptor, deadline_s = self._process.stdout.fileno(), time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            left_s = deadline_s - time.monotonic()
            ready, _, _ = select.select([descriptor], [], [], max(left_s, 0.0))
            if not ready:
                raise RunnerError(f"no answer within {timeout_s:.0f} s; see {self._log}")
            data = os.read(descriptor, 1 << 20)
            if not data:
                raise RunnerError(f"the process has ended; see {self._log}")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line


def log_name(log: Path) -> str:
    """Return what errors call a log: results hold them, but no paths of a machine."""
    return f"{log.parent.name}/{log.name}"


def session_pids(session: int) -> Iterator[int]:
    """Yield the processes of a session."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _stat_fields(int(entry))[3:4] == [str(session)]:
            yield int(entry)


def session_cpu_s(session: int) -> float:
    """Return the CPU seconds used by a session's processes and by those they have waited for."""
    ticks = 0
    for pid in session_pids(session):
        ticks += sum(map(int, _stat_fields(pid)[11:15]))
    return ticks / _TICKS_PER_S


def machine_cpu_s() -> float:
    """Return the CPU seconds in which any core was busy, or taken by the host, since boot."""
    fields = _lines(Path("/proc/stat"))[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S


def available_bytes() -> int:
    """Return the memory that new processes may take without swapping."""
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _stat_fields(pid: int) -> list[str]:
    """Return /proc/PID/stat after the name: state, parent, group, session, ..."""
    lines = _lines(Path(f"/proc/{pid}/stat"))
    return lines[0].rpartition(")")[2].split() if lines else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
