"""How long a run takes."""

import time
from collections.abc import Callable


def seconds_of(run: Callable[[], None]) -> float:
    """Return the seconds that one run takes."""
    start_s = time.perf_counter()
    run()
    return time.perf_counter() - start_s
