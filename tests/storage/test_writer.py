"""From a batch to an acknowledgement: groups, faults, ids, lines by hand, durability."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hub.batch import TsvReader
from hub.errors import (
    Closing,
    ConditionConflict,
    DiskFull,
    HubError,
    LogDamaged,
    LogUnavailable,
    WriteFailed,
)
from hub.event import IdOrder, Limits, id_at
from hub.formats import Batch
from hub.options import Durability
from hub.storage.group import GROUP_BYTES, Receipt
from hub.storage.groupfiles import THREADS
from hub.storage.log import Committed, Log
from hub.storage.logfile import Disk
from hub.storage.recovery import Scan, scan
from hub.storage.writer import Writer
from tests.storage.disks import FAULTS, FaultyDisk

BASE = 1_800_000_000_000_000


def one(data: str, identity: str = "") -> Batch:
    return Batch.of_one(identity, "t", data.encode())


def many(*data: str, ids: tuple[str, ...] = ()) -> Batch:
    reader = TsvReader(Limits())
    ids = ids or ("",) * len(data)
    lines = (f"{i}\tt\t{d}\n" for i, d in zip(ids, data, strict=True))
    reader.feed("".join(lines).encode())
    return reader.finish()


class Bench:
    """A writer over one directory, and what it has told."""

    def __init__(self, directory: Path, disk: Disk, durability: Durability) -> None:
        self.directory = directory
        self.told: list[Committed] = []
        self.now = BASE * 1000
        self.disk = disk
        self.head = 0
        self.writer = Writer(
            directory, disk, durability, 0.01, self._sequence, self.told.append, lambda: self.now
        )
        self.log = Log("a-log")

    def _sequence(self, commit: Committed) -> int:
        self.head += commit.count
        return self.head - commit.count + 1

    def submit(self, batch: Batch) -> asyncio.Future[Receipt]:
        return self.writer.submit(self.log, batch)

    async def outcome(self, *batches: Batch) -> list[Receipt | BaseException]:
        """What became of batches that are submitted one after the other, in one go."""
        return await asyncio.gather(*map(self.submit, batches), return_exceptions=True)

    @property
    def path(self) -> Path:
        return self.writer.path(self.log)

    @property
    def visible(self) -> bytes:
        """What readers see."""
        return self.path.read_bytes()[: self.log.length] if self.log.length else b""

    def data(self) -> list[str]:
        """The data of what readers see."""
        return [line.split(b"\t")[2].decode() for line in self.visible.split(b"\n")[:-1]]

    def ids(self) -> list[str]:
        return [line.split(b"\t")[0].decode() for line in self.visible.split(b"\n")[:-1]]


Open = Callable[..., Any]


@pytest.fixture
async def open_bench(tmp_path: Path) -> AsyncIterator[Open]:
    benches: list[Bench] = []

    def make(
        disk: Disk | None = None, durability: Durability = Durability.ALWAYS, name: str = "events"
    ) -> Bench:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        benches.append(Bench(directory, disk or Disk(), durability))
        return benches[-1]

    yield make
    for each in benches:
        await each.writer.close()


@pytest.fixture
def bench(open_bench: Open) -> Bench:
    found = open_bench()
    assert isinstance(found, Bench)
    return found


class SlowDisk(Disk):
    """Its writes wait until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.writes = 0
        self.threads: set[str] = set()

    def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
        self.begun.set()
        assert self.go.wait(10)
        self.writes += 1
        return os.pwritev(fd, data, at, flags)


@asynccontextmanager
async def held(bench: Bench, batch: Batch) -> AsyncIterator[asyncio.Future[Receipt]]:
    """While the block runs, the write of a batch is under way."""
    disk = bench.disk
    assert isinstance(disk, SlowDisk)
    first = bench.submit(batch)
    await asyncio.to_thread(disk.begun.wait, 10)
    try:
        yield first
    finally:
        disk.go.set()


# Groups


async def test_a_batch_is_answered_with_its_ids(bench: Bench) -> None:
    receipt = await bench.submit(many("a", "b", "c"))
    assert receipt == Receipt(3, id_at(BASE), id_at(BASE + 2), 0, 3, BASE // 1000)
    assert bench.data() == ["a", "b", "c"]
    (told,) = bench.told
    assert (told.start, told.end, told.count) == (0, bench.log.length, 3)
    assert told.lines == bench.visible
    assert (bench.log.version, bench.log.last_id) == (3, id_at(BASE + 2))


async def test_what_arrives_during_a_write_goes_out_in_one(open_bench: Open) -> None:
    disk = SlowDisk()
    bench = open_bench(disk)
    async with held(bench, one("first")) as first:
        rest = [bench.submit(one(str(n))) for n in range(100)]
        assert not bench.told
    await asyncio.gather(first, *rest)
    assert [each.count for each in bench.told] == [1, 100]
    assert disk.writes == 2
    assert bench.data() == ["first", *map(str, range(100))]


async def test_what_needs_no_thread_needs_no_task(open_bench: Open) -> None:
    bench = open_bench(durability=Durability.OS)
    await bench.submit(one("makes the file"))
    mine = asyncio.current_task()
    waiting = [bench.submit(one(f"{n}")) for n in range(10)]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {mine}
    assert all(each.done() for each in waiting)  # in one turn of the loop, and one write
    assert len(bench.told) == 2
    assert bench.log.pending is None


@pytest.mark.parametrize("durability", Durability)
async def test_what_was_just_submitted_is_settled_and_closed(
    open_bench: Open, durability: Durability
) -> None:
    """In the moment between a batch and the turn of the loop in which its write begins."""
    bench = open_bench(durability=durability)
    done = bench.submit(one("1"))
    await bench.writer.settle(bench.log)
    assert done.done()
    done = bench.submit(one("2"))
    await bench.writer.close()
    assert done.done()
    assert bench.log.version == 2


async def test_readers_see_nothing_before_it_is_durable(open_bench: Open) -> None:
    bench = open_bench(SlowDisk())
    async with held(bench, one("first")) as first:
        assert bench.log.length == 0
        assert not first.done()
    await first
    assert bench.log.length > 0


async def test_a_large_group_is_not_held_in_memory(bench: Bench) -> None:
    data = ["x" * 1000] * (2 * GROUP_BYTES // 1000)
    receipt = await bench.submit(many(*data))
    assert receipt.count == len(data)
    assert bench.told[0].lines is None
    assert bench.data() == data


async def test_logs_are_written_side_by_side(open_bench: Open) -> None:
    disk = SlowDisk()
    bench = open_bench(disk)
    logs = [Log(f"log-{n}") for n in range(5)]
    futures = [bench.writer.submit(log, one("data")) for log in logs]
    async with held(bench, one("first")) as first:
        pass
    await asyncio.gather(first, *futures)
    assert {each.log.name for each in bench.told} == {"a-log", *(log.name for log in logs)}


async def test_an_idle_log_costs_no_task_and_no_descriptor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.storage.files.SECONDS", 0.01)
    before = len(os.listdir("/proc/self/fd"))
    await bench.submit(one("data"))
    await asyncio.sleep(0.1)
    assert bench.log.pending is None
    assert bench.log.fd is None
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(asyncio.all_tasks()) == 1


async def test_a_post_that_is_cancelled_is_committed_or_not_whole(open_bench: Open) -> None:
    bench = open_bench(SlowDisk())
    async with held(bench, many("a", "b")) as first:
        second = bench.submit(many("c", "d"))
        third = bench.submit(one("e"))
        first.cancel()
        second.cancel()
    assert (await third).count == 1
    assert bench.data() == ["a", "b", "c", "d", "e"]


# Faults


def _expected(error: int) -> type[HubError]:
    return DiskFull if error == errno.ENOSPC else WriteFailed


@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize(("call", "error"), FAULTS)
@pytest.mark.parametrize("lasting", [False, True])
async def test_a_fault_at_any_call(
    open_bench: Open, durability: Durability, call: str, error: int, lasting: bool
) -> None:
    """What is acknowledged is there, what is refused is not, and after the fault all goes on."""
    for number in count(1):
        disk = FaultyDisk(call, number, error, lasting=lasting)
        bench = open_bench(disk, durability, name=f"{call}-{error}-{number}")
        kept: list[str] = []
        for turn in range(3):
            batches = {
                f"{turn}-one": one(f"{turn}-one"),
                f"{turn}-a {turn}-b": many(f"{turn}-a", f"{turn}-b"),
                f"{turn}-last": one(f"{turn}-last"),
            }
            outcomes = await bench.outcome(*batches.values())
            assert len({type(each) for each in outcomes}) == 1  # they were one group
            for names, outcome in zip(batches, outcomes, strict=True):
                if isinstance(outcome, Receipt):
                    kept += names.split()
                else:
                    assert isinstance(outcome, _expected(error))
            assert bench.data() == kept  # reading goes on
        disk.healed = True
        while isinstance((await bench.outcome(one("after")))[0], HubError):
            assert durability is Durability.INTERVAL
        assert bench.data() == [*kept, "after"]
        assert bench.path.read_bytes() == bench.visible
        found = scan(Disk(), bench.path, Scan(0, 0, "", IdOrder()))
        assert (found.length, found.version) == (bench.log.length, len(kept) + 1)
        assert bench.log.version == len(kept) + 1
        await bench.writer.close()
        if not disk.fired:
            break
    assert number < 100


async def test_what_is_pending_behind_a_failed_write_fails_with_it(open_bench: Open) -> None:
    class Full(SlowDisk):
        def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
            if not self.writes:
                super().pwritev(fd, (b"some of it",), at, flags)
                raise OSError(errno.ENOSPC, "full")
            return super().pwritev(fd, data, at, flags)

    bench = open_bench(Full())
    async with held(bench, one("first")) as first:
        behind = [bench.submit(one("second")), bench.submit(many("a", "b"))]
    for each in (first, *behind):
        with pytest.raises(DiskFull):
            await each
    await bench.submit(one("later"))
    assert bench.data() == ["later"]


async def test_after_a_failed_sync_nothing_is_written_before_the_log_is_verified(
    open_bench: Open,
) -> None:
    calls: list[str] = []

    class Failing(Disk):
        sick = True

        def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
            calls.append("append")
            if self.sick:
                raise OSError(errno.EIO, "bad sector")
            return os.pwritev(fd, data, at, flags)

        def pwrite(self, fd: Any, data: Any, at: int) -> int:
            calls.append("write again")
            if self.sick:
                raise OSError(errno.EIO, "bad sector")
            return os.pwrite(fd, data, at)

        def pread(self, fd: Any, size: int, at: int) -> bytes:
            calls.append("verify")
            return os.pread(fd, size, at)

    disk = Failing()
    bench = open_bench(disk)
    disk.sick = False
    await bench.submit(one("sound"))
    disk.sick = True
    with pytest.raises(WriteFailed):
        await bench.submit(one("refused"))
    calls.clear()
    for _ in range(3):
        with pytest.raises(WriteFailed):
            await bench.submit(one("refused"))
    assert "append" not in calls
    disk.sick = False
    calls.clear()
    await bench.submit(one("again"))
    assert calls == ["verify", "write again", "verify", "append"]
    assert bench.data() == ["sound", "again"]


async def test_an_error_of_close_holds_nobody_up(open_bench: Open) -> None:
    bench = open_bench(FaultyDisk("close", 1, errno.EIO, lasting=True))
    for data in ("a", "b"):
        await asyncio.wait_for(bench.submit(one(data)), 5)
    assert bench.data() == ["a", "b"]


async def test_a_mistake_in_the_hub_itself_is_answered_and_mended(
    open_bench: Open, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Disk):
        broken = True

        def lseek(self, fd: Any, position: int, whence: int) -> int:
            if self.broken:
                raise ValueError("a mistake")
            return os.lseek(fd, position, whence)

    disk = Broken()
    bench = open_bench(disk)
    with pytest.raises(WriteFailed, match="a mistake"):
        await bench.submit(one("lost"))
    assert "a write broke off" in caplog.text
    disk.broken = False
    await bench.submit(one("kept"))
    assert bench.data() == ["kept"]
    assert bench.path.read_bytes() == bench.visible


async def test_a_removed_file_is_an_error_and_not_a_loss_in_silence(bench: Bench) -> None:
    await bench.submit(one("first"))
    bench.path.unlink()
    with pytest.raises(WriteFailed, match="No such file"):
        await bench.submit(one("second"))


# Ids


async def test_ids_rise_when_the_clock_stands_still_or_goes_back(bench: Bench) -> None:
    for step in (0, 0, 5, -1000, -(10**9), 0, 10**6):
        bench.now += step * 1000
        await bench.outcome(one("a"), many("b", "c"), one("d"))
    ids = bench.ids()
    assert ids == sorted(set(ids))
    assert len(ids) == 28


async def test_ids_lie_above_a_clients_ids_in_the_hubs_form(bench: Bench) -> None:
    future = id_at(BASE + 10**12)
    await bench.submit(one("a", future))
    await bench.submit(one("b", "some-other"))
    await bench.submit(one("c", id_at(BASE - 10)))
    own = (await bench.submit(one("d"))).first_id
    assert own == id_at(BASE + 10**12 + 1)
    mixed = await bench.submit(many("e", "f", ids=(id_at(BASE + 10**13), "")))
    assert mixed.last_id == id_at(BASE + 10**13 + 1)


async def test_ids_of_refused_batches_leave_no_trace(open_bench: Open) -> None:
    bench = open_bench(FaultyDisk("pwritev", 2, errno.ENOSPC))
    await bench.submit(one("a"))
    with pytest.raises(DiskFull):
        await bench.submit(one("b", id_at(BASE + 10**12)))
    bench.now += 1000
    assert (await bench.submit(one("c"))).first_id == id_at(BASE + 1)
    assert bench.log.order.ordered


async def test_many_batches_in_one_group_have_their_own_ids(bench: Bench) -> None:
    outcomes = await bench.outcome(*(many(*"abc") for _ in range(50)))
    ids = bench.ids()
    assert ids == sorted(set(ids))
    for number, each in enumerate(outcomes):
        assert isinstance(each, Receipt)
        assert (each.first_id, each.last_id) == (ids[3 * number], ids[3 * number + 2])
        assert (each.count, each.version, each.position) == (3, 3 * number, 3 * number + 3)


# Lines by hand


def by_hand(bench: Bench, text: bytes) -> None:
    with open(bench.path, "ab") as file:
        file.write(text)


async def test_lines_by_hand_are_taken_in_at_the_next_write(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await bench.submit(one("first"))
    by_hand(bench, b"mine\tt\tby hand\nmine\tt\ttoo\n")
    await bench.outcome(one("second"), many("a", "b"))
    assert bench.data() == ["first", "by hand", "too", "second", "a", "b"]
    assert [each.count for each in bench.told] == [1, 2, 3]
    assert [each.start for each in bench.told[1:]] == [each.end for each in bench.told[:-1]]
    assert bench.log.version == 6
    assert "took in 2 lines appended by hand" in caplog.text
    assert not bench.log.order.ordered


async def test_ids_lie_above_those_of_lines_by_hand(bench: Bench) -> None:
    await bench.submit(one("first"))
    by_hand(bench, f"{id_at(BASE + 10**6)}\tt\tby hand\n".encode())
    receipts = await asyncio.gather(bench.submit(one("second")), bench.submit(one("third")))
    assert receipts[0].first_id == receipts[0].last_id == id_at(BASE + 10**6 + 1)
    assert [(each.version, each.position) for each in receipts] == [(2, 3), (3, 4)]
    assert bench.ids() == sorted(set(bench.ids()))
    assert bench.log.order.ordered


async def test_a_line_by_hand_without_line_break_is_waited_for(bench: Bench) -> None:
    await bench.submit(one("first"))
    by_hand(bench, b"whole\tt\tline\nmine\tt\tby ")
    with pytest.raises(LogUnavailable, match="no line break yet"):
        await bench.submit(one("second"))
    assert bench.data() == ["first", "line"]
    by_hand(bench, b"hand\n")
    await bench.submit(one("third"))
    assert bench.data() == ["first", "line", "by hand", "third"]


async def test_damage_by_hand_refuses_writes_and_serves_the_rest(bench: Bench) -> None:
    await bench.submit(one("first"))
    by_hand(bench, b"sound\tt\tline\nno event at all\nsound\tt\tagain\n")
    for _ in range(2):
        with pytest.raises(LogDamaged, match="line 3: it is not 'id TAB event TAB data'"):
            await bench.submit(one("second"))
    assert bench.data() == ["first", "line"]
    assert bench.path.read_bytes().endswith(b"again\n")


async def test_a_file_cut_shorter_refuses_writes(bench: Bench) -> None:
    await bench.submit(many("first", "second"))
    os.truncate(bench.path, 10)
    with pytest.raises(LogDamaged, match="10 bytes, but 73 were acknowledged"):
        await bench.submit(one("third"))
    assert bench.path.stat().st_size == 10


async def test_lines_by_hand_survive_a_disk_that_cannot_be_read(open_bench: Open) -> None:
    bench = open_bench(FaultyDisk("pread", 1, errno.EIO))
    await bench.submit(one("first"))
    by_hand(bench, b"mine\tt\tby hand\n")
    with pytest.raises(WriteFailed):
        await bench.submit(one("second"))
    await bench.submit(one("third"))
    assert bench.data() == ["first", "by hand", "third"]


async def test_looking_takes_in_lines_by_hand(bench: Bench) -> None:
    await bench.submit(one("first"))
    await bench.writer.look(bench.log)
    by_hand(bench, b"mine\tt\tby hand\n")
    await asyncio.gather(*(bench.writer.look(bench.log) for _ in range(3)))
    assert bench.data() == ["first", "by hand"]
    assert bench.log.pending is None
    by_hand(bench, b"mine\tt\ttoo\n")
    looking = asyncio.ensure_future(bench.writer.look(bench.log))
    await asyncio.sleep(0)
    await bench.submit(one("second"))
    await looking
    assert bench.data() == ["first", "by hand", "too", "second"]


async def test_looking_never_makes_events_of_a_write_that_was_refused(open_bench: Open) -> None:
    class Sick(Disk):
        sick = False

        def fdatasync(self, fd: Any) -> None:
            if self.sick:
                raise OSError(errno.EIO, "no")

        def ftruncate(self, fd: Any, length: int) -> None:
            if self.sick:
                raise OSError(errno.EIO, "no")
            os.ftruncate(fd, length)

    disk = Sick()
    bench = open_bench(disk)
    await bench.submit(one("first"))
    disk.sick = True
    with pytest.raises(WriteFailed):
        await bench.submit(many("a", "b"))
    assert bench.path.stat().st_size > bench.log.length
    await bench.writer.look(bench.log)
    assert bench.data() == ["first"]
    disk.sick = False
    await bench.submit(one("second"))
    assert bench.data() == ["first", "second"]


async def test_a_mistake_while_looking_holds_nobody_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("a mistake")

    await bench.submit(one("first"))
    by_hand(bench, b"mine\tt\tby hand\n")
    with monkeypatch.context() as patch:
        patch.setattr("hub.storage.writer.scan", fail)
        with pytest.raises(ValueError, match="a mistake"):
            await bench.writer.look(bench.log)
    await asyncio.wait_for(bench.submit(one("second")), 5)
    assert bench.data() == ["first", "by hand", "second"]


# Durability


class SyncCounter(Disk):
    """Counts what is synced, by file name."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.fail = 0

    def _name(self, fd: Any) -> str:
        return Path(os.readlink(f"/proc/self/fd/{fd}")).name

    def fdatasync(self, fd: Any) -> None:
        self.synced.append(self._name(fd))
        if self.fail:
            self.fail -= 1
            raise OSError(errno.EIO, "no")
        os.fdatasync(fd)

    def fsync(self, fd: Any) -> None:
        self.synced.append(self._name(fd))

    def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
        if flags & os.RWF_DSYNC:
            self.synced.append(self._name(fd))
        return os.pwritev(fd, data, at, flags)


async def test_always_syncs_before_it_answers(open_bench: Open) -> None:
    disk = SyncCounter()
    bench = open_bench(disk)
    await bench.submit(one("a"))
    assert disk.synced == ["events", "a-log.tsv"]
    await bench.submit(one("b"))
    assert disk.synced == ["events", "a-log.tsv", "a-log.tsv"]
    await bench.submit(many("c", "d"))
    assert disk.synced[3:] == ["a-log.tsv", "a-log.tsv"]
    assert bench.log.synced == bench.log.length


async def test_os_never_syncs(open_bench: Open) -> None:
    disk = SyncCounter()
    bench = open_bench(disk, Durability.OS)
    await bench.outcome(one("a"), many("b", "c"))
    await asyncio.sleep(0.05)
    await bench.writer.close()
    assert disk.synced == []


async def _until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within 10 s")


async def test_interval_syncs_soon_after_and_the_new_file_too(open_bench: Open) -> None:
    disk = SyncCounter()
    bench = open_bench(disk, Durability.INTERVAL)
    await bench.outcome(one("a"), one("b"))
    assert disk.synced == []
    await _until(lambda: bench.log.synced == bench.log.length)
    assert disk.synced == ["a-log.tsv", "events"]
    await bench.submit(one("c"))
    await _until(lambda: bench.log.synced == bench.log.length)
    assert disk.synced == ["a-log.tsv", "events", "a-log.tsv"]


async def test_interval_writes_again_what_it_could_not_sync(open_bench: Open) -> None:
    disk = SyncCounter()
    bench = open_bench(disk, Durability.INTERVAL)
    await bench.submit(one("a"))
    await _until(lambda: bench.log.synced)
    disk.fail = 3
    await bench.submit(one("b"))
    await _until(lambda: bench.log.unsound)
    await _until(lambda: not bench.log.unsound)
    assert disk.fail == 0
    assert bench.log.synced == bench.log.length
    assert bench.data() == ["a", "b"]
    await bench.submit(one("c"))
    assert bench.data() == ["a", "b", "c"]


@pytest.mark.parametrize(("cut", "next_one"), [(True, "post"), (True, "look"), (False, "look")])
async def test_lines_by_hand_after_a_failed_sync_are_events(
    open_bench: Open, next_one: str, cut: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Disk):
        write = cutting = True

        def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
            written = Disk.pwritev(fd, data, at, flags)
            if not self.write:
                self.write = True
                raise OSError(errno.EIO, "no")
            return written

        def ftruncate(self, fd: Any, length: int) -> None:
            if not self.cutting:
                raise OSError(errno.EIO, "no")
            os.ftruncate(fd, length)

    disk = Failing()
    bench = open_bench(disk)
    await bench.submit(one("a"))
    disk.write, disk.cutting = False, cut
    with pytest.raises(WriteFailed):
        await bench.submit(one("refused"))
    size = bench.path.stat().st_size
    assert (size == bench.log.length) == cut
    if cut and next_one == "post":
        bench.path.write_bytes(bench.path.read_bytes() + b"1\tt\tby hand\n")
        await bench.submit(one("b"))
        assert bench.data() == ["a", "by hand", "b"]
        return
    disk.cutting = True
    # Without a post:
    await _until(lambda: not bench.log.unsound and bench.log.pending is None)
    bench.path.write_bytes(bench.path.read_bytes() + b"1\tt\tby hand\n")
    await bench.writer.look(bench.log)
    assert bench.data() == ["a", "by hand"]
    aside = list((bench.path.parent / ".hub" / "torn").glob("*"))
    if not cut:
        assert b"refused" in aside[0].read_bytes()
        assert "cut off what was refused" in caplog.text
    else:
        assert not aside


async def test_what_the_disk_has_lost_refuses_writes(open_bench: Open) -> None:
    """At intervals: the system dropped what it could not write, and says that no more."""

    class Dropping(Disk):
        def __init__(self) -> None:
            self.path: Path | None = None

        def fdatasync(self, fd: Any) -> None:
            if self.path:
                size = self.path.stat().st_size
                with open(self.path, "r+b") as file:
                    file.seek(4096)
                    file.write(bytes(size - 4096))
                self.path = None
                raise OSError(errno.EIO, "no")
            os.fdatasync(fd)

    disk = Dropping()
    bench = open_bench(disk, Durability.INTERVAL)
    await bench.submit(one("x" * 4050))
    await _until(lambda: bench.log.synced)
    disk.path = bench.path
    await bench.outcome(*(one("y" * 3000) for _ in range(3)))
    await _until(lambda: bench.log.damage)
    assert "line 2" in str(bench.log.damage)
    with pytest.raises(LogDamaged):
        await bench.submit(one("more"))


async def test_closing_commits_and_syncs_all_that_is_left(open_bench: Open) -> None:
    disk = SyncCounter()
    bench = open_bench(disk, Durability.INTERVAL)
    logs = [Log(f"log-{n}") for n in range(4 * THREADS)]
    futures = [bench.writer.submit(log, one("data")) for log in logs]
    await asyncio.sleep(0)
    await bench.writer.close()
    assert all(future.done() for future in futures)
    assert {f"{log.name}.tsv" for log in logs} <= set(disk.synced)
    assert all(log.synced == log.length > 0 for log in logs)


async def test_closing_during_a_sync_waits_for_it(open_bench: Open) -> None:
    class Slow(SyncCounter):
        begun = threading.Event()

        def fdatasync(self, fd: Any) -> None:
            self.begun.set()
            threading.Event().wait(0.05)
            super().fdatasync(fd)

    disk = Slow()
    bench = open_bench(disk, Durability.INTERVAL)
    logs = [Log(f"log-{n}") for n in range(2 * THREADS)]
    await asyncio.gather(*(bench.writer.submit(log, one("data")) for log in logs))
    await asyncio.to_thread(disk.begun.wait, 10)
    await bench.writer.close()
    assert all(log.synced == log.length > 0 for log in logs)


async def test_closing_ends_though_the_disk_still_fails(open_bench: Open) -> None:
    disk = SyncCounter()
    bench = open_bench(disk, Durability.INTERVAL)
    disk.fail = 10**9
    await bench.submit(one("a"))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(bench.writer.close(), 5)


async def test_a_closed_writer_takes_nothing(bench: Bench) -> None:
    await bench.writer.close()
    with pytest.raises(Closing):
        await bench.submit(one("late"))
    assert not bench.path.exists()


# One who has a turn of its own


class Turning:
    """A guard that waits for its turn, and then lets its batch pass or not."""

    def __init__(self, bench: Bench, error: Exception | None = None) -> None:
        self.go = asyncio.Event()
        self.seen: list[str] = []
        self.bench = bench
        self.error = error

    async def turn(self, log: Log) -> None:
        await self.go.wait()
        self.seen = self.bench.data()
        if self.error:
            raise self.error

    def refusal(self, log: str, version: int) -> HubError | None:
        assert version == len(self.seen)
        return None


@pytest.mark.parametrize("error", [None, ConditionConflict("no"), RuntimeError("a mistake")])
async def test_a_batch_with_a_turn_is_alone_in_it(bench: Bench, error: Exception | None) -> None:
    guard = Turning(bench, error)
    first = bench.submit(one("before"))
    turning = bench.writer.submit(bench.log, one("turn"), guard)
    behind = bench.submit(one("behind"))
    await first
    later = bench.submit(one("later"))
    await asyncio.sleep(0.02)
    assert not behind.done()
    assert bench.data() == ["before"]
    guard.go.set()
    if error:
        with pytest.raises(type(error)):
            await turning
    else:
        assert (await turning).version == 1
    await behind
    await later
    assert guard.seen == ["before"]
    assert bench.data() == ["before", *([] if error else ["turn"]), "behind", "later"]
    assert not bench.log.unsound
