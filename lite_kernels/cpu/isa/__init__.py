"""Instruction sets: which one this process uses, and the LLVM IR emitter for it."""

import functools
import os
from dataclasses import dataclass
from typing import Literal

import llvmlite.binding as llvm

# vpdpbusd; NEON's sdot; vpmaddubsw; multiplications of 16 bit values.
ByteProducts = Literal["vnni", "sdot", "maddubs", "multiply"]


@dataclass(frozen=True, slots=True)
class Isa:
    """What the micro-kernels may use.

    `lanes` float32 values a vector; `has_dpbf16` the bfloat16 pair product (else shift and FMA);
    `has_fma` fused multiply-add (else a product and a sum); `byte_products` how bytes are
    multiplied; `num_accumulators` vectors of accumulators that leave enough registers for
    everything else.
    """

    name: str
    lanes: int
    num_accumulators: int
    has_fma: bool
    has_dpbf16: bool
    byte_products: ByteProducts
    requires: tuple[str, ...]

    @property
    def max_rows(self) -> int:
        """Rows of one tile: two accumulator vectors each."""
        return self.num_accumulators // 2


_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl")
_AVX2 = ("avx2", "fma", "f16c")
# Best first.
ISAS = (
    Isa("avx512_bf16", 16, 24, True, True, "vnni", (*_AVX512, "avx512bf16", "avx512vnni")),
    Isa("avx512_vnni", 16, 24, True, False, "vnni", (*_AVX512, "avx512vnni")),
    Isa("avx512", 16, 24, True, False, "maddubs", _AVX512),
    Isa("avx_vnni", 8, 12, True, False, "vnni", (*_AVX2, "avxvnni")),
    Isa("avx2", 8, 12, True, False, "maddubs", _AVX2),
    Isa("neon_dotprod", 4, 24, True, False, "sdot", ("neon", "dotprod")),
    Isa("generic_fma", 4, 12, True, False, "multiply", ("fma",)),
    Isa("generic", 4, 12, False, False, "multiply", ()),
)


def supported(isa: Isa) -> bool:
    """Whether this CPU can execute `isa`."""
    features = llvm.get_host_cpu_features()
    if isa.name == "generic_fma" and llvm.get_process_triple().startswith(("aarch64", "arm64")):
        return True
    # The bfloat16 intrinsic takes other types in older compilers.
    if isa.has_dpbf16 and llvm.llvm_version_info[0] < 17:
        return False
    return all(features.get(name, False) for name in isa.requires)


@functools.cache
def host_isa() -> Isa:
    """Return the ISA of this process: the CPU's best, or the one `LITE_CPU_ISA` names.

    Raises:
        ValueError: `LITE_CPU_ISA` is unknown or more than the CPU has.
    """
    available = [isa for isa in ISAS if supported(isa)]
    wanted = os.environ.get("LITE_CPU_ISA")
    if not wanted:
        return available[0]
    for isa in available:
        if isa.name == wanted:
            return isa
    names = ", ".join(isa.name for isa in available)
    raise ValueError(f"LITE_CPU_ISA={wanted!r} is not available on this CPU; choose one of {names}")
