"""Verifying the index: what it says of itself and of the logs, and that it is only read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hub.storage.verification import Verification
from tests.process import HubProcess
from tests.storage import damage
from tests.storage.damage import Damage, findings, in_index, told

INDEX = "index.sqlite"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a hub wrote that has ended."""
    place = tmp_path_factory.mktemp("written")
    hub = HubProcess(place / "events", place / "log")
    hub.start()
    try:
        damage.write(hub, posts=600)
    finally:
        hub.stop()
    return hub.events


@pytest.fixture
def directory(written: Path, tmp_path: Path) -> Path:
    """A copy of that, to be damaged."""
    return damage.copy(written, tmp_path / "copy")


def overwrite(directory: Path) -> None:
    """Bits that turned in the middle of the index."""
    path = directory / ".hub" / INDEX
    content = bytearray(path.read_bytes())
    content[5000:9000] = b"\xaa" * 4000
    path.write_bytes(content)


def of_a_later_sqlite(directory: Path) -> None:
    path = directory / ".hub" / INDEX
    content = path.read_bytes()
    path.write_bytes(content[:18] + b"\3" + content[19:])


def make_a_comment(directory: Path) -> None:
    """Of a column of a table, in the text that it is made by."""
    damage.replace(f".hub/{INDEX}", b"   clock INTEGER", b"-- clock INTEGER")(directory)


ORDERS = "(SELECT number FROM logs WHERE name = 'orders')"

DAMAGED: list[tuple[Damage, str]] = [
    (overwrite, ""),
    (lambda here: (here / ".hub" / INDEX).write_bytes(b"nonsense" * 1000), "none that SQLite"),
    (of_a_later_sqlite, "its format is none that SQLite writes"),
    (in_index("UPDATE runs SET offset = 'none'"), "it cannot be read"),
    (in_index("UPDATE runs SET size = -9223372036854775807 - 1"), "a run of events has other"),
    (make_a_comment, "logs is made in another way"),
    (in_index("UPDATE logs SET version = version + 1 WHERE name = 'orders'"), "'orders' is damage"),
    (in_index(f"UPDATE runs SET offset = offset + 1 WHERE log = {ORDERS}"), "at byte 1"),
    (in_index(f"UPDATE runs SET log = 77 WHERE log = {ORDERS}"), "600 events are of logs that"),
    (in_index("UPDATE runs SET position = 2 WHERE position = 257"), "given to several events"),
    (in_index("UPDATE given SET position = 1"), "the order of events: the last position"),
    (in_index("UPDATE postings SET term = term + 1 WHERE position = 257"), "the types and tags: "),
    (in_index("DELETE FROM postings"), "queries would miss events of orders.tsv"),
    (in_index("UPDATE members SET position = position + 1"), "the derived streams: one has other"),
    (in_index("DELETE FROM members"), "derived stream 'of-type-t1' has 0 events instead of 3"),
    (in_index("UPDATE labelled SET keys = '{'"), "truncated"),
]


@pytest.mark.parametrize("case", DAMAGED, ids=lambda case: case[1])
def test_damage_is_found(case: tuple[Damage, str], directory: Path) -> None:
    do, reason = case
    do(directory)
    found = findings(directory)
    assert [each for each in found if each.path.name == INDEX and reason in each.reason], found
    assert any(each.grave for each in found)


def test_another_checksum_is_told_at_the_log(directory: Path) -> None:
    in_index(f"UPDATE runs SET checksum = checksum + 1 WHERE log = {ORDERS}")(directory)
    assert told(directory) == [(INDEX, None, True), ("orders.tsv", 1, True)]


def of_version_1(directory: Path) -> None:
    with sqlite3.connect(directory / ".hub" / INDEX) as db:
        db.execute("PRAGMA user_version = 1")
    db.close()


WARNED: list[tuple[Damage, str]] = [
    (lambda here: (here / ".hub" / INDEX).unlink(), "there is no index"),
    (lambda here: (here / ".hub" / f"{INDEX}-damaged").touch(), "a hub found damage in it"),
    (of_version_1, "it has version 1"),
]


@pytest.mark.parametrize("case", WARNED, ids=lambda case: case[1])
def test_what_a_hub_makes_anew_is_a_warning(case: tuple[Damage, str], directory: Path) -> None:
    do, reason = case
    do(directory)
    (found,) = findings(directory)
    assert reason in found.reason
    assert not found.grave


def test_a_log_that_was_taken_away_with_its_rows_leaves_a_gap(directory: Path) -> None:
    (directory / "orders.tsv").unlink()
    for table in ("runs WHERE log", "logs WHERE number"):
        in_index(f"DELETE FROM {table} = {ORDERS}")(directory)
    (found,) = findings(directory)
    assert "600 positions have no event" in found.reason
    assert not found.grave


def test_lines_of_several_runs_are_told_together(directory: Path) -> None:
    path = directory / "orders.tsv"
    damage.replace("orders.tsv", b'"n":300}', b'"n":003}')(directory)
    damage.replace("orders.tsv", b'"n":599}', b'"n":995}')(directory)
    (found,) = findings(directory)
    assert (found.path, found.line) == (path, 257)
    assert found.reason.startswith("lines 257 to 600 hold something else")


def test_events_that_the_index_does_not_know_yet_are_sound(directory: Path) -> None:
    with open(directory / "orders.tsv", "ab") as file:
        file.write(b"x\ty\tz\n" * 3)
    verification = Verification(directory)
    assert list(verification.run()) == []
    assert verification.tally.events == verification.tally.indexed + 3
