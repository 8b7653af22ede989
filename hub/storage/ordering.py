"""Brings events that the index has no position of into an order over all logs.

Owns what stands for the order between logs: positions that were told, as far as
they are known; else, when only the logs are left, time. Within a log nothing
changes; between logs the times of ids count, and an id that is no time counts as
that before it; at one time, names count. All events of a commit have the time of
the first, so that they stay together. Must not know the index.
"""

from __future__ import annotations

import heapq
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from hub.document import metadata_of
from hub.event import ID_LENGTH, id_at, is_hub_form, time_of
from hub.formats import NDJSON
from hub.storage.journal import Record
from hub.storage.log import Log
from hub.storage.logfile import Disk, opened

HELD_BYTES = 64 * 1024 * 1024
"""Bytes of all logs together that are read ahead."""

LEAST_BYTES = 4096
MOST_BYTES = 256 * 1024


class Stretch(Struct):
    """Events of one log that come next in the order."""

    log: Log
    revision: int  # of the first
    start: int
    lines: bytes
    count: int
    position: int = 0  # 0: the next one


class Tail:
    """What of a log has no position yet: from `start`, where event `revision` stands, to `end`."""

    # Of each of a hundred thousand logs there may be one.
    __slots__ = (
        *("_end", "_lines", "_next", "_path", "_revision", "_start", "_time", "_times"),
        "log",
    )

    def __init__(self, log: Log, path: Path, revision: int, start: int, end: int) -> None:
        self.log = log
        self._path = str(path)
        self._revision = revision
        self._start = start
        self._end = end
        self._lines: list[bytes] = []
        self._times: list[bytes] = []  # as ids in the hub's form, never going back
        self._next = 0
        self._time = b""

    @property
    def time(self) -> bytes:
        """That of the next event."""
        return self._times[self._next]

    @property
    def revision(self) -> int:
        """That of the next event."""
        return self._revision

    def fill(self, disk: Disk, size: int) -> bool:
        """Read on if nothing is held; return whether there is a next event."""
        if self._next < len(self._lines):
            return True
        end = self._end
        if self._start >= end:
            return False
        block = b""
        with opened(disk, self._path, os.O_RDONLY) as fd:
            while not block:
                piece = disk.pread(fd, min(size, end - self._start), self._start)
                block = piece[: piece.rfind(b"\n") + 1]
                if not block and len(piece) < size:
                    raise OSError(f"{self._path} ends before byte {end}")
                size *= 2
        self._lines = block.split(b"\n")
        self._lines.pop()
        self._times = self._times_of(self._lines)
        self._next = 0
        return True

    def take(self, before: tuple[bytes, str] | None) -> Stretch:
        """The next event, and what follows it before a time and the name of a log."""
        first = self._next
        if before is None:
            return self._take(len(self._lines))
        time, name = before
        bisect = bisect_right if self.log.name < name else bisect_left
        return self._take(max(first + 1, bisect(self._times, time, first)))

    def take_some(self, count: int) -> Stretch:
        """The next `count` events, or as many of them as are held."""
        return self._take(min(len(self._lines), self._next + count))

    def _take(self, end: int) -> Stretch:
        part = self._lines[self._next : end]
        self._next = end
        lines = b"\n".join(part) + b"\n"
        stretch = Stretch(self.log, self._revision, self._start, lines, len(part))
        self._revision += len(part)
        self._start += len(lines)
        return stretch

    def _times_of(self, lines: list[bytes]) -> list[bytes]:
        times: list[bytes] = []
        now = self._time
        documents = self.log.format == NDJSON
        for line in lines:
            if documents:
                metadata = metadata_of(line)
                identity = metadata.id.encode() if not metadata.commit_version else b""
            else:
                identity = line.partition(b"\t")[0]
            when = _normal(identity)
            if when > now:
                now = when
            times.append(now)
        self._time = now
        return times


def _normal(identity: bytes) -> bytes:
    if len(identity) == ID_LENGTH and is_hub_form(identity):
        return identity
    moment = time_of(identity.decode(errors="replace"))
    return b"" if moment is None or moment < 0 else id_at(moment).encode()


def as_told(disk: Disk, tails: Mapping[str, Tail], records: Iterable[Record]) -> Iterator[Stretch]:
    """The events that records tell of, each at its position. Raises `OSError`.

    Where a log lacks events there are none at their positions.
    """
    for record in records:
        tail = tails.get(record.log)
        if tail is None or tail.revision != record.revision:
            continue
        position, last = record.position, record.last
        while position <= last and tail.fill(disk, LEAST_BYTES):
            stretch = tail.take_some(last + 1 - position)
            stretch.position = position
            yield stretch
            position += stretch.count


def in_time_order(disk: Disk, tails: Iterable[Tail]) -> Iterator[Stretch]:
    """All events of the tails, the earliest first, at one time by log. Raises `OSError`."""
    waiting = list(tails)
    size = max(LEAST_BYTES, min(MOST_BYTES, HELD_BYTES // max(1, len(waiting))))
    heap = [(tail.time, tail.log.name, tail) for tail in waiting if tail.fill(disk, size)]
    heapq.heapify(heap)
    while heap:
        _, name, tail = heapq.heappop(heap)
        yield tail.take(heap[0][:2] if heap else None)
        if tail.fill(disk, size):
            heapq.heappush(heap, (tail.time, name, tail))
