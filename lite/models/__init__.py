"""Model architectures as declarations; `declare` turns a config.json into a `Decoder`."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from lite.errors import UnsupportedModelError
from lite.models.fields import Fields
from lite.models.quantization import read_quantization
from lite.models.spec import Decoder

__all__ = ["ARCHITECTURES", "declare"]

# Architecture name in config.json -> module of this package, imported on demand.
ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}


def declare(hf_config: Mapping[str, Any], *, file: str = "config.json") -> Decoder:
    """Read a Hugging Face `config.json`.

    Args:
        hf_config: the parsed file.
        file: its path, for messages.

    Raises:
        CheckpointError: a field is missing, of the wrong type, or out of range.
        UnsupportedModelError: the architecture, rope type, activation or quantization is not
            implemented; lists what is.
    """
    fields = Fields(hf_config, file)
    architectures = fields.strings("architectures")
    if not architectures:
        raise fields.error("architectures", f"a list naming one of {', '.join(ARCHITECTURES)}")
    module = ARCHITECTURES.get(architectures[0])
    if module is None:
        raise UnsupportedModelError(
            f"{file}: architecture {architectures[0]!r} is not supported; "
            f"supported are {', '.join(ARCHITECTURES)}"
        )
    read_quantization(fields)
    decoder: Decoder = import_module(f"lite.models.{module}").declare(fields)
    return decoder
