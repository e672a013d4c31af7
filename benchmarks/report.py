"""What every benchmark writes down besides its figures: which commit, on which machine."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SOURCES = ("lite", "lite_kernels", "server", "benchmarks/*.py", "setup.py")


def describe_commit() -> dict[str, Any]:
    """Return the commit's id and whether the sources differ from it; None outside a checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        modified = bool(_git("status", "--porcelain", "--untracked-files=no", "--", *SOURCES))
    except (OSError, subprocess.CalledProcessError):
        return {"id": None, "modified": None}
    return {"id": commit, "modified": modified}


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures; nothing that names the machine."""
    return {
        "cpu": _cpu_model(),
        "num_cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def write_result(name: str, figures: Mapping[str, Any], out: str | Path | None = None) -> Path:
    """Write figures with commit and machine as JSON and return the path.

    `out` defaults to benchmarks/results/<name>.json.
    """
    path = Path(out) if out is not None else RESULTS / f"{name}.json"
    record = {
        "benchmark": name,
        "commit": describe_commit(),
        "machine": describe_machine(),
        "figures": figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")
    return path


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def _cpu_model() -> str:
    """Return the processor's name and family, which Linux keeps in /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in fields.items()}
    name = values.get("model name", platform.processor())
    return f"{name} (family {values.get('cpu family', '?')}, model {values.get('model', '?')})"
