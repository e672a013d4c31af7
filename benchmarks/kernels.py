"""Matrix products on the CPU beside what the machine can do at best: reads and multiply-adds.

    python -m benchmarks.kernels --out benchmarks/results/kernels.json

Streaming shares are of a read probe that is interleaved with the measurements, since the memory
of a shared machine changes its pace within minutes; medians over --repeats.
"""

import argparse
import statistics
from collections.abc import Callable

import numpy as np

from benchmarks.report import write_result
from benchmarks.timing import seconds_of
from lite_kernels.cpu import CpuKernels
from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.last_level_cache import beyond_caches
from lite_kernels.cpu.probe import multiply_rate, read_bandwidth
from lite_kernels.cpu.topology import choose_threads
from lite_kernels.dtypes import QUANTIZATIONS

# Qwen3-0.6B: (in, out, whether gated) of one layer, and the head.
LAYER = [(1024, 4096, False), (2048, 1024, False), (1024, 3072, True), (3072, 1024, False)]
NUM_LAYERS = 28
HEAD = (1024, 151936, False)
ROWS = [1, 4, 8, 12, 16, 32, 64, 512]
STREAM_BYTES = 320 << 20  # or more, beyond the caches


class Model:
    """The linear layers of one decode step, over a bound number of rows."""

    def __init__(
        self, kernels: CpuKernels, weights: str, shapes: list[tuple[int, int, bool]]
    ) -> None:
        self._kernels = kernels
        self._linears = []
        dtype = np.uint16 if kernels.dtype == "bfloat16" else np.float32
        one = 0x3C00 if kernels.dtype == "bfloat16" else 1 / 128
        for k, n, is_gated in shapes:
            weight = np.full((n, k), one, dtype)
            quantization = weights if weights in QUANTIZATIONS else None
            if quantization and (k, n, is_gated) == HEAD:
                quantization = "int8"
            packed = (
                kernels.pack_gated_linear(weight, weight, quantization=quantization)
                if is_gated
                else kernels.pack_linear([weight], quantization=quantization)
            )
            self._linears.append((k, n, is_gated, packed))
        self.nbytes = sum(packed.nbytes for *_, packed in self._linears)
        self.num_weights = sum(
            k * n * (2 if is_gated else 1) for k, n, is_gated, _ in self._linears
        )

    def program(self, num_rows: int) -> Callable[[], None]:
        """Record every product for `num_rows` rows; the returned function runs them."""
        kernels = self._kernels
        with kernels.record() as program:
            for k, n, is_gated, packed in self._linears:
                if is_gated:
                    x = np.ones((num_rows, k), np.float32)
                    out = kernels.empty((num_rows, n), "act")
                    kernels.norm_gated_linear(x, np.ones(k, np.float32), 1e-6, packed, "silu", out)
                else:
                    act = kernels.empty((num_rows, k), "act")
                    act[:] = 0
                    kernels.linear_add(act, packed, np.zeros((num_rows, n), np.float32))
        return lambda: kernels.run(program)


def main() -> None:
    """Run the benchmark and write its figures."""
    args = _arguments()
    runs: dict[str, list[float]] = {}
    for num_threads in args.threads:
        for weights in args.weights:
            dtype = "float32" if weights == "float32" else "bfloat16"
            kernels = CpuKernels(dtype=dtype, num_threads=num_threads)
            _measure(kernels, weights, args, runs)
            kernels.close()
    figures = {name: statistics.median(values) for name, values in runs.items()}
    for name, value in figures.items():
        print(f"{name:44} {value:10.3f}")
    settings = vars(args) | {"isa": host_isa().name}
    write_result("kernels", {"settings": settings, "medians": figures, "runs": runs}, args.out)


def _measure(
    kernels: CpuKernels, weights: str, args: argparse.Namespace, runs: dict[str, list[float]]
) -> None:
    prefix = f"{weights}_{kernels.num_threads}t"
    k, n = args.shape
    quantization = weights if weights in QUANTIZATIONS else None
    nbytes = kernels.linear_nbytes(n, k, quantization)
    num_streamed = beyond_caches(STREAM_BYTES) // nbytes
    stream = Model(kernels, weights, [(k, n, False)] * max(2, num_streamed))
    resident = Model(kernels, weights, [(k, n, False)] * 2)
    products = {rows: (stream if rows <= 64 else resident) for rows in ROWS}
    programs = {rows: model.program(rows) for rows, model in products.items()}
    step = Model(kernels, weights, LAYER * NUM_LAYERS + [HEAD]) if args.model else None
    steps = {} if step is None else {rows: step.program(rows) for rows in (1, 8, 16, 32)}

    def add(name: str, value: float) -> None:
        runs.setdefault(f"{prefix}_{name}", []).append(value)

    for run in (*programs.values(), *steps.values()):
        run()
    for _ in range(args.repeats):
        bandwidth = read_bandwidth(kernels.num_threads)
        peak = multiply_rate(kernels.num_threads, dtype="int8" if quantization else weights)
        add("read_gb_s", bandwidth / 1e9)
        add("peak_gflop_s", peak / 1e9)
        for rows, run in programs.items():
            model = products[rows]
            seconds = seconds_of(run)
            rate = 2 * rows * model.num_weights / seconds
            add(f"m{rows}_gflop_s", rate / 1e9)
            if rows == 1:
                add("m1_share_of_read", model.nbytes / seconds / bandwidth)
            else:
                add(f"m{rows}_share_of_peak", rate / peak)
        for rows, run in steps.items():
            assert step is not None
            seconds = seconds_of(run)
            add(f"qwen3_0.6b_m{rows}_tok_s", rows / seconds)
            if rows == 1:
                add("qwen3_0.6b_m1_share_of_read", step.nbytes / seconds / bandwidth)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--threads", type=int, nargs="+", default=sorted({1, choose_threads().number})
    )
    parser.add_argument("--weights", nargs="+", default=["bfloat16", "float32", *QUANTIZATIONS])
    parser.add_argument("--shape", type=int, nargs=2, default=[2048, 8192], metavar=("K", "N"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--model", action="store_true", help="also Qwen3-0.6B's linear layers")
    parser.add_argument("--out", help="file for the JSON result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
