"""`lite quantize`: a checkpoint written once in the format in which it runs."""

import argparse
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from lite.cli import flags
from lite.cli.loading import command_config
from lite.errors import ConfigError
from lite.models.parts import Quantization

_SETTING = "model.quantization"
_DEFAULT: Quantization = "int8"


def add_command(commands: flags.Commands) -> None:
    """Add the command to the parser."""
    parser = flags.add_command(
        commands,
        "quantize",
        f"Write a checkpoint quantized (to {_DEFAULT} unless told otherwise): it loads at once.",
        ("model", "engine", "log"),
        only=(_SETTING, "engine.num_threads", "log.level"),
    )
    parser.add_argument("source", metavar="IN", help="a checkpoint directory")
    parser.add_argument("target", metavar="OUT", type=Path, help="the directory to write")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Quantize, and print what was written to standard error."""
    from tqdm import tqdm

    from lite.engine.loading import load_kernels
    from lite.log import configure
    from lite.models.quantize import quantize_checkpoint

    loaded = flags.load(arguments)
    config = command_config(loaded)
    configure(config.log)
    quantization = config.model.quantization or _DEFAULT
    if config.model.quantization is None and loaded.origins[_SETTING].startswith("flag"):
        raise ConfigError(
            f"{loaded.origins[_SETTING]}: {_SETTING} is none, but there is nothing else to write "
            f"than int8 or int4; leave it out for {_DEFAULT}."
        )
    with ExitStack() as stack:
        _end_by_exception(stack)

        def bar(total: int) -> "tqdm[int]":
            shown = sys.stderr.isatty()
            made: tqdm[int] = tqdm(
                total=total, desc=quantization, unit=" weights", unit_scale=True, disable=not shown
            )
            return stack.enter_context(made)

        done = quantize_checkpoint(
            arguments.source,
            arguments.target,
            quantization,
            lambda: load_kernels(config.engine, "bfloat16"),
            lambda total: bar(total).update,
        )
    print(
        f"{done.directory}: {done.file_bytes / 1e6:.1f} MB of {quantization} weights, "
        f"from {done.source_bytes / 1e6:.1f} MB",
        file=sys.stderr,
    )
    return 0


def _end_by_exception(stack: ExitStack) -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does: what is not complete is removed."""

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        # What the caller ignores, such as nohup, stays ignored.
        if signal.getsignal(number) == signal.SIG_DFL:
            stack.callback(signal.signal, number, signal.signal(number, end))
