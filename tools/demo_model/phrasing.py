"""How people write: the same question in many coats."""

import random
from collections.abc import Sequence

PREFIXES = (
    "Please tell me: ", "Tell me: ", "Hey, ", "Hi, ", "Hello! ", "Quick question: ", "Question: ",
    "Can you help me? ", "I have a question. ", "Do you know this? ", "Next question. ", "OK, ",
    "And ", "So, ", "Well, ", "Now, ", "I wonder: ", "Just tell me, ", "Please, ",
)  # fmt: skip
SUFFIXES = (" Please.", " Thanks.", " Thank you!", " I forgot.", " Do you know?", " I wonder.")
CONTRACTIONS = (
    ("What is ", "What's "),
    ("Who is ", "Who's "),
    ("I am ", "I'm "),
    (" is not ", " isn't "),
)


def pick(rng: random.Random, template: Sequence[str], **values: object) -> str:
    """Return one of the templates with its {names} filled in, the first letter a capital."""
    text = rng.choice(template).format(**values)
    return text[:1].upper() + text[1:]


def casual(rng: random.Random, text: str, *, lower: bool = True) -> str:
    """Return `text` as somebody might type it: a polite word more, no capitals, no full stop.

    `lower`: whether capitals may go; False where the answer repeats what the user wrote.
    """
    if rng.random() < 0.25:
        for formal, short in CONTRACTIONS:
            text = text.replace(formal, short)
    if rng.random() < 0.12:
        prefix = rng.choice(PREFIXES)
        follows_sentence = prefix.rstrip()[-1] in ".!?"
        text = prefix + (text if follows_sentence else text[:1].lower() + text[1:])
    elif rng.random() < 0.08 and text[-1] in ".?!":
        text += rng.choice(SUFFIXES)
    if rng.random() < 0.12 and text[-1] in ".?!":
        text = text[:-1]
    elif rng.random() < 0.04 and text[-1] in ".?":
        text = text[:-1] + rng.choice(("!", "??", " ?", "..."))
    if lower and rng.random() < 0.15:
        text = text.lower()
    return text


def name(rng: random.Random) -> str:
    """Return a first name: often a made-up one, so that names must be copied, not guessed."""
    if rng.random() < 0.4:
        return rng.choice(NAMES)
    made = ""
    while len(made) < 3:
        syllables = rng.choice((1, 2, 2, 2, 3))
        made = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(syllables))
        made += rng.choice(CODAS)
    return made.capitalize()


NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jack", "Kate",
    "Leo", "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Zoe", "Lucy",
    "Max", "Nina", "Oscar", "Peter", "Sara", "Tom", "Ada", "Bruno", "Carl", "Dora", "Eric",
)  # fmt: skip
ONSETS = (
    "b", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kr", "l", "m", "n", "p",
    "pr", "qu", "r", "s", "sh", "st", "t", "th", "tr", "v", "w", "x", "y", "z", "", "",
)  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ia", "ai", "ea", "ee", "oo", "y", "io")
CODAS = ("", "", "", "n", "r", "l", "s", "x", "m", "k", "t", "nd", "rt", "lla", "nne", "ck", "sh")
