"""One streamed request: what is timed, what counts as a token, and every way to fail."""

import errno
import math
import time

import pytest

from lite.bench.openai_stream import OpenAIServer, Outcome
from lite.errors import ConfigError
from tests.openai_server import FakeServer, fake_server

BODY = {"prompt": "Hello", "max_tokens": 5, "stream": True}
CHAT = {"messages": [], "max_completion_tokens": 5, "stream": True}


def send(fake: FakeServer, body: dict | None = None, *, timeout_s: float = 10.0) -> Outcome:
    server = OpenAIServer(fake.url, api_key="secret", timeout_s=timeout_s)
    return server.stream("/v1/completions", body or BODY)


def test_tokens_and_times_of_a_stream() -> None:
    with fake_server(first_s=0.03, token_s=0.01) as fake:
        outcome = send(fake)
    assert outcome.error == ""
    assert outcome.text == "xxxxx"
    assert (outcome.num_input, outcome.num_output) == (7, 5)
    assert len(outcome.itl_s) == 4
    assert outcome.ttft_s >= 0.03
    assert sum(outcome.itl_s) >= 0.04
    assert outcome.latency_s == pytest.approx(outcome.ttft_s + sum(outcome.itl_s))
    assert fake.headers[0]["Authorization"] == "Bearer secret"


def test_events_of_several_tokens_give_one_gap_each() -> None:
    with fake_server(tokens_per_event=2) as fake:
        outcome = send(fake)
    assert outcome.text == "xxxxx"
    assert len(outcome.itl_s) == 2


def test_the_event_that_opens_a_chat_is_no_token() -> None:
    with fake_server(token_s=0.01) as fake:
        outcome = send(fake, CHAT)
    assert outcome.text == "xxxxx"
    assert len(outcome.itl_s) == 4


def test_a_token_may_have_no_text() -> None:
    with fake_server(token_text="") as fake:
        plain = send(fake)
        server = OpenAIServer(fake.url, api_key=None, timeout_s=10.0)
        chat = server.stream("/v1/chat/completions", {**CHAT, "max_completion_tokens": 1})
    assert plain.error == chat.error == ""
    assert len(plain.itl_s) == 4
    assert "Authorization" not in fake.headers[1]
    assert chat.itl_s == []


@pytest.mark.parametrize("body", [BODY, CHAT], ids=["completion", "chat"])
def test_an_event_that_only_ends_the_output_is_no_token(body: dict) -> None:
    with fake_server(ends_apart=True, token_s=0.02) as fake:
        outcome = send(fake, body)
        fake.has_usage = False
        uncounted = send(fake, body)
    assert outcome.error == uncounted.error == ""
    assert len(outcome.itl_s) == 4
    assert outcome.latency_s == pytest.approx(outcome.ttft_s + sum(outcome.itl_s))
    # It may be a token without text, where the server does not count.
    assert len(uncounted.itl_s) == 5


def test_tokens_from_the_servers_cache_are_counted() -> None:
    with fake_server() as fake:
        assert send(fake).num_cached is None
        fake.num_cached = 4
        assert send(fake).num_cached == 4


def test_lines_may_end_with_carriage_returns() -> None:
    with fake_server(line_end="\r\n") as fake:
        outcome = send(fake)
    assert (outcome.text, outcome.error) == ("xxxxx", "")


def test_a_stream_is_read_to_its_end() -> None:
    with fake_server(end_s=0.05) as fake:
        assert send(fake).error == ""
        deadline_s = time.monotonic() + 5.0
        while fake.num_open and time.monotonic() < deadline_s:
            time.sleep(0.01)
    assert (fake.num_open, fake.num_left) == (0, 0)


def test_without_usage_nothing_is_counted() -> None:
    with fake_server(has_usage=False) as fake:
        outcome = send(fake)
    assert outcome.error == ""
    assert outcome.num_output is None


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        ("status", "HTTP 503 the queue is full"),
        ("error", "out of memory"),
        ("cut", "ended before the output did"),
        ("empty", "held no token"),
        ("close", "RemoteDisconnected"),
        ("garbage", "malformed"),
    ],
)
def test_whatever_goes_wrong_is_in_the_outcome(trouble: str, text: str) -> None:
    with fake_server(trouble=trouble) as fake:
        outcome = send(fake)
    assert text in outcome.error
    assert "\n" not in outcome.error


def test_silence_ends_after_the_timeout() -> None:
    with fake_server(trouble="hang") as fake:
        outcome = send(fake, timeout_s=0.2)
    # As where it goes on too long: a client cannot tell the two causes apart.
    assert outcome.error == "not finished within 0.2 s"
    assert outcome.end_s - outcome.start_s >= 0.2


def test_the_systems_own_timeout_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_: OpenAIServer) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(OpenAIServer, "_connect", connect)
    outcome = OpenAIServer("http://host", api_key=None, timeout_s=600.0).stream("/", BODY)
    assert "Connection timed out" in outcome.error
    assert outcome.end_s == outcome.start_s > 0.0


def test_a_stream_that_goes_on_too_long_is_ended() -> None:
    with fake_server(token_s=0.05) as fake:
        outcome = send(fake, {**BODY, "max_tokens": 100}, timeout_s=0.2)
    assert outcome.error == "not finished within 0.2 s"


def test_a_server_that_is_not_there_is_an_outcome_too() -> None:
    with fake_server() as fake:
        pass
    assert "ConnectionRefusedError" in send(fake).error


def test_the_base_url_may_end_with_v1() -> None:
    with fake_server() as fake:
        for url in (fake.url, f"{fake.url}/v1", f"{fake.url}/v1/", f"{fake.url}/behind/v1"):
            server = OpenAIServer(url, api_key=None, timeout_s=10.0)
            assert server.stream("/v1/completions", BODY).error == ""
    assert fake.paths == ["/v1/completions"] * 3 + ["/behind/v1/completions"]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:port", "http://me:key@host"]
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="--base-url"):
        OpenAIServer(url, api_key=None, timeout_s=1.0)


@pytest.mark.parametrize("timeout_s", [0.0, math.inf, math.nan, 1e7])
def test_a_timeout_must_be_one_that_a_socket_can_have(timeout_s: float) -> None:
    with pytest.raises(ConfigError, match="--timeout is"):
        OpenAIServer("http://host", api_key=None, timeout_s=timeout_s)
