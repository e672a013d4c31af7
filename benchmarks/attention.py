"""Attention and sampling on the CPU: decode beside streaming reads, prefill beside the peak.

    python -m benchmarks.attention --out benchmarks/results/attention.json

Shares are of probes interleaved with the measurements, since the memory of a shared machine
changes its pace within minutes; medians over --repeats. Heads as in Qwen3-0.6B: 16 queries, 8
keys and values of 128, in blocks of 16 at random places.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.report import write_result
from benchmarks.timing import seconds_of
from lite_kernels.cpu import CpuKernels
from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.last_level_cache import beyond_caches
from lite_kernels.cpu.probe import multiply_rate, read_bandwidth
from lite_kernels.cpu.topology import choose_threads

NUM_HEADS, NUM_KV_HEADS, HEAD_DIM, BLOCK_SIZE = 16, 8, 128, 16
# (sequences, context): long, and as in a batch of short requests.
DECODES = [(1, 8192), (32, 160), (64, 160)]
PREFILLS = [512, 2048]
# Layers are read one after the other; together at least so much, and beyond the caches.
COLD_BYTES = 256 << 20
VOCAB_SIZE = 151_936
# temperature, top_k, top_p, min_p
SAMPLERS = {
    "greedy": (0.0, 0, 1.0, 0.0),
    "plain": (1.0, 0, 1.0, 0.0),
    "top_k_50": (1.0, 50, 1.0, 0.0),
    "top_p_0.9": (1.0, 0, 0.9, 0.0),
    "top_k_50_top_p_0.9": (1.0, 50, 0.9, 0.0),
    "min_p_0.05": (1.0, 0, 1.0, 0.05),
}


def _attention(
    kernels: CpuKernels,
    quantization: str | None,
    num_sequences: int,
    context: int,
    num_queries: int,
    num_layers: int = 1,
) -> tuple[Callable[[], None], int]:
    """Return a run of attention over random blocks and the bytes of its keys and values."""
    rng = np.random.default_rng(0)
    per_sequence = -(-context // BLOCK_SIZE)
    num_blocks = num_sequences * per_sequence
    layers = kernels.allocate_kv_cache(
        num_layers=num_layers,
        num_blocks=num_blocks,
        block_size=BLOCK_SIZE,
        num_kv_heads=NUM_KV_HEADS,
        head_dim=HEAD_DIM,
        quantization=quantization,
    )
    for kv in layers:
        if quantization is not None:
            # Bytes that make up a float32 of 0.008 too, for the scales.
            kv.data[:] = 0x3C
        else:
            kv.data[:] = 0x3C00 if kernels.dtype == "bfloat16" else 1 / 128
    tables = rng.permutation(num_blocks).reshape(num_sequences, per_sequence).astype(np.int32)
    q = kernels.empty((num_sequences * num_queries, NUM_HEADS, HEAD_DIM), "act")
    q[:] = 0x3C00 if kernels.dtype == "bfloat16" else 1 / 128
    out = kernels.empty((len(q), NUM_HEADS * HEAD_DIM), "act")
    seq_lens = np.full(num_sequences, context, np.int32)
    loc = np.arange(num_sequences + 1, dtype=np.int32) * num_queries
    with kernels.record() as program:
        for kv in layers:
            kernels.attention(q, kv, tables, seq_lens, loc, 0, out)
    return lambda: kernels.run(program), sum(kv.nbytes for kv in layers)


def _decode(
    kernels: CpuKernels, quantization: str | None, num_sequences: int, context: int
) -> tuple[Callable[[], None], int]:
    """Return a run of decodes over as many layers as no cache holds, and the bytes they read."""
    blocks = num_sequences * -(-context // BLOCK_SIZE)
    layer_bytes = blocks * kernels.kv_block_nbytes(
        block_size=BLOCK_SIZE,
        num_kv_heads=NUM_KV_HEADS,
        head_dim=HEAD_DIM,
        quantization=quantization,
    )
    num_layers = -(-beyond_caches(COLD_BYTES) // layer_bytes)
    return _attention(kernels, quantization, num_sequences, context, 1, num_layers)


def _sampling(kernels: CpuKernels, options: tuple[float, int, float, float]) -> Callable[[], None]:
    """Return a run that samples one row of logits that fall off as a language model's do."""
    rng = np.random.default_rng(0)
    ranks = rng.permutation(VOCAB_SIZE).astype(np.float32) + 1
    logits = (-1.2 * np.log(ranks) + 0.1 * rng.standard_normal(VOCAB_SIZE)).astype(np.float32)
    temperature, top_k, top_p, min_p = options
    arrays: list[Any] = [
        np.array([temperature], np.float32),
        np.array([top_k], np.int32),
        np.array([top_p], np.float32),
        np.array([min_p], np.float32),
        np.array([[1, 2]], np.uint32),
        np.array([3], np.uint32),
        np.empty(1, np.int32),
    ]
    return lambda: kernels.sample(logits[None], *arrays)


def _measure(kernels: CpuKernels, repeats: int, runs: dict[str, list[float]]) -> None:
    prefix = f"{kernels.dtype}_{kernels.num_threads}t"
    formats = {"": None, "int8_kv_": "int8"}
    decodes = {
        f"{name}decode_{num_sequences}x{context}": _decode(
            kernels, quantization, num_sequences, context
        )
        for num_sequences, context in DECODES
        for name, quantization in formats.items()
    }
    prefills = {
        (f"{name}prefill_{length}", length): _attention(kernels, kv, 1, length, length)[0]
        for length in PREFILLS
        for name, kv in formats.items()
    }
    samplers = {name: _sampling(kernels, options) for name, options in SAMPLERS.items()}

    def add(name: str, value: float) -> None:
        runs.setdefault(f"{prefix}_{name}", []).append(value)

    for run in (*(run for run, _ in decodes.values()), *prefills.values(), *samplers.values()):
        run()
    for _ in range(repeats):
        for name, (run, nbytes) in decodes.items():
            bandwidth = read_bandwidth(kernels.num_threads)
            rate = nbytes / seconds_of(run)
            add(f"{name}_gb_s", rate / 1e9)
            add(f"{name}_share_of_read", rate / bandwidth)
        peak = multiply_rate(kernels.num_threads, dtype=kernels.dtype)
        for (name, length), run in prefills.items():
            work = 4 * NUM_HEADS * HEAD_DIM * length * (length + 1) / 2
            rate = work / seconds_of(run)
            add(f"{name}_gflop_s", rate / 1e9)
            add(f"{name}_share_of_peak", rate / peak)
        for name, run in samplers.items():
            add(f"sample_{name}_us", 1e6 * seconds_of(run))


def main() -> None:
    """Run the benchmark and write its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--threads", type=int, nargs="+", default=sorted({1, choose_threads().number})
    )
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", help="file for the JSON result")
    args = parser.parse_args()
    runs: dict[str, list[float]] = {}
    for num_threads in args.threads:
        for dtype in args.dtypes:
            kernels = CpuKernels(dtype=dtype, num_threads=num_threads)
            _measure(kernels, args.repeats, runs)
            kernels.close()
    figures = {name: statistics.median(values) for name, values in runs.items()}
    for name, value in figures.items():
        print(f"{name:44} {value:10.3f}")
    settings = vars(args) | {"isa": host_isa().name}
    write_result("attention", {"settings": settings, "medians": figures, "runs": runs}, args.out)


if __name__ == "__main__":
    main()
