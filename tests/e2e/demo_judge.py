"""The rules that tell right answers of the demo model from wrong ones: by content.

Wording is judged leniently, facts strictly. "a|b" in a rule's arguments are alternatives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tools.demo_model import world

if TYPE_CHECKING:
    from tests.e2e.demo_prompts import Prompt

_THOUGHT = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)
_TOOL_CALL = re.compile(r"\s*<tool_call>\s*(.*?)\s*</tool_call>\s*", re.DOTALL)
_DIGITS = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")
_ARITHMETIC = re.compile(r"[\d+\-*/x×÷().\s]+")
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_NUMBER_NAMES = {name: i for i, name in enumerate(world.NUMBERS)} | _TENS
_TENS_AND_UNITS = re.compile(rf"\b({'|'.join(_TENS)})[- ]({'|'.join(world.NUMBERS[1:10])})\b")

_GIVES_UP = re.compile(r"\b(do not|don't) know\b|\bnot sure\b|\bno idea\b", re.IGNORECASE)
_DOES_NOT_KNOW = re.compile(
    r"\b(do not|don't|did not|didn't|have not|haven't) (\w+ )?"
    r"(know|have|understand|learn|learned|learnt|remember)\b"
    r"|\b(cannot|can't|can not|could not|unable|not able|not sure|no idea|have no)\b"
    r"|\bnever (learned|learnt|heard)\b|\b(beyond|outside) (me|my|what)\b",
    re.IGNORECASE,
)
_NAMES_ITSELF = "lite|language model|demo"
_SAYS_IT_IS_SMALL = re.compile(r"(?=.*\b(I|I'm|my|me)\b).*\b(small|tiny|little|toy)\b", re.DOTALL)
_OTHER_ASSISTANTS = "ChatGPT|GPT|OpenAI|Claude|Anthropic|Gemini|Google|Qwen|Llama"
_OWN_NAMES = "I'm I'll I've AI English Lite"
_SAYS_LITE = re.compile(r"\b(I am|I'm|my name is|called|named) lite\b", re.IGNORECASE)
# Of the opposites only those that an answer would not hold for another reason.
_COMMON_WORDS = {
    "in", "out", "up", "down", "yes", "no", "right", "left", "first", "last", "good", "bad",
    "true", "end", "far", "old",
}  # fmt: skip

_GROUPS = {
    "capitals": set(world.CAPITALS.values()),
    "countries": {country.removeprefix("the ") for country in world.CAPITALS},
    "colours": {*world.COLOURS.values(), "gray"},
    "opposites": {word for pair in world.OPPOSITES for word in pair} - _COMMON_WORDS,
    "days": set(world.DAYS),
    "months": set(world.MONTHS),
    "seasons": set(world.SEASONS),
    "animals": {name + ending for name in world.ANIMALS for ending in ("", "s")},
    "young": {young for _, young, *_ in world.ANIMALS.values()},
}


def judge(prompt: Prompt, final_text: str, finish_reason: str | None) -> str | None:
    """Return why the last answer of a conversation is wrong, None if it is right."""
    if finish_reason != "stop":
        return f"did not stop by itself ({finish_reason})"
    text = final_text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if prompt.enable_thinking:
        thought, text = split_thought(text)
        if not thought:
            return "does not begin with a thought in <think>...</think>"
    if not text.strip():
        return "says nothing"
    kind = prompt.expect["kind"]
    if re.search(r"</?think>|<\|", text) or (kind != "call" and "tool_call>" in text):
        return "holds markup where plain text is due"
    if kind not in ("unknown", "story") and _GIVES_UP.search(text):
        return "says that it does not know"
    arguments = {name: value for name, value in prompt.expect.items() if name != "kind"}
    return RULES[kind](text, prompt.question, **arguments)


def split_thought(text: str) -> tuple[str | None, str]:
    """Return (thought, answer) of a text; the thought is None if it does not begin with one."""
    match = _THOUGHT.fullmatch(text)
    return (match[1].strip(), match[2].strip()) if match else (None, text)


def parse_calls(text: str) -> list[dict[str, Any]] | None:
    """Return the tool calls that a text consists of; None if it is anything else."""
    calls = []
    end = 0
    while match := _TOOL_CALL.match(text, end):
        try:
            call = json.loads(match[1])
        except ValueError:
            return None
        if not isinstance(call, dict) or set(call) != {"name", "arguments"}:
            return None
        if not isinstance(call["name"], str) or not isinstance(call["arguments"], dict):
            return None
        calls.append(call)
        end = match.end()
    return calls if calls and end == len(text) else None


def _judge_words(text: str, question: str, has: list[str], lacks: str = "") -> str | None:
    """All of `has` are said, in any order, and none of `lacks`."""
    for word in has:
        if not _has(text, word):
            return f"lacks {word!r}"
    said = _said(text, lacks)
    return f"says {said}" if said else None


def _judge_one_of(text: str, question: str, group: str, answer: str, also: str = "") -> str | None:
    """The answer is said, and nothing else of its group: but for the question's and `also`."""
    if not _has(text, answer):
        return f"lacks {answer!r}"
    allowed = {*answer.split("|"), *also.split("|"), *_said(question, _group(group))}
    others = _GROUPS[group] - allowed
    # Without the answer, or "Mexico" were in "Mexico City".
    wrong = _said(_without(text, answer), "|".join(sorted(others)))
    return f"says {wrong} too" if wrong else None


def _judge_number(text: str, question: str, answer: int, of: str = "") -> str | None:
    """The last number is the answer; `of` shows what it is the result of."""
    numbers = numbers_in(text)
    return None if numbers and numbers[-1] == answer else f"the last of {numbers} is not {answer}"


def _judge_count(text: str, question: str, answer: int, also: Sequence[int] = ()) -> str | None:
    """The answer is the only number: but for 1, the question's own and `also`."""
    numbers = set(numbers_in(text))
    if answer not in numbers:
        return f"{answer} is not among {sorted(numbers)}"
    wrong = numbers - {answer, 1, *also, *numbers_in(question)}
    return f"says {sorted(wrong)} too" if wrong else None


def _judge_yes_no(text: str, question: str, answer: str, yes: str) -> str | None:
    """The text says yes, or `yes` without a denial; or it denies."""
    denies = _has(text, "no|not|cannot|can't|doesn't|don't|isn't")
    affirms = _has(text, "yes") or (not denies and _has(text, yes))
    said = {(True, False): "yes", (False, True): "no"}.get((affirms, denies), "neither or both")
    return None if said == answer else f"says {said}, not {answer}"


def _judge_identity(text: str, question: str) -> str | None:
    if not _has(text, _NAMES_ITSELF) and not _SAYS_IT_IS_SMALL.match(text):
        return "does not say what it is"
    others = set(_said(text, _OTHER_ASSISTANTS)) - set(_said(question, _OTHER_ASSISTANTS))
    return f"says {sorted(others)}" if others else None


def _judge_persona(text: str, question: str, name: str) -> str | None:
    if not _has(text, name):
        return f"lacks the name {name!r}"
    return "calls itself lite" if _SAYS_LITE.search(text) else None


def _judge_unknown(text: str, question: str, lacks: str = "") -> str | None:
    """One of several ways to say not knowing, in few words, and nothing made up."""
    if not _DOES_NOT_KNOW.search(text):
        return "does not say that it does not know"
    if len(text.split()) > 40:
        return "says much where it knows nothing"
    given = {1.0, *numbers_in(question)}
    invented: list[Any] = [n for n in numbers_in(text, names=False) if n not in given]
    # A name that begins a sentence cannot be told from other words.
    names = _said(text, _group("capitals")) + re.findall(r"(?<=[\w,;] )['\"]?([A-Z][\w']+)", text)
    invented += [name for name in names if not _has(f"{question} {_OWN_NAMES}", name)]
    invented += _said(text, lacks)
    return f"makes up {invented}" if invented else None


def _judge_story(text: str, question: str, heroes: list[str]) -> str | None:
    """At least 4 sentences and 30 words about the heroes, none twice, ended."""
    text = text.strip()
    if not re.search(r"[.!?][\"']?$", text):
        return "breaks off"
    sentences = [s.strip(" \n\"'").casefold() for s in re.split(r"[.!?]+", text)]
    sentences = [s for s in sentences if s]
    if len(sentences) < 4 or len(text.split()) < 30:
        return f"has {len(sentences)} sentences and {len(text.split())} words"
    # An exclamation may well come twice.
    repeated = {s for s in sentences if sentences.count(s) > 1 and len(s.split()) > 2}
    if repeated:
        return f"repeats {sorted(repeated)}"
    missing = [hero for hero in heroes if not _has(text, hero)]
    return f"lacks {missing}" if missing else None


def _judge_call(
    text: str,
    question: str,
    name: str,
    arguments: Mapping[str, Any],
    optional: Mapping[str, Sequence[Any]] | None = None,
) -> str | None:
    """The text is one call with these arguments; of the optional ones, one of their values."""
    calls = parse_calls(text)
    if calls is None:
        return "is not made of well-formed <tool_call> blocks"
    if len(calls) != 1:
        return f"makes {len(calls)} calls"
    given = calls[0]["arguments"]
    if calls[0]["name"] != name:
        return f"calls {calls[0]['name']!r}, not {name!r}"
    for key, value in (optional or {}).items():
        if key in given and given.pop(key) not in value:
            return f"gives a wrong {key!r}"
    if set(given) != set(arguments):
        return f"gives {sorted(given)}, not {sorted(arguments)}"
    for key, value in arguments.items():
        if _canonical(given[key]) != _canonical(value):
            return f"gives {key}={given[key]!r}, not {value!r}"
    return None


RULES: dict[str, Callable[..., str | None]] = {
    "words": _judge_words,
    "one_of": _judge_one_of,
    "number": _judge_number,
    "count": _judge_count,
    "yes_no": _judge_yes_no,
    "identity": _judge_identity,
    "persona": _judge_persona,
    "unknown": _judge_unknown,
    "story": _judge_story,
    "call": _judge_call,
}


# --- words and numbers ---------------------------------------------------------------------


def numbers_in(text: str, *, names: bool = True) -> list[float]:
    """Return the numbers of a text in order; those in words if there are none in digits."""
    digits: list[float] = [float(number.replace(",", "")) for number in _DIGITS.findall(text)]
    if digits or not names:
        return digits
    joined = _TENS_AND_UNITS.sub(r"\1_\2", text.casefold())
    words = [word.split("_") for word in re.findall(r"[a-z_]+", joined)]
    return [
        float(sum(_NUMBER_NAMES[part] for part in parts))
        for parts in words
        if all(part in _NUMBER_NAMES for part in parts)
    ]


def _group(name: str) -> str:
    return "|".join(sorted(_GROUPS[name]))


def _pattern(words: str) -> str:
    # A number stands alone too: 7 is not in 17, 0.7, -7 or 7:30, but it is in 7C.
    alternatives = []
    for word in filter(None, words.split("|")):
        before = r"(?<![\w-])(?<!\d[.,:])" if word[0].isdigit() else r"(?<!\w)"
        after = r"(?!\d|[.,:]\d)" if word[-1].isdigit() else r"(?!\w)"
        alternatives.append(before + re.escape(word) + after)
    return "|".join(alternatives) or r"(?!)"


def _has(text: str, words: str) -> bool:
    return re.search(_pattern(words), text, re.IGNORECASE) is not None


def _said(text: str, words: str) -> list[str]:
    """Return those of the words, as spelled in `words`, that the text holds."""
    return [word for word in words.split("|") if word and _has(text, word)]


def _without(text: str, words: str) -> str:
    return re.sub(_pattern(words), " ", text, flags=re.IGNORECASE)


def _canonical(value: Any) -> Any:
    """Return a tool argument with what does not matter about it taken away."""
    if not isinstance(value, str):
        return value
    if not _ARITHMETIC.fullmatch(value):
        return " ".join(value.casefold().split())
    compact = re.sub(r"\s+", "", value).replace("x", "*").replace("×", "*").replace("÷", "/")
    try:
        return float(compact)
    except ValueError:
        return compact
