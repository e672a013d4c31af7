"""Packed weights kept on disk: a later start maps them instead of packing them again."""

import contextlib
import hashlib
import json
import time
from pathlib import Path

from lite.errors import CheckpointError
from lite.formats.checkpoint import Checkpoint
from lite.formats.scratch import scratch_directory
from lite.log import get_logger
from lite.models.packed_weights import read_packed, write_packed
from lite.models.parts import Part, Quantization
from lite.models.quantization import VERSION
from lite.models.weights import Packed, Progress, pack_parts
from lite_kernels import Kernels
from lite_kernels.cache_root import cache_root

_UNUSED_AFTER_S = 30 * 24 * 3600.0
_SUFFIX = ".safetensors"

log = get_logger(__name__)


def load_cached(
    parts: tuple[Part, ...],
    checkpoint: Checkpoint,
    kernels: Kernels,
    quantization: Quantization | None,
    progress: Progress | None = None,
) -> Packed:
    """Return the packed parts from the cache, filling it first where it lacks them.

    Where the cache cannot be written, the parts are packed into memory, with a warning.
    """
    try:
        path = _cache_file(checkpoint, kernels, quantization)
        if path.is_file():
            try:
                packed = read_packed(path, parts, kernels)
            except CheckpointError as error:
                log.warning(f"the cached weights are made again: {error}")
            else:
                _mark_used(path)
                return packed
        _fill(path, parts, checkpoint, kernels, progress)
        return read_packed(path, parts, kernels)
    except (OSError, CheckpointError) as error:
        # The text itself, since a program that did not configure logs sees nothing else.
        log.warning(
            f"the packed weights are not cached: {error}; free some space, or set LITE_CACHE_DIR "
            "to a writable directory"
        )
    return dict(pack_parts(parts, checkpoint.tensors, kernels, progress))


def _cache_file(
    checkpoint: Checkpoint, kernels: Kernels, quantization: Quantization | None
) -> Path:
    """Return the file's path: one name for the place and the format, one for the content."""
    files = [checkpoint.config_file, *checkpoint.tensors.files]
    states = [(str(path.resolve()), path.stat()) for path in files]
    identity = (str(checkpoint.path.resolve()), kernels.device, kernels.dtype, quantization)
    # The change time too: copies that keep the modification time have it, and nothing can set it.
    content = (
        VERSION,
        [(name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in states],
    )
    return cache_root() / "weights" / f"{_digest(identity)}-{_digest(content)}{_SUFFIX}"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _fill(
    path: Path,
    parts: tuple[Part, ...],
    checkpoint: Checkpoint,
    kernels: Kernels,
    progress: Progress | None,
) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_stale(path)
    with scratch_directory(path.parent) as scratch:
        packed = pack_parts(parts, checkpoint.tensors, kernels, progress)
        write_packed(scratch / path.name, parts, packed, kernels)
        # Complete or not there; another process' file of the same name holds the same.
        (scratch / path.name).replace(path)


def _mark_used(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.touch()


def _remove_stale(path: Path) -> None:
    """Remove what the checkpoint was before it changed, and what nothing has used for a month."""
    place = path.name.partition("-")[0]
    oldest = time.time() - _UNUSED_AFTER_S
    for other in path.parent.iterdir():
        # Another process may be removing it too; who has mapped a removed file keeps it.
        with contextlib.suppress(OSError):
            outdated = other.name.startswith(f"{place}-") and other != path
            if outdated or other.stat().st_mtime < oldest:
                other.unlink()
