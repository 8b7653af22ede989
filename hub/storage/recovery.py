"""Reads a log from some place to its end and tells what is sound, torn or damaged.

Owns the rules of recovery. It changes nothing: cutting is `logfile`'s, and who
is told is `store`'s business.

In a log of documents, `commitVersion` counts from 0 to `commitSize` - 1 inside
one commit, so a commit that a crash tore is seen by its last line; it is torn
from its first line on, and where a log is sound up to, and is gone on from
later, never lies inside a commit. A line by hand need not say any of this: then
it is a commit of its own. But what it says must be so: a `streamVersion` that
is not the number of the lines before it tells of lines that were lost.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

from msgspec import Struct

from hub.document import Metadata
from hub.errors import InvalidEvent
from hub.event import IdOrder, Limits
from hub.formats import TSV, check_rows
from hub.lines import check_documents
from hub.storage.logfile import UNFINISHED, Disk, opened

PIECE = 1024 * 1024
"""Bytes read at a time."""

_LIMITS = Limits()
_NOTHING = Metadata("", -1, 0)


class Scan(Struct):
    """What stands in a log: up to `length` it is sound, with `version` events.

    `torn`: bytes behind it that no writer was promised: a line without LF, a
    group of lines or a commit that was not finished. `damage`: which line behind
    `length` is not an event, if it is none of these. `zeroed`: NULs stand in
    it, as they do where a power cut kept a block from the disk.
    """

    length: int
    version: int
    last_id: str
    order: IdOrder
    torn: int = 0
    damage: str | None = None
    zeroed: bool = False


def scan(
    disk: Disk,
    path: Path,
    found: Scan,
    progress: Callable[[int, int], None] | None = None,
    form: str = TSV,
) -> Scan:
    """Go on from what was known in `found`, and return it filled in.

    `progress` is called with the bytes read and the bytes in all. The name of
    the file is that of the log, encoded, which its documents must have.
    """
    taking: _Taking = _Rows(found) if form == TSV else _Commits(found, unquote(path.stem))
    with opened(disk, path, os.O_RDONLY) as fd:
        size = disk.fstat(fd).st_size
        for chunk in _whole_lines(disk, fd, found.length, size):
            if not taking.take(chunk):
                break
            if progress:
                progress(taking.end, size)
        if not found.damage and found.length < size:
            if _is_zeroed(disk, fd, taking.end, size):
                found.damage = f"line {taking.next_line}: it begins with NULs"
                found.zeroed = True
            else:
                found.torn = size - found.length
    return found


def _whole_lines(disk: Disk, fd: int, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` on in pieces of whole lines; nothing is held of a torn one."""
    at = start
    while at < end:
        piece = disk.pread(fd, min(PIECE, end - at), at)
        if not piece:
            return
        whole = piece.rfind(b"\n") + 1
        if not whole:
            at += len(piece)
            continue
        yield piece[:whole] if at == start else disk.pread(fd, at + whole - start, start)
        start = at = at + whole


def _is_zeroed(disk: Disk, fd: int, start: int, end: int) -> bool:
    """Whether NULs stand where events were: the mark of a group is one, a hole goes to the end."""
    if disk.pread(fd, 2, start) != 2 * UNFINISHED:
        return False
    return any(
        disk.pread(fd, min(PIECE, end - at), at).strip(UNFINISHED)
        for at in range(start, end, PIECE)
    )


class _Taking(ABC):
    """Takes in the lines of a log."""

    def __init__(self, found: Scan) -> None:
        self.found = found
        # Whole lines behind what is sound, of a commit that is not: their bytes and number.
        self.open = 0
        self.open_lines = 0

    @property
    def end(self) -> int:
        """Up to where lines were taken in."""
        return self.found.length + self.open

    @property
    def next_line(self) -> int:
        """The number of the line behind them, counted from 1."""
        return self.found.version + self.open_lines + 1

    def take(self, chunk: bytes) -> bool:
        """Take in whole lines; return False at the first that is not an event."""
        marked = 0 if chunk.startswith(UNFINISHED) else chunk.find(b"\n" + UNFINISHED) + 1
        if marked or chunk.startswith(UNFINISHED):
            if marked and not self.take(chunk[:marked]):
                return False
            if self.open:  # what is unfinished begins with a commit: the mark is none
                self.found.damage = f"line {self.next_line}: it begins with a NUL, inside a commit"
                self.found.zeroed = True
            return False
        try:
            self._add(chunk)
        except InvalidEvent as error:
            lines = chunk.split(b"\n")
            sound = (error.line or 1) - 1
            if sound and not self.take(b"\n".join(lines[:sound]) + b"\n"):
                return False
            self.found.damage = f"line {self.next_line}: {error.reason}"
            self.found.zeroed = UNFINISHED in lines[sound]
            return False
        return True

    @abstractmethod
    def _add(self, chunk: bytes) -> None:
        """Take in events. Raises `InvalidEvent`, and has then taken in none of them."""


class _Rows(_Taking):
    """The lines of a TSV log."""

    def _add(self, chunk: bytes) -> None:
        rows = check_rows(chunk, _LIMITS, stored=True)
        found = self.found
        found.length += len(chunk)
        found.version += len(rows)
        found.last_id = rows[-1][0].decode()
        found.order.extend([row[0] for row in rows])


class _Commits(_Taking):
    """The documents of a log, taken in commit by commit."""

    def __init__(self, found: Scan, stream: str) -> None:
        super().__init__(found)
        self._stream = stream
        self._last = _NOTHING  # of the line before, if its commit is open
        self._order = IdOrder()  # of the open lines' ids

    def _add(self, chunk: bytes) -> None:
        lines = check_documents(chunk, self._stream)
        last = self._last
        before = self.found.version + self.open_lines
        whole = 0  # lines up to the end of the last commit that is whole
        for number, each in enumerate(lines, 1):
            fault = _fault(last, each, before)
            if fault:
                raise InvalidEvent(fault, number)
            before += 1
            last = each
            if each.commit_version + 1 == each.commit_size:
                whole = number
                last = _NOTHING
        self._last = last
        end = len(chunk)
        if whole < len(lines):
            end = 0
            for _ in range(whole):
                end = chunk.index(b"\n", end) + 1
        ids = [each.id.encode() for each in lines]
        if whole:
            self._order.extend(ids[:whole])
            self._close(end, whole, lines[whole - 1].id)
        self._order.extend(ids[whole:])
        self.open += len(chunk) - end
        self.open_lines += len(lines) - whole

    def _close(self, size: int, lines: int, last_id: str) -> None:
        """The open lines are sound, and so are the next ones up to here."""
        found = self.found
        found.length += self.open + size
        found.version += self.open_lines + lines
        found.last_id = last_id
        found.order.append(self._order)
        self.open = self.open_lines = 0
        self._order = IdOrder()


def _fault(last: Metadata, line: Metadata, before: int) -> str | None:
    """Why a line cannot stand behind `last`, as the next after so many."""
    if line.stream_version is not None and line.stream_version != before:
        return (
            f"its streamVersion is {line.stream_version} instead of {before}: lines before it "
            "are missing, or too many"
        )
    version = last.commit_version + 1
    if version and (line.commit_id != last.commit_id or line.commit_size != last.commit_size):
        return (
            f"it is of another commit, but of the one before it only {version} "
            f"of {last.commit_size} events are there"
        )
    if line.commit_version != version or not version < line.commit_size:
        return (
            f"its commitVersion is {line.commit_version} of {line.commit_size}, "
            f"but the next of its commit is {version}"
        )
    return None
