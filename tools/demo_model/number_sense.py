"""Questions about numbers that are not sums: order, counting, neighbours, and word problems."""

import random
from collections.abc import Callable

from tools.demo_model.conversation import Message, assistant, user
from tools.demo_model.phrasing import casual, name, pick
from tools.demo_model.world import held_out

COMPARE = (
    "which is {w}, {a} or {b}?", "which number is {w}, {a} or {b}?", "what is {w}, {a} or {b}?",
    "which is {w}: {a} or {b}?", "is {a} or {b} {w}?", "{a} or {b}, which is {w}?",
    "{a} or {b}: which one is {w}?", "which one is {w}, {a} or {b}?", "what is {w}: {a} or {b}?",
    "of {a} and {b}, which is {w}?", "which of {a} and {b} is {w}?", "{w}: {a} or {b}?",
    "compare {a} and {b}: which is {w}?", "tell me which is {w}, {a} or {b}.",
    "tell me which number is {w}: {a} or {b}.", "I want to know which is {w}, {a} or {b}.",
    "do you know which is {w}, {a} or {b}?", "can you tell me which is {w}, {a} or {b}?",
    "what number is {w}, {a} or {b}?", "I have {a} and {b}. Which one is {w}?",
)  # fmt: skip
IS_LARGER = (
    "is {a} {w} than {b}?", "is the number {a} {w} than {b}?", "{a} is {w} than {b}, right?",
    "is it true that {a} is {w} than {b}?", "would you say that {a} is {w} than {b}?",
    "{a} is {w} than {b}. True or false?", "do you think {a} is {w} than {b}?",
    "tell me if {a} is {w} than {b}.", "I think {a} is {w} than {b}. Am I right?",
)  # fmt: skip
EXTREME = (
    "which is the {w} of {l}?", "what is the {w} of {l}?", "which number is the {w}: {l}?",
    "the {w} number of {l}?", "find the {w} number: {l}", "what is the {w} number in {l}?",
    "{l}: which is the {w}?", "tell me the {w} of {l}.", "which of {l} is the {w}?",
)  # fmt: skip
COUNT_TO = (
    "count to {b}.", "please count to {b}.", "can you count to {b}?", "could you count to {b}?",
    "count up to {b}.", "count up to {b} for me.", "count for me up to {b}.",
    "I want you to count to {b}.",
    "count from 1 to {b}.", "can you count from 1 to {b}?", "list the numbers from 1 to {b}.",
    "list the numbers up to {b}.", "numbers from 1 to {b}?", "say the numbers from 1 to {b}.",
    "write the numbers from 1 to {b}.", "give me the numbers from 1 to {b}.", "1 to {b}, please.",
    "show me how you count to {b}.", "let us count to {b}.", "what are the numbers from 1 to {b}?",
)  # fmt: skip
COUNT_FROM = (
    "count from {a} to {b}.", "please count from {a} to {b}.", "can you count from {a} to {b}?",
    "count up from {a} to {b}.", "list the numbers from {a} to {b}.", "numbers from {a} to {b}?",
    "say the numbers from {a} to {b}.", "write the numbers from {a} to {b}.",
    "start at {a} and count to {b}.",
    "give me the numbers from {a} to {b}.", "what are the numbers from {a} to {b}?",
    "count for me from {a} to {b}.", "I want you to count from {a} to {b}.",
    "from {a} count to {b}.",
)  # fmt: skip
COUNT_DOWN = (
    "count down from {a}.", "please count down from {a}.", "can you count down from {a}?",
    "count backwards from {a}.", "count back from {a}.", "start at {a} and count down.",
    "a countdown from {a}, please.", "countdown from {a}.", "do a countdown from {a}.",
    "count down from {a} to 1.", "count backwards from {a} to 1.",
    "can you count backwards from {a}?",
    "give me a countdown from {a}.", "I want you to count down from {a}.",
    "count from {a} down to 1.",
    "count from {a} to 1.",
)  # fmt: skip
NEXT = (
    "what comes after {a}?", "which number comes after {a}?", "what number comes after {a}?",
    "what is the next number after {a}?", "the number after {a}?", "what is the number after {a}?",
    "what follows {a}?", "which number follows {a}?", "what number follows {a}?", "next after {a}?",
    "tell me the number after {a}.", "tell me the next number after {a}.",
    "what comes right after {a}?",
    "if I count, what comes after {a}?", "I am at {a}. What is the next number?",
    "number after {a}?",
    "what comes next after {a}?", "do you know what comes after {a}?", "what is one more than {a}?",
)  # fmt: skip
PREVIOUS = (
    "what comes before {a}?", "which number comes before {a}?", "what number comes before {a}?",
    "what is the number before {a}?", "the number before {a}?", "what is right before {a}?",
    "tell me the number before {a}.", "what comes right before {a}?", "number before {a}?",
    "which number is before {a}?", "what is the previous number before {a}?",
    "what is one less than {a}?",
    "do you know what comes before {a}?", "if I count, what comes before {a}?",
    "what precedes {a}?",
)  # fmt: skip
BETWEEN = (
    "what is between {a} and {b}?", "which number is between {a} and {b}?",
    "what comes between {a} and {b}?",
    "what number is between {a} and {b}?", "what lies between {a} and {b}?",
    "number between {a} and {b}?",
    "which number comes between {a} and {b}?", "tell me the number between {a} and {b}.",
)  # fmt: skip
PARITY = (
    "is {a} {w}?", "is {a} {w}?", "is {a} an {w} number?", "is the number {a} {w}?",
    "{a} is {w}, right?",
    "is it true that {a} is {w}?", "tell me if {a} is {w}.", "do you know if {a} is {w}?",
    "would you call {a} {w}?",
    "can you tell me if {a} is {w}?", "is {a} {w} or not?", "I think {a} is {w}. Am I right?",
)  # fmt: skip
WHICH_PARITY = (
    "is {a} even or odd?", "is {a} odd or even?", "even or odd: {a}?", "{a}: even or odd?",
    "is {a} an even or an odd number?",
    "tell me if {a} is even or odd.", "is the number {a} odd or even?", "what is {a}, even or odd?",
    "can you tell me whether {a} is odd or even?", "{a} is even or odd?", "odd or even, {a}?",
)  # fmt: skip
DOUBLE = (
    "what is double {a}?", "what is the double of {a}?", "double {a}.", "double {a}?",
    "please double {a}.",
    "can you double {a}?", "what is twice {a}?", "twice {a}?", "how much is double {a}?",
    "two times {a}?",
    "how much is twice {a}?", "what do you get if you double {a}?", "give me double {a}.",
    "what is {a} doubled?",
    "the double of {a}?", "I double {a}. What do I get?", "tell me the double of {a}.",
)  # fmt: skip
HALF = (
    "what is half of {a}?", "half of {a}?", "what is the half of {a}?", "how much is half of {a}?",
    "halve {a}.",
    "give me half of {a}.", "tell me half of {a}.", "can you halve {a}?",
    "what is one half of {a}?",
    "what do you get if you halve {a}?", "I take half of {a}. What do I get?",
    "what is {a} halved?",
    "what is 50 percent of {a}?", "please tell me the half of {a}.", "half {a}?",
)  # fmt: skip


def ask(rng: random.Random, text: str, answer: str, *, lower: bool = True) -> list[Message]:
    return [user(casual(rng, text, lower=lower).strip()), assistant(answer)]


def retold(rng: random.Random, text: str) -> str:
    """Return a text as typed, with all its names as they are."""
    asked = casual(rng, text, lower=False).strip()
    starts_with_name = " has " in text[:24]
    return text if starts_with_name and text.split(maxsplit=1)[0] not in asked.split() else asked


def number(rng: random.Random) -> int:
    return rng.randint(0, 99) if rng.random() < 0.75 else rng.randint(0, 20)


def compare(rng: random.Random) -> list[Message]:
    """Which of two numbers is larger or smaller; the answer takes the user's word."""
    large = rng.random() < 0.65
    word = rng.choice(("larger", "bigger", "greater", "larger") if large else ("smaller",))
    a, b = number(rng), number(rng)
    if a == b:
        return ask(rng, pick(rng, COMPARE, a=a, b=b, w=word), f"{a} and {b} are the same.")
    first, second = (max(a, b), min(a, b)) if large else (min(a, b), max(a, b))
    return ask(rng, pick(rng, COMPARE, a=a, b=b, w=word), f"{first} is {word} than {second}.")


def is_larger(rng: random.Random) -> list[Message]:
    a, b = number(rng), number(rng)
    word = rng.choice(("larger", "bigger", "greater", "smaller", "less"))
    if a == b:
        return ask(rng, pick(rng, IS_LARGER, a=a, b=b, w=word), f"No, {a} and {b} are the same.")
    true = (a > b) == (word not in ("smaller", "less"))
    other = "smaller" if word in ("larger", "bigger", "greater") else "larger"
    text = pick(rng, IS_LARGER, a=a, b=b, w=word)
    return ask(
        rng, text, f"Yes, {a} is {word} than {b}." if true else f"No, {a} is {other} than {b}."
    )


def extreme(rng: random.Random) -> list[Message]:
    """The largest or smallest of three or four numbers."""
    values = rng.sample(range(100), rng.choice((3, 3, 4)))
    large = rng.random() < 0.6
    word = rng.choice(("largest", "biggest", "greatest") if large else ("smallest",))
    listed = ", ".join(map(str, values[:-1])) + f"{rng.choice((' and ', ', '))}{values[-1]}"
    found = max(values) if large else min(values)
    return ask(rng, pick(rng, EXTREME, l=listed, w=word), f"{found} is the {word}.")


def count(rng: random.Random) -> list[Message]:
    kind = rng.random()
    if kind < 0.45:
        first, last, step, template = 1, rng.randint(2, 20), 1, COUNT_TO
    elif kind < 0.75:
        first = rng.randint(0, 30) if rng.random() < 0.7 else rng.randint(31, 85)
        last, step, template = first + rng.randint(2, 12), 1, COUNT_FROM
    else:
        first, last, step, template = rng.randint(3, 20), 1, -1, COUNT_DOWN
    numbers = range(first, last + step, step)
    return ask(rng, pick(rng, template, a=first, b=last), ", ".join(map(str, numbers)) + ".")


def neighbour(rng: random.Random) -> list[Message]:
    a, kind = rng.randint(1, 98), rng.random()
    if kind < 0.5:
        return ask(rng, pick(rng, NEXT, a=a), f"{a + 1} comes after {a}.")
    if kind < 0.85:
        return ask(rng, pick(rng, PREVIOUS, a=a), f"{a - 1} comes before {a}.")
    text = pick(rng, BETWEEN, a=a - 1, b=a + 1)
    return ask(rng, text, f"{a} is between {a - 1} and {a + 1}.")


def parity(rng: random.Random) -> list[Message]:
    a = number(rng)
    word = "odd" if a % 2 else "even"
    if rng.random() < 0.4:
        return ask(rng, pick(rng, WHICH_PARITY, a=a), f"{a} is {word}.")
    asked = rng.choice(("odd", "even"))
    text = pick(rng, PARITY, a=a, w=asked)
    return ask(rng, text, f"{'Yes' if asked == word else 'No'}, {a} is {word}.")


def double_half(rng: random.Random) -> list[Message]:
    a = rng.randint(1, 20) if rng.random() < 0.4 else rng.randint(1, 50)
    if rng.random() < 0.5 and not held_out(a, a):
        return ask(rng, pick(rng, DOUBLE, a=a), f"Double {a} is {2 * a}.")
    return ask(rng, pick(rng, HALF, a=2 * a), f"Half of {2 * a} is {a}.")


THINGS = (
    "apples", "books", "pens", "balls", "eggs", "coins", "cookies", "flowers", "stones", "cards",
    "toys",
    "stamps", "candies", "oranges", "pencils", "marbles", "cups", "shells", "stickers", "keys",
    "lemons",
    "cakes", "hats", "fish", "birds", "chairs", "boxes", "bananas", "nuts", "dollars",
)  # fmt: skip
GETS = (
    "{have} {a} {t} and {get} {b} more. ", "{have} {a} {t}. {then} {get} {b} more. ",
    "{have} {a} {t} and {get} {b} {t} more. ", "{have} {a} {t} and then {get} another {b}. ",
)  # fmt: skip
LOSES = (
    "{have} {a} {t} and {lose} {b}. ", "{have} {a} {t} and {lose} {b} of them. ",
    "{have} {a} {t}. {then} {lose} {b}. ", "{have} {a} {t}. {then} {lose} {b} of them. ",
)  # fmt: skip
GAIN_VERBS = ("get", "buy", "find", "get", "receive", "collect")
LOSS_VERBS = ("lose", "sell", "eat", "give away", "lose", "break", "lend")
THINGS_LEFT = ("How many {t} {do} have now?", "How many {do} have now?", "How many {t} are left?",
               "How many {t} {do} have left?", "How many are left?", "How many {t} is that?",
               "How many {t} {do} have?")  # fmt: skip


def third_person(verb: str) -> str:
    first, *rest = verb.split()
    return " ".join([first + "s", *rest])


def word_problem(rng: random.Random) -> tuple[str, int, str, int, str]:
    """Return (question, first number, sign, second number, sentence with the result)."""
    kind, thing = rng.random(), rng.choice(THINGS)
    if kind > 0.8:
        a, b = rng.randint(2, 12), rng.randint(2, 12)
        box = rng.choice(("boxes", "bags", "baskets", "shelves", "rows", "tables"))
        text = pick(rng, (
            "there are {a} {x} with {b} {t} each. How many {t} are there?",
            "I have {a} {x} with {b} {t} in each. How many {t} is that?",
            "{a} {x} hold {b} {t} each. How many {t} are there in all?",
        ), a=a, b=b, x=box, t=thing)  # fmt: skip
        return text, a, "*", b, f"There are {a * b} {thing}."
    gains = kind < 0.4
    while True:
        top = rng.choice((20, 20, 50, 99))
        a, b = rng.randint(2, top), rng.randint(2, top)
        if not gains and a <= b:
            a, b = b + 1, a
        if a <= 99 and not held_out(a, b):
            break
    verb = rng.choice(GAIN_VERBS if gains else LOSS_VERBS)
    mine = rng.random() < 0.5
    who = "I" if mine else name(rng)
    acts = verb if mine else third_person(verb)
    have = f"{who} {'have' if mine else 'has'}"
    then = f"{rng.choice(('Then', 'Now'))} {who}"
    template = rng.choice(GETS if gains else LOSES)
    text = template.format(have=have, a=a, b=b, t=thing, get=acts, lose=acts, then=then)
    asked = THINGS_LEFT[:2] + THINGS_LEFT[5:] if gains else THINGS_LEFT[:5]
    text += rng.choice(asked).format(t=thing, do="do I" if mine else f"does {who}")
    sign = "+" if gains else "-"
    result = a + b if gains else a - b
    owner = "You have" if mine else f"{who} has"
    things = thing if result != 1 or thing == "fish" else thing[: -2 if thing == "boxes" else -1]
    return text, a, sign, b, f"{owner} {result} {things} now."


EXCHANGES: dict[str, tuple[float, Callable[[random.Random], list[Message]]]] = {
    "compare": (4, compare),
    "is larger": (3, is_larger),
    "extreme": (1, extreme),
    "count": (5, count),
    "neighbour": (5, neighbour),
    "parity": (3, parity),
    "double and half": (4, double_half),
}
