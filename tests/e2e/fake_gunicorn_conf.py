"""The server's gunicorn settings, without an engine process."""

import os
from typing import Any

from server.gunicorn_conf import *  # noqa: F403


class GoneEngine:
    """An engine that could not start."""

    def is_running(self) -> bool:
        return False

    def stop(self, timeout_s: float) -> bool:
        return True


def when_ready(server: Any) -> None:
    """Start nothing."""
    if os.environ.get("LITE_TEST_ENGINE") == "gone":
        server.engine = GoneEngine()
