"""How anyone reaches an engine: the EngineClient protocol and its implementations."""

from typing import Protocol

from lite.client.stream import RequestStream
from lite.messages import EngineStats, GenerateRequest


class EngineClient(Protocol):
    """A running engine, in this process or another; safe to use from several threads."""

    def submit(self, request: GenerateRequest) -> RequestStream:
        """Start a request at once and return its outputs as they come.

        Each of the `n` outputs ends with a `finish_reason`; the iterator ends after the last.
        Closing the iterator early (`close()`, or dropping it) aborts the request: the only
        cancellation rule. `finish_reason` "error" is raised as the exception it names.

        Raises, here or while iterating:
            OverloadedError: the queue is full.
            EngineDeadError: the engine is gone; also raised in the middle of a stream.
        """
        ...

    def abort(self, request_id: str, index: int) -> None:
        """Stop one output of a request whose others go on (a stop string matched)."""
        ...

    def stats(self) -> EngineStats:
        """Return a snapshot of the engine."""
        ...

    def close(self) -> None:
        """Stop the engine (in process) or the connection (remote); idempotent."""
        ...
