"""Small sums in many wordings: the model computes with numbers of up to two digits."""

import random
from collections.abc import Callable

from tools.demo_model.conversation import Message, assistant, user
from tools.demo_model.number_sense import EXCHANGES as NUMBER_SENSE
from tools.demo_model.number_sense import ask, retold, word_problem
from tools.demo_model.phrasing import pick
from tools.demo_model.world import NUMBERS, held_out

TOO_LARGE = "That is too large for me. I only know numbers up to two digits."
TOO_HARD = "That is too hard for me. I only know the times table up to 12."
BY_ZERO = "I cannot divide by zero."

# What a user may write for each operation; the answer writes the key.
SIGNS = {
    "+": ("+", "+", "+", "+", "+", "plus", "plus", "plus", "and"),
    "-": ("-", "-", "-", "-", "-", "minus", "minus", "minus", "take away"),
    "*": ("*", "*", "*", "x", "x", "×", "times", "times", "times", "multiplied by"),
    "/": ("/", "/", "/", "÷", "÷", "divided by", "divided by", "divided by", "over"),
}
EXPRESSION = (
    "what is {e}?", "what is {e}?", "what is {e}?", "how much is {e}?", "how much is {e}?", "{e}",
    "{e}?", "{e} =", "{e} = ?", "{e} is", "{e} equals", "{e} equals what?", "{e} makes what?",
    "{e} is how much?", "calculate {e}.", "please calculate {e}.", "compute {e}.", "work out {e}.",
    "can you calculate {e}?", "can you work out {e} for me?", "could you compute {e}?",
    "tell me what {e} is.", "tell me {e}.", "give me the result of {e}.", "solve {e}.",
    "solve {e} for me.", "solve this: {e}", "what does {e} equal?", "what does {e} make?",
    "what do you get for {e}?", "what do I get if I compute {e}?", "what is the result of {e}?",
    "what is the answer to {e}?", "what is the value of {e}?", "I need the result of {e}.",
    "I would like to know what {e} is.", "I want to know how much {e} is.", "do you know {e}?",
    "do you know what {e} is?", "what comes out of {e}?", "find {e}.", "evaluate {e}.",
    "can you do {e}?", "a small sum: {e}", "math question: {e}", "maths: {e}", "answer this: {e}",
    "help me with {e}.", "my homework says {e}. What is the answer?", "how much does {e} make?",
    "{e}, what is that?", "{e}, please.", "so what is {e}?", "what would {e} be?",
)  # fmt: skip
PHRASES = {
    "+": (
        "add {a} to {b}.", "add {a} and {b}.", "add {a} and {b} together.",
        "please add {a} to {b}.",
        "can you add {a} and {b}?", "what is the sum of {a} and {b}?", "the sum of {a} and {b}?",
        "sum of {a} and {b}", "give me the sum of {a} and {b}.", "tell me the sum of {a} and {b}.",
        "calculate the sum of {a} and {b}.", "what do {a} and {b} make?",
        "find the sum of {a} and {b}.",
        "how much are {a} and {b} together?", "what is {a} and {b} together?", "sum {a} and {b}.",
        "what is {a} added to {b}?", "what is the total of {a} and {b}?", "total of {a} and {b}?",
        "I add {a} and {b}. What do I get?", "if I add {a} to {b}, what do I get?",
        "what do you get if you add {a} and {b}?", "what do you get when you add {a} to {b}?",
        "what is {a} increased by {b}?", "what is {b} more than {a}?",
    ),
    "-": (
        "subtract {b} from {a}.", "please subtract {b} from {a}.", "can you subtract {b} from {a}?",
        "take {b} from {a}.", "take {b} away from {a}.", "take away {b} from {a}.",
        "what is {b} less than {a}?", "what is {a} less {b}?", "what is {a} reduced by {b}?",
        "what do you get if you subtract {b} from {a}?", "if I take {b} from {a}, what is left?",
        "I subtract {b} from {a}. What do I get?", "what is left if I take {b} from {a}?",
        "what remains of {a} if I take away {b}?", "what do you get when you take {b} from {a}?",
        "what is {b} subtracted from {a}?", "how much is {a} without {b}?", "remove {b} from {a}.",
    ),
    "*": (
        "multiply {a} by {b}.", "multiply {a} and {b}.", "multiply {a} with {b}.",
        "please multiply {a} by {b}.", "can you multiply {a} by {b}?",
        "the product of {a} and {b}?",
        "what is the product of {a} and {b}?", "give me the product of {a} and {b}.",
        "what do you get if you multiply {a} by {b}?", "I multiply {a} by {b}. What do I get?",
        "find the product of {a} and {b}.", "tell me the product of {a} and {b}.",
    ),
    "/": (
        "divide {a} by {b}.", "please divide {a} by {b}.", "can you divide {a} by {b}?",
        "what do you get if you divide {a} by {b}?", "I divide {a} by {b}. What do I get?",
        "how often does {b} go into {a}?", "how many times does {b} go into {a}?",
        "how many times does {b} fit into {a}?", "split {a} into {b} equal parts.",
        "what is the quotient of {a} and {b}?",
    ),
}  # fmt: skip
DIFFERENCE = (
    "what is the difference between {a} and {b}?", "the difference between {a} and {b}?",
    "difference between {a} and {b}", "difference of {a} and {b}?",
    "give me the difference between {a} and {b}.", "tell me the difference between {a} and {b}.",
    "how far apart are {a} and {b}?", "what is the difference of {a} and {b}?",
    "find the difference between {a} and {b}.",
    "I would like to know the difference between {a} and {b}.",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def in_words(number: int) -> str:
    """Return 0..99 as words."""
    if number <= 20:
        return NUMBERS[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f"-{NUMBERS[ones]}" if ones else "")


def compute(a: int, sign: str, b: int) -> int:
    match sign:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case _:
            return a // b


def equation(a: int, sign: str, b: int) -> str:
    """Return the answer to a sum: "47 + 38 = 85."."""
    return f"{a} {sign} {b} = {compute(a, sign, b)}."


def pair(rng: random.Random, sign: str) -> tuple[int, int]:
    """Return numbers to add or subtract that are not held out, mostly of two digits."""
    while True:
        if rng.random() < 0.84:
            a, b = rng.randint(10, 99), rng.randint(10, 99)
        elif rng.random() < 0.5:
            a, b = rng.randint(0, 12), rng.randint(0, 12)
        else:
            a, b = rng.randint(0, 99), rng.randint(0, 99)
        if sign == "-" and a < b and rng.random() < 0.7:
            a, b = b, a
        if not held_out(a, b):
            return a, b


def operands(rng: random.Random, sign: str) -> tuple[int, int]:
    """Return numbers that the model can compute with."""
    if sign in "+-":
        return pair(rng, sign)
    a, b = rng.randint(0, 12), rng.randint(0, 12)
    if sign == "*":
        return a, b
    b = max(b, 1)
    return a * b, b


def expression(rng: random.Random, a: int, sign: str, b: int, *, words: bool = True) -> str:
    """Return a sum as somebody may write it."""
    kind = rng.random()
    if words and kind < 0.12 and a < 100:
        spoken = SIGNS[sign][-4:-1] if sign in "+-" else SIGNS[sign][-4:]
        return f"{in_words(a)} {rng.choice(spoken)} {in_words(b)}"
    if kind < 0.35:
        compact = rng.choice(
            ("*", "x", "×") if sign == "*" else ("/", "÷") if sign == "/" else sign
        )
        return f"{a}{compact}{b}"
    return f"{a} {rng.choice(SIGNS[sign])} {b}"


def question(rng: random.Random, a: int, sign: str, b: int, *, words: bool = True) -> str:
    """Return a question for a sum."""
    if rng.random() < 0.3:
        first, second = (
            (in_words(a), in_words(b)) if words and a < 100 and rng.random() < 0.1 else (a, b)
        )
        return pick(rng, PHRASES[sign], a=first, b=second)
    return pick(rng, EXPRESSION, e=expression(rng, a, sign, b, words=words))


def _sums(sign: str) -> Callable[[random.Random], list[Message]]:
    def exchange(rng: random.Random) -> list[Message]:
        a, b = operands(rng, sign)
        return ask(rng, question(rng, a, sign, b), equation(a, sign, b))

    return exchange


def difference(rng: random.Random) -> list[Message]:
    """The larger number less the smaller one, in whatever order they are named."""
    a, b = pair(rng, "+")
    large, small = max(a, b), min(a, b)
    if held_out(large, small):
        return difference(rng)
    return ask(rng, pick(rng, DIFFERENCE, a=a, b=b), equation(large, "-", small))


def three_terms(rng: random.Random) -> list[Message]:
    a, b, c = (rng.randint(1, 9) for _ in range(3))
    gap = rng.choice((" + ", " + ", "+", " plus "))
    text = pick(rng, EXPRESSION, e=f"{a}{gap}{b}{gap}{c}")
    return ask(rng, text, f"{a} + {b} + {c} = {a + b + c}.")


FOLLOW_UPS = {
    "+": ("and plus {b}?", "plus {b}?", "now add {b}.", "add {b} to that.", "and {b} more?"),
    "-": ("and minus {b}?", "minus {b}?", "now subtract {b}.", "take away {b} from that.",
          "subtract {b} from that."),
}  # fmt: skip


def follow_up(rng: random.Random) -> list[Message]:
    """A sum, then another with its result."""
    while True:
        sign, second = rng.choice("+-"), rng.choice("+-")
        a, b = rng.randint(1, 50), rng.randint(1, 49)
        if sign == "-" and a < b:
            a, b = b, a
        so_far, c = compute(a, sign, b), rng.randint(1, 20)
        if not held_out(a, b) and not held_out(so_far, c):
            break
    return ask(rng, question(rng, a, sign, b), equation(a, sign, b)) + ask(
        rng, pick(rng, FOLLOW_UPS[second], b=c), equation(so_far, second, c)
    )


CHECKS = (
    "is {s}?", "is {s} right?", "is {s} correct?", "is it true that {s}?", "{s}, right?",
    "{s}, is that right?", "is {s} true?", "does {l} equal {r}?", "does {l} make {r}?",
    "I think {s}. Am I right?", "{s}. True or false?", "check this: {s}", "my friend says {s}.",
    "somebody told me that {s}. Is that so?", "can you check {s}?", "would you say that {s}?",
)  # fmt: skip


def check(rng: random.Random) -> list[Message]:
    """Whether a sum is right."""
    sign = rng.choice("++--*")
    a, b = operands(rng, sign)
    claim = true = compute(a, sign, b)
    if rng.random() < 0.5:
        claim += rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))
    left = f"{a} {rng.choice((sign, sign, SIGNS[sign][-2]))} {b}"
    equals = rng.choice((" = ", " = ", " is ", " equals "))
    text = pick(rng, CHECKS, s=f"{left}{equals}{claim}", l=left, r=claim)
    return ask(rng, text, f"{'Yes' if claim == true else 'No'}, {equation(a, sign, b)}")


def too_large(rng: random.Random) -> list[Message]:
    """Three and more digits in one of the numbers."""
    digits, sign = rng.choice((3, 3, 3, 4, 4, 5, 6)), rng.choice("++--**/")
    a, b = rng.randint(10 ** (digits - 1), 10**digits - 1), rng.randint(2, 10 ** rng.randint(1, 5))
    if sign == "/" and a <= 144:  # of the times table, perhaps
        a += 100
    if rng.random() < 0.5:
        a, b = b, a
    return ask(rng, question(rng, a, sign, b, words=False), TOO_LARGE)


def too_hard(rng: random.Random) -> list[Message]:
    """Products outside the times table, divisions that leave a rest, and by zero."""
    a, b, sign = rng.randint(13, 99), rng.randint(13, 99), rng.choice("**/")
    answer = TOO_HARD
    if sign == "/":
        b = 0 if rng.random() < 0.4 else rng.randint(3, 12)
        if b == 0:
            a, answer = rng.randint(0, 99), BY_ZERO
        elif a % b == 0:
            a += 1
            a -= 2 * (a > 99)
    elif rng.random() < 0.4:
        a, b = rng.sample((a, rng.randint(3, 9)), 2)
    return ask(rng, question(rng, a, sign, b, words=False), answer)


def told(rng: random.Random) -> list[Message]:
    """A short word problem; people's names keep their capitals."""
    text, a, sign, b, ending = word_problem(rng)
    return [user(retold(rng, text)), assistant(f"{equation(a, sign, b)} {ending}")]


EXCHANGES: dict[str, tuple[float, Callable[[random.Random], list[Message]]]] = {
    "addition": (46, _sums("+")),
    "subtraction": (40, _sums("-")),
    "difference": (4, difference),
    "multiplication": (10, _sums("*")),
    "division": (5, _sums("/")),
    "three terms": (1.5, three_terms),
    "follow up": (2, follow_up),
    "word problem": (5, told),
    "check": (3, check),
    "too large": (3, too_large),
    "too hard": (1.5, too_hard),
    **NUMBER_SENSE,
}
