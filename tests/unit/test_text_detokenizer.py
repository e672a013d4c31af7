"""Detokenizers on sequences made by hand: what is held back, and for how long."""

import time

import pytest

from lite.text.detokenizer import (
    ByteDetokenizer,
    ByteRunDetokenizer,
    Detokenizer,
    WholeDetokenizer,
)
from lite.text.tokenizer import JsonTokenizer
from tests.text_tokenizers import BACKENDS, tokenizer


def deltas(stream: Detokenizer, token_ids: list[int]) -> list[str]:
    return [*map(stream.push, token_ids), stream.finish()]


def byte_ids(codec: JsonTokenizer, data: bytes) -> list[int]:
    """Return one token for each byte."""
    ids = {codec.token_bytes(i): i for i in reversed(range(codec.vocab_size))}
    if codec is tokenizer("llama2"):
        return [3 + value for value in data]
    return [ids[bytes((value,))] for value in data]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("byte-level", ByteDetokenizer),
        ("byte-level-staged", ByteDetokenizer),
        ("llama2", ByteRunDetokenizer),
        ("gemma", ByteRunDetokenizer),
        ("metaspace", ByteRunDetokenizer),
        ("metaspace-fallback", ByteRunDetokenizer),
        ("wordpiece", ByteRunDetokenizer),
        ("no-decoder", ByteRunDetokenizer),
        ("bpe-suffix", WholeDetokenizer),
    ],
)
def test_each_decoder_streams_unless_it_cannot(name: str, kind: type) -> None:
    assert isinstance(tokenizer(name).detokenizer(), kind)


def test_a_character_comes_when_its_last_byte_does() -> None:
    codec = tokenizer("byte-level")
    ids = byte_ids(codec, "é🦜!".encode())
    assert deltas(codec.detokenizer(), ids) == ["", "é", "", "", "", "🦜", "!", ""]


def test_an_unfinished_character_is_replaced_at_the_end() -> None:
    codec = tokenizer("byte-level")
    assert deltas(codec.detokenizer(), byte_ids(codec, b"a\xf0\x9f\xa6")) == [
        "a",
        "",
        "",
        "",
        "\ufffd",
    ]


def test_malformed_bytes_are_replaced_as_soon_as_they_are_known() -> None:
    codec = tokenizer("byte-level")
    ids = byte_ids(codec, b"\xff\xf0\x9fa\x80")
    assert deltas(codec.detokenizer(), ids) == ["\ufffd", "", "", "\ufffda", "\ufffd", ""]


def test_a_run_of_byte_tokens_comes_when_it_ends() -> None:
    codec = tokenizer("llama2")
    hello = codec.encode("Hi", add_special_tokens=False)
    ids = [*hello, *byte_ids(codec, "🦜é".encode()), *hello]
    pieces = deltas(codec.detokenizer(), ids)
    assert pieces[len(hello) : len(hello) + 6] == [""] * 6
    assert "".join(pieces) == "Hi🦜é Hi"


def test_a_malformed_run_of_byte_tokens_is_replaced_byte_by_byte() -> None:
    codec = tokenizer("llama2")
    ids = byte_ids(codec, "é".encode() + b"\xff" + b"ab")
    assert deltas(codec.detokenizer(), ids) == [
        "",
        "",
        "\ufffd\ufffd\ufffd",
        "\ufffd",
        "\ufffd",
        "",
    ]
    assert codec.decode(ids) == "\ufffd" * 5


def test_the_leading_space_is_stripped_once_and_only_at_the_start() -> None:
    codec = tokenizer("llama2")
    ids = codec.encode("Hello", add_special_tokens=False)
    assert "".join(deltas(codec.detokenizer(), ids + ids)) == "Hello Hello"
    assert "".join(deltas(codec.detokenizer(continues_text=True), ids)) == " Hello"


@pytest.mark.parametrize("name", sorted(set(BACKENDS) - {"bpe-suffix"}))
def test_a_continuation_is_decoded_as_after_other_text(name: str) -> None:
    codec = tokenizer(name)
    before = codec.encode("dog", add_special_tokens=False)
    for text in ("Hello fox", " dog", "jumps over"):
        ids = codec.encode(text, add_special_tokens=False)
        together = codec.decode(before + ids)
        continued = "".join(deltas(codec.detokenizer(continues_text=True), ids))
        assert codec.decode(before) + continued == together


def test_a_run_of_bytes_that_opens_the_text_is_the_first_token() -> None:
    codec = tokenizer("metaspace-fallback")
    for data in ("▁é▁".encode(), "▁".encode() + b"\xff"):
        ids = [3 + value for value in data] + codec.encode(" dog", add_special_tokens=False)
        assert "".join(deltas(codec.detokenizer(), ids)) == codec.decode(ids)
    continued = deltas(codec.detokenizer(continues_text=True), [3 + v for v in "▁é".encode()])
    assert "".join(continued) == " é"


def test_special_tokens_are_skipped_or_kept() -> None:
    codec = tokenizer("byte-level")
    ids = codec.encode("<|im_start|>a<think><|im_end|>")
    assert "".join(deltas(codec.detokenizer(), ids)) == "a<think>"
    kept = codec.detokenizer(skip_special_tokens=False)
    assert "".join(deltas(kept, ids)) == "<|im_start|>a<think><|im_end|>"


@pytest.mark.parametrize("name", ["byte-level", "llama2"])
def test_bytes_that_never_make_a_character_are_not_held(name: str) -> None:
    codec = tokenizer(name)
    ids = byte_ids(codec, b"\xf0") * 5000
    stream = codec.detokenizer()
    lag = 0
    num_chars = 0
    for i, token_id in enumerate(ids):
        num_chars += len(stream.push(token_id))
        lag = max(lag, i + 1 - num_chars)
    assert lag <= 3
    assert num_chars + len(stream.finish()) == 5000


@pytest.mark.parametrize("data", [b"\xf0", b"a", "é".encode(), b"\xf0\x9f\xa6"])
@pytest.mark.parametrize("name", ["byte-level", "llama2"])
def test_time_grows_linearly_with_the_output(name: str, data: bytes) -> None:
    codec = tokenizer(name)
    unit = byte_ids(codec, data)

    def seconds(repeats: int) -> float:
        ids = unit * repeats
        best = float("inf")
        for _ in range(3):
            stream = codec.detokenizer()
            start = time.perf_counter()
            for token_id in ids:
                stream.push(token_id)
            stream.finish()
            best = min(best, time.perf_counter() - start)
        return best

    # Twenty times the tokens take twenty times as long, four hundred times if work is quadratic.
    assert seconds(40_000) < 100 * max(seconds(2_000), 1e-4)
