"""What the hub knows of its logs without reading them: a cache in SQLite.

Owns `events/.hub/index.sqlite`: the logs, the one global order over them, and
where which types, tags and derived streams are. It is never the truth: a log's
row counts only while its file has the same length and modification time, and
without any row the logs are read again. Only the order *between* logs stands
nowhere else: therefore a file that merely cannot be used just now stays as it
is. Must not know how logs are read or written.

The global order is kept as *runs*: events of one log that follow each other in
the log and in the order. `postings` tell in which runs a term may be found: a
superset, since terms are kept as hashes and runs hold several events.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import astuple

from hub.storage.rescue import Rescued, aside, drop_aside, put_aside, rescue
from hub.storage.schema import SCHEMA, VERSION
from hub.storage.soundness import (
    GIVE,
    GROW_RUN,
    PUT_RUN,
    check,
    check_head,
    checksum_of,
    forget,
    sum_anew,
    sums_of,
)

CHECKED_BYTES = 16 * 1024 * 1024
"""Bytes up to which an index is checked whole when it is opened: that reads all of it."""

LONG_BYTES = 8 * 1024 * 1024
"""Of the write-ahead log, from which on it is brought into the index."""

_BUSY_MILLISECONDS = 5000  # for a person who looks into it with other programs

# What SQLite says of a file that is no index, or no longer: all else may pass.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})

_PUT_LOG = "INSERT OR REPLACE INTO logs VALUES (?,?,?,?,?,?,?,?,?,?)"
SELECT_RUNS = "SELECT position, log, revision, offset, count, size, checksum FROM runs"
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


class Additions(Struct):
    """What one transaction adds to the global order."""

    logs: list[Entry]  # new ones
    grown: Run | None  # the last run that is known already, with more events
    runs: list[Run]  # new ones
    postings: list[tuple[int, int]]
    given: int = 0  # the last position that was given to an event that is gone


class Index:
    """The index of one events directory; one thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        # Whether a commit is synced, and waits for others: as far as it was said.
        self._syncs: bool | None = None
        self._waits: bool | None = None
        self.rescued: Rescued | None = None  # from one that was made anew: for who aligns it
        self.opened = 0  # times: connections of before may be to a file that is gone

    def open(self) -> list[Entry]:
        """Open the index and return its rows; a damaged or foreign one is made anew.

        Raises `sqlite3.Error` or `OSError` if it cannot be used just now.
        """
        directory = self._path.parent
        self.rescued = aside(directory)  # from one that was broken off
        try:
            return self._load()
        except Exception as error:  # a damaged one fails in any way
            self._let_go()
            passing = isinstance(error, OSError | MemoryError | sqlite3.OperationalError)
            if passing and not is_damage(error):
                raise
            logger.warning("index %s is rebuilt from the logs: %s", self._path, error)
            found = rescue(self._path)
            if self.rescued is None or found.last > self.rescued.last:
                self.rescued = found
                if found.records:
                    put_aside(directory, found)
        try:
            for each in self._path.parent.glob(self._path.name + "*"):
                each.unlink()
            return self._load()
        except BaseException:
            self._let_go()
            raise

    def _load(self) -> list[Entry]:
        if self._condemned.exists():
            raise sqlite3.DatabaseError("damage was found in it")
        with suppress(FileNotFoundError):
            check_head(self._path)
        self._syncs = self._waits = None
        self.opened += 1
        self._db = db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # It may lose its last rows in a power cut: they are read from the logs again.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # it syncs: not in the midst of a commit
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, this hub needs {VERSION}")
        if self._path.stat().st_size <= CHECKED_BYTES:
            for part, reason in list(check(db)):
                text = "index %s: %s are found anew: %s"
                logger.warning(text, self._path, part.value, reason)
                with self.transaction():
                    forget(db, part)
        # A file that could not be opened for writing just now is open for reading only, for good.
        db.execute("DELETE FROM given WHERE 0")
        self.head()
        return [_checked(*row) for row in db.execute("SELECT * FROM logs").fetchall()]

    def settle_rescued(self) -> None:
        """What was rescued has its positions, on disk if it has to be."""
        if self.rescued:
            self.rescued = None
            drop_aside(self._path.parent)

    @property
    def _condemned(self) -> Path:
        return self._path.with_name(self._path.name + "-damaged")

    def condemn(self) -> None:
        """Have the index made anew at the next opening: this one is damaged."""
        with suppress(OSError):
            self._condemned.touch()

    @property
    def is_open(self) -> bool:
        """Whether there is an index."""
        return self._db is not None

    def save(self, entries: Iterable[Entry]) -> None:
        """Write rows of logs.

        What goes wrong is told to the log: then the next start reads more.
        """
        if self._db is None:
            return
        try:
            with self.transaction() as db:
                db.executemany(_PUT_LOG, map(_row, entries))
        except Exception as error:
            logger.error("index %s could not be saved; no log is affected: %s", self._path, error)

    def add(self, additions: Additions, *, sync: bool, wait: bool = True) -> None:
        """Add to the global order, with `sync` on disk on return. Raises `sqlite3.Error`.

        Without `wait` it does so at once if somebody else is writing.
        """
        if sync is not self._syncs:
            self.db.execute("PRAGMA synchronous = " + ("FULL" if sync else "NORMAL"))
            self._syncs = sync
        with self.transaction(wait=wait) as db:
            if additions.logs:
                db.executemany(_PUT_LOG, map(_row, additions.logs))
            sums = sums_of(additions.postings)
            if additions.grown:
                run, more = additions.grown, sums.get(additions.grown.position, 0)
                db.execute(GROW_RUN, (run.count, run.size, run.checksum, more, run.position))
            runs = [(*astuple(run), sums.get(run.position, 0)) for run in additions.runs]
            db.executemany(PUT_RUN, runs)
            if additions.postings:
                before = db.total_changes
                db.executemany(_PUT_POSTING, additions.postings)
                if db.total_changes - before < len(additions.postings):  # some were there
                    sum_anew(db, sums)
            if additions.given:
                db.execute(GIVE, (additions.given,))

    @contextmanager
    def transaction(self, *, wait: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction, rolled back if what is done in it raises, or its end does."""
        db = self.db
        if wait is not self._waits:
            self._wait(wait)
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def is_long(self) -> bool:
        """Whether `checkpoint` is due."""
        try:
            return os.stat(f"{self._path}-wal").st_size > LONG_BYTES
        except OSError:
            return False

    def checkpoint(self, *, wait: bool = False) -> bool:
        """Bring the write-ahead log into the index, as far as no reader needs it; this syncs.

        Returns whether it is empty now. With `wait` readers get a while to end.
        """
        try:
            self._wait(wait)
            return not self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except Exception as error:
            logger.error("index %s: its log grows: %s", self._path, error)
            return False

    def _wait(self, wait: bool) -> None:
        """From now on wait, or do not, for who else uses the file."""
        self._waits = None
        self.db.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS if wait else 0}")
        self._waits = wait

    @property
    def db(self) -> sqlite3.Connection:
        """The connection; raises `sqlite3.Error` if the index is not open."""
        if self._db is None:
            error = sqlite3.OperationalError("the index is not open")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN  # without a code it would be damage
            raise error
        return self._db

    def reader(self) -> sqlite3.Connection:
        """One more connection, that only reads."""
        _ = self.db  # raises if there is none to read
        return sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )

    def last_run(self) -> Run | None:
        """The last run of the global order."""
        row = self.db.execute(f"{SELECT_RUNS} ORDER BY position DESC LIMIT 1").fetchone()
        return Run(*row) if row else None

    def covered(self, log: int) -> tuple[int, int]:
        """The revision and the offset up to which a log's events have positions."""
        row = self.db.execute(
            "SELECT revision + count - 1, offset + size FROM runs WHERE log = ? "
            "ORDER BY revision DESC LIMIT 1",
            (log,),
        ).fetchone()
        return row or (0, 0)

    def head(self) -> int:
        """The last position that was given."""
        given: int = self.db.execute("SELECT position FROM given").fetchone()[0]
        last = self.last_run()
        return max(given, last.last if last else 0)

    def skip(self, position: int) -> None:
        """Let a position, and all before it, count as given. Raises `sqlite3.Error`."""
        with self.transaction() as db:
            db.execute(GIVE, (position,))

    def beyond(self, log: int, offset: int) -> list[Run]:
        """The runs of a log that reach beyond an offset, in their order."""
        rows = self.db.execute(
            f"{SELECT_RUNS} WHERE log = ? AND offset + size > ? ORDER BY revision",
            (log, offset),
        )
        return [Run(*row) for row in rows]

    def mend(
        self, changed: Iterable[Run], gone: Iterable[Run], postings: Iterable[tuple[int, int]]
    ) -> None:
        """Write what runs of a log have become, and drop those that are gone."""
        with self._reordering() as db:
            db.executemany("DELETE FROM runs WHERE position = ?", [(run.position,) for run in gone])
            runs = list(changed)
            for run in runs:
                db.execute("DELETE FROM runs WHERE position = ?", (run.position,))
                db.execute(PUT_RUN, (*astuple(run), 0))
            db.executemany(_PUT_POSTING, postings)
            sum_anew(db, [run.position for run in runs])

    def labelled(self) -> str:
        """By which keys of payloads the terms were found; "" in a new index."""
        keys: str = self.db.execute("SELECT keys FROM labelled").fetchone()[0]
        return keys

    def runs(self) -> Iterator[Run]:
        """Every run, log by log."""
        return (Run(*row) for row in self.db.execute(f"{SELECT_RUNS} ORDER BY log, revision"))

    def label(self, keys: str, postings: Iterable[tuple[int, int]]) -> None:
        """Put other terms in the place of all that were found."""
        with self.transaction() as db:
            db.execute("DELETE FROM postings")
            db.executemany(_PUT_POSTING, postings)
            db.execute("UPDATE labelled SET keys = ?1, again = ?1", (keys,))
            sum_anew(db)

    def forget(self, logs: Collection[int]) -> None:
        """Drop all that is known of logs that are gone."""
        if not logs:
            return
        with self._reordering() as db:
            for number in logs:
                db.execute("DELETE FROM logs WHERE number = ?", (number,))
                db.execute("DELETE FROM runs WHERE log = ?", (number,))

    @contextmanager
    def _reordering(self) -> Iterator[sqlite3.Connection]:
        """A transaction that changes what was in order before."""
        with self.transaction() as db:
            db.execute(GIVE, (self.head(),))
            yield db
            # They may hold events that are gone, or lack some: each is followed anew.
            db.execute("DELETE FROM members")
            db.execute("DELETE FROM derived")

    def close(self) -> None:
        """Close the file; the index can be opened again."""
        if self._db is not None:
            self.checkpoint()  # while readers are there, closing alone makes none
            self._let_go()

    def _let_go(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def is_damage(error: BaseException) -> bool:
    """Whether an error tells of an index that is no good, rather than of a bad moment."""
    if isinstance(error, sqlite3.OperationalError):
        code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        return code & 0xFF in _DAMAGE
    return isinstance(error, sqlite3.Error | UnicodeDecodeError)


def _row(entry: Entry) -> tuple[object, ...]:
    fields = astuple(entry)
    return (*fields, checksum_of(fields))


def _checked(*row: Any) -> Entry:
    fields = (*row[:8], bool(row[8]))
    if row[9] != checksum_of(fields):
        raise sqlite3.DatabaseError(f"the row of {row[1]!r} is damaged")
    return Entry(*fields)
