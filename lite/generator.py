"""Generator: text in, text deltas out, over any EngineClient."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from lite.client import EngineClient
from lite.client.stream import RequestStream
from lite.errors import ContextLengthError, InvalidRequestError
from lite.messages import GenerateRequest, SamplingSpec, TokenLogprobs, TokenOutput
from lite.outputs import CompletionOutput, Logprob, OutputDelta, PositionLogprobs, RequestOutput
from lite.sampling_params import SamplingParams
from lite.text.bad_words import bad_words_token_ids
from lite.text.chat_template import encode_prompt
from lite.text.output_text import OutputText
from lite.text.stop_strings import StopStrings
from lite.text.tokenizer import Tokenizer, token_text
from lite.text_model import TextModel

# How long `generate_all` waits on its oldest request before it looks at the others.
_POLL_S = 0.02
# Sets of stop strings and of bad words kept ready, some megabytes each at most.
_NUM_CACHED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRequest:
    """A checked request, ready to be sent; the prompt's text is kept for the output."""

    request: GenerateRequest
    params: SamplingParams
    prompt: str | None
    prompt_token_ids: list[int]
    stop_strings: StopStrings | None
    is_chat: bool


class Generator:
    """Turns prompts into requests and token outputs into text; safe to use from several threads.

    Args:
        client: the engine.
        text_model: its model's text side.
        max_model_len: the longest sequence; None asks the engine when it is first needed.
    """

    def __init__(
        self, client: EngineClient, text_model: TextModel, *, max_model_len: int | None = None
    ) -> None:
        self._client = client
        self._text_model = text_model
        self._max_model_len = max_model_len
        # PERF: many prompts of one request share their parameters.
        self._stop_strings = lru_cache(_NUM_CACHED)(StopStrings)
        self._bad_words = lru_cache(_NUM_CACHED)(partial(bad_words_token_ids, self.tokenizer))

    @property
    def client(self) -> EngineClient:
        """The engine."""
        return self._client

    @property
    def model_name(self) -> str:
        """The name the model is served under."""
        return self._text_model.name

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._text_model.tokenizer

    @property
    def default_sampling(self) -> dict[str, Any]:
        """Sampling parameters of generation_config.json."""
        return dict(self._text_model.default_sampling)

    @property
    def max_model_len(self) -> int:
        """The longest sequence, prompt and output, in tokens."""
        if self._max_model_len is None:
            # Zero while the engine still loads.
            self._max_model_len = self._client.stats().max_model_len or None
        return self._max_model_len or self._text_model.model_max_len

    # --- prompts ---------------------------------------------------------------------------

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Tokenize a plain prompt; with special tokens it begins with one BOS if one is wanted."""
        return self.tokenizer.encode(text, add_special_tokens)

    def encode_rendered(self, rendered: str) -> list[int]:
        """Tokenize a rendered conversation: special tokens as written, exactly one BOS."""
        return encode_prompt(self.tokenizer, rendered)

    def render_chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """Return a conversation as text; `options` are those of `ChatTemplate.render`."""
        return self._text_model.chat_template.render(messages, **options)

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
        """Return the prompt of a conversation; `options` are those of `ChatTemplate.render`."""
        add_special_tokens = options.pop("add_special_tokens", False)
        rendered = self.render_chat(messages, **options)
        if add_special_tokens:
            return self.tokenizer.encode(rendered, True)
        return self.encode_rendered(rendered)

    # --- requests --------------------------------------------------------------------------

    def prepare(
        self,
        prompt_token_ids: Sequence[int],
        params: SamplingParams,
        *,
        request_id: str,
        prompt: str | None = None,
        salt: bytes = b"",
        queue_timeout_s: float | None = None,
        param: str = "prompt",
        is_chat: bool = False,
    ) -> PreparedRequest:
        """Check a request and resolve what depends on the model.

        `param` names the field the prompt came from, for error messages. `is_chat` says that
        the output begins a turn rather than continuing a text.

        Raises:
            InvalidRequestError: token ids outside the vocabulary, or parameters that contradict
                each other.
            ContextLengthError: prompt and output do not fit; tells all three numbers.
        """
        token_ids = list(prompt_token_ids)
        self._check_token_ids(token_ids, param)
        max_tokens = self._resolve_max_tokens(len(token_ids), params.max_tokens, param)
        if params.min_tokens > max_tokens:
            raise InvalidRequestError(
                f"min_tokens must be <= the {max_tokens} tokens that fit after the prompt, got "
                f"{params.min_tokens}.",
                param="min_tokens",
            )
        stop_strings = self._stop_strings(params.stop) if params.stop else None
        if stop_strings and not params.detokenize:
            raise InvalidRequestError(
                "stop needs the text of the output; leave detokenize on.", param="stop"
            )
        request = GenerateRequest(
            request_id=request_id,
            prompt_token_ids=np.array(token_ids, "<i4").tobytes(),
            sampling=self._sampling_spec(params, max_tokens),
            n=params.n,
            salt=salt,
            queue_timeout_s=queue_timeout_s,
        )
        return PreparedRequest(
            request=request,
            params=params,
            prompt=prompt,
            prompt_token_ids=token_ids,
            stop_strings=stop_strings,
            is_chat=is_chat,
        )

    def _check_token_ids(self, token_ids: list[int], param: str) -> None:
        if not token_ids:
            raise InvalidRequestError("The prompt is empty; give at least one token.", param=param)
        vocab_size = self._text_model.vocab_size
        for token_id in (min(token_ids), max(token_ids)):
            if not 0 <= token_id < vocab_size:
                raise InvalidRequestError(
                    f"Token id {token_id} is outside the vocabulary of {vocab_size} tokens.",
                    param=param,
                )

    def _resolve_max_tokens(self, num_prompt: int, max_tokens: int | None, param: str) -> int:
        limit = self.max_model_len
        if num_prompt + (max_tokens or 1) <= limit:
            return max_tokens or limit - num_prompt
        wanted = "at least 1 output token" if max_tokens is None else f"max_tokens {max_tokens}"
        raise ContextLengthError(
            f"The prompt has {num_prompt} tokens and with {wanted} exceeds the context of "
            f"{limit} tokens. Shorten the prompt or lower max_tokens.",
            param=param,
        )

    def _sampling_spec(self, params: SamplingParams, max_tokens: int) -> SamplingSpec:
        vocab_size = self._text_model.vocab_size
        named = {
            "logit_bias": params.logit_bias or (),
            "allowed_token_ids": params.allowed_token_ids or (),
            "stop_token_ids": params.stop_token_ids,
        }
        for name, token_ids in named.items():
            for token_id in token_ids:
                if token_id >= vocab_size:
                    raise InvalidRequestError(
                        f"{name}: token id {token_id} is outside the vocabulary of {vocab_size} "
                        "tokens.",
                        param=name,
                    )
        eos_token_ids = () if params.ignore_eos else self._text_model.eos_token_ids
        return SamplingSpec(
            temperature=params.temperature,
            top_p=params.top_p,
            top_k=min(params.top_k, vocab_size),
            min_p=params.min_p,
            repetition_penalty=params.repetition_penalty,
            presence_penalty=params.presence_penalty,
            frequency_penalty=params.frequency_penalty,
            logit_bias=dict(params.logit_bias) if params.logit_bias else None,
            seed=params.seed,
            stop_token_ids=sorted({*params.stop_token_ids, *eos_token_ids}),
            max_tokens=max_tokens,
            min_tokens=params.min_tokens,
            logprobs=params.logprobs,
            prompt_logprobs=params.prompt_logprobs,
            bad_words_token_ids=self._bad_words(params.bad_words),
            allowed_token_ids=list(params.allowed_token_ids) if params.allowed_token_ids else None,
        )

    # --- outputs ---------------------------------------------------------------------------

    def stream(
        self, prepared: PreparedRequest, *, heartbeat_s: float | None = None
    ) -> Iterator[OutputDelta | None]:
        """Start the request and yield a delta per engine message; closing aborts it.

        Deltas may be empty while text is held back. None comes whenever `heartbeat_s` seconds
        pass without a message.
        """
        for deltas in self.stream_batches(prepared, heartbeat_s=heartbeat_s):
            if not deltas:
                yield None
            yield from deltas

    def stream_batches(
        self, prepared: PreparedRequest, *, heartbeat_s: float | None = None
    ) -> Iterator[list[OutputDelta]]:
        """As `stream`, but yield all deltas that are ready at once; [] as the heartbeat."""
        assembly = _Assembly(self, prepared)
        with self._client.submit(prepared.request) as stream:
            while assembly.unfinished:
                added = (assembly.add(one) for one in stream.poll(heartbeat_s))
                yield [delta for delta in added if delta is not None]

    def generate_all(
        self, prepared: Sequence[PreparedRequest]
    ) -> Iterator[tuple[int, RequestOutput]]:
        """Start all requests, yield (index, output) of each as it finishes; closing aborts all."""
        active: dict[int, tuple[RequestStream, _Assembly, RequestOutput]] = {}
        try:
            for i, item in enumerate(prepared):
                stream = self._client.submit(item.request)
                active[i] = stream, _Assembly(self, item), new_output(item)
            while active:
                # The oldest is waited for, the others are only looked at: each step wakes it.
                timeout_s = _POLL_S
                for i, (stream, assembly, output) in list(active.items()):
                    for message in stream.poll(timeout_s):
                        delta = assembly.add(message)
                        if delta is not None:
                            output.extend(delta)
                    timeout_s = 0.0
                    if not assembly.unfinished:
                        stream.close()
                        del active[i]
                        yield i, output
        finally:
            for stream, _, _ in active.values():
                stream.close()

    def generate(self, prepared: PreparedRequest) -> RequestOutput:
        """Run one request to its end."""
        return next(output for _, output in self.generate_all([prepared]))

    def named_logprobs(self, entries: TokenLogprobs) -> PositionLogprobs:
        """Give a position's logprobs their tokens' text, the chosen token first."""
        named: PositionLogprobs = {}
        for token_id, logprob, rank in entries:
            if token_id not in named:
                named[token_id] = Logprob(logprob, rank, token_text(self.tokenizer, token_id))
        return named

    def stop_reason(self, params: SamplingParams, token_id: int | None) -> int | None:
        """Return a stop token as reported: None for the model's own EOS, as in vLLM."""
        is_eos = token_id in self._text_model.eos_token_ids and not params.ignore_eos
        return None if is_eos and token_id not in params.stop_token_ids else token_id


def new_output(prepared: PreparedRequest) -> RequestOutput:
    """Return the empty output of a request."""
    return RequestOutput(
        request_id=prepared.request.request_id,
        prompt=prepared.prompt,
        prompt_token_ids=prepared.prompt_token_ids,
        outputs=[CompletionOutput(index=i) for i in range(prepared.params.n)],
    )


class _Assembly:
    """Makes deltas of one request's engine messages."""

    def __init__(self, generator: Generator, prepared: PreparedRequest) -> None:
        self._generator = generator
        self._params = prepared.params
        self._texts = {
            index: OutputText(
                generator.tokenizer,
                prepared.params,
                stop_strings=prepared.stop_strings,
                continues_text=not prepared.is_chat,
            )
            for index in range(prepared.params.n)
        }
        self.unfinished = set(self._texts)

    def add(self, message: TokenOutput) -> OutputDelta | None:
        """Return the delta of a message; None for one that came after its output's end."""
        index, reason = message.index, message.finish_reason
        if index not in self.unfinished:
            return None
        text = self._texts[index]
        num_before = text.num_tokens
        visible, stop_string = text.push(message.token_ids, ends_with_stop_token=reason == "stop")
        ended_by_engine = reason is not None
        if reason is not None and stop_string is None:
            visible += text.finish()
            stop_string = text.stop_string
        stop_reason: int | str | None = self._generator.stop_reason(
            self._params, message.stop_reason
        )
        if stop_string is not None:
            reason, stop_reason = "stop", stop_string
            if not ended_by_engine:
                self._generator.client.abort(message.request_id, index)
        if reason is not None:
            self.unfinished.discard(index)
        num_new = text.num_tokens - num_before
        named = self._generator.named_logprobs
        return OutputDelta(
            index=index,
            text=visible,
            token_ids=message.token_ids[:num_new],
            logprobs=[named(entry) for entry in message.logprobs[:num_new]]
            if message.logprobs is not None
            else None,
            prompt_logprobs=[None if e is None else named(e) for e in message.prompt_logprobs]
            if message.prompt_logprobs is not None
            else None,
            finish_reason=reason,
            stop_reason=stop_reason if reason == "stop" else None,
            num_cached_tokens=message.num_cached_tokens,
            num_output_tokens=text.num_tokens,
            timings=message.timings,
        )
