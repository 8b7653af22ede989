"""Where a reader of a channel is, so that it misses nothing and gets nothing twice.

Ids need not be unique: the hub begins again behind the *first* event of the latest
events in a row that share an id, so a reader must know how many of those it has had.
It must not know the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from hub.client.values import Event
from hub.event import is_hub_form

START = "start"


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=_HasId)


class Place(Struct, frozen=True, omit_defaults=True):
    """Behind an event: its id, and how many events in a row that have this id were seen.

    `seen` is None where somebody else gave the id: behind the first of them, if it is
    an id and not a time. Of who wants one type, only events of that were counted,
    unless it is `whole`.
    """

    id: str = START
    seen: int | None = None
    whole: bool = False

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
        return Place(last, run, self.whole)


class Reader:
    """One reader over all of its connections: where it is, what it asks for, what it gives.

    Who wants one type asks the hub for that only while ids tell its place for sure: as
    long as they are in the hub's own form, and rise. What is of another type may share
    an id with what is wanted, and stand between two events of one id; who does not see
    it cannot know where the hub would begin again. From the first other id on, all types
    are asked for, and the one is picked out here.
    """

    def __init__(self, place: Place, event: str | None) -> None:
        self._event = event
        self.start(place)

    def start(self, place: Place) -> None:
        """Be at a place."""
        self.place = place
        """Behind all that came."""
        own = place.id == START or is_hub_form(place.id.encode())
        self._narrow = self._event is not None and own
        self.vague = self._event is not None and not self._narrow and not place.whole
        """Whether `settle` has to be called before the next connection."""
        self.turned = False
        """Whether another connection is needed, from the place on, which asks for more."""
        self._repeated = 0  # events to drop, since they were seen
        self._before = place
        self._passed: Sequence[Event] = ()  # since `_before`, of all types

    @property
    def asked(self) -> str | None:
        """The type that the hub is to be asked for; None: all."""
        return self._event if self._narrow else None

    def settle(self, run: Sequence[Event]) -> None:
        """Take in the last events in a row of the log up to the id of the place."""
        self.vague = False
        if run and run[-1].id != self.place.id:
            run = ()  # it is a time: these are before it
        if self.place.seen is None:
            self._narrow = not run
            seen = None
        else:
            wanted = [number for number, each in enumerate(run, 1) if self._wants(each)]
            seen = wanted[: self.place.seen or 1][-1] if wanted else 1
        self.place = Place(self.place.id, seen, whole=True)

    def connect(self) -> None:
        """What comes next is what the hub has behind the id of the place."""
        self.turned = False
        self._repeated = 0 if self._narrow else (self.place.seen or 1) - 1

    def reset(self) -> None:
        """What comes next is another log, from its start."""
        narrow = self._narrow
        self.start(Place(whole=not narrow and self._event is not None))
        self._narrow = narrow

    def take(self, came: Sequence[Event]) -> Sequence[Event]:
        """What is new and wanted of the next events; afterwards look at `turned`."""
        self._before = self.place
        if self._narrow:
            return self._take_sure(came)
        if self._repeated:
            came, self._repeated = drop_seen(came, self.place, self._repeated)
        self._passed = came
        self.place = self.place.after(came)
        return came if self._event is None else [each for each in came if self._wants(each)]

    def _take_sure(self, came: Sequence[Event]) -> Sequence[Event]:
        place = self.place
        last = place.id if is_hub_form(place.id.encode()) else ""
        for sure, each in enumerate(came):
            if each.id > last and is_hub_form(each.id.encode()):
                last = each.id
                continue
            came = came[:sure]
            self.turned = True
            self._narrow = False
            break
        self._passed = came
        if came:
            place = Place(came[-1].id, 1)
        if self.turned:
            self.vague = place.seen is not None and not place.whole
            place = Place(place.id, place.seen, whole=not self.vague)
        self.place = place
        return came

    def behind(self, count: int) -> Place:
        """The place behind the first so many of the events that `take` gave last."""
        at = 0
        while count:
            count -= self._wants(self._passed[at])
            at += 1
        if not at:
            return self._before
        place = self._before.after(self._passed[:at])
        return Place(place.id, place.seen, self.place.whole)

    def _wants(self, event: Event) -> bool:
        return self._event is None or event.event == self._event


def drop_seen(events: Sequence[E], place: Place, count: int) -> tuple[Sequence[E], int]:
    """Without the first `count` events if they have the id of the place.

    Returns what is new, and how many are still to be dropped of what comes next.
    """
    at = 0
    while at < count and at < len(events) and events[at].id == place.id:
        at += 1
    return events[at:], count - at if at == len(events) else 0
