"""Quantized linears with every instruction set, and what the compiler makes of each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lite_kernels.cpu.isa import ISAS, host_isa, supported
from lite_kernels.cpu.isa.multiply import define_tile, max_rows
from lite_kernels.cpu.isa.panel import INT4, INT8
from tests.kernels.cross_compiling import check_assembly, new_module

# The compiler is held to such a CPU too, else it would still use what this one has.
CPU_NAMES = {
    "avx512_vnni": "icelake-server",
    "avx512": "skylake-avx512",
    "avx_vnni": "alderlake",
    "avx2": "haswell",
    "generic_fma": "x86-64+fma",
    "generic": "x86-64",
}
OTHERS = [isa for isa in ISAS if isa.name in CPU_NAMES and isa is not host_isa()]


@pytest.mark.parametrize("name", [isa.name for isa in OTHERS if supported(isa)])
def test_quantized_linears_are_right_with(name):
    suite = Path(__file__).with_name("test_quantized.py")
    compiler = {}
    if os.uname().machine == "x86_64":
        cpu, _, feature = CPU_NAMES[name].partition("+")
        compiler = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": feature and f"+{feature}"}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(suite)],
        cwd=suite.parents[2],
        env={**os.environ, "LITE_CPU_ISA": name, **compiler},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout


@pytest.mark.parametrize("panel", [INT8, INT4], ids=lambda panel: panel.name)
@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
def test_the_micro_kernel_compiles_to_the_instructions_of(isa, panel):
    module = new_module(isa)
    for rows in (1, max_rows(isa, panel)):
        function = define_tile(module, isa, panel, rows, True)
        function.linkage = "external"
    check_assembly(module, isa)
