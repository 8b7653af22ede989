"""Sums beside what stands in the index: each number that is another is noticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.storage.derived import DerivedStreams
from hub.storage.index import Index
from hub.storage.schema import SCHEMA
from hub.storage.soundness import Part, check, check_head, faults, forget, sums_of
from tests.storage.test_derived import VIEWS
from tests.storage.world import World

GROUPS = [
    (name, [{"type": kind, "n": n, "tags": [f"t{n % 3}"]} for n in range(count)])
    for turn in range(4)
    for name, kind, count in (("log-a", "A", 2), ("log-b", "B", 3), ("cat/2", "A", turn + 1))
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Logs, their index and a derived stream."""
    world = World(tmp_path)
    for at in range(0, len(GROUPS), 2):
        world.add(GROUPS[at : at + 2])
    world.index.skip(5)
    derived = DerivedStreams(world.index)
    for head in (3, world.head):
        derived.follow("view", VIEWS["view"], head, world.sources)
    yield world
    world.close()


def parts(db: sqlite3.Connection) -> list[Part]:
    return [part for part, _ in faults(db)]


def test_what_was_written_is_sound(world: World) -> None:
    assert parts(world.index.db) == []
    assert list(check(world.index.db)) == []
    world.index.label("{}", [(7, 1), (2**55 + 9, 3)])
    first, second, *_ = world.index.runs()
    world.index.mend([second], [first], [(7, second.position), (8, second.position)])
    assert parts(world.index.db) == []
    world.index.forget([1])
    assert parts(world.index.db) == []


def test_a_new_index_is_sound(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    index.open()
    assert parts(index.db) == []
    index.close()


def test_a_total_is_the_same_however_it_is_taken(world: World) -> None:
    db = world.index.db
    postings = db.execute("SELECT term, position FROM postings").fetchall()
    assert dict(db.execute("SELECT position, terms FROM runs")) == sums_of(postings)
    assert max(term for term, _ in postings) > 2**50


COLUMNS = [
    *((Part.ORDER, "runs", name) for name in ("position", "log", "revision", "offset")),
    *((Part.ORDER, "runs", name) for name in ("count", "size", "checksum", "terms", "control")),
    *((Part.ORDER, "given", name) for name in ("position", "control")),
    *((Part.TERMS, "postings", name) for name in ("term", "position")),
    *((Part.DERIVED, "derived", name) for name in ("number", "version", "looked", "total")),
    (Part.DERIVED, "derived", "control"),
    *((Part.DERIVED, "members", name) for name in ("derived", "revision", "position")),
]


@pytest.mark.parametrize("bit", [0, 7, 8, 40])
@pytest.mark.parametrize(("part", "table", "column"), COLUMNS)
def test_each_number_that_is_another_is_noticed(
    world: World, part: Part, table: str, column: str, bit: int
) -> None:
    db = world.index.db
    names = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
    rows = db.execute(f"SELECT * FROM {table}").fetchall()
    row = dict(zip(names, rows[len(rows) // 2], strict=True))
    where = " AND ".join(f"{name} = :{name}" for name in names)
    changed = row[column] ^ 1 << bit
    db.execute("BEGIN")
    # Where another row has that key, it is gone, as it would be for whoever looks for it.
    db.execute(f"UPDATE OR REPLACE {table} SET {column} = {changed} WHERE {where}", row)
    assert part in parts(db)
    db.execute("ROLLBACK")
    assert parts(db) == []


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        (Part.ORDER, "DELETE FROM logs WHERE number = 2"),
        (Part.ORDER, "DELETE FROM given"),
        (Part.ORDER, "INSERT INTO given VALUES (0, 0)"),
        (Part.ORDER, "UPDATE runs SET offset = 'text' WHERE position = 1"),
        (Part.ORDER, "UPDATE given SET position = 'text', control = 0"),
        (Part.DERIVED, "UPDATE derived SET matcher = CAST(x'ff' AS TEXT)"),
        (Part.DERIVED, "UPDATE derived SET version = '', control = control - 3 * version"),
        (Part.ORDER, "DROP INDEX runs_by_log"),
        (Part.ORDER, "DROP TABLE members"),
        (Part.TERMS, "DELETE FROM labelled"),
        (Part.TERMS, "DELETE FROM postings WHERE position = 1"),
        (Part.DERIVED, "DELETE FROM members WHERE revision = 2"),
        (Part.DERIVED, "DELETE FROM members"),
        (Part.DERIVED, "DELETE FROM derived"),
    ],
)
def test_what_is_gone_or_too_much_is_noticed(world: World, part: Part, statement: str) -> None:
    db = world.index.db
    db.execute(statement)
    assert parts(db) == [part]
    if part is Part.ORDER:
        with pytest.raises(sqlite3.DatabaseError):
            list(check(db))
    else:
        assert [each for each, _ in check(db)] == [part]
        forget(db, part)
        assert list(check(db)) == []


def test_what_somebody_added_does_no_harm(world: World) -> None:
    world.index.db.execute("CREATE INDEX mine ON postings (position)")
    assert parts(world.index.db) == []


def test_a_page_that_is_none_is_noticed(world: World) -> None:
    world.index.close()
    path = world.index._path
    content = path.read_bytes()
    db = sqlite3.connect(path)
    (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'runs'").fetchone()
    path.write_bytes(content[: page * 4096 - 4096] + b"\xff" * 4096 + content[page * 4096 :])
    with pytest.raises(sqlite3.DatabaseError):
        list(check(db))
    db.close()


@pytest.mark.parametrize(("head", "sound"), [(b"\2\2", 1), (b"\1\1", 1), (b"\3\2", 0), (b"", 1)])
def test_a_file_of_a_later_sqlite_is_none(tmp_path: Path, head: bytes, sound: int) -> None:
    """SQLite would open it, but for reading only: there would be no index for ever."""
    path = tmp_path / "index.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(SCHEMA)
    db.close()
    content = path.read_bytes()
    path.write_bytes(content[:18] + head + content[20:] if head else b"")
    if sound:
        check_head(path)
    else:
        with pytest.raises(sqlite3.DatabaseError):
            check_head(path)
