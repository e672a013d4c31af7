"""A gthread worker that drains, and in which one slow client does not make others wait."""

import contextlib
import errno
import http
import select
import selectors
import socket
import struct
import sys
import time
from concurrent import futures
from typing import Any

import msgspec
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from lite.errors import LiteError
from lite.log import get_logger
from server.board import Board
from server.errors import ApiError, to_api_error
from server.generation import is_closed
from server.lifecycle import Lifecycle

log = get_logger(__name__)

# Threads beyond `threads`: they answer probes, and refuse what does not fit, while all streams run.
SPARE_THREADS = 8
# A peer that neither sends nor takes a byte for this long is dropped.
IO_TIMEOUT_S = 60.0
_NO_PROGRESS = "the client sent or took nothing for too long"
# How long a client gets for the head of a request, and then for its body.
_HEAD_S = 10.0
_BODY_S = 60.0
# More than this is a thread's to refuse.
_MAX_HEAD_BYTES = 65536
_END_OF_HEAD = b"\r\n\r\n"
# How often heads that came in part are looked at.
_HEAD_POLL_S = 0.1
# After a `Connection: close`, how long the client gets to close its side.
_LINGER_S = 2.0
_LINGER_BYTES = 65536
# After the drain time, how long streams get to write their last frame.
_LAST_WORDS_S = 2.0
_TICK_S = 0.25
# How soon the master may try a worker again that could not start on a running server.
_RETRY_BOOT_S = 1.0
# How often a full worker looks whether the others still have room.
_YIELD_S = 0.02
# How much longer than the drain time gunicorn's master must wait before it kills a worker.
GRACE_S = 10

_PARSE_STATUS = (
    (LimitRequestLine, 414),
    (LimitRequestHeaders, 431),
    (ExpectationFailed, 417),
    (UnsupportedTransferCoding, 501),
)


class _Socket(socket.socket):
    """A blocking socket with the kernel's timeouts; running into one is a broken connection.

    `read_until_s` (monotonic), where it is set, bounds all reading together: a byte now and then
    does not help.
    """

    read_until_s: float | None = None

    @classmethod
    def adopt(cls, other: socket.socket) -> "_Socket":
        adopted = cls(other.family, other.type, other.proto, fileno=other.detach())
        seconds, rest = divmod(IO_TIMEOUT_S, 1)
        timeout = struct.pack("ll", int(seconds), int(rest * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            adopted.setsockopt(socket.SOL_SOCKET, option, timeout)
        adopted.setblocking(True)
        return adopted

    def recv(self, *args: Any) -> bytes:
        if self.read_until_s is not None and self.gettimeout() is None:
            readable = select.poll()
            readable.register(self, select.POLLIN)
            if not readable.poll(max(0.0, self.read_until_s - time.monotonic()) * 1e3):
                raise ConnectionResetError(errno.ECONNRESET, _NO_PROGRESS)
        try:
            return super().recv(*args)
        except BlockingIOError:
            if self.gettimeout() == 0.0:
                raise
            raise ConnectionResetError(errno.ECONNRESET, _NO_PROGRESS) from None

    def peek(self) -> bytes:
        """Return what has arrived, without taking it or waiting; b"" at the end of the stream.

        Raises:
            BlockingIOError: nothing has.
        """
        return super().recv(_MAX_HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)

    def sendall(self, *args: Any) -> None:
        try:
            super().sendall(*args)
        except BlockingIOError:
            if self.gettimeout() == 0.0:
                raise
            raise ConnectionResetError(errno.ECONNRESET, _NO_PROGRESS) from None


class _Connection(TConn):  # type: ignore[misc]
    """A connection whose lingering close does not hold the thread that accepts."""

    def __init__(self, worker: "Worker", *args: Any) -> None:
        super().__init__(*args)
        self._worker = worker

    def has_head(self) -> bool:
        """Return whether a thread can read the head of the next request without waiting."""
        data = self.parser.unreader.buf.getvalue() if self.initialized else b""
        try:
            arrived = self.sock.peek()
        except BlockingIOError:
            return _END_OF_HEAD in data
        except OSError:
            return True
        data += arrived
        # The end of the stream is a thread's to find out, too.
        return (
            not arrived
            or _END_OF_HEAD in data
            or len(data) >= _MAX_HEAD_BYTES
            or is_closed(self.sock)
        )

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._worker.linger(self.sock)
        else:
            super().close()


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's gthread worker, corrected.

    - On SIGTERM the listening socket stays open while running requests finish, so that probes and
      new requests get a 503 instead of silence; a replaced worker closes it at once instead.
    - Connections wait for the head of a request, and for the client's FIN, in the poller and not
      in a thread; a thread waits for the body, but not for ever.
    - Generation requests beyond `threads` are refused by spare threads.
    """

    alive: bool
    # Set by the master before the fork.
    board: Board | None = None
    drain_s: float = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lifecycle = Lifecycle(self.cfg.threads)
        self._lingering: dict[socket.socket, float] = {}  # until when, in order
        self._incomplete: dict[_Connection, float] = {}  # heads that came in part; the same
        self._active: set[TConn] = set()
        self._num_pooled = 0  # connections with a thread, or waiting for one

    def load_wsgi(self) -> None:
        try:
            super().load_wsgi()
        except LiteError as error:
            log.error("worker cannot start", reason=str(error), kind=type(error).__name__)
            if self.board is not None and self.board.has_served:
                # Something changed under a running server: what was right may be again.
                time.sleep(_RETRY_BOOT_S)
                sys.exit(1)
            # Tells the master not to try again.
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        self.lifecycle = self.wsgi.lifecycle
        self.lifecycle.max_running = self.cfg.threads

    def get_thread_pool(self) -> futures.ThreadPoolExecutor:
        return futures.ThreadPoolExecutor(
            self.cfg.threads + SPARE_THREADS, thread_name_prefix="request"
        )

    def accept(self, listener: socket.socket) -> None:
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        client = _Socket.adopt(accepted)
        connection = _Connection(self, self.cfg, client, address, listener.getsockname())
        connection.timeout = time.monotonic() + max(self.cfg.keepalive, 5)
        self.pending_conns.append(connection)
        self.poller.register(
            client,
            selectors.EVENT_READ,
            lambda sock: self.on_pending_socket_readable(connection, sock),
        )

    def _look_at_incomplete(self) -> None:
        now = time.monotonic()
        for conn, until in list(self._incomplete.items()):
            if conn.has_head():
                del self._incomplete[conn]
                self.enqueue_req(conn)
            elif until <= now:
                del self._incomplete[conn]
                self.nr_conns -= 1
                conn.close()

    def enqueue_req(self, conn: _Connection) -> None:
        if conn.has_head():
            self._num_pooled += 1
            super().enqueue_req(conn)
        else:
            self._incomplete[conn] = time.monotonic() + _HEAD_S

    def finish_request(self, conn: TConn, fs: "futures.Future[Any]") -> None:
        self._num_pooled -= 1
        super().finish_request(conn, fs)

    def handle(self, conn: TConn) -> Any:
        self._active.add(conn)
        # A pipelined head may have come in part.
        conn.sock.read_until_s = time.monotonic() + _HEAD_S
        try:
            return super().handle(conn)
        finally:
            self._active.discard(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        conn.sock.read_until_s = time.monotonic() + _BODY_S
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what gunicorn itself could not read or serve, in the shape of all our errors."""
        if isinstance(exc, ParseException):
            status = next((s for kind, s in _PARSE_STATUS if isinstance(exc, kind)), 400)
            answer = ApiError(status, f"The HTTP request is malformed: {exc}", code="invalid_value")
            log.info("request refused", status=status, reason=str(exc))
        else:
            answer = to_api_error(exc)
            log.error("connection failed", exc_info=exc)
        body = msgspec.json.encode(answer.body())
        head = (
            f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}\r\n"
            "Connection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            util.write_nonblock(client, head.encode() + body)

    def linger(self, sock: socket.socket) -> None:
        """Close a connection after the client has, or after `_LINGER_S`; does not wait."""
        try:
            sock.setblocking(False)
            sock.shutdown(socket.SHUT_WR)
            self.poller.register(sock, selectors.EVENT_READ, self._on_lingering_readable)
        except (OSError, ValueError, KeyError):
            util.close(sock)
            return
        self._lingering[sock] = time.monotonic() + _LINGER_S

    def _on_lingering_readable(self, sock: socket.socket) -> None:
        try:
            if sock.recv(_LINGER_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end_linger(sock)

    def _end_linger(self, sock: socket.socket) -> None:
        del self._lingering[sock]
        self.poller.unregister(sock)
        util.close(sock)

    def murder_pending(self) -> None:
        super().murder_pending()
        now = time.monotonic()
        for sock in [sock for sock, until in self._lingering.items() if until <= now]:
            self._end_linger(sock)

    def run(self) -> None:
        """Serve until told to stop, drain, and return."""
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)
        log.info("worker ready", max_running=self.cfg.threads)
        if self.board is not None:
            self.board.announce_served()
        while self.alive and self.is_parent_alive():
            if self._leaves_next_to_others():
                self._turn(_YIELD_S, accepting=False)
            else:
                self._turn(1.0, accepting=self.nr_conns < self.worker_connections)
        self.alive = False
        self._publish(0)
        self._drain()
        self._abandon()
        self.wsgi.close()

    def _leaves_next_to_others(self) -> bool:
        num_free = self.cfg.threads - self._num_pooled - len(self.pending_conns)
        self._publish(num_free)
        return num_free <= 0 and self.board is not None and self.board.has_room()

    def _publish(self, num_free: int) -> None:
        if self.board is not None:
            self.board.publish(self.age, num_free)

    def _turn(self, timeout_s: float, *, accepting: bool) -> None:
        self.notify()
        self.set_accept_enabled(accepting)
        if self._incomplete:
            timeout_s = min(timeout_s, _HEAD_POLL_S)
        self.wait_for_and_dispatch_events(timeout=timeout_s)
        self._look_at_incomplete()
        self.murder_keepalived()
        self.murder_pending()

    def _drain(self) -> None:
        """Let running requests finish; end them when the drain time is over."""
        stopping = self.board is not None and self.board.stopping
        if stopping:
            self.lifecycle.begin_drain()
        else:
            self.set_accept_enabled(False)
        now = time.monotonic()
        deadline = now + self.drain_s
        # Idle connections get a moment more, for a request that may be on its way.
        self._cap_keepalive(now + STOP_KEEPALIVE_LINGER)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, now + STOP_KEEPALIVE_LINGER)
        self._incomplete = dict.fromkeys(self._incomplete, now + STOP_KEEPALIVE_LINGER)
        log.info(
            "worker drains",
            num_running=self.lifecycle.num_running,
            reason="shutdown" if stopping else "replaced",
        )
        while (self.nr_conns > 0 or self._lingering) and time.monotonic() < deadline:
            self._turn(_TICK_S, accepting=stopping and self.lifecycle.num_running > 0)
        self.set_accept_enabled(False)
        self.lifecycle.expire()
        deadline = time.monotonic() + _LAST_WORDS_S
        while self._active and time.monotonic() < deadline:
            self._turn(_TICK_S, accepting=False)

    def _abandon(self) -> None:
        """Close everything; threads that still write find their connection gone."""
        for connection in list(self._active):
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        self.murder_keepalived(force=True)
        self.tpool.shutdown(wait=False)
        self.poller.close()
        self.method_queue.close()
        for listener in self.sockets:
            listener.close()
