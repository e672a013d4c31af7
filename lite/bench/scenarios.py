"""How long prompts and outputs are: genai-bench's scenarios, random ranges, ShareGPT-like mixes."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lite.bench.streams import Stream, random_stream
from lite.errors import ConfigError

Lengths = npt.NDArray[np.int64]
Mix = tuple[tuple[float, float, float], ...]
Draw = Callable[[np.random.Generator, int], tuple[Lengths, Lengths]]

_PAIR = r"\((\d+),(\d+)\)"
_FORMS = {
    "D": re.compile(rf"D{_PAIR}"),
    "N": re.compile(rf"N{_PAIR}/{_PAIR}"),
    "U": re.compile(rf"U{_PAIR}(?:/{_PAIR})?"),
}
# As genai-bench: a prompt has at least 1 token, an output that is not fixed at least 2.
_MIN_INPUT, _MIN_OUTPUT = 1, 2

# Weight, median and sigma of log-normal parts: short questions and pasted texts; short answers
# and long ones. The means come near those of ShareGPT in the paper on vLLM (161 and 338 tokens).
SHAREGPT_INPUT: Mix = ((0.7, 24.0, 0.9), (0.3, 350.0, 0.8))
SHAREGPT_OUTPUT: Mix = ((0.25, 40.0, 1.0), (0.75, 355.0, 0.6))
# More is a slip, and would overflow; the context is the true limit.
_MAX_LENGTH = 2**31 - 1
# The limits of vLLM's filter of the dataset.
SHAREGPT_MIN, SHAREGPT_MAX_INPUT, SHAREGPT_MAX_TOTAL = 4, 1024, 2048


@dataclass(frozen=True, slots=True)
class Scenario:
    """A distribution of lengths; `name` says it as a user would."""

    name: str
    draw: Draw

    def sample(self, num_requests: int, seed: int) -> list[tuple[int, int]]:
        """Return (input, output) lengths in tokens, the same for the same seed."""
        inputs, outputs = self.draw(random_stream(seed, Stream.LENGTHS), num_requests)
        return list(zip(inputs.tolist(), outputs.tolist(), strict=True))


def parse_scenario(text: str) -> Scenario:
    """Read a scenario as genai-bench writes it.

    D(in,out): always these. N(mean,std)/(mean,std): normal. U(min,max)/(min,max): uniform;
    U(max_in,max_out): uniform from 1. Input before output, in tokens.

    Raises:
        ConfigError: it is none of these, or its numbers make no sense.
    """
    compact = re.sub(r"\s", "", text)
    for kind, form in _FORMS.items():
        match = form.fullmatch(compact)
        if match is not None:
            numbers = [_length(compact, group) for group in match.groups() if group is not None]
            return Scenario(compact, _DRAWS[kind](compact, numbers))
    raise ConfigError(
        f"--scenario {text!r} is not D(in,out), N(mean,std)/(mean,std), U(min,max)/(min,max) or "
        "U(max_in,max_out), each in tokens, such as D(100,100)."
    )


def _length(text: str, digits: str) -> int:
    # NOTE: no more digits than a length has, since int() of a very long text raises.
    if len(digits) > 10 or int(digits) > _MAX_LENGTH:
        raise ConfigError(f"--scenario {text!r}: a number is above {_MAX_LENGTH}.")
    return int(digits)


def _deterministic(text: str, numbers: list[int]) -> Draw:
    num_input, num_output = numbers
    if num_input < 1 or num_output < 1:
        raise ConfigError(f"--scenario {text!r}: prompts and outputs have at least 1 token.")
    return lambda _, n: (np.full(n, num_input), np.full(n, num_output))


def _normal(text: str, numbers: list[int]) -> Draw:
    mean_in, std_in, mean_out, std_out = numbers
    if mean_in < 1 or mean_out < 1:
        raise ConfigError(f"--scenario {text!r}: a mean must be at least 1.")

    def draw(rng: np.random.Generator, n: int) -> tuple[Lengths, Lengths]:
        inputs = rng.normal(mean_in, std_in, n).astype(np.int64)
        outputs = rng.normal(mean_out, std_out, n).astype(np.int64)
        return np.maximum(inputs, _MIN_INPUT), np.maximum(outputs, _MIN_OUTPUT)

    return draw


def _uniform(text: str, numbers: list[int]) -> Draw:
    if len(numbers) == 2:
        numbers = [1, numbers[0], 1, numbers[1]]
    min_in, max_in, min_out, max_out = numbers
    if max_in < max(min_in, 1) or max_out < max(min_out, 1):
        raise ConfigError(f"--scenario {text!r}: a maximum is below its minimum, or below 1.")
    return uniform_lengths(
        (max(min_in, _MIN_INPUT), max_in), (min(max(min_out, _MIN_OUTPUT), max_out), max_out)
    )


_DRAWS: dict[str, Callable[[str, list[int]], Draw]] = {
    "D": _deterministic,
    "N": _normal,
    "U": _uniform,
}


def uniform_lengths(inputs: tuple[int, int], outputs: tuple[int, int]) -> Draw:
    """Draw from ranges of (least, most), both included."""
    return lambda rng, n: (
        rng.integers(inputs[0], inputs[1] + 1, n),
        rng.integers(outputs[0], outputs[1] + 1, n),
    )


def random_range(input_len: int, output_len: int, ratio: float) -> Scenario:
    """Return vLLM's random lengths: uniform within len * (1 - ratio) .. len * (1 + ratio).

    Raises:
        ConfigError: a length is below 1 or absurd, or the ratio outside [0, 1).
    """
    for flag, length in (("--input-len", input_len), ("--output-len", output_len)):
        if not 1 <= length <= _MAX_LENGTH:
            raise ConfigError(f"{flag} is {length}, but must be in [1, {_MAX_LENGTH}].")
    if not 0.0 <= ratio < 1.0:
        raise ConfigError(f"--random-range-ratio is {ratio}, but must be in [0, 1).")

    def bounds(length: int) -> tuple[int, int]:
        return max(1, int(np.floor(length * (1 - ratio)))), int(np.ceil(length * (1 + ratio)))

    name = f"random {input_len} in, {output_len} out"
    return Scenario(
        name if ratio == 0.0 else f"{name}, range ratio {ratio:g}",
        uniform_lengths(bounds(input_len), bounds(output_len)),
    )


def sharegpt_like() -> Scenario:
    """Return log-normal mixes with the means and the limits that conversations of ShareGPT have."""

    def draw(rng: np.random.Generator, n: int) -> tuple[Lengths, Lengths]:
        inputs = np.clip(_mix(rng, n, SHAREGPT_INPUT), SHAREGPT_MIN, SHAREGPT_MAX_INPUT)
        outputs = np.maximum(_mix(rng, n, SHAREGPT_OUTPUT), SHAREGPT_MIN)
        return inputs, np.minimum(outputs, SHAREGPT_MAX_TOTAL - inputs)

    return Scenario("sharegpt-like", draw)


def _mix(
    rng: np.random.Generator, n: int, parts: tuple[tuple[float, float, float], ...]
) -> Lengths:
    weights, medians, sigmas = (np.array(column) for column in zip(*parts, strict=True))
    which = rng.choice(len(parts), size=n, p=weights)
    lengths = rng.lognormal(np.log(medians[which]), sigmas[which])
    return np.rint(lengths).astype(np.int64)
