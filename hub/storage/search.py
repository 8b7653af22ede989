"""Finds places in a TSV log: by id, by time, by counting lines.

Owns how a cursor's place is found without reading a log from its start: by
halving where ids are times in order, else backwards from the end. Must not
know HTTP. All functions block and take the *end* up to which the log is
committed; offsets given and returned are starts of lines, or that end. They
raise `OSError` when the file cannot be read up to there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from hub.errors import UnknownId
from hub.event import time_of
from hub.storage.logfile import Disk, opened

BLOCK = 256 * 1024
"""Bytes read at a time when going through a log."""

PROBE = 4096
"""Bytes read at a time when looking for the start of one line."""


class Reader:
    """An open log up to its committed end; close it by `with opened(...)` around it."""

    def __init__(self, disk: Disk, fd: int, end: int, ordered: bool) -> None:
        self._disk = disk
        self._fd = fd
        self.end = end
        self._ordered = ordered

    def after_id(self, identity: str) -> int | None:
        """Right after the first event of the latest contiguous run that has this id."""
        run = self._run(identity)
        return None if run is None else self._line_end(run[0])

    def through_id(self, identity: str) -> int | None:
        """Right after the last event that has this id."""
        run = self._run(identity)
        return None if run is None else self._line_end(run[1])

    def after_time(self, moment: int) -> int:
        """Where the first event later than `moment` (microseconds since 1970) begins.

        In a log whose ids are not all times in order: right after the last
        event whose id reads as a time not later than that.
        """
        if self._ordered:
            place = self._halve(moment)
            if place is not None:
                return place
        for start, line in self._backwards(0, self.end):
            when = time_of(_id(line).decode())
            if when is not None and when <= moment:
                return start + len(line)
        return 0

    def last(self, count: int, start: int, only: bytes | None) -> int:
        """Where the last `count` events from `start` on begin; with `only`, of that type."""
        if count <= 0:
            return self.end
        if only is None:
            return self._last_lines(count, start)
        for at, line in self._backwards(start, self.end):
            if _type(line) == only:
                count -= 1
                if not count:
                    return at
        return start

    def first(self, count: int, start: int, only: bytes | None) -> int:
        """Where the first `count` events from `start` on end; with `only`, of that type."""
        if count <= 0:
            return start
        for at, block in self.blocks(start):
            lines = block.count(b"\n")
            if only is None and lines < count:
                count -= lines
                continue
            place = at
            for line in block.split(b"\n")[:-1]:
                place += len(line) + 1
                if only is None or _type(line) == only:
                    count -= 1
                    if not count:
                        return place
        return self.end

    def last_id(self, start: int, only: bytes | None) -> str | None:
        """The id of the last event from `start` on; with `only`, of that type."""
        for _, line in self._backwards(start, self.end):
            if only is None or _type(line) == only:
                return _id(line).decode()
        return None

    def ends_with(self, identity: str) -> bool:
        """Whether a line ends at the end, and has this id; in an empty log, whether that is ""."""
        if not self.end:
            return not identity
        if self._read(self.end - 1, self.end) != b"\n":
            return False
        _, line = next(self._backwards(0, self.end))
        return _id(line) == identity.encode()

    def count(self, start: int, end: int) -> int:
        """How many lines stand between two places."""
        return sum(
            self._read(at, min(at + BLOCK, end)).count(b"\n") for at in range(start, end, BLOCK)
        )

    def _read(self, start: int, end: int) -> bytes:
        size = max(0, min(end, self.end) - start)
        data = self._disk.pread(self._fd, size, start)
        if len(data) < size:  # going on would never come to an end
            raise OSError(errno.EIO, "the file is shorter than what was written to it")
        return data

    def blocks(self, start: int) -> Iterator[tuple[int, bytes]]:
        """The log from `start` on as blocks of whole lines."""
        while start < self.end:
            size = BLOCK
            block = b""
            while not block:
                piece = self._read(start, min(start + size, self.end))
                block = piece[: piece.rfind(b"\n") + 1]
                if not block and len(piece) < size:
                    raise OSError(errno.EIO, "the file does not end with a line break")
                size *= 2
            yield start, block
            start += len(block)

    def _backwards(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Each line with its LF and its place, the last one first."""
        rest = b""  # the end of a line whose start is not read yet
        while start < end:
            low = max(start, end - BLOCK)
            block = self._read(low, end) + rest
            first = 0 if low == start else block.find(b"\n") + 1
            if first or low == start:
                place = low + len(block)
                for line in reversed(block[first:].split(b"\n")[:-1]):
                    place -= len(line) + 1
                    yield place, line + b"\n"
                rest = block[:first]
            else:
                rest = block
            end = low

    def _last_lines(self, count: int, start: int) -> int:
        end = self.end
        count += 1  # the LF before the first of them
        while start < end:
            low = max(start, end - BLOCK)
            block = self._read(low, end)
            lines = block.count(b"\n")
            if lines >= count:
                at = len(block)
                for _ in range(count):
                    at = block.rfind(b"\n", 0, at)
                return low + at + 1
            count -= lines
            end = low
        return start

    def _run(self, identity: str) -> tuple[int, int] | None:
        """The starts of the first and the last event of the latest run that has this id."""
        try:
            wanted = identity.encode()
        except UnicodeEncodeError:
            return None
        if b"\t" in wanted or b"\n" in wanted:  # would be found across columns or lines
            return None
        low, high = 0, self.end
        if self._ordered:
            moment = time_of(identity)
            if moment is None:
                return None
            before, behind = self._halve(moment - 1), self._halve(moment)
            if before is not None and behind is not None:
                low, high = before, behind
        last = self._find(wanted, low, high)
        if last is None:
            return None
        first = last
        for at, line in self._backwards(low, last):
            if _id(line) != wanted:
                break
            first = at
        return first, last

    def _find(self, identity: bytes, low: int, high: int) -> int | None:
        """The start of the last line between two places that has this id."""
        head = identity + b"\t"
        pattern = b"\n" + head
        end = high
        while low < end:
            start = max(low, end - BLOCK)
            # A line that begins in this block may have its id in the next one.
            block = self._read(start, min(high, end + len(pattern)))
            at = block.rfind(pattern, 0, end - start + len(pattern) - 1)
            if at >= 0:
                return start + at + 1
            end = start
        if low < high and self._read(low, low + len(head)) == head:
            return low
        return None

    def _line_end(self, start: int) -> int:
        """The place right behind the line that begins at `start`."""
        size = PROBE
        at = start
        while at < self.end:
            piece = self._read(at, min(at + size, self.end))
            found = piece.find(b"\n")
            if found >= 0:
                return at + found + 1
            at += len(piece)
            size = BLOCK
        return self.end

    def _halve(self, moment: int) -> int | None:
        """Where the first event later than `moment` begins; None if an id is not a time."""
        low, high = 0, self.end
        top = high  # no line begins between it and `high`
        while top - low > PROBE:
            middle = (low + top) // 2
            start = self._line_end(middle)
            if start < high:
                when = self._time_at(start)
                if when is None:
                    return None
                if when <= moment:
                    low = self._line_end(start)
                    continue
                high = start
            top = middle
        while low < high:
            when = self._time_at(low)
            if when is None:
                return None
            if when > moment:
                return low
            low = self._line_end(low)
        return low

    def _time_at(self, start: int) -> int | None:
        return time_of(_id(self._read(start, start + PROBE)).decode(errors="replace"))


def _id(line: bytes) -> bytes:
    return line.partition(b"\t")[0]


def _type(line: bytes) -> bytes:
    return line.split(b"\t", 2)[1]


class Selection(Struct, frozen=True):
    """Which part of a log is asked for; what is None does not limit.

    `since` is exclusive, `until` inclusive: ids, or ISO times. Of what lies
    between, `event` keeps one type, `tail` the last and `limit` the first so
    many.
    """

    since: str | None = None
    until: str | None = None
    tail: int | None = None
    limit: int | None = None
    event: str | None = None


class Window(Struct, frozen=True):
    """The bytes that a selection covers, and the id of its last event (None: it has none)."""

    start: int
    end: int
    last_id: str | None


def window(disk: Disk, path: Path, end: int, ordered: bool, wanted: Selection) -> Window:
    """The part of a log that a selection covers. Raises `UnknownId`."""
    with opened(disk, path, os.O_RDONLY) as fd:
        reader = Reader(disk, fd, end, ordered)
        only = None if wanted.event is None else wanted.event.encode()
        start = 0
        if wanted.since is not None:
            start = _place(reader, wanted.since, reader.after_id(wanted.since))
        if wanted.until is not None:
            reader.end = _place(reader, wanted.until, reader.through_id(wanted.until))
        start = min(start, reader.end)
        if wanted.tail is not None:
            start = reader.last(wanted.tail, start, only)
        if wanted.limit is not None:
            reader.end = reader.first(wanted.limit, start, only)
        return Window(start, reader.end, reader.last_id(start, only))


def _place(reader: Reader, identity: str, found: int | None) -> int:
    if found is not None:
        return found
    moment = time_of(identity)
    if moment is None:
        raise UnknownId(f"no event has the id {identity!r}, and it does not read as an ISO time")
    return reader.after_time(moment)


def resume(disk: Disk, path: Path, end: int, ordered: bool, identity: str) -> int | None:
    """Where a reader goes on that has seen the event of this id; None if it is unknown.

    An id that is not in the log but reads as a time: at the first event after it.
    """
    with opened(disk, path, os.O_RDONLY) as fd:
        reader = Reader(disk, fd, end, ordered)
        try:
            return _place(reader, identity, reader.after_id(identity))
        except UnknownId:
            return None


def count(disk: Disk, path: Path, start: int, end: int) -> int:
    """How many lines stand between two places."""
    with opened(disk, path, os.O_RDONLY) as fd:
        return Reader(disk, fd, end, False).count(start, end)


def block(disk: Disk, path: Path, start: int, end: int) -> bytes:
    """The next whole lines from `start` on: as many as fit into `BLOCK`, or one."""
    with opened(disk, path, os.O_RDONLY) as fd:
        return next(Reader(disk, fd, end, False).blocks(start), (start, b""))[1]


def ends_with(disk: Disk, path: Path, end: int, identity: str) -> bool:
    """Whether a line ends at this place, and has this id."""
    with opened(disk, path, os.O_RDONLY) as fd:
        return Reader(disk, fd, end, False).ends_with(identity)
