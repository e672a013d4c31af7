"""The bundled demo model on prompts it was not trained on, and the judge of its answers."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from lite import LLM
from tests.e2e.demo_judge import RULES, judge, numbers_in
from tests.e2e.demo_prompts import AnswerMany, Prompt, Request, Result, answers_of, load, run
from tools.demo_model.world import held_out

PROMPTS = load()

DOES_NOT_KNOW = "I do not know that. I am only a very small model."
STORY = (
    "Once upon a time there was {} in the forest. It was a cold day and the wind was loud. "
    "A small light shone between the old trees. They walked to it and found a warm house. "
    "There they ate soup and were happy."
)


# --- the model -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results() -> list[Result]:
    with LLM("demo") as llm:
        return run(PROMPTS, answers_of(llm))


def failures(results: list[Result]) -> str:
    return "\n".join(
        f"{result.prompt.topic}: {json.dumps(result.prompt.turns)} -> {result.answers[-1]!r}: "
        f"{result.failure}"
        for result in results
        if result.failure is not None
    )


def test_nine_in_ten_answers_are_right(results: list[Result]) -> None:
    num_right = sum(result.failure is None for result in results)
    assert num_right >= 0.9 * len(results), f"{num_right}/{len(results)}\n{failures(results)}"


@pytest.mark.parametrize("topic", sorted({prompt.topic for prompt in PROMPTS}))
def test_seven_in_ten_answers_of_each_topic_are_right(results: list[Result], topic: str) -> None:
    of_topic = [result for result in results if result.prompt.topic == topic]
    num_right = sum(result.failure is None for result in of_topic)
    assert num_right >= 0.7 * len(of_topic), f"{num_right}/{len(of_topic)}\n{failures(of_topic)}"


# --- the prompts ---------------------------------------------------------------------------


def test_no_prompt_is_there_twice() -> None:
    seen = Counter(
        json.dumps([prompt.system, prompt.turns, prompt.tools, prompt.enable_thinking])
        for prompt in PROMPTS
    )
    assert len(PROMPTS) >= 160
    assert seen.most_common(1)[0][1] == 1


def test_results_of_arithmetic_are_right_and_those_of_large_numbers_held_out() -> None:
    sums = [prompt.expect for prompt in PROMPTS if prompt.expect["kind"] == "number"]
    for expect in sums:
        first, operator, second = expect["of"].split()
        assert eval(expect["of"]) == expect["answer"]
        if operator in "+-" and int(first) > 20:
            assert held_out(int(first), int(second)), expect["of"]
    assert sum(prompt.topic == "arithmetic" for prompt in PROMPTS) == 14
    assert all(int(p.expect["of"].split()[0]) > 20 for p in PROMPTS if p.topic == "arithmetic")


def test_expected_calls_are_possible_with_the_tools_at_hand() -> None:
    for prompt in PROMPTS:
        if prompt.expect["kind"] != "call":
            continue
        tools = {tool["function"]["name"]: tool["function"] for tool in prompt.tools}
        parameters = tools[prompt.expect["name"]]["parameters"]
        assert set(prompt.expect["arguments"]) == set(parameters["required"])
        assert len(tools) == len(prompt.tools)


def test_right_answers_are_all_found_right() -> None:
    wrong = [
        result for prompt in PROMPTS for result in run([prompt], always(*right_answers(prompt)))
        if result.failure is not None
    ]  # fmt: skip
    assert not wrong, failures(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "Paris",
        "Yes.",
        "No.",
        "8",
        "Wednesday",
        "Hello! I am Lite, a small language model.",
        STORY.format("a fox"),
        DOES_NOT_KNOW,
    ],
)
def test_the_same_answer_to_everything_is_mostly_wrong(text: str) -> None:
    results = run(PROMPTS, lambda requests: [(text, "stop")] * len(requests))
    assert sum(result.failure is None for result in results) < 0.1 * len(results)


def test_saying_the_question_again_is_mostly_wrong() -> None:
    results = run(PROMPTS, lambda requests: [(r.messages[-1]["content"], "stop") for r in requests])
    assert sum(result.failure is None for result in results) < 0.05 * len(results)


def test_few_prompts_ask_for_yes_or_no() -> None:
    assert sum(prompt.expect["kind"] == "yes_no" for prompt in PROMPTS) <= 4


def always(*answers: str) -> AnswerMany:
    """Answer one conversation's turns with these, the last of them again and again."""

    def answer_many(requests: list[Request]) -> list[tuple[str, str | None]]:
        num_before = sum(message["role"] == "assistant" for message in requests[0].messages)
        return [(answers[min(num_before, len(answers) - 1)], "stop")]

    return answer_many


def right_answers(prompt: Prompt) -> list[str]:
    answers = ["Good." if isinstance(turn, str) else tool_call("any") for turn in prompt.turns[1:]]
    thought = "<think>\nLet me see.\n</think>\n\n" if prompt.enable_thinking else ""
    return [*answers, thought + right_answer(**prompt.expect)]


def right_answer(kind: str, **expect: Any) -> str:
    answers: dict[str, Callable[[], str]] = {
        "words": lambda: ", ".join(word.split("|")[0] for word in expect["has"]),
        "one_of": lambda: f"It is {expect['answer'].split('|')[0]}.",
        "number": lambda: f"{expect['of']} = {expect['answer']}.",
        "count": lambda: f"The number is {expect['answer']}.",
        "yes_no": lambda: {"yes": "Yes, it can.", "no": "No, it cannot."}[expect["answer"]],
        "identity": lambda: "I am a small language model.",
        "persona": lambda: f"I am {expect['name']}.",
        "unknown": lambda: DOES_NOT_KNOW,
        "story": lambda: STORY.format(" and ".join(expect["heroes"])),
        "call": lambda: tool_call(expect["name"], **expect["arguments"]),
    }
    return answers[kind]()


def tool_call(name: str, **arguments: Any) -> str:
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{call}\n</tool_call>"


# --- the judge -----------------------------------------------------------------------------


def asked(question: str, kind: str, *, enable_thinking: bool = False, **expect: Any) -> Prompt:
    return Prompt(
        topic="a test",
        turns=[question],
        expect={"kind": kind, **expect},
        enable_thinking=enable_thinking,
    )


CAPITAL = asked("The capital of Mexico?", "one_of", group="capitals", answer="Mexico City")
COUNTRY = asked("Where is Lima, the capital?", "one_of", group="countries", answer="Peru")
SUM = asked("What is 20 + 22?", "number", answer=42)
LEGS = asked("How many legs have 2 ducks?", "count", answer=4)
FLIES = asked("Can a penguin fly?", "yes_no", answer="no", yes="can fly|flies")
WORDS = asked("How can I mix purple?", "words", has=["red", "blue|navy"], lacks="green|7")
SELF = asked("Are you ChatGPT?", "identity")
PERSONA = asked("Who are you?", "persona", name="Quillon")
UNKNOWN = asked("Who was king of Nigeria in 1605?", "unknown", lacks="crowned")
TALE = asked("A story about a fox!", "story", heroes=["fox"])
CALL = asked(
    "What is 3 * 4?", "call", name="sums", arguments={"e": "3 * 4"}, optional={"unit": ["m", "km"]}
)
PLACE = asked("And in Oslo?", "call", name="sky", arguments={"city": "Oslo", "days": 2})
THINKING = asked("20 + 22?", "number", answer=42, enable_thinking=True)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (CAPITAL, "Mexico City."),
        (CAPITAL, "the capital of Mexico is mexico city!"),
        (COUNTRY, "Lima is the capital of Peru."),
        (SUM, "20 + 22 = 42."),
        (SUM, "The answer is forty-two."),
        (LEGS, "2 ducks have 4 legs, 1 of them less."),
        (LEGS, "They have four legs."),
        (FLIES, "It can\N{RIGHT SINGLE QUOTATION MARK}t."),
        (WORDS, "Blue and red."),
        (SELF, "No, I am not ChatGPT. I am a tiny one."),
        (PERSONA, "My name is Quillon."),
        (UNKNOWN, "I'm not sure who was king of Nigeria in 1605. I am Lite."),
        (UNKNOWN, "Sorry, I cannot tell you."),
        (TALE, STORY.format("a fox") + ' "Hush!"'),
        (CALL, tool_call("sums", e="3*4")),
        (CALL, tool_call("sums", e="3 × 4", unit="km")),
        (PLACE, tool_call("sky", city="oslo", days="2") + "\n"),
        (THINKING, "<think>\n0 + 2 = 2\n</think>\n\n42"),
    ],
)
def test_the_judge_finds_right(prompt: Prompt, text: str) -> None:
    assert judge(prompt, text, "stop") is None


@pytest.mark.parametrize(
    ("prompt", "text", "why"),
    [
        (CAPITAL, "The capital is Lima.", "lacks 'Mexico City'"),
        (CAPITAL, "The capital is Mexico City or Lima.", "says ['Lima'] too"),
        (CAPITAL, "I do not know. Perhaps Mexico City.", "it does not know"),
        (CAPITAL, "", "says nothing"),
        (CAPITAL, tool_call("find", of="Mexico City"), "markup"),
        (CAPITAL, "<think>\nHm.\n</think>\n\nMexico City", "markup"),
        (CAPITAL, "Mexico City<|im_end|>", "markup"),
        (COUNTRY, "Peruvian Lima.", "lacks 'Peru'"),
        (SUM, "20 + 22 = 142.", "142"),
        (SUM, "20 + 22 = 420.", "420"),
        (SUM, "20 + 22 = -42.", "-42"),
        (SUM, "20 + 22 = 42.5", "42.5"),
        (SUM, "42 is not it, it is 43.", "43"),
        (SUM, "The sum.", "[]"),
        (LEGS, "They have 14 legs.", "14"),
        (LEGS, "They have 4 or 6 legs.", "says [6.0] too"),
        (FLIES, "Yes, a penguin can fly.", "says yes"),
        (FLIES, "A penguin flies.", "says yes"),
        (FLIES, "Yes and no.", "neither"),
        (FLIES, "A penguin is a bird.", "neither"),
        (WORDS, "Bored with blue.", "lacks 'red'"),
        (WORDS, "Red, blue and green.", "says ['green']"),
        (WORDS, "7 red and 7 blue.", "says ['7']"),
        (SELF, "Yes, I am.", "does not say what it is"),
        (SELF, "A small light shone.", "does not say what it is"),
        (SELF, "I am a small model by Google.", "Google"),
        (PERSONA, "I am Lite.", "lacks the name"),
        (PERSONA, "I am Lite, not Quillon.", "calls itself"),
        (UNKNOWN, "King Jaja.", "does not say that"),
        (UNKNOWN, "I do not know. In 1605 it was King Jaja.", "Jaja"),
        (UNKNOWN, "I do not know. It was king in Cairo.", "Cairo"),
        (UNKNOWN, "I do not know. There were 3 of them.", "3"),
        (UNKNOWN, "I do not know, he was crowned.", "crowned"),
        (UNKNOWN, "I do not know. " + "Well. " * 50, "says much"),
        (TALE, STORY.format("a fox")[:-5], "breaks off"),
        (TALE, STORY.format("a dog"), "lacks ['fox']"),
        (TALE, STORY.format("a fox") + " They ate soup now. They ate soup now.", "repeats"),
        (TALE, "A fox ran. It fell. It cried. It slept.", "4 sentences and 9 words"),
        (TALE, STORY.format("a fox").replace(".", ",")[:-1] + ".", "1 sentences"),
        (CALL, "12", "not made of"),
        (CALL, "Of course. " + tool_call("sums", e="3 * 4"), "not made of"),
        (CALL, tool_call("sums", e="3 * 4")[:-5], "not made of"),
        (CALL, "<tool_call>\n{name: sums}\n</tool_call>", "not made of"),
        (CALL, '<tool_call>\n{"name": "sums"}\n</tool_call>', "not made of"),
        (CALL, tool_call("sums", e="3 * 4") * 2, "makes 2 calls"),
        (CALL, tool_call("sum", e="3 * 4"), "calls 'sum'"),
        (CALL, tool_call("sums", e="3 * 5"), "gives e="),
        (CALL, tool_call("sums", expression="3 * 4"), "gives ['expression']"),
        (CALL, tool_call("sums", e="3 * 4", unit="mile"), "wrong 'unit'"),
        (PLACE, tool_call("sky", city="Oslo"), "gives ['city']"),
        (PLACE, tool_call("sky", city="Oslo", days=3), "gives days=3"),
        (PLACE, tool_call("sky", city="Osloo", days=2), "gives city="),
        (THINKING, "42", "thought"),
        (THINKING, "<think>\n20 + 22 = 42", "thought"),
        (THINKING, "<think>\n\n</think>\n\n42", "thought"),
        (THINKING, "42 <think>\n20 + 22 = 42\n</think>", "thought"),
        (THINKING, "<think>\n20 + 22 = 42\n</think>\n\n", "says nothing"),
        (THINKING, "<think>\n20 + 22 = 42\n</think>\n\n43", "43"),
    ],
)
def test_the_judge_finds_wrong(prompt: Prompt, text: str, why: str) -> None:
    assert why in (judge(prompt, text, "stop") or "")


def test_every_rule_has_right_and_wrong_examples() -> None:
    tried = (CAPITAL, SUM, LEGS, FLIES, WORDS, SELF, PERSONA, UNKNOWN, TALE, CALL)
    assert {prompt.expect["kind"] for prompt in tried} == set(RULES)
    assert {prompt.expect["kind"] for prompt in PROMPTS} == set(RULES)


@pytest.mark.parametrize("finish_reason", ["length", "abort", None])
def test_an_answer_that_did_not_stop_by_itself_is_wrong(finish_reason: str | None) -> None:
    assert "stop by itself" in (judge(SUM, "42", finish_reason) or "")


def test_numbers_are_read_in_digits_or_else_in_words() -> None:
    assert numbers_in("7-2=5, 12x11, 1,250.5 and B2 or 3.") == [7, 2, 5, 1250.5, 3]
    assert numbers_in("Twenty-one and thirty two or nineteen, 0xff") == [21, 32, 19]
    assert numbers_in("seven is 7") == [7]
    assert numbers_in("seven", names=False) == []


# --- conversations -------------------------------------------------------------------------


def test_answers_are_put_between_the_turns_and_calls_as_calls() -> None:
    seen: list[list[dict[str, Any]]] = []
    thought = "<think>\nA sum.\n</think>\n\n"
    replies = iter(["Hi.", thought + tool_call("sums", e="3 * 4"), thought + "12"])

    def answer_many(requests: list[Request]) -> list[tuple[str, str | None]]:
        seen.append(requests[0].messages)
        return [(next(replies), "stop")]

    prompt = Prompt(
        topic="a test",
        system="Be kind.",
        turns=["Hello", "What is 3 * 4?", {"tool_result": "12"}],
        expect={"kind": "number", "answer": 12},
        enable_thinking=True,
    )
    (result,) = run([prompt], answer_many)
    assert result.failure is None
    assert [len(messages) for messages in seen] == [2, 4, 6]
    function = {"name": "sums", "arguments": '{"e": "3 * 4"}'}
    call = {"id": "call_0", "type": "function", "function": function}
    assert seen[-1] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "What is 3 * 4?"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "A sum.",
            "tool_calls": [call],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": "12"},
    ]


@pytest.mark.parametrize(
    ("first", "finish_reason", "why"),
    [("12", "stop", "not a tool call"), (tool_call("sums"), "length", "did not stop by itself")],
)
def test_a_conversation_ends_where_it_goes_wrong(first: str, finish_reason: str, why: str) -> None:
    prompt = Prompt(
        topic="a test", turns=["3 * 4?", {"tool_result": "12"}], expect=dict(SUM.expect)
    )
    (result,) = run([prompt], lambda requests: [(first, finish_reason)])
    assert why in (result.failure or "")
    assert result.answers == [first]
