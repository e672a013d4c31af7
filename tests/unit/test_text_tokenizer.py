"""Loading tokenizers from checkpoint directories, and what they say of their tokens."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from lite.errors import CheckpointError, InvalidRequestError, UnsupportedModelError
from lite.text.bad_words import MAX_BAD_WORDS_CHARS, bad_words_token_ids
from lite.text.tokenizer import LONG_TEXT_CHARS, load_tokenizer, token_text
from tests.text_tokenizers import BACKENDS, CORPUS, byte_level_backend, tokenizer, write_tokenizer


def test_encoding_and_decoding_give_the_text_back() -> None:
    for text in CORPUS:
        for name in ("byte-level", "llama2"):
            codec = tokenizer(name)
            ids = codec.encode(text, add_special_tokens=False)
            assert codec.decode(ids, skip_special_tokens=False) == text


def test_ids_without_a_token_decode_to_nothing() -> None:
    codec = tokenizer("byte-level")
    ids = codec.encode("Hello")
    strange = [-1, codec.vocab_size, 151_935, 2**31, 2**32 - 1, 2**32, 2**70, -(2**40)]
    assert codec.decode([*strange, *ids, *strange]) == "Hello"
    assert all(codec.token_bytes(token_id) == b"" for token_id in strange)
    stream = codec.detokenizer()
    assert "".join(map(stream.push, strange)) + stream.finish() == ""


def test_special_and_added_tokens_are_told_apart() -> None:
    codec = tokenizer("byte-level")
    think = codec.encode("<think>")
    assert len(think) == 1
    assert think[0] in codec.added_token_ids
    assert think[0] not in codec.special_token_ids
    end = codec.encode("<|im_end|>")
    assert set(end) <= codec.special_token_ids
    assert codec.decode(think + end) == "<think>"
    assert codec.decode(think + end, skip_special_tokens=False) == "<think><|im_end|>"


def test_the_vocabulary_size_covers_every_id(tmp_path: Path) -> None:
    codec = tokenizer("byte-level")
    assert max(codec.added_token_ids) < codec.vocab_size
    content = json.loads(byte_level_backend())
    content["added_tokens"].append({**content["added_tokens"][-1], "id": 999, "content": "<far>"})
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    far = load_tokenizer(tmp_path)
    assert far.encode("<far>") == [far.vocab_size - 1]


def test_token_bytes_are_those_of_one_token_even_inside_a_character() -> None:
    byte_level = tokenizer("byte-level")
    ids = byte_level.encode("🦜 x")
    pieces = [byte_level.token_bytes(token_id) for token_id in ids]
    assert b"".join(pieces) == "🦜 x".encode()
    assert len(pieces) > 2
    assert token_text(byte_level, ids[0]) == "\ufffd"
    llama2 = tokenizer("llama2")
    ids = llama2.encode("Hi 🦜", add_special_tokens=False)
    assert b"".join(llama2.token_bytes(i) for i in ids) == " Hi 🦜".encode()
    assert llama2.token_bytes(1) == b"<s>"
    assert tokenizer("bpe-suffix").token_bytes(0) != b""


def test_bos_is_added_as_the_tokenizer_says() -> None:
    codec = tokenizer("llama2")
    assert codec.wants_bos
    assert codec.bos_token_id == 1
    assert codec.encode("Hello")[0] == 1
    assert 1 not in codec.encode("Hello", add_special_tokens=False)
    assert not tokenizer("byte-level").wants_bos


def test_a_text_that_brings_its_bos_gets_no_second_one() -> None:
    codec = tokenizer("llama2")
    assert codec.encode("<s>Hello").count(1) == 1
    assert codec.encode("<s><s>Hello").count(1) == 1


@pytest.mark.parametrize(("add_bos", "count"), [(True, 1), (False, 0), (None, 1)])
def test_add_bos_token_overrules_the_post_processor(
    tmp_path: Path, add_bos: bool | None, count: int
) -> None:
    config = {} if add_bos is None else {"add_bos_token": add_bos}
    codec = write_tokenizer(tmp_path, "llama2", bos_token="<s>", **config)
    assert codec.wants_bos is (count == 1)
    ids = codec.encode("Hello")
    assert ids.count(1) == (1 if add_bos is not False else 0)


def test_add_bos_token_works_without_a_post_processor(tmp_path: Path) -> None:
    codec = write_tokenizer(tmp_path, "byte-level", bos_token="<|endoftext|>", add_bos_token=True)
    assert codec.encode("Hello")[0] == codec.bos_token_id


def test_an_eos_that_the_post_processor_appends_is_not_taken_for_bos(tmp_path: Path) -> None:
    content = json.loads(BACKENDS["llama2"]())
    eos = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    content["post_processor"]["single"] = [{"Sequence": {"id": "A", "type_id": 0}}, eos]
    content["post_processor"]["special_tokens"] = {
        "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}
    }
    content["post_processor"]["pair"] = [{"Sequence": {"id": "A", "type_id": 0}}, eos]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    codec = load_tokenizer(tmp_path)
    assert codec.bos_token_id is None
    assert not codec.wants_bos


@pytest.mark.parametrize("token", ["<|im_end|>", {"content": "<|im_end|>", "lstrip": False}])
def test_special_tokens_are_strings_or_objects_in_either_file(
    tmp_path: Path, token: object
) -> None:
    codec = write_tokenizer(tmp_path, "byte-level", eos_token=token)
    assert codec.eos_token_id == codec.encode("<|im_end|>")[0]
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": token}))
    assert load_tokenizer(tmp_path).eos_token_id == codec.eos_token_id


def test_tokens_declared_special_beside_the_tokenizer_are_special(tmp_path: Path) -> None:
    codec = write_tokenizer(
        tmp_path, "byte-level", additional_special_tokens=["<think>", "<not in vocabulary>"]
    )
    plain = tokenizer("byte-level")
    assert codec.vocab_size == plain.vocab_size
    think = codec.encode("<think>")
    assert codec.decode(think) == ""
    assert plain.decode(think) == "<think>"
    stream = codec.detokenizer()
    assert stream.push(think[0]) + stream.finish() == ""


def test_truncation_and_padding_of_training_are_switched_off(tmp_path: Path) -> None:
    backend = Tokenizer.from_str(byte_level_backend())
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    backend.save(str(tmp_path / "tokenizer.json"))
    text = "Hello there, how are you today?"
    assert load_tokenizer(tmp_path).encode(text) == tokenizer("byte-level").encode(text)


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="surrogate"):
        tokenizer("byte-level").encode("a\ud800b")


def test_a_missing_directory_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: missing"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.model", "tekken.json", "vocab.txt"])
def test_other_tokenizer_formats_are_refused_with_a_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\0")
    with pytest.raises(UnsupportedModelError, match=f"{name}.*AutoTokenizer"):
        load_tokenizer(tmp_path)


def test_a_post_processor_with_an_undefined_token_is_refused(tmp_path: Path) -> None:
    content = json.loads(BACKENDS["llama2"]())
    content["post_processor"]["special_tokens"] = {}
    content["post_processor"] = {"type": "Sequence", "processors": [content["post_processor"]]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: post_processor .*'<s>'"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("length", [0, 1, 100, 5000])
def test_a_truncated_tokenizer_is_refused_by_name(tmp_path: Path, length: int) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(byte_level_backend()[:length], encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a usable"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("tokenizer_config.json", b"{", "not valid JSON"),
        ("tokenizer_config.json", b"[]", "JSON object"),
        ("tokenizer_config.json", b"\xff\xfe", "cannot be read"),
        ("tokenizer_config.json", b'{"eos_token": 3}', "eos_token must be"),
        ("tokenizer_config.json", b'{"bos_token": {"content": []}}', "bos_token must be"),
        ("tokenizer_config.json", b'{"add_bos_token": "yes"}', "add_bos_token must be"),
        ("tokenizer_config.json", b'{"chat_template": 3}', "chat_template must be"),
        ("tokenizer_config.json", b'{"chat_template": [{"name": "a"}]}', "chat_template must be"),
        ("tokenizer_config.json", b'{"additional_special_tokens": 3}', "must be a list"),
        ("special_tokens_map.json", b"nonsense", "not valid JSON"),
        ("chat_template.json", b"{]", "not valid JSON"),
        ("chat_template.jinja", b"\xff", "cannot be read"),
    ],
)
def test_malformed_files_beside_the_tokenizer_are_named(
    tmp_path: Path, name: str, content: bytes, match: str
) -> None:
    (tmp_path / "tokenizer.json").write_text(byte_level_backend(), encoding="utf-8")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=match) as caught:
        load_tokenizer(tmp_path)
    assert name in str(caught.value)


def test_the_template_file_beats_the_configuration(tmp_path: Path) -> None:
    def templates(**config: Any) -> dict[str, str]:
        return dict(write_tokenizer(tmp_path, "byte-level", **config).config.chat_templates)

    assert templates() == {}
    assert templates(chat_template="a") == {"default": "a"}
    named = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    assert templates(chat_template=named) == {"default": "a", "tool_use": "b"}
    (tmp_path / "chat_template.json").write_text('{"chat_template": "c"}')
    assert templates(chat_template="a") == {"default": "c"}
    (tmp_path / "chat_template.jinja").write_text("d")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("e")
    assert templates(chat_template="a") == {"default": "d", "tool_use": "e"}


def test_threads_share_a_tokenizer(tmp_path: Path) -> None:
    codec = write_tokenizer(tmp_path, "byte-level")
    failures: list[str] = []

    def work() -> None:
        for text in CORPUS * 20:
            ids = codec.encode(text)
            stream = codec.detokenizer(skip_special_tokens=False)
            if "".join(map(stream.push, ids)) + stream.finish() != text:
                failures.append(text)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_long_texts_are_encoded_one_at_a_time(tmp_path: Path) -> None:
    codec = write_tokenizer(tmp_path, "byte-level")
    backend = codec._backend
    running: list[int] = []

    class Watched:
        def encode(self, text: str, add_special_tokens: bool) -> Any:
            running.append(1)
            assert len(running) == 1
            time.sleep(0.01)
            running.pop()
            return backend.encode(text, add_special_tokens=add_special_tokens)

    text = "a word " * (LONG_TEXT_CHARS // 7 + 1)
    expected = codec.encode(text)
    codec._backend = Watched()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(codec.encode, [text] * 4)) == [expected] * 4


def test_bad_words_are_spelled_with_and_without_a_space() -> None:
    codec = tokenizer("byte-level")
    bare, spaced = codec.encode("dog"), codec.encode(" dog")
    assert len(spaced) == 1
    expected = [bare, spaced] if len(bare) == 1 else [bare]
    assert bad_words_token_ids(codec, ["dog"]) == expected
    assert bad_words_token_ids(codec, [" dog"]) == expected
    letter = bad_words_token_ids(codec, ["a"])
    assert letter == [codec.encode("a"), codec.encode(" a")]
    assert bad_words_token_ids(codec, [" "]) == [codec.encode(" ")]


def test_more_bad_words_than_can_be_encoded_in_time_are_refused() -> None:
    codec = tokenizer("byte-level")
    assert bad_words_token_ids(codec, ["ab"] * (MAX_BAD_WORDS_CHARS // 2))
    with pytest.raises(InvalidRequestError, match="16385 characters") as caught:
        bad_words_token_ids(codec, ["a" * (MAX_BAD_WORDS_CHARS + 1)])
    assert caught.value.param == "bad_words"


def test_a_bad_word_that_a_space_does_not_change_is_listed_once() -> None:
    codec = tokenizer("metaspace")
    assert codec.encode(" dog") == codec.encode("dog")
    assert bad_words_token_ids(codec, ["dog"]) == [codec.encode("dog")]


def test_importing_the_text_floor_loads_neither_tokenizers_nor_jinja() -> None:
    code = (
        "import sys, lite.text.chat_template, lite.text.output_text, lite.text.bad_words;"
        "bad = {'tokenizers', 'jinja2', 'lite.engine', 'numpy', 'numba'} & set(sys.modules);"
        "sys.exit(f'loaded: {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
