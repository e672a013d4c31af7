"""How much memory lies beyond the caches, for machines of several kinds."""

import os
from pathlib import Path

import pytest

from lite_kernels.cpu.last_level_cache import beyond_caches, last_level_bytes

MIB = 1 << 20


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    cpus = set(range(8))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cpus, raising=False)
    return cpus


def write_caches(cpus: Path, size: str, *shared_by: str) -> None:
    """One L3 for each range of CPUs."""
    for text in shared_by:
        first, last = map(int, text.split("-"))
        for cpu in range(first, last + 1):
            folder = cpus / f"cpu{cpu}" / "cache" / "index3"
            folder.mkdir(parents=True)
            (folder / "shared_cpu_list").write_text(text + "\n")
            (folder / "size").write_text(size + "\n")


def test_a_small_cache_changes_nothing(tmp_path: Path, allowed: set[int]) -> None:
    write_caches(tmp_path, "32768K", "0-7")
    assert last_level_bytes(tmp_path) == 32 * MIB
    assert beyond_caches(256 * MIB, cpus=tmp_path) == 256 * MIB


def test_every_cache_counts_once(tmp_path: Path, allowed: set[int]) -> None:
    write_caches(tmp_path, "96M", "0-3", "4-7")
    assert last_level_bytes(tmp_path) == 192 * MIB
    assert beyond_caches(256 * MIB, cpus=tmp_path) == 768 * MIB


def test_caches_of_cpus_that_are_not_allowed_do_not_count(
    tmp_path: Path, allowed: set[int]
) -> None:
    write_caches(tmp_path, "98304K", "0-3", "4-7")
    allowed -= {0, 1, 2, 3}
    assert last_level_bytes(tmp_path) == 96 * MIB


def test_the_largest_caches_leave_the_memory_alone(tmp_path: Path, allowed: set[int]) -> None:
    write_caches(tmp_path, "2G", "0-3", "4-7")
    assert beyond_caches(256 * MIB, cpus=tmp_path) == 4096 * MIB


@pytest.mark.parametrize("size", ["", "0K", "large"])
def test_a_size_that_is_none_is_unknown(tmp_path: Path, allowed: set[int], size: str) -> None:
    write_caches(tmp_path, size, "0-7")
    assert beyond_caches(256 * MIB, cpus=tmp_path) == 256 * MIB


def test_a_system_that_does_not_tell_gets_the_least(
    tmp_path: Path, allowed: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert beyond_caches(256 * MIB, cpus=tmp_path / "missing") == 256 * MIB
    monkeypatch.delattr(os, "sched_getaffinity")
    assert last_level_bytes(tmp_path) == 0
