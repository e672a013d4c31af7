"""Seeded random weights of any shape, for running a config.json without its weights."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lite_kernels.dtypes import to_bfloat16

STD = 0.02
# PERF: one block of random numbers, repeated; drawing 600 million would take ten seconds. Its
# length is prime, so that rows of a matrix do not repeat.
_BLOCK = 1_048_573


class DummyTensors:
    """Random bfloat16 weights (uint16 bits) made when asked for; vectors lie near 1.

    Equal seed, name and shape give equal values.
    """

    files: tuple[Path, ...] = ()

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], file: Path, seed: int = 0) -> None:
        self._shapes = shapes
        self._file = file
        values = np.random.default_rng(seed).standard_normal(_BLOCK, dtype=np.float32)
        self._block = to_bfloat16(values * np.float32(STD))

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __contains__(self, name: object, /) -> bool:
        return name in self._shapes

    def __getitem__(self, name: str) -> npt.NDArray[np.uint16]:
        shape = self._shapes[name]
        size = math.prod(shape)
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        start = int.from_bytes(digest, "little") % _BLOCK
        out = np.empty(size, np.uint16)
        first = min(size, _BLOCK - start)
        out[:first] = self._block[start : start + first]
        for i in range(first, size, _BLOCK):
            part = out[i : i + _BLOCK]
            part[:] = self._block[: len(part)]
        if len(shape) == 1 and not name.endswith("bias"):
            near_one = 1.0 + (out.astype(np.uint32) << 16).view(np.float32)
            out = to_bfloat16(near_one)
        return out.reshape(shape)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def file(self, name: str) -> Path:
        return self._file

    def check_dtype(self, name: str) -> None:
        """Every tensor is bfloat16."""

    def release(self, name: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held open."""
