"""Waker: lets any thread wake one that polls file descriptors."""

import contextlib
import socket


class Waker:
    """A pollable flag; setting it again before it was cleared costs no system call.

    The polling thread calls `clear` first and looks at its queues afterwards, so that nothing
    queued before a `wake` is overlooked.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._set = False

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """Make the polling thread return; safe in any thread, finalizer or signal handler."""
        if not self._set:
            self._set = True
            # Full: it is readable already. Closed: nobody is left to wake.
            with contextlib.suppress(OSError):
                self._sender.send(b"\0")

    def clear(self) -> None:
        """Take the wake-ups so far."""
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(4096)
        self._set = False

    def close(self) -> None:
        """Release the descriptors."""
        self._receiver.close()
        self._sender.close()
