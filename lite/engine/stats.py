"""What the engine tells an observer (the metrics) about steps, tokens and finished requests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lite.messages import EngineStats


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One finished output: a request with `n` outputs gives `n` records.

    Times in seconds; None where the output never got that far. `ttft_s` counts from the arrival,
    `queue_s` from the arrival to the first scheduled step, `prefill_s` from there to the first
    token, `decode_s` from the first token to the last, `e2e_s` from the arrival to the end.
    """

    finish_reason: str  # one of lite.messages.FINISH_REASONS
    index: int
    n: int
    max_tokens: int
    num_prompt_tokens: int
    num_cached_tokens: int
    num_output_tokens: int
    e2e_s: float
    queue_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    ttft_s: float | None = None
    num_preemptions: int = 0
    # Most output tokens of any output of the request; given with the last one to end.
    most_output_tokens: int | None = None


class EngineObserver(Protocol):
    """Called by the engine's own thread, between steps; must not block."""

    def on_step(self, *, num_tokens: int, num_seqs: int, num_sampled: int) -> None:
        """Note a step that computed `num_tokens` for `num_seqs` and sampled `num_sampled`."""
        ...

    def on_first_token(self, ttft_s: float) -> None:
        """Note an output's first token."""
        ...

    def on_token(self, itl_s: float) -> None:
        """Note a later token, `itl_s` after the one before it."""
        ...

    def on_request_finished(self, record: RequestRecord) -> None:
        """Note an output that ended, for whatever reason."""
        ...


class NullObserver:
    """Takes no notice."""

    def on_step(self, *, num_tokens: int, num_seqs: int, num_sampled: int) -> None:
        """Do nothing."""

    def on_first_token(self, ttft_s: float) -> None:
        """Do nothing."""

    def on_token(self, itl_s: float) -> None:
        """Do nothing."""

    def on_request_finished(self, record: RequestRecord) -> None:
        """Do nothing."""


# Told on the engine's thread that a part of a step begins: "schedule" (with the batch), "launch",
# "collect" (sampling) and "update"; after the step "deliver", or "idle" where no work is left.
StepTrace = Callable[[str], None]


def no_trace(_part: str) -> None:
    """Take no notice."""


def kv_cache_usage(stats: EngineStats) -> float:
    """Return the share of KV blocks in use, 0 to 1."""
    if not stats.num_blocks:
        return 0.0
    return 1.0 - stats.num_free_blocks / stats.num_blocks


def prefix_cache_hit_rate(stats: EngineStats) -> float:
    """Return the share of looked-up prompt tokens that the prefix cache had, 0 to 1."""
    if not stats.prefix_cache_queries:
        return 0.0
    return stats.prefix_cache_hits / stats.prefix_cache_queries
