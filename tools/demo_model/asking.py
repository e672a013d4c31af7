"""Frames around the core of a question, and the little grammar that the generators need."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tools.demo_model.phrasing import casual

# Around a noun phrase: "the capital of France".
NOUN_FRAMES = (
    *["What is {}?"] * 10, "Tell me {}.", "Tell me {}, please.", "Can you tell me {}?",
    "Could you tell me {}?", "Do you know {}?", "I would like to know {}.", "I want to know {}.",
    "I need to know {}.", "Name {}.", "Please name {}.", "Give me {}.", "{}?", "{}", "{}, please",
    "{} is", "{}:", "{} is what?", "What is {}, please?", "Can you tell me what {} is?",
    "Do you know what {} is?", "I wonder what {} is.", "I forgot what {} is.", "Say {}.",
    "I am looking for {}.", "Please tell me {}.", "Can you name {}?", "What would be {}?",
    "I do not know {}. Do you?", "Would you tell me {}?", "Do you remember {}?", "I need {}.",
    "What do you think is {}?", "My teacher wants to know {}.", "Let me know {}.",
    "Could you please tell me what {} is?", "What is {} again?", "Write down {}.",
)  # fmt: skip
# Around an indirect question: "what colour the sky is".
CLAUSE_FRAMES = (
    "Tell me {}.", "Please tell me {}.", "Can you tell me {}?", "Could you tell me {}?",
    "Could you please tell me {}?", "Do you know {}?", "I would like to know {}.",
    "I want to know {}.", "I need to know {}.", "I wonder {}.", "I forgot {}.",
    "I do not know {}.", "Do you remember {}?", "Let me know {}.", "Would you tell me {}?",
    "I am not sure {}.", "Any idea {}?", "Can you say {}?", "My child asks {}.", "Say {}.",
    "Do you happen to know {}?", "I am trying to remember {}.", "Can you explain {}?",
    "I always forget {}.", "Help me remember {}.", "Someone asked me {}.",
)  # fmt: skip
# Around a statement that is asked to be confirmed or denied.
STATEMENT_FRAMES = (
    "Is it true that {}?", "Is it right that {}?", "Is it correct that {}?", "{}, right?",
    "{}, is that right?", "{}. Is that true?", "{}. Correct?", "I think {}. Is that right?",
    "My friend says that {}. Is that true?", "Am I right that {}?", "{}. Yes or no?",
    "Tell me if {}.", "I believe that {}. Am I right?", "{}, yes or no?",
    "I heard that {}. True?",
    "Can you tell me if {}?", "Someone told me that {}. Is it true?", "{}?",
    "Would you say that {}?",
    "Do you think that {}?", "Can I say that {}?", "{}, correct?",
)  # fmt: skip


@dataclass(frozen=True)
class Forms:
    """Cores of one kind of question: whole questions, noun phrases and indirect questions."""

    direct: Sequence[str]
    nouns: Sequence[str] = ()
    clauses: Sequence[str] = ()

    def ask(self, rng: random.Random, **values: object) -> str:
        """Return one of the very many phrasings of this question."""
        chance = rng.random()
        if self.nouns and chance < 0.4:
            text = rng.choice(NOUN_FRAMES).format(rng.choice(self.nouns).format(**values))
        elif self.clauses and chance > 0.75:
            text = rng.choice(CLAUSE_FRAMES).format(rng.choice(self.clauses).format(**values))
        else:
            text = rng.choice(self.direct).format(**values)
        return casual(rng, capital(text))

    @property
    def count(self) -> int:
        """The number of different phrasings, before anything casual."""
        return (
            len(set(self.direct))
            + len(self.nouns) * len(set(NOUN_FRAMES))
            + len(self.clauses) * len(CLAUSE_FRAMES)
        )


def whether(rng: random.Random, questions: Sequence[str], statement: str, **values: object) -> str:
    """Return a question for yes or no: one of the `questions`, or the statement put in doubt."""
    if rng.random() < 0.55:
        text = rng.choice(questions).format(**values)
    else:
        text = rng.choice(STATEMENT_FRAMES).format(statement.format(**values))
    return casual(rng, capital(text))


def american(rng: random.Random, text: str) -> str:
    """Return the text with American spelling now and then."""
    if rng.random() < 0.4:
        return text.replace("colour", "color").replace("Colour", "Color").replace("grey", "gray")
    return text


def capital(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """Return the noun after "a" or "an"."""
    vowel = noun[:1].lower() in "aeiou" and not noun.startswith(("uni", "use", "eu", "one", "ukul"))
    return f"{'an' if vowel or noun.startswith('hour') else 'a'} {noun}"


def listed(items: Sequence[str], word: str = "and") -> str:
    """Return "a, b and c"."""
    return f"{', '.join(items[:-1])} {word} {items[-1]}" if len(items) > 1 else items[0]


def plural(noun: str) -> str:
    """Return the plural of a noun, without its article."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "x", "sh", "ch", "z", "tomato")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


IRREGULAR = {
    "sheep": "sheep", "goose": "geese", "wolf": "wolves", "mouse": "mice", "fish": "fish",
    "leaf": "leaves", "deer": "deer", "moose": "moose", "calf": "calves", "larva": "larvae",
    "ox": "oxen", "knife": "knives", "shelf": "shelves", "potato": "potatoes", "squid": "squid",
    "scarf": "scarves", "loaf": "loaves", "buffalo": "buffalo", "salmon": "salmon",
    "reindeer": "reindeer", "bison": "bison",
    "trout": "trout", "tooth": "teeth", "jellyfish": "jellyfish", "starfish": "starfish",
    "quiz": "quizzes", "hero": "heroes", "thief": "thieves", "volcano": "volcanoes",
}  # fmt: skip
