"""Conversations with tools on offer: whether to call one, the call, and the answer from it."""

import random
from collections.abc import Callable, Sequence
from functools import partial

from tools.demo_model import plain_questions, smalltalk, tool_specs
from tools.demo_model.conversation import Conversation, Message, assistant, system, user
from tools.demo_model.number_sense import retold
from tools.demo_model.phrasing import casual, name, pick
from tools.demo_model.tool_questions import (
    TIME,
    TIME_IN,
    WEATHER,
    WEATHER_ANYWHERE,
    Request,
    request,
    town,
)
from tools.demo_model.tool_specs import Tool, offer

NO_WEATHER = "I cannot see the weather. I have no tool for that."
NO_TIME = "I cannot see the time. I have no tool for that."
WHICH_CITY = "Which city do you mean?"
SYSTEMS = (
    "You are a helpful assistant.", "You are a helpful assistant.",
    "You are a helpful assistant with tools.",
    "Answer briefly.", "You are a friendly assistant.", "Use the tools when they help.",
    "You can use tools.",
    "You are an assistant that can call tools.", "Be polite and short.", "Answer in one sentence.",
    "You are a weather assistant.", "Help the user.",
)  # fmt: skip
FOLLOW_CITY = (
    "and in {c}?", "and {c}?", "what about {c}?", "how about {c}?", "and for {c}?",
    "what about in {c}?",
    "now {c}.", "same for {c}.", "and now {c}?", "thanks, and in {c}?", "OK, and in {c}?",
)  # fmt: skip
TWO_WEATHERS = (
    "what is the weather in {a} and {b}?", "how is the weather in {a} and in {b}?",
    "weather in {a} and {b}?",
    "compare the weather in {a} and {b}.", "tell me the weather in {a} and in {b}.",
    "what is the weather like in {a} and {b}?", "is it warmer in {a} or in {b}?",
    "check the weather in {a} and {b}.",
    "I want to know the weather in {a} and {b}.", "how warm is it in {a} and {b}?",
)  # fmt: skip
TWO_TIMES = (
    "what time is it in {a} and {b}?", "what is the time in {a} and in {b}?",
    "time in {a} and {b}?",
    "tell me the time in {a} and {b}.", "can you check the time in {a} and in {b}?",
    "what time is it in {a} and in {b}?", "how late is it in {a} and {b}?",
    "the time in {a} and {b}, please.",
)  # fmt: skip
BOTH = (
    "what is the weather and the time in {c}?", "weather and time in {c}?",
    "how is the weather in {c}, and what time is it there?",
    "tell me the weather and the time in {c}.",
    "what is the weather in {c} and what time is it there?",
    "I need the weather and the time in {c}.", "check the weather and the time in {c}.",
)  # fmt: skip


def _call(tool: Tool, arguments: dict[str, object], number: int = 1) -> dict[str, object]:
    function = {"name": tool.name, "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


def calling(rng: random.Random, asked: str, requests: Sequence[Request]) -> list[Message]:
    """Return a question, the calls for it, their results and the answer."""
    calls = [_call(made.tool, made.arguments, i) for i, made in enumerate(requests, 1)]
    results = [
        {"role": "tool", "tool_call_id": f"call_{i}", "content": made.result}
        for i, made in enumerate(requests, 1)
    ]
    answer = " ".join(made.answer for made in requests)
    said = user(retold(rng, asked))
    return [said, assistant("", tool_calls=calls), *results, assistant(answer)]


def asking(rng: random.Random, tool: Tool) -> list[Message]:
    made = request(rng, tool)
    return calling(rng, made.asked, [made])


def in_order(rng: random.Random, tools: dict[str, Tool]) -> list[Tool]:
    """Return the tools that answer something."""
    found = [tool for tool in tools.values() if tool.kind != "other"]
    rng.shuffle(found)
    return found


def opened(rng: random.Random, messages: list[Message]) -> list[Message]:
    """Return the messages, perhaps after a system message; it gives no name where one is said."""
    said = " ".join(message["content"] for message in messages)
    may_name = "lite" not in said and "How can I help you?" not in said
    return [*_opening(rng, may_name=may_name), *messages]


def _opening(rng: random.Random, *, may_name: bool) -> list[Message]:
    if rng.random() > 0.35:
        return []
    if may_name and rng.random() < 0.2:
        return [system(f"You are {name(rng)}.")]
    return [system(rng.choice(SYSTEMS))]


def specs(tools: dict[str, Tool]) -> list[dict[str, object]]:
    return [tool.spec for tool in tools.values()]


def some_kinds(rng: random.Random, *first: str) -> tuple[str, ...]:
    """Return `first` and at times further kinds of tools."""
    others = [kind for kind in tool_specs.MAKERS if kind not in first]
    rng.shuffle(others)
    return (*first, *others[: rng.choice((0, 0, 0, 1, 1, 2))])


def plain(rng: random.Random, *, sums: bool) -> list[Message]:
    """A question that needs no tool, and its answer; `sums` where no calculator is on offer."""
    kind = rng.random()
    if sums and kind < 0.2:
        made = plain_questions.arithmetic(rng)
    elif kind < 0.5:
        made = plain_questions.remark(rng)
    elif kind < 0.88:
        made = plain_questions.fact(rng)
    else:
        made = plain_questions.unknown(rng)
    return [user(made.asked), assistant(made.answer)]


def _thanks(rng: random.Random) -> list[Message]:
    return smalltalk.EXCHANGES["thanks"][1](rng)


def _operations(rng: random.Random) -> dict[str, Tool]:
    signs = rng.sample("+-*/", rng.choice((1, 2, 2, 3)))
    tools = {sign: tool_specs.operation(rng, sign) for sign in signs}
    if rng.random() < 0.3:
        kind = rng.choice(("weather", "time"))
        tools[kind] = tool_specs.MAKERS[kind](rng)
    return tools


def _further(rng: random.Random, tools: dict[str, Tool], last: Tool) -> list[Message]:
    """What comes after an answer: often nothing, a thank you, another question."""
    kind = rng.random()
    if kind < 0.6:
        return []
    if kind < 0.7:
        return _thanks(rng)
    if kind < 0.78:
        kinds = {tool.kind for tool in tools.values()}
        return plain(rng, sums=kinds.isdisjoint(("calculator", "operation")))
    if kind < 0.88 and last.kind in ("weather", "time") and last.needs_place:
        made = request(rng, last, place := town(rng))
        if place in made.arguments.values() and len(made.arguments) == 1:
            return calling(rng, pick(rng, FOLLOW_CITY, c=place), [made])
    messages = asking(rng, rng.choice(in_order(rng, tools)))
    return messages + (_thanks(rng) if rng.random() < 0.2 else [])


def one_call(rng: random.Random, kind: str) -> Conversation:
    """A question for the tool of one kind, alone or among others."""
    tools = _operations(rng) if kind == "operation" else offer(rng, *some_kinds(rng, kind))
    tool = rng.choice(in_order(rng, tools)) if kind == "operation" else tools.get(kind)
    if tool is None:  # lost its name to another tool
        return one_call(rng, kind)
    before = plain(rng, sums=False) if rng.random() < 0.12 else []
    messages = [*before, *asking(rng, tool), *_further(rng, tools, tool)]
    return Conversation(messages=opened(rng, messages), tools=specs(tools))


def two_calls(rng: random.Random) -> Conversation:
    """One question that takes two calls: two cities, or the weather and the time."""
    wanted = rng.choice((("weather",), ("weather",), ("time",), ("weather", "time")))
    tools = offer(rng, *some_kinds(rng, *wanted))
    used = [tools[kind] for kind in wanted if kind in tools]
    if len(used) < len(wanted) or not all(tool.needs_place for tool in used):
        return two_calls(rng)
    a, b = town(rng), town(rng)
    while True:  # no time zone, no unit
        places = (a, b) if len(used) == 1 else (a, a)
        requests = [
            request(rng, tool, place) for tool, place in zip((used * 2)[:2], places, strict=True)
        ]
        if [list(made.arguments.values()) for made in requests] == [[p] for p in places]:
            break
    template = BOTH if len(used) == 2 else TWO_WEATHERS if wanted == ("weather",) else TWO_TIMES
    text = pick(rng, template, a=a, b=b, c=a)
    return Conversation(messages=opened(rng, calling(rng, text, requests)), tools=specs(tools))


def which_city(rng: random.Random) -> Conversation:
    """A question that lacks the city: the model asks for it, then calls."""
    kind = rng.choice(("weather", "weather", "time"))
    tools = offer(rng, *some_kinds(rng, kind))
    tool = tools.get(kind)
    if tool is None or not tool.needs_place:
        return which_city(rng)
    while True:
        place = town(rng)
        made = request(rng, tool, place)
        if list(made.arguments.values()) == [place]:
            break
    text = pick(rng, WEATHER_ANYWHERE if kind == "weather" else TIME)
    replies = ("{c}", "{c}.", "In {c}.", "in {c}", "I mean {c}.", "{c}, please.")
    reply = rng.choice(replies).format(c=place)
    _, *rest = calling(rng, reply, [made])
    messages = [user(casual(rng, text)), assistant(WHICH_CITY), user(reply), *rest]
    return Conversation(messages=opened(rng, messages), tools=specs(tools))


def no_call(rng: random.Random) -> Conversation:
    """Questions that need no tool."""
    tools = offer(rng, *some_kinds(rng, rng.choice(list(tool_specs.MAKERS))))
    sums = "calculator" not in tools
    messages = [m for _ in range(rng.choice((1, 1, 1, 2))) for m in plain(rng, sums=sums)]
    if rng.random() < 0.2:
        messages += asking(rng, rng.choice(in_order(rng, tools)))
    return Conversation(messages=opened(rng, messages), tools=specs(tools))


def no_tool(rng: random.Random) -> Conversation:
    """A question for a tool that is not on offer."""
    missing = rng.choice(("weather", "weather", "time"))
    others = [kind for kind in tool_specs.MAKERS if kind != missing]
    tools = offer(rng, *rng.sample(others, rng.choice((1, 1, 2))))
    if rng.random() < 0.15:
        tools = {"other": tool_specs.distractor(rng)}
    if missing == "weather":
        text, answer = pick(rng, WEATHER, c=town(rng)), NO_WEATHER
    elif rng.random() < 0.5:
        text, answer = pick(rng, TIME), NO_TIME
    else:
        text, answer = pick(rng, TIME_IN, c=town(rng)), NO_TIME
    messages = [user(casual(rng, text).strip()), assistant(answer)]
    if rng.random() < 0.2 and (callable_tools := in_order(rng, tools)):
        messages += asking(rng, rng.choice(callable_tools))
    return Conversation(messages=opened(rng, messages), tools=specs(tools))


CONVERSATIONS: dict[str, tuple[float, Callable[[random.Random], Conversation]]] = {
    "weather": (30, partial(one_call, kind="weather")),
    "calculator": (22, partial(one_call, kind="calculator")),
    "time": (16, partial(one_call, kind="time")),
    "operation": (4, partial(one_call, kind="operation")),
    "two calls": (5, two_calls),
    "which city": (3, which_city),
    "no call": (14, no_call),
    "no tool": (6, no_tool),
}
