"""`lite quantize`: a checkpoint written once in the format in which it runs."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lite.cli import flags
from lite.cli.loading import COMMAND_DEFAULTS, command_config
from lite.errors import ConfigError
from lite.models.parts import Quantization

_DEFAULT: Quantization = "int8"
_SETTING = "model.quantization"


def add_command(commands: flags.Commands) -> None:
    """Add the command to the parser."""
    parser = flags.add_command(
        commands,
        "quantize",
        f"Write a checkpoint quantized (to {_DEFAULT} unless told otherwise): it loads at once.",
        ("model", "engine", "log"),
        only=(_SETTING, "engine.num_threads", "log.level"),
        defaults={**COMMAND_DEFAULTS, _SETTING: _DEFAULT},
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
    if config.model.quantization is None and loaded.is_explicit(_SETTING):
        raise ConfigError(
            f"{loaded.origins[_SETTING]}: none is no format to write checkpoints in; "
            "choose int8 or int4."
        )
    with _cleaned_up_if_stopped(), ExitStack() as stack:

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


@contextmanager
def _cleaned_up_if_stopped() -> Iterator[None]:
    """End by an exception where a signal would end the process and leave its unfinished files."""

    def stop(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    changed = []
    if threading.current_thread() is threading.main_thread():
        # One that is ignored, as under nohup, stays so.
        numbers = (signal.SIGTERM, signal.SIGHUP)
        changed = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
