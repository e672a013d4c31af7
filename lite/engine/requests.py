"""Requests in flight: their state, and the messages and records made of it."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lite.engine.sampler import SequenceSampling
from lite.engine.stats import RequestRecord
from lite.errors import LiteError, to_text
from lite.messages import GenerateRequest, RequestTimings, TokenLogprobs, TokenOutput
from lite.models.spec import DynamicScaling, Rope

Owner = Hashable
Key = tuple[Owner, str]


@dataclass(slots=True, eq=False)
class Request:
    """A request while any of its outputs is unfinished."""

    owner: Owner
    message: GenerateRequest
    prompt: npt.NDArray[np.int32]
    arrival_s: float
    seed: int
    unfinished: int
    deadline_s: float | None  # monotonic; waiting in the queue ends then; None once scheduled
    outputs: dict[int, "Output"] = field(default_factory=dict)
    held_back: list[int] = field(default_factory=list)  # indices waiting for output 0's prompt
    prompt_logprobs: list[TokenLogprobs | None] | None = None
    num_cached_tokens: int = 0
    most_output_tokens: int = 0  # of the outputs that have ended

    @property
    def key(self) -> Key:
        return self.owner, self.message.request_id


@dataclass(slots=True, eq=False)
class Output:
    """One of a request's `n` outputs: one sequence of the scheduler."""

    request: Request
    index: int
    seq_id: int
    sampling: SequenceSampling
    scheduled_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float = 0.0
    num_preemptions: int = 0


def cache_salt(request: Request, rope: Rope) -> bytes:
    """Return what a request must share with another one to share its cached blocks."""
    salt = request.message.salt
    if not isinstance(rope.scaling, DynamicScaling):
        return salt
    # Beyond the trained context keys depend on the prompt's length, so only prompts of the same
    # length may share them.
    longest = request.prompt.size + request.message.sampling.max_tokens
    if longest <= rope.scaling.original_max_position:
        return salt
    return salt + request.prompt.size.to_bytes(4, "little")


def token_output(
    output: Output,
    token_id: int,
    logprobs: TokenLogprobs | None,
    reason: str | None,
    first: bool,
) -> TokenOutput:
    """Return the message for one sampled token; `first` and last ones carry more."""
    request = output.request
    if reason is None and not first and logprobs is None:
        return TokenOutput(
            request_id=request.message.request_id, index=output.index, token_ids=[token_id]
        )
    return TokenOutput(
        request_id=request.message.request_id,
        index=output.index,
        token_ids=[token_id],
        logprobs=None if logprobs is None else [logprobs],
        prompt_logprobs=request.prompt_logprobs if first and output.index == 0 else None,
        num_cached_tokens=request.num_cached_tokens if first else 0,
        finish_reason=reason,
        stop_reason=token_id if reason == "stop" else None,
        timings=None if reason is None else _timings(output),
    )


def error_output(request_id: str, index: int, error: LiteError) -> TokenOutput:
    """Return the message that ends an output with an error."""
    return TokenOutput(
        request_id=request_id, index=index, finish_reason="error", error=to_text(error)
    )


def _timings(output: Output) -> RequestTimings:
    arrival_s, now_s = output.request.arrival_s, time.monotonic()
    scheduled_s = output.scheduled_s or now_s
    first_s = output.first_token_s or now_s
    return RequestTimings(
        queue_s=scheduled_s - arrival_s,
        prefill_s=first_s - scheduled_s,
        decode_s=max(output.last_token_s - first_s, 0.0),
        num_preemptions=output.num_preemptions,
    )


def finished_record(output: Output, reason: str) -> RequestRecord:
    """Return what the metrics want to know of an output that ended."""
    request = output.request
    timings = _timings(output)
    first_s = output.first_token_s
    request.most_output_tokens = max(request.most_output_tokens, output.sampling.num_output_tokens)
    return RequestRecord(
        finish_reason=reason,
        index=output.index,
        n=request.message.n,
        max_tokens=request.message.sampling.max_tokens,
        num_prompt_tokens=request.prompt.size,
        num_cached_tokens=request.num_cached_tokens,
        num_output_tokens=output.sampling.num_output_tokens,
        e2e_s=time.monotonic() - request.arrival_s,
        queue_s=None if output.scheduled_s is None else timings.queue_s,
        prefill_s=None if first_s is None else timings.prefill_s,
        decode_s=None if first_s is None else timings.decode_s,
        ttft_s=None if first_s is None else first_s - request.arrival_s,
        num_preemptions=output.num_preemptions,
        most_output_tokens=request.most_output_tokens if request.unfinished == 1 else None,
    )
