"""Opening a checkpoint directory: configuration as dicts, tensors by name."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from lite.errors import CheckpointError, UnsupportedModelError
from lite.formats.dummy import DummyTensors
from lite.formats.safetensors import WEIGHT_DTYPES, Array, SafetensorsFile

LOAD_FORMATS = ("auto", "safetensors", "dummy")
MAX_JSON_BYTES = 64 * 1024 * 1024
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class Tensors(Protocol):
    """Named weights, read when asked for: float32, float16, or bfloat16 as uint16."""

    files: tuple[Path, ...]  # none where the weights are made up

    def __iter__(self) -> Iterator[str]: ...

    def __contains__(self, name: object, /) -> bool: ...

    def __getitem__(self, name: str) -> Array: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def file(self, name: str) -> Path:
        """Return the file a tensor comes from, for messages."""
        ...

    def check_dtype(self, name: str) -> None:
        """Raise CheckpointError unless the tensor's type is one of those above."""
        ...

    def release(self, name: str) -> None:
        """Take a tensor out of memory; it is read again if it is asked for again."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """An open checkpoint; close it, or leave its `with` block, after loading."""

    path: Path  # the directory
    config_file: Path
    config: Mapping[str, Any]
    generation_config_file: Path
    generation_config: Mapping[str, Any]  # empty when there is no such file
    tensors: Tensors

    def close(self) -> None:
        """Unmap the files; idempotent. Arrays still held keep their mapping until dropped."""
        self.tensors.close()

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_checkpoint(path: str | Path, load_format: str = "auto", *, seed: int = 0) -> Checkpoint:
    """Open a Hugging Face checkpoint; weights are mapped, not read.

    Args:
        path: a directory with config.json, or one of the files in it.
        load_format: "auto" or "safetensors" read the directory's safetensors files; "dummy"
            needs config.json only and makes random weights of the declared shapes.
        seed: for "dummy".

    Raises:
        CheckpointError: a file is missing, truncated or malformed; names file and tensor.
        UnsupportedModelError: the weights are in a format that is not read.
    """
    if load_format not in LOAD_FORMATS:
        raise CheckpointError(
            f"load_format {load_format!r} is unknown; choose one of {', '.join(LOAD_FORMATS)}"
        )
    directory, config_file = find_config(path)
    if not config_file.is_file():
        _refuse_other_formats(directory)
        raise CheckpointError(f"{config_file}: missing; a checkpoint needs its config.json")
    config = read_json(config_file)
    generation_config_file = directory / "generation_config.json"
    has_generation_config = generation_config_file.is_file()
    return Checkpoint(
        path=directory,
        config_file=config_file,
        config=config,
        generation_config_file=generation_config_file,
        generation_config=read_json(generation_config_file) if has_generation_config else {},
        tensors=_open_dummy(config_file, config, seed)
        if load_format == "dummy"
        else _open_safetensors(directory),
    )


def expand_home(path: str | Path) -> Path:
    """Replace `~` and `~user` at the beginning; a user that does not exist is left as it is."""
    return Path(os.path.expanduser(path))


def find_config(path: str | Path) -> tuple[Path, Path]:
    """Return the directory and the config.json of a checkpoint, which may not exist.

    Raises:
        CheckpointError: nothing is at `path`.
        UnsupportedModelError: `path` is a file in a format that is not read.
    """
    path = expand_home(path)
    # Not `Path.exists`, which raises for names that are too long to exist.
    if not os.path.exists(path):
        raise CheckpointError(
            f"{path}: no such directory; give the path of a downloaded checkpoint "
            "(config.json, *.safetensors, tokenizer.json)"
        )
    if path.is_dir():
        return path, path / "config.json"
    if path.suffix == ".gguf":
        raise UnsupportedModelError(f"{path}: GGUF is not supported; use a safetensors checkpoint")
    return path.parent, path if path.suffix == ".json" else path.parent / "config.json"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of bounded size.

    Raises:
        CheckpointError: unreadable, too large, not JSON, or not an object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path}: larger than the limit of {MAX_JSON_BYTES} bytes")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    # SAFETY: deep nesting raises RecursionError.
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: a JSON {type(value).__name__}, expected an object")
    return value


class SafetensorsShards:
    """The tensors of one or more safetensors files."""

    def __init__(self, files: list[SafetensorsFile]) -> None:
        self.files = tuple(file.path for file in files)
        self._files = files
        self._owners: dict[str, SafetensorsFile] = {}
        for file in files:
            for name in file.entries:
                other = self._owners.setdefault(name, file)
                if other is not file:
                    raise CheckpointError(f"{file.path}: tensor {name!r} is also in {other.path}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._owners)

    def __contains__(self, name: object, /) -> bool:
        return name in self._owners

    def __getitem__(self, name: str) -> Array:
        self.check_dtype(name)
        return self._owners[name].array(name)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._owners[name].entries[name].shape

    def file(self, name: str) -> Path:
        return self._owners[name].path

    def check_dtype(self, name: str) -> None:
        dtype = self._owners[name].entries[name].dtype
        if dtype not in WEIGHT_DTYPES:
            raise CheckpointError(
                f"{self.file(name)}: tensor {name!r} has dtype {dtype}, "
                f"expected one of {', '.join(WEIGHT_DTYPES)}"
            )

    def release(self, name: str) -> None:
        self._owners[name].release(name)

    def close(self) -> None:
        for file in self._files:
            file.close()


def _open_dummy(config_file: Path, config: Mapping[str, Any], seed: int) -> DummyTensors:
    from lite.models import declare
    from lite.models.weights import tensor_shapes

    shapes = tensor_shapes(declare(config, file=str(config_file)))
    return DummyTensors(shapes, config_file, seed)


def _open_safetensors(directory: Path) -> SafetensorsShards:
    if (directory / _SINGLE).is_file():
        return SafetensorsShards([SafetensorsFile(directory / _SINGLE)])
    index_file = directory / _INDEX
    if not index_file.is_file():
        _refuse_other_formats(directory)
        raise CheckpointError(
            f"{directory}: neither {_SINGLE} nor {_INDEX} is there; complete the download, "
            "or run random weights with load_format dummy"
        )
    weight_map = read_json(index_file).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index_file}: field 'weight_map' must name a file per tensor")
    files = {}
    for name, shard in weight_map.items():
        # SAFETY: an index must not reach files outside its own directory.
        if not isinstance(shard, str) or not re.fullmatch(r"[^/\\\0]+\.safetensors", shard):
            raise CheckpointError(
                f"{index_file}: tensor {name!r} is in {shard!r}, "
                "which is not a plain file name ending in .safetensors"
            )
        if shard not in files:
            if not (directory / shard).is_file():
                raise CheckpointError(
                    f"{directory / shard}: missing; {index_file.name} says it holds {name!r}"
                )
            files[shard] = SafetensorsFile(directory / shard)
        if name not in files[shard].entries:
            raise CheckpointError(
                f"{directory / shard}: tensor {name!r} is not in it, "
                f"although {index_file.name} says so"
            )
    return SafetensorsShards(list(files.values()))


def _refuse_other_formats(directory: Path) -> None:
    """Raise if the directory holds weights in a format that is known but not read."""
    gguf = sorted(directory.glob("*.gguf"))
    if gguf:
        raise UnsupportedModelError(
            f"{gguf[0]}: GGUF is not supported; use a safetensors checkpoint"
        )
    pickles = sorted(path for pattern in _PICKLES for path in directory.glob(pattern))
    if pickles:
        raise UnsupportedModelError(
            f"{pickles[0]}: pickled weights can run code when loaded and are not read; "
            "use a checkpoint in safetensors format, or convert it with transformers: "
            "model.save_pretrained(directory, safe_serialization=True)"
        )
