"""The progress bar of loading: on a terminal only, and only where there is time to look at it."""

import io
import time

import pytest

from lite.engine.weight_source import progress_bar
from lite.models import declare
from lite.models.parts import model_parts
from tests.checkpoints import make_config


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stderr: io.StringIO, pause_s: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what loading a tiny model writes, with a pause in the middle."""
    parts = model_parts(declare(make_config()), tied=True, quantization="int8")
    monkeypatch.setattr("sys.stderr", stderr)
    with progress_bar(parts, "int8") as progress:
        for part in parts:
            if progress is not None:
                progress(part.num_weights)
            time.sleep(pause_s / len(parts))
    return stderr.getvalue()


def test_loading_that_takes_time_shows_a_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = shown(Terminal(), 0.8, monkeypatch)
    assert "quantizing to int8:" in text
    assert "k/" in text
    assert " weights" in text
    assert text.rstrip(" ").endswith("\r")  # and clears it again


def test_quick_loading_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(Terminal(), 0.0, monkeypatch) == ""


def test_a_log_file_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(io.StringIO(), 0.8, monkeypatch) == ""
