"""POST /v1/chat/completions."""

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import falcon
import msgspec
from msgspec import UNSET

from lite.errors import InvalidRequestError
from lite.outputs import OutputDelta, PositionLogprobs, RequestOutput
from lite.sampling_params import SamplingParams
from server.body import read_json
from server.errors import invalid
from server.generation import Generation, check_model
from server.record import record_of
from server.responses import (
    ChatChoice,
    ChatFrame,
    ChatFrameChoice,
    ChatLogprobs,
    ChatMessage,
    ChatResponse,
    Delta,
    Usage,
    chat_logprobs,
    prompt_logprobs,
)
from server.schemas import ChatRequest, parse_chat, renamed
from server.services import Services, TextGenerator
from server.sse import respond


class ChatCompletions:
    """Answers chats, whole or as a stream."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        services = self._services
        config = services.config
        request, messages = parse_chat(read_json(req, max_bytes=config.server.max_body_bytes))
        record = record_of(req)
        record.stream = bool(request.stream)
        if config.log.prompts:
            record.prompt, record.output = messages, []
        with Generation(services, req) as generation:
            generator = services.generator
            check_model(request.model, generator)
            params = self._params(request, generator.default_sampling)
            token_ids = request.truncate(
                prompt_token_ids(generator, request, messages),
                generator.max_model_len - (params.max_tokens or 1),
            )
            answer = _Answer(
                services,
                generation,
                request=request,
                messages=messages,
                token_ids=token_ids,
            )
            headers = generation.start(
                generator,
                [token_ids],
                params,
                response_id=answer.id,
                cache_salt=request.cache_salt,
                param="messages",
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

    def _params(self, request: ChatRequest, defaults: Mapping[str, Any]) -> SamplingParams:
        names = {"logprobs": "top_logprobs"}
        max_tokens = request.max_tokens
        if request.max_completion_tokens is not None:
            max_tokens = request.max_completion_tokens
            names["max_tokens"] = "max_completion_tokens"
        if max_tokens is None:
            max_tokens = self._services.config.server.default_max_tokens
        if max_tokens is None:
            max_tokens = defaults.get("max_tokens")
        try:
            return request.sampling(
                defaults,
                max_tokens=max_tokens,
                logprobs=(request.top_logprobs or 0) if request.logprobs else None,
                prompt_logprobs=request.prompt_logprobs,
            )
        except InvalidRequestError as error:
            raise renamed(error, names) from None


def prompt_token_ids(
    generator: TextGenerator, request: ChatRequest, messages: list[dict[str, Any]]
) -> list[int]:
    """Return the templated chat.

    Raises:
        InvalidRequestError: the template refuses the messages.
    """
    continue_final = bool(request.continue_final_message)
    if continue_final and request.add_generation_prompt:
        raise invalid(
            "continue_final_message excludes add_generation_prompt; set one of them.",
            param="continue_final_message",
        )
    kwargs = dict(request.chat_template_kwargs or {})
    if request.reasoning_effort is not None:
        kwargs.setdefault("reasoning_effort", request.reasoning_effort)
    thinking = request.thinking if request.enable_thinking is None else request.enable_thinking
    if thinking is not None:
        kwargs.setdefault("enable_thinking", thinking)
    return generator.chat_prompt(
        messages,
        add_generation_prompt=_generation_prompt(request),
        continue_final_message=continue_final,
        chat_template_kwargs=kwargs or None,
        add_special_tokens=bool(request.add_special_tokens),
        documents=request.documents,
    )


def _generation_prompt(request: ChatRequest) -> bool:
    if request.add_generation_prompt is None:
        return not request.continue_final_message
    return request.add_generation_prompt


class _Answer:
    """What all frames, or the one body, of an answer share."""

    def __init__(
        self,
        services: Services,
        generation: Generation,
        *,
        request: ChatRequest,
        messages: list[dict[str, Any]],
        token_ids: list[int],
    ) -> None:
        self.id = f"chatcmpl-{request.request_id or uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = services.generator.model_name
        self._token_bytes = services.generator.tokenizer.token_bytes
        self._fingerprint = services.fingerprint
        self._generation = generation
        self._request = request
        self._prompt_token_ids = token_ids
        last = messages[-1]
        self._role = "assistant" if _generation_prompt(request) else last["role"]
        # vLLM's echo: an answer that continues the last message begins with it.
        content = last.get("content")
        continued = request.echo and last["role"] == self._role and isinstance(content, str)
        self._prefix = str(content) if continued else ""

    def opening(self) -> Iterable[ChatFrame]:
        for index in range(self._request.n or 1):
            usage = self._generation.usage() if self._request.continuous_usage else None
            ids = self._prompt_token_ids if self._request.return_token_ids else UNSET
            delta = Delta(role=self._role, content="")
            yield self._frame([ChatFrameChoice(index=index, delta=delta)], usage, ids)
            if self._prefix:
                delta = Delta(content=self._prefix)
                yield self._frame([ChatFrameChoice(index=index, delta=delta)], usage)

    def add(self, _prompt: int, delta: OutputDelta) -> Iterable[ChatFrame]:
        request = self._request
        usage = self._generation.usage_of(0, delta) if request.continuous_usage else None
        logprobs = self._logprobs(delta.token_ids, delta.logprobs)
        token_ids = delta.token_ids if request.return_token_ids else UNSET
        if delta.text or (delta.token_ids and (logprobs or token_ids is not UNSET)):
            choice = ChatFrameChoice(
                index=delta.index,
                delta=Delta(content=delta.text),
                logprobs=logprobs,
                token_ids=token_ids,
            )
            yield self._frame([choice], usage)
        if delta.finish_reason is not None:
            choice = ChatFrameChoice(
                index=delta.index,
                delta=Delta(),
                finish_reason=delta.finish_reason,
                stop_reason=delta.stop_reason,
            )
            yield self._frame([choice], usage)

    def closing(self) -> Iterable[ChatFrame]:
        if self._request.include_usage:
            yield self._frame([], self._generation.usage())

    def _frame(
        self,
        choices: list[ChatFrameChoice],
        usage: Usage | None,
        prompt_token_ids: list[int] | msgspec.UnsetType = UNSET,
    ) -> ChatFrame:
        return ChatFrame(
            id=self.id,
            created=self._created,
            model=self._model,
            system_fingerprint=self._fingerprint,
            choices=choices,
            usage=usage if self._request.include_usage else UNSET,
            prompt_token_ids=prompt_token_ids,
        )

    def body(self, results: list[RequestOutput]) -> ChatResponse:
        """Return the whole answer."""
        (result,) = results
        request = self._request
        ids = request.return_token_ids
        return ChatResponse(
            id=self.id,
            created=self._created,
            model=self._model,
            system_fingerprint=self._fingerprint,
            choices=[
                ChatChoice(
                    index=output.index,
                    message=ChatMessage(self._role, self._prefix + output.text),
                    logprobs=self._logprobs(output.token_ids, output.logprobs),
                    finish_reason=output.finish_reason,
                    stop_reason=output.stop_reason,
                    token_ids=output.token_ids if ids else UNSET,
                )
                for output in result.outputs
            ],
            usage=self._generation.usage(),
            prompt_logprobs=UNSET
            if result.prompt_logprobs is None
            else prompt_logprobs(result.prompt_logprobs),
            prompt_token_ids=self._prompt_token_ids if ids else UNSET,
        )

    def _logprobs(
        self, token_ids: list[int], positions: list[PositionLogprobs] | None
    ) -> ChatLogprobs | None:
        if not self._request.logprobs:
            return None
        return chat_logprobs(
            token_ids,
            positions or [],
            num_top=self._request.top_logprobs or 0,
            as_token_ids=bool(self._request.return_tokens_as_token_ids),
            token_bytes=self._token_bytes,
        )
