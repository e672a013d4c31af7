"""Penalties, biases and bans as arrays, against what they say one token at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lite.engine.logit_edits import BannedTokens, Penalties
from lite.messages import SamplingSpec

tokens = st.integers(0, 30)
token_lists = st.lists(tokens, max_size=40)


def int32(token_ids: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    return np.array(token_ids, np.int32)


@given(
    st.lists(tokens, min_size=1, max_size=40),
    token_lists,
    st.dictionaries(tokens, st.sampled_from([-100.0, 0.5, 3.0])),
    st.sampled_from([1.0, 1.5]),
    st.sampled_from([0.0, 0.5]),
)
def test_each_token_has_one_place_with_its_count_and_bias(
    prompt: list[int], output: list[int], bias: dict[int, float], repetition: float, presence: float
) -> None:
    spec = SamplingSpec(logit_bias=bias, repetition_penalty=repetition, presence_penalty=presence)
    penalties = Penalties(spec, int32(prompt))
    for token_id in output:
        penalties.append(token_id)
    ids, counts, in_prompt, biases = penalties.arrays()
    assert len(set(ids.tolist())) == ids.size
    counted = output if repetition != 1.0 or presence else []
    scanned = prompt if repetition != 1.0 else []
    assert set(ids.tolist()) == {*counted, *scanned, *bias}
    for token_id, count, seen, added in zip(ids.tolist(), counts, in_prompt, biases, strict=True):
        assert count == counted.count(token_id)
        assert seen == (token_id in scanned)
        assert added == bias.get(token_id, 0.0)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), max_size=8),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=4),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(0, 3),
)
def test_what_would_complete_a_bad_word_or_stop_too_early_is_banned(
    prompt: list[int],
    output: list[int],
    words: list[list[int]],
    stop_token_ids: list[int],
    min_tokens: int,
) -> None:
    spec = SamplingSpec(
        bad_words_token_ids=words, stop_token_ids=stop_token_ids, min_tokens=min_tokens
    )
    banned = BannedTokens(spec, int32(prompt))
    for i in range(len(output) + 1):
        text = prompt + output[:i]
        expected = {word[-1] for word in words if text[len(text) - len(word) + 1 :] == word[:-1]}
        if i < min_tokens:
            expected |= {*stop_token_ids}
        assert banned.ids().tolist() == sorted(expected)
        if i < len(output):
            banned.append(output[i])


@pytest.mark.parametrize("word", [[5] * 1_000, [1, 2, 3]])
def test_a_word_longer_than_the_text_bans_nothing_yet(word: list[int]) -> None:
    banned = BannedTokens(SamplingSpec(bad_words_token_ids=[word]), int32(word[-2:-1]))
    assert banned.ids().size == 0
