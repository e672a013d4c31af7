"""What users tell of themselves, and how they ask for it later."""

from dataclasses import dataclass

NOTED = "I will remember that."
PLAIN_COLOURS = (
    "red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "black", "white", "grey",
)  # fmt: skip
FOODS = (
    "pizza", "soup", "bread", "cheese", "rice", "cake", "fish", "pasta", "salad", "chocolate",
    "pie", "honey", "apples", "bananas", "noodles", "pancakes", "carrots", "ice cream", "potatoes",
    "cherries",
)  # fmt: skip
JOBS = (
    "teacher", "doctor", "cook", "baker", "farmer", "pilot", "nurse", "painter", "driver", "sailor",
    "singer", "gardener", "student", "engineer", "writer", "dentist", "carpenter", "lawyer",
    "programmer",
)  # fmt: skip
THINGS = (
    "key", "ball", "book", "hat", "cup", "ring", "coin", "map", "apple", "lamp", "pen", "stone",
    "shoe", "clock", "spoon", "letter", "egg", "bell", "toy", "orange", "knife", "candle", "flower",
    "doll",
)  # fmt: skip
PETS = (
    "dog", "cat", "horse", "rabbit", "fish", "parrot", "mouse", "goat", "duck", "hamster", "snake",
)  # fmt: skip
PLACES = ("box", "bag", "drawer", "cupboard", "basket", "pocket", "bottle", "room", "car", "chest")
RELATIVES = (
    "brother", "sister", "mother", "father", "friend", "best friend", "son", "daughter", "teacher",
    "uncle", "aunt", "neighbour", "boss", "cousin", "wife", "husband",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of fact: how it is told, taken, asked for and answered. {v} and {k} are its values."""

    tell: tuple[str, ...]
    ask: tuple[str, ...]
    answer: str
    noted: str = NOTED
    unknown: str = "You have not told me that."


NAME = Kind(
    (
        "My name is {v}.", "My name is {v}.", "My name is {v}.", "I am {v}.", "I'm {v}.",
        "Call me {v}.", "You can call me {v}.", "People call me {v}.", "Hello, my name is {v}.",
        "Hi, I am {v}.", "Hi, I'm {v}.", "Hello! I am {v}.", "My friends call me {v}.",
        "I am called {v}.", "Hey, I'm {v}.", "The name is {v}.", "This is {v}.",
        "They call me {v}.", "Hello, I am {v}. Nice to meet you.", "Hi! My name is {v}.",
        "Good morning, my name is {v}.", "Please call me {v}.", "Hey, {v} here.",
        "Let me introduce myself: I am {v}.", "Remember that my name is {v}.",
        "Hello there, I'm {v}.", "I would like to introduce myself. My name is {v}.",
        "Please remember: my name is {v}.", "My name's {v}.", "I go by the name {v}.",
        "My first name is {v}.", "Hello, I'm {v}!",
    ),
    (
        "What is my name?", "What is my name?", "What is my name?", "Do you remember my name?",
        "Who am I?", "What am I called?", "Tell me my name.", "Can you tell me my name?",
        "My name?", "Do you know my name?", "What did I say my name was?", "So, what is my name?",
        "And my name is?", "Do you still know my name?", "What was my name?",
        "What was my name again?", "Say my name.", "Do you know who I am?", "How am I called?",
        "What do people call me?", "Please say my name.", "Can you remember what I am called?",
        "Have you forgotten my name?", "What name did I tell you?", "Which name did I give you?",
        "Now tell me: what is my name?", "Remind me of my name.",
    ),
    "Your name is {v}.",
    "Nice to meet you, {v}!",
    "You have not told me your name.",
)  # fmt: skip
FAVOURITE = Kind(
    (
        "My favourite {k} is {v}.", "My favourite {k} is {v}.", "The {k} I like best is {v}.",
        "I like {v} best. It is my favourite {k}.", "{v} is my favourite {k}.",
        "I love {v}. It is my favourite {k}.", "Remember that my favourite {k} is {v}.",
        "Of all, my favourite {k} is {v}.", "I think {v} is the best {k}.",
        "Please remember that my favourite {k} is {v}.",
        "You should know that my favourite {k} is {v}.", "My favorite {k} is {v}.",
        "By the way, my favourite {k} is {v}.", "My favourite {k}? It is {v}.",
    ),
    (
        "What is my favourite {k}?", "What is my favourite {k}?", "Which {k} do I like best?",
        "Do you remember my favourite {k}?", "Tell me my favourite {k}.",
        "What {k} do I like best?", "Do you know my favourite {k}?", "What was my favourite {k}?",
        "My favourite {k}?", "What is my favorite {k}?", "Which {k} is my favourite?",
        "What did I say is my favourite {k}?", "Can you tell me my favourite {k}?",
        "What {k} did I tell you?", "And what is my favourite {k}?", "Which {k} do I like most?",
    ),
    "Your favourite {k} is {v}.",
)  # fmt: skip
PET = Kind(
    (
        "I have {ak} called {v}.", "I have {ak} named {v}.", "My {k} is called {v}.",
        "My {k}'s name is {v}.", "The name of my {k} is {v}.", "I have {ak}. Its name is {v}.",
        "I have {ak}. It is called {v}.", "I own {ak} called {v}.",
        "At home I have {ak} named {v}.", "{v} is my {k}.", "My {k} has the name {v}.",
        "I live with my {k} {v}.", "My {k} is named {v}.", "I got {ak}. I call it {v}.",
    ),
    (
        "What is my {k} called?", "What is the name of my {k}?", "What is my {k}'s name?",
        "Who is my {k}?", "Do you remember the name of my {k}?", "How is my {k} called?",
        "Tell me the name of my {k}.", "What did I call my {k}?",
        "Do you know what my {k} is called?", "My {k} is called?", "What name does my {k} have?",
        "Which name has my {k}?", "What is my pet called?", "What is the name of my pet?",
        "And what is my {k} called?", "What is my {k} named?",
    ),
    "Your {k} is called {v}.",
)  # fmt: skip
CITY = Kind(
    (
        "I live in {v}.", "I live in {v}.", "My home is in {v}.", "My home is {v}.",
        "My city is {v}.", "I come from {v}, and I live there.",
        "I moved to {v}, I live there now.", "At the moment I live in {v}.", "My house is in {v}.",
        "I live in a city called {v}.", "I live in a town called {v}.",
        "The city where I live is {v}.", "Remember that I live in {v}.", "I am at home in {v}.",
    ),
    (
        "Where do I live?", "Where do I live?", "In which city do I live?",
        "What city do I live in?", "Do you remember where I live?", "Where is my home?",
        "Tell me where I live.", "What is my city?", "Do you know where I live?",
        "Which city is my home?", "What town do I live in?", "Where is my house?",
        "Where did I say I live?", "What is the name of my city?", "And where do I live?",
        "Which city do I live in?",
    ),
    "You live in {v}.",
)  # fmt: skip
AGE = Kind(
    (
        "I am {v} years old.", "I am {v} years old.", "My age is {v}.", "I'm {v} years old.",
        "I am {v}.", "I turned {v} today.", "Last week I turned {v}.",
        "I am already {v} years old.", "Remember that I am {v} years old.",
        "I have just turned {v}.", "I am now {v} years old.",
    ),
    (
        "How old am I?", "How old am I?", "What is my age?", "Do you remember how old I am?",
        "My age?", "Tell me my age.", "Do you know my age?", "How many years old am I?",
        "What age am I?", "Tell me how old I am.", "What did I say my age is?",
        "How old did I say I am?", "And how old am I?",
    ),
    "You are {v} years old.",
)  # fmt: skip
JOB = Kind(
    (
        "I am {v}.", "I work as {v}.", "My job is {v}.", "I am working as {v}.",
        "By profession I am {v}.", "For a living I am {v}.", "Remember that I am {v}.",
        "My work: I am {v}.", "I earn my money as {v}.",
    ),
    (
        "What is my job?", "What do I do?", "What is my work?", "Do you remember my job?",
        "Tell me my job.", "What do I do for a living?", "What do I work as?",
        "What is my profession?", "Do you know my job?", "What job do I have?",
        "What did I say my job is?", "And what is my job?", "As what do I work?",
    ),
    "You are {v}.",
)  # fmt: skip
INSIDE = Kind(
    (
        "There is {v} in the {k}.", "There is {v} in the {k}.", "In the {k} there is {v}.",
        "The {k} has {v} in it.", "I put {v} in the {k}.", "I put {v} into the {k}.",
        "The {k} contains {v}.", "I have {v} in the {k}.", "Remember that there is {v} in the {k}.",
        "Inside the {k} there is {v}.", "I hid {v} in the {k}.",
    ),
    (
        "What is in the {k}?", "What is in the {k}?", "What is inside the {k}?",
        "What did I put in the {k}?", "Do you remember what is in the {k}?",
        "Tell me what is in the {k}.", "What does the {k} contain?", "What can I find in the {k}?",
        "Which thing is in the {k}?", "Do you know what is in the {k}?", "And what is in the {k}?",
        "What thing is in the {k}?",
    ),
    "There is {v} in the {k}.",
)  # fmt: skip
RELATIVE = Kind(
    (
        "My {k} is called {v}.", "My {k}'s name is {v}.", "The name of my {k} is {v}.",
        "My {k} is {v}.", "{v} is my {k}.", "I have {ak} called {v}.", "I have {ak} named {v}.",
        "My {k} is named {v}.", "Remember that my {k} is called {v}.",
        "You should know that my {k} is called {v}.",
    ),
    (
        "What is my {k} called?", "What is the name of my {k}?", "What is my {k}'s name?",
        "Who is my {k}?", "Do you remember the name of my {k}?", "Tell me the name of my {k}.",
        "How is my {k} called?", "Do you know my {k}'s name?", "What did I say my {k} is called?",
        "And who is my {k}?", "Do you know who my {k} is?", "What is my {k} named?",
    ),
    "Your {k} is called {v}.",
)  # fmt: skip
KINDS = (NAME, FAVOURITE, PET, CITY, AGE, JOB, INSIDE, RELATIVE)
BEFORE = (
    "No, ", "Sorry, ", "I made a mistake. ", "Wait, ", "Actually, ", "That was wrong. ", "Oh no, ",
)  # fmt: skip
