"""Where a reader of a channel is, so that it misses nothing and gets nothing twice.

Ids need not be unique: the hub begins again behind the *first* event of the latest
events in a row that share an id, so a reader must know how many of those it has had.
It must not know the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

START = "start"


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=_HasId)


class Place(Struct, frozen=True, omit_defaults=True):
    """Behind an event: its id, and how many events in a row that have this id were seen.

    `seen` is None where somebody else gave the id: behind the first of them. `given`
    tells that, too, once it is known how many were seen: it may be a time, not an id.
    """

    id: str = START
    seen: int | None = None
    given: bool = False

    def after(self, events: Sequence[_HasId]) -> Place:
        """The place behind these, which were read from here on."""
        if not events:
            return self
        last = events[-1].id
        run = 1
        while run < len(events) and events[-1 - run].id == last:
            run += 1
        if run == len(events) and last == self.id:
            run += 1 if self.seen is None else self.seen
        return Place(last, run)


def drop_seen(events: Sequence[E], place: Place, count: int) -> tuple[Sequence[E], int]:
    """Without the first `count` events if they have the id of the place.

    Returns what is new, and how many are still to be dropped of what comes next.
    """
    at = 0
    while at < count and at < len(events) and events[at].id == place.id:
        at += 1
    return events[at:], count - at if at == len(events) else 0
