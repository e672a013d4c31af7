"""Simple questions with the thought that leads to the answer; none of them needs a tool."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tools.demo_model import smalltalk
from tools.demo_model.arithmetic import equation, pair, question
from tools.demo_model.number_sense import retold, word_problem
from tools.demo_model.phrasing import casual, pick
from tools.demo_model.world import (
    ANIMALS,
    CAPITALS,
    COLOURS,
    COUNTS,
    DAYS,
    MONTHS,
    OPPOSITES,
    held_out,
)

UNKNOWN_ANSWER = "I do not know that. I am only a very small model."


@dataclass(frozen=True, kw_only=True)
class Plain:
    """What a user asks, what the model thinks about it, and what it answers."""

    asked: str
    thought: str
    answer: str


CAPITAL = (
    "what is the capital of {x}?", "capital of {x}?", "what is {x}'s capital?",
    "the capital of {x}?",
    "tell me the capital of {x}.", "which city is the capital of {x}?",
    "do you know the capital of {x}?",
    "I would like to know the capital of {x}.", "what city is the capital of {x}?", "{x}: capital?",
    "can you tell me the capital of {x}?", "name the capital of {x}.", "capital city of {x}",
)  # fmt: skip
COLOUR = (
    "what colour is {x}?", "what color is {x}?", "which colour is {x}?", "the colour of {x}?",
    "what is the colour of {x}?", "what is the color of {x}?", "tell me the colour of {x}.",
    "do you know what colour {x} is?", "which color does {x} have?", "color of {x}?",
    "can you tell me the colour of {x}?", "I would like to know the colour of {x}.",
)  # fmt: skip
OPPOSITE = (
    "what is the opposite of {x}?", "opposite of {x}?", "the opposite of {x}?",
    "tell me the opposite of {x}.",
    "which word is the opposite of {x}?", "do you know the opposite of {x}?",
    "give me the opposite of {x}.",
    "what word means the opposite of {x}?", "can you tell me the opposite of {x}?",
    "{x}: opposite?",
    "I need the opposite of {x}.",
)  # fmt: skip
AFTER = (
    "what comes after {x}?", "which {k} comes after {x}?", "what {k} comes after {x}?",
    "what is the {k} after {x}?",
    "the {k} after {x}?", "what {k} follows {x}?", "which {k} follows {x}?",
    "tell me the {k} after {x}.",
    "do you know which {k} comes after {x}?", "next {k} after {x}?",
    "what is the next {k} after {x}?",
)  # fmt: skip
BEFORE = (
    "what comes before {x}?", "which {k} comes before {x}?", "what {k} comes before {x}?",
    "what is the {k} before {x}?", "the {k} before {x}?", "which {k} is before {x}?",
    "what {k} is before {x}?",
    "tell me the {k} before {x}.", "do you know which {k} comes before {x}?", "{k} before {x}?",
)  # fmt: skip
LEGS = (
    "how many legs does a {x} have?", "how many legs has a {x}?", "number of legs of a {x}?",
    "legs of a {x}?",
    "tell me how many legs a {x} has.", "do you know how many legs a {x} has?",
    "a {x} has how many legs?",
    "what number of legs does a {x} have?", "can you say how many legs a {x} has?",
    "count the legs of a {x}.",
)  # fmt: skip
YOUNG = (
    "what is a young {x} called?", "what do you call a young {x}?", "what is a baby {x} called?",
    "what do you call a baby {x}?", "name for a young {x}?", "what is the young of a {x} called?",
    "how do you call a young {x}?", "tell me the name of a young {x}.",
    "a baby {x} is called what?",
    "what is the word for a young {x}?",
)  # fmt: skip
HOW_MANY = (
    "how many {x} are there?", "how many {x}?", "tell me how many {x} there are.",
    "what is the number of {x}?",
    "do you know how many {x} there are?", "number of {x}?",
    "can you tell me how many {x} there are?",
    "I want to know how many {x} there are.", "how many {x} do we have?", "count of {x}?",
)  # fmt: skip
UNKNOWN = (
    "who won the world cup in {y}?", "who was president in {y}?", "what happened in {y}?",
    "who wrote Hamlet?",
    "who invented the telephone?", "what is the meaning of life?", "how does a car engine work?",
    "what is DNA?",
    "what is the population of {c}?", "how many people live in {c}?", "how tall is Mount Everest?",
    "who is Einstein?",
    "can you explain quantum physics?", "what is the latest news?", "who painted the Mona Lisa?",
    "what is a black hole?",
    "write a Python function that sorts a list.", "who is the king of {c}?",
    "how far away is the moon?",
    "what is the price of gold?", "who is the best singer in the world?",
    "what films are in the cinema?",
    "how do I cook lasagna?", "what is the longest river in {c}?", "explain the stock market.",
    "who discovered America?",
    "when was {c} founded?", "what is the chemical formula of water?",
    "what is the history of {c}?", "who is my neighbour?",
    "how old is the universe?", "what should I wear tonight?", "who wrote this book?",
    "what is the speed of light?",
    "how do planes fly?", "how do I fix my computer?", "what did I eat yesterday?",
    "who is the president of {c}?",
)  # fmt: skip


def article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _plain(rng: random.Random, text: str, about: str, known: str, answer: str) -> Plain:
    thought = f"The user asks for {about}. I know it: {known}."
    return Plain(asked=casual(rng, text).strip(), thought=thought, answer=answer)


def capital(rng: random.Random) -> Plain:
    country, city = rng.choice(list(CAPITALS.items()))
    answer = f"The capital of {country} is {city}."
    return _plain(rng, pick(rng, CAPITAL, x=country), f"the capital of {country}", city, answer)


def colour(rng: random.Random) -> Plain:
    thing, shade = rng.choice(list(COLOURS.items()))
    answer = f"{thing[:1].upper()}{thing[1:]} is {shade}."
    return _plain(rng, pick(rng, COLOUR, x=thing), f"the colour of {thing}", shade, answer)


def opposite(rng: random.Random) -> Plain:
    word, other = rng.choice(OPPOSITES)
    if rng.random() < 0.4 and other != "light":
        word, other = other, word
    answer = f"The opposite of {word} is {other}."
    return _plain(rng, pick(rng, OPPOSITE, x=word), f"the opposite of {word}", other, answer)


def calendar(rng: random.Random) -> Plain:
    kind, table = rng.choice((("day", DAYS), ("month", MONTHS)))
    number, step = rng.randrange(len(table)), rng.choice((1, -1))
    word, found = table[number], table[(number + step) % len(table)]
    order, template = ("after", AFTER) if step == 1 else ("before", BEFORE)
    text = pick(rng, template, x=word, k=kind)
    about = f"the {kind} {order} {word}"
    return _plain(rng, text, about, found, f"The {kind} {order} {word} is {found}.")


def animal(rng: random.Random) -> Plain:
    beast = rng.choice(list(ANIMALS))
    one = article(beast)
    _, young, legs, *_ = ANIMALS[beast]
    if rng.random() < 0.5:
        text = pick(rng, LEGS, x=beast).replace(f"a {beast}", one)
        number = "no" if legs == 0 else str(legs)
        answer = f"{one.capitalize()} has {number} legs."
        return _plain(rng, text, f"the legs of {one}", f"{number} legs", answer)
    text = pick(rng, YOUNG, x=beast).replace(f"of a {beast}", f"of {one}")
    answer = f"A young {beast} is called {article(young)}."
    return _plain(rng, text, f"the young of {one}", article(young), answer)


def how_many(rng: random.Random) -> Plain:
    things, number = rng.choice(list(COUNTS.items()))
    answer = f"There are {number} {things}."
    text = pick(rng, HOW_MANY, x=things)
    return _plain(rng, text, f"the number of {things}", str(number), answer)


def written_sum(a: int, sign: str, b: int) -> str:
    """Return the column-wise working of an addition or subtraction."""
    a1, a0, b1, b0 = a // 10, a % 10, b // 10, b % 10
    end = f" So it is {a + b if sign == '+' else a - b}."
    if a < 10 and b < 10:
        return end[1:]
    if sign == "+":
        if a0 + b0 < 10:
            return f"{a0} + {b0} = {a0 + b0}. {a1} + {b1} = {a1 + b1}.{end}"
        ones = f"{a0} + {b0} = {a0 + b0}, write {a0 + b0 - 10}, carry 1."
        return f"{ones} {a1} + {b1} + 1 = {a1 + b1 + 1}.{end}"
    if a < b:
        return f"{b} is larger than {a}. {b} - {a} = {b - a}.{end}"
    if a0 >= b0:
        return f"{a0} - {b0} = {a0 - b0}. {a1} - {b1} = {a1 - b1}.{end}"
    ones = f"{a0} is less than {b0}, so borrow 1. {a0 + 10} - {b0} = {a0 + 10 - b0}."
    return f"{ones} {a1} - {b1} - 1 = {a1 - b1 - 1}.{end}"


def arithmetic(rng: random.Random) -> Plain:
    """A sum with its working, or a word problem."""
    if rng.random() < 0.12:
        text, a, sign, b, ending = word_problem(rng)
        thought = f"The numbers are {a} and {b}. I need {a} {sign} {b}."
        answer = f"{equation(a, sign, b)} {ending}"
        return Plain(asked=retold(rng, text), thought=thought, answer=answer)
    sign = rng.choice("+++---*")
    if sign == "*":
        a, b = rng.randint(0, 12), rng.randint(0, 12)
        working = f"I know it: {a * b}."
    else:
        a, b = pair(rng, sign)
        while sign == "-" and a < b and held_out(b, a):
            a, b = pair(rng, sign)
        working = written_sum(a, sign, b)
    asked = casual(rng, question(rng, a, sign, b)).strip()
    thought = f"The user asks for {a} {sign} {b}. {working}"
    return Plain(asked=asked, thought=thought, answer=equation(a, sign, b))


def unknown(rng: random.Random) -> Plain:
    text = pick(rng, UNKNOWN, y=rng.randint(1900, 2030), c=rng.choice(list(CAPITALS)))
    thought = "This is not in my small world. I should say that I do not know."
    return Plain(asked=casual(rng, text).strip(), thought=thought, answer=UNKNOWN_ANSWER)


REMARKS = {
    "greeting": "The user greets me. I greet back.",
    "how are you": "The user asks how I am. I answer kindly.",
    "who": "The user asks who I am. I am the lite demo model.",
    "name": "The user asks for my name. I am the lite demo model.",
    "thanks": "The user thanks me. I answer kindly.",
    "bye": "The user leaves. I say goodbye.",
    "abilities": "The user asks what I can do. I tell it in short.",
}  # fmt: skip


def remark(rng: random.Random) -> Plain:
    """Small talk, answered as without a thought."""
    kind = rng.choice(("greeting", "greeting", "who", "who", *REMARKS))
    said, answer = smalltalk.EXCHANGES[kind][1](rng)
    return Plain(asked=said["content"], thought=REMARKS[kind], answer=answer["content"])


FACTS: tuple[Callable[[random.Random], Plain], ...] = (
    capital, capital, colour, opposite, calendar, animal, how_many,
)  # fmt: skip


def fact(rng: random.Random) -> Plain:
    return rng.choice(FACTS)(rng)
