"""InProcessClient: an EngineCore on a thread of this process."""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable

from lite.client.stream import OutputQueue, RequestStream
from lite.engine.core import EngineCore
from lite.errors import EngineClosedError, EngineDeadError, InvalidRequestError, LiteError
from lite.log import get_logger
from lite.messages import EngineStats, GenerateRequest, TokenOutput

log = get_logger(__name__)


class InProcessClient:
    """Runs the engine's steps on its own thread, which sleeps while there is no work.

    Requests and aborts are queued and taken up between steps, so callers never wait for one.
    """

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self._commands: deque[Callable[[], object]] = deque()
        self._queues: dict[str, OutputQueue] = {}
        self._wake = threading.Condition()
        self._closed = False
        self._failure: LiteError | None = None
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="lite-engine", daemon=True)
        self._thread.start()

    def submit(self, request: GenerateRequest) -> RequestStream:
        """Start a request at once and return its stream; closing the stream aborts it."""
        self._check_process()
        queue = OutputQueue(request.n)
        with self._wake:
            self._check_open()
            if self._queues.setdefault(request.request_id, queue) is not queue:
                raise InvalidRequestError(
                    f"Request id {request.request_id!r} is in use; choose another one.",
                    param="request_id",
                )
            # Now, since a step may run for long before the engine takes it up.
            arrival_s = time.monotonic()
            self._commands.append(lambda: self._core.add(request, self, arrival_s))
            self._wake.notify()
        return RequestStream(request, queue, lambda name: self._abandon(name, queue))

    def _abandon(self, request_id: str, queue: OutputQueue) -> None:
        if self._is_forked():
            return
        with self._wake:
            if self._queues.get(request_id) is not queue:
                return
            del self._queues[request_id]
            if queue.finished or self._closed:
                return
            self._commands.append(lambda: self._core.abort(request_id, [], self))
            self._wake.notify()

    def abort(self, request_id: str, index: int) -> None:
        """Stop one output of a request whose others go on; its stream hands out no more of it."""
        with self._wake:
            if (queue := self._queues.get(request_id)) is None:
                return
            queue.abort(index)
            self._commands.append(lambda: self._core.abort(request_id, [index], self))
            self._wake.notify()

    def stats(self) -> EngineStats:
        """Return a snapshot of the engine, taken between two steps."""
        result: list[EngineStats] = []
        taken = threading.Event()

        def take() -> None:
            result.append(self._core.stats())
            taken.set()

        self._check_process()
        with self._wake:
            self._check_open()
            self._commands.append(take)
            self._wake.notify()
        while not taken.wait(1.0):
            if not self._thread.is_alive():
                raise EngineClosedError("The engine was closed.")
        return result[0]

    def close(self) -> None:
        """Stop the engine and release its memory; running requests fail. Idempotent."""
        if self._is_forked():
            return
        with self._wake:
            self._closed = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _is_forked(self) -> bool:
        """Whether this is a child of the process that has the engine: nothing works there."""
        return os.getpid() != self._pid

    def _check_process(self) -> None:
        # The lock comes later: another thread may have held it at the fork, for ever.
        if self._is_forked():
            raise EngineClosedError(
                f"The engine runs in process {self._pid} and does not survive a fork; create one "
                "in this process, or start processes with multiprocessing's 'spawn' method."
            )

    def _check_open(self) -> None:
        if self._failure is not None:
            raise EngineDeadError(f"The engine failed: {self._failure}")
        if self._closed:
            raise EngineClosedError("The engine was closed; create a new one.")

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._deliver(self._core.step())
            reason: LiteError = EngineClosedError("The engine was closed.")
        except Exception as error:
            log.exception("engine_failed")
            reason = EngineDeadError(f"{type(error).__name__}: {error}")
            self._failure = reason
        with self._wake:
            self._closed = True
            queues = list(self._queues.values())
            self._queues.clear()
        for queue in queues:
            queue.fail(reason)
        self._commands.clear()
        self._core.close()
        del self._core  # the memory returns even while the client is still held

    def _wait_for_work(self) -> bool:
        with self._wake:
            while not (self._commands or self._closed or self._core.has_work()):
                self._wake.wait()
            if self._closed:
                return False
            commands = list(self._commands)
            self._commands.clear()
        for command in commands:
            command()
        return True

    def _deliver(self, produced: list[tuple[Hashable, TokenOutput]]) -> None:
        touched = set()
        for _, output in produced:
            with contextlib.suppress(KeyError):
                queue = self._queues[output.request_id]
                queue.put(output)
                touched.add(queue)
        for queue in touched:
            queue.wake()
