"""What is said about kernels that have to be compiled when a model is loaded."""

import logging
from pathlib import Path

import pytest

import lite_kernels
from lite.config import EngineConfig
from lite.engine.loading import compile_kernels
from lite_kernels.cpu.cache import keeps_kernels, kernel_directory


@pytest.mark.parametrize("kept", [True, False])
def test_a_start_that_compiles_says_whether_the_next_one_does(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    monkeypatch.setattr(lite_kernels, "compile_ahead", lambda *_, on_start, **__: on_start(3, kept))
    with caplog.at_level(logging.WARNING, logger="lite"):
        compile_kernels(EngineConfig(), "bfloat16")
    (message,) = caplog.messages
    assert ("only the first start" in message) == kept
    assert ("LITE_CACHE_DIR" in message) == (not kept)


def test_kernels_are_kept_where_the_cache_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a directory")
    for directory, kept in ((tmp_path, True), (tmp_path / "file", False)):
        monkeypatch.setenv("LITE_CACHE_DIR", str(directory))
        monkeypatch.setattr("lite_kernels.cpu.cache.kernel_directory", kernel_directory.__wrapped__)
        assert keeps_kernels("generic") == kept
