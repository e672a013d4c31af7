"""FrontDoor: the engine process's socket, and who has which request open."""

import os
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from lite.config import Config
from lite.engine.address import EngineAddress
from lite.engine.loop import Core, EngineLoop, Owner, Produced
from lite.engine.metrics import EngineMetrics
from lite.engine.quota import QuotaLedger
from lite.engine.router import Router
from lite.engine.waker import Waker
from lite.errors import (
    EngineClosedError,
    EngineDeadError,
    InvalidRequestError,
    LiteError,
    ModelLoadingError,
    to_text,
)
from lite.log import get_logger
from lite.messages import (
    AbortRequest,
    EngineStats,
    GenerateRequest,
    HttpObservation,
    Inbound,
    MetricsReply,
    MetricsRequest,
    QuotaRequest,
    ShutdownRequest,
    StatsRequest,
    StepOutputs,
    TokenOutput,
)

# After the drain time, a step that still runs gets this long to end.
_STOP_TIMEOUT_S = 5.0

log = get_logger(__name__)


class FrontDoor:
    """Takes messages from front ends to the engine's thread and its outputs back to them.

    Everything but `drain` belongs to the thread that calls `run`.
    """

    def __init__(
        self, config: Config, address: EngineAddress, load: Callable[[Config], Core]
    ) -> None:
        self._config = config
        self._waker = Waker()
        self._router = Router(address, self._waker)
        self._metrics = EngineMetrics(config.metrics.compat)
        self._quotas = QuotaLedger()
        self._loop = EngineLoop(
            partial(load, config),
            on_load=self._on_load,
            deliver=self._deliver,
            on_change=self._waker.wake,
        )
        self._address = address
        self._produced: deque[Produced] = deque()
        self._open: dict[Owner, dict[str, set[int]]] = {}  # unfinished outputs by request
        self._started_s = time.monotonic()
        self._drain_s = config.server.drain_s
        self._drain_asked = False
        self._drain_until_s: float | None = None
        self._next_log_s = self._started_s

    def drain(self, drain_s: float | None = None) -> None:
        """Refuse new requests and end when the open ones are done; also for signal handlers."""
        if drain_s is not None:
            self._drain_s = drain_s
        self._drain_asked = True
        self._waker.wake()

    def run(self, lifeline: int | None) -> BaseException | None:
        """Serve until drained; return what made the engine fail, None after a drain."""
        self._loop.start()
        log.info("engine listens", endpoint=self._address.endpoint, pid=os.getpid())
        try:
            if lifeline is not None:
                self._router.watch(lifeline)
            while not self._is_done():
                self._turn(lifeline)
            failure = self._loop.failure
            self._fail_open(
                EngineClosedError("The engine was shut down before the output ended.")
                if failure is None
                else EngineDeadError(f"The engine failed: {type(failure).__name__}: {failure}")
            )
            return failure
        finally:
            self._router.close()
            if self._loop.state in ("ready", "stopped"):
                self._loop.stop(_STOP_TIMEOUT_S)
            log.info("engine stopped", state=self._loop.state)

    def _is_done(self) -> bool:
        if self._loop.state in ("failed", "stopped"):
            return True
        if self._drain_asked and self._drain_until_s is None:
            num_open = sum(map(len, self._open.values()))
            log.info("engine drains", num_open=num_open, drain_s=self._drain_s)
            self._drain_until_s = time.monotonic() + self._drain_s
        if self._drain_until_s is None:
            return False
        # While it loads there is nothing to finish.
        nothing_open = not any(self._open.values())
        return nothing_open or time.monotonic() >= self._drain_until_s

    def _turn(self, lifeline: int | None) -> None:
        """Wait for something to happen, and deal with all of it."""
        ended = self._router.wait(self._timeout_s())
        if lifeline is not None and lifeline in ended:
            self._router.unwatch(lifeline)
            self.drain()
        for owner, payload in self._router.receive():
            self._receive(owner, payload)
        self._send_produced()
        for owner in self._router.take_gone():
            self._drop(owner)
        self._log_progress()

    def _timeout_s(self) -> float | None:
        now_s = time.monotonic()
        times = [self._drain_until_s] if self._drain_until_s is not None else []
        if self._loop.busy and self._config.log.stats_interval_s:
            times.append(self._next_log_s)
        return max(0.0, min(times) - now_s) if times else None

    def _log_progress(self) -> None:
        now_s = time.monotonic()
        interval_s = self._config.log.stats_interval_s
        if interval_s and now_s >= self._next_log_s:
            self._next_log_s = now_s + interval_s
            fields = self._metrics.progress(self._loop.stats)
            if fields is not None:
                log.info("engine progress", **fields)

    # From the engine's thread.

    def _on_load(self, stats: EngineStats) -> EngineMetrics:
        self._metrics.describe_engine(stats, self._config.engine)
        if self._address.error_file is not None:
            self._address.error_file.unlink(missing_ok=True)
        elapsed_s = time.monotonic() - self._started_s
        log.info("engine ready", model=stats.model, load_s=round(elapsed_s, 2))
        return self._metrics

    def _deliver(self, produced: Produced) -> None:
        self._produced.append(produced)
        self._waker.wake()

    # To the front ends.

    def _send_produced(self) -> None:
        by_owner: dict[Owner, list[TokenOutput]] = {}
        while self._produced:
            for owner, output in self._produced.popleft():
                unfinished = self._open.get(owner, {}).get(output.request_id)
                if unfinished is None or output.index not in unfinished:
                    continue  # aborted meanwhile
                if output.finish_reason is not None:
                    self._forget(owner, output.request_id, [output.index])
                by_owner.setdefault(owner, []).append(output)
        for owner, outputs in by_owner.items():
            self._router.send(owner, StepOutputs(outputs))

    def _refuse(self, owner: Owner, request: GenerateRequest, error: LiteError) -> None:
        self._send_errors(owner, request.request_id, range(request.n), error)

    def _send_errors(
        self, owner: Owner, request_id: str, indices: "range | set[int]", error: LiteError
    ) -> None:
        text = to_text(error)
        outputs = [
            TokenOutput(request_id=request_id, index=index, finish_reason="error", error=text)
            for index in indices
        ]
        self._router.send(owner, StepOutputs(outputs))

    def _fail_open(self, error: LiteError) -> None:
        for owner, requests in self._open.items():
            for request_id, indices in requests.items():
                self._send_errors(owner, request_id, indices, error)

    # From the front ends.

    def _receive(self, owner: Owner, payload: bytes) -> None:
        try:
            message: Inbound = _DECODER.decode(payload)
        except msgspec.DecodeError:
            log.exception("message not understood", num_bytes=len(payload))
            return
        match message:
            case GenerateRequest():
                self._admit(owner, message)
            case AbortRequest(request_id=request_id, indices=indices):
                self._abort(owner, request_id, indices)
            case StatsRequest(request_id=request_id):
                self._router.send(owner, self._stats(request_id))
            case MetricsRequest(request_id=request_id):
                text = self._metrics.render(self._loop.stats)
                self._router.send(owner, MetricsReply(request_id, text))
            case QuotaRequest():
                reply = self._quotas.charge(message)
                if message.request_id:
                    self._router.send(owner, reply)
            case HttpObservation():
                self._metrics.observe_http(message)
            case ShutdownRequest(request_id=request_id, drain_s=drain_s):
                self.drain(drain_s)
                self._router.send(owner, self._stats(request_id))

    def _admit(self, owner: Owner, request: GenerateRequest) -> None:
        requests = self._open.setdefault(owner, {})
        if self._drain_asked:
            error: LiteError = EngineClosedError("The engine is shutting down.")
        elif self._loop.state != "ready":
            error = ModelLoadingError("The model is still being loaded; try again later.")
        elif request.request_id in requests:
            # NOTE: ends the open one for the client too, which uses ids twice: its own mistake.
            error = InvalidRequestError(f"Request id {request.request_id!r} is in use.")
        else:
            requests[request.request_id] = set(range(request.n))
            # Now, since a step may run for long before the engine takes it up.
            arrival_s = time.monotonic()
            self._loop.post(lambda core: core.add(request, owner, arrival_s))
            return
        self._refuse(owner, request, error)

    def _abort(self, owner: Owner, request_id: str, indices: list[int]) -> None:
        if self._forget(owner, request_id, indices):
            self._loop.post(lambda core: core.abort(request_id, indices, owner))

    def _forget(self, owner: Owner, request_id: str, indices: list[int]) -> bool:
        """Strike outputs of a request, all for no indices; return whether there were any."""
        requests = self._open.get(owner, {})
        unfinished = requests.get(request_id)
        if unfinished is None:
            return False
        unfinished.difference_update(indices or tuple(unfinished))
        if not unfinished:
            del requests[request_id]
        return True

    def _drop(self, owner: Owner) -> None:
        """Stop working for a front end that is gone."""
        requests = self._open.pop(owner, {})
        if requests:
            log.warning("front end gone", num_aborted=len(requests))
            self._loop.post(lambda core: core.abort_owner(owner))

    def _stats(self, request_id: str) -> EngineStats:
        draining = self._drain_asked and self._loop.state == "ready"
        return msgspec.structs.replace(
            self._loop.stats,
            request_id=request_id,
            state="draining" if draining else self._loop.state,
            model=self._loop.stats.model or self._config.model.model,
            last_step_age_s=self._loop.last_step_age_s,
            uptime_s=time.monotonic() - self._started_s,
            pid=os.getpid(),
        )


_DECODER = msgspec.msgpack.Decoder(Inbound)
