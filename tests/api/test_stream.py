"""What happens to a stream besides its frames: heartbeats, failures, clients that leave."""

import socket
import time

import pytest

from server import generation
from server.multiplex import Multiplexed
from tests.api.conftest import Api, MakeApi, frames

CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "CLIENT_POLL_S", 0.02)


def test_a_silent_stream_sends_comments_and_nothing_that_confuses_clients(
    make_api: MakeApi,
) -> None:
    api = make_api(server={"heartbeat_s": 0.05})
    text = api.chat("[silent=0.4]hi", stream=True).text
    assert text.startswith(": ping\n\n: ping\n\n")
    assert len(frames(text)) == 4
    for line in text.splitlines():
        assert not line.startswith(("id:", "retry:", "event:"))


def test_comments_also_fill_a_pause_between_tokens(make_api: MakeApi) -> None:
    api = make_api(server={"heartbeat_s": 0.05})
    text = api.chat("[delay=0.2]ab", stream=True).text
    assert ": ping" in text[text.index("data:") :]


def test_a_failure_in_the_middle_is_a_frame_of_its_own(api: Api) -> None:
    result = api.chat("[die=2]abcd", stream=True)
    assert result.status_code == 200
    received = frames(result.text)
    assert received[-1] == {
        "error": {
            "message": "The engine stopped and is being restarted; retry in a few seconds.",
            "type": "server_error",
            "param": None,
            "code": "engine_dead",
        }
    }
    assert received[2]["choices"][0]["delta"] == {"content": "b"}


def test_the_end_of_the_drain_time_ends_a_stream_with_an_error_frame(api: Api) -> None:
    body = {"messages": [{"role": "user", "content": "[delay=0.02]abcdefgh"}], "stream": True}
    stream = api.open(CHAT, body)
    assert b"role" in next(stream)
    api.services.lifecycle.expire()
    rest = b"".join(stream)
    stream.close()
    assert b"shutting_down" in rest
    assert rest.endswith(b"data: [DONE]\n\n")


def test_closing_the_body_aborts_the_request(api: Api) -> None:
    body = {"messages": [{"role": "user", "content": "[delay=0.01]abcdefgh"}], "stream": True}
    stream = api.open(CHAT, body)
    next(stream)
    next(stream)
    stream.close()
    stream.close()
    assert len(api.engine.aborted) == 1
    assert api.services.lifecycle.num_running == 0
    assert api.engine.observations[-1].status == 200


def test_closing_a_body_that_was_never_read_aborts_the_request(api: Api) -> None:
    body = {"messages": [{"role": "user", "content": "[delay=0.01]abcdefgh"}], "stream": True}
    api.open(CHAT, body).close()
    assert len(api.engine.aborted) == 1
    assert api.services.lifecycle.num_running == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_nothing_is_written_is_noticed(api: Api, stream: bool) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    body = {"messages": [{"role": "user", "content": "[silent=5]hi"}], "stream": stream}
    before = time.monotonic()
    with ours:
        answer = api.open(CHAT, body, **{"gunicorn.socket": ours})
        list(answer)
        getattr(answer, "close", lambda: None)()
    assert time.monotonic() - before < 2.0
    assert len(api.engine.aborted) == 1
    assert api.engine.observations[-1].status == 499


def test_a_client_that_stays_is_left_alone(api: Api) -> None:
    ours, theirs = socket.socketpair()
    body = {"messages": [{"role": "user", "content": "[silent=0.2]hi"}]}
    with ours, theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\n")  # pipelined
        answer = b"".join(api.open(CHAT, body, **{"gunicorn.socket": ours}))
    assert b'"content":"hi"' in answer


def test_multiplexed_streams_start_as_others_end_and_close_aborts_all() -> None:
    closed = []

    def stream(index: int):
        try:
            for number in range(3):
                yield [number]
                yield []
            if index >= 40:
                while True:
                    time.sleep(0.01)
                    yield []
        finally:
            closed.append(index)

    starts = [lambda i=i: stream(i) for i in range(45)]
    merged = Multiplexed(starts, poll_s=0.05)
    received: dict[int, list[int]] = {}
    while sum(map(len, received.values())) < 45 * 3:
        for index, item in next(merged):
            received.setdefault(index, []).append(item)
    assert received == {i: [0, 1, 2] for i in range(45)}
    assert next(merged) == []
    merged.close()
    deadline = time.monotonic() + 5.0
    while len(closed) < 45 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(closed) == list(range(45))
