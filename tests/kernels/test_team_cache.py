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


AHEAD = """
import sys
from lite_kernels.cpu.compile_ahead import compile_ahead, uncompiled
from lite_kernels.cpu import written, team
kernels = [written.write, team._initialise, team._lead]
missing = uncompiled(kernels)
sys.executable = {executable}
compile_ahead(missing, 2)
print(len(missing), len(uncompiled(kernels)), sum(kernel.is_loaded for kernel in kernels))
written.main()
"""


def test_kernels_are_compiled_in_other_processes(copy):
    ahead = AHEAD.format(executable="sys.executable")
    assert finish(start(copy, ahead)).split() == ["3", "0", "0", "1"]
    assert finish(start(copy, ahead)).split() == ["0", "0", "0", "1"]


@pytest.mark.parametrize("executable", ["'/missing'", "'/bin/false'", "'/bin/echo'", "None"])
def test_processes_that_cannot_compile_are_no_obstacle(copy, executable):
    ahead = AHEAD.format(executable=executable)
    assert finish(start(copy, ahead)).split() == ["3", "3", "0", "1"]


def test_processes_that_compile_together_share_a_cold_cache(copy):
    ahead = AHEAD.format(executable="sys.executable")
    processes = [start(copy, ahead) for _ in range(3)]
    assert {finish(process).split()[-1] for process in processes} == {"1"}
    assert finish(start(copy, ahead)).split() == ["0", "0", "0", "1"]


def test_what_a_process_may_use_is_compiled_by_those_it_starts(copy):
    (copy / "file").write_text("not a directory")
    ahead = AHEAD.format(executable="sys.executable")
    process = start(copy, ahead, LITE_CACHE_DIR=str(copy / "file" / "cache"))
    assert finish(process).split() == ["3", "0", "0", "1"]


READ_ONLY = """
import tempfile
def refuse(*_args, **_options): raise PermissionError(30, "Read-only file system")
tempfile.TemporaryFile = refuse
"""


def test_a_cache_that_is_read_only_is_read(copy):
    assert finish(start(copy)) == "1"
    before = {path: path.stat().st_mtime_ns for path in (copy / "cache").rglob("*")}
    ahead = READ_ONLY + AHEAD.format(executable="'/missing'")
    # Numba's own look at the copy must succeed again.
    code = ahead.replace("kernels =", "uncompiled([]); from importlib import reload; "
                         "reload(tempfile)\nkernels =")  # fmt: skip
    missing, still_missing, *_, answer = finish(start(copy, code)).split()
    assert (missing, still_missing, answer) == ("0", "0", "1")
    assert {path: path.stat().st_mtime_ns for path in (copy / "cache").rglob("*")} == before


@pytest.mark.parametrize(
    "change",
    [
        "import numba; numba.__version__ = '0.0'",
        "import llvmlite; llvmlite.__version__ = '0.0'",
        "import os; os.environ['LITE_CPU_ISA'] = 'generic'",
        "import os; os.environ['NUMBA_OPT'] = '1'",
        "import os, lite_kernels.interface as changed; os.utime(changed.__file__)",
    ],
)
def test_another_compiler_or_instruction_set_or_time_compiles_again(copy, change):
    listed = "from lite_kernels.cpu.cache import kernel_directory\n"
    listed += "from lite_kernels.cpu.isa import host_isa\nprint(kernel_directory(host_isa().name))"
    first, again = (finish(start(copy, listed)) for _ in range(2))
    assert first == again
    assert finish(start(copy, f"{change}\n{listed}")) != first


def test_processes_that_start_together_share_a_cold_cache(copy):
    processes = [start(copy) for _ in range(3)]
    assert [finish(process) for process in processes] == ["1"] * 3


def test_a_cache_directory_that_cannot_be_written_is_no_obstacle(copy):
    (copy / "file").write_text("not a directory")
    assert finish(start(copy, LITE_CACHE_DIR=str(copy / "file" / "cache"))) == "1"


def test_no_writable_directory_at_all_is_refused(copy):
    (copy / "file").write_text("not a directory")
    nowhere = "import tempfile; tempfile.tempdir = '/nowhere'\n"
    load = nowhere + "import lite_kernels; lite_kernels.load('cpu', dtype='float32')"
    process = start(copy, load, LITE_CACHE_DIR=str(copy / "file" / "cache"))
    assert "set LITE_CACHE_DIR or TMPDIR to a writable directory" in process.communicate()[1]
    assert process.returncode == 1


def test_a_damaged_cache_file_is_compiled_again(copy):
    assert finish(start(copy)) == "1"
    for pattern in ("*.nbc", "*.nbi"):
        for path in (copy / "cache").rglob(pattern):
            path.write_bytes(path.read_bytes()[:100])
        assert finish(start(copy)) == "1"
        # Then it is not there any more, and the next process writes it anew.
        assert finish(start(copy)) == "1"
        assert all(path.stat().st_size > 100 for path in (copy / "cache").rglob(pattern))


def test_machine_code_with_a_changed_bit_is_compiled_again(copy):
    assert finish(start(copy)) == "1"
    for pattern in ("*.nbc", "*.nbi"):
        damaged = {}
        for path in (copy / "cache").rglob(pattern):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
            damaged[path] = bytes(content)
        assert damaged
        assert finish(start(copy)) == "1"
        assert all(path.read_bytes() != content for path, content in damaged.items())


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


INTERRUPTED = """
import os, signal
import llvmlite.binding.executionengine as engine
from lite_kernels.cpu.written import main

cast, num_casts = engine.cast, 0

def interrupt(*arguments):
    global num_casts
    num_casts += 1
    if num_casts == {at}:
        os.kill(os.getpid(), signal.SIGINT)
    return cast(*arguments)

engine.cast = interrupt
try:
    main()
    print("not interrupted")
except KeyboardInterrupt:
    engine.cast = cast
    main()
"""


@pytest.mark.parametrize("at", [1, 3, 11])
def test_an_interrupt_while_a_kernel_is_loaded_is_neither_lost_nor_fatal(copy, at):
    assert finish(start(copy)) == "1"
    assert finish(start(copy, INTERRUPTED.format(at=at))) == "1"
