"""Runs openvino-genai's continuous batching, step by step."""

from typing import Any

import numpy as np
import openvino
import openvino_genai
from runner_protocol import Clock, serve

_CACHE_GB = 2


class OpenVino:
    """One exported model in a ContinuousBatchingPipeline on the CPU."""

    def __init__(
        self,
        directory: str,
        num_threads: int,
        max_model_len: int,
        max_num_seqs: int,
        max_num_batched_tokens: int,
    ) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = _CACHE_GB
        scheduler.max_num_seqs = max_num_seqs
        scheduler.max_num_batched_tokens = max_num_batched_tokens
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = False
        self._properties = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": num_threads,
        }
        self._scheduler = scheduler
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            directory, scheduler, "CPU", self._properties
        )
        self._num_requests = 0

    def describe(self) -> dict[str, Any]:
        return {
            "version": openvino_genai.__version__,
            "openvino": openvino.__version__,
            "properties": self._properties,
            "max_num_batched_tokens": self._scheduler.max_num_batched_tokens,
            "kv_cache": "the device's default precision",
            "kv_cache_bytes": self._pipeline.get_metrics().cache_size_in_bytes,
        }

    def generate(
        self, prompts: list[list[int]], num_tokens: int, keep_prompt: bool
    ) -> dict[str, Any]:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = num_tokens
        config.ignore_eos = True
        config.do_sample = False
        config.apply_chat_template = False
        clock = Clock(len(prompts))
        handles = [self._add(prompt, config) for prompt in prompts]
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            self._read(handles, clock)
            clock.tick()
        return clock.result()

    def logprobs(self, prompt: list[int], token_ids: list[int]) -> dict[int, float]:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = 1
        config.ignore_eos = True
        config.do_sample = False
        config.logprobs = 1
        handle = self._add(prompt, config)
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        (output,) = handle.read_all()
        return dict(zip(output.generated_ids, output.generated_log_probs, strict=True))

    def _add(self, prompt: list[int], config: Any) -> Any:
        self._num_requests += 1
        ids = openvino.Tensor(np.array([prompt], np.int64))
        return self._pipeline.add_request(self._num_requests, ids, config)

    def _read(self, handles: list[Any], clock: Clock) -> None:
        for i, handle in enumerate(handles):
            while handle.can_read():
                for output in handle.read().values():
                    clock.add(i, list(output.generated_ids))


if __name__ == "__main__":
    serve(OpenVino)
