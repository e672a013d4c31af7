"""Every row of the error table, and what errors never say."""

from typing import Any

import falcon.testing
import pytest

from tests.api.conftest import Api, MakeApi

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def error_of(result: falcon.testing.Result) -> dict[str, Any]:
    """Return the error object, checking its shape."""
    assert result.headers["content-type"] == "application/json"
    assert set(result.json) == {"error"}
    error: dict[str, Any] = result.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    return error


def raw(api: Api, body: bytes, **headers: str) -> falcon.testing.Result:
    """Post bytes to the chat route."""
    sent = {"Content-Type": "application/json"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    return api.client.simulate_post("/v1/chat/completions", body=body, headers=sent)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"[" * 100_000, b'{"a":1e999}'],
)
def test_malformed_json_is_a_parse_error(api: Api, body: bytes) -> None:
    result = raw(api, body)
    error = error_of(result)
    assert result.status_code == 400
    assert (error["type"], error["code"], error["param"]) == (
        "invalid_request_error",
        "json_parse_error",
        None,
    )


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
def test_a_body_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    result = raw(api, body)
    assert (result.status_code, error_of(result)["code"]) == (400, "invalid_value")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": None}, "messages", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "bob", "content": ""}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_value"),
        ({"messages": [{"role": "user", "content": [1]}]}, "messages[0].content", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 129}, "n", "invalid_value"),
        ({"n": "2"}, "n", "invalid_value"),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"temperature": True}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"top_p": 1.5}, "top_p", "invalid_value"),
        ({"top_k": -2}, "top_k", "invalid_value"),
        ({"min_p": 2}, "min_p", "invalid_value"),
        ({"presence_penalty": 3}, "presence_penalty", "invalid_value"),
        ({"frequency_penalty": -3}, "frequency_penalty", "invalid_value"),
        ({"repetition_penalty": 0}, "repetition_penalty", "invalid_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"5": 101}}, "logit_bias[5]", "invalid_value"),
        ({"seed": 2**64}, "seed", "invalid_value"),
        ({"seed": 1.5}, "seed", "invalid_value"),
        ({"stop": 1}, "stop", "invalid_value"),
        ({"stop": ["a", ""]}, "stop[1]", "invalid_value"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "invalid_value"),
        ({"max_tokens": 2, "min_tokens": 3}, "min_tokens", "invalid_value"),
        ({"logprobs": 3}, "logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"stream": True, "stream_options": 1}, "stream_options", "invalid_value"),
        ({"stream": True, "prompt_logprobs": 1}, "prompt_logprobs", "invalid_value"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "invalid_value"),
        ({"truncation_side": "up"}, "truncation_side", "invalid_value"),
        ({"cache_salt": ""}, "cache_salt", "invalid_value"),
        ({"request_id": "a b"}, "request_id", "invalid_value"),
        ({"bad_words": [1]}, "bad_words[0]", "invalid_value"),
        ({"allowed_token_ids": []}, "allowed_token_ids", "invalid_value"),
        (
            {"continue_final_message": True, "add_generation_prompt": True},
            "continue_final_message",
            "invalid_value",
        ),
    ],
)
def test_a_bad_field_is_named(api: Api, fields: dict[str, Any], param: str, code: str) -> None:
    result = api.post("/v1/chat/completions", {**CHAT, **fields})
    error = error_of(result)
    assert result.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert (error["param"], error["code"]) == (param, code)
    assert param.split("[", maxsplit=1)[0] in error["message"]


def test_a_missing_field_is_named(api: Api) -> None:
    error = error_of(api.post("/v1/chat/completions", {"model": "fake"}))
    assert (error["param"], error["code"]) == ("messages", "missing_required_parameter")
    error = error_of(api.post("/v1/completions", {"model": "fake"}))
    assert (error["param"], error["code"]) == ("prompt", "missing_required_parameter")


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        ([], "prompt"),
        (3, "prompt"),
        (None, "prompt"),
        ([[]], "prompt[0]"),
        (["a", 1], "prompt[1]"),
        ([1, "a"], "prompt[1]"),
        ([1, -1], "prompt[1]"),
        ([[1], [True]], "prompt[1][0]"),
        (["x"] * 1025, "prompt"),
    ],
)
def test_a_bad_prompt_is_named(api: Api, prompt: Any, param: str) -> None:
    result = api.complete(prompt)
    assert (result.status_code, error_of(result)["param"]) == (400, param)


@pytest.mark.parametrize(("route", "param"), [("chat", "messages"), ("complete", "prompt")])
def test_a_prompt_beyond_the_context_names_prompt_and_limit(
    api: Api, route: str, param: str
) -> None:
    result = getattr(api, route)("x" * 5000)
    error = error_of(result)
    assert result.status_code == 400
    assert (error["code"], error["param"]) == ("context_length_exceeded", param)


def test_an_unknown_model_is_404(api: Api) -> None:
    result = api.chat("hi", model="other")
    error = error_of(result)
    assert result.status_code == 404
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert api.chat("hi", model="fake").status_code == 200
    assert api.get("/v1/models/other").status_code == 404


def test_an_unknown_route_is_404(api: Api) -> None:
    result = api.get("/v1/nothing")
    assert (result.status_code, error_of(result)["code"]) == (404, "not_found")


def test_a_wrong_method_is_405_and_says_which_are_right(api: Api) -> None:
    result = api.get("/v1/chat/completions")
    assert (result.status_code, error_of(result)["code"]) == (405, "method_not_allowed")
    assert "POST" in result.headers["allow"]


def test_a_large_body_is_413_by_its_length_and_by_its_bytes(make_api: MakeApi) -> None:
    api = make_api(server={"max_body_bytes": 1000})
    result = raw(api, b'{"a":"' + b"x" * 1000 + b'"}')
    assert (result.status_code, error_of(result)["code"]) == (413, "payload_too_large")
    assert "1000" in error_of(result)["message"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.api+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
def test_only_json_is_read(api: Api, content_type: str, status: int) -> None:
    body = b'{"messages":[{"role":"user","content":"hi"}]}'
    result = raw(api, body, Content_Type=content_type)
    assert result.status_code == status
    if status == 415:
        assert error_of(result)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        ("full", (503, "engine_overloaded", "1")),
        ("loading", (503, "model_loading", "5")),
        ("queue", (503, "queue_timeout", "1")),
        ("die=0", (503, "engine_dead", "5")),
        ("bug", (500, "internal_error", None)),
    ],
)
def test_a_refusal_by_the_engine_is_an_http_status_even_for_a_stream(
    api: Api, directive: str, expected: tuple[int, str, str | None], *, stream: bool
) -> None:
    result = api.chat(f"[{directive}]x", stream=stream)
    error = error_of(result)
    assert (result.status_code, error["code"], result.headers.get("retry-after")) == expected
    assert (error["type"], error["param"]) == ("server_error", None)


def test_a_bug_says_nothing_of_itself_and_is_not_retried(api: Api) -> None:
    result = api.chat("[bug]x")
    assert "secret" not in result.text
    assert "Traceback" not in result.text
    assert result.headers["x-should-retry"] == "false"


def test_waiting_for_the_engine_says_how_long_in_milliseconds_too(api: Api) -> None:
    assert api.chat("[full]x").headers["retry-after-ms"] == "400"


def test_a_dead_engine_is_503_on_every_route_that_needs_it(api: Api) -> None:
    api.engine.dead = True
    for result in (
        api.chat("x"),
        api.complete("x"),
        api.get("/metrics"),
        api.get("/health/details"),
    ):
        assert (result.status_code, error_of(result)["code"]) == (503, "engine_dead")


def test_a_full_worker_refuses_at_once(make_api: MakeApi) -> None:
    api = make_api(server={"threads": 1})
    api.services.lifecycle.enter()
    result = api.chat("x")
    assert (result.status_code, error_of(result)["code"]) == (503, "engine_overloaded")
    assert result.headers["retry-after"] == "1"
    assert api.get("/v1/models").status_code == 200
    api.services.lifecycle.leave()
    assert api.chat("x").status_code == 200


def test_a_draining_worker_refuses_new_work_only(api: Api) -> None:
    api.services.lifecycle.begin_drain()
    result = api.chat("x")
    assert (result.status_code, error_of(result)["code"]) == (503, "shutting_down")
    assert "retry-after" in result.headers
    assert api.get("/v1/models").status_code == 200
