"""Positions that outlast a crash: who waits for what, and what fails."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from hub.storage.journal import Journal, Record
from hub.storage.logfile import Disk
from hub.storage.promises import Promises
from tests.storage.disks import FaultyDisk


class Waiting(Journal):
    """A journal whose appends can be held up."""

    appends = 0
    gate: threading.Event | None = None

    def append(self, records: Sequence[Record], indexed: int) -> int:
        self.appends += 1
        if self.gate:
            assert self.gate.wait(10)
        return super().append(records, indexed)


class Bench:
    """Promises over positions that are given here."""

    def __init__(self, directory: Path, *, sync: bool, disk: Disk | None = None) -> None:
        self.journal = Waiting(directory, disk or Disk(), sync=sync)
        self.journal.clear()
        self.head = 0
        self.indexed = 0
        self.promises = Promises(self.journal, lambda: self.indexed, self._given, sync=sync)

    def _given(self, after: int) -> list[Record]:
        return [Record(n, n, 1, "log-a") for n in range(after + 1, self.head + 1)]

    async def keep(self) -> bool:
        """Give one more position, and have it kept."""
        self.head += 1
        return await self.promises.keep(self.head)

    def read(self) -> list[int]:
        return [each.position for each in self.journal.read()]

    async def close(self) -> None:
        await self.promises.close()
        self.journal.close()


@pytest.fixture(params=[True, False], ids=["synced", "unsynced"])
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, sync=request.param)
    yield made
    await made.close()


async def test_what_is_kept_is_in_the_journal_with_all_before_it(bench: Bench) -> None:
    assert await bench.keep()
    assert bench.read() == [1]
    bench.head += 5
    assert await bench.keep()
    assert bench.read() == [1, 2, 3, 4, 5, 6, 7]
    assert await bench.promises.keep(3)  # at once
    assert bench.journal.appends == 2


async def test_what_the_index_has_is_not_written(bench: Bench) -> None:
    bench.head = bench.indexed = 10
    assert await bench.promises.keep(10)
    assert bench.journal.appends == 0
    assert await bench.keep()
    assert bench.read() == [11]


async def test_what_is_not_known_is_left_to_the_index(bench: Bench) -> None:
    bench.head = 4
    assert not await bench.promises.keep(5)
    assert bench.journal.appends == 0


async def test_what_comes_during_a_sync_goes_together(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=True)
    gate = bench.journal.gate = threading.Event()
    first = asyncio.ensure_future(bench.keep())
    await asyncio.sleep(0.01)
    others = [asyncio.ensure_future(bench.keep()) for _ in range(20)]
    await asyncio.sleep(0.01)
    assert not any(each.done() for each in (first, *others))
    gate.set()
    assert await asyncio.gather(first, *others) == [True] * 21
    assert bench.journal.appends == 2
    assert bench.read() == list(range(1, 22))
    await bench.close()


async def test_waiting_can_be_cancelled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=True)
    gate = bench.journal.gate = threading.Event()
    waits = [asyncio.ensure_future(bench.keep()) for _ in range(3)]
    await asyncio.sleep(0.01)
    waits[0].cancel()
    waits[2].cancel()
    gate.set()
    assert await waits[1]
    assert bench.read() == [1, 2, 3]
    await bench.close()


@pytest.mark.parametrize("sync", [True, False])
async def test_what_fails_is_left_to_the_index_and_said_once(
    tmp_path: Path, sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FaultyDisk("pwritev", 2, errno.ENOSPC, lasting=True)
    bench = Bench(tmp_path, sync=sync, disk=disk)
    assert await bench.keep()
    assert [await bench.keep() for _ in range(3)] == [False] * 3
    assert caplog.text.count("the order journal could not be written") == 1
    disk.healed = True
    bench.indexed = bench.head
    assert await bench.keep()
    assert bench.read() == [5]
    await bench.close()


async def test_who_waits_for_a_sync_that_fails_is_left_to_the_index(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=True, disk=FaultyDisk("pwritev", 1, errno.EIO))
    gate = bench.journal.gate = threading.Event()
    waits = [asyncio.ensure_future(bench.keep()) for _ in range(3)]
    await asyncio.sleep(0.01)
    gate.set()
    assert await asyncio.gather(*waits) == [False] * 3
    assert await bench.keep()  # in the other file
    assert bench.read() == [1, 2, 3, 4]
    await bench.close()


async def test_forgotten_positions_are_written_again(bench: Bench) -> None:
    assert await bench.keep()
    await bench.promises.forget()
    bench.journal.clear()
    assert await bench.promises.keep(1)
    assert bench.read() == [1]


async def test_closing_waits_for_what_is_on_its_way(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=True)
    gate = bench.journal.gate = threading.Event()
    waiting = asyncio.ensure_future(bench.keep())
    await asyncio.sleep(0.01)
    closing = asyncio.ensure_future(bench.promises.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    gate.set()
    await closing
    assert await waiting
    assert bench.read() == [1]
    bench.journal.close()
