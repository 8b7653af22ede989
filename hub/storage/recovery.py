"""Reads a log from some place to its end and tells what is sound, torn or damaged.

Owns the rules of recovery. It changes nothing: cutting is `logfile`'s, and who
is told is `store`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from hub.errors import InvalidEvent
from hub.event import IdOrder, Limits
from hub.formats import check_rows
from hub.storage.logfile import UNFINISHED, Disk, opened, read_pieces

PIECE = 1024 * 1024
"""Bytes read at a time."""

_LIMITS = Limits()


class Scan(Struct):
    """What stands in a log: up to `length` it is sound, with `version` events.

    `torn`: bytes behind it that no writer was promised. `group`: whether they
    are a group of lines that was not finished, not one torn line. `damage`:
    why the line behind `length` is not an event, if it is a whole line.
    """

    length: int
    version: int
    last_id: str
    order: IdOrder
    torn: int = 0
    group: bool = False
    damage: str | None = None


def scan(
    disk: Disk, path: Path, found: Scan, progress: Callable[[int, int], None] | None = None
) -> Scan:
    """Go on from what was known in `found`, and return it filled in.

    `progress` is called with the bytes read and the bytes in all.
    """
    rest: list[bytes] = []
    with opened(disk, path, os.O_RDONLY) as fd:
        size = disk.fstat(fd).st_size
        for piece in read_pieces(disk, fd, found.length, size, PIECE):
            end = piece.rfind(b"\n") + 1
            if not end:
                rest.append(piece)
                continue
            rest.append(piece[:end])
            if not _take(found, b"".join(rest)):
                break
            rest = [piece[end:]]
            if progress:
                progress(found.length, size)
        else:
            found.group = b"".join(rest[:1]).startswith(UNFINISHED)
    if not found.damage:
        found.torn = size - found.length
    return found


def _take(found: Scan, chunk: bytes) -> bool:
    """Take in whole lines; return False at the first that is not an event."""
    unfinished = 0 if chunk.startswith(UNFINISHED) else chunk.find(b"\n" + UNFINISHED) + 1
    if unfinished or chunk.startswith(UNFINISHED):
        _take(found, chunk[:unfinished])
        found.group = not found.damage
        return False
    if not chunk:
        return True
    try:
        rows = check_rows(chunk, _LIMITS, stored=True)
    except InvalidEvent as error:
        at = error.line or 1
        sound = b"\n".join(chunk.split(b"\n")[: at - 1])
        if sound:
            _take(found, sound + b"\n")
        found.damage = f"line {found.version + 1}: {error.reason}"
        return False
    found.length += len(chunk)
    found.version += len(rows)
    found.last_id = rows[-1][0].decode()
    found.order.extend([row[0] for row in rows])
    return True
