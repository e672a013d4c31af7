"""Charts of benchmarks, drawn with matplotlib, which is optional."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lite.errors import ConfigError

_DONE, _CEILING, _OUTSIDE = "#4c78a8", "#9ecae9", "#bab0ac"


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


def draw_progress(finished: Sequence[tuple[float, int]], title: str, name: str) -> None:
    """Draw the output tokens of finished requests over time: (seconds, tokens) of each."""
    figure = _figure(8.0, 5.0)
    axes = figure.subplots()
    seconds, tokens, num_tokens = [0.0], [0], 0
    for at_s, count in sorted(finished):
        num_tokens += count
        seconds.append(at_s)
        tokens.append(num_tokens)
    axes.step(seconds, tokens, where="post", color=_DONE)
    axes.set_title(title)
    axes.set_xlabel("s")
    axes.set_ylabel("output tokens of finished requests")
    axes.grid(alpha=0.3)
    _save(figure, name)


def draw_latencies(latencies: Sequence[float], median_s: float, title: str, name: str) -> None:
    """Draw the latency of each iteration, and their median."""
    figure = _figure(8.0, 5.0)
    axes = figure.subplots()
    axes.plot(range(1, len(latencies) + 1), latencies, "o", color=_DONE)
    axes.axhline(median_s, color=_OUTSIDE, label=f"median {median_s:.4f} s")
    axes.set_ylim(bottom=0.0)
    axes.set_title(title)
    axes.set_xlabel("iteration")
    axes.set_ylabel("s")
    axes.legend()
    _save(figure, name)


def draw_profile(profile: Mapping[str, Any], title: str, name: str) -> None:
    """Draw each kind of step: time of every operation, the part at the machine's ceiling filled."""
    figure = _figure(9.0, 1.0 + 5.0 * len(profile))
    figure.suptitle(title)
    panels = figure.subplots(len(profile), 1, squeeze=False)[:, 0]
    for axes, (kind, one) in zip(panels, profile.items(), strict=True):
        bars = [
            (operation["operation"], operation["ms"], operation.get("least_ms"))
            for operation in one["operations"]
        ]
        bars += [(part["part"], part["ms"], 0.0) for part in one["outside"]]
        bars.reverse()  # the first one on top
        names = [bar[0] for bar in bars]
        is_outside = [False] * len(one["operations"]) + [True] * len(one["outside"])
        colors = [_OUTSIDE if outside else _CEILING for outside in reversed(is_outside)]
        axes.barh(names, [bar[1] for bar in bars], color=colors)
        axes.barh(
            names,
            [min(bar[2] or 0.0, bar[1]) for bar in bars],
            color=_DONE,
            label="what it takes at the memory's or the multiply rate",
        )
        axes.set_title(
            f"{kind}: {one['ms']:.3f} ms a step, {one['ceiling_share']:.0%} of the ceiling, "
            f"{one['outside_share']:.1%} outside of the kernels"
        )
        axes.set_xlabel("ms a step")
        axes.legend(loc="lower right")
    _save(figure, name)
