"""Groups in files: whole or not at all in either format. Faults of every call: `test_writer`."""

# ruff: noqa: ASYNC230  (nothing else runs in these loops)

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.batch import TsvReader
from hub.document import Draft
from hub.errors import LogDamaged
from hub.event import IdOrder, Limits, file_name
from hub.formats import NDJSON, TSV, Batch
from hub.storage import group, groupfiles
from hub.storage.group import Entry, enter, lines_of_group
from hub.storage.groupfiles import INLINE_BYTES, GroupFiles
from hub.storage.log import Log
from hub.storage.logfile import Disk, FileChanged
from hub.storage.recovery import Scan, scan
from tests.storage.disks import RecordingDisk

FORMS = [TSV, NDJSON]
BY_HAND = b"1\tt\tby hand\n"


class Watching(Disk):
    """Notes which threads write."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
        self.threads.append(threading.current_thread().name)
        return Disk.pwritev(fd, data, at, flags)


class Bench:
    """Files of logs in one directory."""

    def __init__(self, directory: Path, disk: Disk, *, sync: bool) -> None:
        self.directory = directory
        self.files = GroupFiles(disk, self.path, directory / "torn", sync=sync)

    def path(self, log: Log) -> Path:
        return self.directory / file_name(log.name, log.format)

    async def write(self, log: Log, *batches: Batch | Draft) -> bytes | None:
        """Write a group; return its lines as they are told."""
        entries: list[Entry] = []
        version = log.version
        for each in batches:
            entries.append(enter(log.name, log.format, version, log.order, each, lambda: 10**18))
            version += each.count
        self.files.begin(log, begins=True)
        expected = lines_of_group(entries)
        end, lines = await self.files.write(log, entries)
        assert self.path(log).read_bytes()[log.length : end] == expected
        assert lines in (None, expected)
        log.length, log.version = end, version
        self.files.end(log)
        return lines


@pytest.fixture(params=[True, False], ids=["synced", "unsynced"])
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, Watching(), sync=request.param)
    yield bench
    bench.files.close()


def many(count: int, size: int = 10) -> Batch:
    reader = TsvReader(Limits())
    reader.feed(b"".join(b"\tt\t%b\n" % (b"x" * size) for _ in range(count)))
    return reader.finish()


def draft(count: int) -> Draft:
    return Draft([b'{"n":1}'] * count, [""] * count, "a-commit")


@pytest.mark.parametrize("form", FORMS)
async def test_groups_come_one_behind_the_other(bench: Bench, form: str) -> None:
    log = Log("a-log", form)
    contents: list[Batch | Draft] = [many(1), many(3)]
    if form == NDJSON:
        contents += [draft(1), draft(4)]
    for each in contents:
        assert await bench.write(log, each)
    assert await bench.write(log, *contents)
    found = scan(Disk(), bench.path(log), Scan(0, 0, "", IdOrder()), None, form)
    assert (found.length, found.version, found.damage) == (log.length, log.version, None)


@pytest.mark.parametrize("form", FORMS)
async def test_of_a_large_group_the_lines_are_not_told(
    bench: Bench, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groupfiles, "GROUP_BYTES", 1000)
    monkeypatch.setattr(group, "GROUP_BYTES", 1000)
    log = Log("a-log", form)
    assert await bench.write(log, many(1))
    assert await bench.write(log, many(100)) is None
    assert await bench.write(log, many(1))


async def test_only_what_is_small_and_not_synced_is_written_without_a_thread(
    tmp_path: Path,
) -> None:
    for sync in (True, False):
        disk = Watching()
        bench = Bench(tmp_path, disk, sync=sync)
        log = Log(f"log-{sync}")
        for batch in (many(1), many(1), many(1, INLINE_BYTES + 1), many(1)):
            await bench.write(log, batch)
        inline = [name == "MainThread" for name in disk.threads]
        assert inline == ([False] * 4 if sync else [False, True, False, True])
        bench.files.close()


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("large", [False, True])
async def test_whatever_a_crash_leaves_a_batch_is_whole_or_not_there(
    tmp_path: Path, sync: bool, form: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(groupfiles, "GROUP_BYTES", 100)
        monkeypatch.setattr(group, "GROUP_BYTES", 100)
    log = Log("a-log", form)
    before = Bench(tmp_path, Disk(), sync=False)
    await before.write(log, many(1))
    before.files.close()
    disk = RecordingDisk(before.path(log))
    bench = Bench(tmp_path, disk, sync=sync)
    await bench.write(log, many(3) if form == TSV else draft(3))
    bench.files.close()
    copy = tmp_path / "copies" / bench.path(log).name
    copy.parent.mkdir()
    whole = bench.path(log).read_bytes()
    sound = len(disk.states[0][0])
    before_it = sound
    for content, _ in disk.states:
        # What was there before a call is there, whatever becomes of what the call writes.
        for cut in range(before_it, len(content) + 1):
            copy.write_bytes(content[:cut])
            found = scan(Disk(), copy, Scan(0, 0, "", IdOrder()), None, form)
            assert found.damage is None
            assert found.version == (4 if content[:cut] == whole else 1)
        before_it = len(content)
    if sync:
        assert disk.states[-1] == (whole, whole)  # the last is on disk


async def test_a_file_that_was_removed_is_not_made_again(bench: Bench) -> None:
    log = Log("a-log")
    await bench.write(log, many(1))
    bench.path(log).unlink()
    with pytest.raises(FileNotFoundError):
        await bench.write(log, many(1))


async def test_making_and_reopening(bench: Bench) -> None:
    log = Log("a-log")
    await bench.files.make(log)
    assert log.made
    assert bench.path(log).read_bytes() == b""
    await bench.write(log, many(1))
    with open(bench.path(log), "ab") as file:
        file.write(b"of a write that failed")
    log.unsound = log.uncut = True
    await bench.files.reopen(log)
    assert (log.unsound, log.uncut, log.synced) == (False, False, log.length)
    assert bench.path(log).stat().st_size == log.length
    (aside,) = (bench.directory / "torn").iterdir()
    assert aside.read_bytes() == b"of a write that failed"
    log.unsound = True
    await bench.write(log, many(2))  # it is mended before
    assert not log.unsound


async def test_what_was_cut_back_is_not_cut_again(bench: Bench) -> None:
    """What stands behind the good length then is somebody else's."""
    log = Log("a-log")
    await bench.write(log, many(1))
    with open(bench.path(log), "ab") as file:
        file.write(BY_HAND)
    log.unsound = True
    await bench.files.reopen(log)
    assert not log.unsound
    assert bench.path(log).read_bytes().endswith(BY_HAND)
    assert not (bench.directory / "torn").exists()
    with pytest.raises(FileChanged):
        await bench.write(log, many(1))


@pytest.mark.parametrize("form", [TSV, NDJSON])
@pytest.mark.parametrize("lost", [slice(0, 1), slice(5, 15), slice(0, None), slice(-1, None)])
async def test_what_the_disk_has_lost_is_damage(
    bench: Bench, form: str, lost: slice, caplog: pytest.LogCaptureFixture
) -> None:
    """The system may drop what it could not write, and then gives back what was there before."""
    log = Log("a-log", form)
    for _ in range(3):
        await bench.write(log, many(2))
        log.synced, log.synced_version = log.length, log.version
    await bench.write(log, many(2))
    log.unsound = True
    path = bench.path(log)
    content = path.read_bytes()
    await bench.files.reopen(log)  # nothing is lost
    assert (log.unsound, log.damage) == (False, None)
    log.synced, log.synced_version, log.unsound = 0, 0, True
    tail = bytearray(content[len(content) // 2 :])
    tail[lost] = bytes(len(tail[lost]))
    path.write_bytes(content[: -len(tail)] + tail)
    with pytest.raises(LogDamaged, match=r"line [5-8]: .*the disk lost what had been written"):
        await bench.files.reopen(log)
    assert log.damage
    assert f"{path} takes no writes: {log.damage}" in caplog.text


async def test_many_logs_are_written_side_by_side(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    class Meeting(Disk):
        def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
            barrier.wait(10)
            return os.pwritev(fd, data, at, flags)

    bench = Bench(tmp_path, Meeting(), sync=True)
    await asyncio.gather(*(bench.write(Log(f"log-{n}"), many(1)) for n in range(8)))
    bench.files.close()
