"""Runs this project's engine; needs the project's own environment."""

import gc
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from runner_protocol import Clock, serve

from lite.engine.core import EngineCore
from lite.engine.loading import load_model
from lite.llm import config_from_settings
from lite.messages import GenerateRequest, SamplingSpec
from lite.models.weights import Weights
from lite.version import __version__
from lite_kernels.cpu.isa import host_isa
from lite_kernels.cpu.probe import read_bandwidth

# What a step may compute, and what the KV cache holds, unless a case needs more.
_NUM_BATCHED_TOKENS = 2048
_NUM_KV_BLOCKS = 512
_NUM_LOGPROBS = 20


class Lite:
    """The engine in this process, without server and tokenizer."""

    def __init__(
        self,
        checkpoint: str,
        num_threads: int,
        quantization: str | None,
        kv_cache_dtype: str,
        max_model_len: int,
        max_num_seqs: int,
    ) -> None:
        settings: dict[str, Any] = {
            "num_threads": num_threads,
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            "kv_cache_dtype": kv_cache_dtype,
            "num_kv_blocks": max(_NUM_KV_BLOCKS, -(-max_model_len // 16) + 1),
            "enable_prefix_caching": False,
        }
        if quantization is not None:
            settings["quantization"] = quantization
        self._num_threads = num_threads
        self._config = config_from_settings(checkpoint, settings)
        self._model = load_model(self._config)
        self._core: EngineCore | None = None
        self._shape = (0, 0)
        self._num_requests = 0
        self._prepare(self._model.plan.num_blocks, _NUM_BATCHED_TOKENS)

    def describe(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "instruction_set": host_isa().name,
            "max_num_batched_tokens": self._shape[1],
            "weights_bytes": self._model.weights.nbytes,
            "weights_bytes_per_token": bytes_per_token(self._model.weights),
            "kv_cache_bytes": self._shape[0] * self._model.plan.block_bytes,
            "kv_bytes_per_token": self._model.plan.block_bytes // self._model.plan.block_size,
        }

    def generate(
        self, prompts: list[list[int]], num_tokens: int, keep_prompt: bool
    ) -> dict[str, Any]:
        block_size = self._config.engine.block_size
        # A running sequence keeps a block to spare.
        num_blocks = sum(-(-(len(p) + num_tokens) // block_size) + 1 for p in prompts)
        # Several prompts are computed in one step, so that all sequences decode together.
        num_prompt_tokens = sum(map(len, prompts)) if len(prompts) > 1 else 0
        core = self._prepare(num_blocks, num_prompt_tokens)
        sampling = SamplingSpec(temperature=0.0, max_tokens=num_tokens)
        clock = Clock(len(prompts))
        for i, prompt in enumerate(prompts):
            self._add(core, str(i), prompt, sampling)
        while core.has_work():
            for _, output in core.step():
                if output.error is not None:
                    raise RuntimeError(output.error)
                clock.add(int(output.request_id.split("-")[1]), list(output.token_ids))
            clock.tick()
        self._num_requests += 1
        return clock.result()

    def logprobs(self, prompt: list[int], token_ids: list[int]) -> dict[int, float]:
        core = self._prepare(1, 0)
        sampling = SamplingSpec(temperature=0.0, max_tokens=1, logprobs=_NUM_LOGPROBS)
        self._add(core, "0", prompt, sampling)
        found: dict[int, float] = {}
        while core.has_work():
            for _, output in core.step():
                for entries in output.logprobs or []:
                    found |= {token_id: logprob for token_id, logprob, _ in entries}
        self._num_requests += 1
        return found

    def probe(self) -> float:
        """Return bytes a second of streaming reads by this very process."""
        return read_bandwidth(self._num_threads)

    def _prepare(self, num_blocks: int, num_batched_tokens: int) -> EngineCore:
        """Return an engine of at least this size, a new one where the last is too small."""
        num_blocks = max(num_blocks, self._model.plan.num_blocks)
        num_batched_tokens = max(num_batched_tokens, _NUM_BATCHED_TOKENS)
        if self._core is None or (num_blocks, num_batched_tokens) != self._shape:
            self._core = None
            gc.collect()  # one KV cache at a time
            plan = replace(self._model.plan, num_blocks=num_blocks)
            engine = msgspec.structs.replace(
                self._config.engine, max_num_batched_tokens=num_batched_tokens
            )
            self._core = EngineCore(
                replace(self._model, plan=plan),
                msgspec.structs.replace(self._config, engine=engine),
            )
            self._shape = (num_blocks, num_batched_tokens)
        return self._core

    def _add(self, core: EngineCore, name: str, prompt: list[int], sampling: SamplingSpec) -> None:
        request = GenerateRequest(
            request_id=f"{self._num_requests}-{name}",
            prompt_token_ids=np.array(prompt, "<i4").tobytes(),
            sampling=sampling,
        )
        core.add(request, "benchmark")


def bytes_per_token(weights: Weights) -> int:
    """Return the bytes of weights that a decoded token reads: all but embedding and rope."""
    num_bytes = weights.nbytes - weights.cos_sin.nbytes
    if weights.embedding is not weights.head:
        num_bytes -= weights.embedding.nbytes
    return int(num_bytes)


if __name__ == "__main__":
    serve(Lite)
