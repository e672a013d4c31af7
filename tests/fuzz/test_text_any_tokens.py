"""Property: the joined deltas equal the full decode, for any token ids and every decoder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lite.sampling_params import SamplingParams
from lite.text.output_text import OutputText
from lite.text.tokenizer import JsonTokenizer
from tests.text_tokenizers import BACKENDS, tokenizer

NAMES = sorted(BACKENDS)
# Zero-width joiners, combining marks, right-to-left marks, flags, and astral characters.
AWKWARD = "\u200d\u0301\u0308\u200f\u202e\ufe0f\ufffd\u2581🇩👩🏽👨‍👩‍👧שa \n\t\x00é日"
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(AWKWARD))


def streamed(codec: JsonTokenizer, ids: list[int], *, skip: bool) -> str:
    stream = codec.detokenizer(skip_special_tokens=skip)
    return "".join(map(stream.push, ids)) + stream.finish()


@st.composite
def id_sequences(draw: st.DrawFn, codec: JsonTokenizer) -> list[int]:
    """Random ids, byte tokens, spaces, added tokens and encodings of text, in any order."""
    size = codec.vocab_size
    spaces = [i for i in range(size) if codec.token_bytes(i).strip(b" ") == b""]
    some = st.lists(
        st.one_of(
            st.integers(-1, size + 2),
            st.integers(0, min(size, 300) - 1),
            st.sampled_from(sorted(codec.added_token_ids) or [0]),
            st.sampled_from(spaces or [0]),
        ),
        max_size=12,
    )
    encoded = texts.map(lambda text: codec.encode(text, add_special_tokens=False))
    parts = draw(st.lists(st.one_of(some, encoded), max_size=4))
    return [token_id for part in parts for token_id in part]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=300, deadline=None)
@given(data=st.data(), skip=st.booleans())
def test_joined_deltas_equal_the_full_decode(name: str, data: st.DataObject, skip: bool) -> None:
    codec = tokenizer(name)
    ids = data.draw(id_sequences(codec))
    assert streamed(codec, ids, skip=skip) == codec.decode(ids, skip)


@pytest.mark.parametrize("name", ["byte-level", "llama2", "metaspace-fallback"])
@settings(max_examples=300, deadline=None)
@given(data=st.lists(st.binary(min_size=1, max_size=5) | texts.map(str.encode), max_size=5))
def test_lone_bytes_are_decoded_as_a_whole(name: str, data: list[bytes]) -> None:
    codec = tokenizer(name)
    by_bytes = {codec.token_bytes(i): i for i in reversed(range(codec.vocab_size))}
    ids = []
    for part in data:
        ids += [by_bytes.get(bytes((value,)), 3 + value) for value in part]
        ids += codec.encode("x", add_special_tokens=False)
    assert streamed(codec, ids, skip=True) == codec.decode(ids)


@pytest.mark.parametrize("name", ["byte-level", "llama2"])
@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_any_text_survives_encoding_and_streaming(name: str, text: str) -> None:
    codec = tokenizer(name)
    ids = codec.encode(text, add_special_tokens=False)
    assert streamed(codec, ids, skip=False) == codec.decode(ids, False)
    if name == "byte-level":
        assert streamed(codec, ids, skip=False) == text


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_output_text_does_not_depend_on_the_grouping_of_tokens(
    name: str, data: st.DataObject
) -> None:
    codec = tokenizer(name)
    ids = data.draw(id_sequences(codec))
    stops = data.draw(st.lists(st.sampled_from(["a", "ab", " ", "\ufffd", "e d", "<think>"])))
    params = SamplingParams(
        stop=stops,
        min_tokens=data.draw(st.integers(0, 3)),
        max_tokens=None,
        include_stop_str_in_output=data.draw(st.booleans()),
    )
    results = []
    for group in (1, data.draw(st.integers(2, 5)), max(len(ids), 1)):
        output = OutputText(codec, params)
        joined = ""
        for start in range(0, len(ids), group):
            joined += output.push(ids[start : start + group])[0]
        joined += output.finish()
        assert joined == output.text
        results.append((joined, output.stop_string, output.num_tokens, output.text_offsets))
    assert results[0] == results[1] == results[2]
    if not stops:
        assert results[0][0] == codec.decode(ids)
