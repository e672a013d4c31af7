"""Attention and the rotary store with the other instruction sets, each in its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lite_kernels.cpu.isa import ISAS, host_isa, supported

# The compiler is held to such a CPU too, else it would still use what this one has.
CPU_NAMES = {"avx512": "skylake-avx512", "avx2": "haswell", "generic": "x86-64"}
# NOTE: generic_fma is left out: attention emits the same for it as for avx2.
OTHERS = [isa.name for isa in ISAS if isa.name in CPU_NAMES and isa is not host_isa()]


@pytest.mark.parametrize(
    "name", [isa.name for isa in ISAS if supported(isa) and isa.name in OTHERS]
)
def test_attention_is_right_with(name):
    folder = Path(__file__).parent
    suites = [str(folder / "test_attention.py"), str(folder / "test_rope.py")]
    compiler = {}
    if os.uname().machine == "x86_64":
        compiler = {"NUMBA_CPU_NAME": CPU_NAMES[name], "NUMBA_CPU_FEATURES": ""}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *suites],
        cwd=folder.parents[1],
        env={**os.environ, "LITE_CPU_ISA": name, **compiler},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout
