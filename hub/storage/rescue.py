"""What an index that is thrown away still tells of the order between logs.

That stands nowhere else, and most damage is elsewhere in the file; so it is in an
index of another version. Owns what of it may be believed: all of it, if it is whole
in itself, else nothing, since positions that are right in part are of use to nobody.
Must not know why the index is thrown away.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from hub.storage.journal import Record
from hub.storage.soundness import RUN_CONTROL, checksum_of

RESCUED_BYTES = 16 * 1024 * 1024
"""Of an index, up to which its order is read: it is held in memory."""

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
