"""Attention and the rotary store with the other instruction sets, each in its own process."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import ir

from lite_kernels.cpu.attention_byte_tiles import ByteProducts
from lite_kernels.cpu.attention_emitter import V16I
from lite_kernels.cpu.isa import ISAS, host_isa, supported
from tests.kernels.cross_compiling import check_assembly, new_module

# The compiler is held to such a CPU too, else it would still use what this one has.
CPU_NAMES = {
    "avx512_vnni": "cascadelake",
    "avx512": "skylake-avx512",
    "avx_vnni": "alderlake",
    "avx2": "haswell",
    "generic": "x86-64",
}
# NOTE: generic_fma is left out: its products are those of generic, the rest that of avx2.
OTHERS = [isa.name for isa in ISAS if isa.name in CPU_NAMES and isa is not host_isa()]


_DIGEST = """
import hashlib, numpy as np, lite_kernels
from tests.kernels.paged_sequences import PagedSequences
digest = hashlib.sha256()
for dtype in ("bfloat16", "float32"):
    kernels = lite_kernels.load("cpu", dtype=dtype, num_threads=1)
    for shape in ((6, 2, 80), (2, 1, 34)):
        options = dict(zip(("num_heads", "num_kv_heads", "head_dim"), shape))
        sequences = PagedSequences(kernels, [1, 70, 150], quantization="int8", **options)
        for out in sequences.whole(window=100):
            digest.update(out.tobytes())
print(digest.hexdigest())
"""


def _environment(name):
    compiler = {}
    if os.uname().machine == "x86_64":
        compiler = {"NUMBA_CPU_NAME": CPU_NAMES[name], "NUMBA_CPU_FEATURES": ""}
    return {**os.environ, "LITE_CPU_ISA": name, **compiler}


def _digest(environment):
    result = subprocess.run(
        [sys.executable, "-c", _DIGEST],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return result.stdout


def test_a_cache_of_int8_gives_the_same_bits_on_every_isa_with_fma():
    names = [isa.name for isa in ISAS if supported(isa) and isa.name in OTHERS and isa.has_fma]
    if not host_isa().has_fma or not names:
        pytest.skip("this CPU has one instruction set with FMA at most")
    expected = _digest(os.environ)
    assert {name: _digest(_environment(name)) for name in names} == dict.fromkeys(names, expected)


@pytest.mark.parametrize(
    "name", [isa.name for isa in ISAS if supported(isa) and isa.name in OTHERS]
)
def test_attention_is_right_with(name):
    folder = Path(__file__).parent
    suites = [str(folder / "test_attention.py"), str(folder / "test_rope.py")]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *suites],
        cwd=folder.parents[1],
        env=_environment(name),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
def test_products_of_int8_keys_compile_to_the_instructions_of(isa):
    module = new_module(isa)
    function = ir.Function(module, ir.FunctionType(V16I, [V16I] * 3), "products")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    wide = dataclasses.replace(isa, lanes=16)
    builder.ret(ByteProducts(builder, wide, native=isa).products(*function.args))
    others = {"avx512": "vpmaddwd", "avx2": "vpmaddwd", "generic": "pmaddwd"}
    check_assembly(module, isa, others.get(isa.name))
