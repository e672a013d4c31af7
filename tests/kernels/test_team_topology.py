"""The default number of threads: cores, affinity and quotas."""

import os

import pytest

from lite_kernels.cpu import topology


def test_there_are_never_more_threads_than_cpus_in_the_affinity():
    assert 1 <= topology.available_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("150000 100000", 1.5), ("max 100000", 1e9), ("50000 100000", 0.5), ("damaged", 1e9)],
)
def test_a_cgroup_quota_limits_the_cores(tmp_path, text, expected):
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert topology._quota(tmp_path) == expected


def test_an_old_cgroup_quota_limits_the_cores(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert topology._quota(tmp_path) == 3


def test_a_quota_below_one_core_still_gives_a_thread(monkeypatch):
    monkeypatch.setattr(topology, "_quota", lambda: 0.5)
    assert topology.available_cores() == 1


def test_hardware_threads_of_one_core_count_once(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(topology, "_core_of", lambda cpu: str(cpu // 2))
    monkeypatch.setattr(topology, "_quota", lambda: 1e9)
    assert topology.available_cores() == 4
