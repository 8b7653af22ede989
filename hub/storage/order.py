"""Reads the global order: the documents of many logs, by position.

Owns cursors that go through the index and the files behind it. All blocks, and
belongs on a reading thread; a cursor is for one reader at a time.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from operator import add

import msgspec
from msgspec import Struct

from hub.document import documents
from hub.formats import NDJSON, split_rows
from hub.lines import line_breaks, reversed_lines
from hub.storage.plan import By, Plan, Planner, Scope, as_json, keys_of
from hub.storage.sources import Sources, seer
from hub.storage.texts import PIECE, Columns, Queue, Row, text_of, texts_of, unreadable

ROWS = 4096
"""Runs fetched from the index at once."""

WINDOW = 200_000
"""Positions that one look at every run goes over."""

WIDER = 8
"""How many times more positions drivers are followed over at once after they led to few runs."""

_ROWS = (  # one row of text: Python's SQLite takes and gives back the interpreter at each row
    "SELECT {positions}, {counts}, group_concat(log), group_concat(offset), group_concat(size) "
    "FROM (SELECT position, log, offset, count, size FROM runs r "
    "WHERE {where} ORDER BY position {order} LIMIT {limit})"
)
_BOUNDS = "min(position), max(position + count)"  # they tell all, where no run is left out
_EACH = "group_concat(position), NULL"
_ALL_ONE = "sum(count)"  # it tells all, where each run is one event
_EACH_COUNT = "group_concat(count)"

_decode_numbers = msgspec.json.Decoder(list[int]).decode


class Slice(Struct, gc=False):
    """Documents that follow each other: their numbers, and the line of each with LF."""

    numbers: Sequence[int]
    lines: bytes

    def each(self) -> Iterator[tuple[int, bytes]]:
        """The number and the line of each, without its LF."""
        lines = self.lines.split(b"\n")
        lines.pop()
        return zip(self.numbers, lines, strict=True)


_NOTHING = Columns([], [], [], [], [])


class OrderCursor:
    """Goes through a scope from `low` to `high`, or with `backwards` from `high` to `low`."""

    def __init__(self, scope: Scope, low: int, high: int, *, backwards: bool = False) -> None:
        self.index = 0  # for its owner: how often the index was opened by then
        self._scope = scope
        self._from = max(1, low)
        self._to = high
        self._backwards = backwards
        self._queue = Queue(_NOTHING)
        # Positions of runs that have yet to be fetched; known when reading begins.
        self._low, self._high = 0, high
        self._plan: Plan | None = None
        self._keys: list[tuple[By, str]] = []  # of its drivers
        self._dense = True  # no run between others was left out so far
        self._single = True  # each run was one event so far
        self._width = ROWS  # of positions that they are followed over at once
        self._sees: Callable[[str, bytes], bool] | None = None

    def read(self, db: sqlite3.Connection, sources: Sources) -> Slice | None:
        """The next documents; None at the end. Perhaps none of what was looked at matches.

        Raises `OSError` and `sqlite3.Error`.
        """
        if self._plan is None:
            self._plan = self._begin(db, sources)
        if not self._queue:
            if self._low > self._high:
                return None
            self._fetch(db, self._plan)
            if not self._queue:
                return Slice((), b"")
        runs = self._queue.take()
        return self._together(runs, sources) or self._one_by_one(db, runs, sources)

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
            self._dense = False
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
            runs = self._select(db, plan, "position BETWEEN ? AND ?", [low, high], ROWS)
            end = runs.positions[-1] if len(runs.positions) == ROWS else None
        else:
            places, end = self._driven(db, low, high)
            listed = msgspec.json.encode(places).decode()
            where = "position IN (SELECT value FROM json_each(?))"
            runs = self._select(db, plan, where, [listed], -1)
        self._queue = Queue(runs)
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
    ) -> Columns:
        text = _ROWS.format(
            positions=_BOUNDS if self._dense else _EACH,
            counts=_ALL_ONE if self._single else _EACH_COUNT,
            where=f"{where} AND ({plan.test})",
            order="DESC" if self._backwards else "",
            limit=limit,
        )
        first, end, counted, *found = db.execute(text, (*values, *plan.values)).fetchone()
        columns = [_decode_numbers(f"[{column or ''}]") for column in found]
        logs, offsets, sizes = columns
        if self._single and counted != len(logs) and logs:
            self._single = False
            return self._select(db, plan, where, values, limit)
        counts = [1] * len(logs) if self._single else _decode_numbers(f"[{counted or ''}]")
        if any(len(column) != len(logs) for column in (offsets, sizes, counts)):
            raise ValueError("a run in the index has a value that is no number")
        if not self._dense:
            positions: Sequence[int] = _decode_numbers(f"[{first or ''}]")
        elif not logs:
            return _NOTHING
        elif sum(counts) == end - first:
            positions = self._positions(first, end, counts)
        else:
            self._dense = False
            return self._select(db, plan, where, values, limit)
        return Columns(positions, logs, offsets, counts, sizes)

    def _positions(self, first: int, end: int, counts: list[int]) -> Sequence[int]:
        """Those of runs between which there is no other."""
        if len(counts) == end - first:
            return self._in_order(range(first, end))
        if self._backwards:
            return [end - each for each in accumulate(counts)]
        return list(accumulate(counts[:-1], initial=first))

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

    def _together(self, runs: Columns, sources: Sources) -> Slice | None:
        """All runs at once, if nothing is left out and they are documents already."""
        if self._sees is not None:
            return None
        positions, counts = runs.positions, runs.counts
        first, last = (-1, 0) if self._backwards else (0, -1)
        if positions[first] < self._from or positions[last] + counts[last] - 1 > self._to:
            return None
        logs = [sources.numbered(log) for log in set(runs.logs)]
        if any(log.format != NDJSON or log.damage for log in logs):
            return None
        text = text_of(runs, sources, backwards=self._backwards)
        count = sum(counts)
        if text is None:
            return None
        if count == len(counts):
            return Slice(positions, text)
        each = map(range, positions, map(add, positions, counts))
        return Slice(list(chain.from_iterable(map(self._in_order, each))), text)

    def _one_by_one(self, db: sqlite3.Connection, runs: Columns, sources: Sources) -> Slice:
        rows = _within_logs(runs.rows(_revisions(db, runs.positions)), sources)
        numbers: list[int] = []
        texts: list[bytes] = []
        for row, text in zip(rows, texts_of(rows, sources), strict=True):
            try:
                own, text = self._seen(row, text, sources)
            except (ValueError, RecursionError) as error:  # the former: also what msgspec raises
                raise unreadable(row, sources, error) from error
            numbers += own
            texts.append(text)
        return Slice(numbers, b"".join(texts))

    def _seen(self, row: Row, text: bytes, sources: Sources) -> tuple[Sequence[int], bytes]:
        """What a reader gets of a run."""
        sees, position, count = self._sees, row[0], row[4]
        text = _as_documents(row, text, sources)
        if (there := line_breaks(text)) != count:
            raise ValueError(f"there are {there} lines, and the index knows of {count} events")
        own = range(position, position + count)
        if sees is None and position >= self._from and own[-1] <= self._to:
            return self._in_order(own), reversed_lines(text) if self._backwards else text
        lines = text.split(b"\n")
        lines.pop()
        stream = sources.numbered(row[1]).name
        found = [
            (at, line)
            for at, line in zip(own, lines, strict=True)
            if self._from <= at <= self._to and (sees is None or sees(stream, line))
        ]
        if len(found) == count and not self._backwards:
            return own, text
        if self._backwards:
            found.reverse()
        return [at for at, _ in found], b"".join([line + b"\n" for _, line in found])

    def _in_order(self, numbers: range) -> range:
        return numbers[::-1] if self._backwards else numbers


def _revisions(db: sqlite3.Connection, positions: Sequence[int]) -> list[int]:
    """That of each run: where all are read at once, nobody asks for it."""
    (found,) = db.execute(
        "SELECT group_concat(revision) FROM (SELECT revision FROM runs WHERE position IN "
        "(SELECT value FROM json_each(?)) ORDER BY position)",
        (as_json(sorted(positions)),),
    ).fetchone()
    revisions = _decode_numbers(f"[{found or ''}]")
    return revisions if positions[0] <= positions[-1] else revisions[::-1]


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
    for row, text in zip(rows, texts_of(rows, sources), strict=True):
        try:
            text = _as_documents(row, text, sources)
        except ValueError as error:
            raise unreadable(row, sources, error) from error
        for at, line in enumerate(text.split(b"\n")[:-1], row[0]):
            if at in wanted:
                found[at] = line + b"\n"
    if len(found) < len(wanted):
        raise OSError(f"there is no event at position {min(wanted - found.keys())}, or no longer")
    return [found[at] for at in positions]


def _as_documents(row: Row, text: bytes, sources: Sources) -> bytes:
    log = sources.numbered(row[1])
    if log.format == NDJSON:
        return text
    return documents(split_rows(text), log.name, row[2], keys=sources.keys)
