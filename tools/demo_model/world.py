"""The small closed world that the demo model knows: every fact of its training data."""

# country: (capital, adjective of its people or language)
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid",
    "Portugal": "Lisbon", "England": "London", "Ireland": "Dublin", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen", "Poland": "Warsaw",
    "Austria": "Vienna", "Greece": "Athens", "Hungary": "Budapest", "Belgium": "Brussels",
    "Switzerland": "Bern", "Russia": "Moscow", "Turkey": "Ankara", "Egypt": "Cairo",
    "Kenya": "Nairobi", "Morocco": "Rabat", "Japan": "Tokyo", "China": "Beijing",
    "India": "New Delhi", "Thailand": "Bangkok", "Vietnam": "Hanoi", "South Korea": "Seoul",
    "Australia": "Canberra", "New Zealand": "Wellington", "Canada": "Ottawa",
    "the United States": "Washington", "Mexico": "Mexico City", "Cuba": "Havana",
    "Brazil": "Brasilia", "Argentina": "Buenos Aires", "Chile": "Santiago", "Peru": "Lima",
    "Iceland": "Reykjavik", "Ukraine": "Kyiv",
}  # fmt: skip

# thing: its usual colour
COLOURS = {
    "the sky": "blue", "the sea": "blue", "grass": "green", "a frog": "green", "a leaf": "green",
    "a cucumber": "green", "broccoli": "green", "snow": "white", "milk": "white", "salt": "white",
    "rice": "white", "a swan": "white", "coal": "black", "a crow": "black", "night": "black",
    "blood": "red", "a tomato": "red", "a strawberry": "red", "a cherry": "red",
    "a fire engine": "red", "a ruby": "red", "the sun": "yellow", "a banana": "yellow",
    "a lemon": "yellow", "butter": "yellow", "a canary": "yellow", "a carrot": "orange",
    "a pumpkin": "orange", "an orange": "orange", "chocolate": "brown", "coffee": "brown",
    "a bear": "brown", "wood": "brown", "an elephant": "grey", "a mouse": "grey", "ash": "grey",
    "a flamingo": "pink", "a pig": "pink", "a plum": "purple", "lavender": "purple",
}  # fmt: skip

# Paint mixed from two colours.
MIXTURES = {
    ("blue", "yellow"): "green", ("red", "yellow"): "orange", ("blue", "red"): "purple",
    ("red", "white"): "pink", ("black", "white"): "grey",
}  # fmt: skip

OPPOSITES = [
    ("hot", "cold"), ("big", "small"), ("tall", "short"), ("fast", "slow"), ("old", "young"),
    ("happy", "sad"), ("light", "dark"), ("up", "down"), ("left", "right"), ("in", "out"),
    ("open", "closed"), ("full", "empty"), ("hard", "soft"), ("wet", "dry"), ("rich", "poor"),
    ("early", "late"), ("loud", "quiet"), ("strong", "weak"), ("clean", "dirty"),
    ("good", "bad"), ("day", "night"), ("first", "last"), ("near", "far"), ("high", "low"),
    ("thick", "thin"), ("wide", "narrow"), ("true", "false"), ("love", "hate"),
    ("win", "lose"), ("push", "pull"), ("begin", "end"), ("yes", "no"), ("north", "south"),
    ("east", "west"), ("sweet", "sour"), ("brave", "afraid"), ("cheap", "expensive"),
    ("easy", "difficult"), ("heavy", "light"), ("deep", "shallow"),
]  # fmt: skip

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
]  # fmt: skip
MONTH_LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
# Of the northern half of the earth.
SEASONS = {
    "winter": ["December", "January", "February"], "spring": ["March", "April", "May"],
    "summer": ["June", "July", "August"], "autumn": ["September", "October", "November"],
}  # fmt: skip
ORDINALS = [
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth",
]  # fmt: skip

# animal: (sound, young, legs, can fly, lives, eats)
ANIMALS = {
    "dog": ("barks", "puppy", 4, False, "in a house", "meat"),
    "cat": ("meows", "kitten", 4, False, "in a house", "fish and meat"),
    "cow": ("moos", "calf", 4, False, "on a farm", "grass"),
    "horse": ("neighs", "foal", 4, False, "on a farm", "grass"),
    "sheep": ("bleats", "lamb", 4, False, "on a farm", "grass"),
    "goat": ("bleats", "kid", 4, False, "on a farm", "grass"),
    "pig": ("oinks", "piglet", 4, False, "on a farm", "almost anything"),
    "duck": ("quacks", "duckling", 2, True, "on a pond", "water plants"),
    "chicken": ("clucks", "chick", 2, False, "on a farm", "seeds"),
    "goose": ("honks", "gosling", 2, True, "on a pond", "grass"),
    "owl": ("hoots", "owlet", 2, True, "in a forest", "mice"),
    "eagle": ("screams", "eaglet", 2, True, "in the mountains", "small animals"),
    "lion": ("roars", "cub", 4, False, "in the savanna", "meat"),
    "tiger": ("roars", "cub", 4, False, "in the jungle", "meat"),
    "bear": ("growls", "cub", 4, False, "in a forest", "berries and fish"),
    "wolf": ("howls", "pup", 4, False, "in a forest", "meat"),
    "fox": ("barks", "cub", 4, False, "in a forest", "mice"),
    "elephant": ("trumpets", "calf", 4, False, "in the savanna", "leaves"),
    "monkey": ("chatters", "infant", 2, False, "in the jungle", "fruit"),
    "frog": ("croaks", "tadpole", 4, False, "in a pond", "insects"),
    "snake": ("hisses", "hatchling", 0, False, "in the grass", "mice"),
    "mouse": ("squeaks", "pup", 4, False, "in a field", "seeds"),
    "bee": ("buzzes", "larva", 6, True, "in a hive", "nectar"),
    "spider": ("makes no sound", "spiderling", 8, False, "in a web", "insects"),
    "fish": ("makes no sound", "fry", 0, False, "in water", "small water animals"),
    "rabbit": ("squeaks", "kit", 4, False, "in a burrow", "grass"),
    "kangaroo": ("grunts", "joey", 2, False, "in the grassland", "grass"),
    "penguin": ("squawks", "chick", 2, False, "in the cold south", "fish"),
}  # fmt: skip

NUMBERS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
]  # fmt: skip

# Small facts that are neither of the above: question words are the generator's.
COUNTS = {
    "days in a week": 7, "months in a year": 12, "hours in a day": 24, "minutes in an hour": 60,
    "seconds in a minute": 60, "days in a year": 365, "seasons in a year": 4,
    "letters in the alphabet": 26, "wheels on a car": 4, "wheels on a bicycle": 2,
    "fingers on a hand": 5, "sides on a triangle": 3, "sides on a square": 4,
}  # fmt: skip


def held_out(first: int, second: int) -> bool:
    """Tell whether arithmetic on this pair of numbers stays out of the training data.

    One pair in ten with both numbers above 10, so that right answers cannot be remembered ones.
    """
    return first > 10 and second > 10 and (7 * first + 11 * second) % 10 == 3
