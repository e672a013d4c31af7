"""Starting an engine as users do, in new processes: what it takes in time and in memory."""

import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT

Work = tuple[int, int, int]  # prompts, tokens of each, and tokens wanted of each
PROMPT = "Hello, how are you?"
MAX_MODEL_LEN = 4096
_TIMEOUT_S = 300.0
# Prints what happened when, then works on the given lengths, and prints what memory that took.
_LLM = """
import json, sys, time
from benchmarks.starting import memory_of, prompts_of
from lite import LLM, SamplingParams
options = json.loads(sys.argv[2])
llm = LLM(sys.argv[1], **options["settings"])
loaded_s, loaded = time.time(), memory_of("self")
for delta in llm.stream(sys.argv[3], SamplingParams(temperature=0.0, max_tokens=4)):
    first_token_s = time.time()
    break
for prompts, num_out in prompts_of(options["work"]):
    params = SamplingParams(temperature=0.0, max_tokens=num_out, ignore_eos=True)
    llm.generate(prompts, params, use_tqdm=False)
model, stats = llm._client._core.model, llm._client.stats()
tokens = sum(n * -(-(i + o) // stats.block_size) for n, i, o in options["work"])
print(json.dumps({
    "loaded_s": loaded_s, "first_token_s": first_token_s, "loaded": loaded,
    "worked": memory_of("self"), "weights_bytes": model.weights.nbytes,
    "kv_bytes": tokens * model.plan.block_bytes,
}))
llm.close()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to load: a directory beside the checkpoint, and settings."""

    place: str = "."
    quantization: str | None = None
    weights_cache: bool = False

    def settings(self, num_threads: int) -> dict[str, Any]:
        """Return the settings as `LLM` takes them."""
        settings = {"num_threads": num_threads, "max_model_len": MAX_MODEL_LEN}
        if self.quantization is not None:
            settings["quantization"] = self.quantization
        return settings | ({"weights_cache": True} if self.weights_cache else {})


def prompts_of(work: Sequence[Work]) -> Iterator[tuple[list[list[int]], int]]:
    """Yield prompts as token ids, no two of which begin alike, and the tokens wanted of them."""
    first = itertools.count(1)
    for num_prompts, num_in, num_out in work:
        yield [[next(first), *range(num_in - 1)] for _ in range(num_prompts)], num_out


def memory_of(pid: int | str) -> dict[str, int]:
    """Return bytes of one process: resident, its share of what several map, and the peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    fields = {
        "rss": ("VmRSS", status), "anonymous": ("RssAnon", status), "mapped": ("RssFile", status),
        "peak": ("VmHWM", status), "pss": ("Pss", rollup),
    }  # fmt: skip
    return {name: _kilobytes(*field) * 1024 for name, field in fields.items()}


def _kilobytes(name: str, text: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None, f"{name} is missing"
    return int(found[1])


def start_llm(
    directory: Path,
    way: Way,
    cache: Path,
    num_threads: int,
    work: Sequence[Work] = (),
) -> dict[str, Any]:
    """Start a process with an `LLM`; seconds from the start of Python, and bytes.

    `work` is what it generates after the first token.
    """
    options = json.dumps({"settings": way.settings(num_threads), "work": list(work)})
    started_s = time.time()
    done = subprocess.run(
        [sys.executable, "-c", _LLM, str(directory / way.place), options, PROMPT],
        cwd=ROOT,
        env=os.environ | {"LITE_CACHE_DIR": str(cache)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=_TIMEOUT_S,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {name: found[name] - started_s for name in ("loaded_s", "first_token_s")}


def start_server(
    directory: Path,
    way: Way,
    cache: Path,
    num_threads: int,
    work: Sequence[Work] = (),
) -> dict[str, Any]:
    """Start `lite serve` with one worker; seconds until it is healthy and until a token, and bytes.

    Processes are named gunicorn (the master), worker, supervisor and engine.
    """
    started_s = time.time()
    with _serving(directory, way, cache, num_threads) as (process, port):
        healthy_s = _wait_until_healthy(process, port)
        loaded = {name: memory_of(pid) for name, pid in _processes(process.pid)}
        _complete(port, {"prompt": PROMPT, "max_tokens": 4, "stream": True}, lines=1)
        first_token_s = time.time()
        for prompts, num_out in prompts_of(work):
            _complete(port, {"prompt": prompts, "max_tokens": num_out, "ignore_eos": True})
        worked = {name: memory_of(pid) for name, pid in _processes(process.pid)}
    return {
        "healthy_s": healthy_s - started_s,
        "first_token_s": first_token_s - started_s,
        "loaded": loaded,
        "worked": worked,
    }


@contextmanager
def _serving(
    directory: Path, way: Way, cache: Path, num_threads: int
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    settings: Mapping[str, Any] = {
        **way.settings(num_threads),
        "model": directory / way.place,
        "served_model_name": "model",
        "port": port,
        "workers": 1,
        "log_level": "error",
    }
    variables = {f"LITE_{name.upper()}": str(value) for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "lite", "serve"],
        cwd=ROOT,
        env=os.environ | variables | {"LITE_CACHE_DIR": str(cache)},
    )
    try:
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int) -> float:
    """Return the time at which /health answered 200."""
    deadline_s = time.time() + _TIMEOUT_S
    while time.time() < deadline_s:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return time.time()
        except OSError:
            pass  # nobody listens yet
        finally:
            connection.close()
        time.sleep(0.01)
    raise TimeoutError(f"not healthy after {_TIMEOUT_S:.0f} s")


def _complete(port: int, body: Mapping[str, Any], *, lines: int | None = None) -> None:
    """Send a completion and read its answer, or the first lines of it."""
    # Tokens without text have an event only if their ids are asked for.
    fields = {"model": "model", "temperature": 0.0, "return_token_ids": True, **body}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request(
            "POST", "/v1/completions", json.dumps(fields), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.read().decode()[:500]}")
        for _ in range(lines or 0):
            answer.readline()
        answer.read()
    finally:
        connection.close()


def _processes(pid: int) -> Iterator[tuple[str, int]]:
    """Yield the server's processes by name, the master first."""
    yield "gunicorn", pid
    for one in _children(pid):
        if b"lite.engine.supervisor" not in Path(f"/proc/{one}/cmdline").read_bytes():
            yield "worker", one
            continue
        yield "supervisor", one
        for engine in _children(one):
            yield "engine", engine


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
