"""What a checkpoint says about generating: end-of-sequence ids and sampling defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lite.formats.checkpoint import read_json
from lite.models.fields import MAX_SIZE, Fields
from lite.models.location import ModelLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationConfig:
    """Token ids and defaults; `sampling` has names of `SamplingParams`, only what is set."""

    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None
    sampling: dict[str, Any]


def read_generation_config(
    location: ModelLocation, hf_config: Mapping[str, Any]
) -> GenerationConfig:
    """Read generation_config.json, if there is one, and the token ids of `hf_config`.

    EOS ids are the union of both files, those of generation_config.json first. As in vLLM,
    `max_new_tokens` becomes the default of `max_tokens`, and `max_length` is ignored. An
    explicit `do_sample: false` asks for greedy decoding, so temperature is 0.

    Raises:
        CheckpointError: a field has the wrong type or range; names file and field.
    """
    file = location.directory / "generation_config.json"
    generation = Fields(read_json(file) if file.is_file() else {}, str(file))
    model = Fields(hf_config, str(location.config_file))
    eos = dict.fromkeys(_token_ids(generation, "eos_token_id") + _token_ids(model, "eos_token_id"))
    sampling = {
        "temperature": generation.number("temperature", None, low=0.0, high=100.0),
        "top_p": generation.number("top_p", None, above=0.0, high=1.0),
        "top_k": generation.integer("top_k", None, low=-1),
        "min_p": generation.number("min_p", None, low=0.0, high=1.0),
        "repetition_penalty": generation.number("repetition_penalty", None, above=0.0, high=100.0),
        "max_tokens": generation.integer("max_new_tokens", None, high=2**31 - 1),
    }
    if generation.has("do_sample") and not generation.flag("do_sample", True):
        sampling["temperature"] = 0.0
    bos = _token_ids(generation, "bos_token_id") or _token_ids(model, "bos_token_id")
    return GenerationConfig(
        eos_token_ids=tuple(eos),
        bos_token_id=bos[0] if bos else None,
        sampling={name: value for name, value in sampling.items() if value is not None},
    )


def _token_ids(fields: Fields, name: str) -> list[int]:
    """Read one id or a list of ids; none when absent or null."""
    value = fields.values.get(name)
    if value is None:
        return []
    ids = value if isinstance(value, list) else [value]
    for item in ids:
        if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < MAX_SIZE:
            raise fields.error(name, "a token id, or a list of token ids")
    return ids
