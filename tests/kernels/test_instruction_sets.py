"""The kernels with every instruction set: those of this CPU run, all are compiled."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import ir

from lite_kernels.cpu.attention_byte_tiles import ByteProducts
from lite_kernels.cpu.attention_emitter import V16I
from lite_kernels.cpu.isa import ISAS, host_isa
from lite_kernels.cpu.isa.multiply import define_tile, max_rows
from lite_kernels.cpu.isa.panel import INT4, INT8
from tests.instruction_sets import OTHERS, environment, run_tests
from tests.kernels.cross_compiling import check_assembly, new_module

BYTES_ONLY = ("avx512_vnni", "avx_vnni")  # floats are multiplied as with avx512 and avx2

DIGEST = """
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


@pytest.mark.timeout(600)
@pytest.mark.parametrize("isa", OTHERS, ids=lambda isa: isa.name)
def test_kernels_are_right_with(isa):
    suites = ["test_quantized.py", "test_attention.py", "test_rope.py"]
    if isa.name not in BYTES_ONLY:
        suites.append("test_linear.py")
    run_tests(isa.name, [Path(__file__).with_name(suite) for suite in suites])


def test_a_cache_of_int8_gives_the_same_bits_on_every_isa_with_fma():
    names = [isa.name for isa in OTHERS if isa.has_fma]
    if not host_isa().has_fma or not names:
        pytest.skip("this CPU has one instruction set with FMA at most")
    expected = _digest(dict(os.environ))
    assert {name: _digest(environment(name)) for name in names} == dict.fromkeys(names, expected)


def _digest(variables):
    result = subprocess.run(
        [sys.executable, "-c", DIGEST],
        cwd=Path(__file__).parents[2],
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return result.stdout


@pytest.mark.parametrize("panel", [INT8, INT4], ids=lambda panel: panel.name)
@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
def test_the_micro_kernel_compiles_to_the_instructions_of(isa, panel):
    module = new_module(isa)
    for rows in (1, max_rows(isa, panel)):
        function = define_tile(module, isa, panel, rows, True)
        function.linkage = "external"
    check_assembly(module, isa)


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
def test_products_of_int8_keys_compile_to_the_instructions_of(isa):
    module = new_module(isa)
    function = ir.Function(module, ir.FunctionType(V16I, [V16I] * 3), "products")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    wide = dataclasses.replace(isa, lanes=16)
    builder.ret(ByteProducts(builder, wide, native=isa).products(*function.args))
    others = {"avx512": "vpmaddwd", "avx2": "vpmaddwd", "generic": "pmaddwd"}
    check_assembly(module, isa, others.get(isa.name))
