"""Goes through a log by its lines: forwards, backwards, counting them.

Owns how the bytes of a log are read in blocks of whole lines. Must not know
what stands in a line. All functions block and take the *end* up to which the
log is committed; places given and returned are starts of lines, or that end.
They raise `OSError` when the file cannot be read up to there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from hub.lines import line_breaks
from hub.storage.logfile import Disk, opened

BLOCK = 256 * 1024
"""Bytes read at a time when going through a log."""

PROBE = 4096
"""Bytes read at a time when looking for the start of one line."""


class Walk:
    """An open log up to its committed end; close it by `with opened(...)` around it."""

    def __init__(self, disk: Disk, fd: int, end: int) -> None:
        self._disk = disk
        self._fd = fd
        self.end = end

    def read(self, start: int, end: int) -> bytes:
        """The bytes between two places, or up to the end."""
        size = max(0, min(end, self.end) - start)
        data = self._disk.pread(self._fd, size, start)
        if len(data) < size:  # going on would never come to an end
            raise OSError(errno.EIO, "the file is shorter than what was written to it")
        return data

    def blocks(self, start: int, size: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The log from `start` on as blocks of whole lines."""
        while start < self.end:
            most = BLOCK if size is None else size
            block = b""
            while not block:
                piece = self.read(start, min(start + most, self.end))
                block = piece[: piece.rfind(b"\n") + 1]
                if not block and len(piece) < most:
                    raise OSError(errno.EIO, "the file does not end with a line break")
                most *= 2
            yield start, block
            start += len(block)

    def blocks_before(
        self, start: int, end: int, size: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """The log from `start` to `end` as blocks of whole lines, the last block first.

        If that has a `size`, the others are larger and larger.
        """
        size = BLOCK if size is None else size
        while start < end:
            first = 0
            while not first:
                low = max(start, end - size)
                block = self.read(low, end)
                if low == start:
                    break
                first = block.find(b"\n", 0, len(block) - 1) + 1
                size *= 2
            size = min(size, BLOCK)
            end = low + first
            yield end, block[first:]

    def backwards(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Each line with its LF and its place, the last one first, which is found soon."""
        for at, block in self.blocks_before(start, end, min(PROBE, BLOCK)):
            place = at + len(block)
            for line in reversed(block.split(b"\n")[:-1]):
                place -= len(line) + 1
                yield place, line + b"\n"

    def line(self, start: int) -> bytes:
        """The bytes from `start` to the end of the line, with its LF."""
        parts: list[bytes] = []
        size = PROBE
        while start < self.end:
            piece = self.read(start, min(start + size, self.end))
            found = piece.find(b"\n")
            if found >= 0:
                parts.append(piece[: found + 1])
                break
            parts.append(piece)
            start += len(piece)
            size = BLOCK
        return b"".join(parts)

    def line_end(self, start: int) -> int:
        """The place right behind the line that begins at `start`."""
        return start + len(self.line(start))

    def skip(self, lines: int, start: int) -> int:
        """The place behind so many lines from `start` on."""
        while lines > 0 and start < self.end:
            block = self.read(start, min(start + BLOCK, self.end))
            here = line_breaks(block)
            if here >= lines:
                return start + _behind(block, lines)
            lines -= here
            start += len(block)
        return start

    def count(self, start: int, end: int) -> int:
        """How many lines stand between two places."""
        return sum(
            line_breaks(self.read(at, min(at + BLOCK, end))) for at in range(start, end, BLOCK)
        )

    def last_lines(self, count: int, start: int) -> int:
        """Where the last `count` lines from `start` on begin."""
        end = self.end
        count += 1  # the LF before the first of them
        while start < end:
            low = max(start, end - BLOCK)
            block = self.read(low, end)
            lines = line_breaks(block)
            if lines >= count:
                at = len(block)
                for _ in range(count):
                    at = block.rfind(b"\n", 0, at)
                return low + at + 1
            count -= lines
            end = low
        return start


def _behind(block: bytes, lines: int) -> int:
    """The place behind so many lines of a block that has them, by halving."""
    low, high = 0, len(block)
    while high - low > 1:
        middle = (low + high) // 2
        here = block.count(b"\n", low, middle)
        if here >= lines:
            high = middle
        else:
            low = middle
            lines -= here
    return high


def block(disk: Disk, path: Path, start: int, end: int, size: int = BLOCK) -> bytes:
    """The next whole lines from `start` on: as many as fit into `size` bytes, or one."""
    with opened(disk, path, os.O_RDONLY) as fd:
        return next(Walk(disk, fd, end).blocks(start, size), (start, b""))[1]


def block_before(disk: Disk, path: Path, start: int, end: int) -> bytes:
    """The last whole lines before `end`, not before `start`, as they stand; as many as `block`."""
    with opened(disk, path, os.O_RDONLY) as fd:
        return next(Walk(disk, fd, end).blocks_before(start, end), (start, b""))[1]


def count(disk: Disk, path: Path, start: int, end: int) -> int:
    """How many lines stand between two places."""
    with opened(disk, path, os.O_RDONLY) as fd:
        return Walk(disk, fd, end).count(start, end)


def skip(disk: Disk, path: Path, start: int, lines: int, end: int) -> int:
    """The place behind so many lines from `start` on, or the end if there are fewer."""
    if not lines:
        return start
    with opened(disk, path, os.O_RDONLY) as fd:
        return Walk(disk, fd, end).skip(lines, start)
