"""The engine of files: what its protocol promises."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from hub.batch import TsvReader
from hub.document import KEYS, Draft, labels_reader
from hub.engines import files
from hub.engines.base import Committed, Engine, Scope, Selection
from hub.engines.files import READ_THREADS, FilesEngine
from hub.errors import (
    Closing,
    ConditionConflict,
    DirectoryLocked,
    IndexFailed,
    LogUnavailable,
    ReadFailed,
    UnknownId,
    UnknownStream,
)
from hub.event import Limits
from hub.formats import Batch
from hub.matcher import compile_matcher
from hub.options import Durability
from hub.selector import Condition, query_of_types
from hub.storage import index, order, places, soundness, watches
from hub.storage.index import Index
from hub.storage.logfile import Disk
from hub.storage.order import OrderCursor
from tests.storage.disks import FaultyDisk
from tests.web.wire import append_by_hand, rows

NAME = "a-channel"
LINES = b"1\ta\tone\n2\tb\ttwo\n3\ta\tthree\n"


@pytest.fixture
async def engine(events: Path) -> AsyncIterator[FilesEngine]:
    engine = FilesEngine(events)
    await engine.open()
    yield engine
    await engine.close()


async def fill(engine: Engine) -> int:
    """Write the three events; return the end."""
    for line in LINES.split(b"\n")[:-1]:
        identity, event, data = line.split(b"\t")
        await engine.append(NAME, Batch.of_one(identity.decode(), event.decode(), data))
    log = engine.find(NAME)
    assert log
    return log.length


async def test_a_log_is_there_once_it_was_written(engine: Engine) -> None:
    assert engine.find(NAME) is None
    assert list(engine.logs()) == []
    receipt = await engine.append(NAME, Batch.of_one("1", "a", b"one"))
    assert (receipt.count, receipt.first_id, receipt.last_id) == (1, "1", "1")
    log = engine.find(NAME)
    assert log
    assert list(engine.logs()) == [log]
    assert (log.name, log.format, log.version, log.last_id) == (NAME, "tsv", 1, "1")
    assert (log.length, log.damage) == (len("1\ta\tone\n"), None)


async def test_a_log_that_is_being_made_is_not_there_yet(engine: Engine) -> None:
    done = engine.append(NAME, Batch.of_one("1", "a", b"one"))
    assert engine.find(NAME) is None
    await done
    assert engine.find(NAME)


async def test_names_of_logs_and_derived_streams(events: Path) -> None:
    """In their order, whichever way they came to be, and across a restart."""
    engine = FilesEngine(events)
    await engine.open()
    matcher = compile_matcher({"payload": {"type": "A"}})
    for name in ("cccc", "aaaa", "cccc"):
        await engine.append(name, Batch.of_one("1", "a", b"one"))
    await engine.make("dddd", "ndjson")
    await engine.derive("bbbb", matcher)
    await engine.derive("eeee", matcher)
    (events / "ffff.tsv").write_bytes(LINES)
    await engine.look("ffff")
    await engine.look("nowhere")
    assert engine.names("") == ["aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff"]
    await engine.underive("eeee")
    await engine.close()
    engine = FilesEngine(events)
    await engine.open()
    assert engine.names("") == ["aaaa", "bbbb", "cccc", "dddd", "ffff"]
    assert engine.names("", "bbbb", 2) == ["cccc", "dddd"]
    assert engine.names("b") == ["bbbb"]
    await engine.close()


async def test_a_name_that_came_to_nothing_is_none(events: Path) -> None:
    engine = FilesEngine(events)
    await engine.open()
    (events / f"{NAME}.tsv").mkdir()  # no file can be made here
    with pytest.raises(LogUnavailable):
        await engine.append(NAME, Batch.of_one("1", "a", b"one"))
    assert engine.names("") == []
    await engine.close()


async def test_reading(engine: Engine) -> None:
    end = await fill(engine)
    assert await engine.read(NAME, 0, end) == LINES
    assert await engine.read(NAME, 8, end) == LINES[8:]
    assert await engine.read(NAME, 0, 8) == LINES[:8]
    assert engine.file(NAME).read_bytes() == LINES
    assert await engine.count(NAME, 0, end) == 3
    assert await engine.count(NAME, 8, end) == 2
    window = await engine.window(NAME, Selection(since="1", event="a"), end)
    assert (window.end, window.last_id) == (end, "3")
    assert await engine.resume(NAME, "2", end) == len(b"1\ta\tone\n2\tb\ttwo\n")
    assert await engine.resume(NAME, "unknown", end) is None
    with pytest.raises(UnknownId):
        await engine.window(NAME, Selection(until="unknown"), end)


async def test_when_logs_were_written(engine: Engine, events: Path) -> None:
    await fill(engine)
    written = await engine.written(["a-channel"])
    assert written == {"a-channel": (events / "a-channel.tsv").stat().st_mtime_ns // 1_000_000}
    (events / "a-channel.tsv").unlink()
    assert await engine.written(["a-channel"]) == {}
    assert await engine.written([]) == {}


async def test_readers_are_told_in_order(engine: Engine) -> None:
    seen: list[Committed] = []
    engine.on_commit.append(seen.append)
    await asyncio.gather(*(engine.append(NAME, Batch.of_one("", "", b"%d" % n)) for n in range(50)))
    log = engine.find(NAME)
    assert log
    place = 0
    for commit in seen:
        assert commit.start == place
        place = commit.end
        assert commit.lines == await engine.read(NAME, commit.start, commit.end)
    assert place == log.length
    assert sum(commit.count for commit in seen) == 50


async def test_closing_commits_what_is_pending(events: Path) -> None:
    engine = FilesEngine(events)
    await engine.open()
    pending = [engine.append(NAME, Batch.of_one("", "", b"data")) for _ in range(5)]
    await engine.close()
    assert all(done.done() and not done.exception() for done in pending)
    with pytest.raises(Closing):
        await engine.append(NAME, Batch.of_one("", "", b"late"))
    again = FilesEngine(events)
    await again.open()
    log = again.find(NAME)
    assert log
    assert log.version == 5
    await again.close()


async def test_one_engine_to_a_directory(engine: Engine, events: Path) -> None:
    other = FilesEngine(events)
    with pytest.raises(DirectoryLocked):
        await other.open()


async def test_a_search_ends_when_nobody_waits_for_it_any_more(events: Path) -> None:
    class Slow(Disk):
        seconds = 0.0
        reads = 0
        begun = threading.Event()

        def pread(self, fd: Any, size: int, at: int) -> bytes:
            self.reads += 1
            self.begun.set()
            time.sleep(self.seconds)
            return os.pread(fd, size, at)

    disk = Slow()
    engine = FilesEngine(events, disk=disk)
    await engine.open()
    for _ in range(60):
        await engine.append(NAME, Batch.of_one("an-id", "t", b"x" * places.BLOCK))
    log = engine.find(NAME)
    assert log
    await engine.settle()  # what gives positions reads, too
    disk.reads = 0
    disk.begun.clear()
    disk.seconds = 0.05
    searching = asyncio.ensure_future(engine.resume(NAME, "unknown", log.length))
    assert await asyncio.to_thread(disk.begun.wait, 10)
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    await engine.close()  # waits for what still runs
    assert disk.reads < 10


def write_by_hand(events: Path, text: bytes) -> None:
    """Make a log, before the engine is opened."""
    events.mkdir()
    (events / "large.tsv").write_bytes(text)


async def test_no_short_read_waits_for_long_searches(events: Path) -> None:
    """However many there are, and wherever they have come to."""
    begin = b"1\ta\tfirst\n"
    write_by_hand(events, begin + b"2\tb\t%b\n" % (b"x" * 300) * 10_000)
    go_on = threading.Event()
    go_on.set()

    class Slow(Disk):
        def pread(self, fd: Any, size: int, at: int) -> bytes:
            data = super().pread(fd, size, at)
            if data.startswith(begin):  # they go backwards: this is the last that they look at
                assert go_on.wait(30)
            return data

    engine = FilesEngine(events, disk=Slow())
    await engine.open()
    end = await fill(engine)
    await engine.look("large")
    log = engine.find("large")
    assert log
    await engine.settle()
    go_on.clear()
    wanted = Selection(event="a", tail=1)
    searches = [
        asyncio.ensure_future(engine.window("large", wanted, log.length)) for _ in range(12)
    ]
    try:
        await asyncio.sleep(1)
        async with asyncio.timeout(10):
            for _ in range(10):
                found = await engine.window(NAME, Selection(tail=1), end)
                assert (found.end, found.last_id) == (end, "3")
                assert await engine.resume(NAME, "2", end) == end - len(b"3\ta\tthree\n")
                last = await engine.window("large", Selection(tail=1), log.length)
                assert last.last_id == "2"
        assert not any(each.done() for each in searches)
    finally:
        go_on.set()
    assert {(each.start, each.end, each.last_id) for each in await asyncio.gather(*searches)} == {
        (0, log.length, "1")
    }
    await engine.close()


async def test_a_log_that_could_not_be_read_is_no_empty_one(events: Path) -> None:
    append_by_hand(events, b"1\t\tdata\n")
    engine = FilesEngine(events, disk=FaultyDisk("pread", 1, errno.EACCES))
    await engine.open()
    try:
        with pytest.raises(ReadFailed, match="could not be read when the hub started"):
            await engine.look("a-channel")
        with pytest.raises(LogUnavailable):
            await engine.append("a-channel", Batch.of_one("", "", b"more"))
    finally:
        await engine.close()
    assert rows(events) == [[b"1", b"", b"data"]]


async def test_a_derived_stream_that_is_another_one_meanwhile(engine: Engine) -> None:
    await fill(engine)
    await engine.derive("view", compile_matcher({"stream": NAME}))
    assert len(await engine.read_derived("view", range(1, 4))) == 3
    await engine.underive("view")
    await engine.derive("view", compile_matcher({"payload": {"type": "a"}}))
    with pytest.raises(UnknownStream, match="or no longer"):  # a reader of the first one reads on
        await engine.read_derived("view", range(1, 4))
    assert len(await engine.read_derived("view", range(2, 0, -1))) == 2


@pytest.mark.parametrize(
    ("number", "found"),
    [("none", "malformed"), (1.5, "float"), ("6,7", "no number"), ("", "malformed|no number")],
)
async def test_a_long_index_whose_numbers_are_none_is_found_by_who_reads_it(
    events: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: object,
    found: str,
) -> None:
    """It is not looked through when it is opened."""
    monkeypatch.setattr(index, "CHECKED_BYTES", 0)
    engine = FilesEngine(events)
    await engine.open()
    await fill(engine)
    await engine.append("later", Batch.of_one("", "", b""))
    await engine.close()
    with closing(sqlite3.connect(events / ".hub" / "index.sqlite")) as db:
        db.execute("UPDATE runs SET offset = ? WHERE position = 1", (number,))
        db.commit()
    for sound in (False, True):
        engine = FilesEngine(events)
        await engine.open()
        cursor = engine.cursor(Scope(), 1, 3)
        if sound:
            assert await engine.read_order(cursor)
        else:
            with pytest.raises(ReadFailed, match=found):
                await engine.read_order(cursor)
        await engine.close()
    assert "the index is damaged: there are no positions until the next start" in caplog.text


@pytest.mark.parametrize("which", ["index", "file"])
async def test_where_a_log_and_a_long_index_differ_the_one_that_is_damaged_is_told(
    events: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    monkeypatch.setattr(index, "CHECKED_BYTES", 0)
    engine = FilesEngine(events)
    await engine.open()
    await fill(engine)
    path = engine.file(NAME)
    await engine.close()
    look = Mock(wraps=soundness.faults)
    monkeypatch.setattr(files, "faults", look)
    engine = FilesEngine(events)
    await engine.open()
    if which == "index":
        with closing(sqlite3.connect(events / ".hub" / "index.sqlite")) as db:
            db.execute("UPDATE runs SET count = count + 1 WHERE position = 1")
            db.commit()
    else:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\0", 1))
    for _ in range(3):
        cursor = engine.cursor(Scope(), 1, 3)
        with pytest.raises(ReadFailed) as told:
            await engine.read_order(cursor)
        damaged = "index is damaged" if which == "index" else f"{path} is damaged"
        if not engine._store.sequencer.condemned:
            assert damaged in str(told.value)
    assert engine._store.sequencer.condemned == (which == "index")
    assert look.call_count == 1
    await engine.close()


async def test_a_derived_stream_that_cannot_be_followed_for_damage_is_made_anew(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "CHECKED_BYTES", 0)
    for sound in (True, False, True):
        engine = FilesEngine(events)
        await engine.open()
        await engine.derive("view", compile_matcher({"payload": {"type": "a"}}))
        await fill(engine)
        if sound:
            assert await engine.version_of("view") > 0
        else:
            with pytest.raises(IndexFailed, match="malformed"):
                await engine.version_of("view")
        await engine.close()
        if engine.head == 3:
            path = events / ".hub" / "index.sqlite"
            with closing(sqlite3.connect(path)) as db:
                (page,) = db.execute(
                    "SELECT rootpage FROM sqlite_master WHERE name = 'members'"
                ).fetchone()
            content = path.read_bytes()
            at = (page - 1) * 4096
            path.write_bytes(content[:at] + b"\xff" * 4096 + content[at + 4096 :])


async def test_what_goes_wrong_with_a_sound_index_is_no_damage(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(engine)
    assert await engine.settle() == 3

    def fail(*_: object) -> None:
        raise ValueError("a mistake in the hub")

    monkeypatch.setattr(files, "_place", fail)
    with pytest.raises(ValueError, match="a mistake"):
        await engine.place(NAME, 2)
    assert "damage" not in caplog.text
    assert await engine.read_order(engine.cursor(Scope(), 1, 3))


async def test_an_index_that_is_opened_anew_leaves_no_connections_behind(events: Path) -> None:
    """Each reading thread has one."""
    engine = FilesEngine(events)
    await engine.open()
    await fill(engine)
    for _ in range(5):
        engine._store.sequencer._give_up()
        await engine._store._attach()
        for _ in range(3):
            head = await engine.settle()
            cursors = [engine.cursor(Scope(), 1, head) for _ in range(30)]
            assert all(await asyncio.gather(*map(engine.read_order, cursors)))
        assert len(engine._connections) <= READ_THREADS
    await engine.close()


@pytest.mark.parametrize("moment", ["between", "within"])
async def test_what_was_begun_by_an_index_does_not_go_on_by_another(
    events: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """One that was made anew numbers logs in another way."""
    monkeypatch.setattr(order, "PIECE", 1)
    engine = FilesEngine(events)
    await engine.open()
    for n in range(6):
        identity = f"20{30 - n}-01-01T00:00:00.000000Z"
        await engine.append(f"log-{n}", Batch.of_one(identity, "t", b"%d" % n))

    async def make_anew() -> None:
        Index(events / ".hub" / "index.sqlite").condemn()
        engine._store.sequencer._give_up()
        await engine._store._attach()

    cursor = engine.cursor(Scope(), 1, await engine.settle())
    assert await engine.read_order(cursor)
    if moment == "between":
        await make_anew()
    else:
        begun, gate = threading.Event(), threading.Event()
        real = OrderCursor.read

        def read(*arguments: Any) -> Any:
            begun.set()
            assert gate.wait(10)
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(OrderCursor, "read", read)
            reading = asyncio.ensure_future(engine.read_order(cursor))
            await asyncio.to_thread(begun.wait, 10)
            await make_anew()
            gate.set()
            with pytest.raises(ReadFailed, match="opened anew"):
                await reading
    with pytest.raises(ReadFailed, match="opened anew"):
        await engine.read_order(cursor)
    cursor = engine.cursor(Scope(), 1, await engine.settle())
    assert await engine.read_order(cursor)
    await engine.commit("orders-1", Draft([b'{"type":"T"}'], ["T"], "c1"))


# Conditions, and batches that take long to look at


def rows_of(kind: str, count: int) -> Batch:
    reader = TsvReader(Limits())
    chunk = b'\t%b\t{"x":"%b"}\n' % (kind.encode(), b"x" * 80)
    for left in range(count, 0, -1000):
        reader.feed(chunk * min(left, 1000))
    return reader.finish()


def draft(kind: str, count: int = 1) -> Draft:
    payloads = [b'{"type":"%b"}' % kind.encode()] * count
    return Draft(payloads, [kind] * count, "a-commit")


def none_of(kind: str, after: int) -> Condition:
    return Condition(query_of_types([kind]), after)


class Clock:
    """How long the event loop stood still at most."""

    def __init__(self) -> None:
        self.pause = 0.0

    async def run(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            self.pause = max(self.pause, time.perf_counter() - began)


async def test_a_large_batch_does_not_stop_the_loop_for_those_with_conditions(
    engine: FilesEngine,
) -> None:
    async def pause(commits: int) -> float:
        batch = rows_of("t", 16 * 1024 * 10)
        clock = Clock()
        ticking = asyncio.create_task(clock.run())
        await asyncio.sleep(0.01)
        posting = asyncio.ensure_future(engine.append(f"large-{commits}", batch))
        works = [
            asyncio.ensure_future(engine.commit(f"s-{n}", draft("T"), None, none_of("Other", 0)))
            for n in range(commits)
        ]
        await asyncio.gather(posting, *works)
        await engine.settle()
        ticking.cancel()
        return clock.pause

    alone = await pause(0)
    assert await pause(10) < 0.2 + 3 * alone


async def test_a_condition_is_held_against_a_large_batch(engine: FilesEngine) -> None:
    large = rows_of("t", 20_000)
    posting = asyncio.ensure_future(engine.append("large", large))
    await asyncio.sleep(0)
    with pytest.raises(ConditionConflict):
        await engine.commit("orders", draft("T"), None, none_of("t", 0))
    await posting
    await engine.commit("orders", draft("T"), None, none_of("t", 20_000))


@pytest.mark.parametrize("stream", ["orders", "large-0"])
async def test_a_constant_stream_of_large_batches_keeps_no_condition_waiting(
    engine: FilesEngine, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    """Nor do those who commit with conditions keep the batches waiting."""
    monkeypatch.setattr(watches, "LOOK_BYTES", 1000)
    posted = [0] * 4
    over = False

    async def post(n: int) -> None:
        while not over:
            await asyncio.gather(*(engine.append(f"large-{n}", rows_of("t", 100)) for _ in "ab"))
            posted[n] += 1

    posting = [asyncio.create_task(post(n)) for n in range(4)]
    await asyncio.sleep(0.1)
    try:
        async with asyncio.timeout(60):
            for _ in range(3):
                before = list(posted)
                works = [
                    engine.commit(stream, draft("T"), None, none_of("Other", 0)) for _ in "abc"
                ]
                await asyncio.gather(*works)
                while any(now == then for now, then in zip(posted, before, strict=True)):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    finally:
        over = True
        await asyncio.gather(*posting)


@pytest.mark.parametrize(
    ("look", "attempts"), [(0, 0), (0, 3), (600, 1), (watches.LOOK_BYTES, files.ATTEMPTS)]
)
@pytest.mark.parametrize("durability", [Durability.ALWAYS, Durability.OS])
async def test_conditions_hold_however_little_is_looked_at(
    events: Path,
    monkeypatch: pytest.MonkeyPatch,
    look: int,
    attempts: int,
    durability: Durability,
) -> None:
    monkeypatch.setattr(watches, "LOOK_BYTES", look)
    monkeypatch.setattr(files, "ATTEMPTS", attempts)
    engine = FilesEngine(events, durability)
    await engine.open()
    logs = ["orders-1", "orders-2", "channel-1"]
    await engine.append("channel-1", rows_of("t", 1))
    kept: list[tuple[int, int, str]] = []  # from, to, and what may not be between
    refused = 0
    began = time.monotonic()

    def is_over() -> bool:
        return time.monotonic() > began + 1.5 and len(kept) > 20 and refused > 20

    async def decide() -> None:
        nonlocal refused
        while not is_over():
            kind, count = random.choice("ABCDEFGHIJ"), random.randint(1, 5)
            after = await engine.settle()
            await asyncio.sleep(random.uniform(0, 0.003))
            work = engine.commit(
                random.choice(logs),
                draft(random.choice("ABCDEFGHIJ"), count),
                None,
                none_of(kind, after),
            )
            try:
                if random.random() < 0.1:
                    await asyncio.wait_for(work, random.uniform(0, 0.01))
                else:
                    kept.append((after, (await work).position - count, kind))
            except ConditionConflict:
                refused += 1
            except TimeoutError:
                pass

    async def post() -> None:
        while not is_over():
            await engine.append(random.choice(logs), rows_of(random.choice("ABCDEFGHIJ"), 10))
            await asyncio.sleep(random.uniform(0, 0.01))

    async with asyncio.timeout(60):
        await asyncio.gather(*(decide() for _ in range(8)), *(post() for _ in range(3)))
        head = await engine.settle()
    kinds: list[str] = []
    cursor = engine.cursor(Scope(), 1, head)
    while (part := await engine.read_order(cursor)) is not None:
        kinds += [labels_reader(KEYS)(line).type for _, line in part.each()]
    await engine.close()
    assert len(kinds) == head
    for after, to, kind in kept:
        assert kind not in kinds[after:to]


async def test_one_of_many_with_the_same_condition_wins_though_nobody_looks(
    engine: FilesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "LOOK_BYTES", 0)
    works = [
        engine.commit(f"stream-{n % 5}", draft("Taken"), None, none_of("Taken", 0))
        for n in range(50)
    ]
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*works, return_exceptions=True)
    assert sum(isinstance(each, ConditionConflict) for each in outcomes) == 49
    assert await engine.settle() == 1


async def test_one_who_insists_and_is_given_up_keeps_nobody_waiting(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ATTEMPTS", 0)
    engine = FilesEngine(events)
    await engine.open()
    for n in range(40):
        work = asyncio.ensure_future(
            engine.commit("orders", draft("T"), None, none_of("Other", n % 2))
        )
        for _ in range(1 + n % 20):
            await asyncio.sleep(0)
        work.cancel()
        async with asyncio.timeout(30):
            await asyncio.gather(work, return_exceptions=True)
            await engine.commit("others", draft("T"), None, none_of("Other", 0))
            await engine.append("orders", rows_of("t", 1))
    await engine.close()
