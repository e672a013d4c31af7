"""The safetensors format: an 8-byte length, a JSON header, then the tensors' bytes.

Format: https://huggingface.co/docs/safetensors. Files are mapped, not read; bfloat16 comes
as uint16 bit patterns, since NumPy has no such type.
"""

import json
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from lite.errors import CheckpointError

Array = npt.NDArray[Any]
MAX_HEADER_BYTES = 100_000_000  # the limit of the format's own reader
MAX_DIMENSIONS = 32
ITEM_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8,
    "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "C64": 64,
}  # fmt: skip
# What the tensors of an ordinary checkpoint may be; packed weights are bytes.
WEIGHT_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_DTYPES = WEIGHT_DTYPES | {"U8": np.dtype(np.uint8)}
DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies; offsets are from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, Entry]:
    """Parse and check the header of one file.

    Raises:
        CheckpointError: names the file, and the tensor where one is at fault.
    """
    return _read_header(path)[0]


def _read_header(path: Path) -> tuple[dict[str, Entry], dict[str, Any]]:
    """Return the tensors and the metadata."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            prefix = file.read(8)
            if len(prefix) < 8:
                raise CheckpointError(f"{path}: only {size} bytes, too short for safetensors")
            length = struct.unpack("<Q", prefix)[0]
            if length > MAX_HEADER_BYTES:
                raise CheckpointError(
                    f"{path}: header of {length} bytes exceeds the limit of {MAX_HEADER_BYTES}; "
                    "this is not a safetensors file"
                )
            if length > size - 8:
                raise CheckpointError(
                    f"{path}: truncated: header of {length} bytes in a file of {size}; "
                    "download it again"
                )
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    header = _parse(path, text)
    metadata = header.pop("__metadata__", None)
    entries = _entries(path, header, 8 + length, size)
    return entries, metadata if isinstance(metadata, dict) else {}


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    # SAFETY: deep nesting in a hostile header raises RecursionError.
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: header is not valid JSON: {error}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: header is a JSON {type(header).__name__}, not an object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{name!r} occurs twice")
    return result


def _entries(path: Path, header: dict[str, Any], data_start: int, size: int) -> dict[str, Entry]:
    entries = {name: _entry(path, name, value, data_start) for name, value in header.items()}
    position, previous = data_start, "the header"
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.end > size:
            raise CheckpointError(
                f"{path}: truncated: tensor {name!r} ends at byte {entry.end} of {size}; "
                "copy, download or make the file again"
            )
        if entry.start != position:
            problem = "overlaps" if entry.start < position else "leaves a hole after"
            raise CheckpointError(f"{path}: tensor {name!r} {problem} {previous!r}")
        position, previous = entry.end, name
    if position != size:
        raise CheckpointError(f"{path}: {size - position} bytes after the last tensor")
    return entries


def _entry(path: Path, name: str, value: Any, data_start: int) -> Entry:
    where = f"{path}: tensor {name!r}"
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: description is not an object")
    dtype, shape, offsets = (value.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise CheckpointError(f"{where}: unknown dtype {dtype!r}")
    if not _naturals(shape) or len(shape) > MAX_DIMENSIONS:
        raise CheckpointError(f"{where}: shape {shape!r} is not a list of sizes")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"{where}: data_offsets {offsets!r} are not a range")
    num_bits = math.prod(shape) * ITEM_BITS[dtype]
    if num_bits != 8 * (offsets[1] - offsets[0]):
        raise CheckpointError(
            f"{where}: data_offsets span {offsets[1] - offsets[0]} bytes, "
            f"but shape {shape} of {dtype} takes {num_bits / 8:g}"
        )
    return Entry(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _naturals(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**63 for item in value
    )


def _check_with_library(path: Path) -> None:
    """Have the format's own library, the authority on what is valid, look at the header too.

    Its views cannot hold bfloat16 in NumPy, so the data is mapped here.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a valid safetensors file: {error}") from error


class SafetensorsFile:
    """One mapped file; tensors are views of the mapping, valid as long as they are held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries, self.metadata = _read_header(path)
        _check_with_library(path)
        self._map: mmap.mmap | None = None

    def array(self, name: str) -> Array:
        """Return a read-only view of a float or byte tensor; bfloat16 as uint16."""
        entry = self.entries[name]
        dtype = _DTYPES[entry.dtype]
        if entry.start == entry.end:
            return np.empty(entry.shape, dtype)
        if self._map is None:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if entry.end > len(self._map):
            raise CheckpointError(f"{self.path}: the file shrank while it was being read")
        count = math.prod(entry.shape)
        flat = np.frombuffer(self._map, dtype, count, entry.start)
        # The format allows any header length, so a tensor may lie at an odd address.
        aligned: Array = np.require(flat, requirements="A")
        return aligned.reshape(entry.shape)

    def release(self, name: str) -> None:
        """Take a tensor's pages out of this process's memory; the next access maps them again."""
        entry = self.entries[name]
        # Pages that a neighbour shares stay: they may be in use.
        start = -(-entry.start // mmap.PAGESIZE) * mmap.PAGESIZE
        end = entry.end // mmap.PAGESIZE * mmap.PAGESIZE
        if self._map is not None and start < end and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)

    def close(self) -> None:
        """Drop the mapping; views still held keep it alive until they are gone."""
        self._map = None


def write_safetensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write float32, float16 and bfloat16 (uint16) arrays to one file."""
    names = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(np.uint16): "BF16"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())
