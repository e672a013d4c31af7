"""Questions and answers about days, months and seasons."""

import random
from collections.abc import Callable
from itertools import pairwise

from tools.demo_model.asking import capital, listed, whether
from tools.demo_model.conversation import Message, assistant, user
from tools.demo_model.facts_time_forms import (
    AFTER,
    BEFORE,
    LENGTH,
    LIST,
    MONTHS_OF,
    NTH,
    PLACE,
    SEASON,
    TOMORROW,
    YESTERDAY,
)
from tools.demo_model.phrasing import casual, pick
from tools.demo_model.world import DAYS, MONTH_LENGTHS, MONTHS, ORDINALS, SEASONS

SEASON_OF = {month: season for season, months in SEASONS.items() for month in months}
SEASON_ORDER = ["spring", "summer", "autumn", "winter"]

LISTS = {
    "The days of the week are " + listed(DAYS) + ".": ("days of the week", "days",
    "seven days of the week"),
    "The months of the year are " + listed(MONTHS) + ".": (
        "months of the year", "months", "twelve months of the year",
    ),
    "The seasons are " + listed(SEASON_ORDER) + ".": ("seasons", "four seasons",
    "seasons of the year"),
    "The days of the weekend are Saturday and Sunday.": ("days of the weekend", "weekend days"),
}  # fmt: skip
EXTREMES = {
    "The shortest month is February.": (
        "Which month is the shortest?", "What is the shortest month?", "Which month has 28 days?",
        "Which month has the fewest days?", "What is the shortest month of the year?",
        "Shortest month?",
    ),
    "The warmest season is summer.": (
        "Which season is the warmest?", "What is the hottest season?", "Which season is hot?",
        "What is the warmest season of the year?", "When is it hot?",
        "In which season is it warm?",
    ),
    "The coldest season is winter.": (
        "Which season is the coldest?", "What is the coldest season?", "Which season is cold?",
        "In which season is it cold?", "When is it cold?", "In which season does it snow?",
    ),
    "The weekend is Saturday and Sunday.": (
        "When is the weekend?", "Which days are the weekend?", "What is the weekend?",
        "When is it weekend?",
        "What days are on the weekend?", "Which days belong to the weekend?",
        "On which days is the weekend?",
    ),
    "The last day of the week is Sunday.": (
        "What is the last day of the week?", "Which day is the last of the week?",
        "Last day of the week?",
        "On which day does the week end?",
    ),
    "The first day of the week is Monday.": (
        "On which day does the week begin?", "When does the week start?",
        "Which day begins the week?",
    ),
    "The last month of the year is December.": (
        "What is the last month of the year?", "Which month is the last of the year?",
        "Last month of the year?",
        "In which month does the year end?", "With which month does the year end?",
    ),
    "The first month of the year is January.": (
        "With which month does the year begin?", "In which month does the year start?",
        "Which month begins the year?",
    ),
}  # fmt: skip


def row(rng: random.Random) -> tuple[str, str, list[str]]:
    """Return what is in a circle: the unit, the whole and the names in order."""
    chance = rng.random()
    if chance < 0.45:
        return "day", "week", DAYS
    return ("month", "year", MONTHS) if chance < 0.9 else ("season", "year", SEASON_ORDER)


def exchange(question: str, answer: str) -> list[Message]:
    return [user(question), assistant(answer)]


def ask_next(rng: random.Random) -> list[Message]:
    unit, _, names = row(rng)
    index = rng.randrange(len(names))
    name = names[index]
    if rng.random() < 0.5:
        answer = f"The {unit} after {name} is {names[(index + 1) % len(names)]}."
        return exchange(AFTER.ask(rng, x=name, u=unit), answer)
    answer = f"The {unit} before {name} is {names[index - 1]}."
    return exchange(BEFORE.ask(rng, x=name, u=unit), answer)


def ask_next_in_turn(rng: random.Random) -> list[Message]:
    """What comes after a day, and after that one."""
    unit, _, names = row(rng)
    index = rng.randrange(len(names))
    name, second, third = (names[(index + step) % len(names)] for step in range(3))
    text = pick(
        rng,
        (
            "And after that?",
            "And then?",
            "What comes after that?",
            "And the next one?",
            "And next?",
        ),
    )
    return [
        *exchange(AFTER.ask(rng, x=name, u=unit), f"The {unit} after {name} is {second}."),
        *exchange(casual(rng, text), f"The {unit} after {second} is {third}."),
    ]


def check_next(rng: random.Random) -> list[Message]:
    unit, _, names = row(rng)
    index = rng.randrange(len(names))
    name, right = names[index], rng.random() < 0.5
    side, step = rng.choice((("after", 1), ("before", -1)))
    answer = names[(index + step) % len(names)]
    asked = (
        answer if right else rng.choice([other for other in names if other not in (answer, name)])
    )
    checks = (
        "Does {y} come {s} {x}?", "Is {y} the {u} {s} {x}?", "Is the {u} {s} {x} {y}?",
        "Does {y} come right {s} {x}?",
    )  # fmt: skip
    text = whether(
        rng, checks[0 if right else 1 :], "the {u} {s} {x} is {y}", x=name, y=asked, s=side, u=unit
    )
    return exchange(text, f"{'Yes' if right else 'No'}, the {unit} {side} {name} is {answer}.")


def ask_tomorrow(rng: random.Random) -> list[Message]:
    index = rng.randrange(7)
    if rng.random() < 0.55:
        answer = f"Tomorrow is {DAYS[(index + 1) % 7]}."
        return exchange(TOMORROW.ask(rng, x=DAYS[index]), answer)
    return exchange(YESTERDAY.ask(rng, x=DAYS[index]), f"Yesterday was {DAYS[index - 1]}.")


def ask_between(rng: random.Random) -> list[Message]:
    unit, _, names = row(rng)
    index = rng.randrange(len(names))
    a, middle, b = (names[(index + step) % len(names)] for step in range(3))
    forms = (
        "Which {u} is between {a} and {b}?", "What {u} is between {a} and {b}?",
        "What is between {a} and {b}?",
        "Which {u} comes between {a} and {b}?", "What comes between {a} and {b}?",
        "Between {a} and {b}?",
        "Name the {u} between {a} and {b}.", "{a}, ?, {b}", "The {u} between {a} and {b} is",
        "Which {u} lies between {a} and {b}?", "Tell me the {u} between {a} and {b}.",
    )  # fmt: skip
    text = casual(rng, pick(rng, forms, a=a, b=b, u=unit))
    return exchange(text, f"The {unit} between {a} and {b} is {middle}.")


def ask_order(rng: random.Random) -> list[Message]:
    unit, whole, names = row(rng)
    if unit == "season":
        unit, whole, names = "month", "year", MONTHS
    index = rng.randrange(len(names))
    name, ordinal = names[index], ORDINALS[index]
    if rng.random() < 0.65:
        text = NTH.ask(rng, n=ordinal, k=index + 1, u=unit, w=whole)
        return exchange(text, f"The {ordinal} {unit} of the {whole} is {name}.")
    text = PLACE.ask(rng, x=name, u=unit, w=whole)
    return exchange(text, f"{name} is the {ordinal} {unit} of the {whole}.")


def list_names(rng: random.Random) -> list[Message]:
    answer, names = rng.choice(list(LISTS.items()))
    return exchange(LIST.ask(rng, x=rng.choice(names)), answer)


def ask_extreme(rng: random.Random) -> list[Message]:
    answer, questions = rng.choice(list(EXTREMES.items()))
    return exchange(casual(rng, rng.choice(questions)), answer)


def check_weekend(rng: random.Random) -> list[Message]:
    day = rng.choice(DAYS)
    checks = (
        "Is {x} part of the weekend?", "Is {x} a weekend day?", "Is {x} on the weekend?",
        "Is it weekend on {x}?",
        "Does {x} belong to the weekend?",
    )  # fmt: skip
    text = whether(rng, checks, "{x} is part of the weekend", x=day)
    if day in DAYS[5:]:
        return exchange(text, f"Yes, {day} is part of the weekend.")
    return exchange(text, f"No, {day} is not part of the weekend.")


def check_name(rng: random.Random) -> list[Message]:
    """Ask what it is: a day or a month."""
    unit, names = rng.choice((("day", DAYS), ("month", MONTHS), ("season", SEASON_ORDER)))
    name, asked = rng.choice(names), rng.choice(("day", "month", "season"))
    if rng.random() < 0.2:
        text = casual(rng, pick(rng, ("What is {x}?", "Is {x} a day or a month?"), x=name))
        return exchange(text, f"{capital(name)} is a {unit}.")
    text = whether(
        rng, ("Is {x} a {u}?", "Is {x} the name of a {u}?"), "{x} is a {u}", x=name, u=asked
    )
    return exchange(text, f"{'Yes' if asked == unit else 'No'}, {name} is a {unit}.")


def ask_month_length(rng: random.Random) -> list[Message]:
    index = rng.randrange(12)
    month, days = MONTHS[index], MONTH_LENGTHS[index]
    if rng.random() < 0.25:
        asked = days if rng.random() < 0.5 else rng.choice((28, 30, 31))
        checks = ("Does {x} have {k} days?", "Has {x} got {k} days?", "Are there {k} days in {x}?")
        text = whether(rng, checks, "{x} has {k} days", x=month, k=asked)
        return exchange(text, f"{'Yes' if asked == days else 'No'}, {month} has {days} days.")
    return exchange(LENGTH.ask(rng, x=month), f"{month} has {days} days.")


def ask_season(rng: random.Random) -> list[Message]:
    month = rng.choice(MONTHS)
    season, chance = SEASON_OF[month], rng.random()
    if chance < 0.25:
        asked = season if rng.random() < 0.5 else rng.choice(SEASON_ORDER)
        checks = (
            "Is {x} in {s}?",
            "Is {x} a {s} month?",
            "Is it {s} in {x}?",
            "Does {x} belong to {s}?",
        )
        text = whether(rng, checks, "{x} is in {s}", x=month, s=asked).replace(
            " a autumn", " an autumn"
        )
        return exchange(text, f"{'Yes' if asked == season else 'No'}, {month} is in {season}.")
    if chance < 0.5:
        shown = "fall" if season == "autumn" and rng.random() < 0.3 else season
        return exchange(
            MONTHS_OF.ask(rng, x=shown), f"The months of {season} are {listed(SEASONS[season])}."
        )
    return exchange(SEASON.ask(rng, x=month), f"{month} is in {season}.")


def time_text(rng: random.Random) -> str:
    """Return a few true sentences about days or months."""
    unit, whole, names = row(rng)
    count = rng.randint(3, 6)
    start = rng.randrange(len(names))
    run = [names[(start + step) % len(names)] for step in range(count + 1)]
    chance = rng.random()
    if unit == "season" or chance < 0.4:
        return " ".join(f"The {unit} after {a} is {b}." for a, b in pairwise(run))
    if unit == "month" and chance < 0.6:
        return " ".join(f"{name} has {MONTH_LENGTHS[MONTHS.index(name)]} days." for name in run[1:])
    if unit == "month" and chance < 0.75:
        return " ".join(f"{name} is in {SEASON_OF[name]}." for name in run[1:])
    texts = list(LISTS) + list(EXTREMES)
    if chance < 0.85:
        return " ".join(rng.sample(texts, 3))
    first = [f"The {ORDINALS[i]} {unit} of the {whole} is {names[i]}." for i in range(len(names))]
    return " ".join(first[:count])


EXCHANGES: dict[str, tuple[float, Callable[[random.Random], list[Message]]]] = {
    "next": (2.5, ask_next), "next_in_turn": (0.6, ask_next_in_turn),
    "next_check": (0.8, check_next),
    "tomorrow": (1.5, ask_tomorrow), "between": (0.6, ask_between), "order": (1.5, ask_order),
    "list": (1, list_names), "extreme": (0.8, ask_extreme), "weekend_check": (0.4, check_weekend),
    "day_or_month": (0.4, check_name), "month_length": (1.2, ask_month_length),
    "season": (1.5, ask_season),
}  # fmt: skip
