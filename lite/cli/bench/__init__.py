"""`lite bench`: measure an engine of this program, or a server that speaks OpenAI's API."""

from collections.abc import Sequence

from lite.cli import flags
from lite.cli.bench import arguments, offline, serve

_DEFAULT_KIND = "latency"


def add_command(commands: flags.Commands) -> None:
    """Add the command and its kinds to the parser."""
    summary = "Measure throughput, latency, a server under load, or the parts of a step."
    parser = commands.add_parser(
        "bench",
        help=summary,
        description=summary,
        epilog=f"Without a KIND the flags are those of {_DEFAULT_KIND}: `lite bench --profile`.",
        allow_abbrev=False,
    )
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    arguments.add_throughput(kinds).set_defaults(run=offline.run_throughput)
    arguments.add_latency(kinds).set_defaults(run=offline.run_latency)
    arguments.add_serve(kinds).set_defaults(run=serve.run)


def with_kind(argv: Sequence[str]) -> list[str]:
    """Spell out `lite bench --profile`, which is `lite bench latency --profile`."""
    words = list(argv)
    is_short = words[:1] == ["bench"] and words[1:2] and words[1].startswith("-")
    if is_short and words[1] not in ("-h", "--help"):
        words.insert(1, _DEFAULT_KIND)
    return words
