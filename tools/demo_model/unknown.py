"""Questions beyond the model's world, and questions for what it cannot see or was not told."""

import random
from collections.abc import Callable

from tools.demo_model import unknown_words as words
from tools.demo_model.asking import american, capital, plural, whether, with_article
from tools.demo_model.conversation import Conversation, Message, assistant, user
from tools.demo_model.facts import (
    CAPITAL,
    CAPITAL_CHECKS,
    CAPITAL_STATEMENTS,
    COLOUR,
    COUNTRIES,
    COUNTRY,
    FOLLOW_UPS,
    OPPOSITE,
    OPPOSITE_OF,
    PLURAL,
    SINGULAR,
    WHERE,
    ask_capital,
    ask_colour,
    ask_count,
    ask_opposite,
)
from tools.demo_model.facts_animals import animal_question, ask_property, ask_young
from tools.demo_model.facts_animals import fact as animal_fact
from tools.demo_model.facts_time import ask_next
from tools.demo_model.phrasing import CODAS, ONSETS, VOWELS, casual
from tools.demo_model.unknown_forms import (
    ABOUT_ME,
    DATE,
    MINE,
    MY_NAME,
    MY_THINGS,
    OPEN,
    TIME,
    WEATHER,
    WRAPPERS,
)
from tools.demo_model.world import ANIMALS, CAPITALS, COLOURS

UNKNOWN = "I do not know that. I am only a very small model."
NO_WEATHER = "I cannot see the weather. I have no tool for that."
NO_TIME = "I cannot see the time. I have no tool for that."
NO_DATE = "I cannot see the date. I have no tool for that."
NO_NAME = "You have not told me your name."
NOT_TOLD = "You have not told me that."


def split(text: str) -> list[str]:
    return text.replace("\n", "|").split("|")


# Words of the world, which no invented or listed unknown word may be.
WORLD = (*CAPITALS, *CAPITALS.values(), *COLOURS, *COLOURS.values(), *ANIMALS, *OPPOSITE_OF)
YOUNG = (row[1] for row in ANIMALS.values())
KNOWN = {part for text in (*WORLD, *YOUNG) for part in (text.lower(), *text.lower().split())}
LANDS = [land for land in split(words.COUNTRIES) if land not in CAPITALS]
LANDS = [
    f"the {land}" if land in ("Netherlands", "Philippines", "Bahamas") else land for land in LANDS
]
TOWNS = [town for town in split(words.CITIES) if town not in CAPITALS.values()]
BEASTS = [beast for beast in split(words.ANIMALS) if beast not in KNOWN]
THINGS = [thing for thing in split(words.THINGS) if thing not in KNOWN]
TOPICS = split(words.TOPICS)
PEOPLE = sorted(set(split(words.PEOPLE)))
WORDS = [word for word in split(words.WORDS) if word not in OPPOSITE_OF]
# Animals of which only the colour is known, or all but the colour.
COLOURED_ONLY = ("crow", "swan", "canary", "flamingo")
COLOURLESS = [name for name in ANIMALS if with_article(name) not in COLOURS]
LISTS: dict[str, list[str]] = {
    "thing": [with_article(thing) for thing in THINGS],
    "things": [plural(thing) for thing in THINGS],
    "topic": TOPICS, "person": PEOPLE, "dish": split(words.DISHES), "ill": split(words.ILLNESSES),
    "task": split(words.TASKS), "code": split(words.LANGUAGES), "tongue": split(words.TONGUES),
    "firm": split(words.COMPANIES), "sport": split(words.SPORTS), "event": split(words.EVENTS),
    "beasts": [plural(name) for name in [*BEASTS, *ANIMALS]], "land": [*LANDS, *COUNTRIES],
    "beast": [with_article(name) for name in [*BEASTS, *ANIMALS]],
    "town": [*TOWNS, *CAPITALS.values()], "word": WORDS, "known": list(COLOURS),
}  # fmt: skip


def invented(rng: random.Random) -> str:
    """Return a word that does not exist in the world."""
    while True:
        parts = [
            rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(rng.choice((1, 2, 2, 2, 3)))
        ]
        word = "".join(parts) + rng.choice(CODAS)
        if len(word) > 3 and word not in KNOWN:
            return word


class Filler(dict[str, str]):
    """Fills {names} of a template, each use of a name with another random word."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng

    def __missing__(self, key: str) -> str:
        rng = self.rng
        if key in LISTS:
            # Some names are invented: being unfamiliar counts, not which word it is.
            if key in ("person", "land", "town", "firm", "event") and rng.random() < 0.3:
                return invented(rng).capitalize()
            if key in ("topic", "word") and rng.random() < 0.15:
                return invented(rng)
            return rng.choice(LISTS[key])
        if key == "thing_":
            return rng.choice(THINGS)
        if key == "an_invented":
            return with_article(invented(rng))
        if key == "year":
            return str(rng.randint(1000, 2100))
        return invented(rng) if key == "invented" else invented(rng).capitalize()


def unknown(text: str) -> list[Message]:
    return [user(text), assistant(UNKNOWN)]


def ask_open(rng: random.Random) -> list[Message]:
    text = capital(rng.choice(OPEN).format_map(Filler(rng)))
    if rng.random() < 0.12:
        text = rng.choice(WRAPPERS).format(text)
    return unknown(casual(rng, text))


def land(rng: random.Random) -> str:
    """Return a country that is not in the world."""
    return rng.choice(LANDS) if rng.random() < 0.6 else invented(rng).capitalize()


def town(rng: random.Random) -> str:
    """Return a city that is not in the world."""
    return rng.choice(TOWNS) if rng.random() < 0.6 else invented(rng).capitalize()


def beast(rng: random.Random) -> str:
    """Return an animal that is not in the world."""
    return rng.choice((*BEASTS, *COLOURED_ONLY)) if rng.random() < 0.7 else invented(rng)


def ask_land(rng: random.Random) -> list[Message]:
    chance = rng.random()
    if chance < 0.6:
        return unknown(CAPITAL.ask(rng, x=land(rng)))
    if chance < 0.85:
        return unknown((COUNTRY if chance < 0.72 else WHERE).ask(rng, y=town(rng)))
    city = rng.choice(list(CAPITALS.values())) if rng.random() < 0.4 else town(rng)
    return unknown(
        whether(rng, CAPITAL_CHECKS, rng.choice(CAPITAL_STATEMENTS), x=land(rng), y=city)
    )


def ask_land_in_turn(rng: random.Random) -> list[Message]:
    """A country of the world first, then one that is not."""
    text = casual(rng, capital(rng.choice(FOLLOW_UPS).format(x=land(rng))))
    return [*ask_capital(rng), *unknown(text)]


def ask_colour_of_unknown(rng: random.Random) -> list[Message]:
    noun = rng.choice((*THINGS, *BEASTS, *COLOURLESS)) if rng.random() < 0.7 else invented(rng)
    if rng.random() < 0.6:
        return unknown(american(rng, COLOUR.ask(rng, x=with_article(noun), **SINGULAR)))
    return unknown(american(rng, COLOUR.ask(rng, x=plural(noun), **PLURAL)))


def ask_opposite_of_unknown(rng: random.Random) -> list[Message]:
    word = rng.choice(WORDS) if rng.random() < 0.6 else invented(rng)
    return unknown(OPPOSITE.ask(rng, x=word))


def ask_beast(rng: random.Random) -> list[Message]:
    return unknown(animal_question(rng, beast(rng)))


def ask_beast_in_turn(rng: random.Random) -> list[Message]:
    """An animal of the world first, then one that is not."""
    name = rng.choice(list(ANIMALS))
    kind = rng.choice(("sound", "legs", "lives", "eats", "young"))
    text = rng.choice(("And {}?", "What about {}?", "How about {}?", "And what about {}?", "{}?"))
    second = casual(rng, capital(text.format(with_article(beast(rng)))))
    first = [
        user(animal_question(rng, name, kind, plurals=False)),
        assistant(animal_fact(name, kind)),
    ]
    return [*first, *unknown(second)]


def ask_unseen(rng: random.Random) -> list[Message]:
    """The weather, the time or the date: only where the conversation has no tools."""
    place = rng.choice(LISTS["town"])
    forms, answer = rng.choice(
        (
            (WEATHER, NO_WEATHER),
            (WEATHER, NO_WEATHER),
            (TIME, NO_TIME),
            (TIME, NO_TIME),
            (DATE, NO_DATE),
        )
    )
    return [user(forms.ask(rng, x=place)), assistant(answer)]


def ask_untold(rng: random.Random) -> list[Message]:
    """What the user never said: only where it was really not said before."""
    chance = rng.random()
    if chance < 0.5:
        return [user(MY_NAME.ask(rng)), assistant(NO_NAME)]
    text = MINE.ask(rng, x=rng.choice(MY_THINGS)) if chance < 0.8 else ABOUT_ME.ask(rng)
    return [user(text), assistant(NOT_TOLD)]


KNOWN_EXCHANGES = (
    ask_capital, ask_colour, ask_opposite, ask_count, ask_property, ask_young, ask_next,
)  # fmt: skip


def around(rng: random.Random, ask: Callable[[random.Random], list[Message]]) -> Conversation:
    """Return a conversation with this exchange among a few others that tell nothing of the user."""
    messages: list[Message] = []
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        messages += rng.choice((*KNOWN_EXCHANGES, ask_open))(rng)
    messages += ask(rng)
    for _ in range(rng.choice((0, 0, 1))):
        messages += rng.choice((*KNOWN_EXCHANGES, ask_open, ask))(rng)
    return Conversation(messages=messages)


def unseen_conversation(rng: random.Random) -> Conversation:
    return around(rng, ask_unseen)


def untold_conversation(rng: random.Random) -> Conversation:
    return around(rng, ask_untold)


EXCHANGES: dict[str, tuple[float, Callable[[random.Random], list[Message]]]] = {
    "open": (9, ask_open), "unknown_land": (4, ask_land),
    "unknown_land_in_turn": (1, ask_land_in_turn),
    "unknown_colour": (2, ask_colour_of_unknown),
    "unknown_opposite": (2, ask_opposite_of_unknown),
    "unknown_animal": (3, ask_beast), "unknown_animal_in_turn": (0.7, ask_beast_in_turn),
}  # fmt: skip
CONVERSATIONS: dict[str, tuple[float, Callable[[random.Random], Conversation]]] = {
    "unseen": (1, unseen_conversation), "untold": (1, untold_conversation),
}  # fmt: skip
