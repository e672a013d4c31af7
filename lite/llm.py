"""LLM: the engine inside a program."""

import itertools
import operator
import weakref
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from lite.config import Config, EngineConfig, ModelConfig
from lite.errors import ConfigError, InvalidRequestError
from lite.outputs import OutputDelta, RequestOutput
from lite.sampling_params import SamplingParams

if TYPE_CHECKING:
    from lite.generator import PreparedRequest
    from lite.text.tokenizer import Tokenizer

Message = Mapping[str, Any]
Prompt = str | Mapping[str, Any] | Sequence[int]

# Names of vLLM and nano-vllm for settings that exist here under another name.
ALIASES = {
    "gpu_memory_utilization": "memory_fraction",
    "kvcache_block_size": "block_size",
    "num_kvcache_blocks": "num_kv_blocks",
    "num_gpu_blocks_override": "num_kv_blocks",
}


class LLM:
    """A model loaded into this process, with its engine on a thread of its own.

    `close()`, or leaving the `with` block, stops the thread and releases the memory.

    Args:
        model: a checkpoint directory, or the name of a bundled model.
        device: "auto" or "cpu".
        dtype: "auto" (the checkpoint's), "bfloat16" or "float32".
        quantization: "int8" or "int4" quantizes the weights while loading; None leaves them as
            the checkpoint has them.
        max_model_len: longest sequence, prompt and output; None for what the model and the
            memory allow.
        max_num_seqs: sequences computed together.
        max_num_batched_tokens: tokens computed in one step.
        block_size: tokens per KV block, a multiple of 16.
        kv_cache_dtype: "auto" (the dtype), or "int8" for half the memory.
        num_kv_blocks: None sizes the KV cache from the free memory.
        enable_prefix_caching: reuse the KV blocks of shared prompt beginnings.
        seed: of requests that bring none, and of dummy weights.
        settings: any other field of `ModelConfig` or `EngineConfig`.

    Raises:
        ConfigError: an unknown or malformed setting.
        ModelError: the checkpoint cannot be used.
        CapacityError: it does not fit into memory.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        quantization: str | None = None,
        max_model_len: int | None = None,
        max_num_seqs: int = 256,
        max_num_batched_tokens: int = 2048,
        block_size: int = 16,
        kv_cache_dtype: str = "auto",
        num_kv_blocks: int | None = None,
        enable_prefix_caching: bool = True,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        named = {
            "device": device,
            "dtype": dtype,
            "quantization": quantization,
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            "max_num_batched_tokens": max_num_batched_tokens,
            "block_size": block_size,
            "kv_cache_dtype": kv_cache_dtype,
            "num_kv_blocks": num_kv_blocks,
            "enable_prefix_caching": enable_prefix_caching,
            "seed": seed,
        }
        self._open(config_from_settings(model, named | settings))

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build from a configuration tree, e.g. that of config.yaml."""
        llm = cls.__new__(cls)
        llm._open(config)
        return llm

    def _open(self, config: Config) -> None:
        from lite.client.in_process import InProcessClient
        from lite.engine.core import EngineCore
        from lite.generator import Generator
        from lite.text_model import load_text_model

        text_model = load_text_model(config.model)
        core = EngineCore.from_config(config)
        client = InProcessClient(core)
        # Also runs when the object is dropped, and before the interpreter ends.
        self._stop = weakref.finalize(self, client.close)
        self._client = client
        self._generator = Generator(
            self._client, text_model, max_model_len=core.model.plan.max_model_len
        )
        self._request_ids = itertools.count()

    # --- generation ------------------------------------------------------------------------

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        """Complete every prompt; they share the engine's batches.

        Args:
            prompts: a string, a list of token ids, ``{"prompt_token_ids": [...]}``,
                ``{"prompt": "..."}``, or a list of these.
            sampling_params: for all prompts, or one per prompt; None for the model's defaults.
            use_tqdm: show a progress bar.

        Returns:
            One RequestOutput per prompt, in order.

        Raises:
            InvalidRequestError: a prompt or a parameter is wrong; nothing has been started.
        """
        prompt_list = _as_list(prompts)
        encoded = [self._encode(prompt) for prompt in prompt_list]
        return self._run(encoded, self._params_list(sampling_params, len(encoded)), use_tqdm)

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: bool = True,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """Answer one conversation, or each of a list of them, through the chat template.

        Args:
            messages: of one conversation, or a list of conversations.
            sampling_params: for all conversations, or one each; None for the model's defaults.
            use_tqdm: show a progress bar.
            tools: descriptions in OpenAI's shape, offered to every conversation; a call stands
                in the answer's text as the model wrote it.
            add_generation_prompt: open the assistant's turn.
            continue_final_message: go on with the last message instead.
            chat_template_kwargs: further variables of the template, such as ``enable_thinking``.
        """
        conversations: list[Any] = list(messages)
        if conversations and isinstance(conversations[0], Mapping):
            conversations = [conversations]
        encoded: list[tuple[str | None, list[int]]] = [
            (
                None,
                self._generator.chat_prompt(
                    conversation,
                    tools=tools,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=continue_final_message,
                    chat_template_kwargs=chat_template_kwargs,
                ),
            )
            for conversation in conversations
        ]
        return self._run(encoded, self._params_list(sampling_params, len(encoded)), use_tqdm)

    def stream(
        self,
        prompt: Prompt | Sequence[Message],
        sampling_params: SamplingParams | None = None,
        **chat_options: Any,
    ) -> Generator[OutputDelta, None, None]:
        """Yield the deltas of one prompt, or of one conversation (a list of messages).

        Closing the iterator stops the generation.
        """
        if isinstance(prompt, list | tuple) and prompt and isinstance(prompt[0], Mapping):
            token_ids = self._generator.chat_prompt(prompt, **chat_options)
        else:
            token_ids = self._encode(prompt)[1]  # type: ignore[arg-type]
        (params,) = self._params_list(sampling_params, 1)
        prepared = self._generator.prepare(token_ids, params, request_id=self._next_id())
        return self._deltas(prepared)

    def _deltas(self, prepared: "PreparedRequest") -> Generator[OutputDelta]:
        # A method, so that the stream keeps this object, and with it the engine, alive.
        for delta in self._generator.stream(prepared):
            if delta is not None:
                yield delta

    def _run(
        self,
        encoded: list[tuple[str | None, list[int]]],
        params_list: list[SamplingParams],
        use_tqdm: bool,
    ) -> list[RequestOutput]:
        prepared = [
            self._generator.prepare(token_ids, params, request_id=self._next_id(), prompt=text)
            for (text, token_ids), params in zip(encoded, params_list, strict=True)
        ]
        by_index: dict[int, RequestOutput] = {}
        # Closed at once, or a traceback that is kept would keep the requests running.
        running = self._generator.generate_all(prepared)
        with closing(cast("Generator[tuple[int, RequestOutput]]", running)) as outputs:
            shown: Iterable[tuple[int, RequestOutput]] = outputs
            if use_tqdm and prepared:
                from tqdm import tqdm

                shown = tqdm(outputs, total=len(prepared), desc="Processed prompts", unit="prompt")
            by_index.update(shown)
        return [by_index[i] for i in range(len(prepared))]

    def _next_id(self) -> str:
        return str(next(self._request_ids))

    def _encode(self, prompt: Prompt) -> tuple[str | None, list[int]]:
        if isinstance(prompt, str):
            return prompt, self._generator.encode(prompt)
        if not isinstance(prompt, Mapping):
            return None, _token_ids(prompt)
        if "prompt_token_ids" in prompt:
            return prompt.get("prompt"), _token_ids(prompt["prompt_token_ids"])
        if isinstance(prompt.get("prompt"), str):
            return self._encode(prompt["prompt"])
        raise _no_prompt(f"the keys {sorted(prompt)}")

    def _params_list(
        self, given: SamplingParams | Sequence[SamplingParams] | None, num_prompts: int
    ) -> list[SamplingParams]:
        if given is None:
            given = self.get_default_sampling_params()
        if isinstance(given, SamplingParams):
            return [given] * num_prompts
        if isinstance(given, Mapping) or not all(isinstance(p, SamplingParams) for p in given):
            raise InvalidRequestError(
                f"sampling_params must be a SamplingParams or a list of them, got {given!r}.",
                param="sampling_params",
            )
        if len(given) != num_prompts:
            raise InvalidRequestError(
                f"There are {num_prompts} prompts but {len(given)} sampling_params; give one for "
                "all, or one each.",
                param="sampling_params",
            )
        return list(given)

    # --- everything else -------------------------------------------------------------------

    def get_default_sampling_params(self) -> SamplingParams:
        """Return the model's own defaults, from generation_config.json."""
        return SamplingParams(**self._generator.default_sampling)

    def get_tokenizer(self) -> "Tokenizer":
        """Return the tokenizer."""
        return self._generator.tokenizer

    def apply_chat_template(self, messages: Sequence[Message], **options: Any) -> str:
        """Render a conversation to the text that is tokenized."""
        return self._generator.render_chat(list(messages), **options)

    def encode_once(self, rendered: str) -> list[int]:
        """Tokenize a rendered chat prompt: special tokens as written, exactly one BOS."""
        return self._generator.encode_rendered(rendered)

    @property
    def max_model_len(self) -> int:
        """The longest sequence, in tokens."""
        return self._generator.max_model_len

    def stats(self) -> Any:
        """Return an `EngineStats` snapshot."""
        return self._client.stats()

    def close(self) -> None:
        """Stop the engine and release its memory; running requests fail. Idempotent."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def config_from_settings(model: str, settings: Mapping[str, Any]) -> Config:
    """Sort keyword settings into a configuration tree, checked like config.yaml.

    Raises:
        ConfigError: unknown or malformed; names the setting.
    """
    import msgspec

    from lite.settings import check_together, nearest_name, read_setting

    model_settings: dict[str, Any] = {"model": str(model)}
    # Nothing is refused for lack of room: the caller waits for its own requests.
    engine_settings: dict[str, Any] = {"max_waiting_requests": 2**31, "queue_timeout_s": None}
    for given, value in settings.items():
        name = ALIASES.get(given, given)
        if name == "tensor_parallel_size":
            if value != 1:
                raise ConfigError(f"tensor_parallel_size must be 1 (one device), got {value!r}.")
        elif name in ModelConfig.__struct_fields__:
            model_settings[name] = read_setting(f"model.{name}", value, f"LLM({given}=...)")
        elif name in EngineConfig.__struct_fields__:
            wanted = None if name == "num_kv_blocks" and value == -1 else value
            engine_settings[name] = read_setting(f"engine.{name}", wanted, f"LLM({given}=...)")
        else:
            known = sorted({*ModelConfig.__struct_fields__, *EngineConfig.__struct_fields__})
            hint = nearest_name(given, [*known, *ALIASES])
            raise ConfigError(f"Unknown setting {given!r}{hint} They are {', '.join(known)}.")
    config = msgspec.convert({"model": model_settings, "engine": engine_settings}, Config)
    check_together(config)
    return config


def _token_ids(values: Sequence[Any]) -> list[int]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise _no_prompt(f"a {type(values).__name__}")
    try:
        return [operator.index(value) for value in values]
    except TypeError as error:
        raise InvalidRequestError(
            f"Token ids must be integers: {error}.", param="prompt_token_ids"
        ) from error


def _no_prompt(what: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"A prompt is a string, a list of token ids, or a dict with 'prompt' or "
        f"'prompt_token_ids'; got {what}.",
        param="prompts",
    )


def _as_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str | Mapping):
        return [prompts]
    if isinstance(prompts, bytes) or not isinstance(prompts, Iterable):
        raise _no_prompt(f"a {type(prompts).__name__}")
    items: list[Any] = list(prompts)
    # Integers of NumPy's count too.
    if items and all(hasattr(item, "__index__") for item in items):
        return [items]
    return items
