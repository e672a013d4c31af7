"""A closed-loop streaming client for any OpenAI-like server: sockets and one thread."""

import json
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_CONNECT_S = 10.0


@dataclass(slots=True)
class Request:
    """One streamed completion, as the client saw it; times are seconds since it was sent."""

    prompt: list[int]
    sent_s: float = 0.0
    first_s: float | None = None  # first event with text
    event_s: list[float] = field(default_factory=list)
    done_s: float = 0.0
    num_tokens: int | None = None  # by the server's own count


class _Connection:
    """A socket and what has been received of one response."""

    def __init__(self, address: tuple[str, int], request: Request, body: dict[str, Any]) -> None:
        self.request = request
        self._pending = b""
        self._head_done = False
        text = json.dumps(body | {"prompt": request.prompt}).encode()
        head = (
            "POST /v1/completions HTTP/1.1\r\n"
            f"Host: {address[0]}:{address[1]}\r\n"
            "Content-Type: application/json\r\n"
            "Connection: close\r\n"
            f"Content-Length: {len(text)}\r\n\r\n"
        )
        self.socket = socket.create_connection(address, _CONNECT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request.sent_s = time.perf_counter()
        self.socket.sendall(head.encode() + text)
        self.socket.setblocking(False)

    def receive(self) -> bool:
        """Take what has arrived; return whether the response is complete.

        Raises:
            ConnectionError: the server refused, ended the stream early, or sent something else.
        """
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return False
        now_s = time.perf_counter() - self.request.sent_s
        self._pending += data
        if not self._head_done and not self._take_head():
            if not data:
                raise ConnectionError("the server closed the connection without an answer")
            return False
        *lines, self._pending = self._pending.split(b"\n")
        for line in lines:
            try:
                if line.startswith(b"data: ") and self._take_event(line[6:].strip(), now_s):
                    return True
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConnectionError(f"the server sent no event but {line[:200]!r}") from error
        if not data:
            raise ConnectionError("the stream ended without [DONE]")
        return False

    def _take_head(self) -> bool:
        head, separator, rest = self._pending.partition(b"\r\n\r\n")
        if not separator:
            return False
        if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
            raise ConnectionError(f"the server answered {head[:200]!r} {rest[:500]!r}")
        self._head_done, self._pending = True, rest
        return True

    def _take_event(self, data: bytes, now_s: float) -> bool:
        if data == b"[DONE]":
            self.request.done_s = now_s
            return True
        event = json.loads(data)
        if event.get("error"):
            raise ConnectionError(f"the server reported {event['error']}")
        if usage := event.get("usage"):
            self.request.num_tokens = usage["completion_tokens"]
        if any(choice.get("text") for choice in event.get("choices", ())):
            if self.request.first_s is None:
                self.request.first_s = now_s
            self.request.event_s.append(now_s)
        return False


def run_clients(
    address: tuple[str, int],
    prompts: Sequence[list[int]],
    *,
    num_clients: int,
    body: dict[str, Any],
    timeout_s: float,
) -> tuple[list[Request], float]:
    """Send all prompts, `num_clients` at a time; return the requests and the seconds it took.

    Raises:
        ConnectionError: a request failed; TimeoutError: not finished in time.
    """
    waiting: Iterator[Request] = iter([Request(prompt) for prompt in prompts])
    finished: list[Request] = []
    start_s = time.perf_counter()
    with selectors.DefaultSelector() as selector:

        def start() -> None:
            if (request := next(waiting, None)) is not None:
                connection = _Connection(address, request, body)
                selector.register(connection.socket, selectors.EVENT_READ, connection)

        try:
            for _ in range(num_clients):
                start()
            while selector.get_map():
                if time.perf_counter() - start_s > timeout_s:
                    raise TimeoutError(f"not finished after {timeout_s:.0f} s")
                for key, _ in selector.select(1.0):
                    if key.data.receive():
                        selector.unregister(key.fileobj)
                        key.data.socket.close()
                        finished.append(key.data.request)
                        start()
        finally:
            for key in list(selector.get_map().values()):
                key.data.socket.close()
    return finished, time.perf_counter() - start_s
