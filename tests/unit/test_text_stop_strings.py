"""Stop strings: which match wins, what is held back, and that nothing leaks."""

import time

import pytest

from lite.errors import InvalidRequestError
from lite.text.stop_strings import MAX_STOP_CHARS, StopMatcher, StopStrings


def run(text: str, *stops: str, include: bool = False, size: int = 1) -> tuple[str, str | None]:
    """Return (visible text, matched stop string) of a text that comes `size` characters a time."""
    matcher = StopMatcher(StopStrings(stops), include=include)
    parts = [matcher.push(text[i : i + size]) for i in range(0, len(text), size)]
    return "".join(parts) + matcher.finish(), matcher.matched


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_text_ends_before_the_stop_string_or_after_it_if_asked(size: int) -> None:
    assert run("one two three", "two", size=size) == ("one ", "two")
    assert run("one two three", "two", include=True, size=size) == ("one two", "two")


@pytest.mark.parametrize("size", [1, 2, 100])
def test_the_match_that_completes_first_wins(size: int) -> None:
    assert run("xabcd", "abcd", "bc", size=size) == ("xa", "bc")
    assert run("xabcd", "d", "abc", size=size) == ("x", "abc")


def test_of_matches_that_complete_together_the_earliest_start_wins() -> None:
    for stops in (("c", "bc", "abc"), ("abc", "bc", "c")):
        assert run("xabc", *stops) == ("x", "abc")


def test_without_a_match_everything_is_shown_in_the_end() -> None:
    assert run("almost sto", "stop") == ("almost sto", None)
    assert run("", "stop") == ("", None)
    assert run("anything") == ("anything", None)


def test_only_what_could_begin_a_stop_string_is_held_back() -> None:
    matcher = StopMatcher(StopStrings(["\n\nUser:", "END"]))
    assert matcher.push("Hello\n") == "Hello"
    assert matcher.push("you\n\n") == "\nyou"
    assert matcher.push("U") == ""
    assert matcher.push("E") == "\n\nU"
    assert matcher.push("N") == ""
    assert matcher.finish() == "EN"


def test_a_failed_match_may_hold_the_beginning_of_another() -> None:
    assert run("aabaabaaac", "aabaaa") == ("aab", "aabaaa")
    assert run("ababac", "abac") == ("ab", "abac")


def test_a_shorter_stop_string_is_found_inside_a_longer_candidate() -> None:
    assert run("xababcd", "ababcd", "bc") == ("xaba", "bc")
    assert run("xababd", "ababcd", "abc", "bd") == ("xaba", "bd")


def test_an_ignored_match_is_shown_but_may_begin_a_later_one() -> None:
    matcher = StopMatcher(StopStrings(["ab"]))
    assert matcher.push("xab", armed=False) == "xab"
    assert matcher.push("a", armed=False) == ""
    assert matcher.push("b!") == ""
    assert matcher.matched == "ab"


def test_too_many_characters_are_refused() -> None:
    StopStrings(["x" * MAX_STOP_CHARS])
    with pytest.raises(InvalidRequestError, match=str(MAX_STOP_CHARS)) as caught:
        StopStrings(["x" * MAX_STOP_CHARS, "y"])
    assert caught.value.param == "stop"


def test_long_and_many_stop_strings_stay_cheap() -> None:
    stops = StopStrings(["a" * 8000 + "b", *(f"stop-{i}" for i in range(500))])
    matcher = StopMatcher(stops)
    start = time.perf_counter()
    visible = sum(len(matcher.push("aaaa")) for _ in range(5000))
    assert time.perf_counter() - start < 2.0
    assert visible == 20_000 - 8000
