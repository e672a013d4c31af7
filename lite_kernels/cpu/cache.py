"""Where compiled kernels are kept on disk, and under which key."""

import atexit
import contextlib
import functools
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numba

from lite_kernels.cache_root import cache_root

PACKAGE = Path(__file__).resolve().parent.parent
# Variables that change what Numba's compiler makes.
_NUMBA_OPTIONS = frozenset(
    f"NUMBA_{name}"
    for name in (
        "BOUNDSCHECK",
        "CPU_FEATURES",
        "CPU_NAME",
        "DEBUGINFO",
        "ENABLE_AVX",
        "LOOP_VECTORIZE",
        "OPT",
        "SLP_VECTORIZE",
    )
)
_OF_THIS_PROCESS = "lite-kernels-"  # how such a directory's name begins
_UNUSED_AFTER_S = 30 * 24 * 3600.0


def source_hash(root: Path = PACKAGE) -> str:
    """Hash every Python source below `root`, with its name and the time of its last change.

    NOTE: Numba refuses a kernel whose file has another time, and does not notice changes of the
    files whose helpers it inlines.
    """
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_mtime_ns}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def cache_key(isa: str) -> str:
    """Hash of what decides the machine code: sources, compiler, its options, CPU and ISA.

    And of the place of the sources, since Numba keeps those of different places apart.
    """
    features = llvm.get_host_cpu_features().flatten()
    parts = (
        source_hash(),
        str(PACKAGE),
        numba.__version__,
        llvmlite.__version__,
        llvm.get_host_cpu_name(),
        features,
        isa,
        *sorted(f"{name}={value}" for name, value in os.environ.items() if name in _NUMBA_OPTIONS),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@functools.cache
def kernel_directory(isa: str) -> str:
    """Return a writable directory for the kernels of this source, compiler and CPU.

    It lies below `cache_root()`, or, where that is not writable, is one of this process that is
    removed at exit and holds a copy of the kernels that could not be added to.

    Raises:
        ValueError: there is no writable directory at all.
    """
    name = f"kernels-{cache_key(isa)}"
    try:
        root = cache_root()
        path = root / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
        os.utime(path)
        _remove_unused(root)
    except OSError:
        # SAFETY: never a fixed name below a shared /tmp: cached kernels are executed.
        try:
            own = tempfile.mkdtemp(prefix=_OF_THIS_PROCESS)
        except OSError:
            raise ValueError(
                "compiled kernels can be stored neither in the cache nor in a temporary directory; "
                "set LITE_CACHE_DIR or TMPDIR to a writable directory"
            ) from None
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        return str(_copy_kernels(name, Path(own) / name))
    return str(path)


def keeps_kernels(isa: str) -> bool:
    """Tell whether what is compiled now is still there at the next start."""
    try:
        return not Path(kernel_directory(isa)).parent.name.startswith(_OF_THIS_PROCESS)
    except ValueError:
        return False


def _copy_kernels(name: str, path: Path) -> Path:
    """Make the directory `path` with what the cache has of it."""
    with contextlib.suppress(OSError, shutil.Error):
        shutil.copytree(cache_root() / name, path, copy_function=shutil.copyfile)
    # Its mode was copied too, and so may be what else could not be.
    path.mkdir(exist_ok=True)
    for folder in (path, *(one for one in path.iterdir() if one.is_dir())):
        folder.chmod(0o700)
    return path


def _remove_unused(root: Path) -> None:
    """Remove the kernels of other versions that nothing has used for a month."""
    oldest = time.time() - _UNUSED_AFTER_S
    for path in root.glob("kernels-*"):
        # Another process may be removing it too, or it may be another user's.
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)


def seal(files: Iterable[Path]) -> None:
    """Append a digest of its content to each file that has none yet.

    NOTE: Numba unpickles a file and ignores what follows, but hands the machine code of a damaged
    one to LLVM, which ends the process.
    """
    for path in files:
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            if _is_sealed(content):
                continue
            # Complete or not there: other processes may be reading it.
            sealed = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            try:
                sealed.write_bytes(content + hashlib.sha256(content).digest())
                sealed.replace(path)
            finally:
                sealed.unlink(missing_ok=True)


def remove_unsealed(files: Iterable[Path]) -> None:
    """Remove the files whose digest is missing or of another content."""
    for path in files:
        with contextlib.suppress(OSError):
            if not _is_sealed(path.read_bytes()):
                path.unlink()


def _is_sealed(content: bytes) -> bool:
    size = hashlib.sha256().digest_size
    return hashlib.sha256(content[:-size]).digest() == content[-size:]
