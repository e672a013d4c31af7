"""What is said while a benchmark runs and once it has: progress, figures, and names of files."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_COLUMNS, _LINES = 80, 24


@contextmanager
def progress_bar(total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """Show a bar while the block runs, if standard error is a terminal.

    Yields what is to be told how many more of `total` are done.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    columns, lines = _terminal_size()
    with tqdm(total=total, unit=f" {unit}", leave=False, ncols=columns - 1, nrows=lines) as bar:
        yield bar.update


def _terminal_size() -> tuple[int, int]:
    # Some terminals say that they have 0 columns and lines, into which tqdm would draw nothing.
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        return _COLUMNS, _LINES
    return size.columns or _COLUMNS, size.lines or _LINES


def report(
    record: Mapping[str, Any],
    lines: Iterable[str],
    *,
    output_json: str | None,
    plot: str | None,
    draw: Callable[[str], None],
) -> None:
    """Write the record, print the lines whether or not that worked, and draw the chart.

    Names each file on standard error once it is there.

    Raises:
        ConfigError: a file cannot be written.
    """
    from lite.bench.record import heading, show, write_json

    try:
        if output_json is not None:
            write_json(record, output_json)
            _say_written("Figures", output_json)
    finally:
        show([*heading(record), "", *lines])
        if plot is not None:
            draw(plot)
            _say_written("Chart", plot)


def _say_written(what: str, name: str) -> None:
    print(f"{what} written to {name}", file=sys.stderr)
