"""SamplingParams: what is refused, and what None means."""

import math
from typing import Any

import pytest

from lite import InvalidRequestError, SamplingParams


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"n": 0}, "n", "[1, 128]"),
        ({"n": True}, "n", "integer"),
        ({"temperature": -0.1}, "temperature", "[0.0, 100.0]"),
        ({"temperature": math.nan}, "temperature", "nan"),
        ({"temperature": "hot"}, "temperature", "'hot'"),
        ({"top_p": 0.0}, "top_p", "(0.0, 1.0]"),
        ({"top_k": -2}, "top_k", ">= 0"),
        ({"min_p": 1.5}, "min_p", "[0.0, 1.0]"),
        ({"repetition_penalty": 0}, "repetition_penalty", "(0.0"),
        ({"presence_penalty": 3}, "presence_penalty", "2.0"),
        ({"frequency_penalty": math.inf}, "frequency_penalty", "inf"),
        ({"seed": 2**63}, "seed", f"[{-(2**63)}, {2**63 - 1}]"),
        ({"max_tokens": 0}, "max_tokens", ">= 1"),
        ({"min_tokens": 20}, "min_tokens", "max_tokens (16)"),
        ({"logprobs": 21}, "logprobs", "[0, 20]"),
        ({"stop": ["a", ""]}, "stop[1]", "non-empty"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]", "token id"),
        ({"allowed_token_ids": []}, "allowed_token_ids", "non-empty"),
        ({"logit_bias": {3: 101}}, "logit_bias[3]", "[-100, 100]"),
        ({"bad_words": [1]}, "bad_words[0]", "string"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_limit(
    fields: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SamplingParams(**fields)
    assert caught.value.param == param
    assert words in str(caught.value)


def test_none_means_the_default_where_it_has_no_meaning_of_its_own() -> None:
    params = SamplingParams.from_optional(temperature=None, max_tokens=None, seed=None, top_k=-1)
    assert params.temperature == 1.0
    assert params.max_tokens is None
    assert params.top_k == 0


def test_a_single_stop_string_and_a_clone_are_validated_alike() -> None:
    params = SamplingParams(stop="end")
    assert params.stop == ("end",)
    assert params.clone(temperature=0.0).greedy
    with pytest.raises(InvalidRequestError):
        params.clone(top_p=2.0)
