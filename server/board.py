"""Board: what gunicorn's master and its workers tell each other."""

import mmap


class Board:
    """Memory that gunicorn's master shares with its workers.

    It says whether the whole server stops: a worker that gets SIGTERM cannot tell otherwise whether
    it is being replaced (HUP), and must leave the listening socket to its successor, or nobody else
    will answer from now on. It says whether any worker was ever ready: one that cannot start after
    that must not end the server. And it says which workers have room, since connections fall on
    workers at random: a full one leaves the next connection to another, if that helps.
    """

    _NUM_WORKERS = 256  # more than ever live at once; numbers are reused

    def __init__(self) -> None:
        cells = memoryview(mmap.mmap(-1, 4 * (2 + self._NUM_WORKERS))).cast("i")
        self._state, self._room = cells[:2], cells[2:]

    @property
    def stopping(self) -> bool:
        """Whether the server stops for good."""
        return self._state[0] != 0

    @property
    def has_served(self) -> bool:
        """Whether any worker has ever been ready."""
        return self._state[1] != 0

    def announce_served(self) -> None:
        """Note that a worker is ready."""
        self._state[1] = 1

    def announce_stop(self) -> None:
        """Tell all workers that the server stops."""
        self._state[0] = 1

    def publish(self, age: int, num_free: int) -> None:
        """Say how many more requests the worker of that age has room for."""
        self._room[age % self._NUM_WORKERS] = max(0, num_free)

    def has_room(self) -> bool:
        """Return whether any worker has room."""
        return any(self._room)
