"""Safetensors: what is read, and every way a file can be broken."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from lite.errors import CheckpointError
from lite.formats.safetensors import SafetensorsFile, read_header, write_safetensors
from tests import checkpoints


def write(path: Path, header: Any, data: bytes = b"", *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def tensor(dtype: str, shape: Any, offsets: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_written_elsewhere_come_back(tmp_path: Path, dtype: str) -> None:
    values = checkpoints.cast(np.linspace(-3, 3, 12).reshape(3, 4), dtype)
    path = tmp_path / "x.safetensors"
    checkpoints.write_safetensors(path, {"first": values[:1], "a": values, "scalar": values[0, 0]})
    file = SafetensorsFile(path)
    assert np.array_equal(file.array("a"), values)
    assert file.array("a").dtype == values.dtype
    assert file.array("scalar").shape == ()
    assert file.array("scalar") == values[0, 0]


def test_files_of_the_safetensors_package_are_read(tmp_path: Path) -> None:
    tensors = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.arange(5, dtype=np.float16),
        "empty": np.empty((0, 4), np.float32),
    }
    safetensors.numpy.save_file(tensors, tmp_path / "x.safetensors")
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert set(file.entries) == set(tensors)
    for name, values in tensors.items():
        assert np.array_equal(file.array(name), values)
        assert file.array(name).shape == values.shape


def test_the_safetensors_package_reads_what_is_written(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_safetensors(tmp_path / "x.safetensors", {"a": values, "b": np.ones(3, np.float16)})
    loaded = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert np.array_equal(loaded["a"], values)
    write_safetensors(tmp_path / "y.safetensors", {"c": np.ones(3, np.uint16)})
    with safetensors.safe_open(tmp_path / "y.safetensors", "np") as file:
        assert file.get_slice("c").get_dtype() == "BF16"


def test_arrays_are_read_only_views_that_survive_close(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.safetensors", {"a": np.arange(4, dtype=np.float32)})
    file = SafetensorsFile(tmp_path / "x.safetensors")
    view = file.array("a")
    assert not view.flags.writeable
    assert not view.flags.owndata
    file.close()
    assert view.tolist() == [0, 1, 2, 3]


def test_a_tensor_at_an_odd_address_is_copied(tmp_path: Path) -> None:
    header = json.dumps({"a": tensor("F32", [2], [0, 8])}).encode()
    header += b" " * (1 - len(header) % 2)
    path = write(tmp_path / "x.safetensors", header, struct.pack("<2f", 1.5, 2.5))
    values = SafetensorsFile(path).array("a")
    assert values.flags.aligned
    assert values.tolist() == [1.5, 2.5]


BROKEN = {
    "header is not an object": ([], b"", "not an object"),
    "bad JSON": (b'{"a": ', b"", "not valid JSON"),
    "bad UTF-8": (b'{"\xff": 1}', b"", "not valid JSON"),
    "endless nesting": (b'{"a":' + b"[" * 100_000, b"", "not valid JSON"),
    "duplicate tensor": (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"\0" * 4,
        "'a' occurs twice",
    ),
    "description": ({"a": 1}, b"", "tensor 'a'"),
    "unknown dtype": ({"a": tensor("F31", [1], [0, 4])}, b"\0" * 4, "tensor 'a'.*'F31'"),
    "dtype type": ({"a": tensor([], [1], [0, 4])}, b"\0" * 4, "tensor 'a'"),  # type: ignore[arg-type]
    "negative size": ({"a": tensor("F32", [-1], [0, 4])}, b"\0" * 4, "tensor 'a'.*shape"),
    "size true": ({"a": tensor("F32", [True], [0, 4])}, b"\0" * 4, "tensor 'a'.*shape"),
    "huge size": ({"a": tensor("F32", [10**30], [0, 4])}, b"\0" * 4, "tensor 'a'.*shape"),
    "dimensions": ({"a": tensor("F32", [1] * 33, [0, 4])}, b"\0" * 4, "tensor 'a'.*shape"),
    "product overflows": (
        {"a": tensor("F32", [2**62, 2**62], [0, 4])}, b"\0" * 4, "tensor 'a'.*takes",
    ),
    "backward range": ({"a": tensor("F32", [1], [4, 0])}, b"\0" * 4, "tensor 'a'.*not a range"),
    "three offsets": ({"a": tensor("F32", [1], [0, 4, 8])}, b"\0" * 4, "tensor 'a'"),
    "negative offset": ({"a": tensor("F32", [1], [-4, 0])}, b"\0" * 4, "tensor 'a'"),
    "float offset": ({"a": tensor("F32", [1], [0, 4.0])}, b"\0" * 4, "tensor 'a'"),
    "missing offsets": ({"a": {"dtype": "F32", "shape": [1]}}, b"\0" * 4, "tensor 'a'"),
    "range and shape differ": ({"a": tensor("F32", [2], [0, 4])}, b"\0" * 4, "tensor 'a'.*takes 8"),
    "beyond the file": ({"a": tensor("F32", [2], [0, 8])}, b"\0" * 4, "truncated: tensor 'a'"),
    "overlap": (
        {"a": tensor("F32", [2], [0, 8]), "b": tensor("F32", [2], [4, 12])},
        b"\0" * 12,
        "tensor 'b' overlaps 'a'",
    ),
    "same range": (
        {"a": tensor("F32", [1], [0, 4]), "b": tensor("F32", [1], [0, 4])},
        b"\0" * 4,
        "tensor 'b' overlaps 'a'",
    ),
    "hole": (
        {"a": tensor("F32", [1], [0, 4]), "b": tensor("F32", [1], [8, 12])},
        b"\0" * 12,
        "tensor 'b' leaves a hole after 'a'",
    ),
    "trailing bytes": ({"a": tensor("F32", [1], [0, 4])}, b"\0" * 6, "2 bytes after"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_header_is_refused_with_file_and_reason(tmp_path: Path, case: str) -> None:
    header, data, message = BROKEN[case]
    path = write(tmp_path / "x.safetensors", header, data)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_header(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("size", [0, 7])
def test_a_file_too_short_for_its_length_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\0" * size)
    with pytest.raises(CheckpointError, match=f"x.safetensors: only {size} bytes"):
        read_header(path)


def test_a_header_longer_than_the_file_is_called_truncated(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", {}, length=1000)
    with pytest.raises(CheckpointError, match=r"x\.safetensors: truncated"):
        read_header(path)


def test_an_absurd_header_length_is_refused_before_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", {}, length=2**63)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_header(path)


def test_every_truncation_of_a_good_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": np.arange(4, dtype=np.float32), "b": np.ones(3, np.uint16)})
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=r"x\.safetensors"):
            read_header(path)


def test_a_file_that_shrinks_after_its_header_was_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": np.arange(4, dtype=np.float32)})
    file = SafetensorsFile(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="shrank"):
        file.array("a")


def test_no_damage_to_a_header_gets_past_the_checks_unnoticed_or_crashes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": np.arange(4, dtype=np.float32), "b": np.ones(3, np.uint16)})
    good = path.read_bytes()
    header_end = 8 + struct.unpack_from("<Q", good)[0]
    generator = np.random.default_rng(0)
    messages, sizes = [], []
    for _ in range(500):
        data = bytearray(good)
        for position in generator.integers(0, header_end, generator.integers(1, 4)):
            data[position] = generator.integers(0, 256)
        path.write_bytes(data)
        try:
            entries = SafetensorsFile(path).entries.values()
        except CheckpointError as error:
            messages.append(str(error))
        else:
            sizes.append(sum(entry.end - entry.start for entry in entries))
    assert all(str(path) in message for message in messages)
    assert set(sizes) == {len(good) - header_end}
