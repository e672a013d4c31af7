"""Where the configuration comes from: flags > environment > file > defaults."""

import difflib
import ipaddress
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from lite.config import AuthConfig, Config
from lite.errors import ConfigError
from lite.settings.aliases import (
    CONFIG_VARIABLES,
    FILE_KEYS,
    OTHER_VARIABLES,
    TEST_PREFIX,
    VARIABLES,
    Alias,
    Unsupported,
)
from lite.settings.document import Document, read_document
from lite.settings.fields import SETTINGS, Setting

__all__ = [
    "SETTINGS",
    "Loaded",
    "Setting",
    "check_public_bind",
    "environ_with_flags",
    "load_config",
    "nearest_name",
    "read_setting",
    "refuse_unsupported",
]

_DEFAULT_FILE = "config.yaml"
_OUR_VARIABLES = {name: s for s in SETTINGS.values() for name in s.variables}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, where each setting came from (by dotted path), and the file read."""

    config: Config
    origins: Mapping[str, str]
    path: Path | None = None

    def is_explicit(self, setting: str) -> bool:
        """Whether a flag or a variable gives the setting at a dotted path."""
        return self.origins[setting].startswith(("flag ", "environment "))


@dataclass(slots=True)
class _Layer:
    """The settings of one source; a setting given twice must be given the same value."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def add(self, setting: Setting, value: object, origin: str) -> None:
        read = setting.read(value, origin)
        if setting.path in self.values and self.values[setting.path] != read:
            raise ConfigError(
                f"{origin} and {self.origins[setting.path]} give {setting.path} different "
                f"values ({setting.show(read)} and {setting.show(self.values[setting.path])}); "
                "keep one of them."
            )
        self.values.setdefault(setting.path, read)
        self.origins.setdefault(setting.path, origin)

    def add_alias(self, target: Alias | Unsupported, value: object, origin: str) -> None:
        if isinstance(target, Unsupported):
            refuse_unsupported(target, value, origin)
            return
        value = target.convert(value) if target.convert else value
        self.add(SETTINGS[target.path], value, origin)


def load_config(
    path: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    """Resolve every setting: flag > environment > file > default.

    Args:
        path: the file (.yaml or .toml). None: the one that LITE_CONFIG (or VLLM_CONFIG_PATH,
            LLM_CONFIG) names, else ./config.yaml where it exists, else no file.
        environ: the environment; empty variables count as unset.
        flags: values by dotted path ("server.port"), as text or already typed; a path that is
            absent was not given.

    Raises:
        ConfigError: an unknown name, a bad value, or two names of one setting that disagree;
            names the place, the value, the rule and the remedy.
    """
    file = _find_file(path, environ)
    layers = (
        _flag_layer(flags or {}),
        _environment_layer(environ),
        _file_layer(read_document(file)) if file is not None else _Layer(),
    )
    values: dict[str, dict[str, object]] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS.values():
        layer = next((one for one in layers if setting.path in one.values), None)
        value = layer.values[setting.path] if layer else setting.default
        values.setdefault(setting.section, {})[setting.field] = value
        origins[setting.path] = layer.origins[setting.path] if layer else "default"
    config = msgspec.convert(values, Config, from_attributes=True)
    check_together(config)
    return Loaded(config, origins, file)


def read_setting(path: str, value: object, origin: str = "argument") -> Any:
    """Read one value by the rules of the setting at a dotted path."""
    return _setting(path, origin).read(value, origin)


def environ_with_flags(
    environ: Mapping[str, str], flags: Mapping[str, object], path: Path | None = None
) -> dict[str, str]:
    """Return an environment in which `load_config` gives what the flags ask for.

    Every other variable of a flag's setting is left out, so that the flag wins.
    """
    result = dict(environ)
    for dotted, value in flags.items():
        setting = _setting(dotted, "flag")
        aliases = (n for n, a in VARIABLES.items() if isinstance(a, Alias) and a.path == dotted)
        for name in (*setting.variables, *aliases):
            result.pop(name, None)
        read = setting.read(value, f"flag {setting.flag}")
        text = read if isinstance(read, str) else msgspec.json.encode(read).decode()
        result[setting.variables[0]] = text
    if path is not None:
        for name in CONFIG_VARIABLES:
            result.pop(name, None)
        result["LITE_CONFIG"] = str(path.absolute())
    return result


def check_public_bind(config: Config, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse to serve a public address without API keys.

    Raises:
        ConfigError: the host is not a loopback address, no key is configured, and
            `server.insecure_allow_public_no_auth` is off.
    """
    server = config.server
    if _is_loopback(server.host) or server.insecure_allow_public_no_auth:
        return
    if not _has_keys(config.auth, environ):
        raise ConfigError(
            f"server.host is {server.host!r}, which others can reach, but no API key is set; "
            "set auth.api_keys (LITE_API_KEYS), bind 127.0.0.1, or set "
            "server.insecure_allow_public_no_auth if something else keeps strangers out."
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _has_keys(auth: AuthConfig, environ: Mapping[str, str]) -> bool:
    """Whether any key is configured: one is enough to close every route but the probes."""
    in_variable = environ.get(auth.api_keys_env, "").strip(", ") if auth.api_keys_env else ""
    return bool(
        auth.api_keys
        or auth.admin_keys
        or in_variable
        or _has_lines("auth.api_keys_file", auth.api_keys_file)
        or _has_lines("auth.admin_keys_file", auth.admin_keys_file)
    )


def _has_lines(setting: str, name: str | None) -> bool:
    if name is None:
        return False
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: {name} cannot be read: {error}.") from None
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _find_file(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return Path(path)
    named = {name: environ[name] for name in CONFIG_VARIABLES if environ.get(name)}
    if len(set(named.values())) > 1:
        both = " and ".join(f"{name}={value}" for name, value in named.items())
        raise ConfigError(f"{both} name different files; keep one of them.")
    if named:
        return Path(next(iter(named.values())))
    default = Path(_DEFAULT_FILE)
    return default if default.is_file() else None


def _flag_layer(flags: Mapping[str, object]) -> _Layer:
    layer = _Layer()
    for dotted, value in flags.items():
        setting = _setting(dotted, "flag")
        layer.add(setting, value, f"flag {setting.flag}")
    return layer


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    layer = _Layer()
    for name, value in sorted(environ.items()):
        origin = f"environment {name}"
        if not value:
            continue
        if name in _OUR_VARIABLES:
            layer.add(_OUR_VARIABLES[name], value, origin)
        elif name in VARIABLES:
            layer.add_alias(VARIABLES[name], value, origin)
        elif name.startswith("LITE_") and not _is_other_variable(name):
            hint = nearest_name(name, (*_OUR_VARIABLES, *OTHER_VARIABLES))
            raise ConfigError(f"{origin}: there is no such setting{hint}")
    return layer


def _is_other_variable(name: str) -> bool:
    return name in OTHER_VARIABLES or name.startswith(TEST_PREFIX)


def _file_layer(document: Document) -> _Layer:
    layer = _Layer()
    for dotted, value in _leaves(document, document.values, ""):
        origin = document.place(dotted)
        if dotted in SETTINGS:
            layer.add(SETTINGS[dotted], value, origin)
        else:
            layer.add_alias(FILE_KEYS[dotted], value, f"{origin}: {dotted}")
    return layer


def _leaves(
    document: Document, values: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, object]]:
    """Yield known settings and aliases with their values; refuse every other key."""
    known = (*SETTINGS, *FILE_KEYS)
    for key, value in values.items():
        dotted = prefix + key
        if dotted in known:
            yield dotted, value
        elif not any(path.startswith(f"{dotted}.") for path in known):
            sections = dict.fromkeys(path.partition(".")[0] for path in SETTINGS)
            hint = nearest_name(dotted, (*SETTINGS, *sections))
            raise ConfigError(f"{document.place(dotted)}: unknown key {dotted!r}{hint}")
        elif isinstance(value, dict):
            yield from _leaves(document, value, f"{dotted}.")
        elif value is not None:
            example = next(path for path in SETTINGS if path.startswith(f"{dotted}."))
            raise ConfigError(
                f"{document.place(dotted)}: {dotted} is a section, got {value!r}; "
                f"write its settings below it, such as {example}."
            )


def _setting(dotted: str, origin: str) -> Setting:
    if dotted not in SETTINGS:
        raise ConfigError(
            f"{origin}: there is no setting {dotted!r}{nearest_name(dotted, SETTINGS)}"
        )
    return SETTINGS[dotted]


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: what may have been meant, or a dot."""
    match = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {match[0]!r}?" if match else "."


def refuse_unsupported(target: Unsupported, value: object, origin: str) -> None:
    """Accept only the values under which the missing feature changes nothing.

    Raises:
        ConfigError: any other value.
    """
    if str(value).strip().lower() not in target.accepted:
        only = f"only {target.accepted[-1]!r} is accepted" if target.accepted else "remove it"
        raise ConfigError(f"{origin} is {value!r}, but {target.remedy}; {only}.")


def check_together(config: Config) -> None:
    """Check what no single setting can say.

    Raises:
        ConfigError: two settings contradict each other.
    """
    engine, auth = config.engine, config.auth
    if engine.num_kv_blocks is not None and engine.kv_cache_memory is not None:
        raise ConfigError(
            f"engine.num_kv_blocks ({engine.num_kv_blocks}) and engine.kv_cache_memory "
            f"({engine.kv_cache_memory}) both size the KV cache; set one of them."
        )
    if config.model.weights_cache and config.model.load_format == "dummy":
        raise ConfigError(
            "model.weights_cache keeps what was made of a checkpoint's files, and with "
            "model.load_format 'dummy' there are none; turn one of them off."
        )
    if set(auth.api_keys) & set(auth.admin_keys):
        raise ConfigError(
            "auth.api_keys and auth.admin_keys share a key; an admin key must be one of its own."
        )
