"""Derived streams: every event that a matcher matches, in global order, with revisions.

Owns how far each has been followed. It is followed when somebody asks for it,
through the index, so that one that nobody reads costs nothing; and in pieces,
so that nobody waits long for the index's thread, where all this belongs.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import astuple

from hub.matcher import Matcher
from hub.storage.index import Index
from hub.storage.order import OrderCursor
from hub.storage.plan import Scope
from hub.storage.soundness import PUT_DERIVED
from hub.storage.sources import Sources

PIECE_SECONDS = 0.03
"""About how long one piece may take."""

LEAST_PIECE = 1000
MOST_PIECE = 1_000_000
"""Positions that one piece goes over."""

_ROWS = "SELECT number, name, matcher, version, looked, total FROM derived"


class Derived(Struct):
    """A derived stream as far as the index has followed it."""

    number: int
    name: str
    matcher: str
    version: int  # events in it
    looked: int  # position up to which events were looked at
    total: int = 0  # of the positions of its events


class DerivedStreams:
    """What the index knows of derived streams."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._rows: dict[str, Derived] = {}
        self._pieces: dict[str, int] = {}

    def load(self, defined: Mapping[str, Matcher]) -> None:
        """Take over what the index knows of the streams that are defined, and drop the rest.

        Raises `sqlite3.Error`.
        """
        self._rows.clear()
        for found in self._index.db.execute(_ROWS).fetchall():
            row = Derived(*found)
            matcher = defined.get(row.name)
            if matcher is not None and matcher.text == row.matcher:
                self._rows[row.name] = row
            else:
                self._drop(row)

    def follow(self, name: str, matcher: Matcher, head: int, sources: Sources) -> Derived:
        """Take in the next piece of what came up to position `head`; returns what is known then.

        Raises `OSError` and `sqlite3.Error`.
        """
        row = self._rows.get(name)
        if row is not None and row.matcher != matcher.text:
            self.remove(name)
            row = None
        if row is None:
            number = max([each.number for each in self._rows.values()], default=0) + 1
            row = Derived(number, name, matcher.text, 0, 0)
        if row.looked >= head:
            return row
        began = time.monotonic()
        piece = self._pieces.get(name, LEAST_PIECE)
        end = min(head, row.looked + piece)
        cursor = OrderCursor(Scope(matcher=matcher), row.looked + 1, end)
        found: list[int] = []
        while (part := cursor.read(self._index.db, sources)) is not None:
            found += part.numbers
        row = self._rows[name] = self._extend(row, found, end)
        slow = time.monotonic() - began > PIECE_SECONDS
        self._pieces[name] = max(LEAST_PIECE, piece // 2) if slow else min(MOST_PIECE, piece * 2)
        return row

    def _extend(self, row: Derived, found: list[int], looked: int) -> Derived:
        """Write the row of a stream, and the positions of its newest events."""
        version = row.version + len(found)
        total = row.total + sum(found)
        row = Derived(row.number, row.name, row.matcher, version, looked, total)
        with self._index.transaction() as db:
            if row.name not in self._rows:  # it is new, its number perhaps not
                self._clear(db, row.number)
            db.execute(PUT_DERIVED, astuple(row))
            first = version - len(found) + 1
            db.executemany(
                "INSERT INTO members VALUES (?,?,?)",
                [(row.number, at, position) for at, position in enumerate(found, first)],
            )
        return row

    def remove(self, name: str) -> None:
        """Forget a derived stream. Raises `sqlite3.Error`."""
        self._pieces.pop(name, None)
        row = self._rows.get(name)
        if row:
            self._drop(row)
            del self._rows[name]  # last: until it is gone its number is its own

    def _drop(self, row: Derived) -> None:
        with self._index.transaction() as db:
            self._clear(db, row.number)
            db.execute("DELETE FROM derived WHERE number = ?", (row.number,))

    def _clear(self, db: sqlite3.Connection, number: int) -> None:
        db.execute("DELETE FROM members WHERE derived = ?", (number,))


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
