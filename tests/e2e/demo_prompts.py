"""Prompts for the demo model as a newcomer types them, run as conversations and judged by content.

Wording is judged leniently, facts strictly. The prompts know nothing of the training data's
generator, and are never to be moved towards it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lite import LLM, SamplingParams
from tests.e2e.demo_judge import judge, parse_calls, split_thought

PROMPTS = Path(__file__).with_name("demo_prompts.json")
GREEDY = SamplingParams(temperature=0.0, max_tokens=200)

Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A conversation to hold with the model, and what its last answer must be.

    Attributes:
        turns: the user's texts, or {"tool_result": text} after an answer that calls a tool.
        expect: the "kind" of one of the judge's rules, and the rule's other arguments.
    """

    topic: str
    turns: list[str | dict[str, str]]
    expect: dict[str, Any]
    system: str | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    enable_thinking: bool = False

    @property
    def question(self) -> str:
        """The user's last text."""
        return [turn for turn in self.turns if isinstance(turn, str)][-1]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One chat call, to be answered greedily."""

    messages: list[Message]
    tools: list[dict[str, Any]]
    enable_thinking: bool


@dataclass(frozen=True, kw_only=True)
class Result:
    """A conversation as it went; `failure` says what is wrong with it, None that nothing is."""

    prompt: Prompt
    answers: list[str]
    failure: str | None


# Requests to (text, finish reason) of each.
AnswerMany = Callable[[list[Request]], Sequence[tuple[str, str | None]]]


def load() -> list[Prompt]:
    """Return all prompts of the file."""
    return [Prompt(**entry) for entry in json.loads(PROMPTS.read_text(encoding="utf-8"))]


def run(prompts: Sequence[Prompt], answer_many: AnswerMany) -> list[Result]:
    """Hold all conversations side by side, one call of `answer_many` for each turn.

    A conversation ends early where an answer was cut off, or is not the one tool call that the
    next turn brings the result of.
    """
    talks = [_Talk(prompt) for prompt in prompts]
    while going := [talk for talk in talks if talk.goes_on()]:
        replies = answer_many([talk.ask() for talk in going])
        for talk, (text, finish_reason) in zip(going, replies, strict=True):
            talk.hear(text, finish_reason)
    return [
        Result(prompt=talk.prompt, answers=talk.answers, failure=talk.failure) for talk in talks
    ]


def answers_of(llm: LLM) -> AnswerMany:
    """Answer greedily with a model in this process, all conversations in the same batches."""

    def answer_many(requests: list[Request]) -> list[tuple[str, str | None]]:
        rendered = [
            llm.apply_chat_template(
                request.messages,
                tools=request.tools,
                chat_template_kwargs={"enable_thinking": request.enable_thinking},
            )
            for request in requests
        ]
        prompts = [llm.encode_once(prompt) for prompt in rendered]
        outputs = [output.outputs[0] for output in llm.generate(prompts, GREEDY, use_tqdm=False)]
        return [(output.text, output.finish_reason) for output in outputs]

    return answer_many


class _Talk:
    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.answers: list[str] = []
        self.failure: str | None = None
        self._messages: list[Message] = []
        if prompt.system is not None:
            self._messages.append({"role": "system", "content": prompt.system})

    def goes_on(self) -> bool:
        return self.failure is None and len(self.answers) < len(self.prompt.turns)

    def ask(self) -> Request:
        turn = self.prompt.turns[len(self.answers)]
        if isinstance(turn, str):
            self._messages.append({"role": "user", "content": turn})
        else:
            call_id = self._messages[-1]["tool_calls"][0]["id"]
            content = turn["tool_result"]
            self._messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        return Request(
            messages=list(self._messages),
            tools=self.prompt.tools,
            enable_thinking=self.prompt.enable_thinking,
        )

    def hear(self, text: str, finish_reason: str | None) -> None:
        self.answers.append(text)
        turns, num_answers = self.prompt.turns, len(self.answers)
        self._messages.append(_as_message(text))
        if num_answers == len(turns):
            self.failure = judge(self.prompt, text, finish_reason)
        elif finish_reason != "stop":
            self.failure = f"answer {num_answers} did not stop by itself ({finish_reason})"
        elif (
            not isinstance(turns[num_answers], str)
            and len(self._messages[-1].get("tool_calls", ())) != 1
        ):
            self.failure = f"answer {num_answers} is not a tool call"


def _as_message(text: str) -> Message:
    message: Message = {"role": "assistant", "content": text}
    thought, text = split_thought(text)
    if thought is not None:
        message |= {"content": text, "reasoning_content": thought}
    if calls := parse_calls(text):
        message["content"] = ""
        message["tool_calls"] = [
            {
                "id": f"call_{i}",
                "type": "function",
                "function": {**call, "arguments": json.dumps(call["arguments"])},
            }
            for i, call in enumerate(calls)
        ]
    return message
