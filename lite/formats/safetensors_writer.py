"""Writing a safetensors file tensor by tensor, before the sizes of all are known."""

import json
import os
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from lite.formats.safetensors import DTYPE_NAMES, Array

ALIGNMENT = 64  # of tensors from the start of the file: a cache line, and a vector of any CPU
_PAGE = 4096
_LARGEST = 2**63 - 1


class SafetensorsWriter:
    """Writes one file; complete, and on the disk, once its `with` block has ended.

    Tensors are written as they come, each at a multiple of 64 bytes. `names` are those that will
    come: they tell how much room the header needs, with `metadata`.

    Raises:
        OSError: the file cannot be written; what there is of it has no valid header.
    """

    def __init__(
        self, path: Path, names: Collection[str], metadata: Mapping[str, str] | None = None
    ) -> None:
        self.metadata = dict(metadata or {})  # values may still change, but not in length
        self._header: dict[str, Any] = {}
        self._deferred: list[tuple[str, Array]] = []
        self._position = 0
        bound = {
            name: _entry(np.dtype(np.uint16), (_LARGEST, _LARGEST), _LARGEST, _LARGEST)
            for name in names
        }
        if self.metadata:
            bound["__metadata__"] = self.metadata
        self._data_start = -(-(8 + len(json.dumps(bound))) // _PAGE) * _PAGE
        self._path = path

    def add(self, name: str, tensor: Array) -> None:
        """Write a float32, float16, bfloat16 (uint16) or byte tensor of 1 or 2 dimensions."""
        if tensor.nbytes % ALIGNMENT:
            # The format allows no holes, so what would shift its successors comes last.
            self._deferred.append((name, tensor))
        else:
            self._write(name, tensor)

    def _write(self, name: str, tensor: Array) -> None:
        end = self._position + tensor.nbytes
        self._header[name] = _entry(tensor.dtype, tensor.shape, self._position, end)
        self._file.write(np.ascontiguousarray(tensor).data)
        self._position = end

    def __enter__(self) -> Self:
        self._file = open(self._path, "xb")
        self._file.seek(self._data_start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if error is not None:
                return
            for name, tensor in self._deferred:
                self._write(name, tensor)
            if self.metadata:
                self._header["__metadata__"] = self.metadata
            size = self._data_start - 8
            text = json.dumps(self._header).encode().ljust(size)
            assert len(text) == size, "more or longer names than were announced"
            self._file.seek(0)
            self._file.write(struct.pack("<Q", size) + text)
            self._file.flush()
            os.fsync(self._file.fileno())


def _entry(dtype: np.dtype[Any], shape: tuple[int, ...], start: int, end: int) -> dict[str, Any]:
    return {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
