"""Safetensors files written tensor by tensor, and pages given back while reading."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors

from lite.errors import CheckpointError
from lite.formats.safetensors import SafetensorsFile
from lite.formats.safetensors_writer import ALIGNMENT, SafetensorsWriter

MIB = 1 << 20


def tensors() -> dict[str, Any]:
    return {
        "odd": np.arange(5, dtype=np.float32),
        "panels": np.arange(192, dtype=np.uint8),
        "table": np.arange(128, dtype=np.uint16).reshape(4, 32),
        "empty": np.empty(0, np.float32),
        "bias": np.arange(32, dtype=np.float32),
    }


def write(path: Path, values: dict[str, Any]) -> None:
    with SafetensorsWriter(path, values) as writer:
        for name, array in values.items():
            writer.add(name, array)


def test_what_was_written_comes_back_here_and_in_the_safetensors_package(tmp_path: Path) -> None:
    path, expected = tmp_path / "x.safetensors", tensors()
    write(path, expected)
    file = SafetensorsFile(path)
    assert set(file.entries) == set(expected)
    for name, array in expected.items():
        assert np.array_equal(file.array(name), array)
        assert file.array(name).dtype == array.dtype
    with safetensors.safe_open(path, "np") as other:
        assert np.array_equal(other.get_tensor("panels"), expected["panels"])
        assert other.get_slice("table").get_dtype() == "BF16"


def test_large_tensors_are_aligned_whatever_comes_between(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write(path, tensors())
    entries = SafetensorsFile(path).entries
    assert all(entries[name].start % ALIGNMENT == 0 for name in ("panels", "table", "bias"))
    assert SafetensorsFile(path).array("panels").ctypes.data % ALIGNMENT == 0


def test_a_file_whose_writing_failed_is_not_valid(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with contextlib.suppress(KeyError), SafetensorsWriter(path, ["a"]) as writer:
        writer.add("a", np.zeros(64, np.uint8))
        raise KeyError
    assert path.stat().st_size > 64
    with pytest.raises(CheckpointError, match="header is not valid JSON"):
        SafetensorsFile(path)


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        write(path, tensors())
    assert path.read_text() == "mine"


def resident_bytes(path: Path) -> int:
    """Return how much of a mapped file is in this process's memory."""
    smaps = Path("/proc/self/smaps").read_text().splitlines()
    start = next(i for i, line in enumerate(smaps) if line.endswith(str(path)))
    rss = next(line for line in smaps[start:] if line.startswith("Rss:"))
    return int(rss.split()[1]) * 1024


def test_released_tensors_leave_the_memory_and_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    values = np.random.default_rng(0).integers(0, 255, 8 * MIB, dtype=np.uint8)
    write(path, {"a": values, "b": values})
    file = SafetensorsFile(path)
    first, second = file.array("a"), file.array("b")
    assert first.sum() == second.sum()
    assert resident_bytes(path) >= 15 * MIB
    file.release("a")
    assert resident_bytes(path) <= 9 * MIB
    assert np.array_equal(first, values)
