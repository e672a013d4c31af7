"""What every benchmark writes down besides its figures: which commit, on which machine."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lite.machine import describe_commit, describe_machine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SOURCES = ("lite", "lite_kernels", "server", "benchmarks/*.py", "benchmarks/peering", "setup.py")


def unchanged_since(commit: Mapping[str, Any]) -> bool:
    """Whether the sources still are those of the commit that a stored result names."""
    if commit["id"] is None or commit["modified"]:
        return False
    command = ["git", "diff", "--quiet", commit["id"], "--", *SOURCES]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def write_result(name: str, figures: Mapping[str, Any], out: str | Path | None = None) -> Path:
    """Write figures with commit and machine as JSON and return the path.

    `out` defaults to benchmarks/results/<name>.json.
    """
    path = Path(out) if out is not None else RESULTS / f"{name}.json"
    record = {
        "benchmark": name,
        "commit": describe_commit(ROOT, SOURCES),
        "machine": describe_machine(),
        "figures": figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(record, indent=2) + "\n")
    unfinished.replace(path)
    return path
