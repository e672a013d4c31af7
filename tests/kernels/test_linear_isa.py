"""The suite of linear layers with every instruction set this CPU has, each in its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lite_kernels.cpu.isa import ISAS, host_isa, supported

# NOTE: with avx512_vnni and avx_vnni floats are multiplied as with avx512 and avx2.
OTHERS = [isa for isa in ISAS if not isa.name.endswith("_vnni") and isa is not host_isa()]


@pytest.mark.parametrize("name", [isa.name for isa in OTHERS if supported(isa)])
def test_linear_layers_are_right_with(name):
    suite = Path(__file__).with_name("test_linear.py")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(suite)],
        cwd=suite.parents[2],
        env={**os.environ, "LITE_CPU_ISA": name},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout
