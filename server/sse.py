"""Server-sent events: framing, heartbeats, and errors after the headers are gone."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

import falcon
import msgspec

from lite.outputs import OutputDelta, RequestOutput
from server.errors import ClientGoneError, explain
from server.generation import Generation
from server.record import RequestRecord

# NOTE: heartbeats are comments, and no `id:` or `retry:` is ever sent: OpenAI's client trips over
# comments after an id, and over blocks that hold only a retry.
PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"

_encoder = msgspec.json.Encoder()


class Frames(Protocol):
    """Turns deltas into the frames of one route's stream."""

    def opening(self) -> Iterable[msgspec.Struct]:
        """Return the frames before the first delta."""
        ...

    def add(self, prompt: int, delta: OutputDelta) -> Iterable[msgspec.Struct]:
        """Return the frames of one delta."""
        ...

    def closing(self) -> Iterable[msgspec.Struct]:
        """Return the frames after the last delta."""
        ...


class Answer(Frames, Protocol):
    """The same, and the one body of an answer that is not streamed."""

    def body(self, results: list[RequestOutput]) -> msgspec.Struct:
        """Return the whole answer; one result for each prompt."""
        ...


def event(frame: msgspec.Struct) -> bytes:
    """Return one frame as it goes over the wire."""
    return b"data: " + _encoder.encode(frame) + b"\n\n"


class EventStream:
    """The body of a streamed response: an iterator of bytes that WSGI closes.

    A class and not a generator function, since closing a generator that never started runs none of
    its code.
    """

    def __init__(
        self,
        generation: Generation,
        frames: Frames,
        record: RequestRecord,
        *,
        heartbeat_s: float,
    ) -> None:
        self._generation = generation
        self._frames = frames
        self._record = record
        self._heartbeat_s = heartbeat_s
        self._ready: bytes | None = None
        self._opened = False
        self._done = False
        self._closed = False
        self._on_close: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Wait for the first deltas, but no longer than a heartbeat.

        What fails until then can still be answered with an HTTP status.
        """
        self._ready = self._wait()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back after the stream has ended, whatever ended it."""
        self._on_close.append(callback)

    def __iter__(self) -> "EventStream":
        return self

    def __next__(self) -> bytes:
        if self._ready is not None:
            chunk, self._ready = self._ready, None
        elif self._done:
            raise StopIteration
        else:
            chunk = self._next_chunk()
        self._record.response_bytes += len(chunk)
        return chunk

    def _next_chunk(self) -> bytes:
        try:
            return self._wait()
        except ClientGoneError:
            self._done = True
            self._record.client_gone = True
            raise StopIteration from None
        except Exception as error:
            self._done = True
            answer = explain(error)
            self._record.error_code = answer.code
            return event(answer.body()) + DONE

    def _wait(self) -> bytes:
        """Return all frames of the next deltas, or a heartbeat."""
        silent_until = time.monotonic() + self._heartbeat_s
        generation = self._generation
        while True:
            deltas = generation.poll()
            frames = [frame for one in deltas for frame in self._frames.add(*one)]
            if frames or generation.finished:
                if not self._opened:
                    self._opened = True
                    frames = [*self._frames.opening(), *frames]
                if generation.finished:
                    self._done = True
                    frames.extend(self._frames.closing())
                    return b"".join(map(event, frames)) + DONE
                return b"".join(map(event, frames))
            if time.monotonic() >= silent_until:
                return PING

    def close(self) -> None:
        """Abort the generation unless it has ended; idempotent."""
        if self._closed:
            return
        self._closed = True
        if not self._done or self._ready is not None:
            self._record.client_gone = True
        try:
            self._generation.close()
        finally:
            for callback in self._on_close:
                callback()


def respond(
    resp: falcon.Response,
    generation: Generation,
    answer: Answer,
    record: RequestRecord,
    *,
    n: int,
    heartbeat_s: float | None,
) -> None:
    """Answer with a stream, or with one body at the end when `heartbeat_s` is None.

    A stream takes the generation over; proxies are told not to buffer or change it.
    """
    if heartbeat_s is None:
        resp.data = _encoder.encode(answer.body(generation.collect(n)))
        generation.close()
        return
    stream = EventStream(generation, answer, record, heartbeat_s=heartbeat_s)
    stream.begin()
    resp.content_type = "text/event-stream; charset=utf-8"
    resp.set_header("Cache-Control", "no-cache, no-transform")
    resp.set_header("X-Accel-Buffering", "no")
    resp.stream = stream
