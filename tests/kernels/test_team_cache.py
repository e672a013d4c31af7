"""The disk cache of compiled kernels: never stale, never in the way. Each case is a process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lite_kernels

PROBE = """
import numpy as np
from lite_kernels.cpu.isa.memory import array_at
from lite_kernels.cpu.kernel import kernel
from lite_kernels.cpu.program import Program, argument
from lite_kernels.cpu.team import Team
from lite_kernels.cpu.answer import answer

@kernel()
def write(tid, num_threads, args):
    array_at(argument(args, 0), 1, np.int64)[0] = answer()

def main():
    out = np.zeros(1, np.int64)
    program = Program()
    program.append(write, out)
    program.finish()
    team = Team(1)
    team.run(program)
    team.close()
    print(out[0])
"""
HELPER = """
from lite_kernels.cpu.kernel import jit

@jit
def answer():
    return {}
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package with one more kernel, and its own cache."""
    package = tmp_path / "lite_kernels"
    source = Path(lite_kernels.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "cpu" / "written.py").write_text(PROBE)
    (package / "cpu" / "answer.py").write_text(HELPER.format(1))
    return tmp_path


def start(copy, code="from lite_kernels.cpu.written import main; main()", **environment):
    command = [sys.executable, "-c", code]
    variables = {"PYTHONPATH": str(copy), "LITE_CACHE_DIR": str(copy / "cache"), **environment}
    return subprocess.Popen(
        command,
        cwd=copy,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


def test_a_changed_helper_is_compiled_again(copy):
    assert finish(start(copy)) == "1"
    first = set((copy / "cache").rglob("*.nbc"))
    assert finish(start(copy)) == "1"
    assert set((copy / "cache").rglob("*.nbc")) == first
    (copy / "lite_kernels" / "cpu" / "answer.py").write_text(HELPER.format(2))
    assert finish(start(copy)) == "2"


def test_whether_kernels_are_compiled_is_known_beforehand(copy):
    asked = "import lite_kernels; print(lite_kernels.are_compiled('cpu'))"
    assert finish(start(copy, asked)) == "False"
    assert finish(start(copy)) == "1"
    assert finish(start(copy, asked)) == "True"


def test_processes_that_start_together_share_a_cold_cache(copy):
    processes = [start(copy) for _ in range(3)]
    assert [finish(process) for process in processes] == ["1"] * 3


def test_a_cache_directory_that_cannot_be_written_is_no_obstacle(copy):
    (copy / "file").write_text("not a directory")
    assert finish(start(copy, LITE_CACHE_DIR=str(copy / "file" / "cache"))) == "1"


def test_a_damaged_cache_file_is_compiled_again(copy):
    assert finish(start(copy)) == "1"
    for path in (copy / "cache").rglob("*.nbc"):
        path.write_bytes(path.read_bytes()[:100])
    assert finish(start(copy)) == "1"


def test_kernels_unused_for_a_month_are_removed(copy):
    old, recent = copy / "cache" / "kernels-old", copy / "cache" / "kernels-recent"
    for path in (old, recent):
        path.mkdir(parents=True)
        (path / "kernel.nbc").write_text("machine code")
    os.utime(old, (0, 0))
    assert finish(start(copy)) == "1"
    assert recent.exists()
    assert not old.exists()


def test_an_isa_the_cpu_lacks_is_refused(copy):
    process = start(copy, LITE_CPU_ISA="avx1024")
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "LITE_CPU_ISA='avx1024' is not available" in err
