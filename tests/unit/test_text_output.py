"""OutputText: detokenizer and stop strings together, over token ids."""

import pytest

from lite.errors import InvalidRequestError
from lite.sampling_params import SamplingParams
from lite.text.output_text import OutputText
from lite.text.stop_strings import StopStrings
from tests.text_tokenizers import tokenizer

CODEC = tokenizer("byte-level")


def letters(text: str) -> list[int]:
    """Return one token for each ASCII character."""
    return [CODEC.encode(char)[0] for char in text]


def output(**params: object) -> OutputText:
    return OutputText(CODEC, SamplingParams.from_optional(max_tokens=None, **params))


def test_text_and_tokens_end_with_the_stop_string() -> None:
    text = output(stop=["two"])
    assert text.push(letters("one t")) == ("one ", None)
    assert text.push(letters("wo three")) == ("", "two")
    assert text.num_tokens == len("one two")
    assert text.push(letters("more")) == ("", "two")
    assert text.finish() == ""
    assert (text.text, text.stop_string, text.num_tokens) == ("one ", "two", 7)


def test_the_stop_string_stays_if_asked() -> None:
    text = output(stop=["two"], include_stop_str_in_output=True)
    assert text.push(letters("one two three")) == ("one two", "two")


def test_held_text_comes_at_the_end() -> None:
    text = output(stop=["stop"])
    assert text.push(letters("don't sto")) == ("don't ", None)
    assert text.finish() == "sto"
    assert text.text == "don't sto"


def test_stop_strings_before_min_tokens_do_not_count() -> None:
    text = output(stop=["ab"], min_tokens=2)
    assert text.push(letters("abab")) == ("ab", "ab")
    assert text.num_tokens == 4
    text = output(stop=["ab"], min_tokens=3)
    assert text.push(letters("xxab")) == ("xx", "ab")
    text = output(stop=["ab"], min_tokens=4)
    assert text.push(letters("xxab")) == ("xxab", None)


def test_a_stop_tokens_text_is_left_out_unless_asked() -> None:
    for include, expected in ((False, "hi"), (True, "hi!")):
        text = output(include_stop_str_in_output=include)
        assert text.push(letters("hi!"), ends_with_stop_token=True) == (expected, None)
        assert text.num_tokens == 3
    end = CODEC.encode("<|im_end|>")
    text = output(include_stop_str_in_output=True)
    assert text.push(letters("hi") + end, ends_with_stop_token=True) == ("hi", None)
    text = output(include_stop_str_in_output=True, skip_special_tokens=False)
    assert text.push(letters("hi") + end, ends_with_stop_token=True) == ("hi<|im_end|>", None)


def test_offsets_say_how_much_text_was_final_before_each_token() -> None:
    text = output()
    parrot = CODEC.encode("🦜")
    text.push(letters("ab") + parrot + letters("c"))
    assert text.text_offsets == [0, 1] + [2] * len(parrot) + [3]


def test_an_unfinished_character_may_complete_a_stop_string() -> None:
    text = output(stop=["\ufffd"])
    assert text.push(letters("a") + CODEC.encode("🦜")[:-1]) == ("a", None)
    assert text.finish() == ""
    assert text.stop_string == "\ufffd"


def test_without_detokenizing_there_is_no_text_and_no_stop_string() -> None:
    text = output(detokenize=False)
    assert text.push(letters("abc")) == ("", None)
    assert text.finish() == ""
    assert text.num_tokens == 3
    with pytest.raises(InvalidRequestError, match="detokenize") as caught:
        output(detokenize=False, stop=["x"])
    assert caught.value.param == "stop"


def test_outputs_of_a_request_share_their_stop_strings() -> None:
    params = SamplingParams(stop=["b"], n=2)
    shared = StopStrings(params.stop)
    first, second = (OutputText(CODEC, params, stop_strings=shared) for _ in range(2))
    assert first.push(letters("ab")) == ("a", "b")
    assert second.push(letters("aa")) == ("aa", None)


def test_a_completion_keeps_the_space_between_prompt_and_text() -> None:
    llama2 = tokenizer("llama2")
    ids = llama2.encode("dog", add_special_tokens=False)
    answer, completion = (
        OutputText(llama2, SamplingParams(), continues_text=continues)
        for continues in (False, True)
    )
    assert answer.push(ids)[0] + answer.finish() == "dog"
    assert completion.push(ids)[0] + completion.finish() == " dog"
