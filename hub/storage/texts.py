"""Reads the bytes of runs: what stands in the logs where the index says that it does.

Owns how many runs are read with few calls. Must not know what they are read for.
All of it blocks.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import add, gt, itemgetter, sub

from msgspec import Struct
from msgspec.structs import astuple

from hub.lines import line_breaks, reversed_lines
from hub.storage.logfile import opened
from hub.storage.sources import Sources

PIECE = 1024 * 1024
"""About how many bytes of logs are read at once."""

EVENTS = 16 * 1024
"""The same as a number: a line of a few bytes is a document of a hundred."""

GAP = 4096
"""Bytes between two runs of a log that are read rather than passed over."""

Row = tuple[int, int, int, int, int, int]
"""A run: position, log, revision, offset, count, size."""

_OFFSET = itemgetter(3)


class LogChanged(OSError):
    """The file of a log holds something else than the index knows of it: either is damaged."""


class Columns(Struct):
    """The same of many runs, in the order in which they are wanted.

    Where a run is a single event there is time for few steps of Python with each.
    """

    positions: Sequence[int]
    logs: list[int]
    offsets: list[int]
    counts: list[int]
    sizes: list[int]

    def rows(self, revisions: list[int]) -> list[Row]:
        """Run by run."""
        columns = (self.positions, self.logs, revisions, self.offsets, self.counts, self.sizes)
        return list(zip(*columns, strict=True))


class Queue:
    """Runs that were found, and are to be read."""

    def __init__(self, found: Columns) -> None:
        self._columns = astuple(found)
        self._next = 0
        # Up to each of them, and with it:
        self._bytes = list(accumulate(found.sizes))
        single = sum(found.counts) == len(found.counts)
        self._events: Sequence[int] = (
            range(1, len(found.counts) + 1) if single else list(accumulate(found.counts))
        )

    def __len__(self) -> int:
        return len(self._events) - self._next

    def take(self) -> Columns:
        """The next, as many as are good to read at once."""
        start = self._next
        events, size = (self._events[start - 1], self._bytes[start - 1]) if start else (0, 0)
        self._next = end = 1 + min(
            bisect_left(self._events, events + EVENTS, hi=len(self._events) - 1),
            bisect_left(self._bytes, size + PIECE, hi=len(self._bytes) - 1),
        )
        return Columns(*[column[start:end] for column in self._columns])


def text_of(runs: Columns, sources: Sources, *, backwards: bool = False) -> bytes | None:
    """The bytes of some runs, each line in their order, as many as there are events.

    None if they are not close together, or something is wrong with them: `texts_of` reads
    the former, and tells the latter. Raises `OSError`.
    """
    logs, offsets, sizes = runs.logs, runs.offsets, runs.sizes
    ends = map(add, offsets, sizes)
    if backwards:
        first, last = zip(logs, offsets), zip(reversed(logs), reversed(list(ends)))  # noqa: B905
    else:
        first, last = zip(reversed(logs), reversed(offsets)), zip(logs, ends)  # noqa: B905
    begins, closes = dict(first), dict(last)  # of each log, of which there may be thousands
    size, span = sum(sizes), sum(closes.values()) - sum(begins.values())
    if span > 2 * size or any(map(gt, begins.values(), map(closes.__getitem__, begins))):
        return None
    pieces: dict[int, bytes] = {}
    for log, start in begins.items():
        (pieces[log],) = _read(log, [(start, closes[log])], sources)
        if b"\0" in pieces[log]:
            return None
    count = sum(runs.counts)
    if span == size and count == len(sizes):
        texts = _next_lines(logs, pieces, backwards=backwards)
        if list(map(len, texts)) == sizes and all(each.endswith(b"\n") for each in pieces.values()):
            return b"".join(texts)
    places = list(map(sub, offsets, map(begins.__getitem__, logs)))
    if min(places) < 0:
        return None  # not in the log's order
    texts = [
        data[at : at + length]
        for data, at, length in zip(  # noqa: B905 - faster
            map(pieces.__getitem__, logs), places, sizes
        )
    ]
    if backwards and count > len(texts):
        texts = [reversed_lines(text) for text in texts]
    text = b"".join(texts)
    return text if len(text) == size and line_breaks(text) == count else None


def _next_lines(logs: list[int], pieces: dict[int, bytes], *, backwards: bool) -> list[bytes]:
    """The next line of each of these logs; they end before a log that has no more."""
    lines: dict[int, Iterator[bytes]] = {}
    for log, piece in pieces.items():
        each = io.BytesIO(piece).readlines()
        lines[log] = reversed(each) if backwards else iter(each)
    return list(map(next, map(lines.__getitem__, logs)))


def texts_of(rows: Sequence[Row], sources: Sources) -> list[bytes]:
    """The bytes of each run. Raises `OSError`, also if a page of them has been lost."""
    texts: dict[int, bytes] = {}  # by position
    for log in {row[1] for row in rows}:
        spans = list(_spans(sorted([row for row in rows if row[1] == log], key=_OFFSET)))
        places = [(span[0][3], max([row[3] + row[5] for row in span])) for span in spans]
        for span, (start, _), data in zip(spans, places, _read(log, places, sources), strict=True):
            for row in span:
                text = texts[row[0]] = data[row[3] - start : row[3] - start + row[5]]
                if b"\0" in text:  # no event holds it, yet a line cut short by a hole may look so
                    raise unreadable(row, sources, ValueError("there are NUL bytes"))
    return [texts[row[0]] for row in rows]


def _read(log: int, places: Sequence[tuple[int, int]], sources: Sources) -> Iterator[bytes]:
    with opened(sources.disk, sources.path(sources.numbered(log)), os.O_RDONLY) as fd:
        for start, end in places:
            data: bytes = sources.disk.pread(fd, end - start, start)
            if len(data) < end - start:
                raise OSError(f"the log with number {log} is shorter than its index knows")
            yield data


def _spans(own: list[Row]) -> Iterator[list[Row]]:
    """Runs of one log, in groups that lie close together."""
    span: list[Row] = []
    for row in own:
        gap = row[3] - span[-1][3] - span[-1][5] if span else 0
        if gap > GAP or (span and row[3] - span[0][3] > 2 * PIECE):  # mostly gaps, if so long
            yield span
            span = []
        span.append(row)
    yield span


def unreadable(row: Row, sources: Sources, error: Exception) -> LogChanged:
    """What is said of a log whose file was changed behind the hub's back."""
    path, first, last = sources.path(sources.numbered(row[1])), row[2], row[2] + row[4] - 1
    return LogChanged(f"{path} is damaged between lines {first} and {last}: {error}")
