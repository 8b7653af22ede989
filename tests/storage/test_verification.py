"""Verifying: each kind of damage to logs is found at its line, and what is sound is not blamed."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from hub.storage.verification import FINDINGS, Tally, Verification, is_locked
from tests.conftest import RunHub
from tests.process import HubProcess
from tests.storage import damage
from tests.storage.damage import Damage, append, findings, lines, replace, told

TSV = "orders.tsv"
NDJSON = "acc-1.ndjson"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a hub wrote that has ended."""
    place = tmp_path_factory.mktemp("written")
    hub = HubProcess(place / "events", place / "log")
    hub.start()
    try:
        damage.write(hub)
    finally:
        hub.stop()
    return hub.events


@pytest.fixture
def directory(written: Path, tmp_path: Path) -> Path:
    """A copy of that, to be damaged."""
    return damage.copy(written, tmp_path / "copy")


def test_what_a_hub_wrote_is_sound_and_stays_as_it_is(directory: Path) -> None:
    before = {path: path.stat() for path in directory.rglob("*") if path.is_file()}
    done: list[tuple[int, int]] = []
    verification = Verification(directory, progress=lambda each, total: done.append((each, total)))
    assert list(verification.run()) == []
    size = sum((directory / name).stat().st_size for name in (TSV, NDJSON, "other.tsv"))
    assert verification.tally == Tally(3, 36, size, 36)
    assert sum(each for each, _ in done) == 2 * size
    assert {total for _, total in done} == {2 * size}
    after = {path: path.stat() for path in directory.rglob("*") if path.is_file()}
    assert [*before] == [*after]
    for path, stat in before.items():
        assert (stat.st_mtime_ns, stat.st_ino) == (after[path].st_mtime_ns, after[path].st_ino)


FIRST_OF_TWO = {
    "stream": "acc-1",
    "payload": {},
    "metadata": {"id": "x", "commitVersion": 0, "commitSize": 2, "streamVersion": 15},
}

DAMAGED: list[tuple[Damage, str, int | None, str]] = [
    (replace(TSV, b'\tplaced\t{"n":3}', b'.placed\t{"n":3}'), TSV, 4, "fewer than two TABs"),
    (replace(TSV, b'{"n":3}', b'{"n":\0}'), TSV, 4, "holds a NUL"),
    (replace(TSV, b'{"n":3}', b'{"n":\xff}'), TSV, 4, "not UTF-8"),
    (replace(TSV, b'{"n":19}', b'{"n":91}'), TSV, 1, "lines 1 to 20 hold something else"),
    (replace("other.tsv", b"once", b"0nce"), "other.tsv", 1, "it holds something else"),
    (lines(TSV, lambda old: old[:-1]), TSV, None, "had been written"),
    (lines(TSV, lambda old: [*old[:3], old[3][5:], *old[4:]]), TSV, None, "had been written"),
    (lines(NDJSON, lambda old: old[:4] + old[5:]), NDJSON, 5, "streamVersion is 5 instead of 4"),
    (lines(NDJSON, lambda old: old[:3] + old[6:]), NDJSON, 4, "streamVersion is 6 instead of 3"),
    (replace(NDJSON, b'"type":"T2","tags":["a:1"],"n":2}', b""), NDJSON, 9, "not a document"),
    (lambda here: (here / TSV).unlink(), TSV, None, "20 events had been written to it"),
    (lambda here: (here / "orders.ndjson").touch(), TSV, None, "has orders.ndjson too"),
    (lambda here: (here / TSV).write_bytes(b""), TSV, None, "it has 0 bytes"),
    (
        replace(".hub/streams/of-type-t1.json", b'matcher":', b'matcher"'),
        "of-type-t1.json",
        None,
        "JSON",
    ),
    (
        replace(".hub/streams/of-type-t1.json", b"of-type", b"as-type"),
        "of-type-t1.json",
        None,
        "of",
    ),
    (
        replace(".hub/streams/of-type-t1.json", b"payload", b"$nonsense"),
        "of-type-t1.json",
        None,
        "",
    ),
]
"""Damage, and of one finding the file, the line and a part of the reason."""


@pytest.mark.parametrize("case", DAMAGED, ids=lambda case: f"{case[1]}-{case[3]}")
def test_damage_is_found(case: tuple[Damage, str, int | None, str], directory: Path) -> None:
    do, name, line, reason = case
    do(directory)
    found = findings(directory)
    assert [
        each
        for each in found
        if (each.path.name, each.line, each.grave) == (name, line, True) and reason in each.reason
    ], found
    assert {each.path.name for each in found} == {name}


WARNED: list[tuple[Damage, str, int | None, str]] = [
    (append(TSV, b"2026-11-20T11:40:10.793214Z\tpla"), TSV, 21, "a torn write of 31 bytes"),
    (append(TSV, b"\0x\tplaced\tof a group\n"), TSV, 21, "a torn write of 21 bytes"),
    (append(NDJSON, json.dumps(FIRST_OF_TWO).encode() + b"\n"), NDJSON, 16, "a torn write"),
    (append("a b.tsv", b"x\ty\tz\n"), "a b.tsv", None, "a hub passes it over"),
]


@pytest.mark.parametrize("case", WARNED, ids=lambda case: f"{case[1]}-{case[3]}")
def test_what_a_hub_can_deal_with_is_a_warning(
    case: tuple[Damage, str, int | None, str], directory: Path
) -> None:
    do, name, line, reason = case
    do(directory)
    assert told(directory) == [(name, line, False)]
    assert reason in findings(directory)[0].reason


def test_other_files_are_nobodys_business(directory: Path) -> None:
    (directory / "notes.txt").write_text("mine")
    (directory / "dir.tsv").mkdir()
    assert findings(directory) == []


def test_lines_by_hand_are_sound(directory: Path) -> None:
    append(TSV, b"x\ty\tz\n")(directory)
    append(NDJSON, b'{"stream":"acc-1","payload":{},"metadata":{"id":"x"}}\n')(directory)
    assert findings(directory) == []


def test_each_damaged_line_is_told(directory: Path) -> None:
    lines(TSV, lambda old: [*old[:3], b"bad", *old[4:9], b"bad", *old[10:]])(directory)
    found = [line for name, line, _ in told(directory) if name == TSV]
    assert 4 in found
    assert 10 in found


def test_behind_a_damaged_document_the_next_commit_is_looked_at(directory: Path) -> None:
    lines(NDJSON, lambda old: [*old[:4], b"bad", *old[5:10], b"bad", *old[11:]])(directory)
    found = [line for name, line, _ in told(directory) if name == NDJSON]
    assert 5 in found
    assert 11 in found


def test_a_log_that_is_no_log_at_all_does_not_flood(directory: Path) -> None:
    (directory / TSV).write_bytes(b"nonsense\n" * 100_000)
    found = [each for each in findings(directory) if each.path.name == TSV]
    assert [each.line for each in found if "TAB" in each.reason] == [*range(1, FINDINGS + 1)]
    assert len(found) < FINDINGS + 6
    assert "were not looked at" in " ".join(each.reason for each in found)


def test_a_line_without_end_is_a_torn_write(directory: Path) -> None:
    append("huge.tsv", b"x" * 20_000_000)(directory)
    assert told(directory) == [("huge.tsv", 1, False)]


def test_a_directory_without_anything(tmp_path: Path) -> None:
    verification = Verification(tmp_path)
    assert list(verification.run()) == []
    assert verification.tally == Tally()


def test_beside_a_hub_that_writes(run_hub: RunHub) -> None:
    hub = run_hub()
    damage.write(hub)
    done = threading.Event()

    def post() -> None:
        number = 0
        while not done.is_set():
            damage.ask(hub, f"/busy{number % 3}", b"some\nthing" * 1000)
            damage.write_commit(hub, f"busy-{number % 3}", 50)
            number += 1

    thread = threading.Thread(target=post)
    thread.start()
    try:
        for _ in range(20):
            verification = Verification(hub.events)
            assert verification.running
            assert list(verification.run()) == []
    finally:
        done.set()
        thread.join()
    assert verification.tally.events > 36  # what was there before
    hub.restart()
    assert findings(hub.events) == []


def test_after_a_kill(run_hub: RunHub) -> None:
    hub = run_hub()
    damage.write(hub)
    hub.kill()
    assert not is_locked(hub.events / ".hub" / "lock")
    assert (hub.events / ".hub" / "index.sqlite-wal").stat().st_size
    verification = Verification(hub.events)
    assert list(verification.run()) == []
    assert verification.tally.indexed == 36


def test_the_order_journal(directory: Path) -> None:
    path = directory / ".hub" / "order-a"
    path.write_bytes(path.read_bytes() + b"torn")
    assert findings(directory) == []
    path.write_bytes(b"1\t1\t1\torders\t00000000\n")
    assert told(directory) == [("order-a", 1, True)]


def test_the_lock_is_free_again_at_once(run_hub: RunHub) -> None:
    hub = run_hub()
    assert is_locked(hub.events / ".hub" / "lock")
    hub.stop()
    assert not is_locked(hub.events / ".hub" / "lock")
    assert not is_locked(hub.events / "nothing")
    hub.start()
