"""The checksum of stored bytes, at the pace of the memory; `reference.checksum` defines it."""

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, empty_aligned, store
from lite_kernels.cpu.kernel import kernel
from lite_kernels.cpu.program import Program, argument, share

_LINE = 64  # bytes between the results of two threads


@kernel()
def checksum_words(tid, num_threads, args):
    """Sum words times 1, 3, 5 ..; record: uint64 data, number of words, a result line a thread."""
    start, stop = share(argument(args, 1), tid, num_threads)
    words = array_at(argument(args, 0) + 8 * start, (stop - start,), np.uint64)
    first = np.uint64(2 * start + 1)
    total = np.uint64(0)
    for i in range(words.size):
        total += words[i] * (first + np.uint64(2) * np.uint64(i))
    store(argument(args, 2) + _LINE * tid, total, np.uint64)


def append_checksum(program: Program, words: np.ndarray, num_threads: int) -> np.ndarray:
    """Append the sum over uint64 `words`; returns uint64 [num_threads], parts of it after a run."""
    results = empty_aligned((num_threads, _LINE // 8), np.dtype(np.uint64))
    program.append(checksum_words, words, words.size, results)
    return results[:, 0]
