"""Where files that can be made again are kept: compiled kernels, the demo checkpoint."""

import os
from pathlib import Path


def cache_root() -> Path:
    """Return `LITE_CACHE_DIR`, else lite in `XDG_CACHE_HOME`, else ~/.cache/lite."""
    if directory := os.environ.get("LITE_CACHE_DIR"):
        return Path(directory).expanduser()
    if directory := os.environ.get("XDG_CACHE_HOME"):
        return Path(directory) / "lite"
    return Path.home() / ".cache" / "lite"
