"""Configuration files: YAML or TOML as plain values, with the place of every key."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lite.errors import ConfigError

if TYPE_CHECKING:
    import yaml

_MAP_TAG, _LIST_TAG = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. `places` maps dotted paths to "file:line:column"."""

    path: Path
    values: dict[str, Any]
    places: dict[str, str] = field(default_factory=dict)

    def place(self, dotted: str) -> str:
        return self.places.get(dotted, str(self.path))


def read_document(path: Path) -> Document:
    """Read a .toml file as TOML and any other as YAML (safe types only).

    Raises:
        ConfigError: the file cannot be read or parsed; names the line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); give the path of a YAML or TOML file."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}.") from None
    return _read_toml(path, text) if path.suffix == ".toml" else _read_yaml(path, text)


def _read_toml(path: Path, text: str) -> Document:
    try:
        return Document(path, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from None


def _read_yaml(path: Path, text: str) -> Document:
    import yaml

    document = Document(path, {})
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            value = _construct(loader, node, "", document) if node is not None else None
        finally:
            loader.dispose()
    except RecursionError:
        raise ConfigError(f"{path}: not a configuration: nested too deeply.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: not valid YAML: {error.problem}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}.") from None
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"{path}: must hold sections such as 'server:', got {value!r}.")
    document.values.update(value or {})
    return document


def _construct(loader: "yaml.SafeLoader", node: "yaml.Node", dotted: str, doc: Document) -> Any:
    """Build plain values from a YAML node, remembering where each key stands."""
    import yaml

    if node.id != "scalar" and node.tag not in (_MAP_TAG, _LIST_TAG):
        raise yaml.constructor.ConstructorError(
            None, None, f"the tag {node.tag} is not supported", node.start_mark
        )
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(loader, item, f"{dotted}[{i}]", doc) for i, item in enumerate(node.value)
        ]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        mark = key_node.start_mark
        place = f"{doc.path}:{mark.line + 1}:{mark.column + 1}"
        key = loader.construct_object(key_node) if key_node.id == "scalar" else key_node.value
        if not isinstance(key, str):
            raise ConfigError(f"{place}: the key {key!r} is not a string; put it in quotes.")
        inner = f"{dotted}.{key}" if dotted else key
        if key in values:
            raise ConfigError(
                f"{place}: {inner} is given twice, first at {doc.places[inner]}; remove one."
            )
        doc.places[inner] = place
        values[key] = _construct(loader, value_node, inner, doc)
    return values
