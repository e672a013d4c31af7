"""The team of threads: programs, barriers, work distribution, life and death."""

import contextlib
import multiprocessing
import os
import threading
import time

import numpy as np
import pytest

from lite_kernels.cpu.isa.memory import array_at, atomic_add
from lite_kernels.cpu.kernel import kernel
from lite_kernels.cpu.program import (
    Program,
    Recorder,
    argument,
    float_argument,
    next_range,
    next_ticket,
    share,
)
from lite_kernels.cpu.team import Team


@kernel()
def add_to_all(tid, num_threads, args):
    values = array_at(argument(args, 0), argument(args, 1), np.float32)
    start, stop = share(values.size, tid, num_threads)
    for i in range(start, stop):
        values[i] += float_argument(args, 2)


@kernel()
def copy_reversed(tid, num_threads, args):
    n = argument(args, 2)
    source = array_at(argument(args, 0), n, np.float32)
    target = array_at(argument(args, 1), n, np.float32)
    start, stop = share(n, tid, num_threads)
    for i in range(start, stop):
        target[i] = source[n - 1 - i]


@kernel()
def count_tickets(tid, num_threads, args):
    counts = array_at(argument(args, 0), argument(args, 1), np.int64)
    ticket = next_ticket(args, num_threads, counts.size)
    while ticket >= 0:
        counts[ticket] += 1
        ticket = next_ticket(args, num_threads, counts.size)


@kernel()
def count_ranges(tid, num_threads, args):
    counts = array_at(argument(args, 0), argument(args, 1), np.int64)
    start, stop = next_range(args, num_threads, counts.size)
    while start < counts.size:
        for i in range(start, stop):
            counts[i] += 1
        start, stop = next_range(args, num_threads, counts.size)


@kernel()
def count_threads(tid, num_threads, args):
    atomic_add(argument(args, 0) + 8 * tid, 1)


@pytest.fixture(params=[1, 2, 3])
def team(request):
    team = Team(request.param)
    yield team
    team.close()


def make_program(*entries):
    program = Program()
    for entry in entries:
        program.append(*entry)
    program.finish()
    return program


def test_a_program_can_be_run_again_and_again(team):
    values = np.zeros(1000, np.float32)
    program = make_program((add_to_all, values, values.size, 0.5))
    for _ in range(200):
        team.run(program)
    assert (values == 100).all()


def test_an_entry_sees_everything_the_one_before_wrote(team):
    first, second = np.arange(5000, dtype=np.float32), np.zeros(5000, np.float32)
    expected = first.copy()
    program = make_program(
        *[(add_to_all, first, first.size, 1.0), (copy_reversed, first, second, first.size)] * 2,
        (copy_reversed, second, first, first.size),
    )
    for _ in range(50):
        team.run(program)
        expected += 2
    assert np.array_equal(first, expected)


def test_every_thread_takes_part_in_every_entry(team):
    calls = np.zeros(3, np.int64)
    team.run(make_program(*[(count_threads, calls)] * 7))
    assert calls.tolist() == [7] * team.num_threads + [0] * (3 - team.num_threads)


@pytest.mark.parametrize("counter", [count_tickets, count_ranges])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 128, 1001])
def test_work_is_handed_out_exactly_once_in_every_run(team, counter, size):
    counts = np.zeros(size, np.int64)
    program = make_program((counter, counts, size))
    for _ in range(20):
        team.run(program)
    assert (counts == 20).all()


def test_operations_run_at_once_unless_recorded():
    team = Team(2)
    recorder = Recorder(team)
    values = np.zeros(8, np.float32)
    with recorder.operation() as program:
        program.append(add_to_all, values, 8, 1.0)
    assert (values == 1).all()
    with recorder.record() as recorded:
        with recorder.operation() as program:
            program.append(add_to_all, values, 8, 1.0)
        with pytest.raises(RuntimeError, match="already being recorded"), recorder.record():
            pass
    assert (values == 1).all()
    team.run(recorded)
    assert (values == 2).all()
    team.close()


def test_a_program_keeps_its_arrays_alive():
    team = Team(2)
    values = np.zeros(100_000, np.float32)
    program = make_program((add_to_all, values, values.size, 1.0))
    view = memoryview(values)
    del values
    team.run(program)
    assert view[99_999] == 1
    team.close()


def test_two_teams_work_at_the_same_time():
    teams = [Team(2), Team(3)]
    arrays = [np.zeros(4096, np.float32) for _ in teams]

    def work(team, values):
        program = make_program((add_to_all, values, values.size, 1.0))
        for _ in range(300):
            team.run(program)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(teams, arrays, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for team, values in zip(teams, arrays, strict=True):
        assert (values == 300).all()
        team.close()


def test_two_callers_of_one_team_take_turns():
    team = Team(2)
    values = np.zeros(4096, np.float32)
    program = make_program((add_to_all, values, values.size, 1.0))

    def work():
        for _ in range(200):
            team.run(program)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (values == 600).all()
    team.close()


def test_an_idle_team_uses_no_cpu():
    team = Team(3)
    values = np.zeros(8, np.float32)
    team.run(make_program((add_to_all, values, 8, 1.0)))
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.02
    team.close()


def test_closing_joins_the_threads_and_further_runs_are_refused():
    before = threading.active_count()
    team = Team(3)
    program = make_program((count_threads, np.zeros(3, np.int64)))
    assert threading.active_count() == before + 2
    team.close()
    team.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        team.run(program)


def test_a_run_that_waited_while_the_team_was_closed_is_refused():
    team = Team(2)
    program = make_program((count_threads, np.zeros(3, np.int64)))
    errors = []

    def run():
        with pytest.raises(RuntimeError, match="closed") as raised:
            team.run(program)
        errors.append(raised)

    with team._lock:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        time.sleep(0.05)
        team._finalizer()
    thread.join(10.0)
    assert errors


def test_a_team_that_is_ended_in_the_middle_of_a_run_finishes_it():
    values = np.zeros(64, np.float32)
    program = make_program(*[(add_to_all, values, values.size, 1.0)] * 200)

    def run(team):
        with contextlib.suppress(RuntimeError):
            team.run(program)

    for _ in range(50):
        values[:] = 0.0
        team = Team(3)
        thread = threading.Thread(target=run, args=(team,), daemon=True)
        thread.start()
        team._finalizer()  # as at the end of the process: without the lock
        thread.join(10.0)
        assert not thread.is_alive()
        assert set(values) <= {0.0, 200.0}


def test_a_forgotten_team_ends_its_threads():
    before = threading.active_count()
    team = Team(3)
    del team
    assert threading.active_count() == before


@pytest.mark.parametrize("number", [-1, 0, 1025, 10**30])
def test_a_team_has_one_to_some_threads(number):
    with pytest.raises(ValueError, match=rf"is {number}; it must be from 1 to 1024$"):
        Team(number)


def test_threads_that_the_system_does_not_start_are_refused_with_their_number(monkeypatch):
    before = threading.active_count()
    start = threading.Thread.start

    def start_few(thread):
        if threading.active_count() == before + 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    with pytest.raises(ValueError, match=r"num_threads is 9, but .* no more than 4 of them"):
        Team(9)
    assert threading.active_count() == before


def test_a_forked_child_is_told_that_its_threads_are_gone(monkeypatch):
    team = Team(2)
    program = make_program((count_threads, np.zeros(3, np.int64)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(RuntimeError, match="fork"):
            team.run(program)
    team.close()


def _sum_in_child(queue):
    team = Team(2)
    values = np.zeros(1000, np.float32)
    team.run(make_program((add_to_all, values, values.size, 2.0)))
    team.close()
    queue.put(float(values.sum()))


def test_a_team_works_in_a_spawned_process():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_sum_in_child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == 2000
    process.join(timeout=60)
    assert process.exitcode == 0
