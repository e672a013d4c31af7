"""A real gunicorn, the real application and OpenAI's own client, over an engine that echoes."""

import contextlib
import http.client
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.gunicorn_server import FAKE, GunicornServer, serve

USER, ADMIN = "user-key", "admin-key"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GunicornServer]:
    """Two workers, with keys."""
    config = {
        "server": {"workers": 2, "threads": 64, "heartbeat_s": 0.3, "max_body_bytes": 100_000},
        "auth": {"api_keys": [USER], "admin_keys": [ADMIN]},
    }
    with serve(tmp_path_factory.mktemp("server"), config, command=FAKE) as running:
        yield running


@pytest.fixture
def client(server: GunicornServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=USER, timeout=20) as made:
        yield made


def user(content: str) -> Any:
    return [{"role": "user", "content": content}]


def finished(server: GunicornServer) -> list[dict[str, Any]]:
    """Return the lines of finished requests."""
    lines = (json.loads(line) for line in server.log.splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == "request finished"]


def post_bytes(path: str, body: Any, **headers: str) -> bytes:
    content = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: test",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


# What OpenAI's client sees.


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake", messages=user("hello"))
    assert answer.choices[0].message.content == "hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    assert answer._request_id is not None


def test_a_chat_is_streamed_with_usage_and_heartbeats(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="fake",
            messages=user("[silent=0.8][delay=0.01]hello"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "hello"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    assert len({c.id for c in chunks}) == 1


def test_n_stop_and_logprobs_arrive_typed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="fake", messages=user("one two"), n=2, stop=[" "], logprobs=True, top_logprobs=2
    )
    assert [choice.message.content for choice in answer.choices] == ["one", "one"]
    logprobs = answer.choices[1].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [len(entry.top_logprobs) for entry in logprobs.content] == [2, 2, 2]


def test_completions_and_their_streams_arrive_typed(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="fake", prompt=["ab", "cd"], logprobs=1, echo=True)
    assert [choice.text for choice in whole.choices] == ["abab", "cdcd"]
    assert whole.choices[0].logprobs is not None
    assert whole.choices[0].logprobs.tokens == ["<s>", "a", "b", "a", "b"]
    pieces = client.completions.create(model="fake", prompt="abc", stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == "abc"


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["fake"]
    assert client.models.retrieve("fake").id == "fake"


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (openai.BadRequestError, {"temperature": -1}),
        (openai.BadRequestError, {"n": 0}),
        (openai.BadRequestError, {"extra_body": {"guided_json": {}, "guided_regex": "a"}}),
        (openai.BadRequestError, {"messages": user("x" * 5000)}),
        (openai.NotFoundError, {"model": "other"}),
        (openai.APIStatusError, {"messages": user("x" * 200_000)}),
    ],
)
def test_the_clients_faults_raise_by_class_and_are_not_retried(
    server: GunicornServer, client: openai.OpenAI, error: type[Exception], fields: dict[str, Any]
) -> None:
    before = len(finished(server))
    arguments = {"model": "fake", "messages": user("hi"), **fields}
    with pytest.raises(error) as caught:
        client.chat.completions.create(**arguments)
    assert isinstance(caught.value, openai.APIStatusError)
    assert caught.value.request_id is not None
    assert_requests(server, before, 1)


def assert_requests(server: GunicornServer, before: int, number: int) -> None:
    # A line is written after its answer has been sent.
    server.wait_for(lambda: len(finished(server)) >= before + number)
    time.sleep(0.1)
    assert len(finished(server)) == before + number


def test_keys_raise_by_class(server: GunicornServer, client: openai.OpenAI) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
    with pytest.raises(openai.PermissionDeniedError):
        client.post("/../shutdown", cast_to=object)


def test_a_full_queue_is_retried_by_the_client(
    server: GunicornServer, client: openai.OpenAI
) -> None:
    before = len(finished(server))
    with pytest.raises(openai.InternalServerError) as caught:
        client.with_options(max_retries=1).chat.completions.create(
            model="fake", messages=user("[full]x")
        )
    assert caught.value.code == "engine_overloaded"
    assert_requests(server, before, 2)


def test_a_bug_is_not_retried(server: GunicornServer, client: openai.OpenAI) -> None:
    before = len(finished(server))
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="fake", messages=user("[bug]x"))
    assert "secret" not in str(caught.value)
    assert_requests(server, before, 1)


def test_a_failure_in_the_middle_of_a_stream_is_raised(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="fake", messages=user("[die=2]hello"), stream=True
    )
    received = []
    with pytest.raises(openai.APIError, match="restarted"):
        received.extend(chunk.choices[0].delta.content for chunk in stream)
    assert "".join(filter(None, received)) == "he"


def test_sixty_four_streams_run_at_once(client: openai.OpenAI) -> None:
    def stream(number: int) -> tuple[str, float]:
        chunks = client.with_options(max_retries=0).chat.completions.create(
            model="fake", messages=user(f"[delay=0.05]stream {number:02} runs"), stream=True
        )
        return "".join(c.choices[0].delta.content or "" for c in chunks), time.monotonic()

    started = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        results = list(pool.map(stream, range(64)))
    assert [text for text, _ in results] == [f"stream {i:02} runs" for i in range(64)]
    # One after the other they would take 45 s.
    assert max(end for _, end in results) - started < 15.0


# What only bytes show.


def test_a_chunked_body_is_read_and_limited(server: GunicornServer) -> None:
    def send(content: bytes) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(*server.address, timeout=10)
        with contextlib.closing(connection):
            connection.request(
                "POST",
                "/v1/completions",
                iter([content[:10], content[10:]]),
                {"Content-Type": "application/json", "x-api-key": USER},
                encode_chunked=True,
            )
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    status, body = send(b'{"prompt":"hello"}')
    assert (status, body["choices"][0]["text"]) == (200, "hello")
    status, body = send(b'{"prompt":"' + b"x" * 150_000 + b'"}')
    assert (status, body["error"]["code"]) == (413, "payload_too_large")


def test_a_malformed_chunk_is_the_clients_fault(server: GunicornServer) -> None:
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"x-api-key: user-key\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: odd, chunked\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nX-Bad\x00: 1\r\n\r\n", 400),
    ],
)
def test_what_is_no_http_is_refused_in_the_same_shape(
    server: GunicornServer, request_: bytes, status: int
) -> None:
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(request_)
        with contextlib.closing(http.client.HTTPResponse(connection)) as answer:
            answer.begin()
            body = json.loads(answer.read())
    assert answer.status == status
    assert set(body["error"]) == {"message", "type", "param", "code"}


def test_http_1_0_gets_the_stream_without_chunks(server: GunicornServer) -> None:
    request = post_bytes(
        "/v1/completions", {"prompt": "hi", "stream": True}, x_api_key=USER
    ).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert body.endswith(b"data: [DONE]\n\n")


def test_connections_are_kept_for_the_next_request(server: GunicornServer) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    with contextlib.closing(connection):
        connection.connect()
        used = connection.sock
        for _ in range(3):
            body = json.dumps({"prompt": "hi", "stream": True})
            headers = {"Content-Type": "application/json", "x-api-key": USER}
            connection.request("POST", "/v1/completions", body, headers)
            assert connection.getresponse().read().endswith(b"data: [DONE]\n\n")
        assert connection.sock is used


def test_idle_connections_and_lingering_clients_stall_nobody(server: GunicornServer) -> None:
    idle = [socket.create_connection(server.address) for _ in range(150)]
    lingering = []
    for _ in range(20):
        connection = socket.create_connection(server.address)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        lingering.append(connection)  # and is not closed
    try:
        slowest = 0.0
        for _ in range(20):
            before = time.monotonic()
            assert server.get("/health")[0] == 200
            slowest = max(slowest, time.monotonic() - before)
        assert slowest < 1.0
    finally:
        for connection in [*idle, *lingering]:
            connection.close()


@pytest.mark.parametrize("start", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_clients_that_send_their_requests_slowly_stall_nobody(
    server: GunicornServer, start: bytes
) -> None:
    slow = [socket.create_connection(server.address, timeout=10) for _ in range(160)]
    try:
        for connection in slow:
            connection.sendall(start + b"GET /v1/models HTTP/1.1\r\n")
        answer = b""
        while start and not answer.endswith(b"}"):
            answer += slow[0].recv(4096)
        for _ in range(5):
            for connection in slow:
                connection.sendall(b"X-Another: 1\r\n")
            before = time.monotonic()
            assert server.get("/health")[0] == 200
            assert time.monotonic() - before < 1.0
        slow[0].sendall(b"X-Api-Key: user-key\r\nConnection: close\r\n\r\n")
        with contextlib.closing(http.client.HTTPResponse(slow[0])) as last:
            last.begin()
            assert last.status == 200
    finally:
        for connection in slow:
            connection.close()


# Clients that leave.


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GunicornServer]:
    """One worker with four threads, so that its details say it all."""
    config = {"server": {"workers": 1, "threads": 4, "heartbeat_s": 5.0}}
    with serve(tmp_path_factory.mktemp("single"), config, command=FAKE) as running:
        yield running


def running(server: GunicornServer) -> tuple[int, int]:
    """Return what engine and worker have running."""
    body = json.loads(server.get("/health/details")[1])
    return body["engine"]["num_running"], body["worker"]["num_running"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", ["[silent=20]x", "[silent=2][delay=0.05]" + "x" * 300])
def test_a_client_that_hangs_up_frees_its_place_within_two_seconds(
    single: GunicornServer, prompt: str, stream: bool
) -> None:
    body = {"prompt": prompt, "max_tokens": 300, "stream": stream}
    with socket.create_connection(single.address) as connection:
        connection.sendall(post_bytes("/v1/completions", body))
        single.wait_for(lambda: running(single) == (1, 1))
        time.sleep(0.3)
    left = time.monotonic()
    single.wait_for(lambda: running(single) == (0, 0), 5.0)
    assert time.monotonic() - left < 2.0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_in_decode_frees_its_place(
    single: GunicornServer, stream: bool
) -> None:
    body = {"prompt": "[delay=0.02]" + "x" * 1000, "max_tokens": 1000, "stream": stream}
    with socket.create_connection(single.address) as connection:
        connection.sendall(post_bytes("/v1/completions", body))
        single.wait_for(lambda: running(single) == (1, 1))
        received = b""
        while stream and received.count(b"data:") < 5:
            received += connection.recv(4096)
    left = time.monotonic()
    single.wait_for(lambda: running(single) == (0, 0), 5.0)
    assert time.monotonic() - left < 2.0


def test_more_streams_than_threads_are_refused_at_once(single: GunicornServer) -> None:
    body = {"prompt": "[delay=0.1]" + "x" * 30, "max_tokens": 30, "stream": True}
    connections = [socket.create_connection(single.address) for _ in range(4)]
    try:
        for connection in connections:
            connection.sendall(post_bytes("/v1/completions", body))
        single.wait_for(lambda: running(single) == (4, 4))
        before = time.monotonic()
        status, text = single.post("/v1/completions", body)
        assert time.monotonic() - before < 1.0
        assert (status, json.loads(text)["error"]["code"]) == (503, "engine_overloaded")
        assert single.get("/health/ready")[0] == 200
    finally:
        for connection in connections:
            connection.close()
    single.wait_for(lambda: running(single) == (0, 0), 5.0)


def test_a_full_worker_leaves_connections_to_one_with_room(tmp_path: Path) -> None:
    with serve(tmp_path, {"server": {"workers": 2, "threads": 8}}, command=FAKE) as server:
        server.wait_for(lambda: server.log.count("worker ready") == 2)
        body = {"prompt": "[delay=0.1]0123456789", "stream": True}
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: server.post("/v1/completions", body), range(16)))
        assert [status for status, _ in answers] == [200] * 16

        # Lines are written after their answers have been sent.
        server.wait_for(
            lambda: [line["path"] for line in finished(server)].count("/v1/completions") == 16
        )


# The end of a server.


class Stream:
    """A streaming request in a thread of its own."""

    def __init__(self, server: GunicornServer, prompt: str) -> None:
        self._server = server
        self._body = {"prompt": prompt, "max_tokens": 2000, "stream": True}
        self.text = ""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        _, self.text = self._server.post("/v1/completions", self._body)

    def join(self) -> str:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.text


def test_sigterm_refuses_new_work_finishes_the_old_and_exits_0(tmp_path: Path) -> None:
    config = {"server": {"workers": 2, "drain_s": 20.0}}
    with serve(tmp_path, config, command=FAKE) as server:
        stream = Stream(server, "[delay=0.05]" + "x" * 50)
        server.wait_for(lambda: sum(running(server)) > 0)
        server.send_signal(signal.SIGTERM)
        server.wait_for(lambda: "worker drains" in server.log)
        server.wait_for(lambda: server.get("/health/ready")[0] == 503)
        assert server.get("/health/live")[0] == 200
        status, text = server.post("/v1/completions", {"prompt": "x"})
        assert (status, json.loads(text)["error"]["code"]) == (503, "shutting_down")
        text = stream.join()
        assert text.endswith("data: [DONE]\n\n")
        assert text.count('"text":"x"') == 50
        assert server.process.wait(10) == 0


def test_what_outlasts_the_drain_time_ends_with_an_error_frame(tmp_path: Path) -> None:
    config = {"server": {"workers": 1, "drain_s": 0.5, "heartbeat_s": 0.1}}
    with serve(tmp_path, config, command=FAKE) as server:
        streams = [Stream(server, "[delay=0.05]" + "x" * 1000), Stream(server, "[silent=60]x")]
        server.wait_for(lambda: running(server) == (2, 2))
        time.sleep(1.0)  # both have begun: the second one's heartbeat was sent
        before = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - before < 5.0
        for stream in streams:
            text = stream.join()
            assert '"code":"shutting_down"' in text
            assert text.endswith("data: [DONE]\n\n")


def test_a_client_that_stops_reading_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with serve(tmp_path, {"server": {"workers": 1, "drain_s": 0.5}}, command=FAKE) as server:
        body = {"prompt": "[batch=4000]" + "x" * 4000, "stream": True, "echo": True, "n": 16}
        body["logprobs"], body["max_tokens"] = 5, 50
        with socket.create_connection(server.address) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(post_bytes("/v1/completions", body))
            server.wait_for(lambda: running(server)[1] == 1)
            before = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - before < 8.0


def test_hup_replaces_the_workers_and_loses_no_request(tmp_path: Path) -> None:
    with serve(tmp_path, {"server": {"workers": 2, "drain_s": 20.0}}, command=FAKE) as server:
        booted = re.compile(r"Booting worker with pid: (\d+)")
        server.wait_for(lambda: server.log.count("worker ready") == 2)
        stream = Stream(server, "[delay=0.05]" + "x" * 40)
        server.wait_for(lambda: sum(running(server)) > 0)
        stop, statuses = threading.Event(), []

        def knock() -> None:
            while not stop.is_set():
                statuses.append(server.post("/v1/completions", {"prompt": "hi"})[0])

        knocking = [threading.Thread(target=knock) for _ in range(3)]
        for thread in knocking:
            thread.start()
        server.send_signal(signal.SIGHUP)
        server.wait_for(lambda: len(booted.findall(server.log)) == 4)
        server.wait_for(lambda: server.log.count("Worker exiting") == 2, 20.0)
        stop.set()
        for thread in knocking:
            thread.join()
        assert set(statuses) == {200}
        text = stream.join()
        assert text.count('"text":"x"') == 40
        assert text.endswith("data: [DONE]\n\n")
        assert server.log.count('"reason": "replaced"') == 2
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"server": {"prot": 1}}, "server.prot"),
        ({"server": {"host": "0.0.0.0", "port": 0}}, "auth.api_keys"),
        ({"auth": {"api_keys_file": "/nonexistent"}}, "cannot be read"),
    ],
)
def test_settings_that_would_end_the_server_are_not_reloaded(
    tmp_path: Path, broken: dict[str, Any], reason: str
) -> None:
    with serve(tmp_path, {"server": {"workers": 1}}, command=FAKE) as server:
        (tmp_path / "config.yaml").write_text(json.dumps(broken), encoding="utf-8")
        server.send_signal(signal.SIGHUP)
        server.wait_for(lambda: "settings not reloaded" in server.log)
        assert server.post("/v1/completions", {"prompt": "hi"})[0] == 200
        assert server.log.count("worker ready") == 1
        (line,) = (line for line in server.log.splitlines() if "settings not reloaded" in line)
        assert reason in json.loads(line)["reason"]
        assert server.stop() == 0


def test_the_shutdown_route_ends_the_server(tmp_path: Path) -> None:
    with serve(tmp_path, {"auth": {"admin_keys": [ADMIN]}}, command=FAKE) as server:
        assert server.post("/shutdown", {})[0] == 401
        assert server.post("/shutdown", {}, {"x-api-key": ADMIN})[0] == 202
        assert server.process.wait(10) == 0


# Its beginning.


def test_a_public_address_without_keys_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"auth\.api_keys") as caught,
        serve(tmp_path, {"server": {"host": "0.0.0.0"}}, command=FAKE),
    ):
        pass
    assert "Traceback" not in str(caught.value)


def test_a_log_file_that_cannot_be_opened_stops_the_start_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"error: log\.file: ") as caught,
        serve(tmp_path, {"log": {"file": str(tmp_path)}}, command=FAKE),
    ):
        pass
    assert "Traceback" not in str(caught.value)


def test_a_public_bind_on_gunicorns_command_line_is_refused_too(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"auth\.api_keys"),
        serve(tmp_path, command=("-b", "0.0.0.0:0", *FAKE)),
    ):
        pass


def test_a_bad_setting_stops_the_start_and_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"server\.thread") as caught,
        serve(tmp_path, {"server": {"thread": 3}}, command=FAKE),
    ):
        pass
    assert "Traceback" not in str(caught.value)


def test_an_engine_that_cannot_start_ends_the_server(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"ended with 1:[\s\S]*The engine cannot start"),
        serve(tmp_path, command=FAKE, environ={"LITE_TEST_ENGINE": "gone"}) as server,
    ):
        server.wait_for(lambda: False)


def test_keys_never_reach_the_log(server: GunicornServer, client: openai.OpenAI) -> None:
    client.models.list()
    assert USER not in server.log
    assert ADMIN not in server.log
