"""InProcessClient over a core without a model."""

import threading
import time
from typing import Any, cast

import pytest

from lite.client.in_process import InProcessClient
from lite.config import Config
from lite.engine.stats import NullObserver
from tests.engines import request
from tests.fake_core import FakeCore


class HoldsFirstStep(NullObserver):
    """Keeps the first step running until it is released."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        self.ttfts_s: list[float] = []

    def on_first_token(self, ttft_s: float) -> None:
        self.ttfts_s.append(ttft_s)
        self.entered.set()
        self.released.wait(10.0)


def test_a_request_waits_from_its_submission_even_while_a_step_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LITE_TEST_STEP_S", "0")
    core, observer = FakeCore(Config()), HoldsFirstStep()
    core.set_observer(observer)
    client = InProcessClient(cast("Any", core))
    with client.submit(request("first", [10], max_tokens=10)):
        assert observer.entered.wait(10.0)
        with client.submit(request("second", [20], max_tokens=1)) as stream:
            time.sleep(0.3)
            observer.released.set()
            list(stream)
    client.close()
    assert observer.ttfts_s[1] >= 0.3
