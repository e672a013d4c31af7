"""Charts of benchmarks, drawn with matplotlib, which is optional."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lite.errors import ConfigError

_DONE, _REST, _OUTSIDE = "#4c78a8", "#9ecae9", "#bab0ac"


def check_plot(name: str | None) -> None:
    """Refuse --plot early, where it could not be drawn later.

    Raises:
        ConfigError: matplotlib is missing, or it does not know the kind of file.
    """
    if name is None:
        return
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError:
        raise ConfigError(
            "--plot needs matplotlib, which is not installed: pip install 'lite-engine[bench]', "
            "or pip install matplotlib."
        ) from None
    kinds = FigureCanvasAgg.get_supported_filetypes()
    if Path(name).suffix.removeprefix(".") not in kinds:
        raise ConfigError(f"--plot: {name} must end in one of .{', .'.join(sorted(kinds))}.")


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # No pyplot: it would look for a display and keep every figure.
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, name: str) -> None:
    try:
        figure.savefig(name, dpi=120)
    except OSError as error:
        raise ConfigError(f"--plot: {name} cannot be written: {error}.") from None


def draw_distributions(series: Mapping[str, Sequence[float]], title: str, name: str) -> None:
    """Draw the distribution of each series, in ms: the share of values up to each one."""
    figure = _figure(10.0, 7.0)
    figure.suptitle(title)
    for axes, (label, values) in zip(figure.subplots(2, 2).flat, series.items(), strict=True):
        axes.set_title(label)
        axes.set_xlabel("ms")
        axes.set_ylabel("share")
        axes.grid(alpha=0.3)
        if values:
            ordered = sorted(values)
            shares = [(i + 1) / len(ordered) for i in range(len(ordered))]
            axes.step(ordered, shares, where="post", color=_DONE)
            axes.set_ylim(0.0, 1.02)
    _save(figure, name)


def draw_progress(spans: Sequence[tuple[float, float, int]], title: str, name: str) -> None:
    """Draw the output tokens over time, of all requests and of those that have ended.

    `spans` holds each request's first token and end, in seconds, and its tokens, which are drawn
    as if made at an even pace between the two.
    """
    figure = _figure(8.0, 5.0)
    axes = figure.subplots()
    times = np.unique([0.0, *(at_s for first_s, end_s, _ in spans for at_s in (first_s, end_s))])
    made = sum(np.interp(times, one[:2], (1, one[2]), left=0.0) for one in spans)
    ended = sum(np.where(times >= end_s, num_tokens, 0) for _, end_s, num_tokens in spans)
    axes.plot(times, made, color=_DONE, label="all requests, each at an even pace")
    axes.step(times, ended, where="post", color=_REST, label="requests that have ended")
    axes.set_title(title)
    axes.set_xlabel("s")
    axes.set_ylabel("output tokens")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    _save(figure, name)


def draw_latencies(latencies: Sequence[float], median_s: float, title: str, name: str) -> None:
    """Draw the latency of each iteration, and their median."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(8.0, 5.0)
    axes = figure.subplots()
    axes.plot(range(1, len(latencies) + 1), latencies, "o", color=_DONE)
    axes.axhline(median_s, color=_OUTSIDE, zorder=1, label=f"median {median_s:.4f} s")
    axes.set_xlim(0.5, len(latencies) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_ylim(0.0, 1.1 * max(latencies))
    axes.set_title(title)
    axes.set_xlabel("iteration")
    axes.set_ylabel("s")
    axes.legend(loc="lower right")
    _save(figure, name)


def draw_profile(profile: Mapping[str, Any], title: str, name: str) -> None:
    """Draw each kind of step: time of every operation, the part at the machine's ceiling filled."""
    figure = _figure(9.0, 1.0 + 5.0 * len(profile))
    figure.suptitle(title)
    panels = figure.subplots(len(profile), 1, squeeze=False)[:, 0]
    for axes, (kind, one) in zip(panels, profile.items(), strict=True):
        operations = one["operations"]
        names = [operation["operation"] for operation in operations]
        taken_ms = [operation["ms"] for operation in operations]
        least_ms = [operation.get("least_ms") or 0.0 for operation in operations]
        axes.barh(names, taken_ms, color=_REST, label="rest of the operation's time")
        axes.barh(
            names,
            [*map(min, least_ms, taken_ms)],
            color=_DONE,
            label="least time (memory's or multiply rate)",
        )
        axes.barh(
            [part["part"] for part in one["outside"]],
            [part["ms"] for part in one["outside"]],
            color=_OUTSIDE,
            label="outside of the kernels",
        )
        axes.invert_yaxis()  # the first one on top
        axes.set_xlabel("ms a step")
        axes.set_title(
            f"{kind}: {one['ms']:.3f} ms a step, {one['ceiling_share']:.0%} of the ceiling, "
            f"{one['outside_share']:.1%} outside of the kernels"
        )
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    _save(figure, name)
