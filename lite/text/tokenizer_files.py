"""The files beside tokenizer.json: special tokens, BOS rule and chat templates."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lite.errors import CheckpointError, UnsupportedModelError

_NAMED_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
# Tokenizer formats that are not read, most telling first.
_FOREIGN = ("tokenizer.model", "tekken.json", "spiece.model", "vocab.json", "vocab.txt")
_CONVERT = (
    "write one with transformers: "
    "AutoTokenizer.from_pretrained(DIR, use_fast=True).save_pretrained(DIR)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """What tokenizer_config.json, special_tokens_map.json and the template files say.

    Attributes:
        named_tokens: `bos_token`, `eos_token`, `pad_token`, `unk_token` -> string, where given.
        special_tokens: every string that these files declare special.
        add_bos_token: whether prompts begin with BOS; None leaves it to tokenizer.json.
        chat_templates: name -> Jinja source; the usual one is "default".
        chat_template_source: where the templates came from, for messages.
    """

    named_tokens: Mapping[str, str]
    special_tokens: frozenset[str]
    add_bos_token: bool | None
    chat_templates: Mapping[str, str]
    chat_template_source: str


def find_tokenizer_json(directory: Path) -> Path:
    """Return the path of tokenizer.json.

    Raises:
        CheckpointError: the directory or the file is missing.
        UnsupportedModelError: there is a tokenizer, but of another format.
    """
    path = directory / "tokenizer.json"
    if path.is_file():
        return path
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such directory; a tokenizer.json must be in it.")
    for name in _FOREIGN:
        if (directory / name).exists():
            raise UnsupportedModelError(
                f"{directory / name}: only tokenizer.json is read, and it is missing; {_CONVERT}"
            )
    raise CheckpointError(f"{path}: missing; copy it from the model's repository, or {_CONVERT}")


def read_tokenizer_config(directory: Path) -> TokenizerConfig:
    """Read the files beside tokenizer.json; each of them may be missing.

    Raises:
        CheckpointError: a file is malformed; names the file and the field.
    """
    path = directory / "tokenizer_config.json"
    config = _read_json(path)
    special_map_path = directory / "special_tokens_map.json"
    special_map = _read_json(special_map_path)
    named: dict[str, str] = {}
    special: set[str] = set()
    for source, content in ((special_map_path, special_map), (path, config)):
        for name in _NAMED_TOKENS:
            token = _token_string(content.get(name), name, source)
            if token is not None:
                named[name] = token
        extra = content.get("additional_special_tokens") or []
        if not isinstance(extra, list):
            raise CheckpointError(f"{source}: additional_special_tokens must be a list.")
        for i, token in enumerate(extra):
            content_of = _token_string(token, f"additional_special_tokens[{i}]", source)
            special.update(() if content_of is None else (content_of,))
    add_bos = config.get("add_bos_token")
    if add_bos is not None and not isinstance(add_bos, bool):
        raise CheckpointError(f"{path}: add_bos_token must be true or false, not {add_bos!r}.")
    source, templates = _read_templates(directory, config)
    return TokenizerConfig(
        named_tokens=named,
        special_tokens=frozenset(special | set(named.values())),
        add_bos_token=add_bos,
        chat_templates=templates,
        chat_template_source=str(source),
    )


def _read_templates(directory: Path, config: dict[str, Any]) -> tuple[Path, dict[str, str]]:
    """Return (file, name -> source): chat_template.jinja, else .json, else tokenizer_config."""
    jinja = directory / "chat_template.jinja"
    if jinja.is_file():
        templates = {"default": _read_text(jinja)}
        for path in sorted((directory / "additional_chat_templates").glob("*.jinja")):
            templates[path.stem] = _read_text(path)
        return jinja, templates
    path = directory / "chat_template.json"
    value = _read_json(path).get("chat_template")
    if value is None:
        path = directory / "tokenizer_config.json"
        value = config.get("chat_template")
    if value is None:
        return path, {}
    if isinstance(value, str):
        return path, {"default": value}
    # Older files hold a list of {"name", "template"}, newer ones a map.
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        value = {item.get("name"): item.get("template") for item in value}
    if not isinstance(value, dict) or not all(
        isinstance(name, str) and isinstance(text, str) for name, text in value.items()
    ):
        raise CheckpointError(
            f"{path}: chat_template must be a string or a list of named templates."
        )
    return path, value


def _token_string(value: Any, name: str, path: Path) -> str | None:
    """Return the text of a token written as a string or as {"content": string}."""
    if isinstance(value, dict):
        value = value.get("content")
    if value is None or (isinstance(value, str) and value):
        return value
    raise CheckpointError(f"{path}: {name} must be a token's text, not {value!r}.")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); copy the file from the model's repository again."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one when there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not valid JSON ({error}); copy the file from the model's repository again."
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: must hold a JSON object.")
    return value
