"""Questions and answers about capitals, colours, opposites and counts; plain text of the facts."""

import random
from collections.abc import Callable

from tools.demo_model.asking import Forms, american, capital, listed, plural, whether
from tools.demo_model.conversation import Message, assistant, user
from tools.demo_model.facts_animals import EXCHANGES as ANIMAL_EXCHANGES
from tools.demo_model.facts_animals import animal_text
from tools.demo_model.facts_forms import (
    CAPITAL,
    CAPITAL_CHECKS,
    CAPITAL_STATEMENTS,
    COLOUR,
    COLOUR_CHECKS,
    COUNT,
    COUNTRY,
    FOLLOW_UPS,
    MAKE,
    MANY_THINGS,
    MIX,
    OPPOSITE,
    OPPOSITE_CHECKS,
    SOMETHING,
    WHERE,
)
from tools.demo_model.facts_time import EXCHANGES as TIME_EXCHANGES
from tools.demo_model.facts_time import time_text
from tools.demo_model.phrasing import casual, pick
from tools.demo_model.world import CAPITALS, COLOURS, COUNTS, MIXTURES, NUMBERS, OPPOSITES

COUNTRIES = list(CAPITALS)
COUNTRY_OF = {city: country for country, city in CAPITALS.items()}
# Other names of a country, answered with its own.
OTHER_NAMES = {
    "the United States": ("the USA", "the US", "America", "the United States of America")
}
COLOUR_NAMES = sorted(set(COLOURS.values()))
THINGS = list(COLOURS)
THINGS_OF = {
    colour: [thing for thing, its in COLOURS.items() if its == colour] for colour in COLOUR_NAMES
}
# "light" is the opposite of both "dark" and "heavy": asked for its own, only "dark" is the answer.
OPPOSITE_OF = dict(OPPOSITES) | {b: a for a, b in OPPOSITES if (a, b) != ("heavy", "light")}
WORDS = list(OPPOSITE_OF)


def exchange(question: str, answer: str) -> list[Message]:
    """Return one question with its answer."""
    return [user(question), assistant(answer)]


def capital_sentence(country: str) -> str:
    return f"The capital of {country} is {CAPITALS[country]}."


def called(rng: random.Random, country: str) -> str:
    """Return a name of the country that a user may give it."""
    if country in OTHER_NAMES and rng.random() < 0.5:
        return rng.choice(OTHER_NAMES[country])
    return country


def ask_capital(rng: random.Random) -> list[Message]:
    country = rng.choice(COUNTRIES)
    return exchange(CAPITAL.ask(rng, x=called(rng, country)), capital_sentence(country))


def ask_capitals_in_turn(rng: random.Random) -> list[Message]:
    """A question about one country, then about others in a few words."""
    first, *others = rng.sample(COUNTRIES, rng.choice((2, 2, 3)))
    messages = exchange(CAPITAL.ask(rng, x=first), capital_sentence(first))
    for country in others:
        text = casual(rng, pick(rng, FOLLOW_UPS, x=country))
        messages += exchange(text, capital_sentence(country))
    return messages


def ask_two_capitals(rng: random.Random) -> list[Message]:
    a, b = rng.sample(COUNTRIES, 2)
    text = pick(
        rng,
        (
            "What are the capitals of {a} and {b}?", "Capitals of {a} and {b}?",
            "Name the capitals of {a} and {b}.", "Tell me the capitals of {a} and {b}.",
            "What is the capital of {a} and what is the capital of {b}?",
            "Give me the capitals of {a} and {b}.",
            "Do you know the capitals of {a} and {b}?", "What is the capital of {a}? And of {b}?",
            "I would like to know the capitals of {a} and {b}.",
            "Which capitals do {a} and {b} have?",
        ),
        a=a,
        b=b,
    )  # fmt: skip
    return exchange(casual(rng, text), f"{capital_sentence(a)} {capital_sentence(b)}")


def ask_country(rng: random.Random) -> list[Message]:
    city, country = rng.choice(list(COUNTRY_OF.items()))
    if rng.random() < 0.5:
        return exchange(COUNTRY.ask(rng, y=city), f"{city} is the capital of {country}.")
    return exchange(WHERE.ask(rng, y=city), f"{city} is in {country}.")


def check_capital(rng: random.Random) -> list[Message]:
    country, other = rng.sample(COUNTRIES, 2)
    right = rng.random() < 0.5
    city = CAPITALS[country if right else other]
    statement = rng.choice(CAPITAL_STATEMENTS)
    text = whether(rng, CAPITAL_CHECKS, statement, x=called(rng, country), y=city)
    sentence = f"the capital of {country} is {CAPITALS[country]}."
    return exchange(text, f"{'Yes' if right else 'No'}, {sentence}")


def check_kind(rng: random.Random) -> list[Message]:
    """Ask what it is: a city or a country."""
    country = rng.choice(COUNTRIES)
    city = CAPITALS[country]
    place, kind = rng.choice(((country, "country"), (city, "city")))
    if rng.random() < 0.3:
        text = pick(
            rng,
            (
                "Is {x} a city or a country?", "Is {x} a country or a city?", "What is {x}?",
                "What is {x}, a city or a country?", "{x}: city or country?",
                "Tell me what {x} is.",
            ),
            x=place,
        )  # fmt: skip
        return exchange(casual(rng, text), f"{capital(place)} is a {kind}.")
    asked = rng.choice(("country", "city"))
    text = whether(
        rng, ("Is {x} a {k}?", "Is {x} the name of a {k}?"), "{x} is a {k}", x=place, k=asked
    )
    return exchange(text, f"{'Yes' if asked == kind else 'No'}, {place} is a {kind}.")


def colour_question(rng: random.Random, thing: str, forms: Forms = COLOUR) -> str:
    """Return a question for the colour of a thing, which is in the plural without an article."""
    return american(rng, forms.ask(rng, x=thing, **SINGULAR))


def thing_named(rng: random.Random, thing: str) -> tuple[str, dict[str, str]]:
    """Return the thing in the singular or the plural, with its verbs."""
    if thing.startswith(("a ", "an ")) and rng.random() < 0.45:
        return plural(thing.split(" ", 1)[1]), PLURAL
    return thing, SINGULAR


SINGULAR = {"is": "is", "does": "does", "has": "has", "it": "it", "be": "is", "do": "does"}
PLURAL = {"is": "are", "does": "do", "has": "have", "it": "they", "be": "are", "do": "do"}


def ask_colour(rng: random.Random) -> list[Message]:
    thing = rng.choice(THINGS)
    named, verbs = thing_named(rng, thing)
    text = american(rng, COLOUR.ask(rng, x=named, **verbs))
    return exchange(text, f"{capital(named)} {verbs['is']} {COLOURS[thing]}.")


def ask_colours_in_turn(rng: random.Random) -> list[Message]:
    messages = []
    for index, thing in enumerate(rng.sample(THINGS, 2)):
        named, verbs = thing_named(rng, thing)
        if index:
            text = casual(
                rng, pick(rng, FOLLOW_UPS[:1] + FOLLOW_UPS[3:4] + FOLLOW_UPS[5:7], x=named)
            )
            text = text.replace("the capital of ", "")
        else:
            text = american(rng, COLOUR.ask(rng, x=named, **verbs))
        messages += exchange(text, f"{capital(named)} {verbs['is']} {COLOURS[thing]}.")
    return messages


def check_colour(rng: random.Random) -> list[Message]:
    thing = rng.choice(THINGS)
    named, verbs = thing_named(rng, thing)
    colour = COLOURS[thing]
    asked = colour if rng.random() < 0.5 else rng.choice(COLOUR_NAMES)
    checks = COLOUR_CHECKS if verbs is SINGULAR else COLOUR_CHECKS[:-1]
    text = american(rng, whether(rng, checks, "{x} {is} {c}", x=named, c=asked, **verbs))
    return exchange(text, f"{'Yes' if asked == colour else 'No'}, {named} {verbs['is']} {colour}.")


def name_thing(rng: random.Random) -> list[Message]:
    colour = rng.choice(COLOUR_NAMES)
    things = THINGS_OF[colour]
    if rng.random() < 0.6:
        text = american(rng, SOMETHING.ask(rng, c=colour)).replace("a orange", "an orange")
        return exchange(text, f"{capital(things[0])} is {colour}.")
    text = american(rng, MANY_THINGS.ask(rng, c=colour))
    return exchange(text, f"{capital(listed(things[:3]))} are {colour}.")


def mix_colours(rng: random.Random) -> list[Message]:
    (a, b), result = rng.choice(list(MIXTURES.items()))
    if rng.random() < 0.3:
        text = american(rng, MAKE.ask(rng, c=result))
        return exchange(text, f"{capital(a)} and {b} make {result}.")
    if rng.random() < 0.5:
        a, b = b, a
    if rng.random() < 0.3:
        asked = result if rng.random() < 0.5 else rng.choice(list(MIXTURES.values()))
        checks = (
            "Do {a} and {b} make {c}?",
            "Does {a} and {b} make {c}?",
            "Is {c} made of {a} and {b}?",
        )
        text = whether(rng, checks, "{a} and {b} make {c}", a=a, b=b, c=asked)
        answer = f"{'Yes' if asked == result else 'No'}, {a} and {b} make {result}."
        return exchange(american(rng, text), answer)
    return exchange(american(rng, MIX.ask(rng, a=a, b=b)), f"{capital(a)} and {b} make {result}.")


def list_colours(rng: random.Random) -> list[Message]:
    text = pick(
        rng,
        (
            "Name some colours.", "Which colours do you know?", "What colours are there?",
            "List some colours.",
            "Tell me some colours.", "Can you name a few colours?", "Name three colours.",
            "colours",
            "Give me some colours.", "Do you know any colours?", "What are some colours?",
            "List the colours.",
        ),
    )  # fmt: skip
    return exchange(american(rng, casual(rng, text)), "Red, blue and green are colours.")


def opposite_sentence(word: str) -> str:
    return f"The opposite of {word} is {OPPOSITE_OF[word]}."


def ask_opposite(rng: random.Random) -> list[Message]:
    word = rng.choice(WORDS)
    if rng.random() < 0.08:
        other = rng.choice(WORDS)
        text = pick(
            rng,
            ("{a} - {b}, {x} -", "{a} and {b}, {x} and", "{a} is to {b} as {x} is to",
            "{a}: {b}, {x}:"),
            a=other, b=OPPOSITE_OF[other], x=word,
        )  # fmt: skip
        return exchange(casual(rng, text), opposite_sentence(word))
    return exchange(OPPOSITE.ask(rng, x=word), opposite_sentence(word))


def ask_opposites_in_turn(rng: random.Random) -> list[Message]:
    first, second = rng.sample(WORDS, 2)
    text = casual(rng, pick(rng, FOLLOW_UPS, x=second).replace("capital", "opposite"))
    messages = exchange(OPPOSITE.ask(rng, x=first), opposite_sentence(first))
    return messages + exchange(text, opposite_sentence(second))


def check_opposite(rng: random.Random) -> list[Message]:
    word = rng.choice(WORDS)
    right = rng.random() < 0.5
    other = OPPOSITE_OF[word] if right else rng.choice(WORDS)
    while not right and (other == word or word in (OPPOSITE_OF[other], OPPOSITE_OF[word])
                         or other == OPPOSITE_OF[word] or {word, other} == {"light",
                         "heavy"}):  # fmt: skip
        other = rng.choice(WORDS)
    # Both ways round mean the same, but the answer is about the word after "opposite of".
    text = whether(rng, OPPOSITE_CHECKS[:-1], "{y} is the opposite of {x}", x=word, y=other)
    return exchange(
        text, f"{'Yes' if right else 'No'}, the opposite of {word} is {OPPOSITE_OF[word]}."
    )


def count_parts(key: str) -> dict[str, str]:
    """Return "days in a week" as its noun, place and whole."""
    noun, preposition, whole = key.split(" ", 2)
    return {"n": noun, "p": f"{preposition} {whole}", "w": whole}


def ask_count(rng: random.Random) -> list[Message]:
    key, number = rng.choice(list(COUNTS.items()))
    parts = count_parts(key)
    sentence = f"there are {number} {key}."
    if rng.random() < 0.3:
        right = rng.random() < 0.5
        asked = (
            number
            if right
            else number + rng.choice((-1, 1, 2, 3, 5, 10) if number > 2 else (1, 2, 4))
        )
        shown = NUMBERS[asked] if 0 <= asked <= 20 and rng.random() < 0.4 else str(asked)
        checks = ("Are there {k} {n} {p}?", "Does {w} have {k} {n}?", "Has {w} got {k} {n}?")
        text = whether(rng, checks, "there are {k} {n} {p}", k=shown, **parts)
        return exchange(text, f"{'Yes' if right else 'No'}, {sentence}")
    return exchange(COUNT.ask(rng, **parts), capital(sentence))


def plain(rng: random.Random) -> str:
    """Return a short text of true sentences, for the completion of plain text."""
    kind = rng.random()
    if kind < 0.3:
        text = " ".join(map(capital_sentence, rng.sample(COUNTRIES, rng.randint(3, 6))))
    elif kind < 0.4:
        countries = rng.sample(COUNTRIES, rng.randint(3, 5))
        text = " ".join(
            f"{CAPITALS[country]} is the capital of {country}." for country in countries
        )
    elif kind < 0.55:
        things = rng.sample(THINGS, rng.randint(3, 6))
        text = " ".join(f"{capital(thing)} is {COLOURS[thing]}." for thing in things)
    elif kind < 0.65:
        text = " ".join(map(opposite_sentence, rng.sample(WORDS, rng.randint(3, 6))))
    elif kind < 0.7:
        mixtures = rng.sample(list(MIXTURES.items()), 3)
        text = " ".join(f"{capital(a)} and {b} make {c}." for (a, b), c in mixtures)
    elif kind < 0.75:
        counts = rng.sample(list(COUNTS.items()), rng.randint(3, 5))
        text = " ".join(f"There are {number} {key}." for key, number in counts)
    elif kind < 0.85:
        text = time_text(rng)
    else:
        text = animal_text(rng)
    return text


EXCHANGES: dict[str, tuple[float, Callable[[random.Random], list[Message]]]] = {
    "capital": (4, ask_capital), "capitals_in_turn": (1.5, ask_capitals_in_turn),
    "two_capitals": (0.7, ask_two_capitals), "country": (3, ask_country),
    "capital_check": (2, check_capital), "city_or_country": (0.7, check_kind),
    "colour": (3, ask_colour),
    "colours_in_turn": (0.8, ask_colours_in_turn), "colour_check": (1.5, check_colour),
    "colour_example": (1.2, name_thing), "mixture": (1.5, mix_colours),
    "colour_list": (0.2, list_colours),
    "opposite": (4, ask_opposite), "opposites_in_turn": (1, ask_opposites_in_turn),
    "opposite_check": (1.3, check_opposite), "count": (2, ask_count),
    **TIME_EXCHANGES, **ANIMAL_EXCHANGES,
}  # fmt: skip
