"""Runs vLLM's CPU backend in this process, step by step."""

from typing import Any

import vllm
from runner_protocol import Clock, serve
from vllm.sampling_params import RequestOutputKind

_NUM_LOGPROBS = 20


class Vllm:
    """An engine in this process; the KV cache's size is an environment variable."""

    def __init__(
        self,
        checkpoint: str,
        max_model_len: int,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        kv_cache_bytes: int,
    ) -> None:
        self._settings = {
            "dtype": "bfloat16",
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            "max_num_batched_tokens": max_num_batched_tokens,
            "enable_prefix_caching": False,
            "seed": 0,
        }
        self._kv_cache_bytes = kv_cache_bytes
        self._engine = vllm.LLM(checkpoint, disable_log_stats=True, **self._settings).llm_engine
        self._num_requests = 0

    def describe(self) -> dict[str, Any]:
        return {
            "version": vllm.__version__,
            "settings": self._settings,
            "kv_cache_bytes": self._kv_cache_bytes,
        }

    def generate(
        self, prompts: list[list[int]], num_tokens: int, keep_prompt: bool
    ) -> dict[str, Any]:
        params = vllm.SamplingParams(
            temperature=0.0,
            max_tokens=num_tokens,
            min_tokens=num_tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        clock = Clock(len(prompts))
        for i, prompt in enumerate(prompts):
            self._add(i, prompt, params)
        while self._engine.has_unfinished_requests():
            for output in self._engine.step():
                token_ids = list(output.outputs[0].token_ids)
                clock.add(int(output.request_id.split("-")[1]), token_ids)
            clock.tick()
        self._num_requests += 1
        return clock.result()

    def logprobs(self, prompt: list[int], token_ids: list[int]) -> dict[int, float]:
        params = vllm.SamplingParams(
            temperature=0.0, max_tokens=1, ignore_eos=True, logprobs=_NUM_LOGPROBS
        )
        self._add(0, prompt, params)
        found: dict[int, float] = {}
        while self._engine.has_unfinished_requests():
            for output in self._engine.step():
                for entries in output.outputs[0].logprobs or []:
                    found |= {i: entry.logprob for i, entry in entries.items()}
        self._num_requests += 1
        return found

    def _add(self, index: int, prompt: list[int], params: Any) -> None:
        name = f"{self._num_requests}-{index}"
        self._engine.add_request(name, {"prompt_token_ids": prompt}, params)


if __name__ == "__main__":
    serve(Vllm)
