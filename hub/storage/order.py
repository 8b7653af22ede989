"""Reads the global order: the documents of many logs, by position.

Owns cursors that go through the index and the files behind it. All blocks, and
belongs on a reading thread; a cursor is for one reader at a time.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import Struct

from hub.document import documents
from hub.formats import NDJSON, split_rows
from hub.lines import reversed_lines
from hub.storage.logfile import opened
from hub.storage.plan import By, Plan, Planner, Scope, as_json, keys_of
from hub.storage.sources import Sources, seer

PIECE = 1024 * 1024
"""About how many bytes of logs are read at once."""

EVENTS = 16 * 1024
"""The same as a number: a line of a few bytes is a document of a hundred."""

ROWS = 4096
"""Runs fetched from the index at once."""

WINDOW = 200_000
"""Positions that one look at every run goes over."""

WIDER = 8
"""How many times more positions drivers are followed over at once after they led to few runs."""

GAP = 4096
"""Bytes between two runs of a log that are read rather than passed over."""

_ROWS = (  # one row of JSON: Python's SQLite takes and gives back the interpreter at each row
    "SELECT json_group_array(json_array(position, log, revision, offset, count, size)) FROM ("
    "SELECT * FROM runs r WHERE {where} ORDER BY position {order} LIMIT {limit})"
)

_decode_runs = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int]]).decode
Row = tuple[int, int, int, int, int, int]


class Slice(Struct, gc=False):
    """Documents that follow each other: the lowest number, how many, their lines.

    Of a read backwards the lines stand in that order.
    """

    number: int
    count: int
    lines: bytes


class OrderCursor:
    """Goes through a scope from `low` to `high`, or with `backwards` from `high` to `low`."""

    def __init__(self, scope: Scope, low: int, high: int, *, backwards: bool = False) -> None:
        self.index = 0  # for its owner: how often the index was opened by then
        self._scope = scope
        self._from = max(1, low)
        self._to = high
        self._backwards = backwards
        self._rows: deque[Row] = deque()
        # Positions of runs that have yet to be fetched; known when reading begins.
        self._low, self._high = 0, high
        self._plan: Plan | None = None
        self._keys: list[tuple[By, str]] = []  # of its drivers
        self._width = ROWS  # of positions that they are followed over at once
        self._sees: Callable[[str, bytes], bool] | None = None

    def read(self, db: sqlite3.Connection, sources: Sources) -> list[Slice] | None:
        """The next documents; None at the end. Perhaps none of what was looked at matches.

        Raises `OSError` and `sqlite3.Error`.
        """
        if self._plan is None:
            self._plan = self._begin(db, sources)
        if not self._rows:
            if self._low > self._high:
                return None
            self._fetch(db, self._plan)
        return self._slices(_within_logs(self._take(), sources), sources)

    def _begin(self, db: sqlite3.Connection, sources: Sources) -> Plan:
        type_key = sources.keys.type
        planner = Planner(db, sources.find, sources.derived, type_key, self._from, self._to)
        plan = planner.plan(self._scope)
        if not plan.exact:
            self._sees = seer(self._scope, sources)
        (first,) = db.execute(  # the run that holds the first event may begin before it
            "SELECT max(position) FROM runs WHERE position <= ?", (self._from,)
        ).fetchone()
        self._low = first or self._from
        if plan.drivers is not None:
            self._keys = [(by, as_json(keys)) for by, keys in keys_of(plan.drivers).items()]
            share = ROWS / max(1.0, plan.cost or 0.0)
            self._width = max(ROWS, int((self._to - self._from + 1) * share))
        return plan

    def _fetch(self, db: sqlite3.Connection, plan: Plan) -> None:
        """Get the next rows, and move the bounds to what they leave."""
        low, high, backwards = self._low, self._high, self._backwards
        end: int | None
        if plan.drivers is None:
            if backwards:
                low = max(low, high - WINDOW + 1)
            else:
                high = min(high, low + WINDOW - 1)
            rows = self._select(db, plan, "position BETWEEN ? AND ?", [low, high], ROWS)
            end = rows[-1][0] if len(rows) == ROWS else None
        else:
            places, end = self._driven(db, low, high)
            listed = msgspec.json.encode(places).decode()
            where = "position IN (SELECT value FROM json_each(?))"
            rows = self._select(db, plan, where, [listed], -1)
        self._rows.extend(rows)
        if backwards:
            self._high = (low if end is None else end) - 1
        else:
            self._low = (high if end is None else end) + 1

    def _select(
        self,
        db: sqlite3.Connection,
        plan: Plan,
        where: str,
        values: Sequence[object],
        limit: int,
    ) -> list[Row]:
        text = _ROWS.format(
            where=f"{where} AND ({plan.test})",
            order="DESC" if self._backwards else "",
            limit=limit,
        )
        (found,) = db.execute(text, (*values, *plan.values)).fetchone()
        return _decode_runs(found)

    def _driven(self, db: sqlite3.Connection, low: int, high: int) -> tuple[list[int], int]:
        """Positions of runs that the drivers lead to, and the one up to which these are all."""
        backwards = self._backwards
        if backwards:
            low = max(low, high - self._width + 1)
        else:
            high = min(high, low + self._width - 1)
        found: set[int] = set()
        horizon = low if backwards else high
        order = "DESC" if backwards else "ASC"
        for by, keys in self._keys:
            (text,) = db.execute(
                f"SELECT json_group_array(position) FROM ({by.among('json_each(?)')} "  # noqa: S608
                f"AND position BETWEEN ? AND ? ORDER BY position {order} LIMIT ?)",
                (keys, low, high, ROWS),
            ).fetchone()
            places = msgspec.json.decode(text, type=list[int])
            found.update(places)
            if len(places) == ROWS:
                end = places[-1]
                horizon = max(horizon, end) if backwards else min(horizon, end)
        if backwards:
            found = {each for each in found if each >= horizon}
            self._width = high - horizon + 1
        else:
            found = {each for each in found if each <= horizon}
            self._width = horizon - low + 1
        if len(found) < ROWS // 2:
            self._width *= WIDER
        return list(found), horizon

    def _take(self) -> list[Row]:
        """The next rows, as many as are good to read at once."""
        rows, taken, size, count = self._rows, [], 0, 0
        while rows and size < PIECE and count < EVENTS:
            row = rows.popleft()
            size += row[5]
            count += row[4]
            taken.append(row)
        return taken

    def _as_one(self, rows: list[Row], texts: list[bytes], sources: Sources) -> Slice | None:
        """All runs as one slice, if nothing is left out and they are documents already."""
        if not rows or self._sees is not None:
            return None
        first, last = (rows[-1], rows[0]) if self._backwards else (rows[0], rows[-1])
        low, high = first[0], last[0] + last[4] - 1
        count = sum([row[4] for row in rows])
        if low < self._from or high > self._to or high - low + 1 != count:
            return None
        if any(sources.numbered(number).format != NDJSON for number in {row[1] for row in rows}):
            return None
        if self._backwards and count > len(rows):
            texts = [reversed_lines(text) for text in texts]
        return Slice(low, count, b"".join(texts))

    def _slices(self, rows: list[Row], sources: Sources) -> list[Slice]:
        texts = _texts(rows, sources)
        if together := self._as_one(rows, texts, sources):
            return [together]
        slices: list[Slice] = []
        for row, text in zip(rows, texts, strict=True):
            try:
                slices += self._slices_of(row, text, sources)
            except (ValueError, RecursionError) as error:  # the former: also what msgspec raises
                raise _unreadable(row, sources, error) from error
        return slices

    def _slices_of(self, row: Row, text: bytes, sources: Sources) -> list[Slice]:
        sees, backwards = self._sees, self._backwards
        position, count = row[0], row[4]
        text = _as_documents(row, text, sources)
        whole = position >= self._from and position + count - 1 <= self._to
        if whole and sees is None:
            return [Slice(position, count, reversed_lines(text) if backwards else text)]
        lines = text.split(b"\n")
        lines.pop()
        stream = sources.numbered(row[1]).name
        found = [
            Slice(at, 1, line + b"\n")
            for at, line in enumerate(lines, position)
            if self._from <= at <= self._to and (sees is None or sees(stream, line))
        ]
        if len(found) == count and not backwards:
            return [Slice(position, count, text)]
        if backwards:
            found.reverse()
        return found


def _within_logs(rows: list[Row], sources: Sources) -> list[Row]:
    """Rows without what damaged logs hide, behind their sound parts, until they are mended."""
    logs = {number: sources.numbered(number) for number in {row[1] for row in rows}}
    if not any(log.damage for log in logs.values()):
        return rows
    sound: list[Row] = []
    for row in rows:
        position, number, revision, offset, count, size = row
        log = logs[number]
        if offset + size <= log.length:
            sound.append(row)
        elif offset < log.length:
            count = log.version - revision + 1
            sound.append((position, number, revision, offset, count, log.length - offset))
    return sound


def _texts(rows: Sequence[Row], sources: Sources) -> list[bytes]:
    """The bytes of runs. Raises `OSError` if a page of them has been lost."""
    texts = _read(rows, sources)
    for row, text in zip(rows, texts, strict=True):
        if b"\0" in text:  # no event holds it, yet a line that a hole cuts short may look like one
            raise _unreadable(row, sources, ValueError("there are NUL bytes"))
    return texts


def _read(rows: Sequence[Row], sources: Sources) -> list[bytes]:
    """The bytes of runs. Those of one log that lie close together are read at once."""
    pieces: dict[int, tuple[bytes, int]] = {}  # by log, and where it begins: if there is one
    texts: dict[int, bytes] = {}  # by position: of the other logs
    for number in {row[1] for row in rows}:
        own = sorted([row for row in rows if row[1] == number])
        with opened(sources.disk, sources.path(sources.numbered(number)), os.O_RDONLY) as fd:
            spans = list(_spans(own))
            for span in spans:
                start, end = span[0][3], span[-1][3] + span[-1][5]
                data = sources.disk.pread(fd, end - start, start)
                if len(data) < end - start:
                    raise OSError(f"the log with number {number} is shorter than its index knows")
                if len(spans) == 1 and len(data) <= 2 * sum([row[5] for row in own]):
                    pieces[number] = data, start
                    break
                for position, _, _, offset, _, size in span:
                    texts[position] = data[offset - start : offset - start + size]
    if not texts:
        return [
            data[(at := offset - start) : at + size]
            for _, number, _, offset, _, size in rows
            for data, start in (pieces[number],)
        ]
    for position, number, _, offset, _, size in rows:
        if number in pieces:
            data, start = pieces[number]
            texts[position] = data[offset - start : offset - start + size]
    return [texts[row[0]] for row in rows]


def _spans(own: list[Row]) -> Iterator[list[Row]]:
    """Runs of one log, in its order, in groups that lie close together."""
    span: list[Row] = []
    for row in own:
        gap = row[3] - span[-1][3] - span[-1][5] if span else 0
        if gap > GAP or (span and row[3] - span[0][3] > 2 * PIECE):  # mostly gaps, if so long
            yield span
            span = []
        span.append(row)
    yield span


def documents_at(
    db: sqlite3.Connection, sources: Sources, positions: Sequence[int], most: int = sys.maxsize
) -> list[bytes]:
    """The documents at some positions, in their order, with LF. Raises like a cursor.

    Once they have `most` bytes, those behind are left out.
    """
    found: list[bytes] = []
    size = 0
    while len(found) < len(positions) and size < most:
        rows, count = _rows_at(db, positions[len(found) :])
        wanted = positions[len(found) : len(found) + count]
        some = _documents_in(_within_logs(rows, sources), sources, wanted)
        found += some
        size += sum(map(len, some))
    return found


def _rows_at(db: sqlite3.Connection, positions: Sequence[int]) -> tuple[list[Row], int]:
    """The runs of as many positions as are good to read at once, and how many those are."""
    rows: list[Row] = []
    size = 0
    for count, at in enumerate(positions):
        if rows and rows[-1][0] <= at < rows[-1][0] + rows[-1][4]:
            continue
        if size >= PIECE:
            return rows, count
        row = db.execute(
            "SELECT position, log, revision, offset, count, size FROM runs "
            "WHERE position <= ? ORDER BY position DESC LIMIT 1",
            (at,),
        ).fetchone()
        if row:
            rows.append(row)
            size += row[5]
    return rows, len(positions)


def _documents_in(rows: list[Row], sources: Sources, positions: Sequence[int]) -> list[bytes]:
    found: dict[int, bytes] = {}
    wanted = frozenset(positions)
    for row, text in zip(rows, _texts(rows, sources), strict=True):
        try:
            text = _as_documents(row, text, sources)
        except ValueError as error:
            raise _unreadable(row, sources, error) from error
        for at, line in enumerate(text.split(b"\n")[:-1], row[0]):
            if at in wanted:
                found[at] = line + b"\n"
    if len(found) < len(wanted):
        raise OSError(f"there is no event at position {min(wanted - found.keys())}, or no longer")
    return [found[at] for at in positions]


def _unreadable(row: Row, sources: Sources, error: Exception) -> OSError:
    """What is said of a log whose file was changed behind the hub's back."""
    path, first, last = sources.path(sources.numbered(row[1])), row[2], row[2] + row[4] - 1
    return OSError(f"{path} is damaged between lines {first} and {last}: {error}")


def _as_documents(row: Row, text: bytes, sources: Sources) -> bytes:
    log = sources.numbered(row[1])
    if log.format == NDJSON:
        return text
    return documents(split_rows(text), log.name, row[2], keys=sources.keys)
