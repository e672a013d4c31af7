"""The machine: what a reader of figures wants to know of it, and its memory."""

import contextlib
import ctypes
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")


def cpu_name() -> str:
    """Return the processor's name, "unknown" where the system does not tell."""
    return _cpu_fields().get("model name") or platform.processor() or "unknown"


def _cpu_fields() -> dict[str, str]:
    """Return what Linux tells of the first processor."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def return_free_memory() -> None:
    """Let the C library give freed memory back to the system, where it can (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def describe_machine() -> dict[str, Any]:
    """Return what it takes to judge figures; nothing that names the machine."""
    import numpy as np

    fields = _cpu_fields()
    family, model = fields.get("cpu family", "?"), fields.get("model", "?")
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": f"{cpu_name()} (family {family}, model {model})",
        "num_cpus": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def describe_commit(checkout: Path, sources: Sequence[str]) -> dict[str, Any]:
    """Return the commit of a checkout and whether `sources` differ from it; None if it is none."""
    unknown = {"id": None, "modified": None}
    # What is installed into somebody else's repository is not its commit.
    if not (checkout / ".git").exists():
        return unknown
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        status = _git(checkout, "status", "--porcelain", "--untracked-files=no", "--", *sources)
    except (OSError, subprocess.CalledProcessError):
        return unknown
    return {"id": commit, "modified": bool(status)}


def _git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=checkout, check=True, capture_output=True, text=True
    ).stdout.strip()
