"""vllm.rs' Python names over LLM: Engine, EngineConfig, Message, GenerationOutput.

Where that project's README and its type stub disagree, the README wins: the object returned by
`generate_stream` is iterated for text; `.seq_id`, `.prompt_length`, `.finished`, `.cancelled` and
`.cancel()` are its attributes. `generate_sync` takes one SamplingParams or a list of them.
"""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from lite.errors import ConfigError
from lite.llm import LLM
from lite.outputs import OutputDelta, RequestOutput
from lite.sampling_params import SamplingParams

DTYPES = {
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "f32": "float32",
    "float32": "float32",
    "auto": "auto",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str

    def as_dict(self) -> dict[str, str]:
        """Return the message as chat templates take it."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """vllm.rs' engine settings.

    `tokenizer_config`, `fp8_kvcache`, more than one shard and a device other than the CPU are not
    implemented and refused.
    """

    model_path: str
    tokenizer: str | None = None
    tokenizer_config: str | None = None
    num_blocks: int | None = None
    block_size: int = 16
    max_num_seqs: int = 32
    max_model_len: int | None = None
    max_num_batched_tokens: int = 2048
    quant: str | None = None  # q8_0, q4_0 or q4k: the nearest of int8 and int4
    num_shards: int | None = 1
    device_id: int | None = None
    prefix_cache: bool = True
    fp8_kvcache: bool | None = None
    kv_cache_dtype: str = "auto"  # int8: half the memory
    seed: int = 0

    def __post_init__(self) -> None:
        unsupported = {
            "tokenizer_config": self.tokenizer_config,
            "device_id": self.device_id or None,
            "num_shards": None if self.num_shards in (None, 1) else self.num_shards,
        }
        if self.fp8_kvcache:
            raise ConfigError(
                "fp8_kvcache is not implemented; set kv_cache_dtype='int8' for a KV cache of the "
                "same size."
            )
        for name, value in unsupported.items():
            if value is not None:
                raise ConfigError(f"{name}={value!r} is not implemented; leave it out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOutput:
    """One finished generation; times in seconds since the epoch."""

    seq_id: int
    prompt_length: int
    prompt_start_time: float
    decode_start_time: float
    decode_finish_time: float
    decoded_length: int
    decode_output: str


class GenerationStream:
    """Iterates over the text of one generation as it comes."""

    def __init__(
        self, seq_id: int, prompt_length: int, deltas: Generator[OutputDelta, None, None]
    ) -> None:
        self.seq_id = seq_id
        self.prompt_length = prompt_length
        self.finished = False
        self.cancelled = False
        self._deltas = deltas

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if not self.cancelled:
            for delta in self._deltas:
                self.finished = delta.finish_reason is not None
                if delta.text:
                    return delta.text
        raise StopIteration

    def cancel(self) -> None:
        """Stop the generation."""
        self.cancelled = not self.finished
        self._deltas.close()


class Engine:
    """vllm.rs' `Engine(EngineConfig(...), "bf16")`."""

    def __init__(self, config: EngineConfig, dtype: str = "auto") -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"dtype {dtype!r} is not supported; use one of {', '.join(DTYPES)}.")
        settings: dict[str, Any] = {
            "dtype": DTYPES[dtype],
            "quantization": config.quant,
            "tokenizer": config.tokenizer,
            "num_kv_blocks": config.num_blocks,
            "block_size": config.block_size,
            "kv_cache_dtype": config.kv_cache_dtype,
            "max_num_seqs": config.max_num_seqs,
            "max_model_len": config.max_model_len,
            "max_num_batched_tokens": config.max_num_batched_tokens,
            "enable_prefix_caching": config.prefix_cache,
            "seed": config.seed,
        }
        self._llm = LLM(config.model_path, **settings)
        self._num_sequences = 0

    def apply_chat_template(self, messages: Sequence[Message], log: bool = False) -> str:
        """Return the prompt of a conversation; `log` prints it."""
        prompt = self._llm.apply_chat_template([message.as_dict() for message in messages])
        if log:
            print(prompt)
        return prompt

    def generate_sync(
        self, params: SamplingParams | Sequence[SamplingParams], prompts: Sequence[str]
    ) -> list[GenerationOutput]:
        """Complete the prompts together and wait for all."""
        start_s = time.time()
        given = [self._prompt(prompt) for prompt in prompts]
        if not isinstance(params, SamplingParams) and len(params) == 1:
            params = params[0]
        outputs = self._llm.generate(given, params, use_tqdm=False)
        return [self._output(start_s, output) for output in outputs]

    def generate_stream(self, params: SamplingParams, prompt: str) -> GenerationStream:
        """Start one generation and return its stream of text."""
        given = self._prompt(prompt)
        deltas = self._llm.stream(given, params)
        return GenerationStream(self._next_id(), len(given["prompt_token_ids"]), deltas)

    def _prompt(self, prompt: str) -> dict[str, Any]:
        # A rendered chat prompt brings its own special tokens; a second BOS would spoil it.
        return {"prompt": prompt, "prompt_token_ids": self._llm.encode_once(prompt)}

    def _output(self, start_s: float, output: RequestOutput) -> GenerationOutput:
        timings = output.timings
        decode_start_s = start_s + (timings.queue_s + timings.prefill_s if timings else 0.0)
        return GenerationOutput(
            seq_id=self._next_id(),
            prompt_length=len(output.prompt_token_ids),
            prompt_start_time=start_s,
            decode_start_time=decode_start_s,
            decode_finish_time=decode_start_s + (timings.decode_s if timings else 0.0),
            decoded_length=len(output.outputs[0].token_ids),
            decode_output=output.outputs[0].text,
        )

    def _next_id(self) -> int:
        self._num_sequences += 1
        return self._num_sequences - 1

    def close(self) -> None:
        """Stop the engine and release its memory; idempotent."""
        self._llm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
