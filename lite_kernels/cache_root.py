"""Where files that can be made again are kept: compiled kernels, packed weights."""

import errno
import os
from pathlib import Path


def cache_root() -> Path:
    """Return `LITE_CACHE_DIR`, else lite in `XDG_CACHE_HOME`, else ~/.cache/lite.

    Raises:
        FileNotFoundError: none of them is known: there is no (such) home directory.
    """
    try:
        if directory := os.environ.get("LITE_CACHE_DIR"):
            return Path(directory).expanduser()
        if directory := os.environ.get("XDG_CACHE_HOME"):
            return Path(directory) / "lite"
        return Path.home() / ".cache" / "lite"
    except RuntimeError:
        raise FileNotFoundError(errno.ENOENT, "no home directory", "~") from None
