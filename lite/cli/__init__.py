"""The `lite` command: serve, chat, complete, quantize, bench, config, doctor."""

import argparse
import os
import sys
from collections.abc import Sequence

from lite.cli import bench, chat, complete, config, doctor, flags, quantize, serve
from lite.errors import LiteError
from lite.version import __version__

_COMMANDS = (serve, chat, complete, quantize, bench, config, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done; 1: `doctor` found a problem, or requests of `bench serve` failed; 2: wrong usage,
    configuration, model or request.
    """
    _replace_closed_streams()
    parser = _parser()
    words = sys.argv[1:] if argv is None else argv
    arguments, unknown = parser.parse_known_args(bench.with_kind(words))
    if unknown:
        flags.refuse_unknown(arguments.parser, unknown)
    try:
        code: int = arguments.run(arguments)
    except LiteError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader left; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _replace_closed_streams() -> None:
    """Let a standard stream that the caller closed be empty, or swallow what is written."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8")
            setattr(sys, name, stream)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lite",
        description="A small LLM inference engine: serve, chat, complete, measure.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lite {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_command(commands)
    return parser
