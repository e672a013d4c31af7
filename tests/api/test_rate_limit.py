"""Limits of requests and tokens a minute."""

import hashlib

import pytest

from lite.config import RateLimitConfig
from lite.engine.quota import QuotaLedger
from lite.messages import QuotaReply, QuotaRequest
from server.auth import ANONYMOUS
from server.errors import ApiError
from server.rate_limit import RateLimiter, _duration
from tests.api.conftest import MakeApi

KEY = {"x-api-key": "a"}
FINGERPRINT = hashlib.sha256(b"a").hexdigest()[:12]


def test_limits_are_told_in_headers(make_api: MakeApi) -> None:
    api = make_api(rate_limit={"requests_per_minute": 5, "tokens_per_minute": 100})
    headers = api.complete("abc").headers
    assert {name: headers[name] for name in headers if name.startswith("x-ratelimit")} == {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "1m30s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "96",
        "x-ratelimit-reset-tokens": "250ms",
    }
    assert "x-ratelimit-limit-requests" in api.chat("abc", stream=True).headers


def test_without_limits_nothing_is_charged_or_told(make_api: MakeApi) -> None:
    api = make_api()
    headers = api.complete("abc").headers
    assert not [name for name in headers if name.startswith("x-ratelimit")]
    assert not api.engine.used


def test_beyond_the_limit_is_429_with_the_time_to_wait(make_api: MakeApi) -> None:
    api = make_api(rate_limit={"requests_per_minute": 1})
    assert api.complete("a").status_code == 200
    result = api.complete("a")
    assert result.status_code == 429
    error = result.json["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert (result.headers["retry-after"], result.headers["retry-after-ms"]) == ("13", "12500")
    assert result.headers["x-ratelimit-limit-requests"] == "1"
    assert "x-should-retry" not in result.headers
    assert len(api.generator.prepared) == 2
    assert api.services.lifecycle.num_running == 0


class Keeper:
    """The engine's ledger, without the engine."""

    def __init__(self) -> None:
        self._ledger = QuotaLedger(clock=lambda: 0.0)

    def quota(self, key_id: str, **amounts: int | None) -> QuotaReply:
        return self._ledger.charge(QuotaRequest(request_id="", key_id=key_id, **amounts))


def test_a_prompt_above_the_whole_minute_is_refused_however_full_the_bucket_is() -> None:
    limiter = RateLimiter(RateLimitConfig(tokens_per_minute=100), Keeper())
    for remaining in ("100", "99"):
        with pytest.raises(ApiError, match="101 tokens and this key may use 100") as caught:
            limiter.charge(ANONYMOUS, 101)
        assert caught.value.status == 429
        assert caught.value.headers["x-should-retry"] == "false"
        assert caught.value.headers["x-ratelimit-remaining-tokens"] == remaining
        limiter.charge(ANONYMOUS, 1)
    limiter.charge(ANONYMOUS, 98)


def test_the_prompt_is_charged_on_arrival_and_the_output_at_the_end(make_api: MakeApi) -> None:
    api = make_api(rate_limit={"tokens_per_minute": 100})
    api.complete("abc", n=2)
    assert api.engine.used == {"anonymous": [1, 4 + 6]}
    api.chat("abc", stream=True)
    assert api.engine.used == {"anonymous": [2, 10 + 4 + 3]}


def test_a_request_that_produced_nothing_gets_its_prompt_back(make_api: MakeApi) -> None:
    api = make_api(rate_limit={"tokens_per_minute": 100})
    assert api.complete("[full]abc").status_code == 503
    assert api.engine.used == {"anonymous": [1, 0]}


def test_a_refused_request_is_not_charged(make_api: MakeApi) -> None:
    api = make_api(rate_limit={"tokens_per_minute": 100})
    assert api.complete("a", temperature=-1).status_code == 400
    assert api.complete("x" * 5000).status_code == 400
    assert not api.engine.used


@pytest.mark.parametrize("name", ["alice", FINGERPRINT])
def test_a_key_can_have_limits_of_its_own(make_api: MakeApi, tmp_path, name: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"sha256:{hashlib.sha256(b'a').hexdigest()} alice\n", encoding="utf-8")
    api = make_api(
        auth={"api_keys": ["b"], "api_keys_file": str(file)},
        rate_limit={
            "requests_per_minute": 100,
            "overrides": {name: {"requests_per_minute": 1}},
        },
    )
    body = {"prompt": "x"}
    statuses = [
        api.post("/v1/completions", body, headers={"x-api-key": key}).status_code
        for key in ("a", "a", "b", "b")
    ]
    assert statuses == [200, 429, 200, 200]
    assert set(api.engine.used) == {FINGERPRINT, hashlib.sha256(b"b").hexdigest()[:12]}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.0201, "21ms"),
        (1.0, "1s"),
        (12.5, "12.5s"),
        (360.0, "6m0s"),
        (61.25, "1m1.25s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert _duration(seconds) == text
