"""Phrasings of questions about days, months and seasons."""

from tools.demo_model.asking import Forms

# {u}: "day", "month" or "season".
AFTER = Forms(
    (
        "What comes after {x}?", "What {u} comes after {x}?", "Which {u} comes after {x}?",
        "After {x}?",
        "What {u} is after {x}?", "Which {u} is after {x}?", "Which {u} follows {x}?",
        "What {u} follows {x}?",
        "{x} is followed by which {u}?", "What follows {x}?", "{x}, and then?", "{u} after {x}?",
        "What is the next {u} after {x}?", "Which {u} comes next after {x}?", "After {x} comes",
        "After {x} comes which {u}?", "The {u} after {x} is",
        "When {x} is over, which {u} begins?",
        "{x} ends. What {u} comes now?", "What {u} do we have after {x}?", "And after {x}?",
        "Which {u} comes right after {x}?", "Name the {u} that follows {x}.",
        "What is after {x}?",
    ),
    ("the {u} after {x}", "the next {u} after {x}", "the {u} that comes after {x}",
    "the {u} following {x}"),
    ("what {u} comes after {x}", "which {u} follows {x}", "what comes after {x}"),
)  # fmt: skip
BEFORE = Forms(
    (
        "What comes before {x}?", "What {u} comes before {x}?", "Which {u} comes before {x}?",
        "Before {x}?",
        "What {u} is before {x}?", "Which {u} is before {x}?", "Which {u} comes just before {x}?",
        "{x} comes after which {u}?", "What is before {x}?", "{u} before {x}?",
        "Before {x} comes",
        "Before {x} comes which {u}?", "The {u} before {x} is", "Which {u} ends when {x} begins?",
        "What {u} do we have before {x}?", "Which {u} comes right before {x}?", "And before {x}?",
        "Name the {u} that comes before {x}.", "What {u} was before {x}?",
        "{x} follows which {u}?",
        "What is the last {u} before {x}?", "Which {u} is followed by {x}?",
    ),
    ("the {u} before {x}", "the {u} that comes before {x}", "the {u} just before {x}"),
    ("what {u} comes before {x}", "which {u} is before {x}", "what comes before {x}"),
)  # fmt: skip
TOMORROW = Forms(
    (
        "If today is {x}, what is tomorrow?", "If today is {x}, what day is tomorrow?",
        "If today is {x}, which day is it tomorrow?", "Today is {x}. What day is tomorrow?",
        "Today is {x}. What is tomorrow?", "It is {x} today. What day is it tomorrow?",
        "{x} today, tomorrow?",
        "If it is {x} today, what is tomorrow?", "If it is {x}, what day will it be tomorrow?",
        "Today it is {x}. Which day is tomorrow?", "When today is {x}, what is tomorrow?",
        "Suppose today is {x}. What day is tomorrow?", "What day is tomorrow if today is {x}?",
        "What is tomorrow if today is {x}?", "What will tomorrow be when today is {x}?",
        "Today is {x}, so tomorrow is", "We have {x} today. And tomorrow?",
        "If today is {x}, tomorrow is",
        "It is {x}. What day comes tomorrow?", "Tomorrow is which day, if today is {x}?",
    ),
    (),
    ("what day tomorrow is if today is {x}", "which day it is tomorrow if it is {x} today"),
)  # fmt: skip
YESTERDAY = Forms(
    (
        "If today is {x}, what was yesterday?", "If today is {x}, what day was yesterday?",
        "If today is {x}, which day was it yesterday?", "Today is {x}. What day was yesterday?",
        "Today is {x}. What was yesterday?", "It is {x} today. What day was it yesterday?",
        "If it is {x} today, what was yesterday?", "{x} today, yesterday?",
        "Today is {x}, so yesterday was",
        "Today it is {x}. Which day was yesterday?",
        "Suppose today is {x}. What day was yesterday?",
        "What day was yesterday if today is {x}?", "What was yesterday if today is {x}?",
        "We have {x} today. And yesterday?", "If today is {x}, yesterday was",
        "It is {x}. What day was it yesterday?", "Yesterday was which day, if today is {x}?",
    ),
    (),
    ("what day yesterday was if today is {x}", "which day it was yesterday if it is {x} today"),
)  # fmt: skip
NTH = Forms(
    (
        "What is the {n} {u} of the {w}?", "Which {u} is the {n} of the {w}?",
        "{n} {u} of the {w}?",
        "Which {u} is number {k} in the {w}?", "What is {u} number {k}?",
        "The {n} {u} of the {w} is",
        "What {u} is the {n} {u} of the {w}?", "Which is the {n} {u} in the {w}?",
        "{u} number {k}?",
        "Which {u} comes {n} in the {w}?", "What {u} comes {n}?",
        "What is the name of the {n} {u}?",
        "What is the {n} {u}?", "Name the {n} {u} of the {w}.", "Which {u} is {n}?",
    ),
    ("the {n} {u} of the {w}", "the {n} {u}", "the {n} {u} in a {w}"),
    ("which {u} is the {n} of the {w}", "what the {n} {u} of the {w} is", "which {u} comes {n}"),
)  # fmt: skip
PLACE = Forms(
    (
        "Which number is {x}?", "What number is {x} in the {w}?", "{x} is which {u} of the {w}?",
        "What number is the {u} {x}?", "{x} is what number?",
        "What {u} of the {w} is {x}?", "Which place has {x} in the {w}?", "{x} is {u} number",
        "What place does {x} have in the {w}?", "Where in the {w} is {x}?",
        "{x} is {u} number what?",
    ),
    ("the number of the {u} {x}", "the place of {x} in the {w}"),
    ("which number {x} has", "what number {x} is in the {w}"),
)  # fmt: skip
LENGTH = Forms(
    (
        "How many days does {x} have?", "How many days has {x}?",
        "How many days are there in {x}?",
        "How many days are in {x}?", "How many days in {x}?", "Days in {x}?", "How long is {x}?",
        "{x} has how many days?", "How many days has the month of {x}?", "{x}: how many days?",
        "How many days does the month {x} have?", "How many days long is {x}?",
        "What is the length of {x}?",
        "Does {x} have 30 or 31 days?", "{x} has", "Count the days in {x}.",
        "How many days are there in the month of {x}?", "How many days do we have in {x}?",
    ),
    ("the number of days in {x}", "the length of {x} in days"),
    ("how many days {x} has", "how many days there are in {x}", "how long {x} is"),
)  # fmt: skip
SEASON = Forms(
    (
        "Which season is {x} in?", "What season is {x}?", "In which season is {x}?",
        "What season is it in {x}?",
        "{x} is in which season?", "Season of {x}?", "To which season does {x} belong?",
        "{x}: season?",
        "Which season do we have in {x}?", "What season is {x} in?",
        "{x} belongs to which season?",
        "Which season is it in {x}?", "In what season does {x} fall?",
        "Which season has the month {x}?",
        "It is {x}. Which season is it?", "If it is {x}, what season is it?",
        "{x} is a month of which season?",
        "In {x}, what season do we have?", "What part of the year is {x}, which season?",
    ),
    ("the season of {x}", "the season in {x}", "the season that {x} belongs to"),
    ("which season {x} is in", "in which season {x} is", "what season it is in {x}"),
)  # fmt: skip
MONTHS_OF = Forms(
    (
        "Which months are in {x}?", "What months are in {x}?", "Which months belong to {x}?",
        "Months of {x}?",
        "What are the months of {x}?", "Name the months of {x}.", "List the months of {x}.",
        "When is {x}?",
        "In which months is {x}?", "In which months is it {x}?", "Which are the {x} months?",
        "{x} months?",
        "Name the {x} months.", "Which months make up {x}?", "In what months do we have {x}?",
        "{x} is in which months?", "Which three months are {x}?", "Tell me the {x} months.",
        "What are the {x} months?", "Please list the months in {x}.",
    ),
    (),
    ("which months are in {x}", "when {x} is", "what the months of {x} are",
    "which months belong to {x}"),
)  # fmt: skip
LIST = Forms(
    (
        "What are the {x}?", "Name the {x}.", "List the {x}.", "Which are the {x}?",
        "Tell me the {x}.",
        "Can you list the {x}?", "Can you name all the {x}?", "List all {x}.", "Name all {x}.",
        "{x}?",
        "Give me the {x}.", "Give me a list of the {x}.", "I would like a list of the {x}.",
        "{x}",
        "Say the {x}.", "Say the {x} in order.", "What are the {x} in order?",
        "List the {x} in order.",
        "Do you know the {x}?", "What are the names of the {x}?", "What are the {x} called?",
        "Please list the {x}.", "Please name the {x}.", "Could you tell me all the {x}?",
        "All the {x}?",
        "I want to learn the {x}.", "I need the names of the {x}.", "Write down the {x}.",
        "Which {x} are there?", "What {x} do you know?", "Recite the {x}.",
    ),
)  # fmt: skip
