"""Phrasings of questions about animals."""

from tools.demo_model.asking import Forms

# {a}: "a dog" or "dogs"; {does}, {is}, {has}: verbs in agreement with it.
SOUND = Forms(
    (
        "What sound {does} {a} make?", "Which sound {does} {a} make?",
        "What noise {does} {a} make?",
        "What {does} {a} say?", "How {does} {a} sound?", "What {does} {a} sound like?",
        "Sound of {a}?",
        "How {does} {a} talk?", "What sounds {does} {a} make?", "{a}: which sound?",
        "How {does} {a} call?",
        "I hear {a}. What sound is it?", "What kind of sound {does} {a} make?",
        "What do you hear from {a}?",
        "What sort of noise {does} {a} make?", "What {does} {a} do when {it} {makes} a sound?",
        "Which noise {does} {a} make?", "What sound comes from {a}?", "{a} {makes} which sound?",
        "What sound would {a} make?",
    ),
    ("the sound of {a}", "the sound that {a} {makes}", "the noise of {a}"),
    ("what sound {a} {makes}", "which noise {a} {makes}", "what {a} {says}", "how {a} {sounds}"),
)  # fmt: skip
YOUNG = Forms(
    (
        "What is a young {n} called?", "What is a baby {n} called?",
        "What do you call a young {n}?",
        "What do you call a baby {n}?", "What is the young of {an} called?", "Baby {n}?",
        "Young {n}?",
        "What is the baby of {an} called?", "A young {n} is called", "A baby {n} is called what?",
        "How do you call a young {n}?", "What name does a young {n} have?",
        "What are young {ns} called?",
        "What are baby {ns} called?", "What do we call the babies of {ns}?",
        "What is a small {n} called?",
        "What do people call a young {n}?", "What is the word for a young {n}?",
        "What is a little {n} called?",
        "{an} has a baby. What is it called?", "What is the child of {an} called?",
        "What is the word for a baby {n}?",
    ),
    ("the name of a young {n}", "the word for a young {n}", "the word for a baby {n}",
    "the name for a baby {n}"),
    ("what a young {n} is called", "what a baby {n} is called", "how a young {n} is called"),
)  # fmt: skip
LEGS = Forms(
    (
        "How many legs {does} {a} have?", "How many legs {has} {a}?", "Legs of {a}?",
        "{a}: how many legs?",
        "{a} {has} how many legs?", "On how many legs {does} {a} walk?",
        "How many legs are there on {a}?",
        "Count the legs of {a}.", "How many legs can I count on {a}?",
        "How many legs has {a} got?",
        "I see {a}. How many legs {does} {it} have?", "How many legs would {a} have?",
        "How many legs {does} {a} usually have?", "What number of legs {does} {a} have?",
    ),
    ("the number of legs of {a}", "the number of legs that {a} {has}"),
    ("how many legs {a} {has}", "how many legs there are on {a}"),
)  # fmt: skip
LIVES = Forms(
    (
        "Where {does} {a} live?", "Where do you find {a}?", "Where can I find {a}?",
        "Home of {a}?",
        "In what place {does} {a} live?", "Where is the home of {a}?", "Where can I see {a}?",
        "{a} {lives} where?", "{a}: where {does} {it} live?", "Where {does} {a} usually live?",
        "I want to see {a}. Where should I look?", "Where {does} {a} stay?",
        "Where {is} {a} at home?",
        "What is the home of {a}?", "Where would I look for {a}?",
        "In which place {does} {a} live?",
        "Where {does} {a} sleep and live?", "Where should I look for {a}?",
        "Where {does} {a} make {its} home?",
    ),
    ("the home of {a}", "the place where {a} {lives}"),
    ("where {a} {lives}", "where I can find {a}", "in what place {a} {lives}",
    "where the home of {a} is"),
)  # fmt: skip
EATS = Forms(
    (
        "What {does} {a} eat?", "What {does} {a} like to eat?", "Which food {does} {a} eat?",
        "Food of {a}?",
        "What kind of food {does} {a} eat?", "What {is} {a} fed with?", "What do I feed {a}?",
        "What should I feed {a}?", "What food {does} {a} need?", "{a} {eats} what?",
        "What can {a} eat?",
        "{a}: what {does} {it} eat?", "What {does} {a} usually eat?",
        "What can I give {a} to eat?",
        "What {does} {a} have for dinner?", "Which food {does} {a} like?",
        "What {does} {a} live on?",
        "{a} {is} hungry. What {does} {it} eat?", "What would {a} eat?",
        "What {does} {a} feed on?",
    ),
    ("the food of {a}", "the usual food of {a}", "the food that {a} {eats}"),
    ("what {a} {eats}", "what I can feed {a}", "what food {a} {eats}", "what {a} {likes} to eat"),
)  # fmt: skip
ABOUT = Forms(
    (
        "What {is} {a}?", "Tell me about {a}.", "Tell me something about {a}.",
        "What do you know about {a}?",
        "Describe {a}.", "Can you describe {a}?", "Explain what {a} {is}.",
        "What kind of thing {is} {a}?",
        "Say something about {a}.", "Do you know anything about {a}?",
        "What can you tell me about {a}?",
        "I want to learn about {a}.", "Please tell me about {a}.",
        "Give me a few facts about {a}.",
        "Facts about {a}?", "I would like to know something about {a}.",
        "Can you tell me about {a}?",
        "Tell me a fact about {a}.", "Write something about {a}.", "Write a sentence about {a}.",
    ),
    (),
    ("what {a} {is}",),
)  # fmt: skip
CHILD = Forms(
    (
        "What is {y}?", "What animal is {y}?", "Which animal is {y}?", "{y} is a young",
        "What kind of animal is {y}?",
        "{y} is the young of which animal?", "What is {y}, which animal?",
        "Which animal has a baby called {y}?",
        "{y} is what animal?", "What does {y} become?", "What will {y} be when it grows up?",
        "{y} is the baby of which animal?", "{y} grows into what?", "Whose baby is {y}?",
    ),
    (),
    ("what {y} is", "which animal {y} is", "what animal {y} becomes",
    "what kind of animal {y} is"),
)  # fmt: skip
WHICH = Forms(
    (
        "Which animal {v}?", "What animal {v}?", "Name an animal that {v}.",
        "Which animal do you know that {v}?",
        "Tell me an animal that {v}.", "Do you know an animal that {v}?", "An animal that {v}?",
        "What {v}?",
        "I am thinking of an animal. It {v}.", "It {v}. Which animal is it?",
        "It is an animal and it {v}. What is it?",
        "Guess the animal: it {v}.", "My pet {v}. What animal is it?",
        "Can you name an animal that {v}?",
        "Give me an animal that {v}.", "Who {v}?", "Think of an animal that {v}.",
        "Find an animal that {v}.",
    ),
    ("an animal that {v}", "the animal that {v}"),
    ("which animal {v}", "what animal {v}"),
)  # fmt: skip
WHICH_ALL = (
    "Which animals {v}?", "What animals {v}?", "Name some animals that {v}.",
    "Name animals that {v}.",
    "List some animals that {v}.", "Can you name some animals that {v}?",
    "Tell me animals that {v}.",
    "Do you know animals that {v}?", "Give me a list of animals that {v}.", "Animals that {v}?",
    "I need some animals that {v}.", "What are some animals that {v}?",
)  # fmt: skip
