"""Requests and tokens a minute for each key, kept by the engine process for all workers."""

import math
from typing import Protocol

from lite.config import KeyLimits, RateLimitConfig
from lite.messages import QuotaReply
from server.auth import Caller
from server.errors import ApiError, retry_headers


class QuotaKeeper(Protocol):
    """Whoever holds the buckets: the engine process, through its client."""

    def quota(
        self,
        key_id: str,
        *,
        num_tokens: int,
        num_requests: int = ...,
        requests_per_minute: int | None = ...,
        tokens_per_minute: int | None = ...,
    ) -> QuotaReply:
        """Charge the buckets of a key, or say that they are too empty."""
        ...

    def settle_quota(self, key_id: str, *, num_tokens: int, tokens_per_minute: int | None) -> None:
        """Charge what the first charge did not foresee; may be negative, needs no answer."""
        ...


class RateLimiter:
    """Charges each request's prompt when it arrives, and its output when it ends.

    The output is not charged in advance: a `max_tokens` that is rarely reached would lock keys out
    for tokens they never used. A key can therefore overdraw its tokens by what it has running;
    the debt delays its next requests.
    """

    def __init__(self, config: RateLimitConfig, keeper: QuotaKeeper) -> None:
        self._default = KeyLimits(
            requests_per_minute=config.requests_per_minute,
            tokens_per_minute=config.tokens_per_minute,
        )
        self._overrides = config.overrides
        self._keeper = keeper

    def limits(self, caller: Caller) -> KeyLimits:
        """Return the limits of a key: an override by name or fingerprint, or the default."""
        for name in (caller.name, caller.fingerprint):
            if name is not None and name in self._overrides:
                return self._overrides[name]
        return self._default

    def charge(self, caller: Caller, num_prompt_tokens: int) -> dict[str, str]:
        """Charge one request and its prompt; return the `x-ratelimit-*` headers.

        Raises:
            ApiError: 429; a prompt above the whole minute's tokens says not to retry.
        """
        limits = self.limits(caller)
        if limits.requests_per_minute is None and limits.tokens_per_minute is None:
            return {}
        per_minute = limits.tokens_per_minute
        fits = per_minute is None or num_prompt_tokens <= per_minute
        # What never fits is not charged, but still told where the key stands.
        reply = self._keeper.quota(
            caller.fingerprint,
            num_requests=1 if fits else 0,
            num_tokens=num_prompt_tokens if fits else 0,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=per_minute,
        )
        headers = _headers(limits, reply)
        if not fits:
            raise ApiError(
                429,
                f"The prompt has {num_prompt_tokens} tokens and this key may use {per_minute} a "
                "minute; send a shorter prompt.",
                code="rate_limit_exceeded",
                headers={**headers, "x-should-retry": "false"},
            )
        if reply.allowed:
            return headers
        raise ApiError(
            429,
            f"This key's rate limit is used up ({_describe(limits)}); retry in "
            f"{max(1, math.ceil(reply.retry_after_s))} s.",
            code="rate_limit_exceeded",
            headers={**headers, **retry_headers(reply.retry_after_s)},
        )

    def settle(self, caller: Caller, num_tokens: int) -> None:
        """Charge the output of a finished request, or give back (negative) an unused prompt."""
        per_minute = self.limits(caller).tokens_per_minute
        if per_minute is not None and num_tokens != 0:
            self._keeper.settle_quota(
                caller.fingerprint, num_tokens=num_tokens, tokens_per_minute=per_minute
            )


def _describe(limits: KeyLimits) -> str:
    parts = []
    if limits.requests_per_minute is not None:
        parts.append(f"{limits.requests_per_minute} requests a minute")
    if limits.tokens_per_minute is not None:
        parts.append(f"{limits.tokens_per_minute} tokens a minute")
    return ", ".join(parts)


def _headers(limits: KeyLimits, reply: QuotaReply) -> dict[str, str]:
    headers = {}
    for kind, limit, remaining, reset_s in (
        ("requests", limits.requests_per_minute, reply.remaining_requests, reply.reset_requests_s),
        ("tokens", limits.tokens_per_minute, reply.remaining_tokens, reply.reset_tokens_s),
    ):
        if limit is not None:
            headers[f"x-ratelimit-limit-{kind}"] = str(limit)
            headers[f"x-ratelimit-remaining-{kind}"] = str(max(0, remaining or 0))
            headers[f"x-ratelimit-reset-{kind}"] = _duration(reset_s)
    return headers


def _duration(seconds: float) -> str:
    """Write a duration as OpenAI's headers do: 250ms, 12.5s, 6m0s."""
    if seconds < 1.0:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".")
    return f"{int(minutes)}m{text}s" if minutes else f"{text}s"
