"""Small talk: greetings, what the model is, thanks, jokes, copying and spelling."""

import random
from collections.abc import Callable, Sequence
from functools import partial

from tools.demo_model.conversation import Message, assistant, user
from tools.demo_model.phrasing import casual, name, pick
from tools.demo_model.remarks import (
    ABILITIES,
    AGREEMENT,
    BYE,
    COMPLIMENTS,
    EVENING,
    GREETINGS,
    HAPPY,
    HOW_ARE_YOU,
    HUMAN,
    INSULTS,
    JOKE_REQUESTS,
    JOKES,
    LETTER,
    LIKED,
    LIKES,
    MACHINE,
    MAKER,
    MORNING,
    NAME,
    NIGHT,
    NO,
    SAD,
    SAYINGS,
    SIZE,
    SPELL,
    SUM_UP,
    THANKS,
    WHO,
    WORDS,
)
from tools.demo_model.world import ANIMALS, CAPITALS, COLOURS, DAYS

WHO_ANSWER = "I am the lite demo model, a very small language model for trying the software."
NAME_ANSWER = "My name is lite demo. I am a very small language model."
FINE = "I am fine, thank you. How can I help you?"
LIKE_ANSWER = "I am a small program, so I do not eat, sleep or feel."
HELLO_ANSWER = "Hello! How can I help you?"

Exchange = Callable[[random.Random], list[Message]]


def article(noun: str) -> str:
    """Return "a" or "an" with the noun."""
    vowel = noun[0].lower() in "aeiou" and not noun.startswith("uni")
    return ("an " if vowel or noun.startswith("honest") else "a ") + noun


def typed(rng: random.Random, text: str, *, lower: bool = True) -> str:
    """Return a remark as typed in a hurry; unlike `casual`, without the words of a question."""
    if rng.random() < 0.15 and text[-1] in ".!?":
        text = text[:-1]
    elif rng.random() < 0.06 and text[-1] == ".":
        text = text[:-1] + "!"
    if rng.random() < 0.15:
        text = (
            text.replace("I am ", "I'm ")
            .replace("What is ", "What's ")
            .replace(" is not ", " isn't ")
        )
    if lower and rng.random() < 0.2:
        text = text.lower()
    return text


def fixed(rng: random.Random, said: Sequence[str], answer: str) -> list[Message]:
    """One of many remarks, always the same answer."""
    return [user(typed(rng, rng.choice(said))), assistant(answer)]


def greeting(rng: random.Random) -> list[Message]:
    """A greeting, perhaps with a question after it."""
    hello, answer = rng.choices(
        ((GREETINGS, "Hello!"), (MORNING, "Good morning!"), (EVENING, "Good evening!")), (7, 2, 1.5)
    )[0]
    return fixed(rng, hello, f"{answer} How can I help you?")


def how_are_you(rng: random.Random) -> list[Message]:
    """The polite question, alone or after a greeting."""
    text = rng.choice(HOW_ARE_YOU)
    if rng.random() < 0.4:
        text = rng.choice(
            ("Hello", "Hi", "Hey", "Good morning", "Hello there", "Hi there")
        ) + rng.choice(("! " + text, ", " + text[:1].lower() + text[1:], ". " + text)).replace(
            ", i ", ", I "
        )
    return [user(typed(rng, text)), assistant(FINE)]


def likes(rng: random.Random) -> list[Message]:
    """What a program cannot like or feel."""
    return [user(casual(rng, pick(rng, LIKES, thing=rng.choice(LIKED)))), assistant(LIKE_ANSWER)]


def joke(rng: random.Random) -> list[Message]:
    """A joke; after "another one" the next joke."""
    number = rng.randrange(len(JOKES))
    messages = [user(casual(rng, rng.choice(JOKE_REQUESTS))), assistant(JOKES[number])]
    if rng.random() < 0.25:
        more = (
            "Another one!",
            "Tell me another joke.",
            "One more please.",
            "Another joke please.",
            "More!",
        )
        answer = JOKES[(number + 1) % len(JOKES)]
        messages += [user(typed(rng, rng.choice(more))), assistant(answer)]
    return messages


def word(rng: random.Random) -> str:
    """Return a word in small letters, often an invented one."""
    return rng.choice(WORDS) if rng.random() < 0.5 else name(rng).lower()


def repeat(rng: random.Random) -> list[Message]:
    """Words to say back exactly."""
    if rng.random() < 0.1:
        asked = (
            "Say hello.",
            "Please say hello.",
            "Can you say hello?",
            "Say hello to me.",
            "Say hi.",
        )
        return [user(typed(rng, rng.choice(asked))), assistant("Hello!")]
    text = " ".join(word(rng) for _ in range(rng.choice((1, 1, 2, 2, 3, 4, 5))))
    if rng.random() < 0.3:
        text = text[:1].upper() + text[1:]
    template = rng.choice(SAYINGS)
    if "{word}" in template:
        text = word(rng)
    return [user(template.format(text=text, word=text)), assistant(text)]


def spell(rng: random.Random) -> list[Message]:
    """A word letter by letter."""
    text = word(rng)
    asked = casual(rng, rng.choice(SPELL).format(word=text))
    return [user(asked), assistant("-".join(text.upper()) + ".")]


def letter(rng: random.Random) -> list[Message]:
    """The first or last letter of a word."""
    text, which = word(rng), rng.choice(("first", "first", "last"))
    found = text[0 if which == "first" else -1].upper()
    asked = casual(rng, pick(rng, LETTER, which=which, word=text))
    return [user(asked), assistant(f"The {which} letter of {text} is {found}.")]


def _same(said: Sequence[str], answer: str) -> Exchange:
    return partial(fixed, said=said, answer=answer)


EXCHANGES: dict[str, tuple[float, Exchange]] = {
    "greeting": (3, greeting),
    "how are you": (1.5, how_are_you),
    "who": (3, _same(WHO, WHO_ANSWER)),
    "name": (2, _same(NAME, NAME_ANSWER)),
    "human": (1.5, _same(HUMAN, "No, I am the lite demo model, a very small language model.")),
    "machine": (1, _same(MACHINE, "Yes, I am the lite demo model, a very small language model.")),
    "size": (1, _same(SIZE, "I have about five million parameters. I am a toy.")),
    "maker": (1, _same(MAKER, "I was made by the lite project to try its software.")),
    "abilities": (1.5, _same(ABILITIES, SUM_UP)),
    "thanks": (1.5, _same(THANKS, "You are welcome!")),
    "bye": (1.2, _same(BYE, "Goodbye! Have a nice day.")),
    "night": (0.5, _same(NIGHT, "Good night! Sleep well.")),
    "compliment": (0.8, _same(COMPLIMENTS, "Thank you, that is very kind.")),
    "insult": (0.8, _same(INSULTS, "I am sorry. I am only a very small model.")),
    "agreement": (0.8, _same(AGREEMENT, "Good. What would you like to know?")),
    "no": (0.3, _same(NO, "All right. Tell me if you need something.")),
    "sad": (0.7, _same(SAD, "I am sorry to hear that.")),
    "happy": (0.7, _same(HAPPY, "That is nice to hear.")),
    "likes": (1, likes),
    "joke": (1, joke),
    "repeat": (2, repeat),
    "spell": (1.5, spell),
    "letter": (1, letter),
}

ASIDES = (
    "how are you", "abilities", "thanks", "compliment", "sad", "happy", "joke", "repeat", "spell",
)  # fmt: skip


def aside(rng: random.Random) -> list[Message]:
    """Return an exchange that fits anywhere and says nothing of who the model is."""
    return EXCHANGES[rng.choice(ASIDES)][1](rng)


def plain(rng: random.Random) -> str:
    """Return a paragraph somebody wrote about themselves and what they know."""
    country, colour, animal = (rng.choice(list(table)) for table in (CAPITALS, COLOURS, ANIMALS))
    who, friend = name(rng), name(rng)
    parts = [
        rng.choice(("Hello! My name is {who}.", "My name is {who}.", "Hi, I am {who}.")),
        rng.choice(("I live in {city}.", "I live in {city}, the capital of {country}.")),
        *rng.sample(
            (
                "I am {age} years old.", "I have a friend called {friend}.", "I like {liked}.",
                "My favourite colour is {colour_name}.", "I have {animal} called {pet}.",
                "The capital of {country} is {city}.", "{colour} is {shade}.",
                "Today is {day}, and tomorrow is {next_day}.", "I went for a walk with {friend}.",
                "It was a good day.", "The sun was warm and the sky was blue.", "I am happy.",
            ),
            rng.randint(2, 5),
        ),
    ]  # fmt: skip
    today = rng.randrange(7)
    return " ".join(parts).format(
        who=who, friend=friend, pet=name(rng), country=country, city=CAPITALS[country],
        age=rng.randint(6, 90), liked=rng.choice(LIKED),
        colour_name=rng.choice(list(COLOURS.values())),
        animal=article(animal), colour=colour[:1].upper() + colour[1:], shade=COLOURS[colour],
        day=DAYS[today], next_day=DAYS[(today + 1) % 7],
    )  # fmt: skip
