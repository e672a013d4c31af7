"""A directory for what is being written, locked: what a killed process left can be told from it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MARK = "unfinished-"


@contextlib.contextmanager
def scratch_directory(parent: Path, prefix: str = "") -> Iterator[Path]:
    """Make a directory in `parent` for the time of the block.

    Those of the same prefix that killed processes left there are removed before.

    Raises:
        OSError: it cannot be made.
    """
    prefix += _MARK
    _remove_abandoned(parent, prefix)
    path, lock = _make_locked(parent, prefix)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _make_locked(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """Return the directory and what holds its lock, None where the file system has no locks."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock: int | None = None
        try:
            lock = _lock(path, wait=True)
        except OSError:
            if path.exists():
                return path, None
        # Before it was locked another process may have removed it as abandoned.
        if lock is not None and path.exists():
            return path, lock
        if lock is not None:
            os.close(lock)


def _lock(path: Path, *, wait: bool) -> int:
    """Return a descriptor that holds the lock of a directory until it is closed.

    Raises:
        OSError: it is held by another, or there is no such directory, or there are no locks.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the scratch directories that no process holds: the system unlocks those of killed."""
    for path in parent.iterdir():
        if not path.name.startswith(prefix):
            continue
        with contextlib.suppress(OSError):
            lock = _lock(path, wait=False)
            try:
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
