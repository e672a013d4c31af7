"""Packed weights as one safetensors file: what `pack_parts` made, to be mapped instead of packed.

A linear is `NAME.panels` (bytes, in the layout of the kernels) and, where it has biases,
`NAME.bias` (float32, in the panels' order); a table or a vector is `NAME`. The layout is the
same for every instruction set, so a file may move to another machine. The header holds a digest of
the tensors' checksums.
"""

import hashlib
from collections.abc import Container, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lite.errors import CheckpointError
from lite.formats.safetensors import DTYPE_NAMES, SafetensorsFile
from lite.formats.safetensors_writer import ALIGNMENT, SafetensorsWriter
from lite.models.parts import EMBEDDING, LinearPart, Part, TablePart
from lite.models.weights import upload
from lite_kernels.interface import Array, Kernels

_DIGEST = "lite_digest"


def write_packed(
    path: Path, parts: tuple[Part, ...], packed: Iterable[tuple[str, Any]], kernels: Kernels
) -> None:
    """Write the packed parts, as `pack_parts` yields them, to a new file.

    Raises:
        OSError: the file exists, or cannot be written completely.
    """
    names = {part.name: _names(part) for part in parts}
    sums: dict[str, int] = {}
    metadata = {"format": "lite", _DIGEST: _digest({})}
    with SafetensorsWriter(path, list(chain.from_iterable(names.values())), metadata) as writer:
        for part, content in packed:
            if isinstance(content, np.ndarray):
                arrays = [content]
            else:
                arrays = [array for array in (content.weights, content.bias) if array is not None]
            for name, array in zip(names[part], arrays, strict=True):
                sums[name] = kernels.checksum(array)
                writer.add(name, array)
        writer.metadata[_DIGEST] = _digest(sums)


def _digest(sums: Mapping[str, int]) -> str:
    """Return one digest, always of the same length, of the tensors' checksums."""
    lines = (f"{name} {sums[name]:016x}\n" for name in sorted(sums))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def packed_file(directory: Path) -> Path:
    """Return the file of a packed checkpoint."""
    return directory / "model.safetensors"


def has_embedding(names: Container[str]) -> bool:
    """Tell whether quantized tensors of these names hold an embedding beside the head."""
    return f"{EMBEDDING}.panels" in names


def _names(part: Part) -> list[str]:
    if not isinstance(part, LinearPart):
        return [part.name]
    return [f"{part.name}.panels", *([f"{part.name}.bias"] if part.num_biases else [])]


def read_packed(path: Path, parts: tuple[Part, ...], kernels: Kernels) -> dict[str, Any]:
    """Return the content of every part by its name; panels and tables stay in the mapped file.

    Raises:
        CheckpointError: the file is damaged, or not one of these parts and kernels.
    """
    reader = _Reader(SafetensorsFile(path), kernels)
    expected = {name for part in parts for name in _names(part)}
    unknown = next((name for name in reader.file.entries if name not in expected), None)
    if unknown is not None:
        raise CheckpointError(f"{path}: tensor {unknown!r} is not part of this model")
    reader.verify()
    content = {part.name: reader.part(part) for part in parts}
    reader.file.close()
    return content


class _Reader:
    """Turns tensors of the file into what the kernels take."""

    def __init__(self, file: SafetensorsFile, kernels: Kernels) -> None:
        self.file = file
        self._kernels = kernels

    def verify(self) -> None:
        """Compare the content with the digest, which files of other writers may lack.

        PERF: all of it is read for the first token anyway.
        """
        expected = self.file.metadata.get(_DIGEST)
        if expected is None:
            return
        sums = {name: self._kernels.checksum(self.file.array(name)) for name in self.file.entries}
        if _digest(sums) != expected:
            raise CheckpointError(
                f"{self.file.path}: damaged: its content is not what was written; make it again"
            )

    def part(self, part: Part) -> Any:
        if isinstance(part, LinearPart):
            return self._linear(part)
        if isinstance(part, TablePart):
            dtype = "uint16" if self._kernels.dtype == "bfloat16" else "float32"
            return self._array(part.name, part.shape, dtype)
        return upload(self._array(part.name, (part.size,), "float32"), self._kernels)

    def _linear(self, part: LinearPart) -> Any:
        from lite_kernels.cpu.isa.panel import PANEL
        from lite_kernels.cpu.pack import PackedLinear, panel_format

        panel = panel_format(self._kernels.dtype, part.quantization)
        num_panels = panel.num_panels(part.out_features, gated=part.is_gated)
        panels, *bias = _names(part)
        return PackedLinear(
            panel=panel,
            weights=self._array(panels, (part.nbytes(self._kernels),), "uint8"),
            bias=self._array(bias[0], (num_panels * PANEL,), "float32") if bias else None,
            in_features=part.in_features,
            out_features=part.out_features,
            is_gated=part.is_gated,
        )

    def _array(self, name: str, shape: tuple[int, ...], dtype: str) -> Array:
        """Return a mapped tensor after checking its type and shape."""
        entry = self.file.entries.get(name)
        if entry is None:
            raise CheckpointError(f"{self.file.path}: tensor {name!r} is missing")
        wanted = DTYPE_NAMES[np.dtype(dtype)]
        if (entry.dtype, entry.shape) != (wanted, shape):
            raise CheckpointError(
                f"{self.file.path}: tensor {name!r} is {entry.dtype} {entry.shape}, "
                f"expected {wanted} {shape}"
            )
        array = self.file.array(name)
        if entry.start % ALIGNMENT == 0:
            return array
        # SAFETY: kernels read whole vectors, also where something else wrote the file.
        out = self._kernels.empty(shape, "act" if dtype == "uint16" else dtype)
        out[...] = array
        return out
