"""Finds places in a log of either format: by id, by time, by counting lines.

Owns how a cursor's place is found without reading a log from its start: by
halving where ids are times in order, else backwards from the end. Must not
know HTTP, nor what a line of a format looks like. All functions block and take
the *end* up to which the log is committed; offsets given and returned are
starts of lines, or that end. They raise `OSError` when the file cannot be read
up to there.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from hub.document import KEYS, Keys
from hub.errors import UnknownId
from hub.event import time_of
from hub.formats import TSV
from hub.lines import lines_of_format
from hub.storage.logfile import Disk, opened
from hub.storage.places import PROBE, Walk


class Reader(Walk):
    """An open log up to its committed end, whose ids may be `ordered` times."""

    def __init__(
        self,
        disk: Disk,
        fd: int,
        end: int,
        ordered: bool,
        form: str = TSV,
        keys: Keys = KEYS,
    ) -> None:
        super().__init__(disk, fd, end)
        self._ordered = ordered
        self._lines = lines_of_format(form, keys)

    def after_id(self, identity: str) -> int | None:
        """Right after the first event of the latest contiguous run that has this id."""
        run = self._run(identity)
        return None if run is None else self.line_end(run[0])

    def through_id(self, identity: str) -> int | None:
        """Right after the last event that has this id."""
        run = self._run(identity)
        return None if run is None else self.line_end(run[1])

    def after_time(self, moment: int) -> int:
        """Where the first event later than `moment` (microseconds since 1970) begins.

        In a log whose ids are not all times in order: right after the last
        event whose id reads as a time not later than that.
        """
        if self._ordered:
            place = self._halve(moment)
            if place is not None:
                return place
        for start, line in self.backwards(0, self.end):
            when = self._time_of(line)
            if when is not None and when <= moment:
                return start + len(line)
        return 0

    def last(self, count: int, start: int, only: bytes | None) -> int:
        """Where the last `count` events from `start` on begin; with `only`, of that type."""
        if count <= 0:
            return self.end
        if only is None:
            return self.last_lines(count, start)
        wanted = self._lines.typed(only)
        for at, line in self.backwards(start, self.end):
            if wanted(line):
                count -= 1
                if not count:
                    return at
        return start

    def first(self, count: int, start: int, only: bytes | None) -> int:
        """Where the first `count` events from `start` on end; with `only`, of that type."""
        if only is None:
            return self.skip(count, start)
        if count <= 0:
            return start
        wanted = self._lines.typed(only)
        for at, block in self.blocks(start):
            place = at
            for line in block.split(b"\n")[:-1]:
                place += len(line) + 1
                if wanted(line):
                    count -= 1
                    if not count:
                        return place
        return self.end

    def last_id(self, start: int, only: bytes | None) -> str | None:
        """The id of the last event from `start` on; with `only`, of that type."""
        wanted = None if only is None else self._lines.typed(only)
        for _, line in self.backwards(start, self.end):
            if wanted is None or wanted(line):
                return self._lines.id(line).decode()
        return None

    def ends_before(self, moment: int) -> bool:
        """Whether the last event is earlier than a moment; so is an empty log."""
        identity = self.last_id(0, None)
        last = None if identity is None else time_of(identity)
        return identity is None or (last is not None and last < moment)

    def ends_with(self, identity: str) -> bool:
        """Whether a line ends at the end, and has this id; in an empty log, whether that is ""."""
        if not self.end:
            return not identity
        if self.read(self.end - 1, self.end) != b"\n":
            return False
        _, line = next(self.backwards(0, self.end))
        return self._lines.id(line) == identity.encode()

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
        for at, line in self.backwards(low, last):
            if self._lines.id(line) != wanted:
                break
            first = at
        return first, last

    def _find(self, identity: bytes, low: int, high: int) -> int | None:
        """The start of the last line between two places that has this id."""
        for at, block in self.blocks_before(low, high):
            found = self._lines.find(block, identity)
            if found >= 0:
                return at + found
        return None

    def _halve(self, moment: int) -> int | None:
        """Where the first event later than `moment` begins; None if an id is not a time."""
        low, high = 0, self.end
        top = high  # no line begins between it and `high`
        while top - low > PROBE:
            middle = (low + top) // 2
            start = self.line_end(middle)
            if start < high:
                line = self.line(start)
                when = self._time_of(line)
                if when is None:
                    return None
                if when <= moment:
                    low = start + len(line)
                    continue
                high = start
            top = middle
        while low < high:
            line = self.line(low)
            when = self._time_of(line)
            if when is None:
                return None
            if when > moment:
                return low
            low += len(line)
        return low

    def _time_of(self, line: bytes) -> int | None:
        return time_of(self._lines.id(line).decode(errors="replace"))


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


def window(
    disk: Disk,
    path: Path,
    end: int,
    ordered: bool,
    wanted: Selection,
    form: str = TSV,
    keys: Keys = KEYS,
) -> Window:
    """The part of a log that a selection covers. Raises `UnknownId`."""
    with opened(disk, path, os.O_RDONLY) as fd:
        reader = Reader(disk, fd, end, ordered, form, keys)
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


def resume(
    disk: Disk,
    path: Path,
    end: int,
    ordered: bool,
    identity: str,
    form: str = TSV,
    seen: bool = False,
) -> int | None:
    """Where a reader goes on from the event of this id; None if it is unknown.

    An id that is not in the log but reads as a time: at the first event after it. But
    with `seen`, where it is said to be an event's, one that is later than the last
    event is unknown: the reader has seen another log, or this one before it lost its end.
    """
    with opened(disk, path, os.O_RDONLY) as fd:
        reader = Reader(disk, fd, end, ordered, form)
        found = reader.after_id(identity)
        if found is not None:
            return found
        moment = time_of(identity)
        if moment is None or (seen and reader.ends_before(moment)):
            return None
        return reader.after_time(moment)


def ends_with(disk: Disk, path: Path, end: int, identity: str, form: str = TSV) -> bool:
    """Whether a line ends at this place, and has this id."""
    with opened(disk, path, os.O_RDONLY) as fd:
        return Reader(disk, fd, end, False, form).ends_with(identity)
