"""Questions and answers about animals."""

import random
from collections.abc import Callable

from tools.demo_model.asking import capital, listed, plural, whether, with_article
from tools.demo_model.conversation import Message, assistant, user
from tools.demo_model.facts_animals_forms import (
    ABOUT,
    CHILD,
    EATS,
    LEGS,
    LIVES,
    SOUND,
    WHICH,
    WHICH_ALL,
    YOUNG,
)
from tools.demo_model.phrasing import casual, pick
from tools.demo_model.world import ANIMALS, NUMBERS

NAMES = list(ANIMALS)
THINGS = (
    "table", "chair", "car", "book", "house", "tree", "stone", "shoe", "spoon", "banana",
    "lemon", "tomato",
    "ball", "door", "window", "bicycle", "cup", "hat", "pencil", "clock", "train", "bottle",
    "carrot", "lamp",
)  # fmt: skip

QUESTIONS = {"sound": SOUND, "legs": LEGS, "lives": LIVES, "eats": EATS}


def exchange(question: str, answer: str) -> list[Message]:
    return [user(question), assistant(answer)]


def base(verb: str) -> str:
    """Return "bark" of "barks", the words after the verb kept."""
    first, *rest = verb.split(" ")
    stem = (
        first[:-2] if first.endswith(("sses", "zzes")) else "have" if first == "has" else first[:-1]
    )
    return " ".join([stem, *rest])


VERBS = ("makes", "says", "sounds", "lives", "eats", "likes")
SINGULAR = {verb: verb for verb in VERBS} | {
    "does": "does", "is": "is", "has": "has", "it": "it", "its": "its",
}  # fmt: skip
PLURAL = {verb: base(verb) for verb in VERBS} | {
    "does": "do", "is": "are", "has": "have", "it": "they", "its": "their",
}  # fmt: skip


def named(rng: random.Random, noun: str) -> tuple[str, dict[str, str]]:
    """Return "a dog" or "dogs", with the verbs in agreement."""
    return (with_article(noun), SINGULAR) if rng.random() < 0.6 else (plural(noun), PLURAL)


def animal_question(
    rng: random.Random, noun: str, kind: str | None = None, *, plurals: bool = True
) -> str:
    """Return a question for a property of an animal (the world's or not)."""
    kind = kind or rng.choice(("sound", "legs", "lives", "eats", "young", "about", "fly"))
    if kind == "young":
        return YOUNG.ask(rng, n=noun, an=with_article(noun), ns=plural(noun))
    a, verbs = named(rng, noun) if plurals else (with_article(noun), SINGULAR)
    if kind == "fly":
        return whether(rng, FLY_CHECKS, "{a} can fly", a=a, **verbs)
    return (ABOUT if kind == "about" else QUESTIONS[kind]).ask(rng, a=a, **verbs)


def leg_words(legs: int) -> str:
    return f"{legs or 'no'} legs"


def ask_property(rng: random.Random) -> list[Message]:
    noun = rng.choice(NAMES)
    sound, _, legs, _, lives, eats = ANIMALS[noun]
    a, verbs = named(rng, noun)
    kind = rng.choice(list(QUESTIONS))
    verb = {
        "sound": sound,
        "legs": f"has {leg_words(legs)}",
        "lives": f"lives {lives}",
        "eats": f"eats {eats}",
    }
    text = verb[kind] if verbs is SINGULAR else base(verb[kind])
    return exchange(QUESTIONS[kind].ask(rng, a=a, **verbs), f"{capital(a)} {text}.")


def ask_in_turn(rng: random.Random) -> list[Message]:
    """The same question about two animals, or two questions about one."""
    first, second = rng.sample(NAMES, 2)
    kind = rng.choice(list(QUESTIONS))
    messages = exchange(
        QUESTIONS[kind].ask(rng, a=with_article(first), **SINGULAR), fact(first, kind)
    )
    if rng.random() < 0.5:
        forms = (
            "And {x}?",
            "What about {x}?",
            "How about {x}?",
            "And what about {x}?",
            "{x}?",
            "And for {x}?",
        )
        text = pick(rng, forms, x=with_article(second))
        return messages + exchange(casual(rng, text), fact(second, kind))
    other = rng.choice([other for other in FOLLOW_UPS if other != kind])
    return messages + exchange(casual(rng, rng.choice(FOLLOW_UPS[other])), fact(first, other))


FOLLOW_UPS = {
    "sound": ("And what sound does it make?", "What sound does it make?", "And its sound?",
    "What does it say?"),
    "legs": ("And how many legs does it have?", "How many legs does it have?",
    "And how many legs?"),
    "lives": ("And where does it live?", "Where does it live?", "And where can I find it?"),
    "eats": ("And what does it eat?", "What does it eat?", "And what is its food?"),
}  # fmt: skip


def fact(noun: str, kind: str) -> str:
    """Return one true sentence about an animal."""
    sound, young, legs, flies, lives, eats = ANIMALS[noun]
    a = capital(with_article(noun))
    return {
        "sound": f"{a} {sound}.", "legs": f"{a} has {leg_words(legs)}.",
        "lives": f"{a} lives {lives}.",
        "eats": f"{a} eats {eats}.", "young": f"A young {noun} is called {with_article(young)}.",
        "fly": f"{a} {'can' if flies else 'cannot'} fly.",
    }[kind]  # fmt: skip


def ask_young(rng: random.Random) -> list[Message]:
    noun = rng.choice(NAMES)
    if rng.random() < 0.7:
        return exchange(animal_question(rng, noun, "young"), fact(noun, "young"))
    young = ANIMALS[noun][1]
    parents = [other for other in NAMES if ANIMALS[other][1] == young]
    y = with_article(young)
    if rng.random() < 0.3:
        asked = rng.choice(parents) if rng.random() < 0.5 else rng.choice(NAMES)
        checks = ("Is {y} a young {n}?", "Is {y} a baby {n}?", "Is a young {n} called {y}?")
        text = whether(rng, checks, "{y} is a young {n}", y=y, n=asked)
        right = asked in parents
        answer = fact(asked, "young")
        return exchange(text, f"{'Yes' if right else 'No'}, {answer[0].lower()}{answer[1:]}")
    return exchange(CHILD.ask(rng, y=y), f"{capital(y)} is a young {listed(parents, 'or')}.")


FLY_CHECKS = (
    "Can {a} fly?", "Can {a} fly or not?", "{is} {a} able to fly?", "{does} {a} fly?",
    "Do you know if {a} can fly?",
    "Tell me whether {a} can fly.", "Could {a} fly over my house?", "I wonder if {a} can fly.",
)  # fmt: skip


def check_flying(rng: random.Random) -> list[Message]:
    noun = rng.choice(NAMES)
    a, verbs = named(rng, noun)
    text = whether(rng, FLY_CHECKS, "{a} can fly", a=a, **verbs)
    flies = ANIMALS[noun][3]
    return exchange(text, f"Yes, {a} can fly." if flies else f"No, {a} cannot fly.")


def check_property(rng: random.Random) -> list[Message]:
    noun, other = rng.choice(NAMES), rng.choice(NAMES)
    a, verbs = named(rng, noun)
    if rng.random() < 0.5:
        other = noun
    kind = rng.choice((0, 2, 4, 5))
    right = ANIMALS[noun][kind] == ANIMALS[other][kind]
    if kind == 0 and "no sound" in ANIMALS[other][0]:
        other, right = noun, True
    if kind == 5 and not right:
        kind, right = 4, ANIMALS[noun][4] == ANIMALS[other][4]

    def verb(animal: str) -> str:
        value = ANIMALS[animal][kind]
        phrase = {
            0: f"{value}",
            2: f"has {leg_words(value)}",
            4: f"lives {value}",
            5: f"eats {value}",
        }[kind]
        return phrase if verbs is SINGULAR else base(phrase)

    asked = verb(other)
    if kind == 2 and rng.random() < 0.3:
        legs = ANIMALS[other][2]
        asked = asked.replace(str(legs), NUMBERS[legs])
    plain_verb = base(asked) if verbs is SINGULAR else asked
    if "no " in plain_verb:
        text = whether(rng, ("Is it true that {a} {v}?",), "{a} {v}", a=a, v=asked)
    else:
        text = whether(rng, ("{does} {a} {b}?", "{does} {a} really {b}?"), "{a} {v}",
        a=a, v=asked,
                       b=plain_verb, does=verbs["does"])  # fmt: skip
    return exchange(text, f"{'Yes' if right else 'No'}, {a} {verb(noun)}.")


def which_animal(rng: random.Random) -> list[Message]:
    """From a property to the animal: the first in the table that has it."""
    noun = rng.choice(NAMES)
    kind = rng.choice((0, 2, 4, 4))
    value = ANIMALS[noun][kind]
    first = next(other for other in NAMES if ANIMALS[other][kind] == value)
    verb = {0: f"{value}", 2: f"has {leg_words(value)}", 4: f"lives {value}"}[kind]
    return exchange(WHICH.ask(rng, v=verb), f"{capital(with_article(first))} {verb}.")


def which_animals(rng: random.Random) -> list[Message]:
    if rng.random() < 0.4:
        animals = [with_article(noun) for noun in NAMES if ANIMALS[noun][3]]
        verb = "can fly"
    else:
        place = rng.choice([ANIMALS[noun][4] for noun in NAMES[:14]])
        animals = [with_article(noun) for noun in NAMES if ANIMALS[noun][4] == place][:3]
        verb = f"live {place}"
    text = casual(rng, pick(rng, WHICH_ALL, v=verb))
    answer = (
        f"{capital(listed(animals))} {verb if len(animals) > 1 else verb.replace('live', 'lives')}."
    )
    return exchange(text, answer)


def check_animal(rng: random.Random) -> list[Message]:
    right = rng.random() < 0.6
    noun = rng.choice(NAMES if right else THINGS)
    a, verbs = with_article(noun), SINGULAR
    checks = ("Is {a} an animal?", "Is {a} an animal or not?", "Would you call {a} an animal?")
    text = whether(rng, checks, "{a} {is} an animal", a=a, **verbs)
    return exchange(text, f"Yes, {a} is an animal." if right else f"No, {a} is not an animal.")


def ask_about(rng: random.Random) -> list[Message]:
    noun = rng.choice(NAMES)
    a, verbs = named(rng, noun)
    return exchange(ABOUT.ask(rng, a=a, **verbs), about(noun))


def about(noun: str) -> str:
    """Return what an animal is."""
    _, _, _, _, lives, eats = ANIMALS[noun]
    return f"{capital(with_article(noun))} is an animal. It lives {lives} and eats {eats}."


def name_animals(rng: random.Random) -> list[Message]:
    one = ("Name an animal.", "Tell me an animal.", "Give me an animal.",
    "Can you name an animal?",
           "Say the name of an animal.", "Think of an animal.",
           "Do you know an animal?")  # fmt: skip
    many = ("Name some animals.", "Name three animals.", "Which animals do you know?",
    "List some animals.",
            "Give me three animals.", "What animals do you know?", "Tell me some animals.",
            "List three animals.",
            "Do you know any animals?", "Can you name a few animals?",
            "What are some animals?")  # fmt: skip
    if rng.random() < 0.4:
        return exchange(casual(rng, rng.choice(one)), "A dog is an animal.")
    return exchange(casual(rng, rng.choice(many)), "A dog, a cat and a cow are animals.")


def animal_text(rng: random.Random) -> str:
    """Return a few true sentences about one animal, or of one kind about several."""
    kinds = ("sound", "legs", "lives", "eats", "young", "fly")
    if rng.random() < 0.4:
        kind = rng.choice(kinds)
        return " ".join(fact(noun, kind) for noun in rng.sample(NAMES, rng.randint(3, 6)))
    noun = rng.choice(NAMES)
    sound, _, legs, flies, lives, eats = ANIMALS[noun]
    facts = [f"It has {leg_words(legs)}.", f"It lives {lives}.", f"It eats {eats}.",
    f"It {sound}.",
             f"It {'can' if flies else 'cannot'} fly.", fact(noun, "young")]  # fmt: skip
    chosen = sorted(rng.sample(range(len(facts)), rng.randint(2, 5)))
    return " ".join(
        [f"{capital(with_article(noun))} is an animal.", *(facts[index] for index in chosen)]
    )


EXCHANGES: dict[str, tuple[float, Callable[[random.Random], list[Message]]]] = {
    "animal": (5, ask_property), "animal_in_turn": (1.5, ask_in_turn), "young": (2, ask_young),
    "flying": (1.2, check_flying), "animal_check": (1.5, check_property),
    "which_animal": (1.5, which_animal),
    "which_animals": (0.6, which_animals), "is_animal": (0.8, check_animal),
    "about_animal": (1.2, ask_about),
    "name_animals": (0.3, name_animals),
}  # fmt: skip
