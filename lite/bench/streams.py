"""Independent streams of random numbers that follow from one seed."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What is drawn. No 0, which numpy pads a seed with: [5, 0] would be 5."""

    LENGTHS = 1
    PROMPTS = 2
    ARRIVALS = 3
    CONVERSATIONS = 4


def random_stream(seed: int, stream: Stream) -> np.random.Generator:
    """Return the generator of a stream, which tells nothing of the seed's other ones."""
    return np.random.default_rng([seed, stream])
