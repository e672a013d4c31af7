"""RequestRecord: what one HTTP request did, for its log line and its metrics."""

import time
from dataclasses import dataclass, field
from typing import Any

import falcon

from lite.messages import RequestTimings
from server.auth import ANONYMOUS, Caller


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """Filled in while the request is served; never holds text unless `log.prompts` is on."""

    request_id: str
    method: str
    caller: Caller = ANONYMOUS
    started_s: float = field(default_factory=time.monotonic)
    request_bytes: int = 0
    response_bytes: int = 0
    model: str | None = None
    stream: bool | None = None
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    num_output_tokens: int | None = None
    ttft_s: float | None = None
    timings: RequestTimings | None = None
    finish_reasons: list[str] = field(default_factory=list)
    error_code: str | None = None
    client_gone: bool = False
    prompt: Any = None
    output: list[str] | None = None

    def elapsed_s(self) -> float:
        """Return the time since the request came."""
        return time.monotonic() - self.started_s

    def fields(self) -> dict[str, Any]:
        """Return what goes into the log line; what is unknown is left out."""
        timings = self.timings
        fields: dict[str, Any] = {
            "key": self.caller.name or self.caller.fingerprint,
            "model": self.model,
            "stream": self.stream,
            "num_prompt_tokens": self.num_prompt_tokens,
            "num_cached_tokens": self.num_cached_tokens,
            "num_output_tokens": self.num_output_tokens,
            "ttft_s": _rounded(self.ttft_s),
            "finish_reason": ",".join(sorted(set(self.finish_reasons))) or None,
            "error": self.error_code,
            "client_gone": self.client_gone or None,
            "prompt": self.prompt,
            "output": self.output,
        }
        if timings is not None:
            fields["queue_s"] = _rounded(timings.queue_s)
            fields["prefill_s"] = _rounded(timings.prefill_s)
            fields["decode_s"] = _rounded(timings.decode_s)
            fields["num_preemptions"] = timings.num_preemptions or None
        return {name: value for name, value in fields.items() if value is not None}


def record_of(req: falcon.Request) -> RequestRecord:
    """Return the record the middleware made for `req`."""
    record: RequestRecord = req.context.record
    return record


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
