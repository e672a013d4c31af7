"""Questions that call for a tool, the results that tools return, and the sentences made of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from operator import add, mul, sub, truediv
from typing import Any

from tools.demo_model.arithmetic import EXPRESSION, PHRASES, SIGNS
from tools.demo_model.number_sense import word_problem
from tools.demo_model.phrasing import name, pick
from tools.demo_model.tool_specs import Tool
from tools.demo_model.world import CAPITALS

WEATHER = (
    "what is the weather in {c}?", "what is the weather in {c}?",
    "what is the weather like in {c}?",
    "how is the weather in {c}?", "weather in {c}?", "weather in {c}", "the weather in {c}?",
   
    "tell me the weather in {c}.", "what is the weather in {c} today?",
    "how is the weather in {c} today?",
    "can you check the weather in {c}?", "please check the weather in {c}.",
    "check the weather in {c}.",
    "I would like to know the weather in {c}.", "do you know the weather in {c}?",
    "is it cold in {c}?",
    "what is the weather like in {c} right now?", "how is the weather in {c} now?",
    "is it raining in {c}?",
    "is it sunny in {c}?", "is it warm in {c}?", "is it hot in {c}?", "does it rain in {c}?",
    "is it snowing in {c}?",
    "what is the temperature in {c}?", "temperature in {c}?", "how warm is it in {c}?",
    "how cold is it in {c}?",
    "how hot is it in {c} today?", "how many degrees is it in {c}?",
    "do I need an umbrella in {c}?",
    "do I need a coat in {c}?", "I am going to {c}. How is the weather there?",
    "what does the sky look like in {c}?",
    "I am in {c}. What is the weather like?", "give me the weather for {c}.",
    "weather report for {c}, please.",
    "could you look up the weather in {c}?", "look up the weather in {c}.",
    "show me the weather in {c}.",
    "get the weather for {c}.", "is the weather good in {c}?", "what is it like outside in {c}?",
    "weather {c}",
    "current weather in {c}", "I want to know how the weather is in {c}.",
    "will I need a hat in {c} today?",
    "find out how the weather is in {c}.", "is it windy in {c}?", "weather for {c}",
    "is {c} sunny today?",
)  # fmt: skip
IN_UNIT = (
    "what is the weather in {c} in {u}?", "what is the temperature in {c} in {u}?",
    "weather in {c} in {u}, please.",
    "how warm is it in {c} in {u}?", "tell me the weather in {c}. Use {u}.",
    "give me the temperature in {c} in {u}.",
    "how is the weather in {c}? In {u}, please.", "what is the weather like in {c}, in {u}?",
    "in {u}, how hot is it in {c}?", "how many degrees {u} is it in {c}?",
)  # fmt: skip
TIME_IN = (
    "what time is it in {c}?", "what time is it in {c}?", "what is the time in {c}?",
    "what is the time in {c} now?",
    "time in {c}?", "time in {c}", "tell me the time in {c}.", "how late is it in {c}?",
    "current time in {c}?",
    "what time is it now in {c}?", "what time is it in {c} right now?",
    "do you know what time it is in {c}?",
    "can you tell me the time in {c}?", "could you check the time in {c}?",
    "check the time in {c}.",
    "I would like to know the time in {c}.", "I want to know what time it is in {c}.",
    "local time in {c}?",
    "what is the local time in {c}?", "what is the current time in {c}?",
    "please tell me the time in {c}.",
    "what does the clock say in {c}?", "give me the time in {c}.", "is it late in {c}?",
    "the time in {c}?",
    "look up the time in {c}.", "I need the time in {c}.",
    "I want to call a friend in {c}. What time is it there?",
    "what hour is it in {c}?", "how late is it now in {c}?", "show me the time in {c}.",
    "get the time for {c}.",
)  # fmt: skip
TIME = (
    "what time is it?", "what time is it?", "what is the time?", "what time is it now?",
    "tell me the time.",
    "can you tell me the time?", "do you know what time it is?", "the time?", "time?",
    "how late is it?",
    "what is the time now?", "what is the current time?", "current time, please.",
    "please tell me the time.",
    "could you check the time?", "check the clock.", "I need to know the time.",
    "what does the clock say?",
    "I would like to know the time.", "what time do we have?", "give me the time.", "is it late?",
    "what time is it right now?", "do you have the time?", "time now?",
    "I forgot my watch. What time is it?",
)  # fmt: skip
WEATHER_ANYWHERE = (
    "what is the weather like?", "how is the weather?", "what is the weather?", "is it raining?",
    "how warm is it?",
    "how is the weather today?", "what is the weather today?", "tell me the weather.",
    "is it sunny?", "weather?",
    "do I need an umbrella?", "check the weather.", "what is the temperature?",
    "is it cold outside?",
)  # fmt: skip
TOWNS = (
    "San Francisco", "New York", "Los Angeles", "Boston", "Chicago", "Seattle", "Munich",
    "Hamburg", "Cologne",
    "Milan", "Naples", "Venice", "Barcelona", "Lyon", "Nice", "Porto", "Zurich", "Geneva",
    "Amsterdam", "Prague",
    "Istanbul", "Sydney", "Melbourne", "Toronto", "Mumbai", "Shanghai", "Osaka", "Kyoto", "Dubai",
    "Singapore",
    "Boston, MA", "San Francisco, CA", "Paris, France", "Austin, Texas", "Manchester", "Liverpool",
    "Bergen",
)  # fmt: skip
NEW = ("New", "Old", "San", "Port", "Lake", "Saint", "North", "South", "Upper", "Fort", "El", "Bad")
ENDS = ("ton", "ville", "burg", "field", "stad", "polis", "bridge", "ford", "ham", "mouth", "dale")
SPOKEN = {"+": ("plus",), "-": ("minus",), "*": ("times", "times", "x"), "/": ("divided by",)}
OPERATORS = {"+": add, "-": sub, "*": mul, "/": truediv}
ZONES = (
    "UTC", "CET", "EST", "PST", "GMT", "Europe/Paris", "Europe/Berlin", "Asia/Tokyo",
    "America/New_York",
    "Europe/London", "Asia/Kolkata", "Australia/Sydney", "America/Chicago", "Africa/Cairo",
)  # fmt: skip
SKIES = (
    "sunny", "cloudy", "rainy", "windy", "foggy", "snowy", "stormy", "clear", "dry",
    "partly cloudy", "overcast",
    "misty", "wet", "warm", "icy", "mostly sunny",
)  # fmt: skip
# These follow "with".
SHOWERS = ("light rain", "heavy rain", "rain", "snow", "fog", "clear sky", "light snow", "clouds")
WARMTH_KEYS = (
    "temperature", "temperature", "temp", "temp_c", "temperature_c", "degrees", "celsius",
)  # fmt: skip
SKY_KEYS = ("condition", "conditions", "weather", "sky", "description", "summary", "forecast")
TIME_KEYS = ("time", "time", "time", "current_time", "local_time", "now", "result")
ERRORS = (
    "city not found", "unknown city", "no connection", "timeout", "service not available",
    "not found",
    "the server is down", "no data", "too many requests", "internal error", "permission denied",
)  # fmt: skip
SUM_ERRORS = ("division by zero", "syntax error", "invalid expression", "timeout", "no connection")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A question for one tool: the call, its result, and the answer."""

    asked: str
    tool: Tool
    arguments: dict[str, Any]
    result: str
    answer: str
    wish: str  # what the user wants, after "The user asks for"


def town(rng: random.Random) -> str:
    """Return a place, often an invented one: places must be copied."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(list(CAPITALS.values()))
    if kind < 0.5:
        return rng.choice(TOWNS)
    made = name(rng)
    if kind < 0.65:
        made += rng.choice(ENDS)
    if kind > 0.88:
        made = f"{rng.choice(NEW)} {made}"
    elif kind > 0.85:
        made = f"{made} {rng.choice(('City', 'Beach', 'Falls', 'Hill'))}"
    return made.lower() if rng.random() < 0.1 else made


def _error(rng: random.Random, errors: Sequence[str]) -> tuple[str, str]:
    error = rng.choice(errors)
    shapes = ({"error": error}, {"error": error}, {"status": "error", "message": error})
    result = f"Error: {error}" if rng.random() < 0.25 else dumps(rng.choice(shapes))
    return result, f"The tool could not answer: {error}."


def _weather_result(rng: random.Random, place: str, unit: str) -> tuple[str, str]:
    if rng.random() < 0.07:
        return _error(rng, ERRORS)
    degrees: float = rng.randint(-15, 40)
    if rng.random() < 0.1:
        degrees += rng.randint(1, 9) / 10
    showers = rng.random() < 0.2
    sky = rng.choice(SHOWERS if showers else SKIES)
    written = sky.capitalize() if rng.random() < 0.15 else sky
    both = f"It is {degrees:g} degrees {'with' if showers else 'and'} {sky} in {place}."
    shape = rng.random()
    if shape < 0.2:
        sign = rng.choice((" degrees", " degrees", "°C", " C", "°"))
        warm = f"{degrees:g}{sign}"
        text = rng.choice((f"{warm}, {written}", f"{written}, {warm}", f"{warm} and {sky}"))
        return (f"{place}: {text}" if rng.random() < 0.2 else text), both
    warmth, outlook = rng.choice(WARMTH_KEYS), rng.choice(SKY_KEYS)
    value: float | str = f"{degrees:g}" if rng.random() < 0.12 else degrees
    items: list[tuple[str, Any]] = [(warmth, value), (outlook, written)]
    answer = both
    if shape < 0.3:
        items, answer = items[:1], f"It is {degrees:g} degrees in {place}."
    elif shape < 0.36:
        items, answer = items[1:], f"{'There is' if showers else 'It is'} {sky} in {place}."
    for key, found in (("unit", unit or "celsius"), ("humidity", rng.randint(20, 95)),
                       ("wind", rng.randint(0, 60))):  # fmt: skip
        if rng.random() < 0.15:
            items.append((key, found))
    if rng.random() < 0.3:
        rng.shuffle(items)
    inner = dict(items)
    if rng.random() < 0.3:
        inner = {rng.choice(("city", "location", "place")): place, **inner}
    elif rng.random() < 0.05:
        inner = {"current": inner}
    return dumps(inner, ensure_ascii=False), answer


def weather(rng: random.Random, tool: Tool, place: str) -> Request:
    arguments, template, unit = {tool.parameters[0]: place}, WEATHER, ""
    if tool.unit and rng.random() < 0.35:
        unit, template = rng.choice(("celsius", "fahrenheit")), IN_UNIT
        arguments[tool.unit] = unit
    result, answer = _weather_result(rng, place, unit)
    shown = unit.capitalize() if rng.random() < 0.5 else unit
    asked = pick(rng, template, c=place, u=shown)
    wish = f"the weather in {place}"
    return Request(
        asked=asked, tool=tool, arguments=arguments, result=result, answer=answer, wish=wish
    )


def _time_result(rng: random.Random, place: str) -> tuple[str, str]:
    if rng.random() < 0.06:
        return _error(rng, ERRORS)
    hour, minute = rng.randrange(24), rng.randrange(60)
    shown = f"{hour:02}:{minute:02}"
    if rng.random() < 0.15:
        shown = f"{hour % 12 or 12}:{minute:02} {'AM' if hour < 12 else 'PM'}"
    answer = f"It is {shown} in {place}." if place else f"It is {shown}."
    shape = rng.random()
    if shape < 0.25:
        return shown, answer
    if shape < 0.33:
        return f"It is {shown}", answer
    if shape < 0.42 and "M" not in shown:
        date = f"{rng.randint(2023, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        text = f"{date}{rng.choice('T ')}{shown}:{rng.randrange(60):02}"
        return rng.choice((text, dumps({"datetime": text}))), answer
    found = {rng.choice(TIME_KEYS): shown}
    if place and rng.random() < 0.25:
        found = {rng.choice(("city", "location", "timezone")): place, **found}
    return dumps(found, ensure_ascii=False), answer


def clock(rng: random.Random, tool: Tool, place: str) -> Request:
    """The time here for a clock without a place, the time there for another."""
    if not tool.parameters or (not tool.needs_place and rng.random() < 0.4):
        result, answer = _time_result(rng, "")
        asked = pick(rng, TIME)
        return Request(
            asked=asked, tool=tool, arguments={}, result=result, answer=answer, wish="the time"
        )
    if "zone" in tool.parameters[0] and rng.random() < 0.5:
        place = rng.choice(ZONES)
    result, answer = _time_result(rng, place)
    return Request(
        asked=pick(rng, TIME_IN, c=place), tool=tool, arguments={tool.parameters[0]: place},
        result=result, answer=answer, wish=f"the time in {place}",
    )  # fmt: skip


def _number(rng: random.Random) -> str:
    digits = rng.choice((1, 1, 2, 2, 2, 3, 3, 4, 5))
    whole = rng.randint(10 ** (digits - 1), 10**digits - 1)
    return f"{whole}.{rng.randint(1, 99)}".rstrip("0") if rng.random() < 0.1 else str(whole)


def _value(numbers: Sequence[str], signs: Sequence[str], *, grouped: bool = False) -> str:
    """Return the value as a tool prints it; `grouped`: the first operation is in brackets."""
    terms = [float(number) for number in numbers]
    rest = list(signs)
    order = ["first"] if grouped else []
    for level in (*order, "*/", "+-"):
        i = 0
        while i < len(rest):
            if rest[i] not in level and level != "first":
                i += 1
                continue
            a, b = terms[i], terms.pop(i + 1)
            sign = rest.pop(i)
            terms[i] = OPERATORS[sign](a, b)
            if level == "first":
                break
    return str(int(terms[0])) if terms[0] == int(terms[0]) else f"{round(terms[0], 4)}"


def _shown(rng: random.Random, expression: str, value: str) -> str:
    """Return a calculator's result in one of its shapes."""
    number: Any = value if rng.random() < 0.15 else float(value) if "." in value else int(value)
    key = rng.choice(("result", "result", "result", "answer", "value", "output"))
    shape = rng.random()
    if shape < 0.35:
        return value
    if shape < 0.42:
        return f"{expression} = {value}"
    if shape < 0.47:
        return f"Result: {value}"
    if shape < 0.57:
        return dumps({"expression": expression, key: number})
    return dumps({key: number})


def calculation(rng: random.Random, tool: Tool) -> Request:
    """A sum of any size for a calculator: two or three numbers, brackets, percent, or a story."""
    kind, ending = rng.random(), ""
    numbers = [_number(rng), _number(rng)]
    signs = [tool.sign or rng.choice("++--***/")]
    if tool.sign:
        kind = 0.0
    if kind > 0.93:
        asked, a, sign, b, ending = word_problem(rng)
        numbers, signs, expression = [str(a), str(b)], [sign], f"{a} {sign} {b}"
        value, ending = _value(numbers, signs), f" {ending}"
    elif kind > 0.89:
        numbers, signs = [numbers[1], numbers[0], "100"], ["*", "/"]
        expression = f"{numbers[0]} * {numbers[1]} / 100"
        value = _value(numbers, signs)
        percent = rng.choice((f"{numbers[1]}%", f"{numbers[1]} percent", f"{numbers[1]} % "))
        asked = pick(rng, EXPRESSION, e=f"{percent.strip()} of {numbers[0]}")
    elif kind > 0.7:
        numbers.append(_number(rng))
        signs.append(rng.choice("++--*/"))
        grouped = rng.random() < 0.25
        parts = [numbers[0], signs[0], numbers[1], signs[1], numbers[2]]
        expression = " ".join(parts) if not grouped else "({} {} {}) {} {}".format(*parts)
        value = _value(numbers, signs, grouped=grouped)
        style = rng.random()
        typed = expression.replace(" ", "") if style < 0.25 else expression
        if style > 0.6 and not grouped:
            spoken = [rng.choice(SPOKEN[sign]) for sign in signs]
            typed = f"{numbers[0]} {spoken[0]} {numbers[1]} {spoken[1]} {numbers[2]}"
        asked = pick(rng, EXPRESSION, e=typed)
    else:
        expression = f"{numbers[0]} {signs[0]} {numbers[1]}"
        value = _value(numbers, signs)
        if rng.random() < 0.3:
            asked = pick(rng, PHRASES[signs[0]], a=numbers[0], b=numbers[1])
        else:
            gap = "" if rng.random() < 0.25 else " "
            written = rng.choice([s for s in SIGNS[signs[0]] if gap or len(s) == 1])
            asked = pick(rng, EXPRESSION, e=f"{numbers[0]}{gap}{written}{gap}{numbers[1]}")
    result, answer = _shown(rng, expression, value), f"{expression} = {value}.{ending}"
    if rng.random() < 0.04:
        result, answer = _error(rng, SUM_ERRORS)
    arguments: dict[str, Any] = {tool.parameters[0]: expression}
    if tool.sign:
        values = [float(n) if "." in n else int(n) for n in numbers]
        arguments = dict(zip(tool.parameters, values, strict=True))
    wish = expression
    return Request(
        asked=asked, tool=tool, arguments=arguments, result=result, answer=answer, wish=wish
    )


def request(rng: random.Random, tool: Tool, place: str = "") -> Request:
    """Return a question for a tool; `place` for those that want one."""
    if tool.kind in ("calculator", "operation"):
        return calculation(rng, tool)
    return (weather if tool.kind == "weather" else clock)(rng, tool, place or town(rng))
