"""Chat templates: what they write, what they refuse, and exactly one BOS."""

import copy
import json
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lite.errors import CheckpointError, InvalidRequestError, UnsupportedParameterError
from lite.text.chat_template import ChatTemplate, load_chat_template, render_and_encode
from lite.text.tokenizer import JsonTokenizer
from tests.text_templates import LLAMA3, MISTRAL, PARTS_ONLY, PARTS_OR_STRING, QWEN3
from tests.text_tokenizers import write_tokenizer

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi <b>& you</b> "},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Bye"},
]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"place": "Köln", "n": 2}'},
}
ASK = {"role": "user", "content": "x"}


def template(source: str, **named_tokens: str) -> ChatTemplate:
    tokens = {"bos_token": "<s>", "eos_token": "</s>", **named_tokens}
    return ChatTemplate({"default": source}, tokens, "tokenizer_config.json")


def test_a_llama3_conversation_is_written_as_the_model_was_trained() -> None:
    prompt = template(LLAMA3, bos_token="<|begin_of_text|>").render(TALK)
    assert prompt == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi <b>& you</b><|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_a_qwen3_conversation_switches_thinking_off_by_a_template_argument() -> None:
    qwen3 = template(QWEN3)
    prompt = qwen3.render(TALK)
    assert prompt == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n Hi <b>& you</b> <|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    )
    quiet = qwen3.render(TALK, chat_template_kwargs={"enable_thinking": False})
    assert quiet == prompt + "<think>\n\n</think>\n\n"
    assert qwen3.render(TALK, chat_template_kwargs={"enable_thinking": True}) == prompt


def test_thoughts_of_earlier_turns_are_left_out_by_qwen3() -> None:
    thought = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello."}
    prompt = template(QWEN3).render([ASK, thought, ASK])
    assert "hm" not in prompt
    assert "Hello." in prompt


def test_a_mistral_conversation_ends_after_the_instruction() -> None:
    prompt = template(MISTRAL).render(TALK[1:])
    assert prompt == "<s> [INST]  Hi <b>& you</b>  [/INST] Hello.</s> [INST] Bye [/INST]"


def test_tool_definitions_are_written_as_plain_json() -> None:
    tool = {"type": "function", "function": {"name": "look", "description": "<é> & 'ü'"}}
    prompt = template(QWEN3).render([ASK], tools=[tool])
    assert json.dumps(tool, ensure_ascii=False) in prompt
    assert json.dumps(tool, ensure_ascii=False, indent=4) in template(LLAMA3).render(
        [ASK], tools=[tool]
    )


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        (5, "tools"),
        ("look", "tools"),
        (TOOL, "tools"),
        (iter([TOOL]), "tools"),
        ([TOOL, "look"], "tools[1]"),
        ([None], "tools[0]"),
    ],
)
def test_malformed_tools_are_refused_with_their_path(tools: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError, match="must be") as caught:
        template(QWEN3).render([ASK], tools=tools)
    assert caught.value.param == param


@pytest.mark.parametrize("tools", [None, [], ()])
def test_no_tools_are_as_good_as_none(tools: Any) -> None:
    assert template(QWEN3).render([ASK], tools=tools) == template(QWEN3).render([ASK])


@pytest.mark.parametrize("source", [LLAMA3, QWEN3])
def test_tool_call_arguments_reach_the_template_as_an_object(source: str) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    answer = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    prompt = template(source).render([ASK, called, answer], tools=[TOOL])
    assert '{"place": "Köln", "n": 2}' in prompt
    assert "sunny" in prompt


@pytest.mark.parametrize("arguments", ["", " ", None, {}, "{}"])
def test_missing_tool_call_arguments_are_an_empty_object(arguments: object) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": arguments}}
    prompt = template(QWEN3).render([ASK, {"role": "assistant", "tool_calls": [call]}])
    assert '"arguments": {}' in prompt


@pytest.mark.parametrize("arguments", ["{", "[1]", "3", 3, "[" * 100_000])
def test_malformed_tool_call_arguments_are_refused_with_their_path(arguments: object) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": arguments}}
    with pytest.raises(InvalidRequestError) as caught:
        template(QWEN3).render([ASK, {"role": "assistant", "tool_calls": [call]}])
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


@pytest.mark.parametrize("tool_calls", [{}, [], None])
def test_empty_tool_calls_are_as_good_as_none(tool_calls: object) -> None:
    talk = [ASK, {"role": "assistant", "content": "no", "tool_calls": tool_calls}]
    without = [ASK, {"role": "assistant", "content": "no"}]
    assert template(LLAMA3).render(talk) == template(LLAMA3).render(without)


def test_the_callers_messages_are_not_changed() -> None:
    talk: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
    ]
    before = copy.deepcopy(talk)
    for source in (QWEN3, PARTS_OR_STRING, PARTS_ONLY):
        template(source).render(talk, add_generation_prompt=False, continue_final_message=True)
    assert talk == before


def test_text_parts_are_joined_by_newlines_for_a_template_of_strings() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c"]
    prompt = template(MISTRAL).render([{"role": "user", "content": parts}])
    assert prompt == "<s> [INST] a\nb\nc [/INST]"


def test_a_template_that_loops_over_content_gets_the_parts() -> None:
    talk: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
    ]
    assert template(PARTS_OR_STRING).render(talk) == "<user>[a][b]<assistant>c"
    assert template(PARTS_ONLY).render(talk) == "[a][b][c]"


def test_a_macro_over_content_counts_as_a_loop() -> None:
    source = (
        "{% macro show(content) %}{% if content is string %}{{ content }}{% else %}"
        "{% for item in content %}[{{ item.text }}]{% endfor %}{% endif %}{% endmacro %}"
        "{% for m in messages %}{{ show(m.content) }}{% endfor %}"
    )
    talk: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "a"}]}, ASK]
    assert template(source).render(talk) == "[a]x"


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "video_url", "file"])
def test_a_part_that_is_no_text_is_refused_with_its_path(kind: str) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": kind, kind: {"url": "data:"}}]
    with pytest.raises(UnsupportedParameterError) as caught:
        template(QWEN3).render([ASK, {"role": "user", "content": parts}])
    assert caught.value.param == "messages[1].content[1]"
    assert kind in str(caught.value)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("hello", "messages"),
        ({"role": "user"}, "messages"),
        (["hello"], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": 3, "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": 3}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "odd"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"text": "x"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": ["a"]}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": "x", "tool_calls": 3}], "messages[0].tool_calls"),
        ([{"role": "user", "tool_calls": [{}]}], "messages[0].tool_calls[0].function"),
    ],
)
def test_malformed_messages_are_refused_with_their_path(messages: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        template(QWEN3).render(messages)
    assert caught.value.param == param


def test_a_missing_role_has_a_code_of_its_own() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        template(QWEN3).render([{"content": "x"}])
    assert caught.value.code == "missing_required_parameter"


def test_developer_messages_are_system_messages_where_the_template_knows_no_other() -> None:
    talk = [{"role": "developer", "content": "Be brief."}, ASK]
    assert "<|im_start|>system\nBe brief." in template(QWEN3).render(talk)
    aware = "{% for m in messages %}{{ m.role }} {% endfor %}{# developer #}"
    assert template(aware).render(talk) == "developer user "


def test_the_template_refuses_through_raise_exception_with_its_own_words() -> None:
    with pytest.raises(InvalidRequestError, match="Roles must alternate") as caught:
        template(MISTRAL).render(TALK)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].content + 1 }}",
        "{{ messages.x.y }}",
        "{{ 1 / 0 }}",
        "{{ f() }}",
        "{% for m in 3 %}{% endfor %}",
    ],
)
def test_an_error_inside_the_template_is_the_requests(source: str) -> None:
    with pytest.raises(InvalidRequestError, match="cannot render"):
        template(source).render(TALK)


def test_a_syntax_error_is_found_at_load_with_file_and_line() -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json.*line 2"):
        template("{{ a }}\n{% for x in %}")


def test_an_unknown_filter_is_found_at_load() -> None:
    with pytest.raises(CheckpointError, match="no_such_filter"):
        template("{{ messages | no_such_filter }}")


def test_undefined_special_tokens_render_as_nothing() -> None:
    bare = ChatTemplate({"default": "{{ bos_token }}{{ messages[0].content }}"}, {}, "f")
    assert bare.render([ASK]) == "x"


def test_strftime_now_and_loop_controls_and_json_options_are_there() -> None:
    source = (
        "{{ strftime_now('%Y') }}{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}"
        "{{ i }}{% endfor %}"
        "{{ {'b': 1, 'a': '<'} | tojson(sort_keys=true, separators=(',', ':')) }}"
    )
    before, after = datetime.now().year, datetime.now().year
    assert template(source).render([ASK]) in {
        f'{year}01{{"a":"<","b":1}}' for year in (before, after)
    }


def test_the_assistants_turn_is_opened_only_if_asked() -> None:
    qwen3 = template(QWEN3)
    closed = qwen3.render(TALK, add_generation_prompt=False)
    assert closed.endswith("Bye<|im_end|>\n")
    assert qwen3.render(TALK) == closed + "<|im_start|>assistant\n"


def test_the_lines_of_block_tags_leave_no_trace() -> None:
    source = (
        "{% for m in messages %}\n    {% if true %}\n{{ m.role }}\n    {% endif %}\n{% endfor %}"
    )
    assert template(source).render([ASK, ASK]) == "user\nuser\n"


def test_loops_keep_their_variables() -> None:
    source = (
        "{% for c in 'ab' | list | map('upper') %}{{ loop.index }}{{ loop.last }}{{ c }}"
        "/{{ loop.length }} {% endfor %}{% for x in nothing %}{% else %}none{% endfor %}"
        "{% for k, v in {'a': 1}.items() if v %}{{ k ~ v ~ missing ~ none }}{% endfor %}"
    )
    assert template(source).render([ASK]) == "1FalseA/2 2TrueB/2 nonea1None"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ range(1000000) | list }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 100000000 }}",
        "{{ 100000000 * [0] }}",
        "{{ 10 ** 100000000 }}",
        "{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}"
        "{% endfor %}",
        "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}"
        "{% endfor %}",
        "{% set n = namespace(s='a') %}{% for i in range(99) %}"
        "{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}{% endfor %}",
    ],
)
def test_a_template_can_neither_leave_the_sandbox_nor_exhaust_the_machine(source: str) -> None:
    with pytest.raises(InvalidRequestError, match="cannot render") as caught:
        template(source).render([ASK])
    assert "MemoryError" not in str(caught.value)


def test_arguments_cannot_replace_the_templates_own_variables() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        template(QWEN3).render([ASK], chat_template_kwargs={"messages": []})
    assert caught.value.param == "chat_template_kwargs.messages"


def test_the_final_message_is_continued_where_it_ends() -> None:
    talk = [ASK, {"role": "assistant", "content": "The answer is "}]
    options = {"add_generation_prompt": False, "continue_final_message": True}
    assert template(QWEN3).render(talk, **options).endswith("assistant\nThe answer is ")
    assert template(MISTRAL).render(talk, **options) == "<s> [INST] x [/INST] The answer is "
    parts = [ASK, {"role": "assistant", "content": [{"type": "text", "text": "so"}]}]
    assert template(PARTS_OR_STRING).render(parts, **options) == "<user>x<assistant>[so"


def test_a_repeated_final_message_is_continued_at_its_last_place() -> None:
    talk = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]
    prompt = template(MISTRAL).render(
        talk, add_generation_prompt=False, continue_final_message=True
    )
    assert prompt == "<s> [INST] x [/INST] x"


def test_a_message_that_the_template_leaves_out_cannot_be_continued() -> None:
    with pytest.raises(InvalidRequestError, match="cannot be continued"):
        template("{{ messages[0].content }}").render(
            TALK, add_generation_prompt=False, continue_final_message=True
        )


def test_opening_and_continuing_a_turn_exclude_each_other() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        template(QWEN3).render([ASK], continue_final_message=True)
    assert caught.value.param == "continue_final_message"


def test_the_tool_template_is_used_when_there_are_tools() -> None:
    sources = {"default": "plain", "tool_use": "tools", "rag": "documents"}
    named = ChatTemplate(sources, {}, "f")
    assert named.render([ASK]) == "plain"
    assert named.render([ASK], tools=[]) == "plain"
    assert named.render([ASK], tools=[TOOL]) == "tools"


def test_a_model_without_a_template_says_what_to_do() -> None:
    for sources in ({}, {"rag": "documents"}):
        missing = ChatTemplate(sources, {}, "tokenizer_config.json")
        with pytest.raises(InvalidRequestError, match="--chat-template"):
            missing.render([ASK])
    assert not ChatTemplate({}, {}, "f")


def test_one_template_serves_many_threads() -> None:
    shared = template(QWEN3)
    results: list[bool] = []

    def work(number: int) -> None:
        for turn in range(50):
            talk = [{"role": "user", "content": f"{number}-{turn}"}] * 5
            results.append(shared.render(talk).count(f"{number}-{turn}<|im_end|>") == 5)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 400
    assert all(results)


def bos_tokenizer(directory: Path, **config: Any) -> JsonTokenizer:
    return write_tokenizer(directory, "llama2", bos_token="<s>", eos_token="</s>", **config)


@pytest.mark.parametrize("prefix", ["", "{{ bos_token }}", "{{ bos_token }}{{ bos_token }}"])
def test_the_prompt_begins_with_exactly_one_bos(tmp_path: Path, prefix: str) -> None:
    tokenizer = bos_tokenizer(tmp_path, chat_template=prefix + "{{ messages[0].content }}")
    chat = load_chat_template(tokenizer)
    _, ids = render_and_encode(tokenizer, chat, [{"role": "user", "content": "Hello"}])
    assert ids[0] == 1
    assert ids.count(1) == 1


def test_a_model_that_wants_no_bos_gets_none_unless_its_template_writes_it(tmp_path: Path) -> None:
    tokenizer = bos_tokenizer(tmp_path, add_bos_token=False, chat_template=MISTRAL)
    _, ids = render_and_encode(tokenizer, load_chat_template(tokenizer), [ASK])
    assert ids.count(1) == 1
    bare = ChatTemplate({"default": "{{ messages[0].content }}"}, {}, "f")
    _, ids = render_and_encode(tokenizer, bare, [ASK])
    assert 1 not in ids


def test_special_tokens_in_the_prompt_are_single_ids(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path, "byte-level", eos_token="<|im_end|>", chat_template=QWEN3)
    prompt, ids = render_and_encode(tokenizer, load_chat_template(tokenizer), TALK)
    assert ids.count(tokenizer.encode("<|im_start|>")[0]) == 5
    assert tokenizer.decode(ids, skip_special_tokens=False) == prompt


def test_a_template_file_replaces_the_checkpoints(tmp_path: Path) -> None:
    tokenizer = bos_tokenizer(tmp_path, chat_template="theirs")
    own = tmp_path / "own.jinja"
    own.write_text("ours {{ bos_token }}", encoding="utf-8")
    assert load_chat_template(tokenizer).render([ASK]) == "theirs"
    assert load_chat_template(tokenizer, own).render([ASK]) == "ours <s>"


def test_an_unreadable_template_file_is_named(tmp_path: Path) -> None:
    tokenizer = bos_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match=r"--chat-template .*missing\.jinja"):
        load_chat_template(tokenizer, tmp_path / "missing.jinja")
