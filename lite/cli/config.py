"""`lite config show` and `lite config validate`."""

import argparse
import sys

from lite.cli import flags
from lite.config import Config
from lite.settings import SETTINGS, Loaded, check_public_bind, load_config


def add_command(commands: flags.Commands) -> None:
    """Add the command to the parser."""
    summary = "Show or check the configuration."
    parser = commands.add_parser("config", help=summary, description=summary)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = flags.add_command(
        actions, "show", "Print every setting as YAML; keys are hidden.", flags.ALL_SECTIONS
    )
    show.add_argument("--origin", action="store_true", help="print where each value comes from")
    show.set_defaults(run=run_show)
    validate = flags.add_command(
        actions, "validate", "Check the configuration and exit.", flags.ALL_SECTIONS
    )
    validate.add_argument("file", nargs="?", metavar="FILE", help="the same as --config FILE")
    validate.set_defaults(run=run_validate)


def run_show(arguments: argparse.Namespace) -> int:
    """Print the resolved configuration."""
    loaded = flags.load(arguments)
    print("\n".join(_origin_lines(loaded) if arguments.origin else _yaml_lines(loaded.config)))
    return 0


def run_validate(arguments: argparse.Namespace) -> int:
    """Resolve the configuration as the server would; what is wrong is raised."""
    loaded = load_config(arguments.file or arguments.config, flags=flags.given_settings(arguments))
    check_public_bind(loaded.config)
    print(f"valid: {loaded.path or 'defaults (no file)'}", file=sys.stderr)
    return 0


def _shown(config: Config, path: str) -> str:
    section, field = path.split(".")
    return SETTINGS[path].show(getattr(getattr(config, section), field))


def _yaml_lines(config: Config) -> list[str]:
    lines: list[str] = []
    for path, setting in SETTINGS.items():
        if f"{setting.section}:" not in lines:
            lines.append(f"{setting.section}:")
        shown = _shown(config, path)
        # JSON is YAML but for None, which is shown as a word.
        lines.append(f"  {setting.field}: {'null' if shown == 'none' else shown}")
    return lines


def _origin_lines(loaded: Loaded) -> list[str]:
    rows = [(path, _shown(loaded.config, path), loaded.origins[path]) for path in SETTINGS]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return [f"{path:{widths[0]}}  {value:{widths[1]}}  {origin}" for path, value, origin in rows]
