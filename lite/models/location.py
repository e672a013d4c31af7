"""Where a configured model lies: a directory, a config.json, or the name of a bundled model."""

import os
from dataclasses import dataclass
from pathlib import Path

from lite.config import ModelConfig
from lite.errors import CheckpointError
from lite.formats.checkpoint import expand_home, find_config

DEMO = "demo"
_DEMO_DIRECTORY = Path(__file__).parents[1] / "assets" / DEMO
_DEMO_FILES = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLocation:
    """A checkpoint on disk."""

    directory: Path
    config_file: Path


def locate_model(model: str) -> ModelLocation:
    """Find a checkpoint; `demo` is the bundled one wherever the program runs, `./demo` is not.

    Raises:
        CheckpointError: there is none; says what was looked for.
        UnsupportedModelError: it is a file in a format that is not read.
    """
    path = demo_directory() if model == DEMO else expand_home(model)
    if not os.path.exists(path):
        raise CheckpointError(
            f"model {model!r}: no such directory; give the path of a downloaded checkpoint "
            f"(config.json, *.safetensors, tokenizer.json), or {DEMO!r} for the bundled one"
        )
    directory, config_file = find_config(path)
    return ModelLocation(directory=directory, config_file=config_file)


def demo_directory() -> Path:
    """Return the directory of the bundled checkpoint.

    Raises:
        CheckpointError: this installation lacks a part of it.
    """
    missing = [name for name in _DEMO_FILES if not (_DEMO_DIRECTORY / name).is_file()]
    if missing:
        raise CheckpointError(
            f"the bundled model {DEMO!r} lacks {', '.join(missing)} in {_DEMO_DIRECTORY}; "
            "install lite-engine again, or name another checkpoint"
        )
    return _DEMO_DIRECTORY


def served_name(config: ModelConfig) -> str:
    """Return the name a model is served under: as configured, else its directory's."""
    if config.served_model_name:
        return config.served_model_name
    path = expand_home(config.model)
    if config.model == DEMO or not os.path.exists(path):
        return config.model
    return path.resolve().name if path.is_dir() else path.resolve().parent.name
