"""The index is a cache: whatever befalls it, it says nothing that is not true."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hub.storage import index
from hub.storage.index import SELECT_RUNS, Additions, Entry, Index, Run, is_damage
from hub.storage.soundness import check


def entry(number: int = 1, **changes: object) -> Entry:
    fields: dict[str, object] = {
        "number": number + 1,
        "name": f"channel-{number}",
        "format": "tsv",
        "length": 100 * number,
        "modified": 10**18 + number,
        "version": number,
        "last_id": f"2026-11-20T11:40:10.{number:06}Z",
        "clock": 1_800_000_000_000_000 + number,
        "ordered": True,
    }
    return Entry(**(fields | changes))  # type: ignore[arg-type]


ENTRIES = [entry(n) for n in range(50)]
RUNS = [
    Run(1, 7, 1, 0, 3, 30, 11),
    Run(4, 8, 1, 0, 1, 10, 12),
    Run(5, 7, 4, 30, 2, 20, 13),
    Run(7, 8, 2, 10, 5, 50, 14),
]
"""Runs of two logs, in the order of their positions."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "index.sqlite"
    written = Index(path)
    assert written.open() == []
    written.save(ENTRIES)
    written.close()
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[Index]:
    opened = Index(path)
    opened.open()
    yield opened
    opened.close()


def rows(path: Path) -> list[Entry]:
    opened = Index(path)
    found = opened.open()
    opened.close()
    return sorted(found, key=lambda each: each.version)


def runs_of(opened: Index) -> list[Run]:
    found = opened.db.execute(f"{SELECT_RUNS} ORDER BY position").fetchall()
    return [Run(*row) for row in found]


def postings_of(opened: Index) -> set[tuple[int, int]]:
    return set(opened.db.execute("SELECT * FROM postings"))


def add(opened: Index, runs: list[Run], *, sync: bool = False) -> None:
    opened.add(Additions([], None, runs, []), sync=sync)


# Rows


def test_rows_come_back(path: Path) -> None:
    assert rows(path) == ENTRIES


def test_rows_are_replaced(path: Path, opened: Index) -> None:
    opened.save([entry(1, length=7, ordered=False)])
    opened.close()
    assert rows(path) == [ENTRIES[0], entry(1, length=7, ordered=False), *ENTRIES[2:]]


def test_rows_survive_a_process_that_ends_without_closing(path: Path, opened: Index) -> None:
    opened.save([entry(60)])
    copy = path.with_name("copy.sqlite")
    for suffix in ("", "-wal"):  # as a crash leaves them
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    assert rows(copy) == [*ENTRIES, entry(60)]


def test_a_failed_save_changes_nothing_and_the_next_works(
    path: Path, opened: Index, caplog: pytest.LogCaptureFixture
) -> None:
    opened.save([entry(60), entry(61, name=None)])
    assert "could not be saved; no log is affected" in caplog.text
    opened.save([entry(62)])
    opened.close()
    assert rows(path) == [*ENTRIES, entry(62)]


def test_nothing_is_saved_to_a_closed_index(path: Path) -> None:
    closed = Index(path)
    closed.save([entry(60)])
    closed.close()
    assert rows(path) == ENTRIES
    for work in (lambda: closed.db, closed.reader, closed.head, lambda: add(closed, RUNS)):
        with pytest.raises(sqlite3.OperationalError, match="not open") as error:
            work()
        assert not is_damage(error.value)


# Runs


def test_runs_grow_and_come_back(opened: Index) -> None:
    assert (opened.last_run(), opened.head(), opened.covered(7)) == (None, 0, (0, 0))
    opened.add(Additions([entry(60)], None, RUNS[:3], [(1, 1), (2, 1), (1, 5)]), sync=True)
    assert (opened.last_run(), opened.head()) == (RUNS[2], 6)
    assert (opened.covered(7), opened.covered(8), opened.covered(9)) == ((5, 50), (1, 10), (0, 0))
    grown = Run(5, 7, 4, 30, 9, 90, 99)
    opened.add(Additions([], grown, [], [(1, 5), (3, 5)]), sync=False)
    assert runs_of(opened) == [*RUNS[:2], grown]
    assert opened.head() == grown.last == 13
    assert postings_of(opened) == {(1, 1), (2, 1), (1, 5), (3, 5)}


def test_what_is_added_is_there_whole_or_not_at_all(opened: Index) -> None:
    add(opened, RUNS[:2])
    twice = Additions([entry(60)], Run(4, 8, 1, 0, 2, 20, 1), [RUNS[2], RUNS[1]], [(5, 5)])
    with pytest.raises(sqlite3.IntegrityError):
        opened.add(twice, sync=True)
    assert runs_of(opened) == RUNS[:2]
    assert postings_of(opened) == set()
    assert len(opened.db.execute("SELECT * FROM logs").fetchall()) == len(ENTRIES)
    add(opened, RUNS[2:])
    assert runs_of(opened) == RUNS


def test_a_transaction_whose_end_fails_is_none(opened: Index) -> None:
    opened.db.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    opened.db.execute(
        "CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    opened.db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError), opened.transaction() as db:  # noqa: PT012
        db.execute("INSERT INTO runs VALUES (1,1,1,1,1,1,1,0,57)")
        db.execute("INSERT INTO child VALUES (1)")  # found out at the COMMIT
    assert runs_of(opened) == []
    add(opened, RUNS)
    assert runs_of(opened) == RUNS


@pytest.mark.parametrize("sync", [True, False])
def test_each_transaction_is_synced_as_was_asked(opened: Index, sync: bool) -> None:
    for each in (not sync, sync, sync):
        opened.add(Additions([], None, [], []), sync=each)
    (level,) = opened.db.execute("PRAGMA synchronous").fetchone()
    assert level == (2 if sync else 1)


def test_after_reopening_it_is_synced_again(opened: Index) -> None:
    add(opened, RUNS[:1], sync=True)
    opened.close()
    opened.open()
    add(opened, RUNS[1:], sync=True)
    assert opened.db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_runs_beyond_an_offset(opened: Index) -> None:
    add(opened, RUNS)
    assert opened.beyond(7, 0) == [RUNS[0], RUNS[2]]
    assert opened.beyond(7, 29) == [RUNS[0], RUNS[2]]
    assert opened.beyond(7, 30) == [RUNS[2]]
    assert opened.beyond(7, 50) == []


def follow_something(opened: Index) -> None:
    with opened.transaction() as db:
        db.execute("INSERT INTO derived VALUES (1,'view','{}',2,11,11,139,'{}')")
        db.execute("INSERT INTO members VALUES (1,1,4),(1,2,7)")


def followed(opened: Index) -> int:
    found = opened.db.execute("SELECT (SELECT count(*) FROM derived) + count(*) FROM members")
    (count,) = found.fetchone()
    return int(count)


def test_runs_are_mended_and_no_position_is_given_twice(opened: Index) -> None:
    add(opened, RUNS)
    follow_something(opened)
    moved = Run(5, 7, 4, 33, 1, 9, 77)
    opened.mend([moved], [RUNS[3]], [(6, 5)])
    assert runs_of(opened) == [RUNS[0], RUNS[1], moved]
    assert postings_of(opened) == {(6, 5)}
    assert opened.head() == RUNS[3].last == 11
    assert followed(opened) == 0  # they are followed anew
    add(opened, [Run(12, 8, 2, 10, 1, 5, 5)])
    assert opened.head() == 12


def test_logs_are_forgotten_and_no_position_is_given_twice(path: Path, opened: Index) -> None:
    add(opened, RUNS)
    follow_something(opened)
    opened.forget([])
    assert followed(opened) == 3
    opened.forget([8, 9])
    assert runs_of(opened) == [RUNS[0], RUNS[2]]
    assert (opened.head(), followed(opened)) == (11, 0)
    opened.close()
    assert rows(path) == [each for each in ENTRIES if each.number not in (8, 9)]
    opened.open()
    assert opened.head() == 11


def test_what_was_given_never_goes_back(opened: Index) -> None:
    opened.add(Additions([], None, [], [], given=20), sync=True)
    assert opened.head() == 20
    opened.add(Additions([], None, RUNS, [], given=15), sync=True)
    assert opened.head() == 20


def test_readers_see_what_is_committed_and_write_nothing(opened: Index) -> None:
    reader = opened.reader()
    with opened.transaction() as db:
        db.execute("INSERT INTO postings VALUES (1,1)")
        assert reader.execute("SELECT * FROM postings").fetchall() == []
    assert reader.execute("SELECT * FROM postings").fetchall() == [(1, 1)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM postings")
    reader.close()


def test_who_does_not_wait_is_told_at_once_that_somebody_else_writes(
    path: Path, opened: Index
) -> None:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="locked") as busy:
        opened.add(Additions([], None, RUNS[:1], []), sync=False, wait=False)
    assert time.monotonic() - began < 2
    assert not is_damage(busy.value)
    threading.Timer(0.1, other.close).start()
    add(opened, RUNS[:2])  # this one waits
    assert runs_of(opened) == RUNS[:2]


# The write-ahead log


def test_a_long_log_is_brought_into_the_index(
    opened: Index, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "LONG_BYTES", 500_000)
    wal = path.with_name(path.name + "-wal")
    number = 0
    while not opened.is_long():
        assert number < 5000
        postings = [(zlib.crc32(b"%d" % n), n) for n in range(number, number + 100)]
        opened.add(Additions([], None, [], postings), sync=False)
        number += 100
    assert wal.stat().st_size > 500_000
    reader = opened.reader()
    reader.execute("BEGIN")
    (count,) = reader.execute("SELECT count(*) FROM postings").fetchone()
    add(opened, RUNS)
    began = time.monotonic()
    assert not opened.checkpoint()  # a reader needs the log: nobody waits for that
    assert time.monotonic() - began < 2
    assert opened.is_long()
    assert reader.execute("SELECT count(*) FROM postings").fetchone() == (count,)
    threading.Timer(0.2, reader.execute, ["COMMIT"]).start()
    assert opened.checkpoint(wait=True)
    assert not opened.is_long()
    assert opened.checkpoint()
    reader.close()
    assert runs_of(opened) == RUNS


def test_a_commit_makes_no_checkpoint(opened: Index) -> None:
    assert opened.db.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


# Damage


def test_another_version_is_rebuilt_and_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert rows(path) == []
    assert "it has version 99" in caplog.text
    assert "rebuilt from the logs" in caplog.text
    opened = Index(path)
    opened.open()
    opened.save(ENTRIES)
    opened.close()
    assert rows(path) == ENTRIES


def test_a_file_that_is_no_index_is_rebuilt(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for content in (b"not a database" * 100, b"", path.read_bytes()[:5000]):
        path.write_bytes(content)
        assert set(rows(path)) <= set(ENTRIES)
    assert "rebuilt from the logs" in caplog.text


@pytest.mark.parametrize("table", ["logs", "runs", "given", "members"])
def test_an_index_that_lacks_a_table_is_rebuilt(
    path: Path, table: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"DROP TABLE {table}")
    db.close()
    opened = Index(path)
    if table == "members":  # in an index too long to be checked: found out when it is needed
        monkeypatch.setattr(index, "CHECKED_BYTES", 0)
        assert opened.open() == ENTRIES
        with pytest.raises(sqlite3.OperationalError) as found:
            opened.forget([1])
        assert is_damage(found.value)
        opened.condemn()
        opened.close()
    assert opened.open() == []
    assert "rebuilt from the logs" in caplog.text
    opened.forget([1])
    opened.close()


@pytest.mark.parametrize("damage", [b"\xff", b"\x00", b"0", bytes(range(64))], ids=repr)
def test_damage_at_any_place_makes_no_false_row(path: Path, damage: bytes) -> None:
    sound = path.read_bytes()
    for at in range(0, len(sound), 61):
        path.write_bytes(sound[:at] + damage + sound[at + len(damage) :])
        assert set(rows(path)) <= set(ENTRIES), at
        for each in path.parent.glob("index.sqlite*"):
            each.unlink()


def test_a_row_that_was_changed_is_found(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE logs SET version = version + 1 WHERE name = 'channel-3'")
    db.close()
    assert rows(path) == []
    assert "the row of 'channel-3' is damaged" in caplog.text


@pytest.mark.parametrize(
    ("statement", "told", "kept"),
    [
        ("UPDATE runs SET size = size + 1 WHERE position = 4", "rebuilt from the logs", 0),
        ("UPDATE given SET position = 4", "rebuilt from the logs", 0),
        ("UPDATE postings SET term = 5 WHERE term = 2", "the types and tags are found anew", 4),
        ("UPDATE labelled SET keys = 'x'", "the types and tags are found anew", 4),
        ("UPDATE derived SET looked = 9", "the derived streams are found anew", 4),
        ("DELETE FROM members WHERE revision = 1", "the derived streams are found anew", 4),
    ],
)
def test_a_number_that_was_changed_is_found(
    path: Path, statement: str, told: str, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What can be told from the logs is forgotten, and the order of events stays."""
    opened = Index(path)
    opened.open()
    opened.add(Additions([entry(6), entry(7)], None, RUNS, [(1, 1), (2, 1)]), sync=False)
    opened.label("[]", [(1, 1), (2, 1)])
    follow_something(opened)
    opened.close()
    with sqlite3.connect(path) as db:
        assert db.execute(statement).rowcount
    db.close()
    opened.open()
    assert told in caplog.text
    assert len(runs_of(opened)) == kept
    if kept:
        terms = "types" in told
        assert (opened.labelled() == "") == terms
        assert postings_of(opened) == (set() if terms else {(1, 1), (2, 1)})
        assert followed(opened) == (3 if terms else 0)
    assert list(check(opened.db)) == []
    opened.close()
    caplog.clear()
    opened.open()
    assert not caplog.text
    opened.close()


def test_what_is_thrown_away_tells_its_order_first(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Index(path)
    opened.open()
    assert opened.rescued is None
    opened.add(Additions([entry(6), entry(7)], None, RUNS, []), sync=False)
    opened.close()
    for wanted in (4, 0):  # the second time it is one without any order
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 5")
        db.close()
        assert opened.open() == []
        assert opened.rescued
        assert len(opened.rescued.records) == wanted
        opened.settle_rescued()
        opened.close()
    assert [each.levelname for each in caplog.records if "its log" in each.message] == []


def test_an_index_that_is_too_long_to_be_checked_can_be_condemned(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index, "CHECKED_BYTES", 0)
    opened = Index(path)
    assert len(opened.open()) == len(ENTRIES)
    opened.condemn()
    opened.close()
    assert rows(path) == []
    assert "damage was found in it" in caplog.text
    opened.open()
    opened.save(ENTRIES)
    opened.close()
    assert rows(path) == ENTRIES  # a new one is sound


def test_an_index_that_cannot_be_used_just_now_is_not_thrown_away(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order between logs stands nowhere else."""
    sound = path.read_bytes()
    directory = path.parent
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    opened = Index(path)
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0))
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        opened.open()
    other.close()
    assert not opened.is_open
    os.rename(directory, f"{directory}-moved")
    with pytest.raises((sqlite3.OperationalError, OSError)):
        opened.open()
    assert not opened.is_open
    os.rename(f"{directory}-moved", directory)
    assert path.read_bytes() == sound
    assert rows(path) == ENTRIES


def _error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("…")
    error.sqlite_errorcode = code
    return error


def test_an_index_that_can_only_be_read_is_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite opens a file for reading when for once it cannot for writing; commits need both."""
    connect = sqlite3.connect

    def read_only(path: Path, **how: bool) -> sqlite3.Connection:
        return connect(f"file:{path}?mode=ro", uri=True, **how)  # type: ignore[call-overload,no-any-return]

    again = Index(path)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", read_only)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            again.open()
    assert not again.is_open
    assert again.open() == ENTRIES
    again.close()


def test_what_is_damage() -> None:
    assert not any(map(is_damage, [OSError(28, "full"), ValueError(), _error(sqlite3.SQLITE_FULL)]))
    for code in (
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY_SNAPSHOT,
        sqlite3.SQLITE_READONLY,
    ):
        assert not is_damage(_error(code))
    assert all(
        map(
            is_damage,
            [
                _error(sqlite3.SQLITE_ERROR),
                sqlite3.OperationalError("Could not decode to UTF-8"),
                sqlite3.DatabaseError("malformed"),
                sqlite3.IntegrityError("UNIQUE"),
                UnicodeDecodeError("utf-8", b"", 0, 1, "of SQLite's message"),
            ],
        )
    )
