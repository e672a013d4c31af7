"""Quantizing a checkpoint once: a directory that loads by mapping one file."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lite.errors import CheckpointError, UnsupportedModelError
from lite.formats.checkpoint import Checkpoint, expand_home, open_checkpoint
from lite.formats.scratch import scratch_directory
from lite.models import declare
from lite.models.fields import Fields
from lite.models.location import locate_model
from lite.models.packed_weights import packed_file, write_packed
from lite.models.parts import Part, Quantization, model_parts
from lite.models.quantization import quantization_config, read_quantization
from lite.models.weights import Progress, check_tensors, is_tied, pack_parts, part_nbytes
from lite_kernels import Kernels

# What of a checkpoint goes along with its weights: everything but other weights.
_COPIED = (
    "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab.*", "merges.txt", "chat_template.*", "additional_chat_templates/*.jinja",
    "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*",
)  # fmt: skip
# The header and the copied files, generously.
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """What was written."""

    directory: Path
    source_bytes: int
    file_bytes: int


def quantize_checkpoint(
    source: str,
    target: Path,
    quantization: Quantization,
    load_kernels: Callable[[], Kernels],
    progress: Callable[[int], Progress],
) -> Quantized:
    """Write the checkpoint `source`, quantized, to the new directory `target`.

    `target` appears complete or not at all. The kernels are loaded once everything else is
    known to be right. `progress` is given the number of weights and returns what counts them.

    Raises:
        ModelError: the checkpoint cannot be used, or is quantized already.
        CheckpointError: `target` exists, or cannot be written; says what is missing.
    """
    location = locate_model(source)
    target = expand_home(target).absolute()
    _check_target(target)
    with open_checkpoint(location.config_file) as checkpoint:
        parts = _parts(checkpoint, quantization)
        kernels = load_kernels()
        try:
            _write(checkpoint, parts, target, quantization, kernels, progress)
        except OSError as error:
            _check_target(target)  # another process may have made it meanwhile
            where = f" ({error.filename})" if error.filename else ""
            raise CheckpointError(
                f"{target}: cannot be written: {error.strerror}{where}"
            ) from error
        finally:
            kernels.close()
        return Quantized(
            directory=target,
            source_bytes=sum(file.stat().st_size for file in checkpoint.tensors.files),
            file_bytes=packed_file(target).stat().st_size,
        )


def _check_target(target: Path) -> None:
    if os.path.lexists(target):
        raise CheckpointError(f"{target}: exists already; remove it, or name a new directory")
    if not os.path.isdir(target.parent):
        raise CheckpointError(f"{target.parent}: no such directory; make it first")


def _parts(checkpoint: Checkpoint, quantization: Quantization) -> tuple[Part, ...]:
    file = str(checkpoint.config_file)
    stored = read_quantization(Fields(checkpoint.config, file))
    if stored is not None:
        raise UnsupportedModelError(
            f"{file}: quantized to {stored} already; name the original checkpoint"
        )
    decoder = declare(checkpoint.config, file=file)
    check_tensors(decoder, checkpoint)
    return model_parts(decoder, tied=is_tied(decoder, checkpoint), quantization=quantization)


def _check_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < needed + _SPARE_BYTES:
        raise CheckpointError(
            f"{target}: needs {(needed + _SPARE_BYTES) / 1e9:.2f} GB, but the disk has "
            f"{free / 1e9:.2f} GB left; free some space, or name a directory elsewhere"
        )


def _write(
    checkpoint: Checkpoint,
    parts: tuple[Part, ...],
    target: Path,
    quantization: Quantization,
    kernels: Kernels,
    progress: Callable[[int], Progress],
) -> None:
    """Write everything to a directory beside `target`, then rename it."""
    with scratch_directory(target.parent, f".{target.name}.") as scratch:
        _check_space(target, sum(part_nbytes(part, kernels) for part in parts))
        count = progress(sum(part.num_weights for part in parts))
        packed = pack_parts(parts, checkpoint.tensors, kernels, count)
        write_packed(packed_file(scratch), parts, packed, kernels)
        _copy_others(checkpoint.path, scratch)
        config = {**checkpoint.config, "quantization_config": quantization_config(quantization)}
        _write_json(scratch / "config.json", config)
        scratch.chmod(0o777 & ~_umask())
        # It fails where someone else put a directory with content there meanwhile.
        scratch.rename(target)


def _copy_others(source: Path, target: Path) -> None:
    for pattern in _COPIED:
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                copy = target / path.relative_to(source)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, copy)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
