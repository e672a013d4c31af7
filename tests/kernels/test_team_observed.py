"""Timed runs of a team: what an observer is told about each entry."""

import time

import numpy as np
import pytest

from lite_kernels.cpu import CpuKernels
from lite_kernels.cpu.isa.memory import array_at, cpu_pause, monotonic_ns
from lite_kernels.cpu.kernel import kernel
from lite_kernels.cpu.program import Program, argument
from lite_kernels.cpu.team import Team
from lite_kernels.interface import ObservableKernels


@kernel()
def linger(tid, num_threads, args):
    """Thread `tid` waits 1 ms if it is the one named; record: which thread, counts [threads]."""
    array_at(argument(args, 1), num_threads, np.int64)[tid] += 1
    end = monotonic_ns() + 1_000_000
    while tid == argument(args, 0) and monotonic_ns() < end:
        cpu_pause()


def program_of(*who: int, counts: np.ndarray) -> Program:
    program = Program()
    for tid in who:
        program.append(linger, tid, counts)
    program.finish()
    return program


@pytest.fixture(params=[1, 2, 3])
def team(request):
    team = Team(request.param)
    yield team
    team.close()


def test_every_entry_is_timed_until_all_threads_have_ended_it(team):
    nobody, last = team.num_threads, team.num_threads - 1
    counts = np.zeros(team.num_threads, np.int64)
    program = program_of(nobody, last, nobody, counts=counts)
    seen = []
    team.observe_runs(lambda *run: seen.append(run))
    before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    team.run(program)
    after_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    ((which, clock_ns),) = seen
    assert which is program
    assert which.kernel_names == ["linger"] * 3
    assert clock_ns.shape == (2 + 3,)
    assert (np.diff([before_ns, *clock_ns, after_ns]) >= 0).all()
    assert clock_ns[3] - clock_ns[2] >= 1_000_000
    assert (counts == 3).all()


def test_observed_runs_do_the_same_work_and_leave_the_next_ones_alone(team):
    counts = np.zeros(team.num_threads, np.int64)
    program = program_of(-1, -1, counts=counts)
    seen = []
    for _ in range(50):
        team.observe_runs(lambda *run: seen.append(run))
        team.run(program)
        team.observe_runs(None)
        team.run(program)
    assert len(seen) == 50
    assert (counts == 200).all()


def test_an_observer_may_run_programs_itself():
    team = Team(2)
    counts = np.zeros(2, np.int64)
    program = program_of(-1, counts=counts)
    seen = []

    def observe(which, clock_ns):
        seen.append(clock_ns)
        if len(seen) < 3:
            team.run(which)

    team.observe_runs(observe)
    team.run(program)
    assert len(seen) == 3
    assert (counts == 3).all()
    team.close()


def test_recorded_operations_and_those_at_once_are_both_observed():
    kernels = CpuKernels(dtype="float32", num_threads=2)
    assert isinstance(kernels, ObservableKernels)
    table, ids = np.ones((4, 8), np.float32), np.zeros(2, np.int32)
    out = kernels.empty((2, 8), "float32")
    with kernels.record() as recorded:
        kernels.embed(ids, table, out)
        assert recorded.kernel_names == ["embed_float32"]
    seen = []
    kernels.observe_runs(lambda program, _clock_ns: seen.append(program))
    kernels.embed(ids, table, out)
    kernels.run(recorded)
    assert [program.kernel_names for program in seen] == [["embed_float32"]] * 2
    assert seen[1] is recorded
    kernels.close()
