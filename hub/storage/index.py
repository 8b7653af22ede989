"""What the hub knows of its logs without reading them: a cache in SQLite.

Owns `events/.hub/index.sqlite`. It is never the truth: a row counts only while
its file has the same length and modification time, and without any row the
logs are read again. Must not know how logs are read or written.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from msgspec import Struct

_VERSION = 1
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
        except sqlite3.DatabaseError as error:
            logger.warning("index %s is rebuilt from the logs: %s", self._path, error)
            self.close()
            for each in self._path.parent.glob(self._path.name + "*"):
                each.unlink()
            return self._load()

    def _load(self) -> list[Entry]:
        self._db = db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # It may lose its last rows in a power cut: they are read from the logs again.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.execute("BEGIN")
            db.execute(_SCHEMA)
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute("COMMIT")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, this hub needs {_VERSION}")
        with closing(db.execute("SELECT * FROM logs")) as rows:
            return [Entry(*row) for row in rows]

    def save(self, entries: Iterable[Entry], gone: Iterable[tuple[str, str]] = ()) -> None:
        """Write rows, and drop those of logs that are gone, in one transaction."""
        if self._db is None:
            return
        self._db.execute("BEGIN")
        try:
            self._db.executemany("DELETE FROM logs WHERE name = ? AND format = ?", gone)
            self._db.executemany(
                "INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        e.name,
                        e.format,
                        e.length,
                        e.modified,
                        e.version,
                        e.last_id,
                        e.clock,
                        e.ordered,
                    )
                    for e in entries
                ),
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file; the index can be opened again."""
        if self._db is not None:
            self._db.close()
            self._db = None
