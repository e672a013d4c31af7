"""What is said about the number of threads when a model is loaded."""

import logging
from pathlib import Path

import pytest

from lite.config import EngineConfig
from lite.engine.loading import load_kernels
from tests.engines import make_core, tiny_model


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr("lite_kernels.cpu.topology._online_cpus", lambda: [0, 1])
    monkeypatch.setattr("lite_kernels.cpu.topology._core_of", str)
    monkeypatch.setattr("lite_kernels.cpu.topology._quota", lambda: 1e9)


def test_the_threads_and_their_origin_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lite"):
        model = tiny_model(tmp_path)
    model.kernels.close()
    (loaded,) = (record for record in caplog.records if record.message == "model_loaded")
    assert vars(loaded)["fields"]["threads"] == "2 (num_threads)"


def test_the_engine_tells_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = make_core(tiny_model(tmp_path))
    stats = core.stats()
    core.close()
    assert (stats.num_threads, stats.num_threads_origin) == (2, "num_threads")


@pytest.mark.parametrize(
    ("variable", "explicit", "number", "warning"),
    [
        ("1", None, 1, None),
        ("3", None, 3, "3 threads (OMP_NUM_THREADS) are more than the usable cores: 2"),
        ("none", None, 2, "OMP_NUM_THREADS='none' is ignored"),
        ("0", 1, 1, None),
        ("1", 3, 3, "3 threads (num_threads) are more than the usable cores: 2"),
    ],
)
def test_a_wrong_or_large_number_is_warned_about(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    explicit: int | None,
    number: int,
    warning: str | None,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    with caplog.at_level(logging.WARNING, logger="lite"):
        kernels = load_kernels(EngineConfig(num_threads=explicit), "bfloat16")
    kernels.close()
    assert kernels.threads.number == number
    problems = [line for line in caplog.messages if "NUM_THREADS" in line or "num_threads" in line]
    assert len(problems) == (warning is not None)
    assert warning is None or warning in problems[0]
