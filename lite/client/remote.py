"""RemoteEngineClient: an engine in another process, over one ZMQ socket per front-end process.

Create it after the fork that makes a worker process: sockets and threads do not survive one.
"""

import itertools
import os
import queue
import threading
import time
from collections import deque
from typing import TypeVar

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from lite.client.stream import OutputQueue, RequestStream
from lite.engine.address import (
    HEARTBEAT_INTERVAL_MS,
    HEARTBEAT_TIMEOUT_MS,
    EngineAddress,
    parse_address,
)
from lite.engine.waker import Waker
from lite.errors import EngineClosedError, EngineDeadError, InvalidRequestError, LiteError
from lite.log import get_logger
from lite.messages import (
    AbortRequest,
    EngineStats,
    GenerateRequest,
    HttpObservation,
    Inbound,
    MetricsReply,
    MetricsRequest,
    Outbound,
    QuotaReply,
    QuotaRequest,
    ShutdownRequest,
    StatsRequest,
    StepOutputs,
)

_RECONNECT_MS = 50
_MAX_RECONNECT_MS = 500
_MAX_FRAMES = 64
_MAX_MESSAGES_PER_WAKE = 64
_MAX_UNSENT_OBSERVATIONS = 1_000

ReplyT = TypeVar("ReplyT", EngineStats, MetricsReply, QuotaReply)
_Reply = queue.SimpleQueue[EngineStats | MetricsReply | QuotaReply | LiteError]

log = get_logger(__name__)


class RemoteEngineClient:
    """An EngineClient for many threads of one process.

    One thread does all the talking. When the connection breaks, every open stream fails at once;
    later calls fail within `connect_timeout_s` of the break, and work again once the engine is
    back. While the engine loads its model, streams fail with ModelLoadingError.
    """

    def __init__(
        self, address: str, *, connect_timeout_s: float = 2.0, reply_timeout_s: float = 10.0
    ) -> None:
        self._address = parse_address(address)
        self._connect_timeout_s = connect_timeout_s
        self._reply_timeout_s = reply_timeout_s
        self._encoder = msgspec.msgpack.Encoder()
        self._call_ids = itertools.count(1)
        self._queues: dict[str, OutputQueue] = {}
        self._replies: dict[str, _Reply] = {}
        # What is to be sent: the connection it is meant for, the id that fails if that one is
        # gone, and the message.
        self._outbox: deque[tuple[int, str, bytes]] = deque()
        self._epoch = 0  # number of connections lost so far
        self._connected = threading.Event()
        self._patience_until_s = time.monotonic() + connect_timeout_s
        self._closed = False
        self._waker = Waker()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="engine-client", daemon=True)
        self._thread.start()

    # Calls, from any thread.

    def submit(self, request: GenerateRequest) -> RequestStream:
        """Send a request at once and return its outputs as they come.

        Refusals by the engine (a full queue, a model that is still loading) are raised by the
        stream.

        Raises:
            EngineDeadError: the engine cannot be reached.
            InvalidRequestError: a request with this id is open already.
        """
        epoch = self._await_connection()
        outputs = OutputQueue(request.n)
        if self._queues.setdefault(request.request_id, outputs) is not outputs:
            raise InvalidRequestError(
                f"Request id {request.request_id!r} is in use; choose another one.",
                param="request_id",
            )
        self._post(epoch, request.request_id, request)
        return RequestStream(request, outputs, lambda name: self._abandon(name, outputs))

    def abort(self, request_id: str, index: int) -> None:
        """Stop one output of a request whose others go on; its stream hands out no more of it."""
        outputs = self._queues.get(request_id)
        if outputs is None:
            return
        outputs.abort(index)
        if outputs.finished:
            self._queues.pop(request_id, None)
        self._post(self._epoch, "", AbortRequest(request_id, [index]))

    def stats(self) -> EngineStats:
        """Return a snapshot of the engine; also answered while it loads or a step runs."""
        call_id = self._next_call_id()
        return self._call(call_id, StatsRequest(call_id), EngineStats)

    def metrics(self) -> str:
        """Return the Prometheus exposition text of the engine and of all its front ends."""
        call_id = self._next_call_id()
        return self._call(call_id, MetricsRequest(call_id), MetricsReply).text

    def quota(
        self,
        key_id: str,
        *,
        num_tokens: int,
        num_requests: int = 1,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> QuotaReply:
        """Charge a key's buckets if both have room; see `lite.engine.quota`."""
        call_id = self._next_call_id()
        message = QuotaRequest(
            request_id=call_id,
            key_id=key_id,
            num_requests=num_requests,
            num_tokens=num_tokens,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
        return self._call(call_id, message, QuotaReply)

    def settle_quota(self, key_id: str, *, num_tokens: int, tokens_per_minute: int | None) -> None:
        """Charge the difference between what a request used and its estimate; no waiting."""
        message = QuotaRequest(
            request_id="",
            key_id=key_id,
            num_requests=0,
            num_tokens=num_tokens,
            tokens_per_minute=tokens_per_minute,
        )
        self._post(self._epoch, "", message)

    def observe(self, observation: HttpObservation) -> None:
        """Count a finished HTTP request; lost when the engine is not there."""
        if self._connected.is_set() and len(self._outbox) < _MAX_UNSENT_OBSERVATIONS:
            self._post(self._epoch, "", observation)

    def shutdown(self, drain_s: float) -> None:
        """Make the engine refuse new work, finish what runs within `drain_s`, and exit."""
        call_id = self._next_call_id()
        self._call(call_id, ShutdownRequest(call_id, drain_s), EngineStats)

    def close(self) -> None:
        """Close the connection, which aborts what is open; the engine stays. Idempotent."""
        self._closed = True
        self._waker.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _abandon(self, request_id: str, outputs: OutputQueue) -> None:
        # NOTE: also runs in finalizers, in any thread, so it takes no lock of this object.
        if self._queues.get(request_id) is outputs:
            self._queues.pop(request_id, None)
            if not outputs.finished:
                self._post(self._epoch, "", AbortRequest(request_id))

    def _await_connection(self) -> int:
        """Wait for the connection as long as is sensible and return its epoch."""
        assert os.getpid() == self._pid, "a RemoteEngineClient does not survive a fork"
        if self._closed:
            raise EngineClosedError("The connection to the engine was closed.")
        epoch = self._epoch
        if not self._connected.is_set():
            wait_s = self._patience_until_s - time.monotonic()
            if wait_s <= 0.0 or not self._connected.wait(wait_s):
                raise self._dead("The engine process cannot be reached")
            epoch = self._epoch
        return epoch

    def _dead(self, what: str) -> EngineDeadError:
        reason = ""
        if self._address.error_file is not None:
            try:
                with self._address.error_file.open(encoding="utf-8", errors="replace") as file:
                    reason = file.read(2_000).strip()
            except OSError:
                pass  # no reason is known
        return EngineDeadError(f"{what}: {reason}" if reason else f"{what}; try again later.")

    def _next_call_id(self) -> str:
        return f"!{next(self._call_ids)}"

    def _call(self, call_id: str, message: Inbound, expected: type[ReplyT]) -> ReplyT:
        epoch = self._await_connection()
        reply: _Reply = queue.SimpleQueue()
        self._replies[call_id] = reply
        self._post(epoch, call_id, message)
        try:
            answer = reply.get(timeout=self._reply_timeout_s)
        except queue.Empty:
            raise EngineDeadError(
                f"The engine process did not answer within {self._reply_timeout_s:g} s."
            ) from None
        finally:
            self._replies.pop(call_id, None)
        if isinstance(answer, LiteError):
            raise answer
        assert isinstance(answer, expected)
        return answer

    def _post(self, epoch: int, name: str, message: Inbound) -> None:
        self._outbox.append((epoch, name, self._encoder.encode(message)))
        self._waker.wake()

    # The connection's thread.

    def _run(self) -> None:
        context = zmq.Context()
        try:
            connection = _Connection(context, self._address, self._waker)
            try:
                while not self._closed:
                    self._wait(connection)
                self._send(connection)
            finally:
                connection.close()
        except Exception:
            log.exception("engine connection failed")
            raise
        finally:
            self._closed = True
            self._lose(EngineClosedError("The connection to the engine was closed."))
            context.destroy()
            self._waker.close()

    def _wait(self, connection: "_Connection") -> None:
        changes, readable = connection.wait()
        for is_connected in changes:
            if is_connected:
                self._connected.set()
            elif self._connected.is_set():
                # What the engine said last before it left counts.
                while payloads := connection.receive():
                    self._receive_all(payloads)
                log.warning("engine connection lost", endpoint=self._address.endpoint)
                self._lose(self._dead("The engine process is gone"))
                connection.reopen()
                break  # the rest is about the sockets that are gone
        self._send(connection)
        if readable:
            self._receive_all(connection.receive())

    def _send(self, connection: "_Connection") -> None:
        while self._outbox:
            frames: list[bytes] = []
            while self._outbox and len(frames) < _MAX_FRAMES:
                epoch, name, payload = self._outbox.popleft()
                if epoch == self._epoch and self._connected.is_set():
                    frames.append(payload)
                elif name:
                    self._fail(name, self._dead("The engine process is gone"))
            if frames:
                connection.send(frames)

    def _lose(self, error: LiteError) -> None:
        """Fail everything that hangs on the connection that just ended."""
        self._connected.clear()
        self._epoch += 1
        self._patience_until_s = time.monotonic() + self._connect_timeout_s
        for name in (*self._queues, *self._replies):
            self._fail(name, error)

    def _fail(self, name: str, error: LiteError) -> None:
        # A fresh instance each: a traceback belongs to the thread that raises it.
        own = type(error)(*error.args)
        if (outputs := self._queues.pop(name, None)) is not None:
            outputs.fail(own)
        elif (reply := self._replies.get(name)) is not None:
            reply.put(own)

    def _receive_all(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._receive(payload)

    def _receive(self, payload: bytes) -> None:
        message = _decode(payload)
        if isinstance(message, StepOutputs):
            touched = []
            for output in message.outputs:
                outputs = self._queues.get(output.request_id)
                if outputs is None:
                    continue
                outputs.put(output)
                if output.finish_reason is not None and outputs.finished:
                    self._queues.pop(output.request_id, None)
                touched.append(outputs)
            for outputs in touched:
                outputs.wake()
        elif message is not None and (reply := self._replies.get(message.request_id)) is not None:
            reply.put(message)


_DECODER = msgspec.msgpack.Decoder(Outbound)


def _decode(payload: bytes) -> Outbound | None:
    if not payload:
        return None  # the engine asks whether anybody is here; arriving is the answer
    try:
        message: Outbound = _DECODER.decode(payload)
    except msgspec.DecodeError:
        log.exception("engine message not understood", num_bytes=len(payload))
        return None
    return message


class _Connection:
    """The sockets of a RemoteEngineClient, for its thread alone.

    A connection that was lost is not taken up again: `reopen` begins anew, with nothing unsent.
    """

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", address: EngineAddress, waker: Waker
    ) -> None:
        self._context = context
        self._address = address
        self._waker = waker
        self._poller = zmq.Poller()
        self._poller.register(waker.fileno(), zmq.POLLIN)
        self._open()

    def _open(self) -> None:
        # NOTE: not `immediate`, which discards what arrived last when the engine closes.
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 200
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.reconnect_ivl = _RECONNECT_MS
        self._socket.reconnect_ivl_max = _MAX_RECONNECT_MS
        self._socket.heartbeat_ivl = HEARTBEAT_INTERVAL_MS
        self._socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._socket.connect(self._address.endpoint)

    def reopen(self) -> None:
        """Drop the sockets with all that they hold, and connect anew."""
        self._poller.unregister(self._socket)
        self._poller.unregister(self._monitor)
        self._socket.linger = 0
        self.close()
        self._open()

    def wait(self) -> tuple[list[bool], bool]:
        """Block until something happened; return (connected or not, in order), readable."""
        events = dict(self._poller.poll())
        if self._waker.fileno() in events:
            self._waker.clear()
        changes: list[bool] = []
        if self._monitor in events:
            while self._monitor.poll(0):
                event = recv_monitor_message(self._monitor)["event"]
                changes.append(event == zmq.EVENT_HANDSHAKE_SUCCEEDED)
        return changes, self._socket in events

    def send(self, payloads: list[bytes]) -> None:
        """Send messages together; never blocks."""
        self._socket.send_multipart([self._address.token, *payloads], zmq.NOBLOCK)

    def receive(self) -> list[bytes]:
        """Return the messages that have arrived, up to a bound."""
        payloads: list[bytes] = []
        try:
            while len(payloads) < _MAX_MESSAGES_PER_WAKE:
                payloads.append(self._socket.recv(zmq.NOBLOCK))
        except zmq.Again:
            pass
        return payloads

    def close(self) -> None:
        """Close the sockets; what was sent gets the linger time to leave."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
