"""Requests sent at their times: a Poisson process, or as fast as a closed loop gets answers."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from lite.bench.openai_stream import Outcome
from lite.bench.streams import Stream, random_stream
from lite.bench.workload import BenchRequest
from lite.errors import ConfigError

MAX_THREADS = 1024  # one for each request that is open or waits for its time
_STACK_BYTES = 512 * 1024


def poisson_arrivals(num_requests: int, request_rate: float, seed: int) -> list[float]:
    """Return when each request is due, in seconds from the first one's.

    Gaps are exponential, then scaled so that their mean is exact, for figures that depend less on
    the seed; an infinite rate lets all come at once.

    Raises:
        ConfigError: the rate is not above 0.
    """
    if not request_rate > 0.0:
        raise ConfigError(f"--request-rate is {request_rate}, but must be a number > 0, or inf.")
    gaps = random_stream(seed, Stream.ARRIVALS).exponential(1.0, num_requests - 1)
    scale = (num_requests - 1) / request_rate / gaps.sum() if num_requests > 1 else 0.0
    later: list[float] = (scale * np.cumsum(gaps)).tolist()
    return [0.0, *later]


def run_load(
    send: Callable[[BenchRequest], Outcome],
    requests: Sequence[BenchRequest],
    arrivals: Sequence[float],
    *,
    max_concurrency: int | None,
    progress: Callable[[int], object],
) -> tuple[list[Outcome | None], float]:
    """Send every request when it is due, or as soon after as `max_concurrency` allows.

    Returns:
        The outcomes in the order of the requests, and the seconds from the first arrival to the
        last end, or to Ctrl-C: then the outcomes of requests that had not ended are None.

    Raises:
        ConfigError: too many threads would be needed, or `max_concurrency` is below 1.
    """
    if max_concurrency is not None and max_concurrency < 1:
        raise ConfigError(f"--max-concurrency is {max_concurrency}, but must be an integer >= 1.")
    num_threads = min(max_concurrency or len(requests), len(requests))
    if num_threads > MAX_THREADS:
        raise ConfigError(
            f"{num_threads} requests may be open at once, at most {MAX_THREADS} are possible; set "
            "--max-concurrency."
        )
    load = _Load(send, requests, arrivals, progress)
    stack_bytes = threading.stack_size(_STACK_BYTES)
    try:
        threads = [
            threading.Thread(target=load.work, name=f"bench-{i}", daemon=True)
            for i in range(num_threads)
        ]
        for thread in threads:
            thread.start()
    finally:
        threading.stack_size(stack_bytes)
    try:
        duration_s = load.run(threads)
    finally:
        load.stopped = True
    return [*load.outcomes], duration_s


class _Load:
    """What the threads share: each takes the next request, waits for its time, and sends it."""

    def __init__(
        self,
        send: Callable[[BenchRequest], Outcome],
        requests: Sequence[BenchRequest],
        arrivals: Sequence[float],
        progress: Callable[[int], object],
    ) -> None:
        self.outcomes: list[Outcome | None] = [None] * len(requests)
        self.stopped = False
        self._send = send
        self._requests = requests
        self._arrivals = arrivals
        self._progress = progress
        self._order = iter(range(len(requests)))
        self._lock = threading.Lock()
        self._begin = threading.Event()
        self._start_s = 0.0
        self._failure: BaseException | None = None

    def run(self, threads: Sequence[threading.Thread]) -> float:
        """Let the threads begin, wait for all or for Ctrl-C, and return how long it took."""
        self._start_s = time.perf_counter()
        try:
            self._begin.set()
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self.stopped = True
        duration_s = time.perf_counter() - self._start_s
        if self._failure is not None:
            raise self._failure
        return duration_s

    def work(self) -> None:
        self._begin.wait()
        try:
            while not self.stopped:
                with self._lock:
                    index = next(self._order, None)
                if index is None:
                    return
                self._send_one(index)
        except BaseException as error:
            self._failure = error
            self.stopped = True

    def _send_one(self, index: int) -> None:
        due_s = self._start_s + self._arrivals[index]
        wait_s = due_s - time.perf_counter()
        if wait_s > 0.0:
            time.sleep(wait_s)
        if self.stopped:
            return
        outcome = self._send(self._requests[index])
        outcome.queue_s = max(0.0, outcome.start_s - due_s)
        self.outcomes[index] = outcome
        with self._lock:
            self._progress(1)
