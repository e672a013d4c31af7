"""The real server: gunicorn, its workers and the engine process, driven by the openai client."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.checkpoints import make_checkpoint
from tests.e2e.gunicorn_server import GunicornServer, serve

KEY, ADMIN_KEY = "sk-user-1234567890", "sk-admin-1234567890"
HEADERS = {"Authorization": f"Bearer {KEY}"}
# Long enough to be caught in the act, short enough to end within the test.
LONG = {"max_tokens": 8000, "extra_body": {"ignore_eos": True}}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    return make_checkpoint(path, gain=3.0, max_position_embeddings=8192)


def settings(checkpoint: Path, **engine: Any) -> dict[str, dict[str, Any]]:
    return {
        "model": {"model": str(checkpoint)},
        "engine": {"num_kv_blocks": 2048, "num_threads": 2, **engine},
        "server": {"workers": 2, "threads": 48, "drain_s": 60.0, "heartbeat_s": 1.0},
        "auth": {"api_keys": [KEY], "admin_keys": [ADMIN_KEY]},
    }


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GunicornServer]:
    with serve(tmp_path_factory.mktemp("server"), settings(checkpoint)) as server:
        yield server


@pytest.fixture
def client(server: GunicornServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
        yield client


def engine_stats(server: GunicornServer) -> dict[str, Any]:
    status, body = server.get("/health/details", HEADERS)
    assert status == 200, body
    return json.loads(body)["engine"]  # type: ignore[no-any-return]


def wait_until_idle(server: GunicornServer, timeout_s: float = 2.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        stats = engine_stats(server)
        free = stats["num_free_blocks"] == stats["num_blocks"]
        if free and not stats["num_running"] and not stats["num_waiting"]:
            return
        assert time.monotonic() < deadline, json.dumps(stats)
        time.sleep(0.05)


def chat(client: openai.OpenAI, text: str = "Hello", **fields: Any) -> Any:
    fields = {"max_tokens": 16, "temperature": 0.0, **fields}
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="tiny", messages=messages, **fields)


def test_a_chat_answers_the_same_streamed_and_whole(client: openai.OpenAI) -> None:
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == 16
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 16
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_cached_tokens_are_reported(client: openai.OpenAI) -> None:
    text = "A question that is long enough to fill some blocks of the cache. " * 3
    chat(client, text)
    details = chat(client, text).usage.prompt_tokens_details
    assert details.cached_tokens >= 16


def test_completions_take_strings_lists_and_token_ids(client: openai.OpenAI) -> None:
    def complete(prompt: Any, **fields: Any) -> Any:
        return client.completions.create(
            model="tiny", prompt=prompt, temperature=0.0, max_tokens=8, **fields
        )

    one = complete("Once upon")
    assert one.object == "text_completion"
    two = complete(["Once upon", "Something else"])
    assert [choice.index for choice in two.choices] == [0, 1]
    assert two.choices[0].text == one.choices[0].text
    assert complete([[5, 6, 7], [8, 9]]).choices[1].index == 1
    streamed = "".join(c.choices[0].text for c in complete("Once upon", stream=True) if c.choices)
    assert streamed == one.choices[0].text
    echoed = complete("Once upon", echo=True, logprobs=2).choices[0]
    assert echoed.text == "Once upon" + one.choices[0].text
    assert len(echoed.logprobs.tokens) == len(echoed.logprobs.token_logprobs)


def test_logprobs_n_seed_and_stop(client: openai.OpenAI) -> None:
    choice = chat(client, logprobs=True, top_logprobs=3).choices[0]
    assert len(choice.logprobs.content) == 16
    assert all(len(entry.top_logprobs) == 3 for entry in choice.logprobs.content)
    joined = b"".join(bytes(entry.bytes) for entry in choice.logprobs.content)
    assert joined.decode(errors="replace") == choice.message.content
    first = chat(client, n=3, seed=11, temperature=1.0)
    again = chat(client, n=3, seed=11, temperature=1.0)
    texts = [c.message.content for c in first.choices]
    assert texts == [c.message.content for c in again.choices]
    assert len(set(texts)) == 3
    free = chat(client, max_tokens=60).choices[0].message.content
    stop = free[5:8]
    cut = chat(client, max_tokens=60, stop=stop).choices[0]
    assert cut.message.content == free[: free.index(stop)]
    assert cut.finish_reason == "stop"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"max_tokens": 10**6}, "8192"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"top_logprobs": 2}, "logprobs"),
    ],
)
def test_client_faults_are_bad_requests_and_not_retried(
    client: openai.OpenAI, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        chat(client, **fields)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


def test_errors_come_as_the_clients_exception_classes(server: GunicornServer) -> None:
    url = f"{server.url}/v1"
    stranger = openai.OpenAI(base_url=url, api_key="sk-wrong")
    with stranger, pytest.raises(openai.AuthenticationError):
        chat(stranger)
    with openai.OpenAI(base_url=url, api_key=KEY) as client:
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="other", prompt="Hello")
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("other")
        assert [model.id for model in client.models.list()] == ["tiny"]
    assert server.request("POST", "/shutdown", headers=HEADERS)[0] == 403


def test_64_streams_at_once_all_finish_and_agree(server: GunicornServer) -> None:
    texts: list[str] = []
    failures: list[BaseException] = []

    def stream(number: int) -> None:
        try:
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
                chunks = chat(client, f"Number {number % 4}", max_tokens=40, stream=True)
                texts.append(
                    f"{number % 4}"
                    + "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
                )
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=stream, args=(i,)) for i in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(texts) == 64
    assert len(set(texts)) == 4
    wait_until_idle(server)


def open_request(server: GunicornServer, **fields: Any) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(*server.address, timeout=30)
    body = {
        "model": "tiny",
        "prompt": "Hang up",
        "max_tokens": 6000,
        "ignore_eos": True,
        "temperature": 0.0,
        **fields,
    }
    connection.request(
        "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json", **HEADERS}
    )
    return connection


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
@pytest.mark.parametrize("after_s", [0.0, 0.5], ids=["at once", "in decode"])
def test_hanging_up_frees_every_block(server: GunicornServer, stream: bool, after_s: float) -> None:
    connection = open_request(server, stream=stream)
    if after_s:
        server.wait_for(lambda: engine_stats(server)["num_running"] == 1)
        time.sleep(after_s)
    connection.close()
    time.sleep(0.05)
    wait_until_idle(server)


def test_hanging_up_in_prefill_and_in_the_queue_frees_every_block(
    checkpoint: Path, tmp_path: Path
) -> None:
    config = settings(checkpoint, max_num_seqs=1, max_num_batched_tokens=16)
    with serve(tmp_path, config) as server:
        # 6,000 prompt tokens take hundreds of steps.
        prefilling = open_request(server, prompt=[7] * 6000, max_tokens=5, stream=True)
        queued = [open_request(server, stream=stream) for stream in (True, False)]
        server.wait_for(lambda: engine_stats(server)["num_waiting"] == 2)
        for connection in (*queued, prefilling):
            connection.close()
        wait_until_idle(server)


def test_a_killed_engine_fails_open_requests_and_comes_back(
    checkpoint: Path, tmp_path: Path
) -> None:
    with serve(tmp_path, settings(checkpoint)) as server, retry_free_client(server) as client:
        before = chat(client).choices[0].message.content
        stream = chat(client, stream=True, **LONG)
        next(iter(stream))
        pid = engine_stats(server)["pid"]
        os.kill(pid, signal.SIGKILL)
        started = time.monotonic()
        with pytest.raises(openai.APIError):
            list(stream)
        assert time.monotonic() - started < 2.0
        assert server.get("/health")[0] == 503
        server.wait_until_ready(20)
        assert engine_stats(server)["pid"] != pid
        assert chat(client).choices[0].message.content == before


def retry_free_client(server: GunicornServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)


def test_hup_replaces_the_workers_and_keeps_the_model(checkpoint: Path, tmp_path: Path) -> None:
    with serve(tmp_path, settings(checkpoint)) as server:
        engine_pid = engine_stats(server)["pid"]
        old = json.loads(server.get("/health/details", HEADERS)[1])["worker"]["pid"]
        server.send_signal(signal.SIGHUP)

        def replaced() -> bool:
            bodies = [server.get("/health/details", HEADERS)[1] for _ in range(4)]
            return all(body and json.loads(body)["worker"]["pid"] != old for body in bodies)

        server.wait_for(replaced, 15)
        assert engine_stats(server)["pid"] == engine_pid


def test_sigterm_finishes_what_runs_and_exits_cleanly(checkpoint: Path, tmp_path: Path) -> None:
    with serve(tmp_path, settings(checkpoint)) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
            stream = iter(chat(client, stream=True, **LONG))
            next(stream)
            engine_pid = engine_stats(server)["pid"]
            server.send_signal(signal.SIGTERM)
            server.wait_for(lambda: server.get("/health/ready")[0] == 503, 3)
            chunks = list(stream)
        assert chunks[-1].choices[0].finish_reason == "length"
        assert server.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(engine_pid, 0)


def test_an_idle_server_uses_no_cpu(server: GunicornServer) -> None:
    wait_until_idle(server)
    time.sleep(1.0)
    pid = engine_stats(server)["pid"]
    before = _cpu_seconds(pid)
    time.sleep(2.0)
    assert _cpu_seconds(pid) - before <= 0.04


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_metrics_count_what_happened(server: GunicornServer, client: openai.OpenAI) -> None:
    chat(client)
    status, text = server.get("/metrics", HEADERS)
    assert status == 200
    for name in (
        'vllm:generation_tokens_total{engine="0",model_name="tiny"}',
        "vllm:time_to_first_token_seconds_bucket",
        "llm_requests_total",
        "http_requests_total",
    ):
        assert name in text
    assert server.get("/metrics")[0] == 401
