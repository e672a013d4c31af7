"""LLM and its process: forks, interrupts, and an interpreter that ends without a close."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import make_checkpoint

ROOT = Path(__file__).parents[2]
BEGIN = """
import os, signal, sys, threading, time
from lite import LLM, EngineClosedError, SamplingParams

llm = LLM(sys.argv[1], max_model_len=2048, num_kv_blocks=256)
greedy = SamplingParams(temperature=0.0, max_tokens=4)
endless = SamplingParams(max_tokens=2000, ignore_eos=True)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("model"))


def run(checkpoint: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGIN + code, str(checkpoint)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("LITE_LOG")},
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_forked_child_is_refused_and_the_parent_goes_on(checkpoint: Path) -> None:
    out = run(
        checkpoint,
        """
stream = llm.stream("a", endless)
next(stream)
child = os.fork()
if not child:
    signal.alarm(20)  # a hang is not a refusal
    for call in (lambda: llm.generate("a", greedy, use_tqdm=False), llm.stats):
        try:
            call()
        except EngineClosedError as error:
            print("refused:", "does not survive a fork" in str(error), flush=True)
    stream.close()
    llm.close()
    sys.exit(0)
print("child", os.waitpid(child, 0)[1])
next(stream)
print("parent", len(llm.generate("a", greedy, use_tqdm=False)[0]["token_ids"]))
""",
    )
    assert out.splitlines() == ["refused: True", "refused: True", "child 0", "parent 4"]


def test_an_interpreter_ends_with_an_open_engine_and_an_open_stream(checkpoint: Path) -> None:
    out = run(checkpoint, 'stream = llm.stream("a", endless)\nnext(stream)\nprint("end")')
    assert out == "end\n"


def test_an_interrupted_generate_stops_its_requests(checkpoint: Path) -> None:
    """Also while a traceback, kept by an interactive session, holds the frames."""
    out = run(
        checkpoint,
        """
def interrupt():
    while llm.stats().num_running < 2:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    llm.generate(["a", "b", "c"], endless)
except KeyboardInterrupt as error:
    kept = error
deadline = time.monotonic() + 2.0
while (stats := llm.stats()).num_free_blocks < stats.num_blocks:
    assert time.monotonic() < deadline, stats
    time.sleep(0.01)
print(len(llm.generate("a", greedy, use_tqdm=False)[0]["token_ids"]))
""",
    )
    assert out == "4\n"


def test_an_instruction_set_this_machine_lacks_is_a_mistake_of_the_configuration(
    checkpoint: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lite", "complete", "--model", checkpoint, "--prompts", "a"],
        cwd=ROOT,
        env={**os.environ, "LITE_CPU_ISA": "no_such_isa"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: LITE_CPU_ISA='no_such_isa' is not available")
    assert "Traceback" not in done.stderr
