"""What is measured: how many sequences, how long their prompts and outputs are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.peering.checkpoint import FIRST_TEXT_ID

NUM_WARM_UP_PROMPT = 8
NUM_WARM_UP_OUTPUT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One measurement; `metric` is "decode" or "prefill" (tokens a second)."""

    name: str
    metric: str
    num_seqs: int
    num_prompt: int
    num_output: int
    # The prompt's keys and values may be kept from one repeat to the next.
    keep_prompt: bool = False

    def prompts(self, vocab_size: int, repeat: int) -> list[list[int]]:
        """Return random prompts, equal for every engine; new ones each repeat unless kept."""
        seed = [self.num_seqs, self.num_prompt, 0 if self.keep_prompt else repeat]
        return random_prompts(seed, self.num_seqs, self.num_prompt, vocab_size)

    def rate(self, result: dict[str, float]) -> float:
        """Return tokens a second from what a runner's clock says."""
        if self.metric == "prefill":
            return self.num_seqs * self.num_prompt / result["first_s"]
        return result["num_decoded"] / result["decode_s"]


def random_prompts(
    seed: list[int], num_prompts: int, num_tokens: int, vocab_size: int
) -> list[list[int]]:
    """Return prompts of token ids that are text in the made-up tokenizer."""
    rng = np.random.default_rng(seed)
    shape = (num_prompts, num_tokens)
    ids: npt.NDArray[np.int64] = rng.integers(FIRST_TEXT_ID, vocab_size, shape)
    prompts: list[list[int]] = ids.tolist()
    return prompts


def _decode(num_seqs: int) -> Case:
    return Case(
        name=f"decode_{num_seqs}", metric="decode", num_seqs=num_seqs, num_prompt=128, num_output=64
    )


def _prefill(num_prompt: int) -> Case:
    return Case(
        name=f"prefill_{num_prompt}",
        metric="prefill",
        num_seqs=1,
        num_prompt=num_prompt,
        num_output=1,
    )


CASES: tuple[Case, ...] = (
    _decode(1),
    _decode(8),
    _decode(16),
    _decode(32),
    _decode(64),
    _prefill(512),
    _prefill(2048),
    Case(
        name="decode_1_at_8k",
        metric="decode",
        num_seqs=1,
        num_prompt=8192,
        num_output=64,
        keep_prompt=True,
    ),
)
BY_NAME = {case.name: case for case in CASES}
