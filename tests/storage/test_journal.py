"""The order journal: what it gives back after crashes and failing calls."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.storage import journal as module
from hub.storage.journal import FILES, Journal, Record
from hub.storage.logfile import Disk, Unsynced
from tests.storage.disks import FaultyDisk


def record(position: int, count: int = 1, log: str = "orders-1") -> Record:
    return Record(position, position * 7, count, log)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path, Disk(), sync=False)
    made.clear()
    yield made
    made.close()


def lines_of(directory: Path) -> dict[str, int]:
    return {name: (directory / name).read_bytes().count(b"\n") for name in FILES}


def test_what_of_a_record_comes_behind_a_position() -> None:
    whole = Record(10, 3, 5, "orders-1")
    assert whole.behind(9) == whole
    assert whole.behind(12) == Record(13, 6, 2, "orders-1")


def test_what_was_appended_is_read_again(journal: Journal, tmp_path: Path) -> None:
    assert journal.read() == []
    assert journal.append([record(1, 3), record(4, 1, "a/b~c#d")], 0) == 4
    assert journal.append([record(5)], 0) == 5
    wanted = [record(1, 3), record(4, 1, "a/b~c#d"), record(5)]
    assert journal.read() == Journal(tmp_path, Disk(), sync=False).read() == wanted
    assert (tmp_path / "order-a").read_text().split("\n")[0][:-8] == "1\t7\t3\torders-1\t"


def test_nothing_is_there_before_anything_was_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Disk(), sync=False)
    assert journal.read() == []
    with pytest.raises(OSError, match="no order journal"):
        journal.append([record(1)], 0)


def test_cleared_it_is_empty_and_goes_on(journal: Journal) -> None:
    journal.append([record(1)], 0)
    journal.clear()
    assert journal.read() == []
    journal.append([record(9)], 8)
    assert journal.read() == [record(9)]


def test_files_begin_anew_when_the_index_has_what_they_hold(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any moment both together hold all that the index lacks."""
    monkeypatch.setattr(module, "FILE_BYTES", 200)
    indexed, most = 0, 0
    for position in range(1, 300):
        journal.append([record(position)], indexed)
        if position % 20 == 0:
            indexed = position - 3
        found = [each.position for each in journal.read()]
        assert set(range(indexed + 1, position + 1)) <= set(found)
        most = max(most, sum(lines_of(tmp_path).values()))
    assert 20 < most < 60


def test_while_the_index_stands_still_nothing_is_dropped(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 200)
    for position in range(1, 100):
        journal.append([record(position)], 0)
    assert journal.read() == [record(position) for position in range(1, 100)]


@pytest.mark.parametrize("sync", [True, False])
def test_with_sync_it_is_on_disk_on_return(tmp_path: Path, sync: bool) -> None:
    flags: list[int] = []
    synced: list[Path] = []

    class Watching(Disk):
        def pwritev(self, fd: int, data: object, at: int, given: int) -> int:
            flags.append(given)
            return os.pwritev(fd, data, at)  # type: ignore[arg-type]

        def fsync(self, fd: int) -> None:  # type: ignore[override]
            synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")))

    journal = Journal(tmp_path, Watching(), sync=sync)
    journal.clear()
    journal.append([record(1)], 0)
    journal.close()
    assert flags == [os.RWF_DSYNC if sync else 0]
    assert synced == [tmp_path] * (2 if sync else 0)  # the entries of both files


# Torn, and damaged


@pytest.mark.parametrize("cut", range(30))
def test_a_torn_line_is_passed_over(journal: Journal, tmp_path: Path, cut: int) -> None:
    journal.append([record(1), record(2)], 0)
    path = tmp_path / "order-a"
    text = path.read_bytes()
    path.write_bytes(text[: len(text) - cut])
    whole = 2 if cut < 2 else 1 if len(text) - cut >= text.index(b"\n") else 0
    assert journal.read() == [record(1), record(2)][:whole]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_makes_a_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = Journal(directory, Disk(), sync=False)
    journal.clear()
    records = [record(n, n % 3 + 1, f"log-{n % 2}") for n in range(1, 6)]
    journal.append(records, 0)
    path = directory / "order-a"
    text = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(text) - 1), max_size=4)):
        text[at] = data.draw(st.integers(0, 255))
    path.write_bytes(text)
    assert set(journal.read()) <= set(records)
    journal.close()


# Failing calls


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize(
    ("call", "error"),
    [("pwritev", errno.ENOSPC), ("pwritev", errno.EIO), ("pwritev", 0), ("lseek", errno.EIO)],
)
@pytest.mark.parametrize("number", range(1, 6))
def test_what_was_appended_stands_whatever_fails(
    tmp_path: Path, call: str, error: int, number: int, lasting: bool, sync: bool
) -> None:
    disk = FaultyDisk(call, number, error, lasting=lasting)
    journal = Journal(tmp_path, disk, sync=sync)
    journal.clear()
    kept: list[Record] = []
    for position in range(1, 7):
        try:
            journal.append([record(position)], 0)
        except (OSError, Unsynced):
            continue
        kept.append(record(position))
    assert set(kept) <= set(journal.read())
    assert disk.fired
    journal.close()


def test_after_a_failure_it_goes_on_in_the_other_file_at_once(tmp_path: Path) -> None:
    disk = FaultyDisk("pwritev", 2, errno.EIO)
    journal = Journal(tmp_path, disk, sync=False)
    journal.clear()
    journal.append([record(1)], 0)
    with pytest.raises(OSError, match="Input/output"):
        journal.append([record(2)], 0)
    journal.append([record(2), record(3)], 0)
    assert lines_of(tmp_path) == {"order-a": 1, "order-b": 2}
    assert journal.read() == [record(1), record(2), record(3)]
    journal.close()


def test_after_two_failures_it_waits_for_the_index(tmp_path: Path) -> None:
    disk = FaultyDisk("pwritev", 2, errno.EIO, lasting=True)
    journal = Journal(tmp_path, disk, sync=False)
    journal.clear()
    journal.append([record(1)], 0)
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            journal.append([record(2)], 0)
    assert lines_of(tmp_path) == {"order-a": 1, "order-b": 0}
    disk.healed = True
    with pytest.raises(OSError, match="waits for the index"):
        journal.append([record(2)], 0)
    journal.append([record(3)], 2)
    assert journal.read() == [record(3)]
    journal.close()


@pytest.mark.parametrize("call", ["open", "ftruncate", "fdatasync", "fsync"])
@pytest.mark.parametrize("number", [1, 2])
def test_what_could_not_be_cleared_takes_nothing(tmp_path: Path, call: str, number: int) -> None:
    before = Journal(tmp_path, Disk(), sync=True)
    before.clear()
    before.append([record(1)], 0)
    before.close()
    (tmp_path / "order-b").write_bytes((tmp_path / "order-a").read_bytes())
    disk = FaultyDisk(call, number, errno.EIO)
    journal = Journal(tmp_path, disk, sync=True)
    with pytest.raises(OSError, match="Input/output"):
        journal.clear()
    assert disk.fired
    with pytest.raises(OSError, match="no order journal"):
        journal.append([record(5)], 0)
    journal.clear()
    journal.append([record(5)], 0)
    assert journal.read() == [record(5)]
    journal.close()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(1, 3):
        journal = Journal(tmp_path, FaultyDisk("open", number, errno.EMFILE), sync=False)
        with pytest.raises(OSError, match="Too many"):
            journal.clear()
    journal = Journal(tmp_path, Disk(), sync=False)
    journal.clear()
    journal.clear()
    journal.close()
    journal.close()
    assert len(os.listdir("/proc/self/fd")) == before
