"""What is said of streams: kept whole, on disk when it is said, or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import pytest

from hub.storage.catalog import Catalog, Record
from hub.storage.logfile import Disk
from tests.storage.disks import FaultyDisk

RECORDS = [
    Record("a-stream", {"payload": {"type": "A", "n": {"$gt": 1.5}}}),
    Record("b/c:d", closed=True),
    Record("x" * 60, {"stream": "ä"}),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "streams"


def load(directory: Path) -> list[Record]:
    return list(Catalog(directory, Disk()).load())


def test_what_is_put_is_there(directory: Path) -> None:
    catalog = Catalog(directory, Disk())
    assert list(catalog.load()) == []
    for record in RECORDS:
        catalog.put(record)
    assert sorted(load(directory), key=lambda each: each.stream) == RECORDS
    assert [path.name for path in sorted(directory.iterdir())] == [
        "a-stream.json",
        "b%2Fc%3Ad.json",
        f"{'x' * 60}.json",
    ]
    assert json.loads((directory / "b%2Fc%3Ad.json").read_text()) == {
        "stream": "b/c:d",
        "closed": True,
    }


def test_what_is_put_again_replaces_it(directory: Path) -> None:
    catalog = Catalog(directory, Disk())
    catalog.put(RECORDS[0])
    catalog.put(Record("a-stream", {"stream": "other"}))
    assert load(directory) == [Record("a-stream", {"stream": "other"})]


def test_what_is_removed_is_gone(directory: Path) -> None:
    catalog = Catalog(directory, Disk())
    for record in RECORDS:
        catalog.put(record)
    catalog.remove("b/c:d")
    assert load(directory) == [RECORDS[0], RECORDS[2]]
    catalog.remove("never-there")


class Ordered(Disk):
    """Writes down what is synced, and what then stands in the directory."""

    def __init__(self) -> None:
        self.synced: list[str] = []

    def fsync(self, fd: Any) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        names = sorted(each.name for each in path.iterdir()) if path.is_dir() else []
        self.synced.append(" ".join([path.name, *names]))


def test_it_is_on_disk_before_it_has_its_name_and_the_name_before_it_is_told(
    tmp_path: Path, directory: Path
) -> None:
    disk = Ordered()
    catalog = Catalog(directory, disk)
    catalog.put(RECORDS[0])
    assert disk.synced == [
        f"{tmp_path.name} streams",
        "a-stream.new",
        "streams a-stream.json",
    ]
    catalog.remove("a-stream")
    assert disk.synced[3:] == ["streams"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("open", errno.EMFILE),
        ("pwrite", 0),
        ("pwrite", errno.ENOSPC),
        ("fsync", errno.EIO),
        ("replace", errno.EIO),
    ],
)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_after_a_fault_the_old_record_is_there(
    directory: Path, call: str, error: int, number: int
) -> None:
    Catalog(directory, Disk()).put(RECORDS[0])
    disk = FaultyDisk(call, number, error)
    new = Record("a-stream", {"stream": "new"})
    try:
        Catalog(directory, disk).put(new)
    except OSError:
        assert disk.fired
        assert load(directory) == [RECORDS[0]]
    else:
        assert not disk.fired
        assert load(directory) == [new]
    assert [path.name for path in directory.iterdir()] == ["a-stream.json"]


def test_what_a_crash_leaves_half_written_is_nothing(directory: Path) -> None:
    catalog = Catalog(directory, Disk())
    catalog.put(RECORDS[0])
    (directory / "other.new").write_text('{"stream": "oth')
    assert load(directory) == [RECORDS[0]]
    catalog.put(Record("other", closed=True))
    assert load(directory) == [RECORDS[0], Record("other", closed=True)]


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\0", b'{"stream": "a-str', b"[]", b'{"closed": true}', b'{"stream": "other"}'],
)
def test_a_damaged_record_is_told_and_the_others_are_there(
    directory: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Catalog(directory, Disk())
    for record in RECORDS:
        catalog.put(record)
    (directory / "a-stream.json").write_bytes(content)
    assert load(directory) == RECORDS[1:]
    assert "a-stream.json cannot be read, and is passed over" in caplog.text
    assert (directory / "a-stream.json").read_bytes() == content


def test_a_directory_in_place_of_a_record_stops_nobody(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Catalog(directory, Disk()).put(RECORDS[0])
    (directory / "folder.json").mkdir()
    assert load(directory) == [RECORDS[0]]
    assert "folder.json cannot be read" in caplog.text


CHANGES: dict[str, Callable[[Catalog], None]] = {
    "new": lambda catalog: catalog.put(Record("other", closed=True)),
    "again": lambda catalog: catalog.put(Record("a-stream", {"stream": "new"})),
    "remove": lambda catalog: catalog.remove("a-stream"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_cannot_be_synced_is_taken_back(directory: Path, change: str, number: int) -> None:
    Catalog(directory, Disk()).put(RECORDS[0])
    disk = FaultyDisk("fsync", number, errno.EIO)
    try:
        CHANGES[change](Catalog(directory, disk))
    except OSError:
        assert load(directory) == [RECORDS[0]]
    else:
        assert not disk.fired
    assert not list(directory.glob("*.new"))


@pytest.mark.parametrize(("change", "call"), [("new", "unlink"), ("remove", "pwrite")])
def test_what_cannot_be_taken_back_either_is_told(directory: Path, change: str, call: str) -> None:
    Catalog(directory, Disk()).put(RECORDS[0])

    class Failing(Disk):
        broken = False

        def fsync(self, fd: Any) -> None:
            if S_ISDIR(os.fstat(fd).st_mode):
                self.broken = True
                raise OSError(errno.EIO, "input/output error")

        def unlink(self, path: Any, **rest: Any) -> None:
            self._may("unlink")
            os.unlink(path, **rest)

        def pwrite(self, fd: Any, data: Any, at: int) -> int:
            self._may("pwrite")
            return os.pwrite(fd, data, at)

        def _may(self, what: str) -> None:
            if self.broken and what == call:
                raise OSError(errno.EIO, "input/output error")

    catalog = Catalog(directory, Failing())
    with pytest.raises(OSError, match="nor could it be taken back"):
        CHANGES[change](catalog)
    assert catalog.find("other") == (Record("other", closed=True) if change == "new" else None)
    assert catalog.find("a-stream") == (RECORDS[0] if change == "new" else None)


def test_a_directory_that_is_not_on_disk_is_made_again(directory: Path) -> None:
    synced: list[str] = []

    class Watching(Disk):
        def fsync(self, fd: Any) -> None:
            synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
            if len(synced) == 1:
                raise OSError(errno.EIO, "input/output error")

    catalog = Catalog(directory, Watching())
    with pytest.raises(OSError, match="error"):
        catalog.put(RECORDS[0])
    assert load(directory) == []
    catalog.put(RECORDS[0])
    assert synced[:2] == [directory.parent.name] * 2
