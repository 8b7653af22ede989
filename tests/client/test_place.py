"""Places against a hub in a few lines: any log, any breaks, nothing missed or doubled."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from hub.client import Event
from hub.client.place import START, Place, drop_seen

_RUNS = st.lists(st.integers(1, 5), min_size=1, max_size=8)


def resumed_at(log: list[Event], cursor: str) -> int:
    """Where the hub goes on: behind the first of the latest events in a row with the id."""
    if cursor == START:
        return 0
    at = max(n for n, each in enumerate(log) if each.id == cursor)
    while at and log[at - 1].id == cursor:
        at -= 1
    return at + 1


@given(_RUNS, st.integers(0, 2**32))
def test_whatever_breaks_each_event_is_seen_once(runs: list[int], seed: int) -> None:
    chance = random.Random(seed)
    log = [Event(f"id-{n}", "", "") for n, length in enumerate(runs) for _ in range(length)]
    log = [Event(each.id, "", str(n)) for n, each in enumerate(log)]
    seen: list[Event] = []
    place = Place()
    written = 0
    while len(seen) < len(log):
        written = chance.randint(max(written, 1), len(log))  # while the reader is away
        at = resumed_at(log[:written], place.id)
        count = max(0, (place.seen or 0) - 1)
        written = chance.randint(written, len(log))  # and while it reads
        end = chance.randint(at, written)
        while at < end:
            upto = chance.randint(at + 1, end)
            new, count = drop_seen(log[at:upto], place, count)
            place = place.after(new)
            seen += new
            at = upto
        assert seen == log[: len(seen)]


def test_behind_an_id_that_somebody_gave_its_first_event_counts_as_seen() -> None:
    more = [Event("x", "", ""), Event("x", "", "")]
    assert Place("x").after(more) == Place("x", 3)
    assert Place("y").after(more) == Place("x", 2)
    assert Place("x", 1).after([*more, Event("y", "", "")]) == Place("y", 1)
    assert Place("x", 7).after([]) == Place("x", 7)


def test_what_was_seen_is_dropped_as_long_as_it_is_there() -> None:
    x, y = Event("x", "", ""), Event("y", "", "")
    assert drop_seen([x, x, y], Place("x", 2), 1) == ([x, y], 0)
    assert drop_seen([x], Place("x", 3), 2) == ([], 1)
    assert drop_seen([y, x], Place("x", 3), 2) == ([y, x], 0)
