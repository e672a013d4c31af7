"""Finding the checkpoint that a setting names."""

from pathlib import Path

import pytest

from lite.config import ModelConfig
from lite.errors import CheckpointError, UnsupportedModelError
from lite.formats.checkpoint import find_config
from lite.models.location import locate_model, served_name


def test_a_directory_or_a_file_in_it_names_the_checkpoint(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    for path in (tmp_path, tmp_path / "config.json", tmp_path / "model.safetensors"):
        location = locate_model(str(path))
        assert location.directory == tmp_path
        assert location.config_file == tmp_path / "config.json"


def test_demo_is_the_bundled_checkpoint_in_every_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = locate_model("demo").directory
    assert here.is_absolute()
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate_model("demo").directory == here
    assert served_name(ModelConfig(model="demo")) == "demo"
    assert locate_model("./demo").directory == Path("demo")


def test_a_name_that_is_no_path_is_refused_with_the_remedy() -> None:
    with pytest.raises(CheckpointError, match=r"'org/model': no such directory; .*'demo'"):
        locate_model("org/model")


@pytest.mark.parametrize("name", ["~no-such-user/model", "x" * 300])
def test_names_that_cannot_exist_are_refused_like_those_that_do_not(name: str) -> None:
    with pytest.raises(CheckpointError, match="no such directory"):
        locate_model(name)
    with pytest.raises(CheckpointError, match="no such directory"):
        find_config(name)
    assert served_name(ModelConfig(model=name)) == name


def test_a_gguf_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    with pytest.raises(UnsupportedModelError, match="GGUF"):
        locate_model(str(tmp_path / "model.gguf"))


def test_the_served_name_is_the_configured_one_else_the_directorys(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert served_name(ModelConfig(model=str(tmp_path))) == tmp_path.name
    assert served_name(ModelConfig(model=str(tmp_path / "config.json"))) == tmp_path.name
    assert served_name(ModelConfig(model=str(tmp_path), served_model_name="x")) == "x"
    assert served_name(ModelConfig(model="demo")) == "demo"
