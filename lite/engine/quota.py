"""QuotaLedger: requests and tokens a minute of each API key, for all front ends together.

Token buckets rather than windows: two numbers a key, and what an estimate took too much can be
given back.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lite.messages import QuotaReply, QuotaRequest

_WINDOW_S = 60.0
_ROUNDING_S = 1e-6  # of a wait


@dataclass(slots=True)
class _Bucket:
    """What may still be used at `updated_s`; refills by `limit` a minute, up to `limit`."""

    limit: int
    level: float
    updated_s: float

    def refill(self, now_s: float, limit: int) -> None:
        if limit != self.limit:
            # The key's limits were changed: what was used stays used.
            self.level += limit - self.limit
            self.limit = limit
        elapsed_s = max(0.0, now_s - self.updated_s)
        self.level = min(self.level + elapsed_s * limit / _WINDOW_S, limit)
        self.updated_s += elapsed_s

    def wait_s(self, level: float) -> float:
        """Return the seconds until the bucket holds `level`."""
        return max(0.0, level - self.level) * _WINDOW_S / self.limit

    def is_full(self, now_s: float) -> bool:
        return self.level + (now_s - self.updated_s) * self.limit / _WINDOW_S >= self.limit


class QuotaLedger:
    """Charges keys; a key that is back at its full limits takes no memory.

    A charge larger than a whole limit passes once its bucket is full and leaves it in debt, so a
    generous estimate delays a key but never locks it out. Past `max_keys`, the keys charged least
    recently are forgotten.
    """

    def __init__(
        self, *, max_keys: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_keys = max_keys
        self._clock = clock
        # (key id, "requests" or "tokens"), least recently used first
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def charge(self, request: QuotaRequest) -> QuotaReply:
        """Take requests and tokens from both buckets if both have room, else from neither.

        A settlement (`num_requests` 0) always passes; negative tokens are given back.
        """
        now_s = self._clock()
        requests = self._bucket(request.key_id, "requests", request.requests_per_minute, now_s)
        tokens = self._bucket(request.key_id, "tokens", request.tokens_per_minute, now_s)
        charges = [
            (bucket, amount)
            for bucket, amount in ((requests, request.num_requests), (tokens, request.num_tokens))
            if bucket is not None
        ]
        retry_after_s = 0.0
        if request.num_requests:
            retry_after_s = max((b.wait_s(min(a, b.limit)) for b, a in charges if a), default=0.0)
        allowed = retry_after_s < _ROUNDING_S
        if allowed:
            for bucket, amount in charges:
                bucket.level = min(bucket.level - amount, bucket.limit)
        self._bound(now_s)
        return QuotaReply(
            request_id=request.request_id,
            allowed=allowed,
            remaining_requests=None if requests is None else max(0, int(requests.level)),
            remaining_tokens=None if tokens is None else max(0, int(tokens.level)),
            reset_requests_s=0.0 if requests is None else requests.wait_s(requests.limit),
            reset_tokens_s=0.0 if tokens is None else tokens.wait_s(tokens.limit),
            retry_after_s=0.0 if allowed else retry_after_s,
        )

    def _bucket(self, key_id: str, kind: str, limit: int | None, now_s: float) -> _Bucket | None:
        if limit is None:
            return None
        name = (key_id, kind)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(limit, float(limit), now_s)
        self._buckets.move_to_end(name)
        bucket.refill(now_s, limit)
        return bucket

    def _bound(self, now_s: float) -> None:
        """Forget the oldest keys while they are full again, or too many."""
        while self._buckets:
            name, oldest = next(iter(self._buckets.items()))
            if len(self._buckets) <= 2 * self._max_keys and not oldest.is_full(now_s):
                return
            del self._buckets[name]
