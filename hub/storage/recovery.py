"""Reads a log from some place to its end and tells what is sound, torn or damaged.

Owns the rules of recovery. It changes nothing: cutting is `logfile`'s, and who
is told is `store`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from hub.errors import InvalidEvent
from hub.event import IdOrder, Limits
from hub.formats import check_rows
from hub.storage.logfile import UNFINISHED, Disk, opened

PIECE = 1024 * 1024
"""Bytes read at a time."""

_LIMITS = Limits()


class Scan(Struct):
    """What stands in a log: up to `length` it is sound, with `version` events.

    `torn`: bytes behind it that no writer was promised: a line without LF, or
    a group of lines that was not finished. `damage`: why the line behind
    `length` is not an event, if it is neither of these. `zeroed`: NULs stand in
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
    disk: Disk, path: Path, found: Scan, progress: Callable[[int, int], None] | None = None
) -> Scan:
    """Go on from what was known in `found`, and return it filled in.

    `progress` is called with the bytes read and the bytes in all.
    """
    with opened(disk, path, os.O_RDONLY) as fd:
        size = disk.fstat(fd).st_size
        for chunk in _whole_lines(disk, fd, found.length, size):
            if not _take(found, chunk):
                break
            if progress:
                progress(found.length, size)
        if not found.damage and found.length < size:
            if _is_zeroed(disk, fd, found.length, size):
                found.damage = f"line {found.version + 1}: it begins with NULs"
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


def _take(found: Scan, chunk: bytes) -> bool:
    """Take in whole lines; return False at the first that is not an event."""
    if chunk.startswith(UNFINISHED):
        return False
    unfinished = chunk.find(b"\n" + UNFINISHED) + 1
    if unfinished:
        _take(found, chunk[:unfinished])
        return False
    try:
        rows = check_rows(chunk, _LIMITS, stored=True)
    except InvalidEvent as error:
        lines = chunk.split(b"\n")
        sound = (error.line or 1) - 1
        if sound:
            _take(found, b"\n".join(lines[:sound]) + b"\n")
        found.damage = f"line {found.version + 1}: {error.reason}"
        found.zeroed = UNFINISHED in lines[sound]
        return False
    found.length += len(chunk)
    found.version += len(rows)
    found.last_id = rows[-1][0].decode()
    found.order.extend([row[0] for row in rows])
    return True
