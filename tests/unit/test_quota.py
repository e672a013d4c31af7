"""QuotaLedger: both limits, refills, settlements, headers and bounds."""

import pytest

from lite.engine.quota import QuotaLedger
from lite.messages import QuotaReply, QuotaRequest


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> QuotaLedger:
    return QuotaLedger(max_keys=100, clock=clock)


def charge(
    ledger: QuotaLedger,
    key: str = "key",
    *,
    requests: int = 1,
    tokens: int = 0,
    rpm: int | None = None,
    tpm: int | None = None,
) -> QuotaReply:
    return ledger.charge(
        QuotaRequest(
            request_id="1",
            key_id=key,
            num_requests=requests,
            num_tokens=tokens,
            requests_per_minute=rpm,
            tokens_per_minute=tpm,
        )
    )


def test_requests_pass_up_to_the_limit_and_then_wait_for_the_refill(
    ledger: QuotaLedger, clock: Clock
) -> None:
    assert [charge(ledger, rpm=3).remaining_requests for _ in range(3)] == [2, 1, 0]
    refused = charge(ledger, rpm=3)
    assert not refused.allowed
    assert refused.retry_after_s == pytest.approx(20.0)
    assert refused.reset_requests_s == pytest.approx(60.0)
    clock.now_s += 19.9
    assert not charge(ledger, rpm=3).allowed
    clock.now_s += 0.2
    assert charge(ledger, rpm=3).allowed


def test_a_refusal_by_one_limit_charges_neither(ledger: QuotaLedger) -> None:
    assert charge(ledger, tokens=90, rpm=10, tpm=100).allowed
    refused = charge(ledger, tokens=20, rpm=10, tpm=100)
    assert not refused.allowed
    assert (refused.remaining_requests, refused.remaining_tokens) == (9, 10)
    assert refused.retry_after_s == pytest.approx(6.0)


def test_a_settlement_gives_back_what_the_estimate_took_too_much(ledger: QuotaLedger) -> None:
    charge(ledger, tokens=80, tpm=100)
    settled = charge(ledger, requests=0, tokens=-70, tpm=100)
    assert settled.allowed
    assert settled.remaining_tokens == 90


def test_a_settlement_never_fills_a_bucket_beyond_its_limit(ledger: QuotaLedger) -> None:
    assert charge(ledger, requests=0, tokens=-500, tpm=100).remaining_tokens == 100


def test_a_settlement_may_leave_a_debt_that_delays_the_next_request(
    ledger: QuotaLedger, clock: Clock
) -> None:
    charge(ledger, tokens=100, tpm=100)
    assert charge(ledger, requests=0, tokens=50, tpm=100).allowed
    assert charge(ledger, tokens=10, tpm=100).retry_after_s == pytest.approx(36.0)
    clock.now_s += 36.1
    assert charge(ledger, tokens=10, tpm=100).allowed


def test_an_estimate_above_the_whole_limit_passes_when_the_bucket_is_full(
    ledger: QuotaLedger, clock: Clock
) -> None:
    assert charge(ledger, tokens=500, tpm=100).allowed
    refused = charge(ledger, tokens=500, tpm=100)
    assert not refused.allowed
    assert refused.retry_after_s == pytest.approx(300.0)
    clock.now_s += refused.retry_after_s + 0.01
    assert charge(ledger, tokens=500, tpm=100).allowed


def test_keys_do_not_share_a_bucket(ledger: QuotaLedger) -> None:
    assert charge(ledger, "a", rpm=1).allowed
    assert charge(ledger, "b", rpm=1).allowed
    assert not charge(ledger, "a", rpm=1).allowed


def test_without_limits_everything_passes_and_nothing_is_kept(ledger: QuotaLedger) -> None:
    reply = charge(ledger, tokens=10**9)
    assert reply.allowed
    assert reply.remaining_requests is None
    assert reply.remaining_tokens is None
    assert len(ledger) == 0


def test_a_changed_limit_keeps_what_was_used(ledger: QuotaLedger) -> None:
    charge(ledger, rpm=10)
    assert charge(ledger, rpm=5).remaining_requests == 3
    assert charge(ledger, rpm=20).remaining_requests == 17


def test_a_clock_that_stands_still_or_steps_back_gives_nothing(
    ledger: QuotaLedger, clock: Clock
) -> None:
    charge(ledger, rpm=1)
    clock.now_s -= 100.0
    assert not charge(ledger, rpm=1).allowed


def test_memory_stays_bounded_over_many_keys(ledger: QuotaLedger, clock: Clock) -> None:
    for number in range(1_000):
        charge(ledger, f"key-{number}", rpm=10, tpm=10)
    assert len(ledger) <= 200
    clock.now_s += 61.0
    charge(ledger, "one more", rpm=10)
    assert len(ledger) == 1
