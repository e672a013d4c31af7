"""The request that runs once through every kernel before the first user's does."""

import numpy as np

from lite.errors import CheckpointError, NotFiniteError, UnsupportedModelError, from_text
from lite.messages import GenerateRequest, SamplingSpec, TokenOutput

_NUM_PROMPT_TOKENS = 16


def warm_up_request(max_model_len: int) -> GenerateRequest:
    """Return a short request that asks for everything that has a kernel of its own."""
    sampling = SamplingSpec(
        temperature=1.0,
        top_k=2,
        seed=0,
        max_tokens=1,
        logprobs=1,
        prompt_logprobs=1,
        logit_bias={0: 0.0},
        allowed_token_ids=[0],
    )
    num_prompt_tokens = min(_NUM_PROMPT_TOKENS, max_model_len - 1)
    prompt = np.zeros(num_prompt_tokens, np.dtype("<i4")).tobytes()
    return GenerateRequest(request_id="warm-up", prompt_token_ids=prompt, sampling=sampling)


def check_warm_up(output: TokenOutput, model_name: str) -> None:
    """Refuse to serve what cannot answer even this.

    Raises:
        CheckpointError: the weights give NaN or infinite logits.
        UnsupportedModelError: the kernels cannot run it on this machine.
    """
    if output.error is None:
        return
    error = from_text(output.error)
    if isinstance(error, NotFiniteError):
        raise CheckpointError(
            f"model {model_name!r}: the weights give NaN or infinite logits; the files are "
            "damaged, or their numbers are too large for this dtype."
        )
    raise UnsupportedModelError(f"model {model_name!r} cannot be run: {error}")
