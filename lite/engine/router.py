"""Router: the engine's ZMQ socket, and which front ends are still connected to it."""

import hmac
import time
from collections import deque

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from lite.engine.address import HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS, EngineAddress
from lite.engine.loop import Owner
from lite.engine.waker import Waker
from lite.errors import ConfigError
from lite.log import get_logger
from lite.messages import Outbound

# The socket learns of a lost connection shortly after its monitor does, so it is asked repeatedly.
_PROBE_DELAYS_S = (0.0, 0.1, 1.0)
_MAX_MESSAGES_PER_TURN = 256
_ANYBODY_THERE = b""

log = get_logger(__name__)


class Router:
    """Many front ends on one socket, for one thread. Each is known by what ZMQ calls it."""

    def __init__(self, address: EngineAddress, waker: Waker) -> None:
        self._token = address.token
        self._waker = waker
        self._encoder = msgspec.msgpack.Encoder()
        self._peers: set[Owner] = set()
        self._gone: list[Owner] = []
        self._probes_s: deque[float] = deque()
        self._readable = False
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        # An unreachable peer is an error, instead of a message lost silently.
        self._socket.router_mandatory = True
        self._socket.linger = 1_000
        # Unbounded, but only until the heartbeat finds a peer that does not read.
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.heartbeat_ivl = HEARTBEAT_INTERVAL_MS
        self._socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._poller.register(waker.fileno(), zmq.POLLIN)
        try:
            self._socket.bind(address.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(
                f"engine address {address.endpoint} cannot be bound: {error.strerror}."
            ) from None

    def watch(self, descriptor: int) -> None:
        """Let `wait` report when something can be read from a file descriptor."""
        self._poller.register(descriptor, zmq.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Forget a file descriptor."""
        self._poller.unregister(descriptor)

    def wait(self, timeout_s: float | None) -> set[object]:
        """Block until something happened, or `timeout_s`; return what can be read."""
        if self._probes_s:
            probe_s = max(0.0, self._probes_s[0] - time.monotonic())
            timeout_s = probe_s if timeout_s is None else min(timeout_s, probe_s)
        # Rounded up, or the last millisecond would be waited for in a busy loop.
        events = dict(self._poller.poll(None if timeout_s is None else int(timeout_s * 1e3) + 1))
        self._readable = self._socket in events
        if self._waker.fileno() in events:
            self._waker.clear()
        if self._monitor in events:
            while self._monitor.poll(0):
                recv_monitor_message(self._monitor)
            now_s = time.monotonic()
            self._probes_s = deque(now_s + delay_s for delay_s in _PROBE_DELAYS_S)
        while self._probes_s and self._probes_s[0] <= time.monotonic():
            self._probes_s.popleft()
            for owner in tuple(self._peers):
                self._send(owner, _ANYBODY_THERE)
        return set(events)

    def receive(self) -> list[tuple[Owner, bytes]]:
        """Return the messages that have arrived, up to a bound."""
        messages: list[tuple[Owner, bytes]] = []
        if not self._readable:
            return messages
        try:
            while len(messages) < _MAX_MESSAGES_PER_TURN:
                owner, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
                # SAFETY: on a TCP port, the token is what keeps strangers out.
                if not frames or not hmac.compare_digest(frames[0], self._token):
                    log.warning("message with a wrong token dropped")
                    continue
                self._peers.add(owner)
                messages.extend((owner, payload) for payload in frames[1:])
        except zmq.Again:
            pass
        return messages

    def send(self, owner: Owner, message: Outbound) -> None:
        """Send a message; a front end that is gone turns up in `take_gone`."""
        self._send(owner, self._encoder.encode(message))

    def _send(self, owner: Owner, payload: bytes) -> None:
        assert isinstance(owner, bytes), "owners are named by this socket"
        try:
            self._socket.send_multipart([owner, payload], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            if owner in self._peers:
                self._peers.discard(owner)
                self._gone.append(owner)

    def take_gone(self) -> list[Owner]:
        """Return the front ends found to be gone since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def close(self) -> None:
        """Close the socket once what was sent has left, or after a second."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        self._context.term()
