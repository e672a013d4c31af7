"""Property: the stop matcher agrees with a naive search of the whole text, for any split."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lite.text.stop_strings import StopMatcher, StopStrings

# Few characters make overlaps likely; the others make Unicode matter.
alphabet = st.sampled_from("aab🦜é\u0301")
stop_lists = st.lists(st.text(alphabet, min_size=1, max_size=6), max_size=6)
deltas = st.lists(st.text(alphabet, max_size=5), max_size=12)


def naive(text: str, stops: list[str]) -> tuple[int, int] | None:
    """Return (start, end) of the match that completes first; the longest of several."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return min(starts), end
    return None


def naive_held(text: str, stops: list[str]) -> int:
    """Return the length of the longest suffix that is the beginning of a stop string."""
    lengths = (n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n]))
    return max(lengths, default=0)


@settings(max_examples=1000, deadline=None)
@given(parts=deltas, stops=stop_lists, include=st.booleans(), data=st.data())
def test_the_matcher_agrees_with_a_search_of_the_whole_text(
    parts: list[str], stops: list[str], include: bool, data: st.DataObject
) -> None:
    # Pieces of the text, with another ending or not, come close to matching.
    text = "".join(parts)
    for start in data.draw(st.lists(st.integers(0, len(text)), max_size=4)):
        ending = data.draw(st.sampled_from(["", "a", "b"]))
        stop = text[start : start + data.draw(st.integers(1, 6))] + ending
        stops += [stop] if stop else []
    matcher = StopMatcher(StopStrings(stops), include=include)
    seen = visible = ""
    for part in parts:
        visible += matcher.push(part)
        if matcher.matched is not None:
            seen += part
            break
        seen += part
        assert visible == seen[: len(seen) - naive_held(seen, stops)]
    match = naive("".join(parts), stops)
    if match is None:
        assert matcher.matched is None
        assert visible + matcher.finish() == "".join(parts)
    else:
        start, end = match
        assert matcher.matched == seen[start:end]
        assert visible == seen[: end if include else start]
        assert matcher.push("more") == ""


@settings(max_examples=500, deadline=None)
@given(parts=st.lists(st.tuples(st.text(alphabet, max_size=5), st.booleans())), stops=stop_lists)
def test_matches_that_complete_while_disarmed_are_ignored(
    parts: list[tuple[str, bool]], stops: list[str]
) -> None:
    matcher = StopMatcher(StopStrings(stops))
    text = "".join(part for part, _ in parts)
    armed_at = [armed for part, armed in parts for _ in part]
    visible = "".join(matcher.push(part, armed=armed) for part, armed in parts)
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts and armed_at[end - 1]:
            assert matcher.matched == text[min(starts) : end]
            assert text[: min(starts)] == visible
            return
    assert matcher.matched is None
    assert visible + matcher.finish() == text
