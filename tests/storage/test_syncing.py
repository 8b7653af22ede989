"""Syncing at intervals. With a writer in front of it: `test_writer`."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.syncing import RegularSync, sync_found
from tests.storage.logs import Logs
from tests.web.wire import eventually


class Counting(Disk):
    """Counts what is synced, by file name, and fails when told so."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.fails = False

    def fdatasync(self, fd: Any) -> None:
        self.synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        if self.fails:
            raise OSError(errno.EIO, "no")

    fsync = fdatasync


class Bench:
    """What is synced of some logs, and mended."""

    def __init__(self, directory: Path, interval: float = 0.01) -> None:
        self.logs = Logs(directory / "events")
        self.disk = Counting()
        self.mended: list[str] = []
        self.heals = True
        self.threads = ThreadPoolExecutor(2)
        self.sync = RegularSync(self.disk, self.logs.path, interval, self.threads, self._mend)

    async def _mend(self, log: Log) -> None:
        self.mended.append(log.name)
        if self.heals:
            log.unsound = False
            log.synced = log.length

    def grow(self, log: Log) -> None:
        self.logs.grow(log)
        self.sync.add(log)

    def is_synced(self) -> bool:
        return all(log.synced == log.length for log in self.logs.all)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.sync.close()
    bench.threads.shutdown()


async def test_what_grew_is_synced_soon_and_once(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    for log in (a, b, a):
        bench.grow(log)
    assert bench.disk.synced == []
    await eventually(bench.is_synced)
    # A new file with its directory's entry.
    assert sorted(bench.disk.synced) == ["events", "events", "log-a.tsv", "log-b.tsv"]
    bench.grow(a)
    await eventually(bench.is_synced)
    assert bench.disk.synced[4:] == ["log-a.tsv"]
    await asyncio.sleep(0.05)
    assert len(bench.disk.synced) == 5
    assert len(asyncio.all_tasks()) == 1


async def test_what_grows_during_a_sync_is_synced_again(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    real = bench.disk.fdatasync

    def grows(fd: Any) -> None:
        real(fd)
        if len(bench.disk.synced) == 1:
            bench.logs.grow(a)
            loop.call_soon_threadsafe(bench.sync.add, a)

    loop = asyncio.get_running_loop()
    bench.disk.fdatasync = grows  # type: ignore[method-assign]
    bench.grow(a)
    await eventually(lambda: a.version == 2 and bench.is_synced())
    assert bench.disk.synced == ["log-a.tsv", "events", "log-a.tsv"]


async def test_after_a_failed_sync_the_log_is_mended_and_not_synced_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.disk.fails = True
    bench.grow(a)
    await eventually(lambda: a.unsound)
    assert "log log-a: a sync failed" in caplog.text
    bench.disk.fails = False
    bench.heals = False
    bench.grow(b)
    await eventually(lambda: len(bench.mended) > 2)  # again and again
    assert bench.disk.synced.count("log-a.tsv") == 1
    assert b.synced == b.length
    bench.heals = True
    await eventually(bench.is_synced)
    assert set(bench.mended) == {"log-a"}


async def test_closing_syncs_at_once_what_is_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path, interval=60)
    for n in range(5):
        bench.grow(bench.logs.make(f"log-{n}"))
    await asyncio.sleep(0)
    await asyncio.wait_for(bench.sync.close(), 5)
    assert bench.is_synced()
    bench.threads.shutdown()


async def test_closing_tells_what_could_not_be_synced(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.disk.fails = True
    bench.heals = False
    bench.grow(bench.logs.make("log-a"))
    await asyncio.wait_for(bench.sync.close(), 5)
    assert "log log-a: what was written last may not be on disk" in caplog.text


async def test_what_was_found_is_synced_with_the_names_of_the_files(bench: Bench) -> None:
    """The hub before may have been killed before it came to that."""
    logs = [bench.logs.make("log-a"), bench.logs.make("log-b")]
    sync_found(bench.disk, bench.logs.path, logs)
    assert sorted(bench.disk.synced) == ["events", "log-a.tsv", "log-b.tsv"]
    assert bench.is_synced()


@pytest.mark.parametrize("fails", ["log-a.tsv", "log-b.tsv", "events"])
async def test_of_what_was_found_one_fault_touches_no_other(bench: Bench, fails: str) -> None:
    logs = [bench.logs.make(name) for name in ("log-a", "log-b")]
    old = bench.logs.make("old")
    for log in (*logs, old):
        bench.logs.grow(log)
    old.synced = 1
    sync = bench.disk.fdatasync

    def fail(fd: Any) -> None:
        sync(fd)
        if bench.disk.synced[-1] == fails:
            raise OSError(errno.EIO, "no")

    bench.disk.fdatasync = bench.disk.fsync = fail  # type: ignore[method-assign]
    sync_found(bench.disk, bench.logs.path, [*logs, old])
    assert sorted(bench.disk.synced) == ["events", "log-a.tsv", "log-b.tsv", "old.tsv"]
    unsound = [log.name for log in (*logs, old) if log.unsound]
    assert unsound == (["log-a", "log-b"] if fails == "events" else [fails[:-4]])
    for log in (*logs, old):
        assert log.unsound or (log.synced, log.synced_version) == (log.length, 1)
