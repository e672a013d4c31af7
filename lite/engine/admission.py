"""Whether a request may join the queue: its own limits, and the queue's."""

import numpy as np
import numpy.typing as npt

from lite.config import EngineConfig
from lite.errors import ContextLengthError, InvalidRequestError, OverloadedError
from lite.messages import GenerateRequest


def check_request(
    message: GenerateRequest,
    prompt: npt.NDArray[np.int32],
    *,
    vocab_size: int,
    max_model_len: int,
) -> None:
    """Refuse what would reach outside the model's arrays; front ends have checked the rest.

    Raises:
        InvalidRequestError: no prompt, or a token id outside the vocabulary.
        ContextLengthError: prompt and output do not fit the context.
    """
    sampling = message.sampling
    listed = {
        "logit_bias": list(sampling.logit_bias or ()),
        "allowed_token_ids": sampling.allowed_token_ids or [],
        "bad_words": [i for word in sampling.bad_words_token_ids for i in word],
        "prompt": [int(prompt.min()), int(prompt.max())] if prompt.size else [],
    }
    for param, token_ids in listed.items():
        for token_id in token_ids:
            if not 0 <= token_id < vocab_size:
                raise InvalidRequestError(
                    f"{param}: token id {token_id} is outside the vocabulary of "
                    f"{vocab_size} tokens.",
                    param=param,
                )
    if prompt.size == 0:
        raise InvalidRequestError("The prompt is empty; give at least one token.")
    if prompt.size + sampling.max_tokens > max_model_len or sampling.max_tokens < 1:
        raise ContextLengthError(
            f"{prompt.size} prompt tokens and max_tokens {sampling.max_tokens} do not fit "
            f"the context of {max_model_len} tokens."
        )


def check_queue(
    engine: EngineConfig,
    *,
    num_seqs: int,
    num_tokens: int,
    num_waiting: int,
    num_waiting_tokens: int,
) -> None:
    """Refuse a request of `num_seqs` outputs and `num_tokens` prompt tokens if the queue is full.

    A request larger than the whole limit may still enter an empty queue.

    Raises:
        OverloadedError: which limit was hit.
    """
    if num_waiting + num_seqs > max(engine.max_waiting_requests, num_seqs):
        raise OverloadedError(
            f"The queue is full: {num_waiting} requests are waiting and "
            f"max_waiting_requests is {engine.max_waiting_requests}. Try again later."
        )
    limit = engine.max_waiting_tokens
    if limit is not None and num_waiting and num_waiting_tokens + num_tokens > limit:
        raise OverloadedError(
            f"The queue is full: {num_waiting_tokens} prompt tokens are waiting, this request "
            f"has {num_tokens} and max_waiting_tokens is {limit}. Try again later."
        )
