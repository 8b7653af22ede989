"""What is kept of the order in an index that is thrown away: all of it or nothing."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hub.storage import rescue as module
from hub.storage.index import Additions, Index, Run
from hub.storage.journal import Record
from hub.storage.rescue import ASIDE, Rescued, aside, drop_aside, put_aside, rescue
from tests.storage.test_index import entry

RUNS = [
    Run(1, 7, 1, 0, 3, 30, 11),
    Run(4, 8, 1, 0, 1, 10, 12),
    Run(5, 7, 4, 30, 2, 20, 13),
    Run(9, 8, 2, 10, 5, 50, 14),  # behind a gap
]
ORDER = Rescued(
    [
        Record(1, 1, 3, "log-a"),
        Record(4, 1, 1, "log-b"),
        Record(5, 4, 2, "log-a"),
        Record(9, 2, 5, "log-b"),
    ],
    20,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An index, and 20 positions that were given."""
    path = tmp_path / "index.sqlite"
    index = Index(path)
    index.open()
    logs = [entry(6, name="log-a"), entry(7, name="log-b", format="ndjson")]
    index.add(Additions(logs, None, RUNS, [(1, 1)], 20), sync=False)
    index.close()
    return path


def do(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for each in statements:
            assert db.execute(each).rowcount


def test_the_order_is_kept(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert rescue(path) == ORDER
    assert "the order of events in it is kept, up to position 20" in caplog.text


def test_it_is_kept_whatever_else_is_damaged(path: Path) -> None:
    do(path, "UPDATE postings SET term = 0", "UPDATE labelled SET keys = '['", "DROP TABLE derived")
    db = sqlite3.connect(path)
    roots = dict(db.execute("SELECT name, rootpage FROM sqlite_master"))
    db.close()
    content = bytearray(path.read_bytes())
    for name in ("postings", "runs_by_log", "runs_by_revision", "members"):
        content[roots[name] * 4096 - 4096 : roots[name] * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    assert rescue(path) == ORDER


def test_it_is_kept_of_an_index_before_rows_had_sums(path: Path) -> None:
    """As version 5 made them."""
    columns = "position, log, revision, offset, count, size, checksum"
    do(
        path,
        f"CREATE TABLE old AS SELECT {columns} FROM runs",
        "DROP TABLE runs",
        "ALTER TABLE old RENAME TO runs",
        "ALTER TABLE given DROP COLUMN control",
    )
    assert rescue(path) == ORDER
    do(path, "UPDATE runs SET revision = 3 WHERE position = 5")
    assert rescue(path) == Rescued([])


@pytest.mark.parametrize(
    "statement",
    [
        *(
            f"UPDATE runs SET {name} = {name} + 1 WHERE position = 5"
            for name in ("position", "log", "revision", "offset", "count", "size", "control")
        ),
        "DELETE FROM runs WHERE position = 1",
        "UPDATE runs SET position = 6, control = control + 2 WHERE position = 9",
        "UPDATE logs SET name = 'log-c' WHERE name = 'log-a'",
        "DELETE FROM logs WHERE name = 'log-b'",
        "UPDATE given SET position = 19",
        "DELETE FROM given",
        "DROP TABLE runs",
    ],
)
def test_nothing_is_kept_that_is_not_whole(
    path: Path, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    do(path, statement)
    assert rescue(path) == Rescued([])
    assert re.search("the order of events in it is lost: .", caplog.text)


def test_nothing_is_kept_of_what_is_no_index(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESCUED_BYTES", path.stat().st_size - 1)
    assert rescue(path) == Rescued([])  # it is too long
    for content in (b"", b"no database" * 999, path.read_bytes()[:5000]):
        path.write_bytes(content)
        assert rescue(path) == Rescued([])
    path.unlink()
    assert rescue(path) == Rescued([])
    assert not path.exists()


def test_it_is_kept_aside(tmp_path: Path) -> None:
    assert aside(tmp_path) is None
    put_aside(tmp_path, Rescued([]))
    put_aside(tmp_path, ORDER)
    assert aside(tmp_path) == ORDER
    assert [each.name for each in tmp_path.iterdir()] == [ASIDE]
    drop_aside(tmp_path)
    drop_aside(tmp_path)
    assert aside(tmp_path) is None


def test_what_is_aside_and_damaged_is_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_aside(tmp_path, ORDER)
    content = (tmp_path / ASIDE).read_bytes()
    for at in range(len(content)):
        (tmp_path / ASIDE).write_bytes(content[:at])
        assert aside(tmp_path) is None
        (tmp_path / ASIDE).write_bytes(content[:at] + b"~" + content[at + 1 :])
        assert aside(tmp_path) is None
    assert "the order in it is lost" in caplog.text


def test_an_index_that_is_made_anew_has_the_order_until_it_is_settled(path: Path) -> None:
    Index(path).condemn()
    for _ in range(3):  # whatever became of it
        index = Index(path)
        assert index.open() == []
        assert index.rescued == ORDER
        index.close()
    Index(path).condemn()  # with less of the order than was put aside
    index = Index(path)
    index.open()
    assert index.rescued == ORDER
    index.settle_rescued()
    index.close()
    index.open()
    assert index.rescued is None
    index.close()


def test_an_index_whose_order_cannot_be_put_aside_is_not_thrown_away(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    Index(path).condemn()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            Index(path).open()
    index = Index(path)
    index.open()
    assert index.rescued == ORDER
    index.close()
