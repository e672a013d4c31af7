"""POST /v1/completions: bodies and streams."""

import time

import pytest

from tests.api.conftest import Api, frames


def test_a_completion_has_openais_shape(api: Api) -> None:
    body = api.complete("hello").json
    assert body.pop("id").startswith("cmpl-")
    assert isinstance(body.pop("created"), int)
    assert body.pop("system_fingerprint").startswith("fp_")
    assert body == {
        "object": "text_completion",
        "model": "fake",
        "choices": [
            {
                "index": 0,
                "text": "hello",
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


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("ab", ["ab"]),
        (["ab", "cd"], ["ab", "cd"]),
        ([97, 98], ["ab"]),
        ([[97], [98, 99]], ["a", "bc"]),
        (["ab", [99]], ["ab", "c"]),
    ],
)
def test_a_prompt_is_text_or_token_ids_or_a_list_of_either(
    api: Api, prompt: object, texts: list[str]
) -> None:
    choices = api.complete(prompt).json["choices"]
    assert [choice["text"] for choice in choices] == texts
    assert [choice["index"] for choice in choices] == list(range(len(texts)))


def test_many_prompts_are_all_answered(api: Api) -> None:
    prompts = [f"[delay=0.002]p{i}" for i in range(100)]
    body = api.complete(prompts, n=2).json
    assert [choice["text"] for choice in body["choices"]] == [
        f"p{i}" for i in range(100) for _ in range(2)
    ]
    assert body["usage"]["completion_tokens"] == 2 * sum(len(f"p{i}") for i in range(100))


def test_the_default_is_sixteen_tokens(api: Api) -> None:
    choice = api.complete("x" * 20).json["choices"][0]
    assert (len(choice["text"]), choice["finish_reason"]) == (16, "length")


def test_special_tokens_are_added_unless_refused(api: Api) -> None:
    assert api.complete("a").json["usage"]["prompt_tokens"] == 2
    assert api.complete("a", add_special_tokens=False).json["usage"]["prompt_tokens"] == 1


def test_logprobs_have_the_older_shape(api: Api) -> None:
    logprobs = api.complete("ab", logprobs=1).json["choices"][0]["logprobs"]
    assert logprobs == {
        "tokens": ["a", "b"],
        "token_logprobs": [-1.5, -1.5],
        "top_logprobs": [{"b": -0.5, "a": -1.5}, {"c": -0.5, "b": -1.5}],
        "text_offset": [0, 1],
    }


def test_echo_puts_the_prompt_before_the_text(api: Api) -> None:
    assert api.complete("ab", echo=True).json["choices"][0]["text"] == "abab"
    assert api.complete([1, 97], echo=True).json["choices"][0]["text"] == "<s>aa"


def test_echo_with_logprobs_scores_the_prompt(api: Api) -> None:
    logprobs = api.complete("ab", echo=True, logprobs=0).json["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["<s>", "a", "b", "a", "b"]
    assert logprobs["token_logprobs"] == [None, -1.5, -1.5, -1.5, -1.5]
    assert logprobs["top_logprobs"][:2] == [None, {"a": -1.5}]
    assert logprobs["text_offset"] == [0, 3, 4, 5, 6]


@pytest.mark.parametrize("stream", [False, True])
def test_echo_without_output_only_scores(api: Api, stream: bool) -> None:
    result = api.complete("ab", echo=True, logprobs=1, max_tokens=0, stream=stream)
    (choice,) = (frames(result.text)[0] if stream else result.json)["choices"]
    assert choice["text"] == "ab"
    assert choice["logprobs"]["tokens"] == ["<s>", "a", "b"]
    assert choice["finish_reason"] == "length"
    if not stream:
        assert result.json["usage"]["completion_tokens"] == 0


def test_prompt_logprobs_belong_to_the_choice(api: Api) -> None:
    choice = api.complete("a", prompt_logprobs=0).json["choices"][0]
    assert choice["prompt_logprobs"] == [
        None,
        {"97": {"logprob": -1.5, "rank": 2, "decoded_token": "a"}},
    ]


def test_token_ids_are_returned_on_request(api: Api) -> None:
    choice = api.complete("ab", return_token_ids=True).json["choices"][0]
    assert (choice["prompt_token_ids"], choice["token_ids"]) == ([1, 97, 98], [97, 98])
    first, second = frames(api.complete("ab", return_token_ids=True, stream=True).text)
    assert first["choices"][0]["prompt_token_ids"] == [1, 97, 98]
    assert "prompt_token_ids" not in second["choices"][0]
    assert second["choices"][0]["token_ids"] == [98]


def test_a_stream_of_several_prompts_carries_every_choice_to_its_end(api: Api) -> None:
    options = {"include_usage": True}
    result = api.complete(["abc", "de"], n=2, stream=True, stream_options=options)
    received = frames(result.text)
    texts = dict.fromkeys(range(4), "")
    reasons = {}
    for frame in received[:-1]:
        assert frame["object"] == "text_completion"
        assert frame["usage"] is None
        (choice,) = frame["choices"]
        texts[choice["index"]] += choice["text"]
        if choice["finish_reason"]:
            reasons[choice["index"]] = choice["finish_reason"]
    assert texts == {0: "abc", 1: "abc", 2: "de", 3: "de"}
    assert reasons == dict.fromkeys(range(4), "stop")
    assert received[-1]["usage"]["completion_tokens"] == 10


def test_a_stream_with_echo_begins_with_the_prompt_for_every_choice(api: Api) -> None:
    received = frames(api.complete("ab", echo=True, logprobs=0, n=2, stream=True).text)
    texts = {0: "", 1: ""}
    tokens: dict[int, list[str]] = {0: [], 1: []}
    offsets: dict[int, list[int]] = {0: [], 1: []}
    for frame in received:
        (choice,) = frame["choices"]
        texts[choice["index"]] += choice["text"]
        tokens[choice["index"]] += choice["logprobs"]["tokens"]
        offsets[choice["index"]] += choice["logprobs"]["text_offset"]
    assert texts == {0: "abab", 1: "abab"}
    assert tokens[1] == ["<s>", "a", "b", "a", "b"]
    assert offsets[1] == [0, 3, 4, 5, 6]


def test_a_long_prompt_is_cut_on_request(api: Api) -> None:
    api.complete("abcdef", truncate_prompt_tokens=2)
    api.complete("abcdef", truncate_prompt_tokens=2, truncation_side="right")
    api.complete("a" * 5000, truncate_prompt_tokens=-1, max_tokens=96)
    cut = [prepared.prompt_token_ids for prepared in api.generator.prepared]
    assert cut[:2] == [[101, 102], [1, 97]]
    assert len(cut[2]) == 4000


def test_one_failing_prompt_ends_the_request_and_aborts_the_others(api: Api) -> None:
    result = api.complete(["[delay=0.3]abcdef", "[full]x"])
    assert result.status_code == 503
    deadline = time.monotonic() + 5.0
    while api.engine.running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(api.engine.aborted) == 1
