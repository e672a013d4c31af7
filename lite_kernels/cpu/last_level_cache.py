"""How much memory a measurement of memory must touch: more than the last-level caches hold."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_FACTOR = 4
# Beyond any cache, and no more than a measurement may take.
_MOST_BYTES = 4 << 30


def beyond_caches(least_bytes: int, *, cpus: Path = _CPUS) -> int:
    """Return the larger of `least_bytes` and 4 times this process's L3 caches, 4 GiB at most.

    `least_bytes` where the system tells of no such caches.
    """
    return max(least_bytes, min(_FACTOR * last_level_bytes(cpus), _MOST_BYTES))


def last_level_bytes(cpus: Path = _CPUS) -> int:
    """Return the bytes of all distinct L3 caches of the CPUs in the affinity; 0 if unknown."""
    allowed: Iterable[int] = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    sizes: dict[str, int] = {}
    for cpu in allowed:
        folder = cpus / f"cpu{cpu}" / "cache" / "index3"
        try:
            shared_by = (folder / "shared_cpu_list").read_text().strip()
            found = re.fullmatch(r"(\d+)([KMG]?)", (folder / "size").read_text().strip())
        except OSError:
            continue
        if found is not None:
            sizes[shared_by] = int(found[1]) * _UNITS.get(found[2], 1)
    return sum(sizes.values())
