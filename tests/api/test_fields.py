"""Every known request field: used, refused by name, or harmless."""

from typing import Any

import pytest

from tests.api.conftest import Api

USED = {
    "n": (3, {"n": 3}),
    "temperature": (0.5, {"temperature": 0.5}),
    "top_p": (0.5, {"top_p": 0.5}),
    "top_k": (-1, {"top_k": 0}),
    "min_p": (0.1, {"min_p": 0.1}),
    "repetition_penalty": (1.1, {"repetition_penalty": 1.1}),
    "presence_penalty": (1, {"presence_penalty": 1.0}),
    "frequency_penalty": (-1, {"frequency_penalty": -1.0}),
    "logit_bias": ({"7": 5}, {"logit_bias": {7: 5.0}}),
    "seed": (9, {"seed": 9}),
    "stop": ("z", {"stop": ("z",)}),
    "stop_sequences": (["z"], {"stop": ("z",)}),
    "stop_token_ids": ([4], {"stop_token_ids": (4,)}),
    "include_stop_str_in_output": (True, {"include_stop_str_in_output": True}),
    "ignore_eos": (True, {"ignore_eos": True}),
    "max_tokens": (3, {"max_tokens": 3}),
    "min_tokens": (3, {"min_tokens": 3}),
    "prompt_logprobs": (2, {"prompt_logprobs": 2}),
    "bad_words": (["w"], {"bad_words": ("w",)}),
    "allowed_token_ids": ([1, 2], {"allowed_token_ids": [1, 2]}),
    "skip_special_tokens": (False, {"skip_special_tokens": False}),
}
ROUTES = ("chat", "complete")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", USED)
def test_a_used_field_reaches_the_sampling_parameters(api: Api, route: str, name: str) -> None:
    value, expected = USED[name]
    result = getattr(api, route)("hi", **{name: value})
    assert result.status_code == 200, result.text
    params = api.generator.prepared[0].params
    assert {field: getattr(params, field) for field in expected} == expected


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", USED)
def test_null_is_the_same_as_leaving_a_field_out(api: Api, route: str, name: str) -> None:
    getattr(api, route)("hi", **{name: None})
    getattr(api, route)("hi")
    with_null, without = (prepared.params for prepared in api.generator.prepared)
    assert with_null == without


UNSUPPORTED: dict[str, Any] = {
    "best_of": 2,
    "use_beam_search": True,
    "length_penalty": 0.5,
    "priority": 1,
    "logprob_token_ids": [1],
    "structured_outputs": {"json": {}},
    "guided_json": {"type": "object"},
    "guided_regex": "a+",
    "guided_choice": ["a"],
    "guided_grammar": "root",
    "grammar": "root",
    "json_schema": {"type": "object"},
    "constraint": "x",
    "constraint_type": "regex",
    "repetition_detection": {"a": 1},
    "thinking_token_budget": 10,
    "kv_transfer_params": {"a": 1},
    "extra_body": {"a": 1},
    "cache_prompt": False,
    "n_predict": 10,
    "n_probs": 2,
    "timings_per_token": True,
    "return_progress": True,
    "response_format": {"type": "json_object"},
}
UNSUPPORTED_CHAT = {
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "include_reasoning": False,
    "chat_template": "{{ messages }}",
    "modalities": ["audio"],
    "audio": {"voice": "x"},
    "web_search_options": {},
}
UNSUPPORTED_COMPLETION = {"suffix": "end", "prompt_embeds": "x"}


@pytest.mark.parametrize(
    ("route", "name", "value"),
    [
        *((route, *item) for route in ROUTES for item in UNSUPPORTED.items()),
        *(("chat", *item) for item in UNSUPPORTED_CHAT.items()),
        *(("complete", *item) for item in UNSUPPORTED_COMPLETION.items()),
    ],
)
def test_a_known_field_that_is_not_implemented_is_refused_by_name(
    api: Api, route: str, name: str, value: Any
) -> None:
    result = getattr(api, route)("hi", **{name: value})
    assert result.status_code == 400
    error = result.json["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", name)
    assert name in error["message"]
    assert not api.generator.prepared


NO_OP: dict[str, Any] = {
    "best_of": 1,
    "use_beam_search": False,
    "length_penalty": 1.0,
    "priority": 0,
    "structured_outputs": None,
    "guided_json": None,
    "thinking_token_budget": -1,
    "cache_prompt": True,
    "response_format": {"type": "text"},
    "extra_body": {},
    "user": "someone",
    "store": True,
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "session_id": "s",
    "prompt_cache_key": "k",
    "safety_identifier": "i",
    "spaces_between_special_tokens": False,
    "never_heard_of": {"x": [1]},
}
NO_OP_CHAT = {
    "tools": [],
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "functions": [],
    "include_reasoning": True,
    "modalities": ["text"],
}


@pytest.mark.parametrize(
    ("route", "name", "value"),
    [
        *((route, *item) for route in ROUTES for item in NO_OP.items()),
        *(("chat", *item) for item in NO_OP_CHAT.items()),
        ("complete", "suffix", ""),
    ],
)
def test_a_value_that_asks_for_nothing_passes(api: Api, route: str, name: str, value: Any) -> None:
    assert getattr(api, route)("hi", **{name: value}).status_code == 200
    getattr(api, route)("hi")
    with_field, without = (prepared.params for prepared in api.generator.prepared)
    assert with_field == without


def test_best_of_equal_to_n_passes(api: Api) -> None:
    assert api.complete("hi", n=2, best_of=2).status_code == 200
    assert api.complete("hi", n=2, best_of=3).status_code == 400


def test_completions_count_logprobs_where_chats_switch_them(api: Api) -> None:
    api.complete("hi", logprobs=3)
    api.chat("hi", logprobs=True, top_logprobs=4)
    api.chat("hi", logprobs=False)
    assert [one.params.logprobs for one in api.generator.prepared] == [3, 4, None]
