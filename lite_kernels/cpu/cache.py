"""Where compiled kernels are kept on disk, and under which key."""

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numba

from lite_kernels.cache_root import cache_root

PACKAGE = Path(__file__).resolve().parent.parent
_UNUSED_AFTER_S = 30 * 24 * 3600.0


def source_hash(root: Path = PACKAGE) -> str:
    """Hash every Python source below `root`, names included.

    NOTE: Numba notices changes of the file that holds a kernel, but not of a helper it inlines.
    """
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def cache_key(isa: str) -> str:
    """Hash of everything that decides the machine code: sources, compiler, CPU and ISA."""
    features = llvm.get_host_cpu_features().flatten()
    parts = (
        source_hash(),
        numba.__version__,
        llvmlite.__version__,
        llvm.get_host_cpu_name(),
        features,
        isa,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@functools.cache
def kernel_directory(isa: str) -> str:
    """Return a writable directory for the kernels of this source, compiler and CPU.

    It lies below `cache_root()`, or, where that is not writable, is one of this process that is
    removed at exit.
    """
    try:
        root = cache_root()
        path = str(root / f"kernels-{cache_key(isa)}")
        os.makedirs(path, mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
        os.utime(path)
        _remove_unused(root)
    except OSError:
        # SAFETY: never a fixed name below a shared /tmp: cached kernels are executed.
        path = tempfile.mkdtemp(prefix="lite-kernels-")
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def has_kernels(isa: str) -> bool:
    """Whether any kernel lies in the cache already."""
    return any(Path(kernel_directory(isa)).rglob("*.nbc"))


def _remove_unused(root: Path) -> None:
    """Remove the kernels of other versions that nothing has used for a month."""
    oldest = time.time() - _UNUSED_AFTER_S
    for path in root.glob("kernels-*"):
        # Another process may be removing it too.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)
