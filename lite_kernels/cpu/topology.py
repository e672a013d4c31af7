"""How many threads to start, and why: physical cores within the affinity and the quota."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lite_kernels.interface import ThreadCount

_VARIABLE = "OMP_NUM_THREADS"
_UNLIMITED = 1e9


def choose_threads(num_threads: int | None = None) -> ThreadCount:
    """Return `num_threads`, else the first number of OMP_NUM_THREADS, else what is usable.

    More than the usable cores are allowed, with a warning; a variable without a positive number
    is ignored with one.
    """
    usable = usable_cores()
    if num_threads is not None:
        return _checked(num_threads, "num_threads", usable)
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return usable
    # The list gives one number for each level of nested parallelism; there is one level here.
    first = text.partition(",")[0].strip()
    # NOTE: no more digits than a thread count has, since int() of a very long text raises.
    if re.fullmatch(r"0*[1-9][0-9]{0,5}", first, re.ASCII):
        return _checked(int(first), _VARIABLE, usable)
    warning = f"{_VARIABLE}={text!r} is ignored: it does not begin with a positive number"
    return ThreadCount(usable.number, usable.origin, (warning,))


def _checked(number: int, origin: str, usable: ThreadCount) -> ThreadCount:
    if number <= usable.number:
        return ThreadCount(number, origin)
    warning = f"{number} threads ({origin}) are more than the usable cores: {usable}"
    return ThreadCount(number, origin, (warning,))


def usable_cores() -> ThreadCount:
    """Count the physical cores that this process may use, at least 1.

    Linux: hardware threads of one core count once, CPU affinity, cgroup v1 and v2 CPU quotas
    rounded down. Elsewhere `os.cpu_count()`.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ThreadCount(os.cpu_count() or 1, "cores")
    usable = ThreadCount(len(one_per_core(_online_cpus())), "physical cores")
    allowed = len(one_per_core(os.sched_getaffinity(0)))
    if allowed < usable.number:
        usable = ThreadCount(allowed, "CPU affinity")
    quota = max(1, int(_quota()))
    return ThreadCount(quota, "cgroup limit") if quota < usable.number else usable


def available_cores() -> int:
    """Return the number of `usable_cores`."""
    return usable_cores().number


def one_per_core(cpus: Iterable[int]) -> list[int]:
    """Return the lowest of the hardware threads of each core, in order."""
    return sorted({_core_of(cpu): cpu for cpu in sorted(cpus, reverse=True)}.values())


def _online_cpus(path: Path = Path("/sys/devices/system/cpu/online")) -> list[int]:
    """Return the numbers of the CPUs that are switched on, which may have gaps."""
    try:
        ranges = [part.split("-") for part in path.read_text().split(",")]
        return [cpu for ends in ranges for cpu in range(int(ends[0]), int(ends[-1]) + 1)]
    except (OSError, ValueError):
        return list(range(os.cpu_count() or 1))


def _core_of(cpu: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text().strip()
    except OSError:
        return str(cpu)


def _quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Return the CPUs' worth of time that the cgroups of this process allow."""
    limits = [_limit_v2(folder) for folder in _folders(root, own, "")]
    limits += [_limit_v1(folder) for folder in _folders(root / "cpu", own, "cpu")]
    return min(limits)


def _limit_v2(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return _UNLIMITED if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return _UNLIMITED


def _limit_v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else _UNLIMITED
    except (OSError, ValueError, ZeroDivisionError):
        return _UNLIMITED


def _folders(root: Path, own: Path, controller: str) -> list[Path]:
    """The process's cgroup of a v1 controller, or of v2 for "", and its parents up to `root`."""
    path = "/"
    try:
        for line in own.read_text().splitlines():
            # hierarchy:controllers:path
            _, controllers, place = line.split(":", 2)
            if controller in controllers.split(","):
                path = place
    except (OSError, ValueError):
        pass
    folder = root / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]
