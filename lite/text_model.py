"""TextModel: what a front end needs of a checkpoint (tokenizer, template, defaults), no weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lite.config import ModelConfig
from lite.formats.checkpoint import read_json
from lite.models import declare
from lite.models.generation import read_generation_config
from lite.models.location import ModelLocation, demo_directory, locate_model, served_name
from lite.text.chat_template import ChatTemplate, load_chat_template
from lite.text.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """The text side of a model.

    Attributes:
        name: the name it is served under.
        tokenizer: text to token ids and back.
        chat_template: messages to text.
        vocab_size: of the embedding, which may be larger than the tokenizer's.
        model_max_len: what the model was declared for; the engine may allow less.
        eos_token_ids: tokens that end an output.
        default_sampling: sampling parameters of generation_config.json.
    """

    name: str
    tokenizer: Tokenizer
    chat_template: ChatTemplate
    vocab_size: int
    model_max_len: int
    eos_token_ids: tuple[int, ...]
    default_sampling: dict[str, Any]


def load_text_model(config: ModelConfig) -> TextModel:
    """Read the text side of the checkpoint that `config` names.

    Raises:
        ModelError: a file is missing, malformed or unsupported.
    """
    location = locate_model(config.model)
    hf_config = read_json(location.config_file)
    decoder = declare(hf_config, file=str(location.config_file))
    generation = read_generation_config(location, hf_config)
    tokenizer = load_tokenizer(config.tokenizer or _tokenizer_directory(config, location))
    eos_token_ids = generation.eos_token_ids
    if not eos_token_ids and tokenizer.eos_token_id is not None:
        eos_token_ids = (tokenizer.eos_token_id,)
    return TextModel(
        name=served_name(config),
        tokenizer=tokenizer,
        chat_template=load_chat_template(tokenizer, config.chat_template),
        vocab_size=decoder.vocab_size,
        model_max_len=decoder.max_model_len,
        eos_token_ids=eos_token_ids,
        default_sampling=generation.sampling if config.generation_config == "auto" else {},
    )


def _tokenizer_directory(config: ModelConfig, location: ModelLocation) -> Path:
    # Random weights of a bare config.json still need some tokenizer.
    bare = config.load_format == "dummy" and not (location.directory / "tokenizer.json").is_file()
    return demo_directory() if bare else location.directory
