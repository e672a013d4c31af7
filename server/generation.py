"""Generation: the engine's work for one HTTP request, from its place in the worker to its bill."""

import contextlib
import functools
import select
import socket
import time
import uuid
from collections.abc import Iterator

import falcon

from lite.errors import EngineError
from lite.outputs import CompletionOutput, OutputDelta, RequestOutput
from lite.sampling_params import SamplingParams
from server.errors import ApiError, ClientGoneError
from server.multiplex import Multiplexed
from server.record import record_of
from server.responses import Usage, usage
from server.services import Services, TextGenerator

# How often a request looks whether its client is still there.
CLIENT_POLL_S = 0.5

Deltas = list[tuple[int, OutputDelta]]


def check_model(model: str | None, generator: TextGenerator) -> None:
    """Raise 404 unless the model is the served one; no model means the served one."""
    if model and model != generator.model_name:
        raise ApiError(
            404,
            f"The model {model!r} does not exist; this server serves {generator.model_name!r}.",
            code="model_not_found",
            param="model",
        )


class Generation:
    """Prompts being answered. `close` (also as a context's exit on an error) ends everything."""

    def __init__(self, services: Services, req: falcon.Request) -> None:
        """Take a place in this worker.

        Raises:
            ApiError: 503, there is none.
        """
        self._services = services
        self._record = record_of(req)
        self._socket: socket.socket | None = req.env.get("gunicorn.socket")
        self._batches: Iterator[Deltas] | None = None
        self._prompts: list[list[int]] = []
        self._num_outputs: dict[tuple[int, int], int] = {}
        self._num_cached: dict[int, int] = {}
        self._num_unfinished = 0
        self._charged = False
        self._closed = False
        self._next_look_s = time.monotonic() + CLIENT_POLL_S
        services.lifecycle.enter()

    def __enter__(self) -> "Generation":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Without an error the response now owns the generation.
        if kind is not None:
            self.close()

    def start(
        self,
        generator: TextGenerator,
        prompts: list[list[int]],
        params: SamplingParams,
        *,
        response_id: str,
        cache_salt: str | None,
        param: str,
    ) -> dict[str, str]:
        """Charge the key and start all prompts; return the rate limit's headers.

        Raises:
            ApiError: 429.
            InvalidRequestError: a prompt or a parameter does not fit; `param` names the prompt.
        """
        caller, record = self._record.caller, self._record
        salt = caller.salt(cache_salt)
        # Clients may repeat a request id of theirs; the engine needs unique ones.
        unique = f"{response_id}-{uuid.uuid4().hex[:8]}"
        prepared = [
            generator.prepare(
                ids,
                params,
                request_id=f"{unique}-{i}",
                salt=salt,
                param=param,
                is_chat=param == "messages",
            )
            for i, ids in enumerate(prompts)
        ]
        record.model = generator.model_name
        record.num_prompt_tokens = sum(map(len, prompts))
        headers = self._services.limiter.charge(caller, record.num_prompt_tokens)
        self._charged = True
        self._prompts = prompts
        self._num_unfinished = params.n * len(prompts)
        starts = [
            functools.partial(generator.stream_batches, one, heartbeat_s=CLIENT_POLL_S)
            for one in prepared
        ]
        self._batches = (
            _numbered(starts[0]())
            if len(starts) == 1
            else Multiplexed(starts, poll_s=CLIENT_POLL_S)
        )
        return headers

    @property
    def finished(self) -> bool:
        """Whether every output of every prompt has ended."""
        return self._num_unfinished == 0

    def poll(self) -> Deltas:
        """Wait for the next deltas; [] after CLIENT_POLL_S of silence.

        Raises:
            ClientGoneError: the client closed its connection.
            ApiError: 503, the drain time is over.
            LiteError: the engine's error.
        """
        assert self._batches is not None
        self._services.lifecycle.check()
        deltas = next(self._batches, None)
        if deltas is None:
            raise EngineError("The engine ended the request before its output was complete.")
        # NOTE: looked at by the clock, since a busy output is never silent.
        now_s = time.monotonic()
        if self._socket is not None and now_s >= self._next_look_s:
            self._next_look_s = now_s + CLIENT_POLL_S
            if is_closed(self._socket):
                raise ClientGoneError
        for prompt, delta in deltas:
            self._account(prompt, delta)
        return deltas

    def _account(self, prompt: int, delta: OutputDelta) -> None:
        record = self._record
        if delta.token_ids and record.ttft_s is None:
            record.ttft_s = record.elapsed_s()
        self._num_outputs[prompt, delta.index] = delta.num_output_tokens
        self._num_cached[prompt] = max(self._num_cached.get(prompt, 0), delta.num_cached_tokens)
        if record.output is not None:
            record.output.append(delta.text)
        if delta.finish_reason is not None:
            self._num_unfinished -= 1
            record.finish_reasons.append(delta.finish_reason)
            record.timings = delta.timings or record.timings

    @property
    def num_output_tokens(self) -> int:
        """Tokens produced so far, of all outputs."""
        return sum(self._num_outputs.values())

    def usage(self) -> Usage:
        """Return the usage of the whole request so far."""
        return usage(
            sum(map(len, self._prompts)), self.num_output_tokens, sum(self._num_cached.values())
        )

    def usage_of(self, prompt: int, delta: OutputDelta) -> Usage:
        """Return the running usage of one output, as vLLM's `continuous_usage_stats` reports it."""
        return usage(
            len(self._prompts[prompt]), delta.num_output_tokens, self._num_cached.get(prompt, 0)
        )

    def collect(self, n: int) -> list[RequestOutput]:
        """Wait for the end; return one output for each prompt. Raises as `poll`."""
        results = [
            RequestOutput(
                request_id="",
                prompt=None,
                prompt_token_ids=ids,
                outputs=[CompletionOutput(index=i) for i in range(n)],
            )
            for ids in self._prompts
        ]
        while not self.finished:
            for prompt, delta in self.poll():
                results[prompt].extend(delta)
        return results

    def close(self) -> None:
        """Abort what still runs, settle the key's tokens, free the place; idempotent."""
        if self._closed:
            return
        self._closed = True
        record, lifecycle = self._record, self._services.lifecycle
        with contextlib.ExitStack() as stack:
            stack.callback(lifecycle.leave)
            if self._charged:
                record.num_output_tokens = self.num_output_tokens
                record.num_cached_tokens = sum(self._num_cached.values())
                # A request that produced nothing gets its prompt back.
                tokens = self.num_output_tokens or -(record.num_prompt_tokens or 0)
                stack.callback(self._services.limiter.settle, record.caller, tokens)
            if self._batches is not None:
                stack.callback(self._batches.close)  # type: ignore[attr-defined]


def _numbered(batches: Iterator[list[OutputDelta]]) -> Iterator[Deltas]:
    try:
        for deltas in batches:
            yield [(0, delta) for delta in deltas]
    finally:
        batches.close()  # type: ignore[attr-defined]


def is_closed(connection: socket.socket) -> bool:
    """Return whether the peer has closed (or half-closed) its side."""
    try:
        poll = select.poll()
        poll.register(connection, select.POLLRDHUP)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True
