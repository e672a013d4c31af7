"""The settings of the configuration tree one by one: their names, and values from text."""

import json
import math
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec
from msgspec import inspect

from lite.config import Config
from lite.errors import ConfigError
from lite.settings.aliases import VALUES

# Sections whose settings are named without the section in flags and short variables.
_BARE_SECTIONS = ("model", "engine", "server", "auth")
_SECRETS = ("auth.api_keys", "auth.admin_keys")
_BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_INTEGER = re.compile(r"([+-]?[0-9][0-9_]*)(?:([kKmMgGtT])(iB|B)?)?")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of the tree."""

    section: str
    field: str
    annotation: object
    default: object

    @property
    def path(self) -> str:
        return f"{self.section}.{self.field}"

    @property
    def name(self) -> str:
        """The name without its section where that says enough."""
        return self.field if self.section in _BARE_SECTIONS else f"{self.section}_{self.field}"

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variables(self) -> tuple[str, ...]:
        """Environment variables, the mechanical name first."""
        full = f"LITE_{self.section}_{self.field}".upper()
        return tuple(dict.fromkeys((full, f"LITE_{self.name}".upper())))

    @property
    def secret(self) -> bool:
        return self.path in _SECRETS

    @property
    def kind(self) -> inspect.Type:
        return inspect.type_info(self.annotation)

    @property
    def rule(self) -> str:
        """What a value must be, in words."""
        return _rule(self.kind)

    def show(self, value: object) -> str:
        """Return a value as text that may be printed: secrets are hidden."""
        if self.secret and value:
            return "(hidden)"
        return "none" if value is None else msgspec.json.encode(value).decode()

    def read(self, value: object, origin: str) -> object:
        """Turn what a file, variable or flag holds into a value of this setting.

        Text is parsed: booleans as 1/0/true/false/yes/no/on/off; integers with k, M, G ...
        (lower case decimal, upper case binary, as in vLLM) and sizes as 4GiB or 4GB; lists
        separated by commas or as JSON; mappings as JSON; "none" where nothing is allowed.

        Raises:
            ConfigError: names the origin, the path, the value, the rule and the default.
        """
        if isinstance(value, str):
            value = VALUES.get(self.path, {}).get(value.strip().lower(), value)
        parsed = _parse(self.kind, value)
        try:
            result: object = msgspec.convert(parsed, self.annotation)
        except msgspec.ValidationError as error:
            detail = str(error).rpartition(" - at `$")[2].rstrip("`") if "`$" in str(error) else ""
            raise self._refusal(value, origin, detail) from None
        if isinstance(result, float) and not math.isfinite(result):
            raise self._refusal(value, origin, "")
        return result

    def _refusal(self, value: object, origin: str, detail: str) -> ConfigError:
        shown = "(hidden)" if self.secret else repr(value)
        where = f" (at {detail})" if detail else ""
        return ConfigError(
            f"{origin}: {self.path} is {shown}{where}, but must be {self.rule}; "
            f"leave it out for the default, {self.show(self.default)}."
        )


def _settings() -> Mapping[str, Setting]:
    found = {}
    for section, struct in typing.get_type_hints(Config).items():
        annotations = typing.get_type_hints(struct, include_extras=True)
        defaults = struct()
        for field in struct.__struct_fields__:
            setting = Setting(section, field, annotations[field], getattr(defaults, field))
            found[setting.path] = setting
    return MappingProxyType(found)


SETTINGS: Mapping[str, Setting] = _settings()


def _optional(kind: inspect.Type) -> inspect.Type | None:
    """Return X where the type is `X | None`."""
    if not isinstance(kind, inspect.UnionType):
        return None
    (inner,) = (part for part in kind.types if not isinstance(part, inspect.NoneType))
    return inner


def _rule(kind: inspect.Type) -> str:
    if (inner := _optional(kind)) is not None:
        return f"{_rule(inner)}, or none"
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            noun = "an integer" if isinstance(kind, inspect.IntType) else "a number"
            return noun + _range(kind)
        case inspect.LiteralType():
            return "one of " + ", ".join(map(str, kind.values))
        case inspect.ListType():
            return f"a list, each item {_rule(kind.item_type)}"
        case inspect.StrType():
            return "a non-empty string" if kind.min_length else "a string"
        case inspect.DictType(value_type=inspect.StructType() as struct):
            fields = ", ".join(field.name for field in struct.fields)
            return f"a mapping from names to {{{fields}}}"
    raise AssertionError(f"no rule for {kind}")


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    bounds = ((">", kind.gt), (">=", kind.ge), ("<", kind.lt), ("<=", kind.le))
    given = [f"{sign} {bound:g}" for sign, bound in bounds if bound is not None]
    return " " + " and ".join(given) if given else ""


def _parse(kind: inspect.Type, value: object) -> object:
    """Parse text by the type of the setting; what cannot be parsed is returned as it is."""
    if (inner := _optional(kind)) is not None:
        none = isinstance(value, str) and value.lower() in ("none", "null")
        return None if none else _parse(inner, value)
    if isinstance(kind, inspect.ListType):
        if isinstance(value, str):
            value = _json(value) if value.startswith("[") else _split(value)
        return [_parse(kind.item_type, item) for item in value] if _is_list(value) else value
    if not isinstance(value, str) or isinstance(kind, inspect.StrType):
        return value
    text = value.strip()
    match kind:
        case inspect.BoolType():
            return _BOOLEANS.get(text.lower(), value)
        case inspect.IntType():
            return _integer(text)
        case inspect.FloatType():
            try:
                return float(text)
            except ValueError:
                return value
        case inspect.LiteralType():
            return text.lower()
        case inspect.DictType():
            return _json(text)
    return value


def _is_list(value: object) -> typing.TypeGuard[list[object]]:
    return isinstance(value, list)


def _split(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _integer(text: str) -> object:
    """Read 4096, 4k (4000), 4K (4096), 2M, 4GiB (binary) or 4GB (decimal)."""
    match = _INTEGER.fullmatch(text)
    if match is None:
        return text
    digits, unit, size = match.groups()
    try:
        number = int(digits)
    except ValueError:
        return text
    if unit is None:
        return number
    binary = size == "iB" or (size is None and unit.isupper())
    return number * (1024 if binary else 1000) ** _POWERS[unit.lower()]
