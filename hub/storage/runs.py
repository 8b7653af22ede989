"""Writes groups that have their positions into the index, as runs.

Owns the end of the global order in the index, and what goes together into a
run: events of one log that follow each other in both. Must not know who gave
the positions nor who waits for them. All blocks, and one thread at a time may
use it.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from hub.document import Keys
from hub.storage.index import Additions, Entry, Index, Run
from hub.storage.log import Log
from hub.storage.logfile import Disk, opened
from hub.storage.places import Walk
from hub.storage.schema import DAMAGED
from hub.storage.terms import terms_of

RUN_EVENTS = 256
"""Events in a run, at most: what has to be looked through for one of them."""

RUN_BYTES = 64 * 1024
"""Bytes of a run above which it takes no more events."""

logger = logging.getLogger(__name__)


class Taken(Struct):
    """A group that has its positions, on its way into the index."""

    position: int
    log: Log
    revision: int
    start: int
    end: int
    count: int
    lines: bytes | None  # None: to be read from the file again

    @property
    def last(self) -> int:
        """The position of its last event."""
        return self.position + self.count - 1


class Runs:
    """The end of the global order, as the index has it."""

    def __init__(
        self, index: Index, disk: Disk, path: Callable[[Log], Path], keys: Keys, *, sync: bool
    ) -> None:
        self._index = index
        self._disk = disk
        self._path = path
        self._keys = keys
        self._sync = sync
        self._last: Run | None = None  # the next events may join it
        self._posted: set[int] = set()  # the terms of that run which have been written
        self._gone: set[Log] = set()  # logs whose files lack events that were stored

    def load(self) -> int:
        """Begin behind what the index has; return the last position. Raises `sqlite3.Error`."""
        head = self._index.head()
        self._last = None  # that run's terms are not known: what follows is one of its own
        self._posted = set()
        return head

    def write(self, new: list[Log], queue: list[Taken], *, wait: bool = True) -> None:
        """Add new logs, and groups in the order of their positions: all of it or nothing.

        Without `wait`, an index that somebody else writes to is an error at once.
        Raises `sqlite3.Error`, `OSError` and whatever else comes of damage.
        """
        adding = _Adding(self._last, self._posted.copy(), self._keys)
        for each in queue:
            if self._is_gone(each):
                adding.pass_over(each)
                continue
            for offset, lines in self._pieces(each):
                adding.take(each, offset, lines)
        additions = adding.additions
        additions.logs = [_entry(log) for log in new]
        self._index.add(additions, sync=self._sync, wait=wait)
        self._last, self._posted = adding.last, adding.posted

    def _is_gone(self, taken: Taken) -> bool:
        """Whether a group cannot be found any more; then nothing of its log may come behind it."""
        log = taken.log
        if log not in self._gone:
            if taken.lines is not None:
                return False
            if self._is_there(taken):
                return False
            self._gone.add(log)
            logger.error(
                "%s lacks events that were stored: there are none at their positions, from %d on",
                self._path(log),
                taken.position,
            )
        return True

    def _is_there(self, taken: Taken) -> bool:
        """Whether the file still has so many lines where they were written."""
        try:
            with opened(self._disk, self._path(taken.log), os.O_RDONLY) as fd:
                if self._disk.fstat(fd).st_size < taken.end:
                    return False
                walk = Walk(self._disk, fd, taken.end)
                return (
                    walk.count(taken.start, taken.end) == taken.count
                    and walk.read(taken.end - 1, taken.end) == b"\n"
                )
        except FileNotFoundError:
            return False

    def _pieces(self, taken: Taken) -> Iterator[tuple[int, bytes]]:
        if taken.lines is not None:
            yield taken.start, taken.lines
            return
        with opened(self._disk, self._path(taken.log), os.O_RDONLY) as fd:
            yield from Walk(self._disk, fd, taken.end).blocks(taken.start)


class _Adding:
    """Makes runs of groups, for one transaction."""

    def __init__(self, last: Run | None, posted: set[int], keys: Keys) -> None:
        self.last = last
        self.posted = posted
        self._keys = keys
        self.additions = Additions([], None, [], [])
        self._next = 0  # revision behind what was taken of a group

    def pass_over(self, taken: Taken) -> None:
        """Leave a gap where the group is."""
        self.last = None
        self.additions.given = taken.last

    def take(self, taken: Taken, offset: int, lines: bytes) -> None:
        """Add whole lines of a group that begin at `offset`."""
        if offset == taken.start:
            self._next = taken.revision
        each = lines.split(b"\n")
        each.pop()
        for part in parts_of(each):
            text = lines if len(part) == len(each) else b"\n".join(part) + b"\n"
            last = self.last
            position = taken.position + self._next - taken.revision
            if last and _grows(last, taken.log, position, offset, len(part), len(text)):
                last = self._grow(last, len(part), text)
            else:
                checksum = zlib.crc32(text)
                log = taken.log.number
                last = Run(position, log, self._next, offset, len(part), len(text), checksum)
                self.additions.runs.append(last)
                self.posted = set()
            self.last = last
            terms = terms_of(part, taken.log.format, self._keys)
            for term in terms - self.posted if self.posted else terms:
                self.additions.postings.append((term, last.position))
            self.posted |= terms
            offset += len(text)
            self._next += len(part)

    def _grow(self, run: Run, count: int, text: bytes) -> Run:
        grown = Run(
            run.position,
            run.log,
            run.revision,
            run.offset,
            run.count + count,
            run.size + len(text),
            zlib.crc32(text, run.checksum),
        )
        if self.additions.runs:
            self.additions.runs[-1] = grown
        else:
            self.additions.grown = grown
        return grown


def _grows(last: Run, log: Log, position: int, offset: int, count: int, size: int) -> bool:
    """Whether lines can join the last run."""
    return (
        last.log == log.number
        and last.last + 1 == position
        and last.offset + last.size == offset
        and last.count + count <= RUN_EVENTS
        and last.size + size <= RUN_BYTES
    )


def parts_of(lines: list[bytes]) -> Iterable[list[bytes]]:
    """Lines in parts that fit into a run."""
    if len(lines) == 1:
        yield lines
        return
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and (len(part) >= RUN_EVENTS or size + len(line) >= RUN_BYTES):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line) + 1
    if part:
        yield part


def _entry(log: Log) -> Entry:
    """A new log, of which the index does not know anything yet but its number."""
    modified = DAMAGED if log.damage else 0
    return Entry(log.number, log.name, log.format, 0, modified, 0, "", 0, True)
