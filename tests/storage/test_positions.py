"""Positions that somebody was told, across faults, crashes and damage.

Whole engines over one directory, opened again and again.
"""

# ruff: noqa: ASYNC230  (nothing else runs in these loops)

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest

from hub.document import Draft, parts_of
from hub.engines.files import FilesEngine
from hub.errors import (
    ConditionConflict,
    HubError,
    IndexFailed,
    LogDamaged,
    ReadFailed,
    VersionConflict,
)
from hub.formats import NDJSON, Batch
from hub.options import Durability
from hub.selector import Condition, query_of_types
from hub.storage import index as index_module
from hub.storage import journal, saving, sequencer, store
from hub.storage.index import Additions, Index
from hub.storage.journal import Journal
from hub.storage.logfile import Disk
from hub.storage.plan import Scope
from tests.parts import missing
from tests.storage.disks import FAULTS, FaultyDisk

JOURNAL_FAULTS = [
    ("pwritev", errno.EIO),
    ("pwritev", errno.ENOSPC),
    ("pwritev", 0),
    ("ftruncate", errno.EIO),
    ("lseek", errno.EIO),
]

STREAMS = ("orders-1", "orders-2")
CHANNEL = "a-channel"

Order = dict[int, tuple[str, bytes]]
"""The stream and the payload at each position."""


def draft(*payloads: str, kind: str = "T") -> Draft:
    encoded = [b'{"type":"%b","is":"%b"}' % (kind.encode(), each.encode()) for each in payloads]
    return Draft(encoded, [kind] * len(payloads), f"commit-{payloads[0]}")


class World:
    """A directory of events, and what somebody was told of it."""

    def __init__(self, directory: Path, durability: Durability = Durability.ALWAYS) -> None:
        self.directory = directory
        self.durability = durability
        self.told: Order = {}  # what a commit was answered
        self.posted: list[bytes] = []  # what a channel took
        self.refused: set[bytes] = set()

    @asynccontextmanager
    async def open(self, disk: Disk | None = None) -> AsyncIterator[FilesEngine]:
        engine = FilesEngine(self.directory, self.durability, 0.01, disk)
        await engine.open()
        try:
            yield engine
        finally:
            await engine.close()

    async def commit(self, engine: FilesEngine, stream: str, *names: str) -> None:
        """Commit; note what is told."""
        one = draft(*names)
        try:
            receipt = await engine.commit(stream, one)
        except IndexFailed:
            pass  # it may be stored
        except HubError:
            self.refused.update(one.payloads)
        else:
            for at, payload in enumerate(one.payloads, receipt.position - len(names) + 1):
                assert at not in self.told
                self.told[at] = (stream, payload)

    async def post(self, engine: FilesEngine, name: str) -> None:
        data = b'{"is":"%b"}' % name.encode()
        try:
            await engine.append(CHANNEL, Batch.of_one("", "t", data))
        except HubError:
            self.refused.add(b'{"type":"t",' + data[1:])
        else:
            self.posted.append(b'{"type":"t",' + data[1:])

    async def check(self, engine: FilesEngine, *, gaps: bool = False) -> Order:
        """All that was told is as it was told; return the order."""
        order = await order_of(engine)
        found = [payload for _, payload in order.values()]
        assert len(set(found)) == len(found)
        if not gaps:
            assert list(order) == list(range(1, len(order) + 1))
            assert {at: order.get(at) for at in self.told} == self.told
            assert set(self.posted) <= set(found)
        assert not self.refused & set(found)
        for log in engine.logs():
            own = [payload for stream, payload in order.values() if stream == log.name]
            assert len(own) == log.version
            text = await engine.read(log.name, 0, log.length)
            if log.format == NDJSON:
                lines = text.split(b"\n")[:-1]
                assert [bytes(parts_of(line).payload) for line in lines] == own
        return order


async def order_of(engine: FilesEngine, scope: Scope | None = None) -> Order:
    cursor = engine.cursor(scope or Scope(), 1, await engine.settle())
    order: Order = {}
    while (part := await engine.read_order(cursor)) is not None:
        for at, line in part.each():
            parts = parts_of(line)
            order[at] = (parts.stream, bytes(parts.payload))
    return order


async def text_of(engine: FilesEngine) -> bytes:
    log = engine.find(CHANNEL)
    assert log
    return await engine.read(CHANNEL, 0, log.length)


@pytest.fixture(params=[Durability.ALWAYS, Durability.OS])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return World(tmp_path / "events", request.param)


async def fill(world: World, engine: FilesEngine, turns: int = 3, name: str = "") -> None:
    """Commit and post, some of it at once."""
    for turn in range(turns):
        await asyncio.gather(
            *(
                world.commit(engine, stream, *(f"{name}{stream}.{turn}.{n}" for n in range(1, 4)))
                for stream in STREAMS
            ),
            world.commit(engine, STREAMS[0], f"{name}one.{turn}"),
            world.post(engine, f"{name}post.{turn}"),
        )


def copies(world: World, tmp_path: Path) -> Iterator[World]:
    """As often as asked: a copy of the directory, as a kill would leave it."""
    for number in count():
        copy = World(tmp_path / f"copy-{number}", world.durability)
        shutil.copytree(world.directory, copy.directory)
        copy.told, copy.posted = dict(world.told), list(world.posted)
        yield copy


def index_of(directory: Path) -> Path:
    return directory / ".hub" / "index.sqlite"


def drop_index(directory: Path) -> None:
    for pattern in ("index.sqlite*", "order-*"):
        for each in index_of(directory).parent.glob(pattern):
            each.unlink()


# Kills


async def test_what_was_told_survives_before_the_index_has_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the times of the events tell of another order. Killed again and again."""
    monkeypatch.setattr(sequencer, "LAZY_SECONDS", 60)
    monkeypatch.setattr(journal, "FILE_BYTES", 1000)
    killed = copies(world, tmp_path)
    for turn in range(3):
        async with world.open() as engine:
            for n in range(10):
                at = f"2001-01-{30 - 10 * turn - n:02}T00:00:00.000000Z"
                await engine.append(
                    "backwards", Batch.of_one(at, "t", b'{"n":"%d.%d"}' % (turn, n))
                )
                await fill(world, engine, 1, f"{turn}.{n}.")
                if n in (0, 5):
                    await engine.settle()
            assert engine.head < len(world.told) + len(world.posted)
            copy = next(killed)
        world = copy
        killed = copies(world, tmp_path / f"{turn}")
    async with world.open() as engine:
        order = await world.check(engine)
    async with world.open() as engine:
        assert await order_of(engine) == order


async def test_whatever_call_of_the_journal_fails_what_was_told_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "LAZY_SECONDS", 60)
    monkeypatch.setattr(journal, "FILE_BYTES", 100)
    for number, (call, error) in product(range(1, 8), JOURNAL_FAULTS):
        world = World(tmp_path / f"{number}-{call}-{error}")
        disk = FaultyDisk(call, number, error)
        monkeypatch.setattr(
            store, "Journal", lambda own, _, *, sync, disk=disk: Journal(own, disk, sync=sync)
        )
        async with world.open() as engine:
            await fill(world, engine, 4)
            await settled(engine)
            await fill(world, engine, 2, "later.")
            copy = next(copies(world, tmp_path / f"{number}-{call}-{error}-copies"))
        monkeypatch.setattr(store, "Journal", Journal)
        assert len(copy.told) == 42
        async with copy.open() as engine:
            await copy.check(engine)


async def test_what_was_told_survives_a_kill_at_any_moment(world: World, tmp_path: Path) -> None:
    copied = []
    kills = copies(world, tmp_path)
    async with world.open() as engine:
        for turn in range(4):
            await fill(world, engine, 1, f"{turn}.")
            copied.append(next(kills))
            running = [asyncio.ensure_future(fill(world, engine, 1, f"{turn}.more."))]
            for _ in range(5):
                await asyncio.sleep(0.001)
                copied.append(next(kills))
            await asyncio.gather(*running)
    for copy in copied:
        async with copy.open() as engine:
            before = await copy.check(engine)
            await fill(copy, engine, 1, "after.")
            after = await copy.check(engine)
            assert {at: after[at] for at in before} == before
        async with copy.open() as engine:
            assert await copy.check(engine) == after


@pytest.mark.parametrize("saved", [False, True], ids=["killed", "closed"])
async def test_a_torn_commit_vanishes_whole_wherever_it_is_torn(
    world: World, tmp_path: Path, saved: bool
) -> None:
    """With an index that knows it, and one that does not: nobody was told of it."""
    async with world.open() as engine:
        await fill(world, engine)
    path = world.directory / "orders-1.ndjson"
    before = path.read_bytes()
    known = world.told.copy()
    kept = tmp_path / "index"
    shutil.copytree(index_of(world.directory).parent, kept)
    async with world.open() as engine:
        last = draft("a", "b", "c")
        head = (await engine.commit("orders-1", last)).position
    whole = path.read_bytes()
    for cut in range(len(before), len(whole), 7):
        path.write_bytes(whole[:cut])
        if not saved:
            shutil.rmtree(index_of(world.directory).parent)
            shutil.copytree(kept, index_of(world.directory).parent)
        async with world.open() as engine:
            order = await order_of(engine)
            assert path.read_bytes() == before
            assert {at: order[at] for at in known} == known
            assert len(order) == head - 3
            receipt = await engine.commit("orders-1", draft(f"again {cut}"), len(order_in(order)))
            # Positions that were told are not given again.
            assert receipt.position > (head if saved else head - 3)
            head = max(head, receipt.position)
        path.write_bytes(before)
        shutil.rmtree(index_of(world.directory).parent)
        shutil.copytree(kept, index_of(world.directory).parent)
        head = len(known | order)
        async with world.open() as engine:
            head = (await engine.commit("orders-1", last)).position
        assert path.read_bytes()[: len(before)] == before
        whole = path.read_bytes()


def order_in(order: Order, stream: str = "orders-1") -> list[bytes]:
    return [payload for name, payload in order.values() if name == stream]


# Faults


@pytest.mark.parametrize(("call", "error"), FAULTS)
@pytest.mark.parametrize("lasting", [False, True])
async def test_after_a_fault_at_any_call_what_was_told_is_so(
    world: World, call: str, error: int, lasting: bool
) -> None:
    for number in count(1):
        disk = FaultyDisk(call, 10**9, error, lasting=lasting)
        here = World(world.directory / f"{number}", world.durability)
        async with here.open(disk) as engine:
            disk.left = number
            await fill(here, engine, 2)
            disk.healed = True
            await fill(here, engine, 1, "healed.")
            await here.check(engine)
        async with here.open() as engine:
            await here.check(engine)
        drop_index(here.directory)
        async with here.open() as engine:
            assert len(await order_of(engine)) >= len(here.told) + len(here.posted)
        if not disk.fired or number > 12:
            break


def full() -> sqlite3.OperationalError:
    failure = sqlite3.OperationalError("database or disk is full")
    failure.sqlite_errorcode = sqlite3.SQLITE_FULL
    return failure


async def settled(engine: FilesEngine) -> None:
    """Wait until the index can be used again."""
    for _ in range(1000):
        try:
            await engine.settle()
        except IndexFailed:
            await asyncio.sleep(0.01)
        else:
            return
    raise AssertionError("not within 10 s")


@pytest.mark.parametrize("long", [False, True], ids=["for a moment", "for long"])
async def test_when_the_index_fails_commits_are_not_taken_and_posts_are(
    world: World, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failing for long, it is given up, and attached anew."""
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 0.05)
    if long:
        monkeypatch.setattr(sequencer, "QUEUED", 5)

    def fail(index: Index, additions: Additions, **how: bool) -> None:
        raise full()

    async with world.open() as engine:
        await fill(world, engine, 1)
        with monkeypatch.context() as patch:
            patch.setattr(Index, "add", fail)
            await world.commit(engine, "orders-1", "stored")  # the journal has its position
            with pytest.raises(IndexFailed, match="events are stored"):
                await engine.settle()
            with pytest.raises(IndexFailed, match="nothing of this was stored"):
                await engine.commit("orders-1", draft("refused"))
            for n in range(10):
                await world.post(engine, f"posted meanwhile {n}")
            assert (await text_of(engine)).count(b"\n") == 11
        await settled(engine)
        await fill(world, engine, 1, "after.")
        order = await world.check(engine)
        assert b'{"type":"T","is":"stored"}' in order_in(order)
        assert b'{"type":"T","is":"refused"}' not in order_in(order)
    async with world.open() as engine:
        assert await world.check(engine) == order


async def test_a_damaged_index_is_given_up_until_the_next_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 0.01)

    def fail(index: Index, additions: Additions, **how: bool) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    async with world.open() as engine:
        await fill(world, engine)
        before = await world.check(engine)
        with monkeypatch.context() as patch:
            patch.setattr(Index, "add", fail)
            await engine.commit("orders-1", draft("stored"))
            with pytest.raises(IndexFailed):
                await engine.settle()
        await asyncio.sleep(0.1)
        with pytest.raises(IndexFailed):
            await engine.commit("orders-1", draft("refused"))
        with pytest.raises(IndexFailed):
            await engine.settle()
        await world.post(engine, "posted meanwhile")
    async with world.open() as engine:
        order = await order_of(engine)
        rest = [each for each in order.values() if each not in before.values()]
        assert rest == [
            ("orders-1", b'{"type":"T","is":"stored"}'),
            (CHANNEL, b'{"type":"t","is":"posted meanwhile"}'),
        ]
        assert sorted(order.values()) == sorted([*before.values(), *rest])
        await engine.commit("orders-1", draft("again"))


async def test_damage_that_a_reader_finds_is_mended_at_the_next_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long index is not checked when it is opened."""
    monkeypatch.setattr(index_module, "CHECKED_BYTES", 0)
    async with world.open() as engine:
        for n in range(300):
            await world.commit(engine, STREAMS[n % 2], f"{n}")
        order = await world.check(engine)
    path = index_of(world.directory)
    leaves = "SELECT min(pageno) FROM dbstat WHERE name = 'runs' AND pagetype = 'leaf'"
    with closing(sqlite3.connect(path)) as db:
        try:
            (page,) = db.execute(leaves).fetchone()
        except sqlite3.OperationalError:
            missing("this SQLite does not tell which page is which (dbstat)")
    sound = path.read_bytes()
    at = (page - 1) * 4096
    path.write_bytes(sound[:at] + b"\xff" * 4096 + sound[at + 4096 :])
    async with world.open() as engine:
        with pytest.raises(ReadFailed):
            await order_of(engine)
        with pytest.raises(IndexFailed):
            await engine.commit("orders-1", draft("refused"))
        await world.post(engine, "posted")
    async with world.open() as engine:
        again = await world.check(engine)
        assert list(again.values())[:300] == list(order.values())


async def test_damage_that_is_found_at_opening_is_mended_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index_module, "CHECKED_BYTES", 0)  # as of a long one
    async with world.open() as engine:
        await fill(world, engine)
        before = await world.check(engine)
    with closing(sqlite3.connect(index_of(world.directory))) as db:
        db.execute("DROP TABLE postings")
    with open(world.directory / f"{CHANNEL}.tsv", "ab") as file:
        file.write(b"mine\tt\tby hand\n")
    async with world.open() as engine:
        assert "could not be brought in line" in caplog.text
        assert len(await order_of(engine)) == len(before) + 1
        await engine.commit("orders-1", draft("again"))


@pytest.mark.parametrize(
    "damage",
    [
        "PRAGMA user_version = 5",
        "DROP TABLE members",
        "UPDATE postings SET term = term + 1",
        "DELETE FROM labelled",
    ],
)
async def test_where_the_order_is_not_what_is_damaged_it_is_kept(
    world: World, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The second log's clock is behind: by time its events would come first."""
    times = iter(range(2 * 10**18, 10**18, -(10**9)))
    for name in ("", "more "):
        engine = FilesEngine(world.directory, world.durability, clock=lambda: next(times))
        await engine.open()
        await fill(world, engine, 3, name)
        await engine.close()
    with closing(sqlite3.connect(index_of(world.directory))) as db:
        db.execute(damage)
        db.commit()
    async with world.open() as engine:
        await world.check(engine)
        assert "rebuilt" in caplog.text or "found anew" in caplog.text
        assert "no index" not in caplog.text
        found = await order_of(engine, Scope(query_of_types(["T"])))
        assert set(found) >= set(world.told)
        await world.commit(engine, "orders-1", "again")
    async with world.open() as engine:
        await world.check(engine)


async def test_an_index_that_contradicts_itself_is_made_anew_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What an alignment adds goes by what the index said right before."""
    async with world.open() as engine:
        await fill(world, engine)
        before = await world.check(engine)
    with open(world.directory / f"{CHANNEL}.tsv", "ab") as file:
        file.write(b"mine\tt\tby hand\n")
    real, errors = Index.add, [sqlite3.IntegrityError("UNIQUE constraint failed: runs.position")]

    def fail(index: Index, additions: Additions, **how: bool) -> None:
        if errors:
            raise errors.pop()
        real(index, additions, **how)

    monkeypatch.setattr(Index, "add", fail)
    async with world.open() as engine:
        assert "damage was found in it" in caplog.text
        assert len(await order_of(engine)) == len(before) + 1


async def test_an_index_that_was_made_anew_meanwhile_is_the_one_that_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 0.01)
    monkeypatch.setattr(sequencer, "QUEUED", 1)

    def fail(index: Index, additions: Additions, **how: bool) -> None:
        raise full()

    async with world.open() as engine:
        await fill(world, engine)
        before = await world.check(engine)  # the reading threads are connected
        with monkeypatch.context() as patch:
            patch.setattr(Index, "add", fail)
            await engine.commit("orders-1", draft("stored"))
            with pytest.raises(IndexFailed):
                await engine.settle()
            Index(index_of(world.directory)).condemn()
            for n in range(5):
                await world.post(engine, f"posted meanwhile {n}")
        await settled(engine)
        await engine.commit("orders-1", draft("again"))
        for _ in range(20):
            order = await order_of(engine)
            assert len(order) == len(before) + 7
            assert list(order.values())[-1] == ("orders-1", b'{"type":"T","is":"again"}')


async def test_without_an_index_the_channels_go_on_and_it_comes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk at the start. What has positions keeps them."""
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 0.05)
    async with world.open() as engine:
        await fill(world, engine)
        before = await world.check(engine)
    real = Index._load

    def fail(index: Index) -> Any:
        raise full()

    monkeypatch.setattr(Index, "_load", fail)
    async with world.open() as engine:
        await world.post(engine, "without")
        with pytest.raises(IndexFailed):
            await engine.commit("orders-1", draft("refused"))
        with pytest.raises(IndexFailed):
            await engine.settle()
        assert (await text_of(engine)).endswith(b"\n")
        monkeypatch.setattr(Index, "_load", real)
        posts = 0
        while True:
            await world.post(engine, f"meanwhile {posts}")
            posts += 1
            try:
                await engine.settle()
            except IndexFailed:
                await asyncio.sleep(0.001)
            else:
                break
        await fill(world, engine, 1, "after.")
        after = await world.check(engine)
        assert {at: after[at] for at in before} == before
    disk = FaultyDisk("pread", 10**9, errno.EIO)
    async with world.open(disk) as engine:
        assert disk.left == 10**9  # the index knows all of it again
        assert await world.check(engine) == after


async def test_closing_does_not_wait_until_an_index_is_attached(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The next start goes on with it."""
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 0.05)
    monkeypatch.setattr(sequencer, "LAZY_SECONDS", 60)
    monkeypatch.setattr(sequencer, "HELD_BYTES", 500)
    given_up, attaching = threading.Event(), threading.Event()

    class Slow(Disk):
        def pread(self, fd: Any, size: int, at: int) -> bytes:
            if threading.current_thread().name.startswith("hub-index") and given_up.is_set():
                attaching.set()
                time.sleep(0.05)
            return os.pread(fd, size, at)

    async with world.open(Slow()) as engine:
        for n in range(100):
            at = f"2099-01-01T00:00:00.{n:06}Z"
            await engine.append(f"late-{n}", Batch.of_one(at, "t", b'{"n":%d}' % n))
        await fill(world, engine)
        engine._store.sequencer._give_up()
        await engine._store.sequencer.in_thread(given_up.set)  # behind what is under way there
        assert await asyncio.to_thread(attaching.wait, 10)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert "could not be brought in line" not in caplog.text
    async with world.open() as engine:
        order = await world.check(engine)
        assert len(order) == 100 + len(world.told) + len(world.posted)


# The index, damaged or of another time


async def test_an_index_that_is_gone_is_made_again_by_time(world: World) -> None:
    async with world.open() as engine:
        for n in range(10):
            await world.commit(engine, STREAMS[n % 2], f"{n}")
            await world.post(engine, f"post {n}")
        order = await world.check(engine)
    for damage in ("gone", "empty", "garbage", "half"):
        path = index_of(world.directory)
        if damage == "gone":
            drop_index(world.directory)
        else:
            path.write_bytes(
                {"empty": b"", "garbage": os.urandom(20_000), "half": path.read_bytes()[:9000]}[
                    damage
                ]
            )
        async with world.open() as engine:
            assert await world.check(engine) == order


@pytest.mark.parametrize("damage", [b"\xff" * 100, b"\0" * 4096, bytes(range(256))])
async def test_damage_on_any_page_of_the_index_is_found(world: World, damage: bytes) -> None:
    async with world.open() as engine:
        for n in range(30):
            await world.commit(engine, STREAMS[n % 2], f"{n}")
        order = await world.check(engine)
    sound = index_of(world.directory).read_bytes()
    for at in range(0, len(sound), 4096):
        for within in (0, 100, 4096 - len(damage)):
            start = at + max(0, within)
            index_of(world.directory).write_bytes(
                sound[:start] + damage + sound[start + len(damage) :]
            )
            async with world.open() as engine:
                assert await order_of(engine) == order, (at, within)
                assert (await engine.commit("orders-1", draft(f"{at} {within}"))).position == 31
            text = (world.directory / "orders-1.ndjson").read_bytes()
            kept = text.split(b"\n")[:15]
            (world.directory / "orders-1.ndjson").write_bytes(b"\n".join(kept) + b"\n")
            drop_index(world.directory)


async def test_an_index_of_an_earlier_time_gives_the_rest_new_positions(
    world: World, tmp_path: Path
) -> None:
    async with world.open() as engine:
        await fill(world, engine)
    earlier = tmp_path / "earlier"
    shutil.copytree(index_of(world.directory).parent, earlier)
    told = world.told.copy()
    async with world.open() as engine:
        await fill(world, engine, 2, "later.")
        order = await world.check(engine)
    shutil.rmtree(index_of(world.directory).parent)
    shutil.copytree(earlier, index_of(world.directory).parent)
    world.told = told
    async with world.open() as engine:
        again = await world.check(engine)
        assert sorted(again.values()) == sorted(order.values())


async def test_logs_of_an_earlier_time_leave_gaps_that_are_never_filled(
    world: World, tmp_path: Path
) -> None:
    """As a power cut does without --durability always, or a backup."""
    async with world.open() as engine:
        await fill(world, engine)
        order = await world.check(engine)
    earlier = {path: path.read_bytes() for path in world.directory.glob("*.*son")}
    async with world.open() as engine:
        await fill(world, engine, 2, "later.")
        head = await engine.settle()
    for path, content in earlier.items():
        path.write_bytes(content)
    async with world.open() as engine:
        rest = await world.check(engine, gaps=True)
        assert {at: rest[at] for at in order} == order
        assert (await engine.commit("orders-2", draft("new"))).position == head + 1
    async with world.open() as engine:
        assert await order_of(engine) == rest | {head + 1: ("orders-2", b'{"type":"T","is":"new"}')}


@pytest.mark.parametrize("running", [False, True])
async def test_a_log_that_is_removed_leaves_gaps_that_are_never_filled(
    world: World, running: bool
) -> None:
    path = world.directory / "orders-1.ndjson"
    async with world.open() as engine:
        await fill(world, engine)
        order = await world.check(engine)
        head = await engine.settle()
        if running:
            path.unlink()
            await world.commit(engine, "orders-2", "meanwhile")
            with pytest.raises(HubError):
                await engine.commit("orders-1", draft("lost"))
            head += 1
    if not running:
        path.unlink()
    async with world.open() as engine:
        rest = await world.check(engine, gaps=True)
        assert {at: each for at, each in rest.items() if at in order} == {
            at: each for at, each in order.items() if each[0] != "orders-1"
        }
        again = await engine.commit("orders-1", draft("new"), 0)
        assert again.position == head + 1


async def test_a_damaged_log_hides_its_rest_and_shows_it_again(world: World) -> None:
    path = world.directory / "orders-1.ndjson"
    async with world.open() as engine:
        await fill(world, engine)
        order = await world.check(engine)
    sound = path.read_bytes()
    lines = sound.split(b"\n")
    path.write_bytes(b"\n".join([*lines[:4], b"no document", *lines[5:]]))
    for _ in range(2):
        async with world.open() as engine:
            hidden = await order_of(engine)
            assert set(order.items()) - set(hidden.items()) == {
                (at, (stream, payload))
                for at, (stream, payload) in order.items()
                if stream == "orders-1" and payload in order_in(order)[4:]
            }
            with pytest.raises(LogDamaged):
                await engine.commit("orders-1", draft("refused"))
    path.write_bytes(sound)
    async with world.open() as engine:
        assert await world.check(engine) == order


# Guards, across logs


async def test_one_of_a_hundred_commits_with_the_same_condition_wins(world: World) -> None:
    """Also across streams, some of them new, and with channels among them."""
    async with world.open() as engine:
        await engine.append(CHANNEL, Batch.of_one("", "t", b"first"))
        condition = Condition(query_of_types(["Taken"]), await engine.settle())
        outcomes = await asyncio.gather(
            *(
                engine.commit(
                    f"stream-{n % 10}" if n % 3 else CHANNEL,
                    draft(f"{n}", kind="Taken"),
                    None,
                    condition,
                )
                for n in range(100)
            ),
            return_exceptions=True,
        )
        won = [each for each in outcomes if not isinstance(each, BaseException)]
        assert len(won) == 1
        assert sum(isinstance(each, ConditionConflict) for each in outcomes) == 99
        assert len(await order_of(engine, Scope(query_of_types(["Taken"])))) == 1


async def test_one_of_a_hundred_commits_with_the_same_version_wins(world: World) -> None:
    async with world.open() as engine:
        outcomes = await asyncio.gather(
            *(engine.commit("orders-1", draft(f"{n}"), 0) for n in range(100)),
            return_exceptions=True,
        )
        assert sum(isinstance(each, VersionConflict) for each in outcomes) == 99
        log = engine.find("orders-1")
        assert log
        assert log.version == 1


async def test_a_condition_is_not_refused_for_what_was_never_stored(tmp_path: Path) -> None:
    """The event that it rules out is under way in another log, and then the disk is full."""

    class Full(Disk):
        full = ""

        def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
            if self.full and self.full in os.readlink(f"/proc/self/fd/{fd}"):
                raise OSError(errno.ENOSPC, "full")
            return Disk.pwritev(fd, data, at, flags)

    world = World(tmp_path / "events")
    disk = Full()
    async with world.open(disk) as engine:
        await engine.commit("orders-1", draft("a"))
        await engine.commit("orders-2", draft("b"))
        disk.full = "orders-1"
        condition = Condition(query_of_types(["Taken"]), 2)
        lost = asyncio.ensure_future(engine.commit("orders-1", draft("c", kind="Taken")))
        await asyncio.sleep(0)
        receipt = await engine.commit("orders-2", draft("d", kind="Taken"), None, condition)
        with pytest.raises(HubError):
            await lost
        assert receipt.position == 3
        assert await world.check(engine)


async def test_lines_by_hand_count_for_a_condition_if_they_are_meant(world: World) -> None:
    async with world.open() as engine:
        await engine.append(CHANNEL, Batch.of_one("", "t", b"first"))
        await engine.commit("orders-1", draft("a"))
        path = world.directory / f"{CHANNEL}.tsv"

        async def commit_while_a_line_comes(line: bytes, after: int) -> int:
            condition = Condition(query_of_types(["Taken"]), after)
            with open(path, "ab") as file:
                file.write(line)
            committing = asyncio.ensure_future(engine.commit(CHANNEL, draft("x"), None, condition))
            return (await committing).position

        assert await commit_while_a_line_comes(b"mine\tOther\tdata\n", 2) == 4
        with pytest.raises(ConditionConflict):
            await commit_while_a_line_comes(b"mine\tTaken\tdata\n", 4)
        order = await world.check(engine)
        assert len(order) == 5


async def test_a_commit_that_is_given_up_comes_whole_or_not(world: World) -> None:
    async with world.open() as engine:
        await engine.commit("orders-1", draft("a"))
        for n in range(30):
            condition = Condition(query_of_types(["Never"]), n % 2) if n % 2 else None
            committing = asyncio.ensure_future(
                engine.commit(STREAMS[n % 2], draft(f"{n}.1", f"{n}.2"), None, condition)
            )
            for _ in range(n % 10):
                await asyncio.sleep(0)
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)
        for stream in STREAMS:  # behind all that are still under way
            await engine.commit(stream, draft(f"last of {stream}"))
        order = await world.check(engine)
        names = [payload for _, payload in order.values()]
        for n in range(30):
            both = [b'{"type":"T","is":"%d.%d"}' % (n, part) in names for part in (1, 2)]
            assert both in ([True, True], [False, False])
    async with world.open() as engine:
        assert await world.check(engine) == order
