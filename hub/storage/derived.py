"""Derived streams: every event that a matcher matches, in global order, with revisions.

Owns how far each has been followed. It is followed when somebody asks for it,
through the index, so that one that nobody reads costs nothing. All blocks and
belongs on the index's thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from hub.matcher import Matcher
from hub.storage.index import Derived, Index
from hub.storage.order import OrderCursor, Slice, Sources
from hub.storage.plan import Scope

MEMBERS = 10_000
"""Members written to the index in one transaction, at least."""


class DerivedStreams:
    """What the index knows of derived streams."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._rows: dict[str, Derived] = {}

    def load(self, defined: dict[str, Matcher]) -> None:
        """Take over what the index knows of the streams that are defined, and drop the rest."""
        for row in self._index.derived():
            matcher = defined.get(row.name)
            if matcher is not None and matcher.text == row.matcher:
                self._rows[row.name] = row
            else:
                self._index.remove_derived(row.number)

    def follow(self, name: str, matcher: Matcher, head: int, sources: Sources) -> Derived:
        """Take in what came up to position `head`; returns what is known then.

        Raises `OSError` and `sqlite3.Error`.
        """
        row = self._rows.get(name)
        if row is None:
            number = max([each.number for each in self._rows.values()], default=0) + 1
            row = self._rows[name] = Derived(number, name, matcher.text, 0, 0)
        if row.looked >= head:
            return row
        cursor = OrderCursor(Scope(matcher=matcher), row.looked + 1, head)
        found: list[int] = []
        while (slices := cursor.read(self._index.db, sources)) is not None:
            found += positions_of(slices)
            if len(found) >= MEMBERS:
                row = self._extend(row, found, found[-1])
                found = []
        return self._extend(row, found, head)

    def _extend(self, row: Derived, found: list[int], looked: int) -> Derived:
        row = Derived(row.number, row.name, row.matcher, row.version + len(found), looked)
        self._index.extend_derived(row, found)
        self._rows[row.name] = row
        return row

    def remove(self, name: str) -> None:
        """Forget a derived stream. Raises `sqlite3.Error`."""
        row = self._rows.pop(name, None)
        if row:
            self._index.remove_derived(row.number)


def members(db: sqlite3.Connection, number: int, low: int, high: int) -> list[int]:
    """The positions of the events with revisions from `low` to `high`."""
    return [
        position
        for (position,) in db.execute(
            "SELECT position FROM members WHERE derived = ? AND revision BETWEEN ? AND ? "
            "ORDER BY revision",
            (number, low, high),
        )
    ]


def positions_of(slices: Iterable[Slice]) -> list[int]:
    """The position of every event of slices."""
    return [
        position for each in slices for position in range(each.number, each.number + each.count)
    ]
