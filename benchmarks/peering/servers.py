"""The HTTP servers: how each is started, and when it is ready."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.peering.engines import (
    GIB,
    OURS,
    interpreter,
    offline_variables,
    thread_variables,
    vllm_process_variables,
)
from benchmarks.peering.environments import llama_server
from benchmarks.peering.processes import log_name, session_cpu_s, session_pids
from benchmarks.report import ROOT

MODEL_NAME = "peer"
MAX_MODEL_LEN = 4096
START_TIMEOUT_S = 600.0
_STOP_S = 20.0


class ServerError(Exception):
    """A server did not start, or ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server with one format of weights; `command` and `variables` hold the port."""

    name: str
    family: str
    command: list[str]
    variables: Mapping[str, str]
    cwd: Path
    port: int
    body: dict[str, Any]  # what its requests need besides the common fields
    missing: str | None = None


def all_servers(scratch: Path, model: Path, *, num_threads: int, num_clients: int) -> list[Server]:
    """Return every server, each with a free port."""
    return [
        _lite(model, None, "bf16", num_threads),
        _lite(model, "int8", "int8", num_threads),
        _lite(model, "int4", "int4", num_threads),
        _lite(model, "int4", "int4, int8 KV", num_threads, "int8"),
        *(
            _llama(scratch, model, name, num_threads, num_clients)
            for name in ("BF16", "Q8_0", "Q4_0")
        ),
        _vllm(scratch, model, num_threads),
    ]


def _lite(
    model: Path,
    quantization: str | None,
    name: str,
    num_threads: int,
    kv_cache_dtype: str = "auto",
) -> Server:
    port = _free_port()
    settings = {
        "LITE_MODEL": str(model / "checkpoint"),
        "LITE_SERVED_MODEL_NAME": MODEL_NAME,
        "LITE_PORT": str(port),
        "LITE_NUM_THREADS": str(num_threads),
        "LITE_MAX_MODEL_LEN": str(MAX_MODEL_LEN),
        "LITE_MAX_NUM_SEQS": "64",
        "LITE_KV_CACHE_DTYPE": kv_cache_dtype,
        "LITE_KV_CACHE_MEMORY": str(GIB),
        "LITE_ENABLE_PREFIX_CACHING": "false",
    }
    if quantization is not None:
        settings["LITE_QUANTIZATION"] = quantization
    return Server(
        name=f"{OURS} {name}",
        family=OURS,
        command=[sys.executable, "-m", "gunicorn", "server.app"],
        variables=settings,
        cwd=ROOT,
        port=port,
        body={},
    )


def _llama(scratch: Path, model: Path, name: str, num_threads: int, num_clients: int) -> Server:
    port, binary, gguf = _free_port(), llama_server(scratch), model / f"{name}.gguf"
    sizes = {
        "--threads": num_threads,
        "--threads-batch": num_threads,
        "--parallel": num_clients,
        "--ctx-size": 512 * num_clients,
        "--batch-size": 2048,
        "--ubatch-size": 512,
        # Otherwise what idle slots hold is copied to host memory, whatever "cache_prompt" says.
        "--cache-ram": 0,
    }
    command = [str(binary), "--model", str(gguf), "--host", "127.0.0.1", "--port", str(port)]
    command += [text for option, size in sizes.items() for text in (option, str(size))]
    return Server(
        name=f"llama-server {name}",
        family="llama.cpp",
        command=[*command, "--flash-attn", "on", "--no-ui"],
        variables={},
        cwd=scratch,
        port=port,
        body={"cache_prompt": False},
        missing=_first_missing(binary, gguf),
    )


def _vllm(scratch: Path, model: Path, num_threads: int) -> Server:
    port, python = _free_port(), interpreter("vllm", scratch)
    options = {
        "--model": str(model / "checkpoint"),
        "--served-model-name": MODEL_NAME,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": "bfloat16",
        "--max-model-len": str(MAX_MODEL_LEN),
        "--max-num-seqs": "64",
        "--max-num-batched-tokens": "2048",
    }
    # As a module: the rebuilt package's own command finds no metadata of its name.
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
    command += [text for option in options.items() for text in option]
    return Server(
        name="vLLM BF16",
        family="vLLM",
        command=[*command, "--no-enable-prefix-caching"],
        variables={"VLLM_CPU_KVCACHE_SPACE": "2"} | vllm_process_variables(scratch, num_threads),
        cwd=scratch,
        port=port,
        body={},
        missing=_first_missing(python),
    )


class RunningServer:
    """A server's processes, which are a session of their own."""

    def __init__(self, server: Server, scratch: Path, num_threads: int) -> None:
        log = scratch / "logs" / f"serve-{server.name.replace(' ', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log_name(log)
        self.server = server
        variables = thread_variables(num_threads) | offline_variables() | dict(server.variables)
        with open(log, "ab") as log_file:
            self._process = subprocess.Popen(
                server.command,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
                cwd=server.cwd,
                start_new_session=True,
            )

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port

    def wait_until_ready(self) -> None:
        """Wait for /health to answer 200.

        Raises:
            ServerError: the server ended, or it takes too long.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        url = f"http://127.0.0.1:{self.server.port}/health"
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                raise ServerError(f"ended with {self._process.returncode}; see {self._log}")
            try:
                with urllib.request.urlopen(url, timeout=5.0):
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(0.5)
        raise ServerError(f"not ready within {START_TIMEOUT_S:.0f} s; see {self._log}")

    def cpu_s(self) -> float:
        """Return the CPU seconds used so far."""
        return session_cpu_s(self._process.pid)

    def close(self) -> None:
        """Stop it as an operator would, then whatever is left of it; idempotent."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in list(session_pids(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _first_missing(*paths: Path) -> str | None:
    return next((f"no {path}; run `setup`" for path in paths if not path.exists()), None)
