"""Command-line flags made from the configuration tree: one for every setting."""

import argparse
import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn, TypeAlias

from msgspec import inspect

from lite.settings import (
    SETTINGS,
    Loaded,
    Setting,
    load_config,
    read_setting,
    refuse_unsupported,
)
from lite.settings.aliases import FLAGS, Alias, Unsupported

ENGINE_SECTIONS = ("model", "engine", "log")
ALL_SECTIONS = tuple(dict.fromkeys(setting.section for setting in SETTINGS.values()))

# Where the parsed values lie in argparse's namespace.
_SETTING, _UNSUPPORTED = "setting:", "unsupported:"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands,
    name: str,
    summary: str,
    sections: Sequence[str],
    *,
    only: Collection[str] = SETTINGS,
    defaults: Mapping[str, object] | None = None,
) -> argparse.ArgumentParser:
    """Add a subcommand with the flags of some sections, or of `only` some of their settings.

    `defaults` are those that the command shows, and applies, instead of the settings' own.
    """
    parser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    parser.set_defaults(parser=parser)
    add_settings(parser, sections, only, defaults or {})
    return parser


def add_settings(
    parser: argparse.ArgumentParser,
    sections: Sequence[str],
    only: Collection[str],
    defaults: Mapping[str, object],
) -> None:
    """Add `--config`, a flag for every setting of the sections, and the known aliases."""
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="a YAML or TOML file; default: ./config.yaml"
    )
    aliases: dict[str, list[str]] = {}
    for flag, target in FLAGS.items():
        if isinstance(target, Alias) and target.convert is None:
            aliases.setdefault(target.path, []).append(flag)
    for section in sections:
        group = parser.add_argument_group(section)
        for setting in (SETTINGS[path] for path in only if path.startswith(f"{section}.")):
            default = defaults.get(setting.path, setting.default)
            _add_setting(group, setting, aliases.get(setting.path, []), default)
    for flag, target in FLAGS.items():
        if isinstance(target, Unsupported):
            # Some are known elsewhere as switches, without a value.
            parser.add_argument(
                flag, dest=_UNSUPPORTED + flag, nargs="?", const="true", help=argparse.SUPPRESS
            )
        elif (
            target.convert is not None
            and target.path in only
            and SETTINGS[target.path].section in sections
        ):
            parser.add_argument(
                flag, dest=_SETTING + target.path, type=target.convert, help=argparse.SUPPRESS
            )


def _add_setting(
    group: "argparse._ArgumentGroup", setting: Setting, aliases: Sequence[str], default: object
) -> None:
    names = (*(flag for flag in aliases if len(flag) == 2), setting.flag)
    others = [flag for flag in aliases if flag not in names]
    dest = _SETTING + setting.path
    text = f"{setting.rule} (default {setting.show(default)})"
    if isinstance(setting.kind, inspect.BoolType):
        group.add_argument(
            *names, dest=dest, action=argparse.BooleanOptionalAction, default=None, help=text
        )
        return
    action = "append" if isinstance(setting.kind, inspect.ListType) else "store"
    metavar = setting.field.upper()
    group.add_argument(*names, dest=dest, action=action, metavar=metavar, help=text)
    if others:
        group.add_argument(*others, dest=dest, action=action, help=argparse.SUPPRESS)


def given_settings(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the settings given as flags, by dotted path.

    Raises:
        ConfigError: a flag asks for something that does not exist here.
    """
    given: dict[str, object] = {}
    for name, value in vars(arguments).items():
        if value is None:
            continue
        if name.startswith(_UNSUPPORTED):
            flag = name.removeprefix(_UNSUPPORTED)
            target = FLAGS[flag]
            assert isinstance(target, Unsupported)
            refuse_unsupported(target, value, f"flag {flag}")
        elif name.startswith(_SETTING):
            path = name.removeprefix(_SETTING)
            given[path] = _join(path, value)
    return given


def _join(path: str, value: object) -> object:
    """Turn repeated flags, each a comma-separated or JSON list, into one list."""
    if not isinstance(value, list):
        return value
    items: list[object] = []
    for text in value:
        items += read_setting(path, text, f"flag {SETTINGS[path].flag}")
    return items


def load(arguments: argparse.Namespace) -> Loaded:
    """Resolve the configuration of a command."""
    return load_config(arguments.config, flags=given_settings(arguments))


def refuse_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """End with the usage and, where a known flag is near, its name."""
    known = [flag for action in parser._actions for flag in action.option_strings]
    flag = unknown[0].partition("=")[0]
    near = difflib.get_close_matches(flag, known, n=1) if flag.startswith("-") else []
    hint = f"; did you mean {near[0]}?" if near else ""
    parser.exit(2, f"error: unknown argument {unknown[0]!r}{hint} (see {parser.prog} --help)\n")
