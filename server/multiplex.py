"""Run the streams of several prompts of one HTTP request as one."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

# Prompts of one request that are worked on at once; the rest follow as these finish.
MAX_CONCURRENT = 32


class Multiplexed(Iterator[list[tuple[int, T]]]):
    """Yields all (prompt index, item) that are ready; [] after `poll_s` of silence.

    Each running stream has a thread that waits for it. A stream must yield an empty batch now and
    then while it is silent: that is when its thread notices `close`.
    """

    def __init__(self, starts: Sequence[Callable[[], Iterator[list[T]]]], *, poll_s: float) -> None:
        self._items: queue.SimpleQueue[_Batch[T] | _Ended] = queue.SimpleQueue()
        self._waiting = iter(list(enumerate(starts)))
        self._waiting_mutex = threading.Lock()
        self._closed = threading.Event()
        self._poll_s = poll_s
        self._num_workers = min(len(starts), MAX_CONCURRENT)
        for _ in range(self._num_workers):
            threading.Thread(target=self._work, name="prompt-stream", daemon=True).start()

    def __next__(self) -> list[tuple[int, T]]:
        if not self._num_workers:
            raise StopIteration
        ready: list[tuple[int, T]] = []
        try:
            self._add(ready, self._items.get(timeout=self._poll_s))
            while self._num_workers:
                self._add(ready, self._items.get_nowait())
        except queue.Empty:
            pass
        return ready

    def _add(self, ready: list[tuple[int, T]], item: "_Batch[T] | _Ended") -> None:
        if isinstance(item, _Ended):
            self._num_workers -= 1
            if item.error is not None:
                self.close()
                raise item.error
        else:
            ready.extend((item.index, one) for one in item.items)

    def close(self) -> None:
        """Abort what still runs; the threads end soon after."""
        self._closed.set()

    def _work(self) -> None:
        try:
            while not self._closed.is_set():
                with self._waiting_mutex:
                    index, start = next(self._waiting, (-1, None))
                if start is None:
                    break
                self._forward(index, start())
        except Exception as error:
            self._items.put(_Ended(error))
        else:
            self._items.put(_Ended())

    def _forward(self, index: int, stream: Iterator[list[T]]) -> None:
        try:
            for items in stream:
                if self._closed.is_set():
                    return
                if items:
                    self._items.put(_Batch(index, items))
        finally:
            stream.close()  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class _Batch(Generic[T]):
    """What one stream had ready."""

    index: int
    items: list[T]


@dataclass(frozen=True, slots=True)
class _Ended:
    """A thread's last item: nothing is left to start, or a stream failed."""

    error: Exception | None = None
