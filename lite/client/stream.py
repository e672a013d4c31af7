"""RequestStream: the outputs of one request, from the thread that receives to the one that reads.

The receiving thread puts into an `OutputQueue`, which never blocks it; a reader that falls behind
gets fewer, larger outputs.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from lite.errors import LiteError, from_text
from lite.messages import GenerateRequest, TokenOutput

_MAX_PENDING = 64


class OutputQueue:
    """The receiving end of one request; safe to use from several threads."""

    def __init__(self, n: int) -> None:
        self.aborted: set[int] = set()  # outputs that the reader wants no more of
        self._unfinished = set(range(n))
        self._pending: list[TokenOutput] = []
        self._max_pending = _MAX_PENDING
        self._error: LiteError | None = None
        self._mutex = threading.Lock()
        # Held while there is nothing to take; released by `wake`.
        self._nothing_new = threading.Lock()
        self._nothing_new.acquire()

    @property
    def finished(self) -> bool:
        """Whether every output has ended, or the request failed as a whole."""
        return not self._unfinished

    def put(self, output: TokenOutput) -> None:
        """Add an output without waking the reader; one that comes after its end is dropped."""
        with self._mutex:
            if output.index not in self._unfinished:
                return
            self._pending.append(output)
            if output.finish_reason is not None:
                self._unfinished.discard(output.index)
            if len(self._pending) > self._max_pending:
                self._pending = merge_outputs(self._pending)
                # PERF: room that grows with the outputs left keeps merging cheap for large `n`.
                self._max_pending = _MAX_PENDING + len(self._pending)

    def wake(self) -> None:
        """Wake the reader; cheap where it is awake already."""
        if self._nothing_new.locked():
            # Another thread may release it first.
            with contextlib.suppress(RuntimeError):
                self._nothing_new.release()

    def fail(self, error: LiteError) -> None:
        """End the request with an error, raised after what is pending; wakes the reader."""
        with self._mutex:
            if self._unfinished:
                self._error = error
                self._unfinished.clear()
        self.wake()

    def abort(self, index: int) -> None:
        """End one output here and now; nothing more of it is handed out."""
        with self._mutex:
            self.aborted.add(index)
            self._unfinished.discard(index)
        self.wake()

    def take(self, deadline_s: float | None) -> tuple[list[TokenOutput], LiteError | None, bool]:
        """Wait until `deadline_s` (monotonic; None: without end) and take all that is pending.

        Returns the outputs, the error that follows them, and whether that is all.
        """
        while True:
            with self._mutex:
                if self._pending or self.finished:
                    taken, self._pending = self._pending, []
                    return taken, self._error, self.finished
            if deadline_s is None:
                self._nothing_new.acquire()
            elif not self._nothing_new.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
                return [], None, False


class RequestStream(Iterator[TokenOutput]):
    """The outputs of one request, for one reader at a time.

    Closing it, or dropping it, calls `abandon` with the request's id: it ends, if it runs still.
    """

    def __init__(
        self, request: GenerateRequest, queue: OutputQueue, abandon: Callable[[str], None]
    ) -> None:
        self.request_id = request.request_id
        self._queue = queue
        self._abandon = abandon
        self._ready: deque[TokenOutput] = deque()
        self._error: LiteError | None = None
        self._ended = False  # the queue has nothing more
        self._closed = False

    @property
    def finished(self) -> bool:
        """Whether all was handed out, an error included."""
        return self._ended and not self._ready and self._error is None

    def poll(self, timeout_s: float | None = None) -> list[TokenOutput]:
        """Return all outputs that are ready, waiting for the first one.

        Returns [] after `timeout_s` without one (None waits without end), and at once when the
        stream has finished.

        Raises:
            LiteError: what ended the request; once, after the outputs before it.
        """
        if not self._ready:
            self._receive(None if timeout_s is None else time.monotonic() + timeout_s)
        outputs = list(self._ready)
        self._ready.clear()
        if self._queue.aborted:
            return [output for output in outputs if output.index not in self._queue.aborted]
        return outputs

    def __next__(self) -> TokenOutput:
        while True:
            if not self._ready:
                self._receive(None)
                if not self._ready and self._ended:
                    raise StopIteration
            elif (output := self._ready.popleft()).index not in self._queue.aborted:
                return output

    def _receive(self, deadline_s: float | None) -> None:
        """Fill `_ready`, or raise the error that is due."""
        if self._error is None and not self._ended:
            outputs, self._error, self._ended = self._queue.take(deadline_s)
            for output in outputs:
                if output.finish_reason == "error":
                    self._error, self._ended = from_text(output.error or "EngineError"), True
                    break
                self._ready.append(output)
        if self._error is not None and not self._ready:
            error, self._error = self._error, None
            self.close()
            raise error

    def close(self) -> None:
        """Abort the request unless it has finished; idempotent."""
        if not self._closed:
            self._closed = self._ended = True
            self._error = None
            self._ready.clear()
            self._abandon(self.request_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def merge_outputs(outputs: Iterable[TokenOutput]) -> list[TokenOutput]:
    """Join the outputs of each index into one, in the order of their first appearance."""
    by_index: dict[int, list[TokenOutput]] = {}
    for output in outputs:
        by_index.setdefault(output.index, []).append(output)
    return [parts[0] if len(parts) == 1 else _join(parts) for parts in by_index.values()]


def _join(parts: list[TokenOutput]) -> TokenOutput:
    last = parts[-1]
    prompt_logprobs = [part.prompt_logprobs for part in parts if part.prompt_logprobs is not None]
    has_logprobs = any(part.logprobs is not None for part in parts)
    return TokenOutput(
        request_id=last.request_id,
        index=last.index,
        token_ids=[token_id for part in parts for token_id in part.token_ids],
        logprobs=[entry for part in parts for entry in part.logprobs or []]
        if has_logprobs
        else None,
        prompt_logprobs=prompt_logprobs[0] if prompt_logprobs else None,
        num_cached_tokens=max(part.num_cached_tokens for part in parts),
        finish_reason=last.finish_reason,
        stop_reason=last.stop_reason,
        error=last.error,
        timings=last.timings,
    )
