"""Short stories: a hero, a place, a thing and a friend in one of a few fixed plots."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from tools.demo_model.conversation import Message, assistant, user
from tools.demo_model.phrasing import NAMES, casual, name, pick
from tools.demo_model.smalltalk import article, typed

ANIMALS = (
    "fox", "cat", "dog", "mouse", "bear", "rabbit", "owl", "frog", "duck", "lion", "horse", "wolf",
    "elephant", "monkey", "bird", "fish", "penguin", "tiger", "pig", "cow", "sheep", "goat",
    "hedgehog", "turtle", "snail", "bee", "squirrel", "crow", "whale", "kitten", "puppy", "snake",
    "spider", "dragon", "robot", "unicorn", "dinosaur", "ghost", "donkey", "giraffe", "zebra",
    "butterfly", "crocodile", "chicken", "goose", "eagle", "kangaroo", "ant", "parrot", "camel",
    "deer", "seal", "hen", "swan",
)  # fmt: skip
PEOPLE = (
    "girl", "boy", "king", "queen", "princess", "prince", "knight", "wizard", "witch", "pirate",
    "farmer", "baker", "fairy", "giant", "sailor", "child", "man", "woman", "teacher", "fisherman",
    "doctor", "cook",
)  # fmt: skip
# place: how one is in it
PLACES = {
    "forest": "in a forest", "village": "in a village", "castle": "in a castle",
    "farm": "on a farm", "island": "on an island", "city": "in a city", "garden": "in a garden",
    "mountain": "on a mountain", "river": "by a river", "lake": "by a lake", "sea": "by the sea",
    "cave": "in a cave", "valley": "in a valley", "desert": "in a desert", "meadow": "in a meadow",
    "tower": "in a tower", "jungle": "in a jungle", "house": "in a house", "field": "in a field",
    "zoo": "in a zoo",
}  # fmt: skip
THINGS = (
    "ball", "boat", "kite", "lamp", "key", "hat", "drum", "bell", "map", "book", "cake", "ring",
    "balloon", "apple", "star", "coin", "basket", "flower", "cup", "box", "shoe", "clock", "bike",
    "egg", "stone", "flute", "scarf", "doll", "train", "car", 
    "umbrella", "bag",
)  # fmt: skip
ADJECTIVES = (
    "little", "small", "brave", "kind", "young", "clever", "happy", "funny", "lonely", "shy",
)  # fmt: skip
# H: the hero. K: the hero's kind. F: the friend. T: the thing, AT: with an article.
PLOTS = (
    "H had {at}. One day the {t} was gone. H looked for it everywhere and was very sad. Then "
    '{af} came along. "I will help you," said {f}. They looked together and found the {t} behind '
    "an old door. H was so happy and hugged {f}. From that day on they were friends.",
    'One day H found {at} on the way home. "Whose {t} is this?" asked H. Nobody knew. Then H met '
    '{af} who was crying. "I have lost my {t}," said {f}. H gave it back. "Thank you, you are '
    'kind," said {f}. They played together all day. And they were happy.',
    'H had no friends and was lonely. One morning H saw {af} with {at}. "May I play with you?" '
    'asked H. "Yes, of course," said {f}. They played with the {t} until the sun went down. H '
    "was not lonely any more. And they stayed friends for ever.",
    "One night there was a big storm. H heard a cry and went out. There was {af} in the rain. "
    '"Come in, it is warm here," said H. {f} came in and had hot soup. In the morning the sun '
    "was shining. {f} gave H {at} to say thank you. And they were happy.",
    "H wanted to have {at}. H had no money, so H went to work. {af} needed help, and H helped "
    'every day. After a week {f} said, "You worked well. Here is {at} for you." H danced with '
    "joy. H took the {t} home and was happy.",
    'One day H found {at}. {af} saw it and said, "It is mine!" They pulled and pulled, and the '
    '{t} broke. Now both were sad. "Let us mend it together," said H. They worked until it was '
    'as good as new. "It is ours now," said {f}. And they never fought again.',
    "H was afraid of the dark. One night H heard a strange noise. H took a light and looked. It "
    'was only {af} with {at}. "I am afraid too," said {f}. They sat down together and looked at '
    "the stars. Now H was not afraid any more. And they slept well.",
    "One day H and {af} had a race. The winner would get {at}. {f} was fast and ran ahead. But "
    "then {f} fell and hurt a leg. H stopped and helped. They came to the end together, hand in "
    "hand. They both won the {t}. And they were happy.",
    "H wanted to see the world. One morning H packed {at} and left home. The way was long. H met "
    "{af} and they went on together. They saw mountains, rivers and the big sea. Then H said, "
    '"The world is big, but home is best." They went home together. And they were happy.',
    "It was the birthday of H, but nobody came. H sat at the window and was sad. Then there was "
    'a knock at the door. It was {af} with {at}. "Happy birthday!" said {f}. They sang and '
    "laughed all day. It was the best birthday of all.",
    "One day H saw {at} high up in a tree. H jumped, but it was too high. Then {af} came by. "
    '"Stand on my back," said {f}. H climbed up and got the {t}. "We did it together!" said H. '
    "They laughed and went home. And they were good friends.",
    'H could not sleep. "I will count sheep," said H, but it did not help. H went out and met '
    '{af}. "Hold this {t} and close your eyes," said {f}. Then {f} sang a quiet song. Soon H was '
    'asleep. In the morning H said, "Thank you, my friend." And all was well.',
    "H heard of {at} that could make wishes come true. H looked for it for a long time. At last "
    'H found the {t} next to {af}. "You have one wish," said {f}. H thought and said, "I wish '
    'for a friend." "I will be your friend," said {f}. And the wish came true.',
    'One day {af} fell into a deep hole. "Help!" cried {f}. H heard it and ran there. H had {at} '
    'and a long rope. H threw the rope down and pulled and pulled. At last {f} was free. "You '
    'saved me," said {f}. H gave {f} the {t}, and they went home. And they were happy.',
)  # fmt: skip
REQUESTS = (
    "Tell me a story{about}.", "Tell me a short story{about}.", "A story{about} please.",
    "Story{about}.", "Please tell me a story{about}.", "A short story{about}, please.",
    "Can you tell me a story{about}?", "Write a story{about}.", "Write a short story{about}.",
    "Write a little tale{about}.", "Make up a story{about}.", "I want to hear a story{about}.",
    "I would like a story{about}.", "Give me a story{about}.", "Could you write a story{about}?",
    "Do you know a story{about}?", "Tell a story{about}.", "Tell me a tale{about}.",
    "Tell me a bedtime story{about}.", "A bedtime story{about} please.", "Read me a story{about}.",
    "Write me a story{about}.", "Invent a story{about}.", "Once upon a time story{about}.",
    "I need a story{about}.", "Can I have a story{about}?",
    "Please write a very short story{about}.", "Let me hear a story{about}.",
    "Tell us a story{about}.", "How about a story{about}?", "Tell me a little story{about}.",
    "A tale{about}, please.", "Create a short story{about}.",
    "Can you write a short story{about} for me?", "Story time! A story{about}.",
    "I would like to hear a short story{about}.", "Tell my child a story{about}.",
    "Tell me a fairy tale{about}.", "Can you make up a story{about}?",
    "Please tell a small story{about}.", "Tell me a nice story{about}.",
)  # fmt: skip
ANOTHER = (
    "Tell me another one.", "Another one!", "Another story please.", "One more story.",
    "Tell me another story.", "More!", "One more please.", "Can you tell me another one?",
    "Again, a new story.", "And another one?",
)  # fmt: skip
WHOM = (
    "Who was the story about?", "Who is the story about?", "What was the story about?",
    "Who was it about?", "Who is the hero of the story?", "What is the hero called?",
    "What was the name of the hero?", "Who was in the story?", "Whom was the story about?",
    "Who was the main character?",
)  # fmt: skip
WHERE = (
    "Where did {n} live?", "Where does {n} live?", "Where was the home of {n}?",
    "In the story, where did {n} live?", "Tell me where {n} lived.",
    "Do you remember where {n} lived?",
)  # fmt: skip
BOYS = (
    "Ben", "David", "Felix", "Henry", "Jack", "Leo", "Noah", "Paul", "Sam", "Victor", "Max",
    "Oscar", "Peter", "Tom", "Bruno", "Carl", "Eric",
)  # fmt: skip


GIRLS = tuple(n for n in NAMES if n not in BOYS)
MALE = ("boy", "king", "prince", "knight", "wizard", "man", "fisherman")
FEMALE = ("girl", "queen", "princess", "witch", "fairy", "woman")


@dataclass(frozen=True)
class Cast:
    """Who and what a story is made of."""

    kind: str
    name: str
    place: str
    thing: str
    friend: str
    friend_name: str = ""

    @property
    def hero(self) -> str:
        return f"{article(self.kind)} called {self.name}"


def kind_of(rng: random.Random) -> str:
    """Return a kind of hero."""
    return rng.choice(ANIMALS if rng.random() < 0.75 else PEOPLE)


def invented(rng: random.Random) -> str:
    """Return a noun that does not exist, so that it must be copied."""
    while (noun := name(rng)) in NAMES:
        pass
    return noun.lower()


def child(called: str) -> str:
    """Return what somebody of this name is when only the name is known."""
    if called not in NAMES:
        return "child"
    return "boy" if called in BOYS else "girl"


def cast(rng: random.Random) -> Cast:
    """Return a cast by chance."""
    kind, friend = kind_of(rng), kind_of(rng)
    while friend == kind:
        friend = kind_of(rng)
    called = name(rng)
    if kind in ("girl", "boy") and called in NAMES:
        kind = child(called)
    return Cast(kind, called, rng.choice(list(PLACES)), rng.choice(THINGS), friend)


def told(rng: random.Random, who: Cast) -> str:
    """Return the story of these."""
    friend = who.friend_name or f"the {who.friend}"
    first = f"{article(who.friend)} called {friend}" if who.friend_name else article(who.friend)
    plot = rng.choice(PLOTS).replace("H ", "{h} ").replace(" H.", " {h}.").replace(" H,", " {h},")
    text = plot.format(h=who.name, at=article(who.thing), t=who.thing, f=friend, af=first)
    for mark in (". ", "? ", '" ', "! "):
        text = text.replace(mark + friend, mark + friend[:1].upper() + friend[1:])
        text = text.replace(mark + first, mark + first[:1].upper() + first[1:])
    start = f"Once upon a time there was {who.hero}. {who.name} lived {PLACES[who.place]}."
    return f"{start} {text}"


def request(rng: random.Random, who: Cast) -> tuple[str, Cast]:
    """Return what the user asks for, and the cast with what was asked."""
    chance = rng.random()
    if chance < 0.2:
        who = replace(who, kind=f"{rng.choice(ADJECTIVES)} {who.kind}")
    elif chance < 0.25:
        who = replace(who, kind=invented(rng))
    elif chance < 0.28:
        who = replace(who, thing=invented(rng))
    kind = who.kind
    called = rng.choice(("{k} called {n}", "{k} named {n}", "{k} with the name {n}", "{n} the {b}"))
    called = called.format(k=article(kind), n=who.name, b=kind)
    one, two = article(kind), article(who.friend)
    thing, place = article(who.thing), article(who.place)
    where = PLACES[who.place]
    form = rng.choices(range(12), (3, 4, 2, 2, 1.5, 1, 1.5, 1, 1, 0.8, 0.7, 0.6))[0]
    match form:
        case 0:
            about = ""
        case 1:
            about = f" about {one}"
        case 2:
            about = f" about {called}"
        case 3:
            about = f" {rng.choice(('about', 'with'))} {one} and {two}"
        case 4:
            about = f" {rng.choice(('about', 'with'))} {one} and {thing}"
        case 5:
            about = f" about {called} and {two}"
        case 6:
            about = f" about {one} {where}"
        case 7:
            about = f" about {called} who lives {where}"
        case 8:
            who = replace(who, kind=child(who.name))
            about = f" about {who.name}"
        case 9:
            other = name(rng)
            who = replace(who, kind=child(who.name), friend=child(other), friend_name=other)
            about = f" about {who.name} and {other}"
        case 10:
            about = f" about {rng.choice((thing, 'the ' + who.thing))}"
        case _:
            about = rng.choice(
                (f" about {place}", f" in {place}" if "in " in where else f" {where}")
            )
    return rng.choice(REQUESTS).format(about=about), who


def common(rng: random.Random, who: Cast, text: str) -> Cast:
    """Return the cast with nothing uncommon in it that the user did not ask for."""
    alone = who.name in text and who.kind == child(who.name)
    asked = alone or re.search(rf"\b{who.kind}\b", text)
    kind = who.kind if asked else kind_of(rng)
    if who.name not in text:
        word = kind.rsplit(" ")[-1]
        names = BOYS if word in MALE else GIRLS if word in FEMALE else NAMES
        who = replace(who, name=rng.choice(names))
    thing = who.thing if re.search(rf"\b{who.thing}\b", text) else rng.choice(THINGS)
    friend = who.friend
    while not who.friend_name and friend == kind:
        friend = kind_of(rng)
    return replace(who, kind=kind, thing=thing, friend=friend)


def story(rng: random.Random) -> list[Message]:
    """A story as asked for; perhaps a question about it, or another one."""
    text, who = request(rng, cast(rng))
    asked = casual(rng, text, lower=who.name not in text)
    if rng.random() < 0.02:
        text = asked = "Once upon a time"
        who = replace(who, friend_name="")
    who = common(rng, who, text)
    messages = [user(asked), assistant(told(rng, who))]
    chance = rng.random()
    if chance < 0.12:
        messages += [user(typed(rng, rng.choice(WHOM))), assistant(f"It was about {who.hero}.")]
    elif chance < 0.2:
        where = typed(rng, pick(rng, WHERE, n=who.name), lower=False)
        messages += [user(where), assistant(f"{who.name} lived {PLACES[who.place]}.")]
    elif chance < 0.25:
        messages += [
            user(typed(rng, rng.choice(ANOTHER))),
            assistant(told(rng, common(rng, cast(rng), ""))),
        ]
    return messages


EXCHANGES: dict[str, tuple[float, Callable[[random.Random], list[Message]]]] = {"story": (1, story)}


def plain(rng: random.Random) -> str:
    """Return a story as plain text."""
    text = told(rng, common(rng, cast(rng), ""))
    return text.replace("a time there", "a time, there", 1) if rng.random() < 0.5 else text
