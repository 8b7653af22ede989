"""Whether the index is what was written: by sums that it keeps beside its rows.

SQLite notices a page that is none, not a number that is another. Therefore rows
have a `control`, the sum of their columns with a factor each, and tables whose
rows are many have a total, written in the same transaction: so no crash, and no
copy, makes a sound index look damaged. Owns these sums, and what is held against
them; `index` decides what becomes of an index that is not sound. Must not know logs.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cache
from pathlib import Path

from hub.storage.schema import SCHEMA

_NUMBERS = "position + 3 * log + 5 * revision + 7 * offset + 11 * count + 13 * size + 17 * checksum"
RUN_CONTROL = f"{_NUMBERS} + 19 * terms"
PUT_RUN = (
    "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
    "?1 + 3 * ?2 + 5 * ?3 + 7 * ?4 + 11 * ?5 + 13 * ?6 + 17 * ?7 + 19 * ?8)"
)
GROW_RUN = (
    "UPDATE runs SET count = ?1, size = ?2, checksum = ?3, terms = terms + ?4, "
    "control = position + 3 * log + 5 * revision + 7 * offset + 11 * ?1 + 13 * ?2 + 17 * ?3 "
    "+ 19 * (terms + ?4) WHERE position = ?5"
)
_PUT_SUM = f"UPDATE runs SET terms = ?1, control = {_NUMBERS} + 19 * ?1 WHERE position = ?2"  # noqa: S608
GIVE = "UPDATE given SET position = max(position, ?1), control = 3 * max(position, ?1)"
PUT_DERIVED = (
    "INSERT OR REPLACE INTO derived VALUES "
    "(?1, ?2, ?3, ?4, ?5, ?6, ?1 + 3 * ?4 + 5 * ?5 + 7 * ?6, ?3)"
)
_FORMATS = frozenset((1, 2))  # with a journal, with a write-ahead log

_PRIME = 2**31 - 1  # a term is longer: what is left of it still tells of each bit
_WEIGHT = f"term % {_PRIME} + 3 * position"


class Part(Enum):
    """What of an index can be told from the logs: all but the first, which it alone has."""

    ORDER = "the order of events"
    TERMS = "the types and tags"
    DERIVED = "the derived streams"


_TABLES = {
    "logs": Part.ORDER,
    "postings": Part.TERMS,
    "derived": Part.DERIVED,
    "members": Part.DERIVED,
}
"""What SQLite holds against its index, or its order; of runs that would take ten times as long."""

_CHECKS = (
    (
        Part.ORDER,
        "a run of events has other numbers than were written",
        f"SELECT 1 FROM runs WHERE control IS NOT {RUN_CONTROL} "  # noqa: S608
        "OR typeof(offset) || typeof(checksum) != 'integerinteger'",  # a text may count as 0
    ),
    (
        Part.ORDER,
        "it has events of a log that it does not know",
        "SELECT 1 FROM (SELECT DISTINCT log FROM runs) WHERE log NOT IN (SELECT number FROM logs)",
    ),
    (
        Part.ORDER,
        "the last position that was given is another than was written",
        "SELECT 1 FROM (SELECT count(*) AS rows, sum(control IS 3 * position "
        "AND typeof(position) = 'integer') AS sound FROM given) WHERE rows != 1 OR sound != 1",
    ),
    *(
        (
            Part.ORDER,
            f"{index} is not that of the events",
            f"SELECT 1 WHERE (SELECT sum({weight}) FROM runs INDEXED BY {index}) "  # noqa: S608
            f"IS NOT (SELECT sum({weight}) FROM runs NOT INDEXED)",
        )
        for index, weight in {
            "runs_by_revision": "log + 3 * revision + 5 * position",
            "runs_by_log": "log + 3 * position",
        }.items()
    ),
    (
        Part.TERMS,
        "it is not known how they were found",
        "SELECT 1 WHERE (SELECT count(*) FROM labelled WHERE keys IS again) != 1",
    ),
    (
        Part.TERMS,
        "they are others than were written",
        # The second, slow one is for an index with postings of runs that are gone.
        f"SELECT 1 WHERE (SELECT sum(terms) FROM runs) IS NOT (SELECT sum({_WEIGHT}) "  # noqa: S608
        "FROM postings) AND (SELECT coalesce(sum(terms), 0) FROM runs) IS NOT "
        "(SELECT coalesce(sum(terms), 0) FROM (SELECT position AS at, "
        f"sum({_WEIGHT}) AS terms FROM postings GROUP BY position) "
        "WHERE EXISTS (SELECT 1 FROM runs WHERE position = at))",
    ),
    (
        Part.DERIVED,
        "one has another state than was written",
        "SELECT 1 FROM derived WHERE control IS NOT number + 3 * version + 5 * looked + 7 * total "
        "OR typeof(version) || typeof(looked) || typeof(total) != 'integerintegerinteger' "
        "OR matcher IS NOT again",
    ),
    (
        Part.DERIVED,
        "one has other events than were written",
        "SELECT 1 FROM derived LEFT JOIN (SELECT derived, count(*) AS events, "
        "max(revision) AS last, sum(revision) AS revisions, sum(position) AS positions "
        "FROM members GROUP BY derived) ON derived = number "
        "WHERE coalesce(events, 0) != version OR coalesce(last, 0) != version "
        "OR coalesce(revisions, 0) != version * (version + 1) / 2 "
        "OR coalesce(positions, 0) != total",
    ),
    (
        Part.DERIVED,
        "there are events of one that is none",
        "SELECT 1 FROM members WHERE derived NOT IN (SELECT number FROM derived)",
    ),
)

_FORGET = {
    Part.TERMS: (
        "DELETE FROM postings",
        "DELETE FROM labelled",
        "INSERT INTO labelled VALUES ('', '')",
        f"UPDATE runs SET terms = 0, control = {_NUMBERS}",  # noqa: S608
    ),
    Part.DERIVED: ("DELETE FROM members", "DELETE FROM derived"),
}


def checksum_of(row: tuple[object, ...]) -> int:
    """The checksum of the row of a log."""
    return zlib.crc32(repr(row).encode())


def sums_of(postings: Iterable[tuple[int, int]]) -> dict[int, int]:
    """What postings add to the sum of their run, by its position."""
    sums: dict[int, int] = {}
    for term, position in postings:
        sums[position] = sums.get(position, 0) + term % _PRIME + 3 * position
    return sums


def sum_anew(db: sqlite3.Connection, runs: Iterable[int] | None = None) -> None:
    """Write the sums of the postings of all runs, or of those at some positions. Reads all."""
    wanted = None if runs is None else frozenset(runs)
    found = db.execute(f"SELECT position, sum({_WEIGHT}) FROM postings GROUP BY position")  # noqa: S608
    sums = [(each, at) for at, each in found if wanted is None or at in wanted]
    if wanted is None:
        db.execute(f"UPDATE runs SET terms = 0, control = {_NUMBERS}")  # noqa: S608
    db.executemany(_PUT_SUM, sums)


def check_head(path: Path) -> None:
    """Raise `sqlite3.DatabaseError` if SQLite would take a file for one of a later SQLite.

    It would only read it, as it does with one that must not be written to just now.
    """
    with open(path, "rb") as file:
        if not _FORMATS.issuperset(file.read(20)[18:]):
            raise sqlite3.DatabaseError("its format is none that SQLite writes")


def check(db: sqlite3.Connection) -> Iterator[tuple[Part, str]]:
    """Which parts are to be forgotten, and why. Reads all.

    Raises `sqlite3.Error` if the order of events, or the file, is not what was written.
    """
    (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        raise sqlite3.DatabaseError(state.replace("\n", " "))
    for part, reason in faults(db):
        if part is Part.ORDER:
            raise sqlite3.DatabaseError(reason)
        yield part, reason


def faults(db: sqlite3.Connection) -> Iterator[tuple[Part, str]]:
    """Which parts are not what was written, and why. Reads all; raises `sqlite3.Error`."""
    try:
        check_tables(db)
    except sqlite3.DatabaseError as error:
        yield Part.ORDER, str(error)
        return
    unsound: set[Part] = set()
    for table, part in _TABLES.items():
        (state,) = db.execute(f"PRAGMA integrity_check({table})").fetchone()
        if state != "ok" and part not in unsound:
            unsound.add(part)
            yield part, state.replace("\n", " ")
    for part, reason, query in _CHECKS:
        if part not in unsound and db.execute(f"{query} LIMIT 1").fetchone():
            unsound.add(part)
            yield part, reason


def check_tables(db: sqlite3.Connection) -> None:
    """Raise `sqlite3.DatabaseError` unless each table and index is as it was made."""
    tables = _tables_of(db)
    for name, text in _made():
        if tables.get(name) != text:
            how = "made in another way" if name in tables else "not there"
            raise sqlite3.DatabaseError(f"{name} is {how}")


@cache
def _made() -> list[tuple[str, str | None]]:
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(SCHEMA)
        return sorted(_tables_of(db).items())
    finally:
        db.close()


def _tables_of(db: sqlite3.Connection) -> dict[str, str | None]:
    """How each table and index was made, by its name."""
    return dict(db.execute("SELECT name, sql FROM sqlite_master"))


def forget(db: sqlite3.Connection, part: Part) -> None:
    """Forget a part that can be made anew, in a transaction."""
    for statement in _FORGET[part]:
        db.execute(statement)
