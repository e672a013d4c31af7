"""What this machine can do at best: streaming reads and multiply-adds, to measure against."""

import time

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.memory import array_at, empty_aligned, store
from lite_kernels.cpu.kernel import kernel
from lite_kernels.cpu.last_level_cache import beyond_caches
from lite_kernels.cpu.program import Program, argument, share
from lite_kernels.cpu.team import Team
from lite_kernels.cpu.topology import available_cores


@kernel()
def _read(tid, num_threads, args):
    """Combine all words of an array; record: data, number of uint32, one result line a thread."""
    start, stop = share(argument(args, 1) // 1024, tid, num_threads)
    words = array_at(argument(args, 0) + start * 4096, (stop - start) * 1024, np.uint32)
    combined = np.uint32(0)
    for i in range(words.size):
        combined ^= words[i]
    store(argument(args, 2) + 64 * tid, combined, np.uint32)


@intrinsic
def _multiply_add(typingctx, dtype, count, out):
    """Run `count` rounds of independent multiply-adds on registers; store their sums."""
    dtype_ = dtype.dtype

    def codegen(context, builder, signature, args):
        emitter = Emitter(builder, host_isa())
        lanes = emitter.isa.lanes
        half = ir.Constant(emitter.floats, [0.5] * lanes)
        ones = ir.Constant(emitter.ints, [0x01010101] * lanes)

        def body(index, sums):
            if dtype_ == types.uint16:
                return [emitter.dot_pairs(half, half, value) for value in sums]
            if dtype_ == types.int8:
                return [emitter.dot_quads(ones, ones, value) for value in sums]
            return [emitter.multiply_add(value, half, half) for value in sums]

        is_integer = dtype_ == types.int8
        start = [
            ir.Constant(
                emitter.ints if is_integer else emitter.floats,
                [chain if is_integer else float(chain)] * lanes,
            )
            for chain in range(emitter.isa.num_accumulators)
        ]
        sums = emitter.loop(args[1], start, body)
        for chain, value in enumerate(sums):
            where = emitter.offset(args[2], chain * 4 * emitter.isa.lanes)
            emitter.store(value, where, 4)
        return context.get_dummy_value()

    return types.void(dtype, types.int64, types.int64), codegen


@kernel()
def _multiply_bfloat16(tid, num_threads, args):
    _multiply_add(np.uint16, argument(args, 0), argument(args, 1) + 2048 * tid)


@kernel()
def _multiply_int8(tid, num_threads, args):
    _multiply_add(np.int8, argument(args, 0), argument(args, 1) + 2048 * tid)


@kernel()
def _multiply_float32(tid, num_threads, args):
    _multiply_add(np.float32, argument(args, 0), argument(args, 1) + 2048 * tid)


def read_bandwidth(num_threads: int | None = None, *, nbytes: int | None = None) -> float:
    """Return bytes a second of linear reads from memory; the best of three passes.

    Args:
        num_threads: None for one per core available to the process.
        nbytes: a multiple of 4096; None for 256 MiB, or more on machines with large caches.
    """
    num_threads = num_threads or available_cores()
    nbytes = nbytes or beyond_caches(256 << 20)
    data = np.ones(nbytes // 4, np.uint32)
    results = empty_aligned((16 * num_threads,), np.uint32)
    program = Program()
    program.append(_read, data, data.size, results)
    program.finish()
    return nbytes / _best_time(program, num_threads)


def multiply_rate(num_threads: int | None = None, *, dtype: str = "bfloat16") -> float:
    """Return the peak of multiply-adds in operations/s, two each; the best of three passes.

    Args:
        num_threads: None for one per core available to the process.
        dtype: "bfloat16", "float32", or "int8". An ISA that lacks the products of one is
            measured with those of float32, which stand in for them.
    """
    num_threads = num_threads or available_cores()
    isa = host_isa()
    count = 2_000_000
    results = empty_aligned((512 * num_threads,), np.float32)
    kernel, products = _multiply_float32, 1
    if dtype == "bfloat16" and isa.has_dpbf16:
        kernel, products = _multiply_bfloat16, 2
    elif dtype == "int8" and isa.byte_products in ("vnni", "sdot"):
        kernel, products = _multiply_int8, 4
    program = Program()
    program.append(kernel, count, results)
    program.finish()
    operations = 2 * products * count * isa.num_accumulators * isa.lanes * num_threads
    return operations / _best_time(program, num_threads)


def _best_time(program: Program, num_threads: int) -> float:
    team = Team(num_threads)
    try:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            team.run(program)
            times.append(time.perf_counter() - start)
        return min(times)
    finally:
        team.close()
