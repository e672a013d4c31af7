"""One streamed request to a server that speaks OpenAI's API, and when its tokens came."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lite.errors import ConfigError

_READ_BYTES = 65536
_MAX_ERROR_CHARS = 300
_MAX_TIMEOUT_S = 1_000_000.0  # some sockets overflow beyond 24 days


@dataclass(slots=True)
class Outcome:
    """What became of a request; times in seconds, as `vllm bench serve` takes them.

    Attributes:
        start_s: when it was sent (time.perf_counter), on a connection that stood already.
        queue_s: how long it was due before: waiting for others or a late client, connecting.
        ttft_s: from sending to the first token.
        itl_s: between the events that carry tokens; an event may carry several.
        latency_s: from sending to the last token.
        end_s: when it was over, failed or not (time.perf_counter); start_s if never connected.
        num_input: prompt tokens as the server counts them; None: it did not say.
        num_output: likewise.
        num_cached: prompt tokens that came from the server's prefix cache; likewise.
        text: the output.
        error: why it failed; empty: it did not.
    """

    start_s: float = 0.0
    queue_s: float = 0.0
    ttft_s: float = 0.0
    itl_s: list[float] = field(default_factory=list)
    latency_s: float = 0.0
    end_s: float = 0.0
    num_input: int | None = None
    num_output: int | None = None
    num_cached: int | None = None
    text: str = ""
    error: str = ""


class _Delta(msgspec.Struct):
    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw(b"null")


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None
    token_ids: msgspec.Raw = msgspec.Raw(b"null")

    def output(self) -> str:
        """Return the text that this event adds."""
        if self.delta is None:
            return self.text or ""
        delta = self.delta
        return delta.content or delta.reasoning or delta.reasoning_content or ""

    def has_token(self) -> bool:
        """Whether a token was made for it: not for the event that opens a chat's turn.

        A token may have no text of its own.
        """
        delta = self.delta
        if delta is None or delta.role is None:
            return True
        return bool(self.output()) or bytes(delta.tool_calls) != b"null"

    def only_ends(self) -> bool:
        """Whether it ends the output and shows no token: it may be one without text, or none."""
        if self.finish_reason is None or self.output():
            return False
        if self.delta is not None and bytes(self.delta.tool_calls) != b"null":
            return False
        return bytes(self.token_ids) in (b"null", b"[]")


class _PromptTokensDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptTokensDetails | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Event)


class _StreamError(Exception):
    """The server says, in the stream or instead of it, that the request failed."""


class OpenAIServer:
    """Where requests go; safe to use from several threads, each with a connection of its own.

    Args:
        base_url: with or without /v1 at the end.
        api_key: sent as a bearer token; None for none.
        timeout_s: longest silence, and longest request.

    Raises:
        ConfigError: the URL is not http:// or https:// with a host.
    """

    def __init__(self, base_url: str, *, api_key: str | None, timeout_s: float) -> None:
        try:
            parts = urlsplit(base_url)
            self._host, self._port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"--base-url {base_url!r} is not a URL: {error}.") from None
        if parts.scheme not in ("http", "https") or not self._host or "@" in parts.netloc:
            raise ConfigError(
                f"--base-url {base_url!r} is not a server's URL, such as http://127.0.0.1:8000 "
                "(a key goes into OPENAI_API_KEY or --api-key)."
            )
        if not 0.0 < timeout_s <= _MAX_TIMEOUT_S:
            raise ConfigError(
                f"--timeout is {timeout_s}, but must be a number > 0 and <= {_MAX_TIMEOUT_S:.0f}."
            )
        self._secure = parts.scheme == "https"
        self._prefix = parts.path.rstrip("/").removesuffix("/v1")
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def _connect(self) -> http.client.HTTPConnection:
        assert self._host is not None
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        connection.connect()
        return connection

    def get(self, path: str) -> Any:
        """Return the JSON at a path.

        Raises:
            ConfigError: the server does not answer, or not with JSON.
        """
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.request("GET", self._prefix + path, headers=self._headers)
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    raise _StreamError(_refusal(response, body))
                return json.loads(body)
        except (OSError, http.client.HTTPException, ValueError, _StreamError) as error:
            raise ConfigError(
                f"GET {path} at {self._host}:{self._port or ''} failed ({_describe(error)}); is "
                "the server up, and --base-url right?"
            ) from None

    def stream(self, path: str, body: Mapping[str, Any]) -> Outcome:
        """Send a request and read its stream to the end; what goes wrong is in the outcome."""
        outcome = Outcome(start_s=time.perf_counter())
        payload = msgspec.json.encode(body)
        try:
            with contextlib.closing(self._connect()) as connection:
                outcome.start_s = time.perf_counter()
                try:
                    connection.request("POST", self._prefix + path, payload, self._headers)
                    self._read(connection.getresponse(), outcome)
                finally:
                    outcome.end_s = time.perf_counter()
        except (
            OSError,
            http.client.HTTPException,
            msgspec.MsgspecError,
            UnicodeDecodeError,
            _StreamError,
        ) as error:
            # A socket's timeout has no error number; the system's own has one, and its own limit.
            is_ours = isinstance(error, TimeoutError) and error.errno is None
            outcome.error = self._too_long() if is_ours else _describe(error)
        outcome.end_s = outcome.end_s or outcome.start_s
        return outcome

    def _too_long(self) -> str:
        return f"not finished within {self._timeout_s:g} s"

    def _read(self, response: http.client.HTTPResponse, outcome: Outcome) -> None:
        if response.status != 200:
            raise _StreamError(_refusal(response, response.read()))
        texts: list[str] = []
        num_events, before_s, last_s = 0, 0.0, 0.0  # with tokens; when the last two of them came
        done = only_ends = False
        # To the very end: a server takes a connection that closes before for a client that left.
        for now_s, data in self._events(response, outcome.start_s):
            if data == b"[DONE]":
                done = True
                continue
            event = _DECODER.decode(data)
            if bytes(event.error) != b"null":
                raise _StreamError(f"in the stream: {bytes(event.error).decode()}")
            if event.usage is not None:
                outcome.num_input = event.usage.prompt_tokens
                outcome.num_output = event.usage.completion_tokens
                details = event.usage.prompt_tokens_details
                outcome.num_cached = details.cached_tokens if details is not None else None
            for choice in event.choices[:1]:
                done = done or choice.finish_reason is not None
                if not choice.has_token():
                    continue
                if last_s:
                    outcome.itl_s.append(now_s - last_s)
                else:
                    outcome.ttft_s = now_s - outcome.start_s
                num_events, before_s, last_s = num_events + 1, last_s, now_s
                only_ends = choice.only_ends()
                texts.append(choice.output())
        if not done:
            raise _StreamError("the stream ended before the output did")
        if only_ends and outcome.num_output is not None and num_events > outcome.num_output:
            # The tokens came with the events before.
            del outcome.itl_s[-1:]
            last_s = before_s
        if not last_s:
            raise _StreamError("the stream held no token")
        outcome.latency_s = last_s - outcome.start_s
        outcome.text = "".join(texts)

    def _events(
        self, response: http.client.HTTPResponse, start_s: float
    ) -> Iterator[tuple[float, bytes]]:
        """Yield when each `data:` line came, and what it holds."""
        rest = b""
        while received := response.read1(_READ_BYTES):
            now_s = time.perf_counter()
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    yield now_s, line[5:].strip()
            if now_s - start_s > self._timeout_s:
                raise _StreamError(self._too_long())


def _refusal(response: http.client.HTTPResponse, body: bytes) -> str:
    """Say what an answer other than 200 says."""
    text = body.decode(errors="replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        error = json.loads(text)["error"]
        text = error if isinstance(error, str) else error["message"]
    return f"HTTP {response.status} {text or response.reason}"


def _describe(error: Exception) -> str:
    text = str(error) if isinstance(error, _StreamError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_MAX_ERROR_CHARS]
