"""Opening checkpoints: files, shards, formats that are refused, and dummy weights."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lite.errors import CheckpointError, UnsupportedModelError
from lite.formats.checkpoint import open_checkpoint, read_json
from lite.models import declare
from lite.models.weights import check_tensors
from tests.checkpoints import make_checkpoint, make_config, make_tensors, write_safetensors

INDEX = "model.safetensors.index.json"


def edit_index(path: Path, change: Any) -> None:
    index = json.loads((path / INDEX).read_text())
    change(index["weight_map"])
    (path / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize("num_shards", [1, 3])
def test_tensors_of_single_and_sharded_checkpoints_come_back(
    tmp_path: Path, num_shards: int
) -> None:
    make_checkpoint(tmp_path, "llama", num_shards=num_shards, tokenizer=False)
    expected = make_tensors(make_config("llama"))
    with open_checkpoint(tmp_path) as checkpoint:
        assert set(checkpoint.tensors) == set(expected)
        for name, values in expected.items():
            assert np.array_equal(checkpoint.tensors[name], values)
            assert checkpoint.tensors.shape(name) == values.shape
        assert checkpoint.config["model_type"] == "llama"
        assert checkpoint.generation_config["eos_token_id"] == 2


def test_a_file_of_the_directory_names_the_checkpoint(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, tokenizer=False)
    for file in ("config.json", "model.safetensors"):
        assert open_checkpoint(tmp_path / file).path == tmp_path


def test_a_missing_generation_config_is_empty(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, tokenizer=False)
    (tmp_path / "generation_config.json").unlink()
    assert open_checkpoint(tmp_path).generation_config == {}


def test_a_missing_directory_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no such directory; give the path"):
        open_checkpoint(tmp_path / "nowhere")


def test_an_unknown_load_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="load_format 'torch' is unknown; choose one of auto"):
        open_checkpoint(tmp_path, "torch")


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: missing"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[]", "a JSON list, expected an object"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_a_broken_config_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=rf"config\.json: {message}"):
        open_checkpoint(tmp_path)


def test_an_enormous_json_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with open(path, "wb") as file:
        file.truncate(65 * 1024 * 1024)
    with pytest.raises(CheckpointError, match="larger than the limit"):
        read_json(path)


def test_missing_weights_are_refused_with_the_remedy(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, tokenizer=False)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"neither model\.safetensors nor .* load_format dummy"
    ):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickled_weights_are_refused_with_the_remedy(tmp_path: Path, file: str) -> None:
    make_checkpoint(tmp_path, tokenizer=False)
    (tmp_path / "model.safetensors").rename(tmp_path / file)
    with pytest.raises(UnsupportedModelError, match=rf"{file}: pickled .*save_pretrained"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("as_file", [False, True])
def test_gguf_is_refused(tmp_path: Path, as_file: bool) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(UnsupportedModelError, match=r"model\.gguf: GGUF is not supported"):
        open_checkpoint(tmp_path / "model.gguf" if as_file else tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, num_shards=2, tokenizer=False)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002.safetensors: missing"):
        open_checkpoint(tmp_path)


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, num_shards=2, tokenizer=False)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002.safetensors: truncated"):
        open_checkpoint(tmp_path)


def test_an_index_naming_an_absent_tensor_is_refused(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, num_shards=2, tokenizer=False)
    edit_index(tmp_path, lambda m: m.update({"ghost": "model-00001-of-00002.safetensors"}))
    with pytest.raises(CheckpointError, match=r"00001-of-00002.safetensors: tensor 'ghost' is not"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "shard",
    [
        "../x.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..",
        ".",
        "",
        "a\\b.safetensors",
        "a\0.safetensors",
        7,
    ],
)
def test_an_index_cannot_leave_its_directory(tmp_path: Path, shard: Any) -> None:
    make_checkpoint(tmp_path / "inner", num_shards=2, tokenizer=False)
    write_safetensors(tmp_path / "x.safetensors", {"model.norm.weight": np.ones(4, np.float32)})
    edit_index(tmp_path / "inner", lambda m: m.update({"model.norm.weight": shard}))
    with pytest.raises(CheckpointError, match=r"'model.norm.weight' is in .* plain file name"):
        open_checkpoint(tmp_path / "inner")


@pytest.mark.parametrize("weight_map", [None, [], {}, "x"])
def test_an_index_without_a_weight_map_is_refused(tmp_path: Path, weight_map: Any) -> None:
    make_checkpoint(tmp_path, num_shards=2, tokenizer=False)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=rf"{INDEX}: field 'weight_map'"):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, num_shards=2, tokenizer=False)
    first = tmp_path / "model-00001-of-00002.safetensors"
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(first.read_bytes())
    edit_index(tmp_path, lambda m: [m.pop(k) for k in list(m) if m[k] != first.name])
    name = next(iter(json.loads((tmp_path / INDEX).read_text())["weight_map"]))
    edit_index(tmp_path, lambda m: m.update({name: "model-00002-of-00002.safetensors"}))
    with pytest.raises(CheckpointError, match=r"tensor '.*' is also in .*00002"):
        open_checkpoint(tmp_path)


def test_dummy_weights_need_only_a_config_and_match_its_shapes(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(make_config("qwen2")))
    for source in (path, tmp_path):
        with open_checkpoint(source, "dummy") as checkpoint:
            decoder = declare(checkpoint.config)
            check_tensors(decoder, checkpoint)
            for name in checkpoint.tensors:
                assert checkpoint.tensors[name].shape == checkpoint.tensors.shape(name)


def _float(values: Any) -> Any:
    return (values.astype(np.uint32) << 16).view(np.float32)


def test_dummy_weights_are_random_by_seed_and_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(make_config("qwen2", hidden_size=256)))
    first, same = (open_checkpoint(tmp_path, "dummy", seed=1).tensors for _ in range(2))
    other = open_checkpoint(tmp_path, "dummy", seed=2).tensors
    name = "model.layers.0.mlp.gate_proj.weight"
    assert np.array_equal(first[name], same[name])
    assert not np.array_equal(first[name], other[name])
    assert not np.array_equal(first[name], first[name.replace("gate", "up")])
    values = _float(first[name])
    assert abs(values.mean()) < 1e-3
    assert values.std() == pytest.approx(0.02, rel=0.05)
    assert _float(first["model.norm.weight"]).mean() == pytest.approx(1.0, abs=0.01)
    assert abs(_float(first["model.layers.0.self_attn.q_proj.bias"]).mean()) < 0.01


def test_a_gigabyte_of_dummy_weights_takes_a_few_seconds(tmp_path: Path) -> None:
    config = make_config("qwen3", hidden_size=1024, vocab_size=151_936, intermediate_size=3072)
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = open_checkpoint(tmp_path, "dummy").tensors
    started = time.monotonic()
    embedding = tensors["model.embed_tokens.weight"]
    seconds_per_byte = (time.monotonic() - started) / embedding.nbytes
    assert seconds_per_byte * 1.2e9 < 10
