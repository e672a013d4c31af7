"""Compiles emitted LLVM IR for CPUs that this machine need not have."""

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from lite_kernels.cpu.isa import Isa

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


def new_module(isa: Isa) -> ir.Module:
    """Return an empty module for a CPU of the instruction set."""
    module = ir.Module()
    module.triple = TARGETS[isa.name][0]
    return module


def check_assembly(module: ir.Module, isa: Isa, instruction: str | None = None) -> None:
    """Compile, and see that the instruction that makes the products is used and nothing called."""
    triple, cpu, products = TARGETS[isa.name]
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this LLVM has no target {triple}")
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    assembly = target.create_target_machine(cpu=cpu, opt=3).emit_assembly(parsed)
    assert (instruction or products) in assembly
    assert "call" not in assembly
