"""Conversations under a system message: one that gives the model a name, or one that does not."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tools.demo_model import remarks, smalltalk
from tools.demo_model.context import ordinary, remembered
from tools.demo_model.conversation import Conversation, Message, assistant, system, user
from tools.demo_model.phrasing import name
from tools.demo_model.smalltalk import article, typed

# {it}: the name, and the role after a comma; {name}: the name alone.
NAMED = (
    "You are {it}.", "You are {it}.", "You are {it}.", "Your name is {name}.",
    "Your name is {name}.", "Act as {it}.", "You play {it}.", "You are playing the role of {it}.",
    "From now on you are {it}.", "From now on, your name is {name}.",
    "You are an assistant called {name}.", "You are an assistant named {name}.",
    "You are a helpful assistant called {name}.", "You are a helpful assistant named {name}.",
    "You are called {name}.", "Your role: {it}.", "Pretend to be {it}.",
    "Pretend that you are {it}.", "Take the role of {it}.", "Be {it}.",
    "You go by the name {name}.", "Answer as {it}.", "Speak as {it}.", "Your new name is {name}.",
    "The assistant is called {name}.", "The assistant's name is {name}.", "Name: {name}.",
    "Your character is {it}.", "You will act as {it}.", "Please act as {it}.", "Please be {it}.",
    "In this chat you are {it}.", "In this conversation your name is {name}.", "I call you {name}.",
    "You are {it}. Stay in character.", "Always remember: your name is {name}.",
    "Imagine you are {it}.", "You are a chatbot called {name}.", "You are a bot named {name}.",
    "You are the assistant {name}.", "You are now {it}.", "Roleplay as {it}.",
    "Today you are {it}.", "Your persona is {it}.", "You have the name {name}.",
    "You are a small model with the name {name}.", "People call you {name}.",
    "When asked for your name, say {name}.", "You are an AI assistant named {name}.",
    "Assistant: {name}.", "You must answer as {it}.", "Everyone knows you as {it}.",
    "Your name is not lite, it is {name}.",
)  # fmt: skip
# {kind}: an article and the role.
ROLED = (
    "You are {name}, {kind}.", "You are {name}, {kind}.", "You are {kind} called {name}.",
    "You are {kind} named {name}.", "Act as {kind} called {name}.", "Act as {name}, {kind}.",
    "Your name is {name} and you are {kind}.", "Your name is {name}. You are {kind}.",
    "You are {kind}. Your name is {name}.", "You play {kind} with the name {name}.",
    "You are playing the role of {name}, {kind}.", "From now on you are {name}, {kind}.",
    "Pretend to be {kind} named {name}.", "Take the role of {name}, {kind}.", "Be {name}, {kind}.",
    "Imagine you are {kind} called {name}.", "You are now {name}, {kind}.",
    "You play {name}, {kind}.", "Roleplay as {name}, {kind}.", "Speak as {name}, {kind}.",
    "Pretend that you are {name}, {kind}.",
)  # fmt: skip
TITLES = (
    "Captain", "Doctor", "Professor", "Mr", "Mrs", "King", "Queen", "Uncle", "Aunt", "Sir", "Lady",
)  # fmt: skip
ROLES = (
    "robot", "pirate", "cat", "dog", "teacher", "doctor", "cook", "sailor", "wizard", "dragon",
    "king", "queen", "farmer", "baker", "gardener", "guide", "librarian", "owl", "fox", "astronaut",
    "painter", "singer", "knight", "fairy", "parrot", "assistant", "helper", "pilot", "detective",
    "bear", "poet", "elephant", "ghost", "clown", "nurse", "driver", "fisherman", "inventor",
    "princess", "monkey",
)  # fmt: skip
TRAITS = (
    "friendly", "helpful", "kind", "old", "young", "funny", "brave", "small", "clever", "quiet",
    "happy", "wise", "little", "polite", "cheerful", "tiny", "lazy", "patient", "gentle", "curious",
    "honest",
)  # fmt: skip
HELPED = (
    "sailors", "children", "farmers", "people", "students", "animals", "travellers", "cooks",
    "guests", "readers", "everyone", "beginners", "visitors", "friends", "customers", "old people",
    "teachers",
)  # fmt: skip
# Sentences that change nothing about who the model is.
MANNERS = (
    "Answer briefly.", "Answer in one sentence.", "Be kind.", "Be kind and concise.", "Be polite.",
    "Be concise.", "Use simple words.", "Answer all questions.", "Answer in English.",
    "Be friendly.", "Keep your answers short.", "Give short answers.", "Always tell the truth.",
    "Do not lie.", "Help the user.", "Be brief and clear.", "Always be polite.", "Be honest.",
    "Be helpful.", "If you do not know something, say so.", "Answer the user's questions.",
    "Think before you answer.", "Speak plainly.", "You like to help.", "Never be rude.",
    "The user may be a child.", "Today is {day}.", "It is {day}.", "The user lives in {city}.",
    "Do not use difficult words.", "Your answers are short and correct.",
    "You help people with their questions.", "Be cheerful.", "You know many things.",
    "Explain things in a simple way.", "Do not make things up.", "Be patient.",
    "Answer only what is asked.", "Write full sentences.", "Stay calm.",
    "You are kind to everyone.", "You speak English.", "Reply in a friendly way.",
    "Respond with one short sentence.",
)  # fmt: skip
NAMELESS = (
    "You are a helpful assistant.", "You are a helpful assistant.",
    "You are a helpful AI assistant.", "You are an assistant.", "You are a friendly assistant.",
    "You are an AI assistant.", "You are a helpful, respectful and honest assistant.",
    "You are a small language model.", "You are a chatbot.", "You are a friendly chatbot.",
    "This is a chat with an assistant.", "You are a kind and honest helper.",
    "You are a very helpful assistant for all kinds of questions.",
    "A user talks to an assistant. The assistant gives helpful answers.", "Assist the user.",
    "You are a language model that answers questions.", "You are a polite assistant.",
    "You are a helpful assistant who answers in short sentences.", "You are a concise assistant.",
    "The following is a conversation between a user and an assistant.", "You answer questions.",
    "You are helpful.", "You are a smart and helpful assistant.", "Answer the following questions.",
)  # fmt: skip
LONG = (
    "Always answer as helpfully as possible, while being safe.",
    "If a question makes no sense, explain why instead of giving a wrong answer.",
    "If you do not know the answer to a question, please do not share false information.",
    "You are talking to a user in a chat window and should give clear, correct and short answers.",
    "Please make sure that your answers are fair, kind and true.",
    "The user will ask questions about many things, and you answer each of them in turn.",
    "Do not repeat the question, and do not add anything that the user did not ask for.",
)  # fmt: skip
USER_NAMED = (
    "The user's name is {name}.", "The user is called {name}.", "You are talking to {name}.",
    "You are helping {name}.", "You talk with {name}.", "The name of the user is {name}.",
)  # fmt: skip
JOB = (
    "What do you do?", "What is your job?", "Whom do you help?", "Who do you help?",
    "What is your work?", "Tell me what you do.", "What are you here for?", "Who are you helping?",
    "What is your task?",
)  # fmt: skip
NOT_ME = (*remarks.HUMAN, *remarks.MACHINE, "Are you lite?", "Are you the lite demo model?")
IS_IT = (
    "Are you {name}?", "Is your name {name}?", "Am I talking to {name}?", "You are {name}, right?",
)  # fmt: skip


@dataclass(frozen=True)
class Persona:
    """Who the model plays: a name, perhaps what it is (with the article) and whom it helps."""

    name: str
    kind: str = ""
    helped: str = ""

    @property
    def introduction(self) -> str:
        return f"I am {self.name}, {self.kind}." if self.kind else f"I am {self.name}."


def persona(rng: random.Random) -> Persona:
    """Return somebody to play."""
    called, chance = name(rng), rng.random()
    if chance < 0.12:
        called = f"{rng.choice(TITLES)} {called}"
    elif chance < 0.2:
        called = f"{called} {name(rng)}"
    if rng.random() < 0.5:
        return Persona(called)
    kind = rng.choice(ROLES)
    if rng.random() < 0.6:
        kind = f"{rng.choice(TRAITS)} {kind}"
    return Persona(called, article(kind), rng.choice(HELPED) if rng.random() < 0.4 else "")


def manners(rng: random.Random, most: int) -> list[str]:
    """Return a few sentences of a system message."""
    count = rng.choice((0, 0, *range(most + 1)))
    day = rng.choice(smalltalk.DAYS)
    city = rng.choice(list(smalltalk.CAPITALS.values()))
    return [s.format(day=day, city=city) for s in rng.sample(MANNERS, count)]


def described(rng: random.Random, who: Persona) -> str:
    """Return a system message that says who the model is."""
    if who.kind:
        kind = who.kind + (f" who helps {who.helped}" if who.helped else "")
        text = rng.choice(ROLED)
        if who.helped and not text.endswith("{kind}."):
            kind = who.kind
            text += f" You help {who.helped}."
        text = text.format(name=who.name, kind=kind)
    else:
        text = rng.choice(NAMED).format(name=who.name, it=who.name)
    before = [rng.choice(NAMELESS)] if not who.kind and rng.random() < 0.1 else []
    text = " ".join([*before, text, *manners(rng, 3)])
    return text[:-1] if rng.random() < 0.05 else text


def nameless(rng: random.Random) -> str:
    """Return a system message that gives no name."""
    parts = [rng.choice(NAMELESS)] if rng.random() < 0.7 else []
    parts += manners(rng, 2)
    if rng.random() < 0.2:
        parts += rng.sample(LONG, rng.randint(1, 3))
    return " ".join(parts or [rng.choice(MANNERS[:20])])


def about(rng: random.Random, who: Persona) -> list[Message]:
    """One exchange in which the model says who it is."""
    ask = rng.choices(("name", "who", "hello", "not me", "is it", "job"), (4, 4, 2.5, 1, 0.6, 0.8))[
        0
    ]
    if ask == "job" and not who.helped:
        ask = "name"
    if ask == "name":
        return smalltalk.fixed(rng, remarks.NAME, f"My name is {who.name}.")
    if ask == "who":
        return smalltalk.fixed(rng, remarks.WHO, who.introduction)
    if ask == "not me":
        return smalltalk.fixed(rng, NOT_ME, f"I am {who.name}.")
    if ask == "is it":
        text = typed(rng, rng.choice(IS_IT).format(name=who.name), lower=False)
        return [user(text), assistant(f"Yes, I am {who.name}.")]
    if ask == "job":
        return smalltalk.fixed(rng, JOB, f"I help {who.helped}.")
    hello, start = rng.choice(((remarks.GREETINGS, "Hello!"), (remarks.GREETINGS, "Hello!"),
                               (remarks.MORNING, "Good morning!"),
                               (remarks.EVENING, "Good evening!")))  # fmt: skip
    return smalltalk.fixed(rng, hello, f"{start} I am {who.name}. How can I help you?")


def named(rng: random.Random) -> Conversation:
    """A chat with somebody: who it is comes up at least once, at any turn."""
    who = persona(rng)
    turns = rng.choice((1, 1, 1, 2, 2, 3, 4))
    told = rng.randrange(turns)
    messages = [system(described(rng, who))]
    for turn in range(turns):
        own = turn == told or rng.random() < 0.35
        messages += about(rng, who) if own else ordinary(rng)
        # Whose name is asked for must be read closely.
        if rng.random() < 0.08:
            messages += remembered(rng)
    return Conversation(messages=messages)


def unnamed(rng: random.Random) -> Conversation:
    """A chat with the model as itself, under a system message that gives no name."""
    messages = [system(nameless(rng))]
    kinds = ("greeting", "who", "name", "human", "machine", "size", "maker", "how are you")
    for _ in range(rng.choice((1, 1, 2, 3))):
        own = rng.random() < 0.6
        messages += smalltalk.EXCHANGES[rng.choice(kinds)][1](rng) if own else ordinary(rng)
    return Conversation(messages=messages)


def user_named(rng: random.Random) -> Conversation:
    """The system message says who the user is, and perhaps who the model is."""
    who, other = persona(rng), name(rng)
    mine = rng.random() < 0.5
    first = described(rng, who) if mine else rng.choice(NAMELESS)
    messages = [system(f"{first} {rng.choice(USER_NAMED).format(name=other)}")]
    asked = (
        "What is my name?",
        "Do you know my name?",
        "Who am I?",
        "Tell me my name.",
        "My name?",
    )
    turns = [smalltalk.fixed(rng, asked, f"Your name is {other}.")]
    if mine:
        turns.append(about(rng, who))
    if rng.random() < 0.4:
        turns.append(ordinary(rng))
    rng.shuffle(turns)
    return Conversation(messages=messages + [m for turn in turns for m in turn])


CONVERSATIONS: dict[str, tuple[float, Callable[[random.Random], Conversation]]] = {
    "named": (7, named),
    "unnamed": (2.5, unnamed),
    "user named": (0.8, user_named),
}
