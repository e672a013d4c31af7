"""Phrasings of questions about capitals, colours, opposites and counts."""

from tools.demo_model.asking import Forms

CAPITAL = Forms(
    (
        "What is the capital of {x}?", "What is the capital city of {x}?", "Capital of {x}?",
        "capital of {x}", "Capital city of {x}?", "{x}: capital?",
        "What city is the capital of {x}?",
        "Which city is the capital of {x}?", "Which capital does {x} have?",
        "{x} has which capital?",
        "What is the name of the capital of {x}?", "The capital of {x} is", "{x} capital",
        "What capital does {x} have?", "What is the main city of {x}, its capital?",
        "What do you call the capital of {x}?", "Where is the capital of {x}?",
        "I am going to {x}. What is its capital?", "I live in {x}. What is the capital?",
        "My friend comes from {x}. What is the capital there?",
        "The capital of {x} is which city?",
        "Please give me the capital of {x}.", "If I go to the capital of {x}, where am I?",
        "Which city is the seat of the government of {x}?", "Do you know the capital of {x}?",
        "What is the capital of the country {x}?", "Name the capital of the country called {x}.",
        "The capital of {x} is called what?", "Which town is the capital of {x}?",
    ),
    ("the capital of {x}", "the capital city of {x}", "the name of the capital of {x}"),
    ("what the capital of {x} is", "which city is the capital of {x}",
    "what the capital of {x} is called"),
)  # fmt: skip
COUNTRY = Forms(
    (
        "{y} is the capital of which country?", "Which country has the capital {y}?",
        "What country is {y} the capital of?", "Which country is {y} the capital of?",
        "Of which country is {y} the capital?", "{y} is the capital of",
        "{y} is the capital of what?",
        "Which country has {y} as its capital?", "The capital is {y}. What is the country?",
        "In which country is {y} the capital?", "Whose capital is {y}?",
        "What is {y} the capital of?",
        "{y} is the capital city of which country?", "{y} is the capital of what country?",
        "I know the capital {y}. What is its country?", "What country has {y} as capital city?",
    ),
    ("the country with the capital {y}", "the country that has the capital {y}"),
    ("which country has the capital {y}", "what {y} is the capital of", "whose capital {y} is"),
)  # fmt: skip
WHERE = Forms(
    (
        "Where is {y}?", "Where can I find {y}?", "In which country is {y}?",
        "Which country is {y} in?",
        "What country is {y} in?", "Where is the city {y}?", "Where is the city of {y}?",
        "{y} is in which country?", "{y} is in what country?", "Where does {y} lie?", "{y} is in",
        "I am in {y}. Which country am I in?", "Where on the map is {y}?", "Where do I find {y}?",
        "If I go to {y}, in which country am I?", "I live in {y}. In which country is that?",
        "In what country is {y}?", "To which country does {y} belong?", "{y}, where is that?",
        "Where is {y} located?", "I want to visit {y}. Where is it?", "{y} is a city in",
    ),
    ("the country where {y} is",),
    ("where {y} is", "in which country {y} is", "which country {y} is in"),
)  # fmt: skip
CAPITAL_CHECKS = (
    "Is {y} the capital of {x}?", "Is {y} the capital city of {x}?",
    "Does {x} have the capital {y}?",
    "Is the capital of {x} {y}?", "Is the capital of {x} called {y}?", "Is {x}'s capital {y}?",
    "Would you call {y} the capital of {x}?",
)  # fmt: skip
CAPITAL_STATEMENTS = ("{y} is the capital of {x}", "the capital of {x} is {y}")
COLOUR = Forms(
    (
        "What colour {is} {x}?", "Which colour {is} {x}?", "What colour {does} {x} have?",
        "Which colour {does} {x} have?", "Colour of {x}?", "colour of {x}", "{x}: what colour?",
        "{x} {is} what colour?", "What is the usual colour of {x}?",
        "What colour {is} {x} normally?",
        "What colour {is} {x} usually?", "I see {x}. What colour {is} {it}?",
        "{x} {is} which colour?",
        "I want to paint {x}. Which colour do I need?", "If I look at {x}, what colour do I see?",
        "In what colour should I draw {x}?", "What is the color of {x}?",
        "How would you colour {x}?",
        "{x} {is} of what colour?", "Which colour should I paint {x}?",
        "What colour would {x} be?",
        "{x}, what colour {is} {it}?", "Describe the colour of {x}.", "By colour, what {is} {x}?",
    ),
    ("the colour of {x}", "the usual colour of {x}"),
    ("what colour {x} {is}", "which colour {x} {is}", "what colour {x} {has}"),
)  # fmt: skip
COLOUR_CHECKS = (
    "{be} {x} {c}?", "{be} {x} usually {c}?", "{do} {x} have the colour {c}?",
    "{be} {x} {c} or not?",
    "{be} the colour of {x} {c}?",
)  # fmt: skip
SOMETHING = Forms(
    (
        "What is {c}?", "Name something {c}.", "Name something that is {c}.", "Name a {c} thing.",
        "Tell me something {c}.", "Give me an example of something {c}.", "Something {c}?",
        "Which thing is {c}?", "Give me something {c}.", "Name one thing that is {c}.",
        "Give me one thing that is {c}.", "Do you know something {c}?",
        "Say something that is {c}.",
        "Can you name something {c}?", "Can you think of something {c}?", "I need something {c}.",
        "What has the colour {c}?", "Can you give me an example of a {c} thing?",
        "I am looking for something {c}.", "Show me something {c}.",
        "What do you know that is {c}?",
        "Please name something {c}.", "Think of something {c}.", "What could be {c}?",
    ),
)  # fmt: skip
MANY_THINGS = Forms(
    (
        "What things are {c}?", "Which things are {c}?", "Name some {c} things.",
        "Name things that are {c}.",
        "List some {c} things.", "List {c} things.", "Give me some {c} things.",
        "What are some {c} things?",
        "Tell me some things that are {c}.", "Can you name some {c} things?",
        "Some {c} things, please.",
        "Examples of {c} things?", "Give me examples of things that are {c}.",
        "What else is {c}?",
        "Make a list of {c} things.", "Do you know some {c} things?", "Name a few {c} things.",
        "Which things have the colour {c}?", "I need a few things that are {c}.",
        "I need a list of {c} things.", "Please list some things that are {c}.",
    ),
)  # fmt: skip
MIX = Forms(
    (
        "What do you get if you mix {a} and {b}?", "What do I get when I mix {a} and {b}?",
        "What colour do {a} and {b} make?", "What do {a} and {b} make?", "Mix {a} and {b}.",
        "{a} and {b} make", "{a} plus {b}?", "{a} and {b} mixed?", "{a} mixed with {b}?",
        "If I mix {a} with {b}, which colour do I get?",
        "I mix {a} and {b} paint. What comes out?",
        "What happens when I mix {a} and {b}?", "Which colour do {a} and {b} give?",
        "What colour is a mix of {a} and {b}?", "{a} and {b} together make which colour?",
        "What colour comes from {a} and {b}?", "What is {a} and {b} mixed together?",
        "I have {a} paint and {b} paint. What can I make?", "Mixing {a} and {b} gives what?",
        "When you add {a} to {b}, what colour is that?", "What does {a} and {b} make?",
        "Which colour can I make from {a} and {b}?", "What is a mix of {a} and {b}?",
    ),
    ("the mix of {a} and {b}", "the colour that {a} and {b} make"),
    ("what {a} and {b} make", "which colour {a} and {b} make",
    "what I get when I mix {a} and {b}"),
)  # fmt: skip
MAKE = Forms(
    (
        "How do I make {c}?", "How can I make {c}?", "How do you make {c}?",
        "How do you mix {c}?",
        "Which colours make {c}?", "What colours make {c}?", "Which two colours make {c}?",
        "How to make {c}?",
        "Which colours do I need for {c}?", "What do I mix to get {c}?",
        "I need {c} paint. What do I mix?",
        "What must I mix to make {c}?", "Which colours do I mix for {c}?",
        "How do I get {c} paint?",
        "I want to make {c}. Which colours do I need?", "What is {c} made of?",
        "How is {c} made?",
        "From which colours can I mix {c}?", "What two colours give {c}?",
        "How do I mix the colour {c}?",
        "I have no {c} paint. How do I make it?", "Which paints make {c}?",
    ),
    (),
    ("how to make {c}", "which colours make {c}", "how I can mix {c}", "what I mix to get {c}"),
)  # fmt: skip
OPPOSITE = Forms(
    (
        "What is the opposite of {x}?", "What is the opposite of the word {x}?",
        "Opposite of {x}?",
        "opposite of {x}", "{x}: opposite?", "What is the contrary of {x}?",
        "The opposite of {x} is",
        "Which word is the opposite of {x}?", "What word means the opposite of {x}?",
        "Not {x} but",
        "What is the reverse of {x}?", "{x} is the opposite of what?", "{x} is the opposite of",
        "What is the opposite word of {x}?", "Give me the opposite of {x}.",
        "Give the opposite: {x}",
        "I say {x}, you say the opposite.", "What is the opposite of \"{x}\"?", "opposite: {x}",
        "If something is not {x}, what is it?", "Turn {x} into its opposite.", "{x} versus what?",
        "What do you call the opposite of {x}?", "Which word is the contrary of {x}?",
        "{x} and its opposite?",
        "{x} has which opposite?", "What word has the opposite meaning of {x}?",
        "Find the opposite of {x}.",
    ),
    ("the opposite of {x}", "the opposite word of {x}", "the opposite of the word {x}",
    "the antonym of {x}"),
    ("what the opposite of {x} is", "which word is the opposite of {x}"),
)  # fmt: skip
OPPOSITE_CHECKS = (
    "Is {y} the opposite of {x}?", "Is the opposite of {x} {y}?",
    "Does {y} mean the opposite of {x}?",
    "Are {x} and {y} opposites?", "Is {x} the opposite of {y}?",
)  # fmt: skip
COUNT = Forms(
    (
        "How many {n} are there {p}?", "How many {n} {p}?", "How many {n} are {p}?", "{n} {p}?",
        "How many {n} does {w} have?", "How many {n} has {w}?", "How many {n} do you find {p}?",
        "How many {n} will I find {p}?", "{w} has how many {n}?", "There are how many {n} {p}?",
        "{w}: how many {n}?", "How many {n} can I count {p}?", "Count the {n} {p}.",
        "What number of {n} does {w} have?", "How many {n} should there be {p}?",
        "How many {n} are there usually {p}?", "Give me the number of {n} {p}.",
    ),
    ("the number of {n} {p}",),
    ("how many {n} there are {p}", "how many {n} {w} has", "how many {n} are {p}"),
)  # fmt: skip
FOLLOW_UPS = (
    "And {x}?", "And of {x}?", "What about {x}?", "And the capital of {x}?", "And {x}, please?",
    "{x}?",
    "How about {x}?", "Now {x}.", "Now the same for {x}.", "Same question for {x}.",
    "And what about {x}?",
)  # fmt: skip
