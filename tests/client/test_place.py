"""Places against a hub in a few lines: any log, any breaks, nothing missed or doubled."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.client import Event
from hub.client.place import START, Place, Reader, drop_seen

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


def drawn(chance: random.Random) -> list[Event]:
    """A log in which ids come again, at once and later, some of them as the hub would give them."""
    log: list[Event] = []
    for number in range(chance.randint(1, 24)):
        own = f"2026-11-26T00:00:00.{number:06}Z"
        ids = [own, own, *"AB", log[-1].id if log else own]
        log.append(Event(chance.choice(ids), chance.choice("tto"), str(number)))
    return log


def run_until(log: list[Event], identity: str) -> list[Event]:
    """The last events in a row that have an id."""
    start = resumed_at(log, identity) - 1
    length = next((n for n, each in enumerate(log[start:]) if each.id != identity), None)
    return log[start:][:length]


@settings(max_examples=400)
@given(st.integers(0, 2**32), st.sampled_from(["t", None]))
def test_of_one_type_too_whatever_the_ids_each_event_is_seen_once(
    seed: int, event: str | None
) -> None:
    """As long as no id comes again, behind others, while a reader is away."""
    chance = random.Random(seed)
    log = drawn(chance)
    written = chance.randint(1, len(log))
    place = Place()
    match chance.randrange(3):
        case 1:
            place = Place(chance.choice(log[:written]).id)
        case 2:
            last = log[written - 1].id
            count = written - resumed_at(log[:written], last) + 1
            place = Place(last, count, whole=True)
    known = resumed_at(log[:written], place.id) + (place.seen or 1) - 1  # events behind the reader
    wanted = [n for n, each in enumerate(log) if n >= known and event in (None, each.event)]
    seen: list[int] = []
    reader = Reader(place, event)
    for _ in range(200):
        if reader.vague:
            reader.settle(run_until(log[:written], reader.place.id))
        reader.connect()
        at = resumed_at(log[:written], reader.place.id)
        ended = False
        while not ended and not reader.turned:
            written = chance.randint(max(written, at), len(log))
            upto = chance.randint(at, written)
            came = [each for each in log[at:upto] if reader.asked in (None, each.event)]
            narrow = reader.asked is not None
            found = reader.take(came)
            at = upto
            kept = chance.choice([len(found), chance.randint(0, len(found))])
            new = [int(each.data) for each in found]
            assert seen + new == wanted[: len(seen) + len(new)]
            until = at if not narrow else max([known, *(each + 1 for each in new)])
            if kept < len(found):  # as a program that ends, and begins again where it was
                if kept:
                    known = new[kept - 1] + 1
                if resumed_at(log[:written], reader.behind(kept).id) <= known:
                    seen += new[:kept]
                    reader = Reader(reader.behind(kept), event)
                    break
            seen += new
            known = max(known, until)
            if at == len(log):
                ended = True
            if resumed_at(log[:written], reader.place.id) <= known and chance.random() < 0.3:
                break
        if ended and not reader.turned:
            break
    assert seen == wanted


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
