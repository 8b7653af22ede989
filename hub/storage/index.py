"""What the hub knows of its logs without reading them: a cache in SQLite.

Owns `events/.hub/index.sqlite`: the logs, the one global order over them, and
where which types, tags and derived streams are. It is never the truth: a log's
row counts only while its file has the same length and modification time, and
without any row the logs are read again. Must not know how logs are read or
written.

The global order is kept as *runs*: events of one log that follow each other in
the log and in the order. `postings` tell in which runs a term may be found: a
superset, since terms are kept as hashes and runs hold several events.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import astuple

_VERSION = 3
_SCHEMA = """
CREATE TABLE logs (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    length INTEGER NOT NULL,   -- bytes that hold whole, sound events
    modified INTEGER NOT NULL, -- the file's modification time, nanoseconds
    version INTEGER NOT NULL,  -- events
    last_id TEXT NOT NULL,
    clock INTEGER NOT NULL,    -- highest time of the hub's own ids, microseconds
    ordered INTEGER NOT NULL,  -- whether ids are times that never go back
    checksum INTEGER NOT NULL, -- of all these
    UNIQUE (name, format)
);
CREATE TABLE runs (
    position INTEGER PRIMARY KEY, -- of its first event
    log INTEGER NOT NULL,
    revision INTEGER NOT NULL,    -- of its first event
    offset INTEGER NOT NULL,      -- bytes
    count INTEGER NOT NULL,       -- events
    size INTEGER NOT NULL,        -- bytes
    checksum INTEGER NOT NULL     -- CRC-32 of the bytes
);
CREATE UNIQUE INDEX runs_by_revision ON runs (log, revision);
CREATE UNIQUE INDEX runs_by_log ON runs (log, position);
CREATE TABLE postings (
    term INTEGER NOT NULL,
    position INTEGER NOT NULL,    -- of the run
    PRIMARY KEY (term, position)
) WITHOUT ROWID;
CREATE TABLE derived (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    matcher TEXT NOT NULL,
    version INTEGER NOT NULL,     -- events in it
    looked INTEGER NOT NULL       -- position up to which events were looked at
);
CREATE TABLE members (
    derived INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (derived, revision)
) WITHOUT ROWID;
"""

CHECKED_BYTES = 16 * 1024 * 1024
"""Bytes up to which an index is checked whole when it is opened: that reads all of it."""

_PUT_LOG = "INSERT OR REPLACE INTO logs VALUES (?,?,?,?,?,?,?,?,?,?)"
_PUT_RUN = "INSERT INTO runs VALUES (?,?,?,?,?,?,?)"
_GROW_RUN = "UPDATE runs SET count = ?, size = ?, checksum = ? WHERE position = ?"
_PUT_POSTING = "INSERT OR IGNORE INTO postings VALUES (?,?)"

logger = logging.getLogger(__name__)


class Entry(Struct, frozen=True):
    """One log as it was when its row was written."""

    number: int
    name: str
    format: str
    length: int
    modified: int
    version: int
    last_id: str
    clock: int
    ordered: bool


class Run(Struct, gc=False):
    """Events of one log that follow each other in the log and in the global order."""

    position: int  # of its first event
    log: int  # the log's number
    revision: int  # of its first event
    offset: int
    count: int
    size: int
    checksum: int = 0

    @property
    def last(self) -> int:
        """The position of its last event."""
        return self.position + self.count - 1


class Derived(Struct):
    """A derived stream as far as the index has followed it."""

    number: int
    name: str
    matcher: str
    version: int
    looked: int


class Additions(Struct):
    """What one transaction adds to the global order."""

    logs: list[Entry]  # new ones
    grown: Run | None  # the last run that is known already, with more events
    runs: list[Run]  # new ones
    postings: list[tuple[int, int]]


class Index:
    """The index of one events directory; one thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._syncs: bool | None = None  # whether a commit is synced, as far as it was said

    def open(self) -> list[Entry]:
        """Open the index and return its rows; a damaged or foreign one is made anew."""
        try:
            return self._load()
        except Exception as error:  # a damaged one fails in any way
            logger.warning("index %s is rebuilt from the logs: %s", self._path, error)
        try:
            self._remove()
            return self._load()
        except (sqlite3.Error, OSError) as error:
            logger.error("no index, so the next start reads every log: %s", error)
            self.close()
            return []

    def _remove(self) -> None:
        self.close()
        for each in self._path.parent.glob(self._path.name + "*"):
            each.unlink()

    def _load(self) -> list[Entry]:
        self._syncs = None
        self._db = db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # It may lose its last rows in a power cut: they are read from the logs again.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, this hub needs {_VERSION}")
        if self._path.stat().st_size <= CHECKED_BYTES:
            (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise sqlite3.DatabaseError(state)
        with closing(db.execute("SELECT * FROM logs")) as rows:
            return [_checked(*row) for row in rows]

    def save(self, entries: Iterable[Entry], gone: Iterable[int] = ()) -> None:
        """Write rows of logs, and drop all that is known of those that are gone.

        What goes wrong is told to the log: then the next start reads more.
        """
        if self._db is None:
            return
        rows = [_row(entry) for entry in entries]
        try:
            with self.transaction() as db:
                for number in gone:
                    db.execute("DELETE FROM logs WHERE number = ?", (number,))
                    db.execute("DELETE FROM runs WHERE log = ?", (number,))
                db.executemany(_PUT_LOG, rows)
        except sqlite3.Error as error:
            logger.error("index %s could not be saved; no log is affected: %s", self._path, error)

    def add(self, additions: Additions, *, sync: bool) -> None:
        """Add to the global order, with `sync` on disk on return. Raises `sqlite3.Error`."""
        db = self.db
        if sync is not self._syncs:
            db.execute("PRAGMA synchronous = " + ("FULL" if sync else "NORMAL"))
            self._syncs = sync
        db.execute("BEGIN IMMEDIATE")
        try:
            if additions.logs:
                db.executemany(_PUT_LOG, map(_row, additions.logs))
            if additions.grown:
                run = additions.grown
                db.execute(_GROW_RUN, (run.count, run.size, run.checksum, run.position))
            for run in additions.runs:
                db.execute(_PUT_RUN, astuple(run))
            if additions.postings:
                db.executemany(_PUT_POSTING, additions.postings)
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction, rolled back if what is done in it raises."""
        db = self.db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    @property
    def db(self) -> sqlite3.Connection:
        """The connection; raises `sqlite3.Error` if the index is not open."""
        if self._db is None:
            raise sqlite3.OperationalError("the index is not open")
        return self._db

    def reader(self) -> sqlite3.Connection:
        """One more connection, that only reads."""
        if self._db is None:
            raise sqlite3.OperationalError("the index is not open")
        return sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )

    def last_run(self) -> Run | None:
        """The last run of the global order."""
        row = self.db.execute("SELECT * FROM runs ORDER BY position DESC LIMIT 1").fetchone()
        return Run(*row) if row else None

    def covered(self, log: int) -> tuple[int, int]:
        """The revision and the offset up to which a log's events have positions."""
        row = self.db.execute(
            "SELECT revision + count - 1, offset + size FROM runs WHERE log = ? "
            "ORDER BY revision DESC LIMIT 1",
            (log,),
        ).fetchone()
        return row or (0, 0)

    def forget(self, log: int, version: int) -> list[int]:
        """Drop the runs of a log that go beyond its version; return their positions."""
        with self.transaction() as db:
            rows = db.execute(
                "DELETE FROM runs WHERE log = ? AND revision + count - 1 > ? RETURNING position",
                (log, version),
            ).fetchall()
        return [position for (position,) in rows]

    def derived(self) -> list[Derived]:
        """The derived streams that the index has followed."""
        return [Derived(*row) for row in self.db.execute("SELECT * FROM derived")]

    def extend_derived(self, derived: Derived, positions: Sequence[int]) -> None:
        """Write the row of a derived stream, and the positions of its newest events."""
        with self.transaction() as db:
            values = astuple(derived)
            db.execute("INSERT OR REPLACE INTO derived VALUES (?,?,?,?,?)", values)
            first = derived.version - len(positions) + 1
            db.executemany(
                "INSERT INTO members VALUES (?,?,?)",
                [(derived.number, at, position) for at, position in enumerate(positions, first)],
            )

    def remove_derived(self, number: int) -> None:
        """Forget a derived stream."""
        with self.transaction() as db:
            db.execute("DELETE FROM members WHERE derived = ?", (number,))
            db.execute("DELETE FROM derived WHERE number = ?", (number,))

    def close(self) -> None:
        """Close the file; the index can be opened again."""
        if self._db is not None:
            self._db.close()
            self._db = None


def _row(entry: Entry) -> tuple[object, ...]:
    fields = astuple(entry)
    return (*fields, _checksum(fields))


def _checksum(fields: tuple[object, ...]) -> int:
    return zlib.crc32(repr(fields).encode())


def _checked(*row: Any) -> Entry:
    fields = (*row[:8], bool(row[8]))
    if row[9] != _checksum(fields):
        raise sqlite3.DatabaseError(f"the row of {row[1]!r} is damaged")
    return Entry(*fields)
