"""Runs Hugging Face transformers' generate() on PyTorch."""

from typing import Any

import torch
import transformers
from runner_protocol import Clock, serve


class Transformers:
    """A model in bfloat16 with its default attention."""

    def __init__(
        self, checkpoint: str, num_threads: int, max_model_len: int, max_num_seqs: int
    ) -> None:
        torch.set_num_threads(num_threads)
        torch.set_grad_enabled(False)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=torch.bfloat16
        )
        self._model.eval()
        # Nothing but the length ends an output.
        self._model.generation_config.eos_token_id = None
        self._model.generation_config.pad_token_id = 0
        self._kept: tuple[list[list[int]], Any] | None = None

    def describe(self) -> dict[str, Any]:
        return {
            "version": transformers.__version__,
            "torch": torch.__version__,
            "attention": self._model.config._attn_implementation,
            "weights_bytes": sum(p.nbytes for p in self._model.parameters()),
            "kv_cache_bytes": 0,
        }

    def generate(
        self, prompts: list[list[int]], num_tokens: int, keep_prompt: bool
    ) -> dict[str, Any]:
        ids = torch.tensor(prompts)
        cache = self._prompt_cache(prompts, ids) if keep_prompt else None
        clock = Clock(len(prompts))
        self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            max_new_tokens=num_tokens,
            do_sample=False,
            stopping_criteria=[_Watch(clock)],
        )
        return clock.result()

    def logprobs(self, prompt: list[int], token_ids: list[int]) -> dict[int, float]:
        logits = self._model(torch.tensor([prompt])).logits[0, -1].double()
        logprobs = torch.log_softmax(logits, dim=-1)
        if not token_ids:
            token_ids = torch.topk(logprobs, 20).indices.tolist()
        return {i: float(logprobs[i]) for i in token_ids}

    def _prompt_cache(self, prompts: list[list[int]], ids: torch.Tensor) -> Any:
        """Return the keys and values of all prompt tokens but the last."""
        if self._kept is None or self._kept[0] != prompts:
            cache = self._model(ids[:, :-1], use_cache=True, logits_to_keep=1).past_key_values
            self._kept = (prompts, cache)
        cache = self._kept[1]
        if (num_excess := cache.get_seq_length() - (ids.shape[1] - 1)) > 0:
            # NOTE: a number of tokens to keep, instead of to remove, is refused by newer versions.
            cache.crop(-num_excess)
        return cache


class _Watch(transformers.StoppingCriteria):
    """Called after every token; never stops anything."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        for i, token in enumerate(input_ids[:, -1].tolist()):
            self._clock.add(i, [token])
        self._clock.tick()
        return torch.zeros(len(input_ids), dtype=torch.bool)


if __name__ == "__main__":
    serve(Transformers)
