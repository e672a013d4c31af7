"""POST /v1/chat/completions: bodies and streams."""

import pytest

from tests.api.conftest import Api, MakeApi, frames


def test_an_answer_has_openais_shape(api: Api) -> None:
    result = api.chat("hello")
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/json"
    body = result.json
    assert body.pop("id").startswith("chatcmpl-")
    assert isinstance(body.pop("created"), int)
    assert body.pop("system_fingerprint").startswith("fp_")
    assert body == {
        "object": "chat.completion",
        "model": "fake",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
            }
        ],
        "usage": {
            "prompt_tokens": 6,
            "completion_tokens": 5,
            "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def test_n_answers_are_indexed_and_counted_together(api: Api) -> None:
    body = api.chat("ab", n=3).json
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in body["choices"]} == {"ab"}
    assert body["usage"]["completion_tokens"] == 6
    assert body["usage"]["prompt_tokens"] == 3


def test_a_stop_string_is_reported_as_the_stop_reason(api: Api) -> None:
    choice = api.chat("one two", stop=" ").json["choices"][0]
    assert choice["message"]["content"] == "one"
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", " ")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_token_limit_finishes_with_length(api: Api, field: str) -> None:
    choice = api.chat("hello", **{field: 2}).json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("he", "length")


def test_chats_run_to_the_context_unless_the_server_sets_a_default(make_api: MakeApi) -> None:
    api = make_api()
    api.chat("hello")
    assert api.generator.prepared[0].params.max_tokens is None
    api = make_api(server={"default_max_tokens": 7})
    api.chat("hello")
    assert api.generator.prepared[0].params.max_tokens == 7


def test_the_models_sampling_defaults_apply_where_the_request_is_silent(make_api: MakeApi) -> None:
    api = make_api(default_sampling={"temperature": 0.6, "top_k": 20})
    api.chat("hello", top_k=5)
    params = api.generator.prepared[0].params
    assert (params.temperature, params.top_k, params.top_p) == (0.6, 5, 1.0)


def test_logprobs_list_the_most_likely_tokens_best_first(api: Api) -> None:
    choice = api.chat("ab", logprobs=True, top_logprobs=2).json["choices"][0]
    assert choice["logprobs"]["content"][0] == {
        "token": "a",
        "logprob": -1.5,
        "bytes": [97],
        "top_logprobs": [
            {"token": "b", "logprob": -0.5, "bytes": [98]},
            {"token": "a", "logprob": -1.5, "bytes": [97]},
        ],
    }


def test_logprobs_without_top_logprobs_list_the_chosen_tokens_only(api: Api) -> None:
    content = api.chat("ab", logprobs=True).json["choices"][0]["logprobs"]["content"]
    assert [entry["top_logprobs"] for entry in content] == [[], []]


def test_an_impossible_token_has_a_finite_logprob(api: Api) -> None:
    choice = api.chat("a", logprobs=True, top_logprobs=3).json["choices"][0]
    assert choice["logprobs"]["content"][0]["top_logprobs"][2]["logprob"] == -9999.0


def test_tokens_can_be_named_by_their_ids(api: Api) -> None:
    choice = api.chat("a", logprobs=True, return_tokens_as_token_ids=True).json["choices"][0]
    assert choice["logprobs"]["content"][0]["token"] == "token_id:97"


def test_token_ids_are_returned_on_request(api: Api) -> None:
    body = api.chat("ab", return_token_ids=True).json
    assert body["prompt_token_ids"] == [1, 97, 98]
    assert body["choices"][0]["token_ids"] == [97, 98]


def test_prompt_logprobs_have_vllms_shape(api: Api) -> None:
    body = api.chat("a", prompt_logprobs=1).json
    assert body["prompt_logprobs"] == [
        None,
        {
            "97": {"logprob": -1.5, "rank": 2, "decoded_token": "a"},
            "98": {"logprob": -0.5, "rank": 1, "decoded_token": "b"},
        },
    ]


def test_a_stream_opens_with_the_role_and_ends_with_an_empty_delta(api: Api) -> None:
    result = api.chat("hi", stream=True)
    assert result.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "no-cache" in result.headers["cache-control"]
    assert result.headers["x-accel-buffering"] == "no"
    assert "content-length" not in result.headers
    assert "content-encoding" not in result.headers
    received = frames(result.text)
    assert {frame["object"] for frame in received} == {"chat.completion.chunk"}
    for field in ("id", "created", "model", "system_fingerprint"):
        assert len({frame[field] for frame in received}) == 1
    assert all("usage" not in frame for frame in received)
    assert [frame["choices"] for frame in received] == [
        [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
        [{"index": 0, "delta": {"content": "h"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {"content": "i"}, "logprobs": None, "finish_reason": None}],
        [
            {
                "index": 0,
                "delta": {},
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
            }
        ],
    ]


def test_a_stream_reports_usage_in_a_frame_of_its_own(api: Api) -> None:
    received = frames(api.chat("hi", stream=True, stream_options={"include_usage": True}).text)
    assert all(frame["usage"] is None for frame in received[:-1])
    assert received[-1]["choices"] == []
    assert received[-1]["usage"]["completion_tokens"] == 2
    assert received[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}


def test_a_stream_can_report_usage_on_every_frame(api: Api) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    received = frames(api.chat("hi", stream=True, stream_options=options).text)
    assert [frame["usage"]["completion_tokens"] for frame in received[1:]] == [1, 2, 2, 2]
    assert all(frame["usage"]["prompt_tokens"] == 3 for frame in received)


def test_the_choices_of_a_stream_interleave(api: Api) -> None:
    received = frames(api.chat("abc", stream=True, n=2).text)
    texts = {0: "", 1: ""}
    order = []
    for frame in received:
        (choice,) = frame["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
        order.append(choice["index"])
    assert texts == {0: "abc", 1: "abc"}
    assert order.index(1) < len(order) - 1 - order[::-1].index(0)
    assert sum(frame["choices"][0]["finish_reason"] == "stop" for frame in received) == 2


def test_a_stream_carries_the_logprobs_of_its_tokens(api: Api) -> None:
    received = frames(api.chat("ab", stream=True, logprobs=True, top_logprobs=1).text)
    tokens = [
        entry["token"]
        for frame in received
        for entry in (frame["choices"][0]["logprobs"] or {"content": []})["content"]
    ]
    assert tokens == ["a", "b"]


def test_tokens_that_are_ready_together_are_one_frame_each_in_one_write(api: Api) -> None:
    received = frames(api.chat("[batch=3]abcdef", stream=True).text)
    contents = [frame["choices"][0]["delta"].get("content") for frame in received]
    assert contents == ["", "abc", "def", None]


def test_an_empty_answer_still_has_role_and_end(api: Api) -> None:
    received = frames(api.chat("", stream=True).text)
    assert [frame["choices"][0]["finish_reason"] for frame in received] == [None, "stop"]


def test_text_is_utf8_and_line_breaks_stay_inside_a_frame(api: Api) -> None:
    text = "é\n\u2028🙂"
    received = frames(api.chat(text, stream=True).text)
    assert "".join(f["choices"][0]["delta"].get("content", "") for f in received) == text


def test_the_request_id_names_the_answer_and_the_engines_ids_stay_unique(api: Api) -> None:
    first = api.chat("a", request_id="mine").json["id"]
    second = api.chat("a", request_id="mine").json["id"]
    assert first == second == "chatcmpl-mine"
    ids = [prepared.request_id for prepared in api.generator.prepared]
    assert len(set(ids)) == 2
    assert all(one.startswith("chatcmpl-mine") for one in ids)


def test_template_options_reach_the_template(api: Api) -> None:
    api.chat(
        "a",
        chat_template_kwargs={"custom": 1},
        enable_thinking=False,
        reasoning_effort="low",
        documents=[{"text": "d"}],
    )
    assert api.generator.chat_options == {
        "add_generation_prompt": True,
        "continue_final_message": False,
        "chat_template_kwargs": {"custom": 1, "enable_thinking": False, "reasoning_effort": "low"},
        "add_special_tokens": False,
        "documents": [{"text": "d"}],
    }


def test_continuing_the_final_message_opens_no_new_turn_and_can_echo_it(api: Api) -> None:
    body = {
        "messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "so "}],
        "continue_final_message": True,
        "echo": True,
    }
    result = api.post("/v1/chat/completions", body)
    assert api.generator.chat_options["add_generation_prompt"] is False
    assert result.json["choices"][0]["message"]["content"] == "so \nso "
    received = frames(api.post("/v1/chat/completions", {**body, "stream": True}).text)
    assert received[1]["choices"][0]["delta"] == {"content": "so "}
