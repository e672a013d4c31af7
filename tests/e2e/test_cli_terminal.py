"""The command line as a user meets it: a real process, a real terminal."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints import make_checkpoint

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120.0  # the first use may compile kernels


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LITE_", "VLLM_", "LLM_"))}
    for name in ("LITE_CACHE_DIR", "LITE_CPU_ISA"):
        if name in os.environ:
            kept[name] = os.environ[name]
    return kept | {
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path),
        "TERM": "dumb",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, argv: list[str], environ: dict[str, str], cwd: Path) -> None:
        ours, theirs = pty.openpty()
        # Its own session with the terminal in control, so that Ctrl-C becomes SIGINT.
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_A_TERMINAL, *argv],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=cwd,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._fd = ours
        self._unread = ""

    def write(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def read_some(self, num_characters: int) -> None:
        """Skip this much output."""
        deadline = time.monotonic() + TIMEOUT_S
        while len(self._unread) < num_characters:
            self._wait(deadline, f"{num_characters} characters")
        self._unread = self._unread[num_characters:]

    def read_until(self, ending: str) -> str:
        """Return everything up to and including the ending."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            before, found, after = self._unread.partition(ending)
            if found:
                self._unread = after
                return before + found
            self._wait(deadline, ending)

    def _wait(self, deadline: float, what: str) -> None:
        left_s = max(0.0, deadline - time.monotonic())
        if not select.select([self._fd], [], [], left_s)[0]:
            raise TimeoutError(f"no {what!r} in {self._unread[-500:]!r}")
        self._unread += os.read(self._fd, 65536).decode(errors="replace")

    def leave(self) -> int:
        """Press Ctrl-D until the process ends: before a prompt listens, it is lost."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            self.write("\x04")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.3)
        return self.process.wait(1.0)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(TIMEOUT_S)
        os.close(self._fd)


# Background jobs of a shell ignore SIGINT, and their children would too.
_ON_A_TERMINAL = """
import fcntl, runpy, signal, sys, termios
signal.signal(signal.SIGINT, signal.default_int_handler)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("lite", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    # Answers long enough to be stopped, which a model that ends its own would not give.
    model = make_checkpoint(tmp_path / "tiny", gain=3.0, max_position_embeddings=8192)
    argv = ["chat", "--model", str(model), "--ignore-eos", "--num-threads", "1"]
    argv += ["--num-kv-blocks", "512"]
    terminal = Terminal(argv, environment(tmp_path), tmp_path)
    yield terminal
    terminal.close()


def test_ctrl_c_stops_the_answer_and_ctrl_d_leaves(terminal: Terminal, tmp_path: Path) -> None:
    terminal.read_until("Ctrl-D leaves.")
    terminal.read_until("> ")
    for _ in range(5):  # an answer may end by itself before Ctrl-C arrives
        terminal.write("hello\r")
        terminal.read_until("hello")
        terminal.read_until("\n")
        # More than the prompt's own escape sequences, after which Ctrl-C is a signal again.
        terminal.read_some(200)
        terminal.write("\x03")
        # Commands work right after an answer was stopped, and at the prompt.
        terminal.write("/help\r")
        if "[stopped]" in terminal.read_until("forget the conversation"):
            break
        terminal.write("/reset\r")  # an answer that was not stopped filled the context
    else:
        pytest.fail("no answer was stopped")
    terminal.read_until("starts a new line.")
    terminal.read_until("> ")
    assert terminal.leave() == 0
    history = tmp_path / "lite" / "chat_history"
    assert "hello" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("where", ["flag", "variable"])
def test_complete_runs_a_batch_with_the_demo_model(tmp_path: Path, where: str) -> None:
    environ = environment(tmp_path)
    argv = [sys.executable, "-m", "lite", "complete", "--prompts", "a | b", "--temperature", "0"]
    argv += ["--ignore-eos", "--max-tokens", "5", "--num-kv-blocks", "64", "--max-model-len", "64"]
    if where == "flag":
        argv += ["--max-num-seqs", "1"]
    else:
        environ["LITE_MAX_NUM_SEQS"] = "1"
    done = subprocess.run(
        argv, env=environ, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("--- 1/2: a\n")
    prompt, decoded = done.stderr.splitlines()[-2:]
    assert prompt.startswith("Prompt tokens: ")
    assert decoded.startswith("Decoded tokens: 10 in ")


def test_serve_is_not_led_astray_by_files_of_the_same_names(tmp_path: Path) -> None:
    for name in ("server.py", "lite.py", "lite_kernels.py", "gunicorn.conf.py"):
        (tmp_path / name).write_text("raise SystemExit('imported the wrong file')\n")
    log_file = tmp_path / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lite", "serve", "--port", "0", "--workers", "1"],
            cwd=tmp_path, env=environment(tmp_path), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while "engine ready" not in log_file.read_text():
            assert process.poll() is None, log_file.read_text()
            assert time.monotonic() < deadline, log_file.read_text()
            time.sleep(0.05)
    finally:
        process.terminate()
    assert process.wait(30) == 0
    assert "wrong file" not in log_file.read_text()
