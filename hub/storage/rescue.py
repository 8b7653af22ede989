"""What an index that is thrown away still tells of the order between logs.

That stands nowhere else, and most damage is elsewhere in the file; so it is in an
index of another version. Owns what of it may be believed: all of it, if it is whole
in itself, else nothing, since positions that are right in part are of use to nobody.
Until another index has it, it is kept aside: whatever happens meanwhile, it is not lost.
Must not know why the index is thrown away.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from hub.storage.journal import Record
from hub.storage.soundness import RUN_CONTROL, checksum_of

RESCUED_BYTES = 16 * 1024 * 1024
"""Of an index, up to which its order is read: it is held in memory."""

ASIDE = "order-rescued"
"""The file beside the index in which its order is kept: JSON, and its CRC-32 before it."""

logger = logging.getLogger(__name__)


class Rescued(Struct):
    """Positions that were given: which event has which, and the last one."""

    records: list[Record]
    last: int = 0


def rescue(path: Path) -> Rescued:
    """What the index at `path` tells; nothing if it cannot be believed. Raises nothing."""
    try:
        if path.stat().st_size > RESCUED_BYTES:
            return Rescued([])
        db = sqlite3.connect(path, isolation_level=None)
        try:
            found = _read(db)
        finally:
            db.close()
        _check(found.records)
    except Exception as error:  # a damaged one fails in any way
        logger.warning("index %s: the order of events in it is lost: %s", path, error)
        return Rescued([])
    if found.records:
        logger.warning(
            "index %s: the order of events in it is kept, up to position %d", path, found.last
        )
    return found


def put_aside(directory: Path, order: Rescued) -> None:
    """Keep an order; on return it is on disk. Raises `OSError`."""
    path = directory / ASIDE
    text = msgspec.json.encode(order)
    new = path.with_suffix(".new")
    with open(new, "wb") as file:
        file.write(b"%08x\n%b" % (zlib.crc32(text), text))
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    _sync(directory)


def aside(directory: Path) -> Rescued | None:
    """What was put aside and is still needed. Raises nothing."""
    try:
        checksum, _, text = (directory / ASIDE).read_bytes().partition(b"\n")
        if checksum != b"%08x" % zlib.crc32(text):
            raise ValueError("it is torn or damaged")
        return msgspec.json.decode(text, type=Rescued)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s: the order in it is lost: %s", directory / ASIDE, error)
        return None


def drop_aside(directory: Path) -> None:
    """It is not needed any more. If it comes back all the same, it tells nothing new."""
    with suppress(OSError):
        (directory / ASIDE).unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(db: sqlite3.Connection) -> Rescued:
    """All runs and the last position. Raises whatever comes of damage."""
    names = {}
    for *fields, ordered, checksum in db.execute("SELECT * FROM logs NOT INDEXED"):
        number, name, *_ = fields
        if checksum_of((*fields, bool(ordered))) != checksum:
            raise ValueError(f"the row of {name!r} is damaged")
        names[number] = name
    # Before version 6 rows had no control.
    known = "control" in {name for _, name, *_ in db.execute("PRAGMA table_info(runs)")}
    sums = f"control, {RUN_CONTROL}" if known else "0, 0"
    rows = db.execute(
        f"SELECT position, log, revision, count, {sums} FROM runs NOT INDEXED "  # noqa: S608
        "ORDER BY position"
    )
    records = []
    for position, log, revision, count, control, real in rows:
        if control != real:
            raise ValueError(f"what is said of position {position} is damaged")
        records.append(Record(position, revision, count, names[log]))
    given, *control = db.execute("SELECT * FROM given").fetchone()
    if control not in ([], [3 * given]):
        raise ValueError("the last position that was given is not known")
    return Rescued(records, max([given, *(each.last for each in records[-1:])]))


def _check(records: Iterable[Record]) -> None:
    """Raise unless no position is given twice, and each log has its events from the first on."""
    position = 1
    revisions: dict[str, int] = {}
    for each in records:
        revision = revisions.get(each.log, 1)
        if each.position < position or each.revision != revision or each.count < 1:
            raise ValueError(f"what has position {each.position} is not told")
        position = each.last + 1
        revisions[each.log] = revision + each.count
