"""`lite serve`: the HTTP server, from any directory."""

import argparse
import os
import sys
from pathlib import Path

import lite
from lite.cli import flags
from lite.settings import check_public_bind, environ_with_flags


def add_command(commands: flags.Commands) -> None:
    """Add the command to the parser."""
    parser = flags.add_command(
        commands, "serve", "Serve a model over HTTP (OpenAI's API).", flags.ALL_SECTIONS
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check the configuration, then become gunicorn.

    The flags travel as LITE_* variables, so that reloaded workers read the same configuration.
    """
    given = flags.given_settings(arguments)
    loaded = flags.load(arguments)
    check_public_bind(loaded.config)
    environ = environ_with_flags(os.environ, given, loaded.path)
    # Somebody's server.py in the working directory must not take the place of ours.
    if not Path(lite.__file__).is_relative_to(Path.cwd()):
        environ["PYTHONSAFEPATH"] = "1"
    command = [sys.executable, "-m", "server"]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, environ)
