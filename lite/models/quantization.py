"""How a checkpoint's weights are quantized, as its config.json says it."""

from typing import Any

from lite.errors import ConfigError, UnsupportedModelError
from lite.models.fields import Fields
from lite.models.parts import Quantization

METHOD = "lite"
# Of the packed files too: raise it with every change of the kernels' layouts, of the rounding, or
# of the names of the packed tensors. Files of another version are not read.
VERSION = 1
_FORMATS: dict[str, Quantization] = {"int8": "int8", "int4": "int4"}


def quantization_config(quantization: Quantization) -> dict[str, Any]:
    """Return the `quantization_config` of a checkpoint that `lite quantize` writes."""
    return {"quant_method": METHOD, "format": quantization, "version": VERSION}


def read_quantization(config: Fields) -> Quantization | None:
    """Return the format of a checkpoint written by `lite quantize`; None if not quantized.

    Raises:
        CheckpointError: a field is malformed.
        UnsupportedModelError: quantized by another program, or in another version's format.
    """
    section = config.section("quantization_config")
    if section is None:
        return None
    method = section.values.get("quant_method", "unknown")
    if method != METHOD:
        raise UnsupportedModelError(
            f"{config.file}: quantization_config (method {method!r}) is not supported; supported "
            "are unquantized bfloat16, float16 and float32 checkpoints and what "
            "`lite quantize` makes of them"
        )
    version, name = section.integer("version"), section.string("format")
    if version != VERSION or name not in _FORMATS:
        raise UnsupportedModelError(
            f"{config.file}: quantized to format {name!r}, version {version}; supported are "
            f"{', '.join(_FORMATS)} in version {VERSION}: run `lite quantize` again"
        )
    return _FORMATS[name]


def resolve_quantization(
    asked: Quantization | None, stored: Quantization | None, model: str
) -> Quantization | None:
    """Return the format to run in: what was asked for, else what is stored.

    Raises:
        ConfigError: they differ.
    """
    if stored is not None and asked not in (None, stored):
        raise ConfigError(
            f"model.quantization is {asked!r}, but {model} is quantized to {stored} already; "
            "leave it out, or name the original checkpoint."
        )
    return stored or asked
