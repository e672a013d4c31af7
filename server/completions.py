"""POST /v1/completions."""

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import falcon
import msgspec
from msgspec import UNSET

from lite.outputs import CompletionOutput, OutputDelta, PositionLogprobs, RequestOutput
from lite.sampling_params import SamplingParams
from server.body import read_json
from server.errors import invalid
from server.generation import Generation, check_model
from server.record import record_of
from server.responses import (
    CompletionChoice,
    CompletionLogprobs,
    CompletionLogprobsBuilder,
    CompletionResponse,
    Usage,
    prompt_logprobs,
    usage,
)
from server.schemas import CompletionRequest, parse_completion
from server.services import Services, TextGenerator
from server.sse import respond

DEFAULT_MAX_TOKENS = 16  # OpenAI's and vLLM's
MAX_PROMPTS = 1024
_MAX_TOKEN_ID = 2**31 - 1


class Completions:
    """Continues prompts, whole or as a stream."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        services = self._services
        config = services.config
        request = parse_completion(read_json(req, max_bytes=config.server.max_body_bytes))
        prompts = split_prompts(request.prompt)
        record = record_of(req)
        record.stream = bool(request.stream)
        if config.log.prompts:
            record.prompt, record.output = prompts, []
        with Generation(services, req) as generation:
            generator = services.generator
            check_model(request.model, generator)
            params = _params(request, generator.default_sampling)
            token_ids = _encode(generator, request, prompts, params)
            answer = _Answer(
                services,
                generation,
                request=request,
                prompts=prompts,
                token_ids=token_ids,
            )
            headers = generation.start(
                generator,
                token_ids,
                params,
                response_id=answer.id,
                cache_salt=request.cache_salt,
                param="prompt",
            )
            resp.set_headers(headers)
            respond(
                resp,
                generation,
                answer,
                record,
                n=params.n,
                heartbeat_s=config.server.heartbeat_s if request.stream else None,
            )


def split_prompts(prompt: str | list[Any]) -> list[str | list[int]]:
    """Return the prompts of a request: a string, token ids, or a list of either.

    Raises:
        ApiError: 400 with the path of what is neither.
    """
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise invalid("prompt is an empty list; give text or token ids.", param="prompt")
    if _is_int(prompt[0]):
        return [_token_ids(prompt, "prompt")]
    if len(prompt) > MAX_PROMPTS:
        raise invalid(
            f"prompt holds {len(prompt)} prompts and at most {MAX_PROMPTS} are allowed in one "
            "request; send several requests.",
            param="prompt",
        )
    prompts: list[str | list[int]] = []
    for i, item in enumerate(prompt):
        if isinstance(item, str):
            prompts.append(item)
        elif isinstance(item, list) and item:
            prompts.append(_token_ids(item, f"prompt[{i}]"))
        else:
            raise invalid(
                f"prompt[{i}]: expected a string or a list of token ids.", param=f"prompt[{i}]"
            )
    return prompts


def _token_ids(items: list[Any], path: str) -> list[int]:
    for i, item in enumerate(items):
        if not _is_int(item) or not 0 <= item <= _MAX_TOKEN_ID:
            raise invalid(f"{path}[{i}]: expected a token id >= 0.", param=f"{path}[{i}]")
    return items


def _is_int(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def _params(request: CompletionRequest, defaults: Mapping[str, Any]) -> SamplingParams:
    max_tokens = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    if max_tokens == 0 and request.echo:
        # Scoring a prompt: one token is made, since a step makes one, and thrown away.
        max_tokens = 1
    wanted = request.prompt_logprobs
    if wanted is None and request.echo:
        wanted = request.logprobs
    return request.sampling(
        defaults, max_tokens=max_tokens, logprobs=request.logprobs, prompt_logprobs=wanted
    )


def _encode(
    generator: TextGenerator,
    request: CompletionRequest,
    prompts: list[str | list[int]],
    params: SamplingParams,
) -> list[list[int]]:
    special = request.add_special_tokens is not False
    limit = generator.max_model_len - (params.max_tokens or 1)
    return [
        request.truncate(
            generator.encode(prompt, add_special_tokens=special)
            if isinstance(prompt, str)
            else prompt,
            limit,
        )
        for prompt in prompts
    ]


class _Answer:
    """What all frames, or the one body, of an answer share."""

    def __init__(
        self,
        services: Services,
        generation: Generation,
        *,
        request: CompletionRequest,
        prompts: list[str | list[int]],
        token_ids: list[list[int]],
    ) -> None:
        self.id = f"cmpl-{request.request_id or uuid.uuid4().hex}"
        self._created = int(time.time())
        self._fingerprint = services.fingerprint
        self._generator = services.generator
        self._generation = generation
        self._request = request
        self._prompts = prompts
        self._token_ids = token_ids
        self._n = request.n or 1
        self._only_prompt = bool(request.echo) and request.max_tokens == 0
        self._begun: set[tuple[int, int]] = set()
        self._builders: dict[tuple[int, int], CompletionLogprobsBuilder] = {}
        self._prompt_logprobs: dict[int, list[PositionLogprobs | None]] = {}
        self._held: list[tuple[int, OutputDelta]] = []

    def opening(self) -> Iterable[CompletionResponse]:
        return ()

    def add(self, prompt: int, delta: OutputDelta) -> Iterable[CompletionResponse]:
        if not (self._request.echo and self._request.logprobs is not None):
            yield from self._frames(prompt, delta)
            return
        # The prompt's log probabilities come with its first output only, and all repeat them.
        if delta.prompt_logprobs is not None:
            self._prompt_logprobs[prompt] = delta.prompt_logprobs
        self._held.append((prompt, delta))
        ready = [one for one in self._held if one[0] in self._prompt_logprobs]
        self._held = [one for one in self._held if one[0] not in self._prompt_logprobs]
        for one in ready:
            yield from self._frames(*one)

    def _frames(self, prompt: int, delta: OutputDelta) -> Iterable[CompletionResponse]:
        request = self._request
        first = (prompt, delta.index) not in self._begun
        self._begun.add((prompt, delta.index))
        logprobs = self._logprobs(
            prompt, delta.index, delta.token_ids, delta.logprobs, with_prompt=first
        )
        text = "" if self._only_prompt else delta.text
        if first and request.echo:
            text = self._prompt_text(prompt) + text
        ids = bool(request.return_token_ids)
        if not (text or delta.finish_reason or (delta.token_ids and (logprobs or ids))):
            return
        choice = CompletionChoice(
            index=prompt * self._n + delta.index,
            text=text,
            logprobs=logprobs,
            finish_reason=delta.finish_reason,
            stop_reason=delta.stop_reason,
            token_ids=([] if self._only_prompt else delta.token_ids) if ids else UNSET,
            prompt_token_ids=self._token_ids[prompt] if ids and first else UNSET,
        )
        running = (
            self._without_output(self._generation.usage_of(prompt, delta))
            if request.continuous_usage
            else None
        )
        yield self._response([choice], running if request.include_usage else UNSET)

    def closing(self) -> Iterable[CompletionResponse]:
        if self._request.include_usage:
            yield self._response([], self._without_output(self._generation.usage()))

    def body(self, results: list[RequestOutput]) -> CompletionResponse:
        """Return the whole answer."""
        choices = []
        for prompt, result in enumerate(results):
            if result.prompt_logprobs is not None:
                self._prompt_logprobs[prompt] = result.prompt_logprobs
            choices += [self._choice(prompt, output) for output in result.outputs]
        return self._response(choices, self._without_output(self._generation.usage()))

    def _choice(self, prompt: int, output: CompletionOutput) -> CompletionChoice:
        request = self._request
        scored = self._prompt_logprobs.get(prompt)
        text = "" if self._only_prompt else output.text
        ids = bool(request.return_token_ids)
        return CompletionChoice(
            index=prompt * self._n + output.index,
            text=self._prompt_text(prompt) + text if request.echo else text,
            logprobs=self._logprobs(
                prompt, output.index, output.token_ids, output.logprobs, with_prompt=True
            ),
            finish_reason=output.finish_reason,
            stop_reason=output.stop_reason,
            prompt_logprobs=UNSET
            if scored is None or request.prompt_logprobs is None
            else prompt_logprobs(scored),
            token_ids=([] if self._only_prompt else output.token_ids) if ids else UNSET,
            prompt_token_ids=self._token_ids[prompt] if ids else UNSET,
        )

    def _response(
        self, choices: list[CompletionChoice], usage: Usage | msgspec.UnsetType | None
    ) -> CompletionResponse:
        return CompletionResponse(
            id=self.id,
            created=self._created,
            model=self._generator.model_name,
            system_fingerprint=self._fingerprint,
            choices=choices,
            usage=usage,
        )

    def _without_output(self, counted: Usage) -> Usage:
        if not self._only_prompt:
            return counted
        details = counted.prompt_tokens_details
        return usage(counted.prompt_tokens, 0, details.cached_tokens if details else 0)

    def _prompt_text(self, prompt: int) -> str:
        text = self._prompts[prompt]
        return text if isinstance(text, str) else self._decode(text)

    def _decode(self, token_ids: list[int]) -> str:
        return self._generator.tokenizer.decode(token_ids, skip_special_tokens=False)

    def _logprobs(
        self,
        prompt: int,
        index: int,
        token_ids: list[int],
        positions: list[PositionLogprobs] | None,
        *,
        with_prompt: bool,
    ) -> CompletionLogprobs | None:
        request = self._request
        if request.logprobs is None:
            return None
        builder = self._builders.setdefault(
            (prompt, index),
            CompletionLogprobsBuilder(as_token_ids=bool(request.return_tokens_as_token_ids)),
        )
        ids: list[int] = [] if self._only_prompt else token_ids
        all_positions: list[PositionLogprobs | None] = (
            [] if self._only_prompt else [*(positions or [])]
        )
        unknown: list[str] = []
        if request.echo and with_prompt:
            ids = self._token_ids[prompt] + ids
            scored = self._prompt_logprobs[prompt]
            all_positions = [*scored, *all_positions]
            unknown = [
                self._decode([token_id])
                for token_id, position in zip(ids, scored, strict=False)
                if position is None
            ]
        return builder.add(ids, all_positions, unknown)
