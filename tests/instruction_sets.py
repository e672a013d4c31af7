"""Tests run again with the lesser instruction sets of this CPU, each in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lite_kernels.cpu.isa import ISAS, host_isa, supported

# The compiler is held to such a CPU too, else it would still use what this one has.
_CPU_NAMES = {
    "avx512_vnni": "cascadelake",
    "avx512": "skylake-avx512",
    "avx_vnni": "alderlake",
    "avx2": "haswell",
    "generic_fma": "x86-64+fma",
    "generic": "x86-64",
}
ON_X86 = os.uname().machine == "x86_64"
OTHERS = [
    isa
    for isa in ISAS
    if supported(isa) and isa is not host_isa() and (isa.name in _CPU_NAMES or not ON_X86)
]


def environment(name: str) -> dict[str, str]:
    """Return this process's variables with those that choose an instruction set."""
    compiler = {}
    if ON_X86:
        cpu, _, feature = _CPU_NAMES[name].partition("+")
        compiler = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": feature and f"+{feature}"}
    return {**os.environ, "LITE_CPU_ISA": name, **compiler}


def run_tests(name: str, tests: Sequence[str | Path]) -> None:
    """Run the tests with the instruction set, and assert that there are some and all pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *map(str, tests)],
        cwd=Path(__file__).parents[1],
        env=environment(name),
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
