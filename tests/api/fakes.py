"""An engine and a generator that echo their prompt, character by character."""

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lite.config import Config
from lite.errors import (
    ContextLengthError,
    EngineDeadError,
    InvalidRequestError,
    ModelLoadingError,
    OverloadedError,
    QueueTimeoutError,
)
from lite.messages import EngineStats, HttpObservation, QuotaReply, RequestTimings
from lite.outputs import Logprob, OutputDelta
from lite.sampling_params import SamplingParams
from server.app import create_services
from server.services import Services

BOS = 1
MAX_MODEL_LEN = 4096

# What a prompt can ask of the fake, as in "[delay=0.05]hello".
_DIRECTIVE = re.compile(r"\[(delay|silent|die|full|loading|queue|bug|batch)(?:=([\d.]+))?\]")
_REFUSALS = {
    "full": OverloadedError("The queue is full (4 requests).", retry_after_s=0.4),
    "loading": ModelLoadingError("The model is still loading."),
    "queue": QueueTimeoutError("Waited longer than 1 s in the queue."),
    "bug": ZeroDivisionError("secret detail"),
}


class FakeTokenizer:
    """Token ids are code points; 1 is the BOS."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [BOS] * add_special_tokens + [ord(c) for c in text]

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        shown = (i for i in token_ids if i != BOS or not skip_special_tokens)
        return "".join("<s>" if i == BOS else chr(i) for i in shown)

    def token_bytes(self, token_id: int) -> bytes:
        return self.decode([token_id], skip_special_tokens=False).encode()


class FakeEngine:
    """Buckets that never refill, metrics of nothing, and a list of what was observed."""

    def __init__(self) -> None:
        self.state = "ready"
        self.last_step_age_s = 0.0
        self.dead = False
        self.closed = False
        self.running: set[str] = set()
        self.aborted: list[str] = []
        self.observations: list[HttpObservation] = []
        self.used: dict[str, list[int]] = {}
        self._mutex = threading.Lock()

    def stats(self) -> EngineStats:
        self._check()
        return EngineStats(
            state=self.state,
            model="fake",
            num_running=len(self.running),
            last_step_age_s=self.last_step_age_s,
        )

    def metrics(self) -> str:
        self._check()
        return "# TYPE fake counter\nfake_total 1\n"

    def observe(self, observation: HttpObservation) -> None:
        self.observations.append(observation)

    def quota(
        self,
        key_id: str,
        *,
        num_tokens: int,
        num_requests: int = 1,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> QuotaReply:
        self._check()
        with self._mutex:
            used = self.used.setdefault(key_id, [0, 0])
            left = [
                None if limit is None else limit - before - more
                for limit, before, more in zip(
                    (requests_per_minute, tokens_per_minute),
                    used,
                    (num_requests, num_tokens),
                    strict=True,
                )
            ]
            allowed = all(one is None or one >= 0 for one in left)
            if allowed:
                used[0] += num_requests
                used[1] += num_tokens
        return QuotaReply(
            request_id="",
            allowed=allowed,
            remaining_requests=left[0],
            remaining_tokens=left[1],
            reset_requests_s=90.0,
            reset_tokens_s=0.25,
            retry_after_s=0.0 if allowed else 12.5,
        )

    def settle_quota(self, key_id: str, *, num_tokens: int, tokens_per_minute: int | None) -> None:
        with self._mutex:
            self.used.setdefault(key_id, [0, 0])[1] += num_tokens

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.dead:
            raise EngineDeadError("The engine is gone.")


@dataclass
class FakePrepared:
    """A request as the fake runs it."""

    request_id: str
    params: SamplingParams
    prompt_token_ids: list[int]
    salt: bytes
    output: list[int]
    directives: dict[str, float] = field(default_factory=dict)


class FakeGenerator:
    """Echoes the prompt's text; see `_DIRECTIVE` for what a prompt can ask for."""

    model_name = "fake"
    max_model_len = MAX_MODEL_LEN

    def __init__(self, engine: FakeEngine, default_sampling: Mapping[str, Any] | None = None):
        self.engine = engine
        self.tokenizer = FakeTokenizer()
        self.default_sampling = dict(default_sampling or {})
        self.prepared: list[FakePrepared] = []
        self.chat_options: dict[str, Any] = {}

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
        self.chat_options = options
        for i, message in enumerate(messages):
            if not isinstance(message.get("content"), str | None):
                param = f"messages[{i}].content"
                raise InvalidRequestError(f"{param} must be text.", param=param)
        text = "\n".join(str(message.get("content") or "") for message in messages)
        return self.tokenizer.encode(text)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens)

    def prepare(
        self,
        prompt_token_ids: list[int],
        params: SamplingParams,
        *,
        request_id: str,
        salt: bytes = b"",
        param: str = "prompt",
        is_chat: bool = False,
    ) -> FakePrepared:
        num_prompt, wanted = len(prompt_token_ids), params.max_tokens or 1
        if num_prompt + wanted > self.max_model_len:
            raise ContextLengthError(
                f"{num_prompt} + {wanted} > {self.max_model_len}.", param=param
            )
        text = self.tokenizer.decode(prompt_token_ids)
        directives = {name: float(value or 1) for name, value in _DIRECTIVE.findall(text)}
        output = [ord(c) for c in _DIRECTIVE.sub("", text)]
        prepared = FakePrepared(request_id, params, prompt_token_ids, salt, output, directives)
        self.prepared.append(prepared)
        return prepared

    def stream_batches(
        self, prepared: FakePrepared, *, heartbeat_s: float | None = None
    ) -> Iterator[list[OutputDelta]]:
        directives, engine = prepared.directives, self.engine
        for name, error in _REFUSALS.items():
            if name in directives:
                raise error
        if engine.dead:
            raise EngineDeadError("The engine is gone.")
        engine.running.add(prepared.request_id)
        try:
            yield from self._run(prepared, heartbeat_s)
        except GeneratorExit:
            engine.aborted.append(prepared.request_id)
            raise
        finally:
            engine.running.discard(prepared.request_id)

    def _run(
        self, prepared: FakePrepared, heartbeat_s: float | None
    ) -> Iterator[list[OutputDelta]]:
        params, directives = prepared.params, prepared.directives
        yield from _wait(directives.get("silent", 0.0), heartbeat_s)
        limit = params.max_tokens or MAX_MODEL_LEN
        stop = next((s for s in params.stop if s in self.tokenizer.decode(prepared.output)), None)
        output = prepared.output
        if stop is not None:
            text = self.tokenizer.decode(output)
            output = output[: text.index(stop)]
        per_batch = int(directives.get("batch", 1))
        pieces = [output[i : i + per_batch] for i in range(0, min(len(output), limit), per_batch)]
        pieces = pieces or [[]]
        num_output = 0
        for i, piece in enumerate(pieces):
            yield from _wait(directives.get("delay", 0.0), heartbeat_s)
            if self.engine.dead or directives.get("die") == i:
                raise EngineDeadError("The engine is gone.")
            tokens = piece[: limit - num_output]
            num_output += len(tokens)
            last = i == len(pieces) - 1
            reason = None
            if last:
                reason = "length" if num_output == limit and len(output) > limit else "stop"
            yield [
                self._delta(
                    prepared,
                    index,
                    tokens,
                    num_output,
                    first=i == 0,
                    reason=reason,
                    stop=stop if reason == "stop" else None,
                )
                for index in range(params.n)
            ]

    def _delta(
        self,
        prepared: FakePrepared,
        index: int,
        tokens: list[int],
        num_output: int,
        *,
        first: bool,
        reason: str | None,
        stop: str | None,
    ) -> OutputDelta:
        params = prepared.params
        prompt_logprobs = None
        if params.prompt_logprobs is not None and first and index == 0:
            known = [self._position(i, params.prompt_logprobs) for i in prepared.prompt_token_ids]
            prompt_logprobs = [None, *known[1:]]
        return OutputDelta(
            index=index,
            text=self.tokenizer.decode(tokens),
            token_ids=tokens,
            logprobs=None
            if params.logprobs is None
            else [self._position(i, params.logprobs) for i in tokens],
            prompt_logprobs=prompt_logprobs,
            finish_reason=reason,
            stop_reason=stop,
            num_cached_tokens=3,
            num_output_tokens=num_output,
            timings=RequestTimings(queue_s=0.001, prefill_s=0.002) if reason else None,
        )

    def _position(self, token_id: int, num_top: int) -> dict[int, Logprob]:
        """The chosen token is the second likely one, after the next code point."""
        position = {token_id: Logprob(-1.5, 2, self.tokenizer.decode([token_id], False))}
        for i in range(num_top):
            logprob, rank = (-0.5, 1) if i == 0 else (float("-inf"), 2 + i)
            position[token_id + 1 + i] = Logprob(logprob, rank, chr(token_id + 1 + i))
        return position


def _wait(seconds: float, heartbeat_s: float | None) -> Iterator[list[OutputDelta]]:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, heartbeat_s or left))
        if until > time.monotonic():
            yield []


def make_services(
    config: Config | None = None, *, default_sampling: Mapping[str, Any] | None = None
) -> tuple[Services, FakeEngine, FakeGenerator]:
    """Return services over fakes, and the fakes."""
    engine = FakeEngine()
    generator = FakeGenerator(engine, default_sampling)
    services = create_services(config or Config(), engine=engine, generator=generator)
    return services, engine, generator
