"""Quantized linears with every instruction set, and what the compiler makes of each."""

import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from lite_kernels.cpu.isa import ISAS, host_isa, supported
from lite_kernels.cpu.isa.multiply import define_tile, max_rows
from lite_kernels.cpu.isa.panel import INT4, INT8

# The compiler is held to such a CPU too, else it would still use what this one has.
CPU_NAMES = {
    "avx512_vnni": "icelake-server",
    "avx512": "skylake-avx512",
    "avx_vnni": "alderlake",
    "avx2": "haswell",
    "generic_fma": "x86-64+fma",
    "generic": "x86-64",
}
# Triple, CPU, and the instruction that carries the products.
TARGETS = {
    "avx512_bf16": ("x86_64-unknown-linux-gnu", "sapphirerapids", "vpdpbusd"),
    "avx512_vnni": ("x86_64-unknown-linux-gnu", "icelake-server", "vpdpbusd"),
    "avx512": ("x86_64-unknown-linux-gnu", "skylake-avx512", "vpmaddubsw"),
    "avx_vnni": ("x86_64-unknown-linux-gnu", "alderlake", "vpdpbusd"),
    "avx2": ("x86_64-unknown-linux-gnu", "haswell", "vpmaddubsw"),
    "neon_dotprod": ("aarch64-unknown-linux-gnu", "neoverse-n1", "sdot"),
    "generic_fma": ("aarch64-unknown-linux-gnu", "generic", "mla"),
    "generic": ("x86_64-unknown-linux-gnu", "x86-64", "pmullw"),
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
    triple, cpu, instruction = TARGETS[isa.name]
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this LLVM has no target {triple}")
    module = ir.Module()
    module.triple = triple
    for rows in (1, max_rows(isa, panel)):
        function = define_tile(module, isa, panel, rows, True)
        function.linkage = "external"
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    machine = target.create_target_machine(cpu=cpu, opt=3)
    assembly = machine.emit_assembly(parsed)
    assert instruction in assembly
    assert "call" not in assembly
