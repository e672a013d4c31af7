"""Sampling parameters as flags."""

import argparse
from typing import TYPE_CHECKING

from lite.sampling_params import SamplingParams

if TYPE_CHECKING:
    from lite.llm import LLM

_DEST = "sampling:"
_FLAGS: tuple[tuple[str, type, str], ...] = (
    ("max_tokens", int, "longest answer in tokens"),
    ("min_tokens", int, "no stop before this many tokens"),
    ("temperature", float, "0 always takes the most likely token"),
    ("top_p", float, "keep the most likely tokens up to this probability"),
    ("top_k", int, "keep this many of the most likely tokens; 0 keeps all"),
    ("min_p", float, "drop tokens below this fraction of the most likely one"),
    ("repetition_penalty", float, "above 1 avoids tokens of prompt and answer"),
    ("presence_penalty", float, "avoid tokens of the answer"),
    ("frequency_penalty", float, "avoid tokens of the answer by their number"),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each sampling parameter that makes sense on a command line."""
    group = parser.add_argument_group("sampling", "defaults: the checkpoint's own, if it has any")
    for name, kind, text in _FLAGS:
        group.add_argument(
            "--" + name.replace("_", "-"), dest=_DEST + name, type=kind, metavar="N", help=text
        )
    group.add_argument(
        "--stop", dest=_DEST + "stop", action="append", metavar="TEXT", help="end at this text"
    )
    group.add_argument(
        "--ignore-eos", dest=_DEST + "ignore_eos", action="store_true", default=None,
        help="go on after the model's own end",
    )  # fmt: skip


def sampling_params(
    llm: "LLM", arguments: argparse.Namespace, *, max_tokens: int | None
) -> SamplingParams:
    """Return the checkpoint's defaults, changed by the flags; `max_tokens` where none is given."""
    given = {
        name.removeprefix(_DEST): value
        for name, value in vars(arguments).items()
        if name.startswith(_DEST) and value is not None
    }
    return llm.get_default_sampling_params().clone(**{"max_tokens": max_tokens, **given})
