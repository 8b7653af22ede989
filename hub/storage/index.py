"""What the hub knows of its logs without reading them: a cache in SQLite.

Owns `events/.hub/index.sqlite`. It is never the truth: a row counts only while
its file has the same length and modification time, and without any row the
logs are read again. So nothing that befalls it is worse than slow: errors are
told to the log, not to callers. Must not know how logs are read or written.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

_VERSION = 2
_SCHEMA = """
CREATE TABLE logs (
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    length INTEGER NOT NULL,   -- bytes that hold whole, sound events
    modified INTEGER NOT NULL, -- the file's modification time, nanoseconds
    version INTEGER NOT NULL,  -- events
    last_id TEXT NOT NULL,
    clock INTEGER NOT NULL,    -- highest time of the hub's own ids, microseconds
    ordered INTEGER NOT NULL,  -- whether ids are times that never go back
    checksum INTEGER NOT NULL, -- of all these
    PRIMARY KEY (name, format)
) WITHOUT ROWID
"""

logger = logging.getLogger(__name__)


class Entry(Struct, frozen=True):
    """One log as it was when its row was written."""

    name: str
    format: str
    length: int
    modified: int
    version: int
    last_id: str
    clock: int
    ordered: bool


class Index:
    """The index of one events directory; one thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

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
        self._db = db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # It may lose its last rows in a power cut: they are read from the logs again.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with db:
                db.execute("BEGIN")
                db.execute(_SCHEMA)
                db.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, this hub needs {_VERSION}")
        (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(state)
        with closing(db.execute("SELECT * FROM logs")) as rows:
            return [_checked(*row) for row in rows]

    def save(self, entries: Iterable[Entry], gone: Iterable[tuple[str, str]] = ()) -> None:
        """Write rows, and drop those of logs that are gone, in one transaction."""
        if self._db is None:
            return
        rows = [(*fields, _checksum(fields)) for fields in map(structs.astuple, entries)]
        try:
            with self._db as db:
                db.execute("BEGIN")
                db.executemany("DELETE FROM logs WHERE name = ? AND format = ?", gone)
                db.executemany("INSERT OR REPLACE INTO logs VALUES (?,?,?,?,?,?,?,?,?)", rows)
        except sqlite3.Error as error:
            logger.error("index %s could not be saved; no log is affected: %s", self._path, error)

    def close(self) -> None:
        """Close the file; the index can be opened again."""
        if self._db is not None:
            self._db.close()
            self._db = None


def _checksum(fields: tuple[object, ...]) -> int:
    return zlib.crc32(repr(fields).encode())


def _checked(*row: Any) -> Entry:
    fields = (*row[:7], bool(row[7]))
    if row[8] != _checksum(fields):
        raise sqlite3.DatabaseError(f"the row of {row[0]!r} is damaged")
    return Entry(*fields)
