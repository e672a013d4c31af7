"""What the charts of `lite bench` show."""

from pathlib import Path
from typing import Any

import pytest

from lite.bench.chart import draw_latencies, draw_profile, draw_progress

PROFILE = {
    "ms": 1.0,
    "ceiling_share": 0.5,
    "outside_share": 0.25,
    "operations": [
        {"operation": "norm", "ms": 0.25},
        {"operation": "qkv", "ms": 0.5, "least_ms": 0.5},
        {"operation": "attention", "ms": 0.25, "least_ms": 0.125},
    ],
    "outside": [{"part": "launch", "ms": 0.25}],
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was drawn, once it has been laid out."""
    pytest.importorskip("matplotlib")
    drawn: list[Any] = []

    def save(figure: Any, _name: str) -> None:
        figure.canvas.draw()
        drawn.append(figure)

    monkeypatch.setattr("lite.bench.chart._save", save)
    return drawn


def test_progress_rises_although_all_requests_end_at_once(figures: list[Any]) -> None:
    draw_progress([(1.0, 5.0, 9), (3.0, 5.0, 9)], "title", "name")
    made, ended = figures[0].axes[0].get_lines()
    assert [*zip(*made.get_data(), strict=True)] == [(0, 0), (1, 1), (3, 6), (5, 18)]
    assert [*ended.get_ydata()] == [0, 0, 0, 18]


def test_progress_shows_requests_of_a_single_token(figures: list[Any]) -> None:
    draw_progress([(1.0, 1.0, 1), (2.0, 2.0, 1)], "title", "name")
    for line in figures[0].axes[0].get_lines():
        assert [*line.get_ydata()] == [0, 1, 2]


@pytest.mark.parametrize("latencies", [[0.5], [1.0, 1.02], [0.3] * 40])
def test_every_latency_is_inside_of_the_frame_and_iterations_are_whole(
    figures: list[Any], latencies: list[float]
) -> None:
    draw_latencies(latencies, latencies[0], "title", "name")
    axes = figures[0].axes[0]
    frame, marker = axes.get_window_extent(), 0.5 * axes.lines[0].get_markersize()
    points = axes.transData.transform(axes.lines[0].get_xydata())
    assert (points - marker > (frame.x0, frame.y0)).all()
    assert (points + marker < (frame.x1, frame.y1)).all()
    shown = [tick for tick in axes.get_xticks() if 0.5 <= tick <= len(latencies) + 0.5]
    assert shown
    assert all(tick == int(tick) for tick in shown)


@pytest.mark.parametrize("kinds", [("decode",), ("decode", "prefill")])
def test_the_legend_of_a_profile_explains_every_colour(
    figures: list[Any], kinds: tuple[str, ...]
) -> None:
    draw_profile(dict.fromkeys(kinds, PROFILE), "title", "name")
    (figure,) = figures
    (legend,) = figure.legends
    explained = {patch.get_facecolor() for patch in legend.get_patches()}
    for axes in figure.axes:
        assert {bar.get_facecolor() for bar in axes.patches} == explained
        assert axes.get_xlim()[1] > 0.5
        assert [label.get_text() for label in axes.get_yticklabels()] == [
            "norm", "qkv", "attention", "launch",
        ]  # fmt: skip
        top, bottom = (axes.patches[i].get_window_extent().y0 for i in (0, -1))
        assert top > bottom
    extent = legend.get_window_extent()
    assert extent.x0 >= 0.0
    assert extent.x1 <= figure.bbox.x1


def test_every_kind_of_file_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for suffix in ("png", "svg", "pdf"):
        file = tmp_path / f"chart.{suffix}"
        draw_progress([(1.0, 5.0, 9)], "title", str(file))
        assert file.stat().st_size > 5000
