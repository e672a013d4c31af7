"""A server that speaks as much of OpenAI's API as a load test needs, and misbehaves on request."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeServer:
    """What it shall do, and what it was asked.

    Each output has `max_tokens` tokens, every `token_s` seconds one, the first after `first_s`.
    """

    first_s: float = 0.0
    token_s: float = 0.0
    tokens_per_event: int = 1
    has_usage: bool = True
    line_end: str = "\n"
    trouble: str | None = None  # "status", "error", "cut", "hang", "close", "empty", "garbage"
    num_good: int = 0  # requests before the trouble
    message: str = "the queue is full"  # of the refusal
    token_text: str = "x"
    ends_apart: bool = False  # an event after the last token says why the output ended
    num_cached: int | None = None  # prompt tokens from the prefix cache
    models: Any = field(default_factory=lambda: {"data": [{"id": "fake", "max_model_len": 512}]})
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    end_s: float = 0.0  # before each of the stream's last two writes
    num_left: int = 0  # clients that closed before the end
    num_open: int = 0
    num_streaming: int = 0
    most_open: int = 0  # streams before their last token
    lock: threading.Lock = field(default_factory=threading.Lock)
    released: threading.Event = field(default_factory=threading.Event)


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._whole(200, json.dumps(fake.models))

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            with fake.lock:
                fake.bodies.append(body)
                fake.headers.append(dict(self.headers))
                fake.paths.append(self.path)
                in_trouble = len(fake.bodies) > fake.num_good
                fake.num_open += 1
            try:
                self._answer(body, fake.trouble if in_trouble else None)
            except OSError:
                with fake.lock:
                    fake.num_left += 1
            finally:
                with fake.lock:
                    fake.num_open -= 1

        def _whole(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def _answer(self, body: dict[str, Any], trouble: str | None) -> None:
            if trouble == "status":
                self._whole(503, json.dumps({"error": {"message": fake.message}}))
                return
            if trouble == "close":
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if trouble == "hang":
                fake.released.wait(10.0)
            with fake.lock:
                fake.num_streaming += 1
                fake.most_open = max(fake.most_open, fake.num_streaming)
            try:
                self._stream(body, trouble)
            finally:
                # Before the end, after which the client may begin anew.
                with fake.lock:
                    fake.num_streaming -= 1
            # A client that left does not see the end.
            time.sleep(fake.end_s)
            self.wfile.write(b"0\r\n")
            time.sleep(fake.end_s)
            self.wfile.write(b"\r\n")

        def _stream(self, body: dict[str, Any], trouble: str | None) -> None:
            for line in self._lines(body, trouble):
                data = f"{line}{fake.line_end}{fake.line_end}".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        def _lines(self, body: dict[str, Any], trouble: str | None) -> Iterator[str]:
            is_chat = "messages" in body
            num_tokens = body["max_completion_tokens" if is_chat else "max_tokens"]
            time.sleep(fake.first_s)
            yield ": ping"
            if trouble == "garbage":
                yield "data: {not json"
                return
            if is_chat:
                yield _event({"delta": {"role": "assistant", "content": ""}})
            if trouble == "empty":
                yield "data: [DONE]"
                return
            for first in range(0, num_tokens, fake.tokens_per_event):
                if first:
                    time.sleep(fake.token_s)
                if first == 2 and trouble == "error":
                    yield 'data: {"error": {"message": "out of memory"}}'
                    return
                if first == 2 and trouble == "cut":
                    return
                text = fake.token_text * min(fake.tokens_per_event, num_tokens - first)
                is_last = first + fake.tokens_per_event >= num_tokens
                ends = is_last and not fake.ends_apart
                choice: dict[str, Any] = {"finish_reason": "length" if ends else None}
                choice |= {"delta": {"content": text}} if is_chat else {"text": text}
                yield _event(choice)
            if fake.ends_apart:
                time.sleep(fake.token_s)
                yield _event(
                    {"finish_reason": "length"} | ({"delta": {}} if is_chat else {"text": ""})
                )
            if fake.has_usage:
                usage: dict[str, Any] = {"prompt_tokens": 7, "completion_tokens": num_tokens}
                if fake.num_cached is not None:
                    usage["prompt_tokens_details"] = {"cached_tokens": fake.num_cached}
                yield "data: " + json.dumps({"choices": [], "usage": usage})
            yield "data: [DONE]"

    return Handler


def _event(choice: dict[str, Any]) -> str:
    return "data: " + json.dumps({"choices": [{"index": 0, **choice}]})


@contextmanager
def fake_server(**settings: Any) -> Iterator[FakeServer]:
    """Serve on a free port of this machine until the block ends."""
    fake = FakeServer(**settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    # The accept queue must hold what comes at once.
    server.socket.listen(256)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        fake.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
