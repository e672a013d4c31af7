"""generation_config.json: end-of-sequence ids and sampling defaults."""

import json
from pathlib import Path
from typing import Any

import pytest

from lite.errors import CheckpointError
from lite.models.generation import GenerationConfig, read_generation_config
from lite.models.location import ModelLocation
from lite.sampling_params import SamplingParams


def read(path: Path, generation: Any, config: Any = None) -> GenerationConfig:
    if generation is not None:
        (path / "generation_config.json").write_text(json.dumps(generation))
    location = ModelLocation(directory=path, config_file=path / "config.json")
    return read_generation_config(location, config or {})


def test_eos_ids_are_the_union_generation_config_first(tmp_path: Path) -> None:
    result = read(tmp_path, {"eos_token_id": [5, 3]}, {"eos_token_id": 3})
    assert result.eos_token_ids == (5, 3)
    result = read(tmp_path, {"eos_token_id": 5}, {"eos_token_id": [7, 5]})
    assert result.eos_token_ids == (5, 7)


def test_nothing_said_means_nothing_set(tmp_path: Path) -> None:
    result = read(tmp_path, None)
    assert (result.eos_token_ids, result.bos_token_id, result.sampling) == ((), None, {})
    result = read(tmp_path, {"eos_token_id": None, "temperature": None})
    assert (result.eos_token_ids, result.sampling) == ((), {})


def test_bos_comes_from_either_file(tmp_path: Path) -> None:
    assert read(tmp_path, {"bos_token_id": 4}, {"bos_token_id": 1}).bos_token_id == 4
    assert read(tmp_path, {}, {"bos_token_id": 1}).bos_token_id == 1


def test_sampling_defaults_have_the_names_of_sampling_params(tmp_path: Path) -> None:
    values = {
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "min_p": 0.1,
        "repetition_penalty": 1.05,
        "max_new_tokens": 2048,
        "max_length": 4096,
        "transformers_version": "4.51.0",
    }
    sampling = read(tmp_path, values).sampling
    assert sampling == {
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "min_p": 0.1,
        "repetition_penalty": 1.05,
        "max_tokens": 2048,
    }
    SamplingParams(**sampling)


def test_do_sample_false_is_greedy(tmp_path: Path) -> None:
    assert read(tmp_path, {"do_sample": False, "temperature": 0.6}).sampling == {"temperature": 0.0}
    assert read(tmp_path, {"do_sample": True}).sampling == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eos_token_id", -1),
        ("eos_token_id", "2"),
        ("eos_token_id", [2, True]),
        ("eos_token_id", {"id": 2}),
        ("bos_token_id", 1.5),
        ("temperature", -0.1),
        ("temperature", "hot"),
        ("top_p", 0),
        ("top_p", 1.5),
        ("top_k", -2),
        ("top_k", 2.5),
        ("min_p", 2),
        ("repetition_penalty", 0),
        ("max_new_tokens", 0),
        ("do_sample", "no"),
    ],
)
def test_a_bad_field_is_refused_with_file_and_name(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=rf"generation_config\.json: field '{field}' is "):
        read(tmp_path, {field: value})


def test_a_bad_id_in_config_json_names_that_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"/config\.json: field 'eos_token_id' is -2"):
        read(tmp_path, None, {"eos_token_id": -2})
