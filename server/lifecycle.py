"""Lifecycle: how many generations a worker runs at once, and how it stops taking new ones."""

import threading

from server.errors import shutting_down, unavailable

_RETRY_FULL_S = 1.0


class Lifecycle:
    """What the worker and the application tell each other; safe to use from several threads.

    `max_running` is the number of generation requests this worker serves at once: each holds a
    thread, so one more is refused at once instead of waiting unseen.
    """

    def __init__(self, max_running: int) -> None:
        self.max_running = max_running
        self._num_running = 0
        self._draining = False
        self._expired = False
        self._mutex = threading.Lock()

    @property
    def num_running(self) -> int:
        """Generation requests being served."""
        return self._num_running

    @property
    def draining(self) -> bool:
        """Whether new work is refused because the server shuts down."""
        return self._draining

    def enter(self) -> None:
        """Take a place for a generation request; `leave` gives it back.

        Raises:
            ApiError: 503, the server drains or every place is taken.
        """
        with self._mutex:
            if self._draining:
                raise shutting_down()
            if self._num_running >= self.max_running:
                raise unavailable(
                    f"All {self.max_running} places of this worker are taken; retry shortly, or "
                    "raise server.threads or server.workers.",
                    code="engine_overloaded",
                    retry_after_s=_RETRY_FULL_S,
                )
            self._num_running += 1

    def leave(self) -> None:
        """Give a place back."""
        with self._mutex:
            self._num_running -= 1

    def begin_drain(self) -> None:
        """Refuse new generation requests from now on."""
        with self._mutex:
            self._draining = True

    def expire(self) -> None:
        """End what still runs: the drain time is over."""
        self._expired = True

    def check(self) -> None:
        """Raise 503 in a running request once the drain time is over."""
        if self._expired:
            raise shutting_down("could not finish this request in time")
