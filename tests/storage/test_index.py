"""The index is a cache: whatever befalls it, it says nothing that is not true."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hub.storage import index
from hub.storage.index import Entry, Index


def entry(number: int = 1, **changes: object) -> Entry:
    fields: dict[str, object] = {
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "index.sqlite"
    written = Index(path)
    assert written.open() == []
    written.save(ENTRIES)
    written.close()
    return path


def rows(path: Path) -> list[Entry]:
    opened = Index(path)
    found = opened.open()
    opened.close()
    return sorted(found, key=lambda each: each.version)


def test_rows_come_back(path: Path) -> None:
    assert rows(path) == ENTRIES


def test_rows_are_replaced_and_dropped(path: Path) -> None:
    opened = Index(path)
    opened.open()
    opened.save([entry(1, length=7, ordered=False)], [("channel-0", "tsv"), ("other", "tsv")])
    opened.close()
    assert rows(path) == [entry(1, length=7, ordered=False), *ENTRIES[2:]]


def test_rows_survive_a_process_that_ends_without_closing(path: Path) -> None:
    opened = Index(path)
    opened.open()
    opened.save([entry(60)])
    copy = path.with_name("copy.sqlite")
    for suffix in ("", "-wal"):  # as a crash leaves them
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    opened.close()
    assert rows(copy) == [*ENTRIES, entry(60)]


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


def test_without_a_place_to_write_the_hub_does_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = Index(tmp_path / "missing" / "index.sqlite")
    assert missing.open() == []
    missing.save([entry()])
    missing.close()
    assert "the next start reads every log" in caplog.text


def test_a_failed_save_changes_nothing_and_the_next_works(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Index(path)
    opened.open()
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


def test_version_changes_with_the_schema() -> None:
    """Whoever changes the columns must raise the version: this test says so."""
    assert (index._VERSION, index._SCHEMA.count("NOT NULL")) == (2, 9)
