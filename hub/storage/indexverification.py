"""Holds the index against the logs: whether each knows of the other what is so.

Owns what is checked of the index. It is only read, also where nothing can be
written. All blocks.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from hub.document import Keys
from hub.event import file_name
from hub.lines import line_breaks
from hub.storage import search
from hub.storage.index import SELECT_RUNS, Entry, Run, _checked
from hub.storage.logfile import Disk, opened
from hub.storage.places import count
from hub.storage.schema import VERSION
from hub.storage.soundness import check_head, check_tables, faults
from hub.storage.terms import terms_of

PIECE = 1024 * 1024
"""Bytes read at a time."""

# What comes of numbers that are none, or of no length that a file has.
_UNREADABLE = (sqlite3.Error, TypeError, ValueError, ArithmeticError, MemoryError)

_POSTING = "SELECT 1 FROM postings WHERE term = ? AND position = ?"


class Finding(Struct, frozen=True):
    """Something that is not as it should be.

    `line`: the line of the file where it begins. Without `grave`, nothing that
    anybody was promised is lost or wrong.
    """

    path: Path
    reason: str
    line: int | None = None
    grave: bool = True


class IndexCheck:
    """One look at the index at `path`, as it stands when it is opened."""

    def __init__(self, path: Path, disk: Disk, *, running: bool) -> None:
        self._path = path
        self._disk = disk
        self._running = running
        self._db: sqlite3.Connection | None = None
        self.logs: dict[tuple[str, str], Entry] = {}  # by name and format
        self._keys: Keys | None = None  # by which the terms were found
        self.events = 0  # whose bytes were held against their checksum

    @property
    def is_open(self) -> bool:
        """Whether there is an index that can be read."""
        return self._db is not None

    def open(self, needed: bool) -> Iterator[Finding]:
        """Open the index and look at it by itself. If it is `needed`, it should be there."""
        if not self._path.exists():
            if needed and self._path.parent.is_dir() and not self._running:
                reason = "there is no index: the next start of a hub makes it from the logs"
                yield Finding(self._path, reason, grave=False)
            return
        try:
            yield from self._open()
        except _UNREADABLE as error:
            self.close()
            yield Finding(self._path, f"it cannot be read: {error}")

    def _open(self) -> Iterator[Finding]:
        check_head(self._path)
        self._db = db = self._connect()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            self.close()
            reason = f"it has version {version}, not {VERSION}: a hub makes it anew from the logs"
            yield Finding(self._path, reason, grave=False)
            return
        if self._path.with_name(self._path.name + "-damaged").exists():
            reason = "a hub found damage in it: the next start makes it anew from the logs"
            yield Finding(self._path, reason, grave=False)
        db.execute("BEGIN")  # all that follows sees it as it is now
        for (fault,) in db.execute("PRAGMA integrity_check(10)"):
            if fault != "ok":
                yield Finding(self._path, fault)
        check_tables(db)
        for part, reason in faults(db):
            yield Finding(self._path, f"{part.value}: {reason}")
        (keys,) = db.execute("SELECT keys FROM labelled").fetchone()
        self._keys = msgspec.json.decode(keys, type=Keys) if keys else None
        for row in db.execute("SELECT * FROM logs"):
            try:
                entry = _checked(*row)
            except sqlite3.DatabaseError as error:
                yield Finding(self._path, str(error))
            else:
                self.logs[entry.name, entry.format] = entry

    def _connect(self) -> sqlite3.Connection:
        # Without a write-ahead log it is whole; else reading that may need the right to write.
        wal = self._path.with_name(self._path.name + "-wal")
        whole = not self._running and (not wal.exists() or not wal.stat().st_size)
        mode = "immutable=1" if whole else "mode=ro"
        return sqlite3.connect(
            f"file:{quote(str(self._path))}?{mode}", uri=True, isolation_level=None
        )

    def check_log(
        self, entry: Entry, path: Path, advance: Callable[[int], None]
    ) -> Iterator[Finding]:
        """Hold what the index knows of a log against its file."""
        if self._db is None:
            return
        try:
            yield from self._check_entry(entry, path)
            yield from self._check_runs(self._db, entry, path, advance)
        except _UNREADABLE as error:
            yield Finding(self._path, f"it cannot be read: {error}")
            self.close()
        except OSError as error:
            yield Finding(path, f"it cannot be read: {error.strerror or error}")

    def _check_entry(self, entry: Entry, path: Path) -> Iterator[Finding]:
        length = entry.length
        if not length or path.stat().st_size < length:
            return  # not known yet; or told already
        if not search.ends_with(self._disk, path, length, entry.last_id, entry.format):
            reason = f"no event of id {entry.last_id!r} ends at byte {length}, as was written"
            yield Finding(path, reason, entry.version)
        lines = count(self._disk, path, 0, length)
        if lines != entry.version:
            reason = f"{entry.version} events had been written to its first {length} bytes"
            yield Finding(path, f"{reason}, but it has {lines} lines there")

    def _check_runs(
        self,
        db: sqlite3.Connection,
        entry: Entry,
        path: Path,
        advance: Callable[[int], None],
    ) -> Iterator[Finding]:
        """The bytes of each run are those that were written, and they follow each other."""
        place, revision = 0, 1
        bad: list[Run] = []  # that follow each other
        lost = 0  # runs that a query would pass by
        with opened(self._disk, path, os.O_RDONLY) as fd:
            window = _Window(self._disk, fd)
            for run in self._runs(db, entry.number):
                if (run.offset, run.revision) != (place, revision):
                    reason = (
                        f"it has event {run.revision} of {path.name} at byte {run.offset}, "
                        f"but event {revision - 1} ends at byte {place}"
                    )
                    yield Finding(self._path, reason)
                place, revision = run.offset + run.size, run.revision + run.count
                text = window.read(run.offset, run.size)
                advance(run.size)
                if zlib.crc32(text) == run.checksum and line_breaks(text) == run.count:
                    self.events += run.count
                    lost += not self._is_found(db, run, text, entry.format)
                    if bad:
                        yield _changed(path, bad)
                        bad = []
                else:
                    bad = [*bad[:1], run]
        if bad:
            yield _changed(path, bad)
        if lost:
            reason = f"queries would miss events of {path.name}: {lost} of its parts lack a term"
            yield Finding(self._path, reason)

    def _is_found(self, db: sqlite3.Connection, run: Run, text: bytes, form: str) -> bool:
        """Whether a run is found by all types and tags of its events."""
        if self._keys is None:
            return True
        lines = text.split(b"\n")
        lines.pop()
        return all(
            db.execute(_POSTING, (term, run.position)).fetchone()
            for term in terms_of(lines, form, self._keys)
        )

    @staticmethod
    def _runs(db: sqlite3.Connection, log: int) -> Iterator[Run]:
        rows = db.execute(f"{SELECT_RUNS} WHERE log = ? ORDER BY revision", (log,))
        return (Run(*row) for row in rows)

    def check_order(self, files: Mapping[tuple[str, str], Path]) -> Iterator[Finding]:
        """Hold the global order against itself, and against the logs that there are."""
        if self._db is None:
            return
        try:
            yield from self._check_gone(self._db, files)
            yield from self._check_positions(self._db)
            yield from self._check_derived(self._db)
        except _UNREADABLE as error:
            yield Finding(self._path, f"it cannot be read: {error}")

    def _check_gone(
        self, db: sqlite3.Connection, files: Mapping[tuple[str, str], Path]
    ) -> Iterator[Finding]:
        directory = self._path.parents[1]
        for key, entry in self.logs.items():
            if key in files:
                continue
            events = max(entry.version, sum(run.count for run in self._runs(db, entry.number)))
            if events:
                path = directory / file_name(*key)
                yield Finding(path, f"it is gone; {events} events had been written to it")

    def _check_positions(self, db: sqlite3.Connection) -> Iterator[Finding]:
        (unknown,) = db.execute(
            "SELECT sum(count) FROM runs WHERE log NOT IN (SELECT number FROM logs)"
        ).fetchone()
        if unknown:
            yield Finding(self._path, f"{unknown} events are of logs that it does not know")
        rows = db.execute(
            "SELECT expected, position FROM (SELECT position, "
            "lag(position + count, 1, 1) OVER (ORDER BY position) AS expected FROM runs) "
            "WHERE expected != position"
        )
        gaps = 0
        for expected, position in rows:
            if expected > position:
                yield Finding(self._path, f"position {position} is given to several events")
            else:
                gaps += position - expected
        if gaps:
            reason = f"{gaps} positions have no event, as where a log was cut or taken away"
            yield Finding(self._path, reason, grave=False)

    def _check_derived(self, db: sqlite3.Connection) -> Iterator[Finding]:
        rows = db.execute(
            "SELECT name, version, (SELECT count(*) FROM members WHERE derived = number), "
            "(SELECT max(revision) FROM members WHERE derived = number) FROM derived"
        )
        for name, version, members, last in rows:
            if not version == members == (last or 0):
                reason = f"derived stream {name!r} has {members} events instead of {version}"
                yield Finding(self._path, reason)

    def close(self) -> None:
        """Close the index, if it is open."""
        if self._db is not None:
            self._db.close()
            self._db = None


class _Window:
    """Reads pieces of a file that mostly follow each other, many at a time."""

    def __init__(self, disk: Disk, fd: int) -> None:
        self._disk = disk
        self._fd = fd
        self._at = 0
        self._held = b""

    def read(self, at: int, size: int) -> bytes:
        """These bytes, or what of them there is."""
        start = at - self._at
        if not 0 <= start <= start + size <= len(self._held):
            self._held = self._disk.pread(self._fd, max(size, PIECE), at)
            self._at, start = at, 0
        return self._held[start : start + size]


def _changed(path: Path, runs: list[Run]) -> Finding:
    first, last = runs[0].revision, runs[-1].revision + runs[-1].count - 1
    lines = f"lines {first} to {last} hold" if first < last else "it holds"
    return Finding(path, f"{lines} something else than was written (by their checksum)", first)
