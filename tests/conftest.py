"""What every test finds."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def usual_signals() -> Iterator[None]:
    """Undo what a process started in the background, or by nohup, inherits: ignored signals."""
    before = [
        (number, signal.signal(number, handler))
        for number, handler in (
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGHUP, signal.SIG_DFL),
        )
    ]
    yield
    for number, handler in before:
        signal.signal(number, handler)
