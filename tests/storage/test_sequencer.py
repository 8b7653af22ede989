"""Positions: given once, in the order of durability, told when the index has them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hub.document import KEYS
from hub.errors import IndexFailed
from hub.formats import NDJSON
from hub.storage import sequencer as module
from hub.storage.index import Additions, Index
from hub.storage.journal import Journal, Record
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.ordering import Stretch
from hub.storage.sequencer import Sequencer
from tests.storage.logs import Logs, order_of, runs_of
from tests.web.wire import eventually


class Trying(Index):
    """An index that can be made to fail, or to wait, when it is written."""

    error: Exception | None = None
    adds = 0
    threads: set[str]
    gate: threading.Event | None = None
    waits: threading.Event

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.threads = set()
        self.waits = threading.Event()

    def add(self, additions: Additions, *, sync: bool, wait: bool = True) -> None:
        self.adds += 1
        assert wait or not sync
        self.threads.add(threading.current_thread().name)
        if self.gate:
            self.waits.set()
            assert self.gate.wait(10)
        if self.error:
            raise self.error
        super().add(additions, sync=sync, wait=wait)


class Bench:
    """A sequencer over an index and logs."""

    def __init__(self, directory: Path, *, sync: bool) -> None:
        self.logs = Logs(directory / "events")
        self.index = Trying(directory / "index.sqlite")
        self.index.open()
        self.journal = Journal(directory, Disk(), sync=sync)
        self.journal.clear()
        parts = self.index, self.journal, Disk(), self.logs.path
        self.sequencer = Sequencer(*parts, KEYS, sync=sync)
        self.sequencer.load({}, 0)
        self.sequencer.release(absent=False)
        self.given: dict[int, tuple[str, int]] = {}

    def grow(self, log: Log, count: int = 1, **how: Any) -> int:
        """Append a group; return the position of its last event."""
        commit = self.logs.grow(log, count, **how)
        first = self.sequencer.take(commit)
        for at in range(count):
            self.given[first + at] = (log.name, commit.revision + at)
        return first + count - 1

    def check(self) -> None:
        """What was given has no gaps, and the index has it all."""
        assert sorted(self.given) == list(range(1, len(self.given) + 1))
        assert self.sequencer.indexed == self.sequencer.head == len(self.given)
        assert order_of(self.index, self.logs) == self.given

    async def close(self) -> None:
        await self.sequencer.close()
        self.index.close()
        self.journal.close()


Open = Callable[..., Bench]


@pytest.fixture(params=[True, False], ids=["synced", "unsynced"])
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, sync=request.param)
    yield made
    await made.close()


@pytest.fixture
async def inline(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench that need not sync."""
    made = Bench(tmp_path, sync=False)
    yield made
    await made.close()


async def test_positions_follow_each_other_over_all_logs(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    assert [bench.grow(a), bench.grow(b, 3), bench.grow(a, 2), bench.grow(a)] == [1, 4, 6, 7]
    assert bench.sequencer.head == 7
    assert bench.sequencer.indexed == 0
    await bench.sequencer.settle()
    bench.check()
    assert {log.number for log in (a, b)} == {1, 2}
    assert bench.sequencer.numbered == {1: a, 2: b}


async def test_who_waits_for_a_position_waits_no_longer(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    gate = bench.index.gate = threading.Event()
    first = bench.grow(a)
    waiting = asyncio.ensure_future(bench.sequencer.settle(first))
    if bench.sequencer._sync:  # else this loop itself would wait
        await asyncio.to_thread(bench.index.waits.wait, 10)
        last = bench.grow(a, 5)
        later = asyncio.ensure_future(bench.sequencer.settle(last))
        bench.index.gate = None
        gate.set()
        await waiting
        await later
    else:
        gate.set()
        await waiting
    bench.check()
    await bench.sequencer.settle(first)  # at once
    assert bench.index.adds <= 2


async def test_nobody_is_answered_before_his_position_is_in_the_index(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=True)
    a = bench.logs.make("log-a")
    first_gate = bench.index.gate = threading.Event()
    first = asyncio.ensure_future(bench.sequencer.settle(bench.grow(a)))
    await asyncio.to_thread(bench.index.waits.wait, 10)
    second_gate = bench.index.gate = threading.Event()
    second = asyncio.ensure_future(bench.sequencer.settle(bench.grow(a)))
    await asyncio.sleep(0)
    first_gate.set()
    await first
    await asyncio.sleep(0.02)
    assert not second.done()
    second_gate.set()
    await second
    bench.check()
    await bench.close()


async def test_what_nobody_waits_for_is_written_a_little_later_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAZY_SECONDS", 0.05)
    a = bench.logs.make("log-a")
    for _ in range(100):
        bench.grow(a)
    assert bench.index.adds == 0
    await eventually(lambda: bench.sequencer.indexed == 100)
    assert bench.index.adds == 1
    assert bench.index.threads == {"hub-index_0"}
    bench.grow(a)
    await eventually(lambda: bench.sequencer.indexed == 101)
    bench.check()


async def test_followers_are_told_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAZY_SECONDS", 60)
    told: list[int] = []
    bench.sequencer.on_indexed.append(lambda: told.append(bench.sequencer.indexed))
    a = bench.logs.make("log-a")
    bench.grow(a)
    bench.sequencer.follow(True)
    await eventually(lambda: told == [1])
    for _ in range(50):
        bench.grow(a, 2)
        await asyncio.sleep(0)
    await eventually(lambda: told[-1] == 101)
    assert told == sorted(set(told))
    bench.sequencer.follow(False)
    bench.grow(a)
    await asyncio.sleep(0.05)
    assert bench.sequencer.indexed == 101
    await bench.sequencer.settle()
    bench.check()


async def test_a_follower_that_fails_stops_nobody(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("a mistake of a reader")

    told: list[int] = []
    bench.sequencer.on_indexed += [fail, lambda: told.append(1)]
    bench.grow(bench.logs.make("log-a"))
    await bench.sequencer.settle()
    assert told == [1]
    assert "a mistake of a reader" in caplog.text
    bench.check()


async def test_waiting_can_be_cancelled(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    bench.grow(a)
    waits = [asyncio.ensure_future(bench.sequencer.settle()) for _ in range(3)]
    await asyncio.sleep(0)
    waits[0].cancel()
    waits[2].cancel()
    await waits[1]
    bench.check()


# Positions that are told to who wrote


async def test_who_wrote_does_not_wait_for_the_index(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=True)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    gate = bench.index.gate = threading.Event()
    bench.grow(a, 2)
    reading = asyncio.ensure_future(bench.sequencer.settle())
    await asyncio.to_thread(bench.index.waits.wait, 10)
    bench.grow(b, 3)
    await bench.sequencer.secure(bench.grow(a))
    # What is on its way into the index is not there yet.
    assert bench.journal.read() == [
        Record(1, 1, 2, "log-a"),
        Record(3, 1, 3, "log-b"),
        Record(6, 3, 1, "log-a"),
    ]
    assert bench.sequencer.indexed == 0
    assert not reading.done()
    gate.set()
    await reading
    await bench.sequencer.settle()
    bench.check()
    await bench.close()


async def test_what_was_secured_comes_into_the_index_a_little_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAZY_SECONDS", 0.05)
    a = bench.logs.make("log-a")
    began = time.monotonic()
    for _ in range(50):
        await bench.sequencer.secure(bench.grow(a))
    await eventually(lambda: bench.sequencer.indexed == 50)
    assert bench.index.adds <= 2 + (time.monotonic() - began) / 0.05
    bench.check()


async def test_what_the_journal_cannot_take_waits_for_the_index(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    bench.journal.close()
    await bench.sequencer.secure(bench.grow(a))
    assert bench.sequencer.indexed == 1
    bench.index.error = full()
    with pytest.raises(IndexFailed, match="events are stored"):
        await bench.sequencer.secure(bench.grow(a))
    bench.index.error = None
    await bench.sequencer.settle()
    bench.check()


async def test_while_the_index_fails_the_journal_keeps_what_was_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    a = bench.logs.make("log-a")
    bench.index.error = full()
    bench.grow(a)
    with pytest.raises(IndexFailed):
        await bench.sequencer.settle()
    await bench.sequencer.secure(bench.grow(a))
    assert [each.position for each in bench.journal.read()] == [1, 2]
    bench.index.error = None
    await bench.sequencer.settle()
    bench.check()


# Without syncing


async def test_what_is_quick_is_written_without_a_thread(inline: Bench) -> None:
    a, b = inline.logs.make("log-a"), inline.logs.make("log-b")

    async def commit(log: Log) -> None:
        await inline.sequencer.settle(inline.grow(log))

    await asyncio.gather(*(commit(log) for log in (a, b) * 8))
    assert inline.index.threads == {"MainThread"}
    assert inline.index.adds < 4  # those who wait together are served together
    inline.check()


@pytest.mark.parametrize("how", ["many", "large", "unheld"])
async def test_what_is_not_quick_is_written_in_the_thread(inline: Bench, how: str) -> None:
    a, b = inline.logs.make("log-a"), inline.logs.make("log-b")
    if how == "many":
        for _ in range(module.INLINE_RUNS + 1):
            inline.grow(a)
    elif how == "large":
        inline.grow(a, 10, size=module.INLINE_BYTES // 10)
    else:
        inline.grow(a, 3, held=False)
    inline.grow(b)
    await inline.sequencer.settle()
    assert inline.index.threads == {"hub-index_0"}
    inline.check()


async def test_nothing_is_written_beside_the_thread(inline: Bench) -> None:
    """Even if whoever gave it something to do waits no longer: a connection has one user."""
    a = inline.logs.make("log-a")
    begun, gate, using = threading.Event(), threading.Event(), threading.Lock()

    def work() -> None:
        with using:
            begun.set()
            assert gate.wait(10)

    def alone(additions: Additions, *, sync: bool, wait: bool = True) -> None:
        assert using.acquire(blocking=False), "two at once"
        Index.add(inline.index, additions, sync=sync, wait=wait)
        using.release()

    inline.index.add = alone  # type: ignore[method-assign]
    working = asyncio.ensure_future(inline.sequencer.in_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    inline.grow(a)
    settling = asyncio.ensure_future(inline.sequencer.settle())
    await asyncio.sleep(0.05)
    assert not settling.done()
    gate.set()
    await settling
    inline.check()


async def test_what_fails_though_nobody_waits_is_no_noise(bench: Bench) -> None:
    gate = threading.Event()

    def fail() -> None:
        assert gate.wait(10)
        raise ValueError("nobody hears this")

    working = asyncio.ensure_future(bench.sequencer.in_thread(fail))
    await asyncio.sleep(0.01)
    working.cancel()
    gate.set()
    await bench.sequencer.in_thread(int)


# Failures


def damage() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("no such table: runs")
    error.sqlite_errorcode = sqlite3.SQLITE_ERROR
    return error


def full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.mark.parametrize("error", [full(), OSError(28, "no space"), ValueError("a mistake")])
async def test_when_the_index_fails_nothing_is_lost_and_the_order_stays(
    bench: Bench,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "LAZY_SECONDS", 0.01)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    bench.grow(a)
    await bench.sequencer.settle()
    bench.index.error = error
    for log in (a, b, a):
        bench.grow(log, 2)
        with pytest.raises(IndexFailed, match="events are stored"):
            await bench.sequencer.settle()
        with pytest.raises(IndexFailed, match="nothing of this was stored"):
            bench.sequencer.check()
    assert bench.sequencer.indexed == 1
    assert all(each.lines is None for each in bench.sequencer._queue)  # they might be many
    bench.grow(bench.logs.make("log-c"), 3)
    await asyncio.sleep(0.1)  # it is tried again and again
    assert caplog.text.count("the index could not be written") == 1
    bench.index.error = None
    await eventually(lambda: bench.sequencer.indexed == bench.sequencer.head)
    assert "the index can be written again" in caplog.text
    bench.sequencer.check()
    bench.grow(a)
    await bench.sequencer.settle()
    bench.check()


@pytest.mark.parametrize("error", [sqlite3.DatabaseError("malformed"), damage()])
async def test_a_damaged_index_is_condemned_and_given_up(
    bench: Bench, error: Exception, tmp_path: Path
) -> None:
    marker = tmp_path / "index.sqlite-damaged"
    bench.index.error = full()
    a = bench.logs.make("log-a")
    bench.grow(a)
    with pytest.raises(IndexFailed):
        await bench.sequencer.settle()
    assert not marker.exists()
    assert not bench.sequencer.condemned
    bench.index.error = error
    bench.grow(a)
    with pytest.raises(IndexFailed, match=r"malformed|no such table"):
        await bench.sequencer.settle()
    assert marker.exists()
    assert bench.sequencer.condemned
    assert bench.sequencer.absent
    assert bench.sequencer.take(bench.logs.grow(a)) == 0
    with pytest.raises(IndexFailed):
        await bench.sequencer.settle()
    assert bench.sequencer._queue == []


async def test_while_the_index_fails_not_too_much_waits_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given up has no positions until an index is attached."""
    monkeypatch.setattr(module, "QUEUED", 10)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    for _ in range(20):
        bench.grow(a)
    await bench.sequencer.settle()  # so many may wait for one that does not fail
    bench.index.error = full()
    bench.grow(b)
    with pytest.raises(IndexFailed):
        await bench.sequencer.settle()
    taken = [bench.sequencer.take(bench.logs.grow(b)) for _ in range(20)]
    assert taken[0] == 22
    assert taken[-1] == 0
    assert bench.sequencer.absent
    assert not bench.sequencer.condemned
    assert (bench.sequencer._queue, bench.sequencer._new) == ([], [])
    with pytest.raises(IndexFailed):
        await bench.sequencer.settle()
    bench.index.error = None
    await asyncio.sleep(0.05)
    assert bench.index.last_run() is None or bench.sequencer.indexed == 20


async def test_a_write_under_way_when_it_is_given_up_tells_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUED", 2)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    bench = Bench(tmp_path, sync=True)
    told: list[int] = []
    a = bench.logs.make("log-a")
    bench.index.error = full()
    bench.grow(a)
    with pytest.raises(IndexFailed):
        await bench.sequencer.settle()
    gate = bench.index.gate = threading.Event()
    bench.index.error = None
    bench.index.waits.clear()
    waiting = asyncio.ensure_future(bench.sequencer.settle())
    await asyncio.to_thread(bench.index.waits.wait, 10)
    bench.sequencer.on_indexed.append(lambda: told.append(1))
    for _ in range(5):
        bench.sequencer.take(bench.logs.grow(a))
    gate.set()
    with pytest.raises(IndexFailed):
        await waiting
    assert (told, bench.sequencer.absent, bench.sequencer.indexed) == ([], True, 0)
    await bench.close()


@pytest.mark.parametrize("error", [full(), sqlite3.DatabaseError("malformed")])
async def test_a_write_that_fails_after_it_was_given_up_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What was in it gets its positions when the index is attached, and only then."""
    monkeypatch.setattr(module, "QUEUED", 2)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "LAZY_SECONDS", 0.01)
    bench = Bench(tmp_path, sync=True)
    sequencer = bench.sequencer
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.grow(a, 2)
    await sequencer.settle()
    bench.index.error = full()
    commits = [bench.logs.grow(b)]
    sequencer.take(commits[0])
    with pytest.raises(IndexFailed):
        await sequencer.settle()
    gate = bench.index.gate = threading.Event()
    bench.index.error = error
    bench.index.waits.clear()
    waiting = asyncio.ensure_future(sequencer.settle())
    await asyncio.to_thread(bench.index.waits.wait, 10)
    for _ in range(4):
        commits.append(bench.logs.grow(b))
        sequencer.take(commits[-1])
    assert sequencer.absent

    def attach() -> None:
        bench.index.error = bench.index.gate = None
        b.number = 0
        sequencer.load({1: a}, 1)
        assert sequencer.head == 2
        sequencer.adopt(Stretch(b, n, c.start, c.lines or b"", 1) for n, c in enumerate(commits, 1))

    await sequencer.hold()
    attaching = asyncio.ensure_future(sequencer.in_thread(attach))
    gate.set()
    await attaching
    sequencer.release(absent=False)
    with pytest.raises(IndexFailed):
        await waiting
    sequencer.check()
    await sequencer.settle(sequencer.take(bench.logs.grow(a)))
    await asyncio.sleep(0.05)  # nor a little later
    assert (sequencer.absent, sequencer.condemned) == (False, False)
    assert order_of(bench.index, bench.logs) == {
        **{n: ("log-a", n) for n in (1, 2)},
        **{2 + n: ("log-b", n) for n in range(1, 6)},
        8: ("log-a", 3),
    }
    await bench.close()


async def test_an_index_that_has_other_positions_is_attached_anew(
    bench: Bench, tmp_path: Path
) -> None:
    """It may be in the right: only when it contradicts itself it is damaged."""
    a = bench.logs.make("log-a")
    bench.index.error = sqlite3.IntegrityError("UNIQUE constraint failed: runs.position")
    bench.grow(a)
    with pytest.raises(IndexFailed, match="UNIQUE"):
        await bench.sequencer.settle()
    assert bench.sequencer.absent
    assert not bench.sequencer.condemned
    assert not (tmp_path / "index.sqlite-damaged").exists()
    assert bench.sequencer._queue == []


async def test_an_index_that_somebody_else_writes_to_stops_nobody(
    inline: Bench, tmp_path: Path
) -> None:
    """This loop goes on meanwhile."""
    other = sqlite3.connect(
        tmp_path / "index.sqlite", isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    inline.grow(inline.logs.make("log-a"))
    waiting = asyncio.ensure_future(inline.sequencer.settle())
    for _ in range(10):
        await asyncio.wait_for(asyncio.sleep(0.01), 1)
    assert not waiting.done()
    other.close()
    await waiting
    inline.check()


async def test_groups_that_came_during_a_failed_write_come_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    bench = Bench(tmp_path, sync=True)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    gate = bench.index.gate = threading.Event()
    bench.index.error = full()
    bench.grow(a)
    settling = asyncio.ensure_future(bench.sequencer.settle())
    await asyncio.to_thread(bench.index.waits.wait, 10)
    bench.grow(b)
    bench.grow(a)
    bench.index.gate = None
    gate.set()
    with pytest.raises(IndexFailed):
        await settling
    bench.index.error = None
    await bench.sequencer.settle()
    bench.check()
    await bench.close()


async def test_more_lines_than_may_be_held_are_read_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 1000)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    for _ in range(30):
        bench.grow(a, 2)
        bench.grow(b, 3)
    assert sum(len(each.lines or b"") for each in bench.sequencer._queue) <= 1000
    await bench.sequencer.settle()
    bench.check()
    for run in runs_of(bench.index):
        log = bench.sequencer.numbered[run.log]
        text = bench.logs.path(log).read_bytes()[run.offset : run.offset + run.size]
        assert text.endswith(b"\n")
        assert text.count(b"\n") == run.count


# Without an index


async def test_without_an_index_nothing_has_a_position(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=True)
    bench.sequencer.release(absent=True)
    a = bench.logs.make("log-a")
    assert bench.sequencer.take(bench.logs.grow(a)) == 0
    with pytest.raises(IndexFailed):
        await bench.sequencer.settle()
    with pytest.raises(IndexFailed):
        await bench.sequencer.secure(0)
    with pytest.raises(IndexFailed):
        bench.sequencer.check()
    assert (a.number, bench.sequencer.head) == (0, 0)
    await bench.close()


async def test_what_comes_while_an_index_is_attached_comes_behind(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=True)
    told: list[int] = []
    bench.sequencer.on_indexed.append(lambda: told.append(1))
    bench.sequencer.release(absent=True)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.sequencer.take(bench.logs.grow(a))
    await bench.sequencer.hold()
    assert bench.sequencer.take(bench.logs.grow(a, 2)) == 0
    assert bench.sequencer.take(bench.logs.grow(b)) == 0
    with pytest.raises(IndexFailed):  # its commit was never told a position
        await bench.sequencer.settle(0)
    bench.sequencer.load({}, 0)
    line = bench.logs.path(a).read_bytes().split(b"\n")[0] + b"\n"
    bench.sequencer.adopt([Stretch(a, 1, 0, line, 1)])
    bench.sequencer.release(absent=False)
    assert told
    with pytest.raises(IndexFailed):
        await bench.sequencer.settle(0)
    await bench.sequencer.settle()
    assert order_of(bench.index, bench.logs) == {
        1: ("log-a", 1),
        2: ("log-a", 2),
        3: ("log-a", 3),
        4: ("log-b", 1),
    }
    await bench.close()


async def test_what_comes_before_all_waits_is_adopted_and_not_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hold` lets the journal end what it is at: until then events come as before."""
    bench = Bench(tmp_path, sync=True)
    gate, waits = threading.Event(), threading.Event()
    real = bench.journal.append

    def append(records: list[Record], indexed: int) -> int:
        waits.set()
        assert gate.wait(10)
        return real(records, indexed)

    monkeypatch.setattr(bench.journal, "append", append)
    monkeypatch.setattr(module, "QUEUED", 0)
    a = bench.logs.make("log-a")
    bench.index.error = full()
    commits = [bench.logs.grow(a)]
    keeping = asyncio.ensure_future(bench.sequencer.secure(bench.sequencer.take(commits[0])))
    await asyncio.to_thread(waits.wait, 10)
    with pytest.raises(IndexFailed):
        await bench.sequencer.settle()
    commits.append(bench.logs.grow(a))
    bench.sequencer.take(commits[-1])
    assert bench.sequencer.absent
    holding = asyncio.ensure_future(bench.sequencer.hold())
    await asyncio.sleep(0.01)
    commits.append(bench.logs.grow(a))
    bench.sequencer.take(commits[-1])
    gate.set()
    await holding  # what is in the logs now is what is adopted
    await keeping
    bench.sequencer.take(bench.logs.grow(a))
    bench.index.error = None
    a.number = 0
    bench.sequencer.load({}, 0)
    bench.sequencer.adopt(
        Stretch(a, n, c.start, c.lines or b"", 1) for n, c in enumerate(commits, 1)
    )
    bench.sequencer.release(absent=False)
    await bench.sequencer.settle()
    assert order_of(bench.index, bench.logs) == {n: ("log-a", n) for n in (1, 2, 3, 4)}
    await bench.close()


async def test_an_index_that_is_condemned_while_it_is_attached_is_not_used(tmp_path: Path) -> None:
    """A reader found the damage: the next start throws away whatever would be told now."""
    bench = Bench(tmp_path, sync=True)
    bench.sequencer.release(absent=True)
    await bench.sequencer.hold()
    a = bench.logs.make("log-a")
    bench.sequencer.take(bench.logs.grow(a))
    bench.sequencer.load({}, 0)
    bench.sequencer.condemn()
    bench.sequencer.release(absent=False)
    assert bench.sequencer.absent
    assert bench.sequencer.take(bench.logs.grow(a)) == 0
    with pytest.raises(IndexFailed):
        bench.sequencer.check()
    await bench.close()


async def test_lines_of_what_waits_for_an_index_are_not_held(tmp_path: Path) -> None:
    """It may be attached for minutes."""
    bench = Bench(tmp_path, sync=True)
    bench.sequencer.release(absent=True)
    await bench.sequencer.hold()
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    commits = [bench.logs.grow(log, 3, size=1000) for log in (a, b, a)]
    for each in commits:
        bench.sequencer.take(each)
    assert all(each.lines for each in commits)  # they are others' too
    assert sum(len(each.lines or b"") for each in bench.sequencer._waiting or []) == 0
    bench.sequencer.load({}, 0)
    bench.sequencer.release(absent=False)
    await bench.sequencer.settle()
    assert len(order_of(bench.index, bench.logs)) == 9
    await bench.close()


# Adopting, loading


async def test_what_has_no_position_is_adopted_behind_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 100)  # in several transactions
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    bench.grow(a, 2)
    await bench.sequencer.settle()
    stretches = []
    for log in (a, b, b, a):
        commit = bench.logs.grow(log, 2)
        assert commit.lines
        stretches.append(Stretch(log, commit.revision, commit.start, commit.lines, 2))
        for revision in (commit.revision, commit.revision + 1):
            bench.given[len(bench.given) + 1] = (log.name, revision)
    bench.sequencer.adopt(iter(stretches))
    assert bench.index.adds >= 4  # what is adopted is not held all at once
    bench.check()
    bench.grow(b)
    await bench.sequencer.settle()
    bench.check()


async def test_a_new_sequencer_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=False)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.grow(a, 3)
    bench.grow(b, 3)
    await bench.close()
    bench.index.open()
    again = bench.sequencer = Sequencer(
        bench.index, bench.journal, Disk(), bench.logs.path, KEYS, sync=True
    )
    again.load({1: a, 2: b}, 2)
    again.release(absent=False)
    assert again.head == again.indexed == 6
    bench.grow(b)  # of the last run it is not known which terms it has
    bench.grow(bench.logs.make("log-c"))
    await again.settle()
    bench.check()
    found = [(run.position, run.count) for run in runs_of(bench.index)]
    assert found == [(1, 3), (4, 3), (7, 1), (8, 1)]
    assert again.numbered[3].name == "log-c"
    await bench.close()


# Closing


async def test_closing_writes_what_is_pending_and_answers_who_waits(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    bench.grow(a)
    waiting = asyncio.ensure_future(bench.sequencer.settle())
    await asyncio.sleep(0)
    bench.grow(a)
    last = asyncio.ensure_future(bench.sequencer.settle())
    await asyncio.sleep(0)
    await bench.sequencer.close()
    await waiting
    await last
    bench.check()


async def test_closing_writes_what_nobody_waits_for(bench: Bench) -> None:
    bench.grow(bench.logs.make("log-a"), 5)
    await bench.sequencer.close()
    bench.check()
    bench.grow(bench.logs.all[0])
    with pytest.raises(IndexFailed, match="shutting down"):
        await asyncio.wait_for(bench.sequencer.settle(), 5)


async def test_closing_while_the_index_fails_keeps_nobody_waiting(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.index.error = full()
    bench.grow(bench.logs.make("log-a"))
    waiting = [asyncio.ensure_future(bench.sequencer.settle()) for _ in range(2)]
    await asyncio.sleep(0.05)
    bench.grow(bench.logs.all[0])
    waiting.append(asyncio.ensure_future(bench.sequencer.settle()))
    await asyncio.sleep(0)
    await asyncio.wait_for(bench.sequencer.close(), 5)
    for each in waiting:
        with pytest.raises(IndexFailed):
            await each
    assert "the index lacks the last positions" in caplog.text


async def test_closing_during_a_write_waits_for_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sync=True)
    gate = bench.index.gate = threading.Event()
    bench.grow(bench.logs.make("log-a"))
    waiting = asyncio.ensure_future(bench.sequencer.settle())
    await asyncio.to_thread(bench.index.waits.wait, 10)
    closing = asyncio.ensure_future(bench.sequencer.close())
    bench.grow(bench.logs.all[0])
    await asyncio.sleep(0.01)
    gate.set()
    await closing
    await waiting
    bench.check()
    bench.index.close()
