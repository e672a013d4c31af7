"""The smaller routes, and what every response carries."""

import logging
from typing import Any

import pytest
import structlog

from tests.api.conftest import Api, MakeApi


def test_the_models_list_names_the_served_model(api: Api) -> None:
    body = api.get("/v1/models").json
    assert body["object"] == "list"
    (model,) = body["data"]
    assert (model["id"], model["object"], model["max_model_len"]) == ("fake", "model", 4096)
    assert api.get("/v1/models/fake").json == model
    assert api.get("/v1/models/").status_code == 200


def test_tokenize_counts_a_prompt(api: Api) -> None:
    assert api.post("/tokenize", {"prompt": "ab"}).json == {
        "count": 3,
        "max_model_len": 4096,
        "tokens": [1, 97, 98],
        "token_strs": None,
    }
    body = {"prompt": "ab", "add_special_tokens": False, "return_token_strs": True}
    assert api.post("/tokenize", body).json["token_strs"] == ["a", "b"]


def test_tokenize_templates_a_chat(api: Api) -> None:
    messages = [{"role": "user", "content": "ab"}]
    assert api.post("/tokenize", {"messages": messages}).json["tokens"] == [1, 97, 98]
    assert api.generator.chat_options["add_generation_prompt"] is True


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": "a", "messages": []}, "messages"),
        ({"messages": [{"role": "x"}]}, "messages[0].role"),
    ],
)
def test_tokenize_names_a_bad_field(api: Api, body: dict[str, Any], param: str) -> None:
    result = api.post("/tokenize", body)
    assert (result.status_code, result.json["error"]["param"]) == (400, param)


def test_detokenize_gives_the_text_back(api: Api) -> None:
    assert api.post("/detokenize", {"tokens": [1, 97, 98]}).json == {"prompt": "<s>ab"}
    assert api.post("/detokenize", {"tokens": ["a"]}).json["error"]["param"] == "tokens[0]"


def test_the_probes_follow_the_engine_and_the_drain(api: Api) -> None:
    def probes() -> list[int]:
        paths = ("/health/live", "/health", "/ping", "/health/ready")
        return [api.get(path).status_code for path in paths]

    assert probes() == [200, 200, 200, 200]
    api.engine.state = "loading"
    assert probes() == [200, 503, 503, 503]
    api.engine.dead = True
    assert probes() == [200, 503, 503, 503]
    assert api.get("/health").json == {"status": "dead"}
    api.engine.dead, api.engine.state = False, "ready"
    api.engine.last_step_age_s = 121.0
    assert probes() == [200, 503, 503, 503]
    assert api.get("/health").json == {"status": "stuck"}
    api.engine.last_step_age_s = 0.0
    api.services.lifecycle.begin_drain()
    assert probes() == [200, 200, 200, 503]
    assert api.get("/health/ready").json == {"status": "draining"}


def test_probes_answer_head_requests(api: Api) -> None:
    assert api.client.simulate_head("/health").status_code == 200


def test_details_show_engine_and_worker(api: Api) -> None:
    body = api.get("/health/details").json
    assert body["engine"]["state"] == "ready"
    assert body["worker"]["max_running"] == 64


def test_metrics_are_the_engines_text(api: Api) -> None:
    result = api.get("/metrics")
    assert result.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "fake_total 1" in result.text


def test_the_version_is_told(api: Api) -> None:
    assert api.get("/version").json["version"]


@pytest.mark.parametrize("given", ["abc-123", "x" * 128])
def test_a_request_id_comes_back(api: Api, given: str) -> None:
    for result in (
        api.get("/version", headers={"X-Request-Id": given}),
        api.get("/nothing", headers={"X-Request-Id": given}),
    ):
        assert result.headers["x-request-id"] == given


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_thread_logs_after_a_request_does_not_carry_its_id(api: Api, stream: bool) -> None:
    assert api.chat("a", stream=stream).status_code == 200
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é"])
def test_a_bad_request_id_is_replaced(api: Api, given: str) -> None:
    made = api.get("/version", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert made != given
    assert len(made) == 32


def test_each_request_is_observed_under_its_routes_template(api: Api) -> None:
    api.get("/v1/models/fake")
    api.get("/nothing/at/all")
    api.open("/v1/models", method="BREW")
    api.chat("hello")
    api.chat("hello", stream=True)
    seen = [(one.method, one.handler, one.status) for one in api.engine.observations]
    assert seen == [
        ("GET", "/v1/models/{model_id:path}", 200),
        ("GET", "none", 404),
        ("OTHER", "/v1/models", 400),
        ("POST", "/v1/chat/completions", 200),
        ("POST", "/v1/chat/completions", 200),
    ]
    for one in api.engine.observations[3:]:
        assert min(one.request_bytes, one.response_bytes, one.duration_s) > 0


def test_a_method_that_is_none_is_refused(api: Api) -> None:
    body = b"".join(api.open("/v1/models", method="WEBSOCKET"))
    assert b'"invalid_request_error"' in body


@pytest.fixture
def lines() -> Any:
    found: list[tuple[str, dict[str, Any]]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((record.getMessage(), getattr(record, "fields", {})))

    logger, handler = logging.getLogger("server"), Collect()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.mark.parametrize("stream", [False, True])
def test_one_line_sums_a_request_up_without_its_text(api: Api, lines: Any, stream: bool) -> None:
    api.client.simulate_post(
        "/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "sesame"}], "stream": stream},
        headers={"X-Request-Id": "mine"},
    )
    ((event, fields),) = lines
    assert event == "request finished"
    assert "sesame" not in str(fields)
    expected = {
        "request_id": "mine",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "key": "anonymous",
        "stream": stream,
        "num_prompt_tokens": 7,
        "num_output_tokens": 6,
        "num_cached_tokens": 3,
        "finish_reason": "stop",
        "queue_s": 0.001,
    }
    assert {name: fields.get(name) for name in expected} == expected
    assert 0.0 <= fields["ttft_s"] <= fields["duration_s"]


def test_probes_that_succeed_are_not_logged(api: Api, lines: Any) -> None:
    api.get("/health")
    assert not lines


def test_prompts_are_logged_only_when_asked_for(make_api: MakeApi, lines: Any) -> None:
    api = make_api(log={"prompts": True})
    api.chat("sesame", stream=True)
    ((_, fields),) = lines
    assert fields["prompt"] == [{"role": "user", "content": "sesame"}]
    assert "".join(fields["output"]) == "sesame"
