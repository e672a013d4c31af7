"""Tools as clients describe them: weather, calculators, clocks, and some that are never called."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.demo_model.phrasing import name

VERBS = ("get", "get", "get", "fetch", "lookup", "check", "find", "query", "read", "show", "tell")
WEATHER_NOUNS = (
    "weather", "weather", "weather", "current_weather", "weather_now", "forecast", "temperature",
    "weather_report", "conditions", "weather_data", "weather_info",
)  # fmt: skip
TIME_NOUNS = ("time", "time", "current_time", "local_time", "clock", "time_now", "world_time")
CALCULATORS = (
    "calculator", "calculate", "calc", "compute", "evaluate", "math", "do_math", "eval_expression",
    "evaluate_expression", "run_calculator", "solve", "arithmetic", "calculate_expression",
    "math_tool", "simple_calculator", "compute_expression",
)  # fmt: skip
WEATHER_DESCRIPTIONS = (
    "Get the current weather in a given location", "Get the weather in a city.",
    "Get the current weather for a city.", "Returns the weather of a place.", "Current weather",
    "Look up the weather.", "Tells the temperature and the sky in a city.", "Weather by city name",
    "Get weather information for a location.", "Weather report for a place", "The weather now.",
    "Use this to find out how the weather is.", "Fetch current temperature and conditions.",
)  # fmt: skip
TIME_DESCRIPTIONS = (
    "Get the current time.", "Get the current time in a city.",
    "Returns the local time of a place.",
    "Tells what time it is.", "Current time", "The time now.", "Look up the time in a city.",
    "Get the time in a given location", "A clock.", "Use this to find out what time it is.",
)  # fmt: skip
CALCULATOR_DESCRIPTIONS = (
    "Evaluate a mathematical expression.", "Calculates the result of an expression.",
    "A calculator.",
    "Do arithmetic.", "Evaluate an arithmetic expression", "Compute a sum.", "Simple calculator",
    "Use this for all calculations.", "Performs basic arithmetic: + - * /.", "Work out a formula.",
    "Calculate a math expression and return the result.", "Solves sums.",
)  # fmt: skip
PLACES = ("city", "city", "city", "location", "location", "place", "town", "where", "city_name")
PLACE_DESCRIPTIONS = (
    "The city", "City name", "The name of the city", "The name of the city.", "Name of a city",
    "The city, e.g. Paris", "The city and state, e.g. San Francisco, CA", "The place", "A town.",
    "The location to look up", "Where",
)  # fmt: skip
FORMULAS = (
    "expression", "expression", "expression", "expr", "formula", "calculation", "input", "sum",
)  # fmt: skip
FORMULA_DESCRIPTIONS = (
    "The expression to evaluate", "The expression, e.g. 2 + 2", "A math expression", "The formula",
    "Expression", "What to calculate", "Arithmetic expression, for example 3 * 4",
)  # fmt: skip
OPERATIONS = {
    "+": ("add", "sum", "plus", "addition", "add_numbers"),
    "-": ("subtract", "minus", "difference", "subtraction", "subtract_numbers"),
    "*": ("multiply", "times", "product", "multiplication", "multiply_numbers"),
    "/": ("divide", "quotient", "division", "divide_numbers"),
}  # fmt: skip
OPERATION_DESCRIPTIONS = {
    "+": ("Add two numbers.", "Adds two numbers", "Returns the sum of two numbers."),
    "-": ("Subtract two numbers.", "Subtract the second number from the first."),
    "*": ("Multiply two numbers.", "Multiplies two numbers", "Returns the product."),
    "/": ("Divide two numbers.", "Divide the first number by the second."),
}  # fmt: skip
PAIRS = (("a", "b"), ("a", "b"), ("x", "y"), ("first", "second"), ("n1", "n2"), ("left", "right"))
# name: (description, parameters)
DISTRACTORS = {
    "send_email": ("Send an email.", ("to", "subject", "body")),
    "search_web": ("Search the web.", ("query",)),
    "web_search": ("Search for pages.", ("query",)),
    "play_music": ("Play a song.", ("song",)),
    "set_alarm": ("Set an alarm.", ("at",)),
    "create_event": ("Add an event to the calendar.", ("title", "date")),
    "translate": ("Translate a text.", ("text", "language")),
    "read_file": ("Read a file.", ("path",)),
    "turn_on_light": ("Switch on a light.", ("room",)),
    "book_table": ("Book a table in a restaurant.", ("restaurant", "people")),
    "get_stock_price": ("Get the price of a stock.", ("symbol",)),
    "order_pizza": ("Order a pizza.", ("kind", "size")),
    "send_message": ("Send a text message.", ("to", "text")),
    "get_news": ("Get the latest news.", ("topic",)),
    "open_door": ("Open a door.", ("door",)),
    "take_note": ("Write down a note.", ("text",)),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool's description for the client, and what the generator knows of it."""

    spec: dict[str, Any]
    kind: str  # "weather", "time", "calculator", "operation", "other"
    sign: str = ""  # of an operation
    parameters: Sequence[str] = ()
    unit: str = ""  # the name of the optional unit, if there is one
    needs_place: bool = True

    @property
    def name(self) -> str:
        return str(self.spec["function"]["name"])


def _text(rng: random.Random, descriptions: Sequence[str]) -> dict[str, Any]:
    described = rng.random() < 0.7
    return {"type": "string"} | ({"description": rng.choice(descriptions)} if described else {})


def _spec(
    rng: random.Random,
    name: str,
    description: str,
    properties: dict[str, Any],
    required: list[str],
) -> dict[str, Any]:
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required or rng.random() < 0.5:
        parameters["required"] = required
    if rng.random() < 0.05:
        parameters["additionalProperties"] = False
    if rng.random() < 0.08:
        parameters = dict(reversed(parameters.items()))
    function: dict[str, Any] = {"name": name}
    if rng.random() < 0.95:
        function["description"] = description
    function["parameters"] = parameters
    if rng.random() < 0.08:
        function = dict(reversed(function.items()))
    spec: dict[str, Any] = {"type": "function", "function": function}
    return dict(reversed(spec.items())) if rng.random() < 0.05 else spec


def _function_name(rng: random.Random, verbs: Sequence[str], nouns: Sequence[str]) -> str:
    """Return a name in one of the usual styles, at times with an invented part."""
    noun = rng.choice(nouns)
    made = noun if rng.random() < 0.25 else f"{rng.choice(verbs)}_{noun}"
    style = rng.random()
    if style < 0.12:
        made += rng.choice(("_in_city", "_for_city", "_tool", "_v2", "_api", "_by_city", "_2"))
    elif style < 0.3:
        made = rng.choice((f"{name(rng).lower()}_{made}", f"{made}_{name(rng).lower()}"))
    if rng.random() < 0.2:
        first, *rest = made.split("_")
        return first + "".join(part.capitalize() for part in rest)
    return made.replace("_", "-") if rng.random() < 0.03 else made


def weather(rng: random.Random) -> Tool:
    place = rng.choice(PLACES)
    properties = {place: _text(rng, PLACE_DESCRIPTIONS)}
    unit = rng.choice(("unit", "unit", "units", "scale")) if rng.random() < 0.35 else ""
    if unit:
        properties[unit] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
        if rng.random() < 0.15:
            properties = dict(reversed(properties.items()))
    made = _function_name(rng, VERBS, WEATHER_NOUNS)
    spec = _spec(rng, made, rng.choice(WEATHER_DESCRIPTIONS), properties, [place])
    return Tool(spec=spec, kind="weather", parameters=(place,), unit=unit)


def clock(rng: random.Random) -> Tool:
    """A clock that knows a city's time, a time zone's, or just the time."""
    made = _function_name(rng, VERBS, TIME_NOUNS)
    description = rng.choice(TIME_DESCRIPTIONS)
    if rng.random() < 0.25:
        description = rng.choice([d for d in TIME_DESCRIPTIONS if "city" not in d])
        return Tool(spec=_spec(rng, made, description, {}, []), kind="time", needs_place=False)
    place = rng.choice((*PLACES, "timezone", "timezone", "zone"))
    properties = {place: _text(rng, ("The time zone",) if "zone" in place else PLACE_DESCRIPTIONS)}
    optional = rng.random() < 0.25
    spec = _spec(rng, made, description, properties, [] if optional else [place])
    return Tool(spec=spec, kind="time", parameters=(place,), needs_place=not optional)


def calculator(rng: random.Random) -> Tool:
    made = rng.choice(CALCULATORS)
    if rng.random() < 0.2:
        made = rng.choice((f"{name(rng).lower()}_{made}", f"{made}_{name(rng).lower()}"))
    formula = rng.choice(FORMULAS)
    properties = {formula: _text(rng, FORMULA_DESCRIPTIONS)}
    spec = _spec(rng, made, rng.choice(CALCULATOR_DESCRIPTIONS), properties, [formula])
    return Tool(spec=spec, kind="calculator", parameters=(formula,))


def operation(rng: random.Random, sign: str) -> Tool:
    """One operation with its two numbers as parameters."""
    made = rng.choice(OPERATIONS[sign])
    if rng.random() < 0.15:
        made = f"{made}_{name(rng).lower()}"
    names = rng.choice(PAIRS)
    kind = rng.choice(("number", "number", "integer"))
    properties = {parameter: {"type": kind} for parameter in names}
    spec = _spec(rng, made, rng.choice(OPERATION_DESCRIPTIONS[sign]), properties, list(names))
    return Tool(spec=spec, kind="operation", sign=sign, parameters=names)


def distractor(rng: random.Random) -> Tool:
    made, (description, parameters) = rng.choice(list(DISTRACTORS.items()))
    properties = {parameter: {"type": "string"} for parameter in parameters}
    return Tool(spec=_spec(rng, made, description, properties, list(parameters)), kind="other")


MAKERS = {"weather": weather, "time": clock, "calculator": calculator}


def offer(rng: random.Random, *kinds: str) -> dict[str, Tool]:
    """Return tools in random order by kind: those of `kinds`, at times with distractors."""
    tools = {kind: MAKERS[kind](rng) for kind in kinds}
    for number in range(rng.choice((0, 0, 0, 0, 1, 1, 2)) if len(kinds) < 3 else 0):
        tools[f"other {number}"] = distractor(rng)
    names = list(tools)
    rng.shuffle(names)
    unique = {tools[kind].name: kind for kind in names}
    return {kind: tools[kind] for kind in names if kind in unique.values()}
