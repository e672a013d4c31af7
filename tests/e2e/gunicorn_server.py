"""A real gunicorn in a process of its own, for tests that speak HTTP to it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_KEPT = ("LITE_CACHE_DIR", "LITE_CPU_ISA")
_LISTENING = re.compile(r"Listening at: http://([0-9.]+):(\d+)")

# The echoing fake instead of an engine and a model.
FAKE = ("-c", "python:tests.e2e.fake_gunicorn_conf", "tests.e2e.fake_app")
REAL = ("-c", "python:server.gunicorn_conf", "server.app")


class GunicornServer:
    """A running server; `log` is everything it wrote."""

    def __init__(self, process: "subprocess.Popen[bytes]", log_file: Path) -> None:
        self.process = process
        self._log_file = log_file
        self.url = ""

    @property
    def log(self) -> str:
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def wait_until_listening(self, timeout_s: float) -> None:
        self.wait_for(lambda: _LISTENING.search(self.log), timeout_s)
        match = _LISTENING.search(self.log)
        assert match is not None
        self.url = f"http://{match[1]}:{match[2]}"

    def wait_until_ready(self, timeout_s: float) -> None:
        self.wait_for(lambda: self.get("/health/ready")[0] == 200, timeout_s)

    def wait_for(self, condition: Any, timeout_s: float = 10.0) -> None:
        """Wait until `condition()` holds; fail with the log when it does not or the server ends."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the server ended with {self.process.returncode}:\n{self.log}"
                )
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s} s:\n{self.log}")
            time.sleep(0.02)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        return self.request("GET", path, headers=headers)

    def post(
        self, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        return self.request(
            "POST",
            path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Return status and body; 0 when the connection fails."""
        request = urllib.request.Request(
            self.url + path, data=body, headers=dict(headers or {}), method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 30.0) -> int:
        """Stop it as an operator would and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextlib.contextmanager
def serve(
    directory: Path,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    command: tuple[str, ...] = REAL,
    environ: Mapping[str, str] | None = None,
    ready_within_s: float = 120.0,  # the first use may compile kernels
) -> Iterator[GunicornServer]:
    """Start gunicorn with a configuration on a free port; stop it at the end.

    `directory` takes the configuration and the log. Nothing is left running, whatever happens.
    """
    sections = {name: dict(section) for name, section in (config or {}).items()}
    sections["server"] = {"port": 0, **sections.get("server", {})}
    config_file = directory / "config.yaml"
    config_file.write_text(json.dumps(sections), encoding="utf-8")
    log_file = directory / "server.log"
    known = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LITE_", "VLLM_", "LLM_")) or name in _KEPT
    }
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *command],
            cwd=ROOT,
            env={**known, "LITE_CONFIG": str(config_file), **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = GunicornServer(process, log_file)
    try:
        server.wait_until_listening(ready_within_s)
        if ready_within_s:
            server.wait_until_ready(ready_within_s)
        yield server
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
    # Workers and engine that outlived their master: they are in its session.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
