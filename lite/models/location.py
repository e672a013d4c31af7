"""Where a configured model lies: a directory, a config.json, or the name of a bundled model."""

from dataclasses import dataclass
from pathlib import Path

from lite.config import ModelConfig
from lite.errors import CheckpointError
from lite.formats.checkpoint import find_config

DEMO = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLocation:
    """A checkpoint on disk."""

    directory: Path
    config_file: Path


def locate_model(model: str) -> ModelLocation:
    """Find a checkpoint; the bundled one is made on first use.

    Raises:
        CheckpointError: there is none; says what was looked for.
        UnsupportedModelError: it is a file in a format that is not read.
    """
    path = Path(model).expanduser()
    if not path.exists():
        if model != DEMO:
            raise CheckpointError(
                f"model {model!r}: no such directory; give the path of a downloaded checkpoint "
                f"(config.json, *.safetensors, tokenizer.json), or {DEMO!r} for the bundled one"
            )
        from lite.models.demo import demo_checkpoint

        path = demo_checkpoint()
    directory, config_file = find_config(path)
    return ModelLocation(directory=directory, config_file=config_file)


def served_name(config: ModelConfig) -> str:
    """Return the name a model is served under: as configured, else its directory's."""
    if config.served_model_name:
        return config.served_model_name
    path = Path(config.model).expanduser()
    if not path.exists():
        return config.model
    return path.resolve().name if path.is_dir() else path.resolve().parent.name
