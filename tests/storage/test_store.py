"""Opening a directory: what was acknowledged is there, or is missed aloud."""

# ruff: noqa: ASYNC230, ASYNC240  (nothing else runs in these loops)

from __future__ import annotations

import asyncio
import errno
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import pytest

from hub.batch import TsvReader
from hub.document import Draft
from hub.errors import (
    DirectoryLocked,
    DiskFull,
    FormatConflict,
    LogDamaged,
    LogUnavailable,
    NameTaken,
    StartupError,
    StreamClosed,
    UnknownStream,
)
from hub.event import IdOrder, Limits, id_at
from hub.formats import TSV, Batch
from hub.matcher import compile_matcher
from hub.options import Durability
from hub.storage import derived, saving, syncing
from hub.storage.alignment import Alignment
from hub.storage.log import Committed, Log
from hub.storage.logfile import Disk
from hub.storage.store import Store
from tests import documents
from tests.storage.disks import FaultyDisk
from tests.web.wire import eventually

BASE = 1_800_000_000_000_000
NAME = "a-channel"

OpenStore = Callable[..., Awaitable[Store]]


def one(data: str, identity: str = "") -> Batch:
    return Batch.of_one(identity, "t", data.encode())


def many(*data: str) -> Batch:
    reader = TsvReader(Limits())
    reader.feed("".join(f"\tt\t{each}\n" for each in data).encode())
    return reader.finish()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "events"


@pytest.fixture
def path(directory: Path) -> Path:
    """The file of the one log that most tests use."""
    return directory / f"{NAME}.tsv"


@pytest.fixture
async def open_store(directory: Path) -> AsyncIterator[OpenStore]:
    stores: list[Store] = []

    async def start(*arguments: Any, **named: Any) -> Store:
        store = Store(directory, *arguments, **named)
        await store.open()
        stores.append(store)
        return store

    yield start
    for each in stores:
        await each.close()


async def filled(directory: Path, *, count: int = 5, clock: Callable[[], int] | None = None) -> str:
    """Make a directory with one log of some events; return what stands in it."""
    store = Store(directory, clock=clock or (lambda: BASE * 1000))
    await store.open()
    for number in range(count):
        await store.append(NAME, one(f"event {number}"))
    await store.close()
    return (directory / f"{NAME}.tsv").read_text()


def as_after_a_kill(directory: Path) -> None:
    """Make the index forget the last line, as if the hub had been killed before saving it."""
    path = directory / f"{NAME}.tsv"
    lines = path.read_bytes().split(b"\n")
    rest = b"\n".join(lines[:-2]) + b"\n"
    last = lines[-2] + b"\n"
    path.write_bytes(rest)

    async def learn() -> None:
        store = Store(directory)
        await store.open()
        await store.close()

    asyncio.run(learn())
    with open(path, "ab") as file:
        file.write(last)


class ReadCounter(Disk):
    """Counts the bytes that are read."""

    def __init__(self) -> None:
        self.bytes = 0

    def pread(self, fd: Any, size: int, at: int) -> bytes:
        data = os.pread(fd, size, at)
        self.bytes += len(data)
        return data


# Opening


async def test_what_was_written_is_there_after_a_restart(
    directory: Path, open_store: OpenStore
) -> None:
    text = await filled(directory)
    disk = ReadCounter()
    store = await open_store(disk=disk)
    log = store.logs[NAME]
    assert (log.length, log.version) == (len(text), 5)
    assert log.last_id == id_at(BASE + 4)
    assert log.order == IdOrder(BASE + 4, BASE + 4, BASE + 4, True)
    assert disk.bytes == 0  # the index knew it all


async def test_a_directory_is_made_and_its_entry_is_on_disk(
    tmp_path: Path, directory: Path
) -> None:
    synced: list[str] = []

    class Watching(Disk):
        def fsync(self, fd: Any) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))

    deep = directory / "deeper"
    store = Store(deep, disk=Watching())
    await store.open()
    await store.close()
    assert set(synced) == {str(each) for each in (tmp_path, directory, deep, deep / ".hub")}


async def test_only_what_is_new_is_read(path: Path, open_store: OpenStore) -> None:
    store = await open_store()
    await store.append(NAME, many(*map(str, range(30_000))))
    await store.close()
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.write(b"new\tt\tdata\n")
    disk = ReadCounter()
    store = await open_store(disk=disk)
    assert store.logs[NAME].version == 30_001
    assert disk.bytes < size / 2
    await store.close()
    disk = ReadCounter()
    await open_store(disk=disk)
    assert disk.bytes == 0


async def test_after_a_kill_only_the_delta_is_read(directory: Path, path: Path) -> None:
    text = await filled(directory, count=50)
    await asyncio.to_thread(as_after_a_kill, directory)
    disk = ReadCounter()
    store = Store(directory, disk=disk)
    await store.open()
    log = store.logs[NAME]
    assert (log.length, log.version, log.last_id) == (len(text), 50, id_at(BASE + 49))
    assert log.order.ordered
    await store.close()


async def test_a_log_without_index_is_read_again_and_that_is_said(
    directory: Path, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(directory)
    assert "no index" not in caplog.text
    shutil.rmtree(directory / ".hub")
    store = await open_store()
    assert store.logs[NAME].version == 5
    assert "there was no index: 1 logs were read to make it" in caplog.text


@pytest.mark.parametrize("kind", ["damaged", "version"])
async def test_an_index_that_is_no_good_is_rebuilt_and_that_is_said(
    directory: Path, open_store: OpenStore, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    await filled(directory)
    index = directory / ".hub" / "index.sqlite"
    if kind == "damaged":
        index.write_bytes(b"\xff" * 5000)
    else:
        with sqlite3.connect(index) as db:
            db.execute("PRAGMA user_version = 1")
        db.close()
    store = await open_store()
    assert store.logs[NAME].version == 5
    assert "is rebuilt from the logs" in caplog.text


async def test_an_index_that_lies_is_not_believed(
    directory: Path, path: Path, open_store: OpenStore
) -> None:
    """A row for another file, longer or shorter, or for none."""
    text = await filled(directory)
    path.write_bytes(b"other\tt\tfile\n" * 1000)
    store = await open_store()
    assert store.logs[NAME].version == 1000
    await store.close()
    path.write_text(text)
    store = await open_store()
    assert store.logs[NAME].version == 5
    await store.close()
    path.unlink()
    store = await open_store()
    assert NAME not in store.logs
    await store.close()
    path.write_text(text)
    store = await open_store()
    assert store.logs[NAME].version == 5


async def test_a_file_changed_in_place_is_read_again(
    directory: Path, path: Path, open_store: OpenStore
) -> None:
    text = await filled(directory)
    path.write_text(text.replace(id_at(BASE + 4), id_at(BASE + 9)))
    os.utime(path, (1, 1))
    store = await open_store()
    assert store.logs[NAME].last_id == id_at(BASE + 9)


async def test_files_that_are_no_logs_are_passed_over(
    directory: Path, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(directory)
    names = ("-a-.tsv", "a b.tsv", "%61-channel.tsv", "_all.tsv", "a.csv.tsv~", "%2F.tsv", ".tsv")
    for name in names:
        (directory / name).write_text("x\ty\tz\n")
    (directory / "notes.txt").write_text("mine")
    (directory / "folder.tsv").mkdir()
    store = await open_store()
    assert set(store.logs) == {NAME}
    assert store.logs[NAME].version == 5
    assert caplog.text.count("is not the file of a log: passed over") == 5


# What a crash leaves


async def test_a_log_cut_at_any_byte_is_opened_without_its_torn_tail(
    directory: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (await filled(directory, count=3)).encode()
    for length in range(len(text)):
        shutil.rmtree(directory / ".hub")
        path.write_bytes(text[:length])
        caplog.clear()
        store = Store(directory, Durability.OS)
        await store.open()
        sound = text[:length].rfind(b"\n") + 1
        assert path.read_bytes() == text[:sound]
        assert store.logs[NAME].version == text[:length].count(b"\n")
        if sound < length:
            told = f"cut off a torn write that was never acknowledged: {length - sound} bytes"
            assert f"{told} at offset {sound}" in caplog.text
            kept = directory / ".hub" / "torn" / f"{NAME}.tsv-{sound}"
            assert kept.read_bytes() == text[sound:length]
        await store.append(NAME, one("goes on"))
        await store.close()
        assert path.read_bytes().endswith(b"goes on\n")


async def test_an_unfinished_group_is_cut_whole(
    directory: Path, path: Path, open_store: OpenStore
) -> None:
    text = (await filled(directory)).encode()
    path.write_bytes(text + b"\0" + text[1:] * 3)
    store = await open_store()
    assert path.read_bytes() == text
    assert store.logs[NAME].version == 5


@pytest.mark.parametrize("last", [b"x", b"\0", b"\t"])
async def test_what_the_index_knows_as_written_is_never_cut_off(
    directory: Path, path: Path, open_store: OpenStore, last: bytes
) -> None:
    """The last line's LF is gone: without the index that is a torn write."""
    text = (await filled(directory)).encode()
    path.write_bytes(text[:-1] + last)
    os.utime(path, (1, 1))
    store = await open_store()
    assert path.read_bytes() == text[:-1] + last
    assert store.logs[NAME].damage == "line 5: it is torn, though it had been written"
    assert store.logs[NAME].version == 4
    with pytest.raises(LogDamaged, match="line 5"):
        await store.append(NAME, one("more"))


async def test_a_block_that_a_power_cut_kept_from_the_disk_is_cut_off(
    directory: Path, path: Path, open_store: OpenStore
) -> None:
    text = (await filled(directory)).encode()
    path.write_bytes(text + b"2026\tt\tda" + bytes(100) + b"\n2026\tt\tlater\n")
    store = await open_store()
    assert path.read_bytes() == text
    await store.append(NAME, one("goes on"))


async def test_a_block_that_was_lost_in_the_middle_refuses_writes(
    directory: Path, path: Path, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    text = (await filled(directory, count=100)).encode()
    places = [0, *(at + 1 for at, byte in enumerate(text) if byte == 10)]
    for at in (places[20], places[50] + 10, 512, 1024):
        zeroed = text[:at] + bytes(512) + text[at + 512 :]
        for index in (True, False):
            path.write_bytes(zeroed)
            if not index:
                shutil.rmtree(directory / ".hub")
            store = await open_store()
            log = store.logs[NAME]
            assert log.damage
            assert log.damage.startswith(f"line {log.version + 1}: ")
            assert log.length == max(place for place in places if place <= at)
            with pytest.raises(LogDamaged, match=f"line {log.version + 1}: "):
                await store.append(NAME, one("more"))
            await store.close()
            assert path.read_bytes() == zeroed  # nothing is repaired in silence
            assert f"{path} takes no writes: line" in caplog.text
            path.write_bytes(text)
            store = await open_store()
            assert store.logs[NAME].damage is None
            await store.close()


async def test_damage_that_was_there_before_the_index_is_not_cut_off_later(
    open_store: OpenStore, path: Path
) -> None:
    path.parent.mkdir()
    text = b"1\ta\tx\n" + bytes(512) + b"\n" + b"2\ta\tx\n"
    path.write_bytes(text)
    for _ in range(2):
        store = await open_store()
        assert (store.logs[NAME].damage or "").startswith("line 2: ")
        await store.close()
        assert path.read_bytes() == text


async def test_damage_stays_until_the_file_is_mended(
    directory: Path, path: Path, open_store: OpenStore
) -> None:
    text = await filled(directory)
    path.write_text(text + "no event\nx\tt\tdata\n")
    for _ in range(2):
        store = await open_store()
        assert store.logs[NAME].version == 5
        assert (store.logs[NAME].damage or "").startswith("line 6: ")
        await store.close()
    path.write_text(text + "an\tt\tevent\nx\tt\tdata\n")
    store = await open_store()
    assert store.logs[NAME].damage is None
    assert store.logs[NAME].version == 7


async def test_a_file_that_lost_acknowledged_bytes_is_told(
    directory: Path, path: Path, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    text = await filled(directory)
    os.truncate(path, len(text) // 2)
    store = await open_store()
    assert f"has {len(text) // 2} bytes, but {len(text)} had been written" in caplog.text
    assert store.logs[NAME].version == 2
    assert path.read_bytes() == text.encode()[: store.logs[NAME].length]
    await store.append(NAME, one("goes on"))  # as it must after a power cut with less durability


@pytest.mark.parametrize("call", ["open", "fstat", "pread"])
async def test_one_file_that_cannot_be_read_stops_nobody_else(
    directory: Path, open_store: OpenStore, call: str
) -> None:
    await filled(directory)
    shutil.copy(directory / f"{NAME}.tsv", directory / "other.tsv")
    shutil.rmtree(directory / ".hub")
    (directory / ".hub").mkdir()
    store = await open_store(disk=FaultyDisk(call, 1, errno.EIO))
    damaged = [log for log in store.logs.values() if log.damage]
    sound = [log for log in store.logs.values() if not log.damage]
    assert len(damaged) == len(sound) == 1
    assert damaged[0].damage == "its file cannot be read or mended: Input/output error"
    assert sound[0].version == 5
    await store.append(sound[0].name, one("more"))
    assert (damaged[0].unread, sound[0].unread) == (True, False)


async def test_a_torn_tail_that_cannot_be_cut_refuses_writes(
    directory: Path, path: Path, open_store: OpenStore
) -> None:
    text = await filled(directory)
    path.write_text(text + "torn")
    store = await open_store(disk=FaultyDisk("ftruncate", 1, errno.EROFS))
    assert store.logs[NAME].damage
    assert store.logs[NAME].length == len(text)


@pytest.mark.parametrize(("durability", "syncs"), [(Durability.ALWAYS, 1), (Durability.OS, 0)])
async def test_what_was_found_is_on_disk_before_anybody_reads_it(
    directory: Path, path: Path, open_store: OpenStore, durability: Durability, syncs: int
) -> None:
    synced = []

    class Watching(Disk):
        def fdatasync(self, fd: Any) -> None:
            synced.append(fd)

    text = await filled(directory)
    path.write_text(text + "written\tt\tbut not synced when the hub was killed\n")
    await open_store(durability, disk=Watching())
    assert len(synced) == syncs


async def test_what_was_found_and_cannot_be_synced_is_verified_before_the_next_write(
    directory: Path, path: Path, open_store: OpenStore
) -> None:
    text = await filled(directory)
    path.write_text(text + "x\tt\tdata\n")
    store = await open_store(disk=FaultyDisk("fdatasync", 1, errno.EIO))
    assert store.logs[NAME].unsound
    assert store.logs[NAME].synced == len(text)
    await store.append(NAME, one("more"))
    assert not store.logs[NAME].unsound


async def test_very_many_logs_are_synced_at_once(
    directory: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir()
    for number in range(5):
        (directory / f"log-{number}.tsv").write_text("x\tt\tdata\n")
    called = []
    monkeypatch.setattr(syncing, "SYNCED_ONE_BY_ONE", 4)
    monkeypatch.setattr(os, "sync", lambda: called.append(1))
    store = await open_store(disk=FaultyDisk("fdatasync", 1, errno.EIO, lasting=True))
    assert called == [1]
    assert not any(log.unsound for log in store.logs.values())


# Ids


async def test_ids_go_on_increasing_over_restarts_whatever_the_clock_says(directory: Path) -> None:
    moments = iter([BASE, BASE + 50, BASE - 10**9, 0, BASE + 20, BASE + 60])
    seen: list[str] = []
    for number, moment in enumerate(moments):
        store = Store(directory, clock=lambda moment=moment: moment * 1000)  # type: ignore[misc]
        await store.open()
        seen += [(await store.append(NAME, many("a", "b"))).first_id for _ in range(3)]
        await store.close()
        if number % 2:
            shutil.rmtree(directory / ".hub")
    assert seen == sorted(set(seen))
    ids = [line.split("\t")[0] for line in (directory / f"{NAME}.tsv").read_text().split("\n")[:-1]]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("index", [True, False])
async def test_a_clients_id_from_the_future_counts_after_a_restart(
    directory: Path, open_store: OpenStore, index: bool
) -> None:
    store = await open_store()
    await store.append(NAME, one("a", "2999-01-01T00:00:00.000000Z"))
    await store.append(NAME, one("b", "other"))
    await store.close()
    if not index:
        shutil.rmtree(directory / ".hub")
    store = await open_store()
    assert (await store.append(NAME, one("c"))).first_id == "2999-01-01T00:00:00.000001Z"
    assert not store.logs[NAME].order.ordered


# The lock


async def test_a_second_hub_on_the_directory_is_told_who_has_it(
    directory: Path, open_store: OpenStore
) -> None:
    store = await open_store()
    with pytest.raises(DirectoryLocked, match=f"in use by another hub \\(process {os.getpid()}\\)"):
        await Store(directory).open()
    await store.append(NAME, one("still works"))
    await store.close()
    await open_store()


async def test_a_process_that_was_killed_holds_no_lock(
    directory: Path, open_store: OpenStore
) -> None:
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from hub.storage.store import Store\n"
        "asyncio.run(Store(Path(sys.argv[1])).open())\n"
        "print('open', flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, directory, stdout=subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert told == b"open\n"
    assert process.returncode == -9
    await open_store()


async def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(StartupError, match="cannot use the events directory"):
        await Store(tmp_path / "file").open()


# Saving the index


async def test_a_save_under_way_does_not_trouble_the_closing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 0.001)
    begun, running = threading.Event(), threading.Semaphore()
    save = saving.Saver._save

    def slowly(saver: saving.Saver, *arguments: Any) -> None:
        assert running.acquire(blocking=False), "two savings at once"
        begun.set()
        threading.Event().wait(0.05)
        save(saver, *arguments)
        running.release()

    monkeypatch.setattr(saving.Saver, "_save", slowly)
    slow = Store(directory)
    await slow.open()
    begun.clear()
    for number in range(5):
        await slow.append(f"log-{number}", one("data"))
    await asyncio.to_thread(begun.wait, 10)
    await slow.append("log-last", one("data"))
    await slow.close()
    disk = ReadCounter()
    store = Store(directory, disk=disk)
    await store.open()
    assert len(store.logs) == 6
    assert disk.bytes == 0
    await store.close()


async def test_logs_that_are_made_while_an_index_is_attached_do_not_trouble_it(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = threading.Event(), threading.Event()
    real = Alignment.align

    def align(alignment: Alignment, logs: Iterable[Log], *rest: Any) -> None:
        each = iter(logs)
        first = next(each)
        begun.set()
        assert gate.wait(10)
        real(alignment, [first, *each], *rest)

    store = await open_store()
    await store.append("log-a", one("data"))
    await store.append("log-b", one("data"))
    await store.sequencer.settle()
    monkeypatch.setattr(Alignment, "align", align)
    store.sequencer._give_up()
    attaching = asyncio.ensure_future(store._attach())
    await asyncio.to_thread(begun.wait, 10)
    await store.append("log-c", one("data"))
    gate.set()
    await attaching
    await store.sequencer.settle()
    assert store.sequencer.indexed == 3


async def test_of_what_an_attached_index_knows_nothing_is_read(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless the file has been changed: it may be tried every few seconds, with many logs."""
    disk = ReadCounter()
    store = Store(directory, disk=disk)
    await store.open()
    for name in ("log-a", "log-b", "log-c"):
        await asyncio.gather(*(store.append(name, one("x" * 20_000)) for _ in range(50)))
    await store._saver._save_changed()
    await store.append("log-b", one("not saved"))
    await store.sequencer.settle()
    store.sequencer._give_up()
    await store.append("log-c", one("without a position"))
    disk.bytes = 0
    await store._attach()
    assert store.sequencer.indexed == 152
    assert disk.bytes < 150_000
    store.sequencer._give_up()
    path = store.path(store.logs["log-a"])
    path.write_bytes(path.read_bytes().replace(b"x\n", b"y\n"))
    disk.bytes = 0
    assert "is not what it was" not in caplog.text
    await store._attach()
    assert f"{path} is not what it was" in caplog.text
    assert disk.bytes > 1_000_000
    await store.close()


async def test_many_logs_are_saved_in_portions(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "SAVED_AT_ONCE", 3)
    store = Store(directory, Durability.OS)
    await store.open()
    await asyncio.gather(*(store.append(f"log-{n}", one("data")) for n in range(10)))
    await store.close()
    disk = ReadCounter()
    store = Store(directory, disk=disk)
    await store.open()
    assert (len(store.logs), disk.bytes) == (10, 0)
    await store.close()


async def test_a_file_removed_while_open_does_not_keep_the_others_from_the_index(
    directory: Path,
) -> None:
    store = Store(directory)
    await store.open()
    await store.append("first-log", one("data"))
    await store.append("other-log", one("data"))
    (directory / "first-log.tsv").unlink()
    await store.close()
    disk = ReadCounter()
    store = Store(directory, disk=disk)
    await store.open()
    assert (list(store.logs), disk.bytes) == (["other-log"], 0)
    await store.close()


async def test_an_index_that_cannot_be_saved_keeps_nobody_from_closing(
    directory: Path, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store()
    await store.append(NAME, one("data"))
    with sqlite3.connect(directory / ".hub" / "index.sqlite") as db:
        db.execute("DROP TABLE logs")
    db.close()
    await store.close()
    assert "there are no positions until the next start" in caplog.text
    store = await open_store()
    assert store.logs[NAME].version == 1


# Telling


async def test_one_who_is_told_and_fails_stops_nobody(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store()
    told: list[Committed] = []

    def fail(commit: Committed) -> None:
        raise ValueError("a mistake of a reader")

    store.on_commit += [fail, told.append]
    await asyncio.gather(*(store.append(NAME, one(str(n))) for n in range(3)))
    await store.append(NAME, one("more"))
    assert sum(each.count for each in told) == 4
    assert "a mistake of a reader" in caplog.text


async def test_names_that_never_become_files_are_forgotten(
    directory: Path, open_store: OpenStore
) -> None:
    """Else a full disk and a client with many names would take the hub's memory."""
    disk = FaultyDisk("open", 10**6, errno.ENOSPC, lasting=True)
    store = await open_store(disk=disk)
    disk.left = 1
    posts = [store.append(f"channel-{n % 20}", one("data")) for n in range(40)]
    gone = [store.append(f"gone-{n}", one("data")) for n in range(5)]
    for each in gone:
        each.cancel()
    failed = await asyncio.gather(*posts, return_exceptions=True)
    assert all(isinstance(each, DiskFull) for each in failed)
    await eventually(lambda: not store.logs)
    disk.healed = True
    assert (await store.append("channel-1", one("data"))).count == 1
    assert list(store.logs) == ["channel-1"]


# What is said of streams


VIEW = compile_matcher({"payload": {"type": "t"}})
OTHER = compile_matcher({"payload": {"type": "other"}})


async def test_a_derived_stream_is_followed_to_its_end_in_pieces(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derived, "LEAST_PIECE", 2)
    monkeypatch.setattr(derived, "MOST_PIECE", 2)
    store = await open_store()
    await store.append(NAME, many(*map(str, range(25))))
    await store.derive("view", VIEW)
    rows = await asyncio.gather(*(store.follow("view") for _ in range(3)))
    assert [(row.version, row.looked) for row in rows] == [(25, 25)] * 3
    following = asyncio.ensure_future(store.follow("view"))
    await store.append(NAME, many(*map(str, range(25))))
    await asyncio.sleep(0)
    await store.underive("view")
    with pytest.raises(UnknownStream):
        await store.follow("view")
    await asyncio.gather(following, return_exceptions=True)


async def test_definitions_are_there_after_a_restart(
    directory: Path, open_store: OpenStore
) -> None:
    store = await open_store()
    await store.append(NAME, one("data"))
    await store.derive("view", VIEW)
    await store.derive("gone", OTHER)
    await store.underive("gone")
    await store.seal(store.logs[NAME])
    await store.close()
    store = await open_store()
    assert store.derived == {"view": VIEW}
    assert (await store.follow("view")).version == 1
    with pytest.raises(StreamClosed):
        await store.append(NAME, one("more"))
    assert store.logs[NAME].version == 1


async def test_what_is_sealed_takes_what_is_pending_and_nothing_else(
    open_store: OpenStore,
) -> None:
    store = await open_store()
    pending = [store.append(NAME, one(str(n))) for n in range(5)]
    sealing = asyncio.ensure_future(store.seal(store.logs[NAME]))
    await eventually(lambda: store.logs[NAME].closed)
    with pytest.raises(StreamClosed):
        await store.append(NAME, one("late"))
    await sealing
    await asyncio.gather(*pending)
    assert store.logs[NAME].version == 5


class Syncs(Disk):
    """Tells what was put on disk, and when a record was."""

    def __init__(self) -> None:
        self.told: list[str] = []

        own = {"fdatasync": self._sync, "fsync": self._sync, "replace": self._replace}
        vars(self).update(own)

    def _sync(self, fd: int) -> None:
        self.told.append(os.readlink(f"/proc/self/fd/{fd}"))
        os.fsync(fd)

    def _replace(self, old: Path, new: Path) -> None:
        self.told.append(f"record {new.stem}")
        os.replace(old, new)


@pytest.mark.parametrize("durability", [Durability.OS, Durability.INTERVAL])
@pytest.mark.parametrize("empty", [False, True])
async def test_what_is_sealed_is_on_disk_before_that_is_said(
    directory: Path, durability: Durability, empty: bool
) -> None:
    """Whatever is promised of events: without its file, nobody would know that it is sealed."""
    disk = Syncs()
    store = Store(directory, durability, sync_interval=3600, disk=disk)
    await store.open()
    await (store.make(NAME, TSV) if empty else store.append(NAME, one("data")))
    disk.told.clear()
    await store.seal(store.logs[NAME])
    said = disk.told.index(f"record {NAME}")
    assert disk.told[:2] == [str(store.path(store.logs[NAME])), str(directory)]
    assert said > 1
    await store.close()


async def test_what_cannot_be_put_on_disk_is_not_sealed(directory: Path) -> None:
    disk = FaultyDisk("fdatasync", 1, errno.EIO)
    store = Store(directory, Durability.OS, disk=disk)
    await store.open()
    await store.append(NAME, one("data"))
    log = store.logs[NAME]
    with pytest.raises(OSError, match="Input/output"):
        await store.seal(log)
    assert disk.fired
    assert not log.closed
    await store.append(NAME, one("more"))
    await store.seal(log)
    assert (log.version, log.synced, log.unsound) == (2, log.length, False)
    await store.close()


def defining(store: Store, work: str) -> Coroutine[None, None, None]:
    """Something that is said of a stream."""
    if work == "seal":
        return store.seal(store.logs[NAME])
    return store.derive("view", VIEW) if work == "derive" else store.underive("old")


@pytest.mark.parametrize("work", ["seal", "derive", "underive"])
async def test_a_definition_is_not_broken_off(
    directory: Path, open_store: OpenStore, work: str
) -> None:
    """Who asked for it may have gone: it is done, and what is in memory is what is on disk."""
    store = await open_store()
    await store.append(NAME, one("data"))
    await store.derive("old", VIEW)
    doing = asyncio.create_task(defining(store, work))
    await asyncio.sleep(0)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    await store.close()
    known = (store.logs[NAME].closed, set(store.derived))
    assert (
        known
        == {
            "seal": (True, {"old"}),
            "derive": (False, {"old", "view"}),
            "underive": (False, set()),
        }[work]
    )
    store = await open_store()
    assert (store.logs[NAME].closed, set(store.derived)) == known


async def test_the_failure_of_what_nobody_waits_for_is_nobodys(open_store: OpenStore) -> None:
    disk = FaultyDisk("open", 10**9, errno.EIO, lasting=True)
    store = await open_store(disk=disk)
    disk.left = 1
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    for work in (store.derive("view", VIEW), store.make("new", TSV)):
        doing = asyncio.create_task(work)
        await asyncio.sleep(0)
        doing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doing
    await eventually(lambda: not store._definitions and not store._writer._tasks)
    gc.collect()
    assert disk.fired
    assert not told
    disk.healed = True


@pytest.mark.parametrize("call", ["open", "pwrite", "fsync"])
async def test_what_could_not_be_written_down_is_not_so(open_store: OpenStore, call: str) -> None:
    disk = FaultyDisk(call, 10**9, errno.EIO, lasting=True)
    store = await open_store(disk=disk)
    await store.append(NAME, one("data"))
    disk.left = 1
    with pytest.raises(OSError, match="Input/output"):
        await store.seal(store.logs[NAME])
    with pytest.raises(OSError, match="Input/output"):
        await store.derive("view", VIEW)
    disk.healed = True
    assert store.derived == {}
    await store.append(NAME, one("more"))
    await store.derive("view", OTHER)


@pytest.mark.parametrize("call", ["open", "pwrite", "fsync", "replace", "unlink"])
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("work", ["seal", "derive", "underive"])
async def test_after_a_fault_memory_is_what_the_next_start_finds(
    open_store: OpenStore, call: str, lasting: bool, number: int, work: str
) -> None:
    disk = FaultyDisk(call, 10**9, errno.EIO, lasting=lasting)
    store = await open_store(disk=disk)
    await store.append(NAME, one("data"))
    await store.derive("old", VIEW)
    disk.left = number
    failed = False
    try:
        await defining(store, work)
    except OSError:
        failed = True
    disk.healed = True
    known = (store.logs[NAME].closed, set(store.derived), set(store.names.page("", "", None)))
    if not failed or not disk.fired:
        assert (
            known[:2]
            == {
                "seal": (True, {"old"}),
                "derive": (False, {"old", "view"}),
                "underive": (False, set()),
            }[work]
        )
    elif not lasting:
        assert known[:2] == (False, {"old"})
    await store.close()
    store = await open_store()
    assert known == (store.logs[NAME].closed, set(store.derived), {NAME, *store.derived})


async def test_a_name_is_taken_once(open_store: OpenStore) -> None:
    store = await open_store()
    await store.append(NAME, one("data"))
    with pytest.raises(NameTaken):
        await store.derive(NAME, VIEW)
    outcomes = await asyncio.gather(
        store.derive("view", VIEW),
        store.derive("view", OTHER),
        store.derive("view", VIEW),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [type(None), NameTaken, type(None)]
    with pytest.raises(NameTaken):
        store.append("view", one("data"))
    with pytest.raises(NameTaken):
        store.commit("view", Draft([b"{}"], [""], "c"))
    with pytest.raises(NameTaken):
        await store.make("view", "tsv")


async def test_a_file_by_hand_takes_no_name_of_a_derived_stream(
    directory: Path, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store()
    await store.derive("view", VIEW)
    (directory / "view.tsv").write_text("1\tt\tdata\n")
    await store.look("view")
    assert "view" not in store.logs
    await store.close()
    store = await open_store()  # now somebody has to decide
    assert ("view" in store.logs, store.derived) == (True, {})
    assert "what .hub/streams says of 'view' is passed over" in caplog.text


# Making logs


async def test_a_log_is_made_once_and_has_one_format(
    directory: Path, open_store: OpenStore
) -> None:
    store = await open_store()
    made = await asyncio.gather(*(store.make("orders", "ndjson") for _ in range(3)))
    assert sorted(made) == [False, False, True]
    assert (directory / "orders.ndjson").read_bytes() == b""
    with pytest.raises(FormatConflict):
        await store.make("orders", "tsv")
    await store.append("orders", one("data"))
    assert (directory / "orders.ndjson").read_bytes().startswith(b'{"stream":"orders"')
    await store.close()
    store = await open_store()
    assert not await store.make("orders", "ndjson")


async def test_a_log_that_cannot_be_made_is_made_for_nobody(open_store: OpenStore) -> None:
    disk = FaultyDisk("open", 10**9, errno.ENOSPC, lasting=True)
    store = await open_store(disk=disk)
    disk.left = 1
    outcomes = await asyncio.gather(
        *(store.make("orders", "ndjson") for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(each, LogUnavailable) for each in outcomes)
    assert store.logs == {}
    disk.healed = True
    assert await store.make("orders", "ndjson")


async def test_a_channel_has_no_room_for_metadata(open_store: OpenStore) -> None:
    store = await open_store()
    await store.append(NAME, one("data"))
    with pytest.raises(FormatConflict, match="no room"):
        store.commit(NAME, Draft([b"{}"], [""], "c", b',"by":"me"'))
    assert (await store.commit(NAME, Draft([b"{}"], [""], "c"))).position == 2


class NoDirectorySync(Disk):
    """Does not sync a directory, as often as it is told so."""

    left = 0

    def fsync(self, fd: Any) -> None:
        if self.left and S_ISDIR(os.fstat(fd).st_mode):
            self.left -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(fd)


BY_HAND = "2026-01-01T00:00:00Z\tt\tby hand\n"


@pytest.mark.parametrize("how", ["by hand", "in vain"])
@pytest.mark.parametrize("after", ["kill", "without index"])
async def test_a_name_never_gets_a_second_file(directory: Path, how: str, after: str) -> None:
    """Else an acknowledged commit is in the file that the next start passes over."""
    disk = NoDirectorySync()
    store = Store(directory, disk=disk)
    await store.open()
    if how == "by hand":
        (directory / f"{NAME}.tsv").write_text(BY_HAND)
    else:
        disk.left = 1
        with pytest.raises(LogUnavailable):
            await store.append(NAME, one("refused"))
    receipt = await store.commit(NAME, Draft([b'{"type":"T"}'], ["T"], "c"))
    version = 2 if how == "by hand" else 1
    assert (receipt.version, receipt.position) == (version - 1, version)
    assert len(list(directory.glob(f"{NAME}*"))) == 1
    if after == "kill":
        copy = shutil.copytree(directory, directory.with_name("copy"))
        await store.close()
    else:
        await store.close()
        copy = directory
        for path in copy.glob(".hub/index*"):
            path.unlink()
    store = Store(copy)
    await store.open()
    assert store.logs[NAME].version == version
    await store.close()


async def test_a_file_by_hand_gives_a_new_log_its_format(
    directory: Path, open_store: OpenStore
) -> None:
    store = await open_store()
    (directory / f"{NAME}.tsv").write_text(BY_HAND)
    with pytest.raises(FormatConflict, match="no room"):
        store.commit(NAME, Draft([b"{}"], [""], "c", b',"by":"me"'))
    with pytest.raises(FormatConflict):
        await store.make(NAME, "ndjson")
    await store.look(NAME)
    assert store.logs[NAME].version == 1
    (directory / "orders.ndjson").write_bytes(documents.commit("orders", 0, b'{"type":"A"}'))
    assert (await store.append("orders", one("data"))).version == 1
    assert not (directory / "orders.tsv").exists()
