"""The whole wire protocol between front ends and the engine process: msgspec Structs.

A front end sends `Inbound` messages, the engine answers with `Outbound` ones. Both ends
encode with msgpack; `token_ids` travel as little-endian int32 bytes. The in-process client
passes the same objects without encoding.
"""

from typing import Annotated

import msgspec

FINISH_REASONS = ("stop", "length", "abort", "error")

# One (token id, logprob, rank) per reported token; the chosen token comes first.
TokenLogprobs = list[tuple[int, float, int]]
Count = Annotated[int, msgspec.Meta(ge=0)]


class SamplingSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the engine needs of `SamplingParams`: numbers and token ids, no strings."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] | None = None
    seed: int | None = None
    stop_token_ids: list[int] = []  # end the output; includes the EOS ids unless ignore_eos
    max_tokens: int = 16  # resolved by the front end: never beyond the context
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    bad_words_token_ids: list[list[int]] = []
    allowed_token_ids: list[int] | None = None


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True, tag="generate"):
    """Ask for `n` outputs of one prompt.

    `request_id` is unique per front end connection. `salt` separates tenants in the prefix
    cache. `queue_timeout_s` bounds the wait before the first token is scheduled; None leaves it to
    the engine's setting.
    """

    request_id: str
    prompt_token_ids: bytes
    sampling: SamplingSpec
    n: int = 1
    salt: bytes = b""
    queue_timeout_s: float | None = None


class AbortRequest(msgspec.Struct, frozen=True, tag="abort"):
    """Stop working on a request; output indices in `indices` only, or all when empty."""

    request_id: str
    indices: list[int] = []


class StatsRequest(msgspec.Struct, frozen=True, tag="stats"):
    """Ask for an `EngineStats` snapshot."""

    request_id: str


class MetricsRequest(msgspec.Struct, frozen=True, tag="metrics"):
    """Ask for the Prometheus exposition text."""

    request_id: str


class QuotaRequest(msgspec.Struct, frozen=True, kw_only=True, tag="quota"):
    """Charge a key's request and token buckets, or settle an earlier charge.

    `num_requests` 1 and an estimate of the tokens are charged on arrival; when the request ends
    the difference to what was used is charged with `num_requests` 0 (may be negative).
    """

    request_id: str
    key_id: str
    num_requests: int = 1
    num_tokens: int = 0
    requests_per_minute: int | None = None  # the key's limits; None: unlimited
    tokens_per_minute: int | None = None


class HttpObservation(msgspec.Struct, frozen=True, kw_only=True, tag="http"):
    """One finished HTTP request, for the metrics registry; needs no answer."""

    method: str
    handler: str  # the route's template, never the raw path
    status: int
    duration_s: float
    request_bytes: int = 0
    response_bytes: int = 0


class ShutdownRequest(msgspec.Struct, frozen=True, tag="shutdown"):
    """Finish what runs, refuse new work, then exit."""

    request_id: str
    drain_s: float = 0.0


Inbound = (
    GenerateRequest
    | AbortRequest
    | StatsRequest
    | MetricsRequest
    | QuotaRequest
    | HttpObservation
    | ShutdownRequest
)


class RequestTimings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds spent in each phase, sent with a request's last output."""

    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    num_preemptions: int = 0


class TokenOutput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """New tokens of one output of one request.

    `finish_reason` is None until the last message of output `index`. `stop_reason` is the stop
    token id that ended it, None for EOS or length. `error` goes with finish_reason "error":
    its first word is the name of an exception in `lite.errors`.
    """

    request_id: str
    index: int = 0
    token_ids: list[int] = []
    logprobs: list[TokenLogprobs] | None = None  # one entry per token id
    prompt_logprobs: list[TokenLogprobs | None] | None = None  # once, with the first token
    num_cached_tokens: int = 0  # prompt tokens taken from the prefix cache
    finish_reason: str | None = None
    stop_reason: int | None = None
    error: str | None = None
    timings: RequestTimings | None = None


class StepOutputs(msgspec.Struct, frozen=True, tag="step"):
    """Everything one step produced for one front end."""

    outputs: list[TokenOutput]


class EngineStats(msgspec.Struct, frozen=True, kw_only=True, tag="stats"):
    """A snapshot of the engine, for health, metrics and clients."""

    request_id: str = ""
    state: str = "ready"  # loading, ready, draining
    model: str = ""
    device: str = "cpu"
    dtype: str = ""
    num_threads: int = 0  # of the kernels
    num_threads_origin: str = ""
    weights_format: str = ""  # the dtype, or what the weights are quantized to
    kv_cache_format: str = ""
    num_running: int = 0
    num_waiting: int = 0
    num_waiting_tokens: int = 0
    num_blocks: int = 0
    num_free_blocks: int = 0
    block_size: int = 16
    max_model_len: int = 0
    prefix_cache_queries: int = 0  # tokens
    prefix_cache_hits: int = 0  # tokens
    num_preemptions: int = 0
    num_steps: int = 0
    last_step_age_s: float = 0.0  # since a step last completed; 0 when there is no work
    uptime_s: float = 0.0
    pid: int = 0


class MetricsReply(msgspec.Struct, frozen=True, tag="metrics"):
    """Prometheus exposition text."""

    request_id: str
    text: str


class QuotaReply(msgspec.Struct, frozen=True, kw_only=True, tag="quota"):
    """Whether the charge was accepted, and what the `x-ratelimit-*` headers say."""

    request_id: str
    allowed: bool
    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    reset_requests_s: float = 0.0
    reset_tokens_s: float = 0.0
    retry_after_s: float = 0.0


Outbound = StepOutputs | EngineStats | MetricsReply | QuotaReply
