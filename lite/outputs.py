"""What a generation returns: vLLM's RequestOutput shape, and the deltas of a stream."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lite.messages import RequestTimings


@dataclass(frozen=True, slots=True)
class Logprob:
    """Log probability of one token at one position; ranks count from 1."""

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


# Per position: token id -> Logprob, the chosen token first.
PositionLogprobs = dict[int, Logprob]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDelta:
    """What one engine message added to one output.

    Attributes:
        index: which of the `n` outputs.
        text: new text; may be empty while a character or a possible stop string is held back.
        token_ids: new token ids.
        logprobs: one entry per new token id, when asked for.
        prompt_logprobs: once, with the first delta of output 0; None for the first prompt token.
        finish_reason: "stop", "length" or "abort" in the output's last delta.
        stop_reason: the stop string or stop token id that ended it; None for EOS.
        num_cached_tokens: prompt tokens taken from the prefix cache.
        num_output_tokens: tokens of this output so far.
        timings: with the last delta.
    """

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[PositionLogprobs] | None = None
    prompt_logprobs: list[PositionLogprobs | None] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    num_cached_tokens: int = 0
    num_output_tokens: int = 0
    timings: RequestTimings | None = None


@dataclass(slots=True, kw_only=True)
class CompletionOutput:
    """One of the `n` outputs of a request."""

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    cumulative_logprob: float | None = None
    logprobs: list[PositionLogprobs] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None

    def finished(self) -> bool:
        """Whether the output has ended."""
        return self.finish_reason is not None

    def extend(self, delta: OutputDelta) -> None:
        """Append a delta of the same index."""
        self.text += delta.text
        self.token_ids.extend(delta.token_ids)
        if delta.logprobs is not None:
            self.logprobs = (self.logprobs or []) + delta.logprobs
            chosen = sum(
                position[token_id].logprob
                for token_id, position in zip(delta.token_ids, delta.logprobs, strict=True)
            )
            self.cumulative_logprob = (self.cumulative_logprob or 0.0) + chosen
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.stop_reason = delta.stop_reason if delta.finish_reason else self.stop_reason


@dataclass(slots=True, kw_only=True)
class RequestOutput:
    """A request with all its outputs, as in vLLM.

    Also indexable like nano-vllm's dict: ``output["text"]`` and ``output["token_ids"]`` are those
    of the first output.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    prompt_logprobs: list[PositionLogprobs | None] | None = None
    finished: bool = False
    num_cached_tokens: int = 0
    timings: RequestTimings | None = None

    def __getitem__(self, key: str) -> Any:
        if key in ("text", "token_ids"):
            return getattr(self.outputs[0], key)
        raise KeyError(f"{key!r}; the keys are 'text' and 'token_ids'")

    def keys(self) -> Iterator[str]:
        """Return the keys `output[...]` understands."""
        return iter(("text", "token_ids"))

    def extend(self, delta: OutputDelta) -> None:
        """Append a delta of one of the outputs."""
        self.outputs[delta.index].extend(delta)
        self.num_cached_tokens = max(self.num_cached_tokens, delta.num_cached_tokens)
        if delta.prompt_logprobs is not None:
            self.prompt_logprobs = delta.prompt_logprobs
        self.timings = delta.timings or self.timings
        self.finished = all(output.finished() for output in self.outputs)
