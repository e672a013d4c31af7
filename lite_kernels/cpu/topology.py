"""How many threads are worth starting: physical cores within the affinity and the quota."""

import os
from pathlib import Path


def available_cores() -> int:
    """Count physical cores this process may use, at least 1.

    Linux: CPU affinity, hardware threads of one core counted once, cgroup v1 and v2 CPU quotas
    rounded down. Elsewhere `os.cpu_count()`.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = len({_core_of(cpu) for cpu in os.sched_getaffinity(0)})
    return max(1, min(cores, int(_quota())))


def _core_of(cpu: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text().strip()
    except OSError:
        return str(cpu)


def _quota(root: Path = Path("/sys/fs/cgroup")) -> float:
    limit = 1e9
    for folder in _cgroup_folders(root):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            if quota != "max":
                limit = min(limit, int(quota) / int(period))
        except (OSError, ValueError):
            continue
    try:
        quota = (root / "cpu/cpu.cfs_quota_us").read_text()
        period = (root / "cpu/cpu.cfs_period_us").read_text()
        if int(quota) > 0:
            limit = min(limit, int(quota) / int(period))
    except (OSError, ValueError):
        pass
    return limit


def _cgroup_folders(root: Path) -> list[Path]:
    """The process's cgroup v2 folder and its parents."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return [root]
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    folder = root / own.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]
