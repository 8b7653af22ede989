"""The names of all streams in order: pages of them are as if all were sorted, and cost far less."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from hub.storage.names import Names

MANY = 20_000

short = st.text("ab/-", max_size=3)


@given(st.lists(st.tuples(st.booleans(), short)), short, short, st.integers(0, 5) | st.none())
def test_as_if_all_were_sorted(
    changes: list[tuple[bool, str]], prefix: str, after: str, limit: int | None
) -> None:
    names, plain = Names(["a", "b-1", "b-2"]), {"a", "b-1", "b-2"}
    for added, name in changes:
        (names.add if added else names.discard)(name)
        (plain.add if added else plain.discard)(name)
    found = sorted(each for each in plain if each.startswith(prefix) and each > after)
    assert names.page(prefix, after, limit) == found[:limit]


class Counted(str):
    """A name that counts how often names are looked at."""

    __slots__ = ()
    looks = 0

    def __lt__(self, other: str) -> bool:
        Counted.looks += 1
        return str.__lt__(self, other)

    def __gt__(self, other: str) -> bool:
        Counted.looks += 1
        return str.__gt__(self, other)

    def startswith(self, *args: object) -> bool:
        Counted.looks += 1
        return str.startswith(self, *args)  # type: ignore[arg-type]

    __hash__ = str.__hash__


def test_a_page_and_a_new_name_cost_little_among_many() -> None:
    chance = random.Random(1)
    every = [Counted(f"name-{number:06}") for number in range(MANY)]
    chance.shuffle(every)
    names = Names(every)
    Counted.looks = 0
    for after in ("", "name-010000", "name-019000"):
        assert len(names.page("name-", Counted(after), 100)) == 100
    assert len(names.page("name-0001", Counted(""), None)) == 100
    assert names.page("zzz", Counted(""), 100) == []
    assert 0 < Counted.looks < 5 * 100 + 5 * 50
    Counted.looks = 0
    for _ in range(1000):
        names.add(Counted(f"name-{chance.random()}"))
    assert 0 < Counted.looks < 1000 * 50
