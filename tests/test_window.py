"""Which part of a stream the end of a path asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidRequest
from hub.window import Bounds, Window, split_window


def numbers(path: str, length: int) -> list[int]:
    """What a reader of a stream of this length gets, in its order; up to 5 that are to come."""
    rest, window = split_window(path.split("/"))
    assert rest == []
    bounds = window.bounds(length)
    found = list(range(bounds.low, min(bounds.high, length + 5) + 1))
    if bounds.backwards:
        assert bounds.low > bounds.high or bounds.high <= length
        found.reverse()
    return found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("from/3", range(3, 11)),
        ("from/start", range(1, 11)),
        ("from/end", [10]),
        ("from/10", [10]),
        ("from/-1", [10]),
        ("from/-3", [8, 9, 10]),
        ("from/-10", range(1, 11)),
        ("from/-11", range(1, 11)),
        ("from/11", []),
        ("from/900719925474099100", []),
        ("until/3", [1, 2, 3]),
        ("until/start", [1]),
        ("until/end", range(1, 11)),
        ("until/-1", range(1, 11)),
        ("until/-9", [1, 2]),
        ("until/-10", [1]),
        ("until/-11", []),
        ("until/12", range(1, 13)),
        ("from/3/until/5", [3, 4, 5]),
        ("until/5/from/3", [3, 4, 5]),
        ("from/3/until/3", [3]),
        ("from/-3/until/-2", [8, 9]),
        ("from/8/until/-1", [8, 9, 10]),
        ("from/12/until/14", [12, 13, 14]),
        # The other way round.
        ("from/5/until/3", [5, 4, 3]),
        ("from/end/until/start", range(10, 0, -1)),
        ("from/-1/until/-3", [10, 9, 8]),
        ("from/10/until/9", [10, 9]),
        # Who has read all, asks for what is behind it.
        ("from/11/until/end", []),
        ("from/11/until/-1", []),
        ("from/15/until/12", []),
        ("from/5/until/-11", []),
        ("forwards/3", [1, 2, 3]),
        ("forwards/11", range(1, 11)),
        ("from/4/forwards/3", [4, 5, 6]),
        ("forwards/3/from/4", [4, 5, 6]),
        ("from/9/forwards/3", [9, 10]),
        ("from/11/forwards/3", []),
        ("from/-2/forwards/1", [9]),
        ("until/2/forwards/3", [1, 2]),
        ("from/9/until/12/forwards/3", [9, 10, 11]),
        ("from/6/until/3/forwards/2", [3, 4]),
        ("backwards/3", [10, 9, 8]),
        ("backwards/11", range(10, 0, -1)),
        ("until/5/backwards/2", [5, 4]),
        ("backwards/2/until/5", [5, 4]),
        ("from/9/backwards/5", [10, 9]),
        ("from/3/until/6/backwards/2", [6, 5]),
        ("until/6/backwards/2/from/3", [6, 5]),
        ("from/6/until/3/backwards/2", [6, 5]),
        ("until/14/backwards/2", [10, 9]),
        ("from/11/backwards/2", []),
        ("from/11/until/14/backwards/2", []),
    ],
)
def test_windows_of_ten(path: str, expected: list[int]) -> None:
    assert numbers(path, 10) == list(expected)


@pytest.mark.parametrize(
    "path",
    ["from/start", "from/end", "from/-1", "until/end", "until/-1", "from/start/until/end",
     "from/end/until/start", "from/1/until/end", "forwards/1", "backwards/1", "from/1/backwards/2"],
)  # fmt: skip
def test_an_empty_stream_has_no_part(path: str) -> None:
    bounds = split_window(path.split("/"))[1].bounds(0)
    assert bounds.low > bounds.high


def test_nothing_said_is_everything() -> None:
    assert split_window(["a", "b"]) == (["a", "b"], Window())
    assert Window().bounds(10) == Bounds(1, 10, False)
    assert Window().bounds(0) == Bounds(1, 0, False)


@pytest.mark.parametrize(
    ("path", "rest", "window"),
    [
        ("a/from/1", ["a"], Window(start=1)),
        ("a/b/until/end", ["a", "b"], Window(until="end")),
        ("from/from/1", ["from"], Window(start=1)),
        ("a/from", ["a", "from"], Window()),
        ("from", ["from"], Window()),
        ("a/b/c", ["a", "b", "c"], Window()),
        ("a/from/1/b", ["a", "from", "1", "b"], Window()),
        ("a/from/1/b/until/2", ["a", "from", "1", "b"], Window(until=2)),
        ("a/forwards/2/until/-3/from/start", ["a"], Window("start", -3, 2)),
    ],
)
def test_where_the_window_begins(path: str, rest: list[str], window: Window) -> None:
    assert split_window(path.split("/")) == (rest, window)


@pytest.mark.parametrize("word", ["from", "until", "forwards", "backwards"])
@pytest.mark.parametrize(
    "value",
    ["0", "-0", "00", "", "x", "1.5", "1e3", "+1", " 1", "--1", "-", "٣", "1" * 19, "Start"],
)
def test_bad_numbers(word: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=f"'{word}' must"):
        split_window(["a", word, value])


@pytest.mark.parametrize("value", ["-1", "start", "end"])
@pytest.mark.parametrize("word", ["forwards", "backwards"])
def test_bad_amounts(word: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=f"'{word}' must"):
        split_window(["a", word, value])


@pytest.mark.parametrize("word", ["from", "until", "forwards", "backwards"])
def test_a_word_twice(word: str) -> None:
    with pytest.raises(InvalidRequest, match=f"'{word}' is given twice"):
        split_window(["a", word, "1", "until" if word != "until" else "from", "1", word, "1"])


def test_both_directions() -> None:
    with pytest.raises(InvalidRequest, match="go together"):
        split_window(["a", "forwards", "1", "backwards", "1"])


ENDS = st.none() | st.sampled_from(["start", "end"]) | st.integers(-30, 30).filter(bool)
AMOUNTS = st.none() | st.integers(1, 30)


@given(ENDS, ENDS, AMOUNTS, st.booleans(), st.integers(0, 20))
def test_a_part_lies_within_what_was_asked_for(
    start: int | str | None, until: int | str | None, amount: int | None, back: bool, length: int
) -> None:
    window = Window(start, until, None if back else amount, amount if back else None)
    bounds = window.bounds(length)
    assert bounds.low >= 1
    if amount is not None:
        assert bounds.high - bounds.low < amount
        assert bounds.backwards is back
    if bounds.high > length:  # only whoever asked for it waits
        assert isinstance(until, int)
        assert until >= bounds.high
        assert not bounds.backwards
    plain = Window(start, until).bounds(length)
    if bounds.low <= bounds.high:
        assert plain.low <= bounds.low
        assert bounds.high <= plain.high
