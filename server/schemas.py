"""Request bodies: which fields are known, what they may hold, and what they mean for sampling."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from lite.errors import InvalidRequestError, UnsupportedParameterError
from lite.sampling_params import MAX_LOGPROBS, MAX_N, SamplingParams
from server.errors import ApiError, invalid

T = TypeVar("T", bound="Struct")

TokenId = Annotated[int, Meta(ge=0, lt=2**31)]
Logprobs = Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)]
_Choices = Annotated[int, Meta(ge=1, le=MAX_N)]
_Salt = Annotated[str, Meta(min_length=1, max_length=1024)]
_RequestId = Annotated[str, Meta(pattern=r"^[!-~]{1,128}\Z")]

# The sampling defaults a checkpoint's generation_config may set.
_SERVER_DEFAULTS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
)

_NOTHING: tuple[object, ...] = (None, [], {}, "", False)

# Known fields that are not implemented, with the values that ask for nothing. Fields that cannot
# change the output (user, metadata, store, service_tier, session_id, ...) are simply not listed.
_UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "use_beam_search": _NOTHING,
    "length_penalty": (None, 1, 1.0),
    "priority": (None, 0),
    "logprob_token_ids": _NOTHING,
    "structured_outputs": _NOTHING,
    "guided_json": _NOTHING,
    "guided_regex": _NOTHING,
    "guided_choice": _NOTHING,
    "guided_grammar": _NOTHING,
    "grammar": _NOTHING,
    "json_schema": _NOTHING,
    "constraint": _NOTHING,
    "constraint_type": _NOTHING,
    "repetition_detection": _NOTHING,
    "thinking_token_budget": (None, -1),
    "kv_transfer_params": _NOTHING,
    "ec_transfer_params": _NOTHING,
    "logits_processors": _NOTHING,
    "vllm_xargs": _NOTHING,
    "watermarking": _NOTHING,
    "extra_body": _NOTHING,
    "cache_prompt": (None, True),
    "n_predict": (None,),
    "n_probs": (None, 0),
    "timings_per_token": _NOTHING,
    "return_progress": _NOTHING,
}
_UNSUPPORTED_CHAT: dict[str, tuple[object, ...]] = {
    **_UNSUPPORTED,
    "tools": _NOTHING,
    "tool_choice": (None, "none", "auto"),
    "functions": _NOTHING,
    "function_call": (None, "none", "auto"),
    "include_reasoning": (None, True),
    "chat_template": _NOTHING,  # a template is code; only the server's own is run
    "modalities": (None, [], ["text"]),
    "audio": _NOTHING,
    "web_search_options": (None,),
    "verbosity": (None, "medium"),
    "mm_processor_kwargs": _NOTHING,
    "media_io_kwargs": _NOTHING,
}
_UNSUPPORTED_COMPLETION: dict[str, tuple[object, ...]] = {
    **_UNSUPPORTED,
    "suffix": _NOTHING,
    "prompt_embeds": _NOTHING,
}


class StreamOptions(Struct, frozen=True):
    """Whether a stream reports its usage."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None  # padding against traffic analysis; never sent


class Sampling(Struct, kw_only=True):
    """The fields that chat and completion requests share."""

    model: str | None = None
    n: _Choices | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_sequences: list[str] | None = None
    stop_token_ids: list[TokenId] | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    prompt_logprobs: Logprobs | None = None
    bad_words: list[str] | None = None
    allowed_token_ids: list[TokenId] | None = None
    skip_special_tokens: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    truncate_prompt_tokens: int | None = None
    truncation_side: Literal["left", "right"] | None = None
    add_special_tokens: bool | None = None
    request_id: _RequestId | None = None
    cache_salt: _Salt | None = None
    return_tokens_as_token_ids: bool | None = None
    return_token_ids: bool | None = None
    response_format: dict[str, Any] | None = None

    def sampling(
        self,
        defaults: Mapping[str, Any],
        *,
        max_tokens: int | None,
        logprobs: int | None,
        prompt_logprobs: int | None,
    ) -> SamplingParams:
        """Return the sampling parameters: the request's, then the model's, then vLLM's.

        Raises:
            InvalidRequestError: a value is out of range.
        """
        given: dict[str, Any] = {
            name: getattr(self, name) for name in SamplingParams.__slots__ if hasattr(self, name)
        }
        for name in _SERVER_DEFAULTS:
            if given[name] is None:
                given[name] = defaults.get(name)
        given["stop"] = self.stop_sequences if self.stop is None else self.stop
        given.update(max_tokens=max_tokens, logprobs=logprobs, prompt_logprobs=prompt_logprobs)
        return SamplingParams.from_optional(**given)

    def truncate(self, token_ids: list[int], max_prompt_tokens: int) -> list[int]:
        """Apply `truncate_prompt_tokens`; -1 is as much as fits beside the output."""
        limit = self.truncate_prompt_tokens
        if limit is None:
            return token_ids
        limit = max_prompt_tokens if limit == -1 else limit
        return token_ids[:limit] if self.truncation_side == "right" else token_ids[-limit:]

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def continuous_usage(self) -> bool:
        return self.include_usage and bool(
            self.stream_options and self.stream_options.continuous_usage_stats
        )


class Message(Struct, frozen=True):
    """A message of a chat; the chat template checks its content and takes further fields."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Any] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatRequest(Sampling, kw_only=True):
    """Body of POST /v1/chat/completions."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: Logprobs | None = None
    echo: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    documents: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    enable_thinking: bool | None = None
    thinking: bool | None = None


class CompletionRequest(Sampling, kw_only=True):
    """Body of POST /v1/completions."""

    prompt: str | list[Any]
    logprobs: Logprobs | None = None
    echo: bool | None = None


class TokenizeRequest(Struct, kw_only=True):
    """Body of POST /tokenize: a prompt, or messages."""

    model: str | None = None
    prompt: str | UnsetType = UNSET
    messages: list[Message] | UnsetType = UNSET
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    return_token_strs: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class DetokenizeRequest(Struct, kw_only=True):
    """Body of POST /detokenize."""

    tokens: list[TokenId]
    model: str | None = None


def parse_chat(document: dict[str, Any]) -> tuple[ChatRequest, list[dict[str, Any]]]:
    """Return a checked chat request, and its messages as the chat template takes them.

    Raises:
        ApiError: 400 naming the field.
        InvalidRequestError: the same, for what the engine does not support.
    """
    _refuse_unsupported(document, _UNSUPPORTED_CHAT)
    request = _convert(document, ChatRequest)
    _check_common(request)
    if request.top_logprobs is not None and request.top_logprobs > 0 and not request.logprobs:
        raise invalid("top_logprobs needs logprobs: true.", param="top_logprobs")
    return request, _template_messages(document, request.messages)


def parse_completion(document: dict[str, Any]) -> CompletionRequest:
    """Return a checked completion request; raises as `parse_chat`."""
    _refuse_unsupported(document, _UNSUPPORTED_COMPLETION)
    request = _convert(document, CompletionRequest)
    _check_common(request)
    return request


def parse_tokenize(
    document: dict[str, Any],
) -> tuple[TokenizeRequest, list[dict[str, Any]] | None]:
    """Return a checked tokenize request, and its messages if it has any."""
    _refuse_unsupported(document, {"tools": _NOTHING, "chat_template": _NOTHING})
    request = _convert(document, TokenizeRequest)
    if request.messages is UNSET and request.prompt is UNSET:
        raise invalid(
            "prompt or messages is missing.", param="prompt", code="missing_required_parameter"
        )
    if request.messages is UNSET:
        return request, None
    if request.prompt is not UNSET:
        raise invalid("Give prompt or messages, not both.", param="messages")
    return request, _template_messages(document, request.messages)


def parse_detokenize(document: dict[str, Any]) -> DetokenizeRequest:
    """Return a checked detokenize request."""
    return _convert(document, DetokenizeRequest)


def _template_messages(document: dict[str, Any], messages: list[Message]) -> list[dict[str, Any]]:
    """Return the messages as they came, which is what the chat template takes."""
    for i, message in enumerate(messages):
        if message.content is None and message.role != "assistant":
            raise invalid(
                f"messages[{i}].content is missing; only an assistant's message may do without.",
                param=f"messages[{i}].content",
                code="missing_required_parameter",
            )
    raw: list[dict[str, Any]] = document["messages"]
    return raw


def _check_common(request: Sampling) -> None:
    if request.stream_options is not None and not request.stream:
        raise invalid("stream_options is only allowed with stream: true.", param="stream_options")
    if request.prompt_logprobs is not None and request.stream:
        raise invalid(
            "prompt_logprobs is not available on a stream; leave out stream.",
            param="prompt_logprobs",
        )
    limit = request.truncate_prompt_tokens
    if limit is not None and limit != -1 and limit < 1:
        raise invalid(
            f"truncate_prompt_tokens must be >= 1, or -1 for all that fits, got {limit}.",
            param="truncate_prompt_tokens",
        )
    response_format = request.response_format
    if response_format is not None and response_format.get("type") != "text":
        raise UnsupportedParameterError(
            f"response_format of type {response_format.get('type')!r} is not supported; "
            "only 'text' is.",
            param="response_format",
        )


def _refuse_unsupported(
    document: Mapping[str, Any], unsupported: Mapping[str, tuple[object, ...]]
) -> None:
    for name in document.keys() & unsupported.keys():
        value = document[name]
        if not any(type(value) is type(noop) and value == noop for noop in unsupported[name]):
            raise UnsupportedParameterError(
                f"{name} is not supported by this server; leave it out.", param=name
            )
    n, best_of = document.get("n"), document.get("best_of")
    if best_of is not None and best_of != (1 if n is None else n):
        raise UnsupportedParameterError(
            f"best_of ({best_of}) other than n is not supported; leave it out.", param="best_of"
        )


_LOCATION = re.compile(r" - at (?:`key` in )?`\$\.?(.*?)`$")
_MISSING = re.compile(r"^Object missing required field `(\w+)`")


def _convert(document: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(document, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise explain(error) from None


def explain(error: msgspec.ValidationError) -> ApiError:
    """Turn msgspec's message into a 400 with the field's path and the rule."""
    text = str(error)
    location = _LOCATION.search(text)
    path = location[1] if location else ""
    rule = _LOCATION.sub("", text).replace("`", "")
    missing = _MISSING.match(text)
    if missing is not None:
        path = f"{path}.{missing[1]}".lstrip(".")
        return invalid(f"{path} is missing.", param=path, code="missing_required_parameter")
    if not path:
        return invalid(f"The request body is malformed: {rule}.", param=None)
    return invalid(f"{path}: {rule[:1].lower()}{rule[1:]}.", param=path)


def renamed(error: InvalidRequestError, names: Mapping[str, str]) -> InvalidRequestError:
    """Return `error` about the field the client knows: an alias it used instead."""
    param = error.param or ""
    if param in names:
        known = names[param]
        error = type(error)(str(error).replace(param, known, 1), param=known)
    return error
