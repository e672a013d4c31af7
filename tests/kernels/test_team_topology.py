"""The number of threads: cores, affinity, quotas, OMP_NUM_THREADS, and what is said about it."""

import os

import pytest

from lite_kernels.cpu import topology

_QUOTA = topology._quota
_ONLINE_CPUS = topology._online_cpus


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Eight hardware threads on four cores, no limits, no variable."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(topology, "_online_cpus", lambda: list(range(8)))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(topology, "_core_of", lambda cpu: str(cpu // 2))
    monkeypatch.setattr(topology, "_quota", lambda: 1e9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def no_cgroup(tmp_path):
    return tmp_path / "missing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("150000 100000", 1.5),
        ("max 100000", 1e9),
        ("50000 100000", 0.5),
        ("damaged", 1e9),
        ("1 0", 1e9),
    ],
)
def test_a_cgroup_quota_limits_the_cores(tmp_path, text, expected):
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert _QUOTA(tmp_path, no_cgroup(tmp_path)) == expected


def test_the_tightest_quota_up_to_the_root_counts(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/outer/inner\n")
    inner = tmp_path / "root" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("max 100000\n")
    (inner.parent / "cpu.max").write_text("200000 100000\n")
    assert _QUOTA(tmp_path / "root", own) == 2.0


@pytest.mark.parametrize("place", ["", "user.slice/service"])
def test_an_old_cgroup_quota_limits_the_cores(tmp_path, place):
    own = tmp_path / "own"
    own.write_text(f"5:memory:/elsewhere\n4:cpu,cpuacct:/{place}\n")
    folder = tmp_path / "root" / "cpu" / place
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("300000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert _QUOTA(tmp_path / "root", own) == 3


def test_an_old_cgroup_without_a_quota_limits_nothing(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert _QUOTA(tmp_path, no_cgroup(tmp_path)) == 1e9


def test_hardware_threads_of_one_core_count_once():
    assert str(topology.usable_cores()) == "4 (physical cores)"


def test_a_quota_of_one_and_a_half_cores_gives_one_thread(monkeypatch):
    monkeypatch.setattr(topology, "_quota", lambda: 1.5)
    assert str(topology.choose_threads()) == "1 (cgroup limit)"


def test_a_quota_below_one_core_still_gives_a_thread(monkeypatch):
    monkeypatch.setattr(topology, "_quota", lambda: 0.5)
    assert topology.available_cores() == 1


def test_a_quota_beyond_the_cores_changes_nothing(monkeypatch):
    monkeypatch.setattr(topology, "_quota", lambda: 4.0)
    assert str(topology.usable_cores()) == "4 (physical cores)"


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ({5}, "1 (CPU affinity)"),
        ({2, 3}, "1 (CPU affinity)"),
        ({1, 2}, "2 (CPU affinity)"),
        ({0, 2, 4, 6}, "4 (physical cores)"),
    ],
)
def test_the_affinity_limits_the_cores(monkeypatch, cpus, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cpus)
    assert str(topology.choose_threads()) == expected


def test_cores_with_and_without_siblings_count_alike(monkeypatch):
    cores = {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3", 4: "4", 5: "5", 6: "6", 7: "7"}
    monkeypatch.setattr(topology, "_core_of", cores.__getitem__)
    assert str(topology.usable_cores()) == "6 (physical cores)"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5})
    assert str(topology.usable_cores()) == "3 (CPU affinity)"
    monkeypatch.setattr(topology, "_quota", lambda: 2.9)
    assert str(topology.usable_cores()) == "2 (cgroup limit)"


def test_cpus_that_are_switched_off_are_no_limit(monkeypatch):
    monkeypatch.setattr(topology, "_online_cpus", lambda: [0, 1, 4, 5])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5})
    assert str(topology.usable_cores()) == "2 (physical cores)"


@pytest.mark.parametrize(
    ("text", "expected"), [("0-2,5,7-8\n", [0, 1, 2, 5, 7, 8]), ("3\n", [3]), ("-\n", [*range(8)])]
)
def test_the_cpus_that_are_switched_on_are_read(tmp_path, text, expected):
    (tmp_path / "online").write_text(text)
    assert _ONLINE_CPUS(tmp_path / "online") == expected
    assert _ONLINE_CPUS(tmp_path / "missing") == [*range(8)]


def test_a_system_without_affinity_counts_its_cpus(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert str(topology.usable_cores()) == "8 (cores)"


@pytest.mark.parametrize(
    ("text", "expected"), [("3", 3), ("4,2", 4), (" 2 , 1 ", 2), ("007", 7), ("3,x", 3)]
)
def test_omp_num_threads_is_obeyed(monkeypatch, text, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    chosen = topology.choose_threads()
    assert (chosen.number, chosen.origin) == (expected, "OMP_NUM_THREADS")


def test_omp_num_threads_may_exceed_the_cores_with_a_warning(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    chosen = topology.choose_threads()
    assert chosen.number == 5
    assert chosen.warnings == (
        "5 threads (OMP_NUM_THREADS) are more than the usable cores: 4 (physical cores)",
    )


@pytest.mark.parametrize(
    "text", ["0", "-2", "two", ",2", "1.5", "0,4", "+", "٣", "1" * 5000, "0x2"]
)
def test_omp_num_threads_without_a_number_is_ignored_with_a_warning(monkeypatch, text):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    chosen = topology.choose_threads()
    assert (chosen.number, chosen.origin) == (4, "physical cores")
    assert f"OMP_NUM_THREADS={text!r} is ignored" in chosen.warnings[0]


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_omp_num_threads_is_none(monkeypatch, text):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert topology.choose_threads() == topology.ThreadCount(4, "physical cores")


def test_an_explicit_number_wins(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert topology.choose_threads(3) == topology.ThreadCount(3, "num_threads")


def test_an_explicit_number_may_exceed_the_quota_with_a_warning(monkeypatch):
    monkeypatch.setattr(topology, "_quota", lambda: 1.5)
    chosen = topology.choose_threads(2)
    assert str(chosen) == "2 (num_threads)"
    assert chosen.warnings == (
        "2 threads (num_threads) are more than the usable cores: 1 (cgroup limit)",
    )
