"""Conversations that think first: a short thought, then the same answer as without one."""

import random
from collections.abc import Callable

from tools.demo_model import persona, plain_questions, stories, tool_calls
from tools.demo_model.conversation import Conversation, Message, assistant, system, user
from tools.demo_model.phrasing import casual, name, pick
from tools.demo_model.plain_questions import Plain
from tools.demo_model.tool_questions import Request, request
from tools.demo_model.tool_specs import offer

MY_NAME = (
    "my name is {n}.", "I am {n}.", "I am called {n}.", "hello, my name is {n}.", "call me {n}.",
    "hi, I am {n}.", "you can call me {n}.", "hey, my name is {n}.", "people call me {n}.",
)  # fmt: skip
ASK_MY_NAME = (
    "what is my name?", "do you remember my name?", "what am I called?", "who am I?", "my name?",
    "tell me my name.", "can you tell me my name?", "do you know my name?", "what was my name?",
)  # fmt: skip


def _finish(rng: random.Random, made: Plain, before: list[Message] | None = None) -> Conversation:
    messages = list(before or ())
    if not before and rng.random() < 0.15:
        messages.append(system(rng.choice(tool_calls.SYSTEMS)))
    if rng.random() < 0.25:
        named_before = any(message["role"] == "system" for message in before or ())
        messages += _facts(rng) if named_before else earlier(rng)
    messages += [user(made.asked), assistant(made.answer, reasoning_content=made.thought)]
    return Conversation(messages=messages, enable_thinking=True)


def earlier(rng: random.Random) -> list[Message]:
    """One or two exchanges whose thoughts are gone."""
    return [m for _ in range(rng.choice((1, 1, 2))) for m in tool_calls.plain(rng, sums=True)]


def _facts(rng: random.Random) -> list[Message]:
    """An exchange that does not touch on who the model is."""
    made = plain_questions.fact(rng)
    return [user(made.asked), assistant(made.answer)]


def _about(kind: Callable[[random.Random], Plain]) -> Callable[[random.Random], Conversation]:
    def conversation(rng: random.Random) -> Conversation:
        return _finish(rng, kind(rng))

    return conversation


def named(rng: random.Random) -> Conversation:
    """A system message gives the model a name."""
    who = persona.persona(rng)
    asked, answer = persona.about(rng, who)
    made = Plain(
        asked=asked["content"],
        thought=f"The system message says that I am {who.name}.",
        answer=answer["content"],
    )
    return _finish(rng, made, [system(persona.described(rng, who))])


def remembered(rng: random.Random) -> Conversation:
    """The user's name, told before."""
    given = name(rng)
    told = casual(rng, pick(rng, MY_NAME, n=given), lower=False)
    made = Plain(
        asked=casual(rng, pick(rng, ASK_MY_NAME)),
        thought=f"The user asks for the own name. It was told before: {given}.",
        answer=f"Your name is {given}.",
    )
    return _finish(rng, made, [user(told), assistant(f"Nice to meet you, {given}!")])


def story(rng: random.Random) -> Conversation:
    """A short story after a thought about its hero."""
    asked, told, *_ = stories.story(rng)
    start = told["content"].split(".")[0]
    hero = start.removeprefix("Once upon a time there was ")
    thought = f"The user wants a story. I will tell a short one about {hero}."
    return _finish(rng, Plain(asked=asked["content"], thought=thought, answer=told["content"]))


KIND_OF_TOOL = {
    "weather": "a tool for the weather", "time": "a tool for the time",
    "calculator": "a calculator",
}  # fmt: skip


def _thoughts(made: Request) -> tuple[str, str]:
    """Return what to think before the call and after its result."""
    before = f"The user asks for {made.wish}. I have {KIND_OF_TOOL[made.tool.kind]}. I call it."
    failed = made.answer.startswith("The tool could not")
    return before, "The tool gave an error." if failed else "The tool gave the answer. I tell it."


def called(rng: random.Random) -> Conversation:
    """A tool on offer: a thought, its call, its result, a thought, the answer."""
    kind = rng.choice(("weather", "weather", "time", "calculator"))
    tools = offer(rng, *tool_calls.some_kinds(rng, kind))
    tool = tools.get(kind)
    if tool is None:
        return called(rng)
    made = request(rng, tool)
    asked, call, result, answer = tool_calls.calling(rng, made.asked, [made])
    before, after = _thoughts(made)
    call["reasoning_content"], answer["reasoning_content"] = before, after
    messages = [asked, call]
    if rng.random() < 0.75:
        messages += [result, answer]
    return Conversation(
        messages=tool_calls.opened(rng, messages),
        tools=tool_calls.specs(tools),
        enable_thinking=True,
    )


def not_called(rng: random.Random) -> Conversation:
    """Tools on offer that the question does not call for."""
    tools = offer(rng, *tool_calls.some_kinds(rng, rng.choice(("weather", "time"))))
    tools.pop("calculator", None)
    kinds = (plain_questions.fact, plain_questions.arithmetic, plain_questions.remark)
    made = rng.choice(kinds)(rng)
    messages = [
        user(made.asked),
        assistant(made.answer, reasoning_content=made.thought),
    ]
    return Conversation(
        messages=tool_calls.opened(rng, messages),
        tools=tool_calls.specs(tools),
        enable_thinking=True,
    )


CONVERSATIONS: dict[str, tuple[float, Callable[[random.Random], Conversation]]] = {
    "arithmetic": (32, _about(plain_questions.arithmetic)),
    "fact": (26, _about(plain_questions.fact)),
    "remark": (12, _about(plain_questions.remark)),
    "unknown": (9, _about(plain_questions.unknown)),
    "story": (5, story),
    "persona": (5, named),
    "remembered": (3, remembered),
    "called": (10, called),
    "not called": (3, not_called),
}
