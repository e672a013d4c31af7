"""Programs: sequences of kernel calls over fixed arrays, recorded once and run many times.

A record is what a kernel receives: one cache line with the counters of `next_ticket` and
`next_range`, then one int64 word per argument: an address, an integer, or a float32's bits.
"""

import contextlib
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa.memory import atomic_add, atomic_store, empty_aligned
from lite_kernels.cpu.kernel import Kernel, jit

if TYPE_CHECKING:
    from lite_kernels.cpu.team import Team

_LINE = 8  # int64 words a cache line


@intrinsic
def argument(typingctx, args, index):
    """Return word `index` of a record: an address or an integer.

    PERF: an intrinsic, because a function is compiled anew for every literal index.
    """
    return types.int64(types.int64, types.int64), _load_word


@intrinsic
def float_argument(typingctx, args, index):
    """Return word `index` of a record as the float32 it was appended as."""
    return types.float32(types.int64, types.int64), _load_word


def _load_word(context, builder, signature, args):
    offset = builder.mul(args[1], ir.Constant(args[1].type, 8))
    first = builder.add(args[0], ir.Constant(args[0].type, 8 * _LINE))
    word_type = context.get_value_type(signature.return_type)
    return builder.load(builder.inttoptr(builder.add(first, offset), word_type.as_pointer()))


@jit
def next_ticket(args, num_threads, count):
    """Hand out 0 .. count - 1 once each over all threads, then -1 to every thread.

    A kernel that uses tickets must call this until it gets -1, in every thread: the last -1
    resets the counter for the next run.
    """
    ticket = atomic_add(args, 1)
    if ticket < count:
        return ticket
    if ticket == count + num_threads - 1:
        atomic_store(args, 0)
    return -1


@jit
def next_range(args, num_threads, count):
    """Hand out range(count) in contiguous (start, stop) pieces, large ones first, then (n, n).

    Three quarters of what is left go to the threads in equal pieces, again and again. Like
    tickets, a kernel must call this until the range is empty, in every thread.
    PERF: neighbouring panels read by two threads at once cost 20 % of the memory bandwidth.
    """
    ticket = atomic_add(args, 1)
    start = 0
    while start < count:
        size = max((count - start) * 3 // (4 * num_threads), 1)
        if ticket < num_threads:
            start = start + ticket * size
            if start < count:
                return start, min(start + size, count)
        ticket -= num_threads
        start += num_threads * size
    if atomic_add(args + 8, 1) == num_threads - 1:
        atomic_store(args, 0)
        atomic_store(args + 8, 0)
    return count, count


@jit
def share(count, tid, num_threads):
    """Split range(count) evenly; return this thread's (start, stop)."""
    return count * tid // num_threads, count * (tid + 1) // num_threads


class Program:
    """Entries (kernel address, record address) and everything they refer to."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._entries: list[tuple[int, int]] = []
        self._kept: list[object] = []
        self._memory: np.ndarray | None = None
        self.address = 0
        self.num_entries = 0
        self.kernel_names: list[str] = []  # of each entry

    def append(self, kernel: Kernel, *values: np.ndarray | int | float | None) -> None:
        """Append a call. Arrays are kept alive; None is address 0; floats become float32 bits."""
        assert self._memory is None, "the program is finished"
        self._entries.append((kernel.address, len(self._words)))
        self.kernel_names.append(kernel.__name__)
        words = self._words
        words.extend([0] * _LINE)
        for value in values:
            if isinstance(value, np.ndarray):
                self._kept.append(value)
                words.append(value.ctypes.data)
            elif isinstance(value, float):
                words.append(struct.unpack("<I", struct.pack("<f", value))[0])
            else:
                words.append(0 if value is None else int(value))
        words.extend([0] * (-len(words) % _LINE))

    def keep(self, *objects: object) -> None:
        """Keep objects alive as long as the program."""
        self._kept.extend(objects)

    def finish(self) -> None:
        """Lay the records out in memory; nothing can be appended afterwards."""
        num_words = len(self._words)
        memory = empty_aligned((num_words + 2 * len(self._entries),), np.int64)
        memory[:num_words] = self._words
        base = memory.ctypes.data
        entries = memory[num_words:].reshape(-1, 2)
        for index, (function, offset) in enumerate(self._entries):
            entries[index] = function, base + 8 * offset
        self._memory = memory
        self.address = base + 8 * num_words
        self.num_entries = len(self._entries)
        self._words = []
        self._entries = []


class Recorder:
    """Gives each operation the program it appends to; executes it unless one is recorded."""

    def __init__(self, team: "Team") -> None:
        self._team = team
        self._program: Program | None = None

    @contextlib.contextmanager
    def record(self) -> Iterator[Program]:
        """Collect the operations called inside; the program is ready after the block."""
        if self._program is not None:
            raise RuntimeError("a program is already being recorded; leave its block first")
        program = self._program = Program()
        try:
            yield program
        finally:
            self._program = None
        program.finish()

    @contextlib.contextmanager
    def operation(self) -> Iterator[Program]:
        """The program being recorded, or one that runs once when the block ends."""
        if self._program is not None:
            yield self._program
            return
        with self.at_once() as program:
            yield program

    @contextlib.contextmanager
    def at_once(self) -> Iterator[Program]:
        """A program that runs once when the block ends, recording or not."""
        program = Program()
        yield program
        program.finish()
        self._team.run(program)
