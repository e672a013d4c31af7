"""What the user told or asked before: facts to remember, and questions that follow on."""

import random
from collections.abc import Callable

from tools.demo_model import arithmetic, facts, smalltalk
from tools.demo_model.conversation import Conversation, Message, assistant, user
from tools.demo_model.phrasing import casual, name, pick
from tools.demo_model.smalltalk import article, typed
from tools.demo_model.user_facts import (
    AGE,
    BEFORE,
    CITY,
    FAVOURITE,
    FOODS,
    INSIDE,
    JOB,
    JOBS,
    KINDS,
    NAME,
    NOTED,
    PET,
    PETS,
    PLACES,
    PLAIN_COLOURS,
    RELATIVE,
    RELATIVES,
    THINGS,
    Kind,
)
from tools.demo_model.world import ANIMALS, CAPITALS, COLOURS, OPPOSITES, held_out

LAST_QUESTION = (
    "What did I just ask?", "What did I ask you?", "What was my last question?",
    "Repeat my question.", "What was my question?", "Do you remember my question?",
    "What did I just ask you?", "What did I just say?", "What did I say?",
    "Say again what I asked.", "Tell me what I just asked.", "What have I asked you?",
)  # fmt: skip
LAST_ANSWER = (
    "What was your last answer?", "What did you say?", "Say that again.", "Repeat your answer.",
    "What did you answer?", "Can you repeat that?", "Repeat that please.", "Please say that again.",
    "What did you just say?", "Pardon?", "Sorry, what?", "Once more, please.",
    "Repeat your last answer.",
)  # fmt: skip
AND_OF = (
    "And of {x}?", "And {x}?", "And what about {x}?", "What about {x}?", "And that of {x}?",
    "How about {x}?", "And of {x}, please?", "Now {x}.", "And now {x}?", "And the one of {x}?",
    "The same for {x}?", "And for {x}?",
)  # fmt: skip
AND = (
    "And {x}?", "What about {x}?", "And what about {x}?", "How about {x}?", "Now {x}.",
    "And now {x}?", "The same for {x}?", "And for {x}?", "Then what about {x}?", "OK, and {x}?",
)  # fmt: skip


def ordinary(rng: random.Random) -> list[Message]:
    """Return an exchange that has nothing to do with what was told."""
    tables = (facts.EXCHANGES, facts.EXCHANGES, arithmetic.EXCHANGES, None)
    table = rng.choice(tables)
    if table is None:
        return smalltalk.aside(rng)
    weights = [weight for weight, _ in table.values()]
    return rng.choices([made for _, made in table.values()], weights)[0](rng)


def between(rng: random.Random) -> list[Message]:
    """Return what is said in between: often nothing."""
    return [m for _ in range(rng.choice((0, 0, 1, 1, 2, 3))) for m in ordinary(rng)]


class Fact:
    """Something that the user tells: its kind and its values."""

    def __init__(self, rng: random.Random, kind: Kind) -> None:
        """Choose the values, often invented ones, so that they must be copied."""
        self.kind = kind
        self.topic, self.value = "", name(rng)
        if kind is FAVOURITE:
            self.topic = rng.choice(
                ("colour", "colour", "animal", "food", "number", "city", "word")
            )
            choices = {"colour": PLAIN_COLOURS, "animal": list(ANIMALS), "food": FOODS,
                       "number": range(100), "city": list(CAPITALS.values())}  # fmt: skip
            self.value = (
                str(rng.choice(choices[self.topic]))
                if self.topic in choices
                else smalltalk.word(rng)
            )
            if self.topic == "animal":
                self.value = f"the {self.value}"
        elif kind is PET:
            self.topic = rng.choice(PETS)
        elif kind is RELATIVE:
            self.topic = rng.choice(RELATIVES)
        elif kind is CITY and rng.random() < 0.6:
            self.value = rng.choice(list(CAPITALS.values()))
        elif kind is AGE:
            self.value = str(rng.randint(4, 99))
        elif kind is JOB:
            self.value = article(rng.choice(JOBS))
        elif kind is INSIDE:
            self.topic = rng.choice(PLACES)
            shade = rng.choice(PLAIN_COLOURS) + " " if rng.random() < 0.4 else ""
            self.value = article(shade + rng.choice(THINGS))
        self.in_capitals = rng.random() > 0.1
        if not self.in_capitals:
            self.value = self.value.lower()

    def fill(self, text: str) -> str:
        topic = article(self.topic) if self.topic else ""
        text = text.format(k=self.topic, v=self.value, ak=topic)
        return text[:1].upper() + text[1:]

    def statement(self, rng: random.Random) -> str:
        return self.fill(rng.choice(self.kind.tell))

    def question(self, rng: random.Random) -> str:
        return typed(rng, self.fill(rng.choice(self.kind.ask)))

    def told(self, rng: random.Random) -> list[Message]:
        """The statement and what the model says to it."""
        text = typed(rng, self.statement(rng), lower=False)
        if not self.in_capitals:
            text = text.lower()
        return [user(text), assistant(self.fill(self.kind.noted))]

    def asked(self, rng: random.Random) -> list[Message]:
        return [user(self.question(rng)), assistant(self.answer)]

    @property
    def answer(self) -> str:
        return self.fill(self.kind.answer)


def fact(rng: random.Random) -> Fact:
    """Return a fact; in one of three the user's name."""
    return Fact(rng, NAME if rng.random() < 0.33 else rng.choice(KINDS[1:]))


def remembered(rng: random.Random) -> list[Message]:
    """A fact, other things, and the question for the fact."""
    one = fact(rng)
    return one.told(rng) + between(rng) + one.asked(rng)


def corrected(rng: random.Random) -> list[Message]:
    """A fact that the user takes back: only the later one counts."""
    old = fact(rng)
    new = Fact(rng, old.kind)
    while new.topic != old.topic or new.value == old.value:
        new = Fact(rng, old.kind)
    text = new.statement(rng)
    if not text.startswith(("I ", "I'", new.value)):
        text = text[:1].lower() + text[1:]
    change = [user(rng.choice(BEFORE) + text), assistant(new.fill(new.kind.noted))]
    early = old.asked(rng) if rng.random() < 0.3 else []
    return old.told(rng) + early + change + between(rng) + new.asked(rng)


def several(rng: random.Random) -> list[Message]:
    """Two or three facts of different kinds, in one message or in turn; some are asked for."""
    known = [Fact(rng, kind) for kind in rng.sample(KINDS, rng.choice((2, 2, 3)))]
    if len(known) == 2 and rng.random() < 0.5:
        first, second = (f.statement(rng) for f in known)
        if rng.random() < 0.5 and first[-1] == "." and second.startswith("I "):
            text = f"{first[:-1]} and {second}"
        else:
            text = f"{first} {second}"
        named = next((f for f in known if f.kind is NAME), known[0])
        messages = [user(text), assistant(named.fill(named.kind.noted))]
    else:
        messages = [m for f in known for m in f.told(rng)]
    messages += between(rng)
    asked = rng.sample(known, rng.randint(1, len(known)))
    return messages + [m for f in asked for m in f.asked(rng)]


def at_once(rng: random.Random) -> list[Message]:
    """The fact and its question in one message, perhaps with another fact beside it."""
    one = fact(rng)
    parts = [one.statement(rng)]
    if rng.random() < 0.3:
        parts.append(Fact(rng, rng.choice([k for k in KINDS if k is not one.kind])).statement(rng))
        rng.shuffle(parts)
    question = one.fill(rng.choice(one.kind.ask))
    return [user(" ".join([*parts, question])), assistant(one.answer)]


def relatives(rng: random.Random) -> list[Message]:
    """Two people, pets or boxes of which one is asked for."""
    kind = rng.choice((RELATIVE, PET, INSIDE))
    one, other = Fact(rng, kind), Fact(rng, kind)
    while one.topic == other.topic:
        other = Fact(rng, kind)
    template = rng.choice(kind.tell[:4])
    first, second = one.fill(template), other.fill(template)
    if rng.random() < 0.7:
        second = second if second.startswith("I ") else second[:1].lower() + second[1:]
        text = f"{first[:-1]} and {second}"
    else:
        text = f"{first} {second}"
    wanted = rng.choice((one, other))
    while "pet" in (question := wanted.fill(rng.choice(kind.ask))):
        pass
    if rng.random() < 0.5:
        return [user(f"{text} {question}"), assistant(wanted.answer)]
    told = [user(text), assistant(NOTED)]
    return told + between(rng) + [user(typed(rng, question)), assistant(wanted.answer)]


def not_told(rng: random.Random) -> Conversation:
    """A question for a fact that nobody told."""
    one, other = fact(rng), fact(rng)
    messages = between(rng)
    if other.kind is not one.kind:
        messages += other.told(rng)
    messages += [user(one.question(rng)), assistant(one.kind.unknown)]
    if rng.random() < 0.4:
        messages += one.told(rng) + one.asked(rng)
    return Conversation(messages=messages)


def both_names(rng: random.Random) -> Conversation:
    """The user's name and the model's own, which are not the same."""
    one = Fact(rng, NAME)
    asked = [one.asked(rng), smalltalk.EXCHANGES[rng.choice(("name", "name", "who"))][1](rng)]
    rng.shuffle(asked)
    return Conversation(messages=[*one.told(rng), *between(rng), *asked[0], *asked[1]])


def _follow(rng: random.Random, first: str, rest: list[str], answers: list[str]) -> list[Message]:
    asked = [casual(rng, first), *(typed(rng, text) for text in rest)]
    return [m for q, a in zip(asked, answers, strict=True) for m in (user(q), assistant(a))]


def follow_capital(rng: random.Random) -> list[Message]:
    """A capital, then only the next country."""
    countries = rng.sample(list(CAPITALS), rng.choice((2, 2, 3)))
    ask = ("What is the capital of {x}?", "Capital of {x}?", "Tell me the capital of {x}.",
           "What city is the capital of {x}?", "Do you know the capital of {x}?",
           "Which city is the capital of {x}?", "Name the capital of {x}.")  # fmt: skip
    rest = [pick(rng, AND_OF, x=country) for country in countries[1:]]
    answers = [f"The capital of {c} is {CAPITALS[c]}." for c in countries]
    return _follow(rng, pick(rng, ask, x=countries[0]), rest, answers)


def follow_colour(rng: random.Random) -> list[Message]:
    """The colour of one thing, then of another."""
    things = rng.sample(list(COLOURS), rng.choice((2, 2, 3)))
    ask = (
        "What colour is {x}?", "What is the colour of {x}?", "Which colour is {x}?",
        "Tell me the colour of {x}.", "Which colour does {x} have?", "What color is {x}?",
    )  # fmt: skip
    rest = [pick(rng, AND, x=thing) for thing in things[1:]]
    answers = [pick(rng, ("{x} is {y}.",), x=t, y=COLOURS[t]) for t in things]
    return _follow(rng, pick(rng, ask, x=things[0]), rest, answers)


def follow_opposite(rng: random.Random) -> list[Message]:
    """The opposite of one word, then of another."""
    words = [rng.choice((pair, pair[::-1])) for pair in rng.sample(OPPOSITES, 3)]
    words = [pair for pair in words if pair[0] != "light"][:2]
    ask = ("What is the opposite of {x}?", "Opposite of {x}?", "Tell me the opposite of {x}.",
           "What is the contrary of {x}?", "Which word is the opposite of {x}?")  # fmt: skip
    rest = [pick(rng, AND_OF, x=word) for word, _ in words[1:]]
    answers = [f"The opposite of {word} is {other}." for word, other in words]
    return _follow(rng, pick(rng, ask, x=words[0][0]), rest, answers)


def follow_sum(rng: random.Random) -> list[Message]:
    """A sum, then something more from its result."""
    while True:
        first, second, third = rng.randint(1, 40), rng.randint(1, 40), rng.randint(1, 20)
        total, less = first + second, rng.random() < 0.4
        if (
            not held_out(first, second)
            and not held_out(total, third)
            and (not less or third <= total)
        ):
            break
    ask = (
        "What is {a} + {b}?",
        "{a} + {b}",
        "{a} plus {b}?",
        "How much is {a} + {b}?",
        "Add {a} and {b}.",
    )
    more = (
        "And plus {c}?",
        "And plus {c} more?",
        "Plus {c}?",
        "Now add {c}.",
        "And {c} more?",
        "Add {c}.",
    )
    fewer = ("And minus {c}?", "Minus {c}?", "Now take away {c}.", "And {c} less?", "Subtract {c}.")
    answers = [f"{first} + {second} = {total}."]
    answers.append(
        f"{total} - {third} = {total - third}." if less else f"{total} + {third} = {total + third}."
    )
    rest = [pick(rng, fewer if less else more, c=third)]
    return _follow(rng, pick(rng, ask, a=first, b=second), rest, answers)


def what_was_asked(rng: random.Random) -> list[Message]:
    """The user's last words, or the model's, again."""
    before = ordinary(rng)
    question, answer = (before[-2]["content"], before[-1]["content"])
    if rng.random() < 0.5:
        return [*before, user(casual(rng, rng.choice(LAST_ANSWER))), assistant(answer)]
    return [
        *before,
        user(typed(rng, rng.choice(LAST_QUESTION))),
        assistant(f'You asked: "{question}"'),
    ]


EXCHANGES: dict[str, tuple[float, Callable[[random.Random], list[Message]]]] = {
    "remembered": (3, remembered),
    "corrected": (0.6, corrected),
    "several": (1, several),
    "at once": (1, at_once),
    "relatives": (1, relatives),
    "follow capital": (1, follow_capital),
    "follow colour": (0.8, follow_colour),
    "follow opposite": (0.5, follow_opposite),
    "follow sum": (1, follow_sum),
    "what was asked": (0.8, what_was_asked),
}


def _alone(
    made: Callable[[random.Random], list[Message]],
) -> Callable[[random.Random], Conversation]:
    return lambda rng: Conversation(messages=made(rng))


CONVERSATIONS: dict[str, tuple[float, Callable[[random.Random], Conversation]]] = {
    **{topic: (weight, _alone(made)) for topic, (weight, made) in EXCHANGES.items()},
    "not told": (0.7, not_told),
    "both names": (0.7, both_names),
}
