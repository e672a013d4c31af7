"""A team of threads that execute programs together, entry after entry, without the GIL.

Workers are Python threads that live in one native call: they sleep on a condition variable
between runs (no CPU, no GIL) and meet at an atomic barrier after each entry.
"""

import os
import threading
import time
import weakref

import numpy as np

from lite_kernels.cpu.isa.memory import (
    atomic_add,
    atomic_load,
    atomic_store,
    call_kernel,
    condition_broadcast,
    condition_init,
    condition_wait,
    cpu_pause,
    empty_aligned,
    load,
    monotonic_ns,
    mutex_init,
    mutex_lock,
    mutex_unlock,
    sched_yield,
    store,
)
from lite_kernels.cpu.kernel import jit, kernel
from lite_kernels.cpu.program import Program
from lite_kernels.interface import RunObserver

# Byte offsets in the team's state, each hot word on a cache line of its own.
_ARRIVED = 0
_GENERATION = 64
_RUN = 128
_STOPPED = 136
_ENTRIES = 144
_NUM_ENTRIES = 152
_TIMES = 160
_MUTEX = 192
_CONDITION = 320
_STATE_BYTES = 448

_SPINS = 200
_MAX_THREADS = 1024  # more than that is a slip
_LAST_RUN_S = 2.0  # how long a process that ends waits for the program that runs
_FEW_ENTRIES = 512  # of a profiled program; more take a larger array


@jit
def _wait_for_all(state, num_threads, time):
    """Barrier: spin a little, then give the core away between looks.

    The last thread to arrive stores the time at the address `time`, unless that is 0.
    """
    generation = atomic_load(state + _GENERATION)
    if atomic_add(state + _ARRIVED, 1) == num_threads - 1:
        if time != 0:
            store(time, monotonic_ns(), np.int64)
        atomic_store(state + _ARRIVED, 0)
        atomic_store(state + _GENERATION, generation + 1)
        return
    spins = 0
    while atomic_load(state + _GENERATION) == generation:
        if spins < _SPINS:
            spins += 1
            cpu_pause()
        else:
            sched_yield()


@jit
def _execute(tid, num_threads, state):
    entries = load(state + _ENTRIES, np.int64)
    end = entries + 16 * load(state + _NUM_ENTRIES, np.int64)
    times = load(state + _TIMES, np.int64)
    if times != 0:
        _execute_timed(tid, num_threads, state, entries, end, times)
        return
    while entries < end:
        function = load(entries, np.int64)
        call_kernel(function, tid, num_threads, load(entries + 8, np.int64))
        entries += 16
        if num_threads > 1:
            _wait_for_all(state, num_threads, 0)


@jit
def _execute_timed(tid, num_threads, state, entries, end, times):
    """As `_execute`, noting when the threads were awake and when each entry had ended."""
    if tid == 0:
        store(times + 8, monotonic_ns(), np.int64)
    times += 16
    while entries < end:
        function = load(entries, np.int64)
        call_kernel(function, tid, num_threads, load(entries + 8, np.int64))
        entries += 16
        _wait_for_all(state, num_threads, times)
        times += 8


@kernel()
def _initialise(tid, num_threads, state):
    mutex_init(state + _MUTEX, 0)
    condition_init(state + _CONDITION, 0)


@kernel()
def _lead(tid, num_threads, state):
    """Wake the workers and execute the program in `state` as thread 0.

    Does nothing, also to `_RUN`, if the team was stopped meanwhile.
    """
    times = load(state + _TIMES, np.int64)
    if times != 0:
        store(times, monotonic_ns(), np.int64)
    mutex_lock(state + _MUTEX)
    stopped = load(state + _STOPPED, np.int64)
    if stopped == 0:
        store(state + _RUN, load(state + _RUN, np.int64) + 1, np.int64)
        condition_broadcast(state + _CONDITION)
    mutex_unlock(state + _MUTEX)
    if stopped != 0:
        return
    _execute(tid, num_threads, state)


@kernel()
def _follow(tid, num_threads, state):
    """Execute every program until the team stops."""
    run = 0
    while True:
        mutex_lock(state + _MUTEX)
        # NOTE: atomic loads, so that the compiler rereads them after each wake-up.
        while atomic_load(state + _RUN) == run and atomic_load(state + _STOPPED) == 0:
            condition_wait(state + _CONDITION, state + _MUTEX)
        latest = atomic_load(state + _RUN)
        mutex_unlock(state + _MUTEX)
        if latest == run:
            return
        # Also when the team was stopped meanwhile: the others wait for this thread.
        run = latest
        _execute(tid, num_threads, state)


@kernel()
def _dismiss(tid, num_threads, state):
    mutex_lock(state + _MUTEX)
    store(state + _STOPPED, 1, np.int64)
    condition_broadcast(state + _CONDITION)
    mutex_unlock(state + _MUTEX)


def _close(state: np.ndarray, threads: list[threading.Thread], owner: int) -> None:
    if os.getpid() != owner:
        return
    _dismiss.ctypes(0, 1, state.ctypes.data)
    deadline_s = time.monotonic() + _LAST_RUN_S
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))


class Team:
    """`num_threads` threads, the caller included.

    Runs are serialised. Not usable after a fork: threads do not survive it.

    Raises:
        ValueError: fewer than 1, more than 1024, or more than the system starts.
    """

    def __init__(self, num_threads: int) -> None:
        if not 1 <= num_threads <= _MAX_THREADS:
            raise ValueError(
                f"num_threads (or OMP_NUM_THREADS) is {num_threads}; it must be from 1 to "
                f"{_MAX_THREADS}"
            )
        self.num_threads = num_threads
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._state = empty_aligned((_STATE_BYTES // 8,), np.dtype(np.int64))
        self._state[:] = 0
        self._address = self._state.ctypes.data
        self._lead = _lead.ctypes
        self._observer: RunObserver | None = None
        self._clock_ns = np.empty(0, np.int64)
        _initialise.ctypes(0, 1, self._address)
        _ = _dismiss.address  # there may be no memory to load it where threads cannot be started
        # Those of them that started are stopped, also where one could not.
        started: list[threading.Thread] = []
        self._finalizer = weakref.finalize(self, _close, self._state, started, self._owner)
        for tid in range(1, num_threads):
            thread = threading.Thread(
                target=_follow.ctypes,
                args=(tid, num_threads, self._address),
                name=f"lite-kernel-{tid}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:
                self._finalizer()
                raise ValueError(
                    f"num_threads is {num_threads}, but the system starts no more than {tid} of "
                    "them; set num_threads or OMP_NUM_THREADS to less, or raise the limit "
                    "(ulimit -u, pids.max of the cgroup)"
                ) from None
            started.append(thread)

    def run(self, program: Program) -> None:
        """Execute every entry of a finished program on all threads; return when all are done."""
        if os.getpid() != self._owner:
            raise RuntimeError(
                "kernel threads do not survive a fork; load the kernels in the child"
            )
        assert program.address, "the program is still being recorded"
        with self._lock:
            self._state[_ENTRIES // 8] = program.address
            self._state[_NUM_ENTRIES // 8] = program.num_entries
            observer = self._observer
            if observer is None:
                self._run()
                return
            size = program.num_entries + 2
            if self._clock_ns.size < size:
                self._clock_ns = np.empty(size, np.int64)
                self._state[_TIMES // 8] = self._clock_ns.ctypes.data
            self._run()
            clock_ns = self._clock_ns[:size].copy()
        observer(program, clock_ns)

    def _run(self) -> None:
        runs = self._state[_RUN // 8]
        self._lead(0, self.num_threads, self._address)
        if self._state[_RUN // 8] == runs:
            raise RuntimeError("the kernels are closed; load them again")

    def observe_runs(self, observer: RunObserver | None) -> None:
        """Call `observer` after each run, see `ObservableKernels`; None: no longer."""
        with self._lock:
            self._observer = observer
            self._clock_ns = np.empty(0 if observer is None else _FEW_ENTRIES, np.int64)
            self._state[_TIMES // 8] = self._clock_ns.ctypes.data if self._clock_ns.size else 0

    def close(self) -> None:
        """Stop and join the threads; idempotent."""
        with self._lock:
            self._finalizer()
