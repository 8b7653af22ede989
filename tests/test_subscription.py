"""Subscriptions: cursors that lose nothing, on transports that take more or less."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs

from hub import subscription as module
from hub.document import KEYS, Keys
from hub.engines.base import Committed
from hub.engines.files import FilesEngine
from hub.errors import ReadFailed
from hub.event import IdOrder
from hub.formats import NDJSON, Batch, Row, split_rows
from hub.sse import HEARTBEAT, Parser
from hub.subscription import BACKLOG, SLOW_BLOCK, Subscription, Subscriptions
from tests.web.wire import eventually

NAME = "a-channel"


class Socket:
    """A transport whose reader takes all at once, or, while it is `full`, nothing."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.waiting = 0
        self.closed = False
        self._free = asyncio.Event()
        self._free.set()

    def fill(self) -> None:
        """The reader stops, with more in the buffer than the hub puts there."""
        self.waiting = BACKLOG + 1
        self._free.clear()

    def drain_away(self) -> None:
        """The reader has taken everything."""
        self.waiting = 0
        self._free.set()

    def write(self, data: bytes) -> None:
        if self.closed:  # as uvloop does it, until aiohttp has heard that the reader is gone
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closed

    async def drain(self) -> None:
        await self._free.wait()

    @property
    def seen(self) -> list[str]:
        """The data of the events written to it."""
        return [message.data for message in Parser().feed(b"".join(self.written))]


class Room:
    """An engine and its subscriptions."""

    def __init__(self, engine: FilesEngine, heartbeat: float) -> None:
        self.engine = engine
        self.subscriptions = Subscriptions(engine, heartbeat)
        self.subscriptions.start()
        self.tasks: list[asyncio.Task[None]] = []

    async def post(self, *data: str, event: str = "") -> None:
        for each in data:
            await self.engine.append(NAME, Batch.of_one("", event, each.encode()))

    def follow(
        self, only: str | None = None, place: int = 0, socket: Socket | None = None
    ) -> tuple[Socket, Subscription]:
        socket = socket or Socket()
        subscription = self.subscriptions.add(NAME, only, place, socket, socket.drain)
        self.tasks.append(asyncio.create_task(subscription.run()))
        return socket, subscription


@asynccontextmanager
async def room(events: Path, heartbeat: float = 60.0, keys: Keys = KEYS) -> AsyncIterator[Room]:
    engine = FilesEngine(events, keys=keys)
    await engine.open()
    here = Room(engine, heartbeat)
    try:
        yield here
    finally:
        here.subscriptions.close()
        await asyncio.gather(*here.tasks, return_exceptions=True)
        await engine.close()


async def test_live_subscribers_share_the_same_bytes(events: Path) -> None:
    async with room(events) as here:
        one, first = here.follow()
        other, second = here.follow()
        await eventually(lambda: first.live and second.live)
        await here.post("data")
        assert one.seen == other.seen == ["data"]
        assert one.written[-1] is other.written[-1]
        assert here.subscriptions.behind_count == 0


async def test_types_are_framed_apart(events: Path) -> None:
    async with room(events) as here:
        sockets = {only: here.follow(only)[0] for only in (None, "a", "b", "")}
        await eventually(lambda: here.subscriptions.live_count == 4)
        await here.post("1", "2", event="a")
        await here.post("3", event="b")
        await here.post("4")
        seen = {only: socket.seen for only, socket in sockets.items()}
        assert seen == {None: ["1", "2", "3", "4"], "a": ["1", "2"], "b": ["3"], "": ["4"]}


async def test_the_number_of_types_that_are_followed_costs_little(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group is gone through once, not once for each of them."""
    looked = 0

    class Rows(list[Row]):
        def __iter__(self) -> Iterator[Row]:
            nonlocal looked
            for row in super().__iter__():
                looked += 1
                yield row

    class Counted:
        def rows(self, chunk: bytes) -> Rows:
            return Rows(split_rows(chunk))

    async with room(events) as here:
        sockets = [here.follow(f"t{n}")[0] for n in range(200)]
        every, _ = here.follow()
        await eventually(lambda: here.subscriptions.live_count == 201)
        with monkeypatch.context() as patch:
            patch.setattr(module, "lines_of_format", lambda *_: Counted())
            lines = b"".join(b"\tt%d\t%d\n" % (n % 3, n) for n in range(100))
            await here.engine.append(NAME, Batch([lines], 100, 100, "", "", IdOrder()))
        await eventually(lambda: len(every.seen) == 100)
        assert looked <= 300
        for n, socket in enumerate(sockets):
            assert socket.seen == [str(at) for at in range(100) if at % 3 == n]


async def test_documents_are_framed_as_rows_live_and_from_the_file(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(events) as here:
        await here.engine.make(NAME, NDJSON)
        early = {only: here.follow(only)[0] for only in (None, "a", "")}
        await eventually(lambda: here.subscriptions.live_count == 3)
        await here.post("1", '{"n": 2.0}', event="a")
        monkeypatch.setattr(module, "GROUPS_HELD", 0)  # from here on, all is read from the file
        await here.post("3")
        every = [
            ("a", '{"type":"a","data":"1"}'),
            ("a", '{"type":"a","n":2.0}'),
            ("message", '{"type":"","data":"3"}'),
        ]
        expected = {None: every, "a": every[:2], "": every[2:]}
        late = {only: here.follow(only)[0] for only in (None, "a", "")}
        await eventually(lambda: here.subscriptions.live_count == 6)
        for sockets in (early, late):
            for only, socket in sockets.items():
                found = Parser().feed(b"".join(socket.written))
                assert [(each.event, each.data) for each in found] == expected[only]


async def test_the_type_of_a_document_is_under_the_key_that_is_set(events: Path) -> None:
    async with room(events, keys=Keys(type="kind")) as here:
        await here.engine.make(NAME, NDJSON)
        live, _ = here.follow("k")
        await eventually(lambda: here.subscriptions.live_count == 1)
        await here.post('{"kind":"k"}', '{"type":"k"}', '{"kind":"k","n":1}')
        late, _ = here.follow("k")
        await eventually(lambda: here.subscriptions.live_count == 2)
        assert live.seen == late.seen == ['{"kind":"k"}', '{"kind":"k","n":1}']


async def test_it_begins_at_its_place(events: Path) -> None:
    async with room(events) as here:
        await here.post("old")
        log = here.engine.find(NAME)
        assert log
        new, _ = here.follow(place=log.length)
        every, _ = here.follow(place=0)
        await eventually(lambda: here.subscriptions.live_count == 2)
        await here.post("new")
        assert (new.seen, every.seen) == (["new"], ["old", "new"])


async def test_a_full_socket_gets_no_copy_and_loses_nothing(events: Path) -> None:
    async with room(events) as here:
        slow, behind = here.follow()
        fast, _ = here.follow()
        await eventually(lambda: here.subscriptions.live_count == 2)
        await here.post("0")
        slow.fill()
        await here.post(*map(str, range(1, 200)))
        assert slow.seen == ["0"]
        assert fast.seen == list(map(str, range(200)))
        assert not behind.live
        assert here.subscriptions.behind_count == 1
        slow.drain_away()
        await eventually(lambda: behind.live)
        await here.post("200")
        assert slow.seen == fast.seen == list(map(str, range(201)))
        assert here.subscriptions.behind_count == 0


async def test_falling_behind_again_and_again(events: Path) -> None:
    async with room(events) as here:
        slow, _ = here.follow()

        async def stutter() -> None:
            for _ in range(100):
                slow.fill()
                await asyncio.sleep(0)
                slow.drain_away()
                await asyncio.sleep(0.001)

        stuttering = asyncio.create_task(stutter())
        await here.post(*map(str, range(300)))
        await stuttering
        await eventually(lambda: len(slow.seen) == 300)
        assert slow.seen == list(map(str, range(300)))


async def test_those_who_catch_up_together_read_once(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(events) as here:
        await here.post(*map(str, range(20)))
        reads = 0
        read = here.engine.read

        async def counted(name: str, start: int, end: int, size: int) -> bytes:
            nonlocal reads
            reads += 1
            return await read(name, start, end, size)

        monkeypatch.setattr(here.engine, "read", counted)
        sockets = [here.follow()[0] for _ in range(10)]
        await eventually(lambda: here.subscriptions.live_count == 10)
        assert all(socket.seen == list(map(str, range(20))) for socket in sockets)
        assert reads == 1


async def test_a_failed_read_ends_that_subscription_and_is_not_kept(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(events) as here:
        await here.post("data")

        async def fails(*_: object) -> bytes:
            raise ReadFailed("the disk is gone")

        with monkeypatch.context() as broken:
            broken.setattr(here.engine, "read", fails)
            here.follow()
            with pytest.raises(ReadFailed, match="the disk is gone"):
                await here.tasks.pop()
        assert not len(here.subscriptions)
        again, _ = here.follow()
        await eventually(lambda: again.seen == ["data"])


@pytest.mark.parametrize("live", [True, False])
async def test_cancelling_leaves_nothing(events: Path, live: bool) -> None:
    async with room(events) as here:
        await here.post("data")
        socket = Socket()
        if not live:
            socket.fill()
        _, subscription = here.follow(socket=socket)
        await asyncio.sleep(0)
        if live:
            await eventually(lambda: subscription.live)
        task = here.tasks.pop()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(here.subscriptions) == here.subscriptions.live_count == 0
        await here.post("more")
        assert socket.seen == (["data"] if live else [])


async def test_a_reader_who_is_gone_costs_nobody_an_event(events: Path) -> None:
    async with room(events) as here:
        sockets = [here.follow()[0] for _ in range(3)]
        await eventually(lambda: here.subscriptions.live_count == 3)
        sockets[1].closed = True
        await here.post("1", "2")
        assert sockets[0].seen == sockets[2].seen == ["1", "2"]
        assert sockets[1].seen == []


async def test_a_reader_who_is_gone_costs_nobody_a_heartbeat(events: Path) -> None:
    async with room(events, heartbeat=0.01) as here:
        sockets = [here.follow()[0] for _ in range(3)]
        await eventually(lambda: here.subscriptions.live_count == 3)
        sockets[1].closed = True
        count = sockets[2].written.count(HEARTBEAT)
        await asyncio.sleep(0.1)
        assert sockets[0].written.count(HEARTBEAT) > 2
        assert sockets[2].written.count(HEARTBEAT) > count + 1


async def test_closing_ends_all(events: Path) -> None:
    async with room(events) as here:
        for number in range(5):
            here.follow(only=str(number) if number else None)
        await eventually(lambda: here.subscriptions.live_count == 5)
        here.subscriptions.close()
        await asyncio.wait_for(asyncio.gather(*here.tasks), 5)
        assert len(here.subscriptions) == here.subscriptions.live_count == 0
        socket, _ = here.follow()  # too late: it ends at once
        await asyncio.wait_for(here.tasks[-1], 5)
        assert socket.written == []


async def test_heartbeats_go_to_those_who_wait_for_nothing(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 2)
    async with room(events, heartbeat=0.01) as here:
        await here.post("data")
        idle = [here.follow()[0] for _ in range(5)]
        full, subscription = here.follow()
        await eventually(lambda: subscription.live)
        full.fill()
        count = len(full.written)
        await eventually(lambda: all(socket.written.count(HEARTBEAT) > 2 for socket in idle))
        assert len(full.written) == count


async def test_the_more_are_behind_the_less_each_has_on_its_way(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEHIND_BYTES", 10 * SLOW_BLOCK)
    async with room(events) as here:
        await here.post(*["x" * 1000] * 300)
        followers = [here.follow() for _ in range(11)]
        for socket, _ in followers:
            socket.fill()
        await eventually(lambda: here.subscriptions.behind_count == len(followers))
        for socket, _ in followers:
            socket.drain_away()
        await eventually(lambda: here.subscriptions.live_count == len(followers))
        for socket, _ in followers:
            assert len(socket.seen) == 300
            assert max(map(len, socket.written)) < 1.1 * SLOW_BLOCK
        alone, _ = here.follow()
        await eventually(lambda: len(alone.seen) == 300)
        assert max(map(len, alone.written)) > 2 * SLOW_BLOCK


async def test_what_comes_while_others_are_served_is_written_together(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 1)
    async with room(events) as here:
        followers = [here.follow() for _ in range(3)]
        await eventually(lambda: here.subscriptions.live_count == 3)
        publish = here.subscriptions.publish
        held: list[Committed] = []
        here.engine.on_commit[here.engine.on_commit.index(publish)] = held.append
        await here.post(*(str(number) for number in range(20)))
        for commit in held:  # in one turn of the loop: the first goes out alone, then all others
            publish(commit)
        expected = [str(number) for number in range(20)]
        await eventually(lambda: all(socket.seen == expected for socket, _ in followers))
        assert [len(socket.written) for socket, _ in followers] == [2, 2, 2]
        assert followers[0][0].written[-1] is followers[2][0].written[-1]


async def test_nothing_overtakes_what_is_too_large_to_hold(
    events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 1)
    async with room(events) as here:
        followers = [here.follow()[0] for _ in range(3)]
        await eventually(lambda: here.subscriptions.live_count == 3)
        publish = here.subscriptions.publish
        held: list[Committed] = []
        here.engine.on_commit[here.engine.on_commit.index(publish)] = held.append
        await here.post("0", "1", "2", "3", "4")
        held[2] = structs.replace(held[2], lines=None)
        for commit in held:
            publish(commit)
        await eventually(lambda: all(len(each.seen) >= 5 for each in followers))
        assert [each.seen for each in followers] == [["0", "1", "2", "3", "4"]] * 3


@pytest.mark.parametrize("together", [1, 100, 64 * 1024])
async def test_whoever_comes_goes_and_stalls_misses_nothing(
    events: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """While groups are on their way, and written together or not."""
    chance = random.Random(together)
    monkeypatch.setattr(module, "SLICE", 2)
    monkeypatch.setattr(module, "GROUPS_HELD", 8)
    monkeypatch.setattr(module, "TOGETHER", together)
    async with room(events) as here:
        # Each with the number of the event that it begins with.
        followers = [(here.follow(only)[0], only, 0) for only in (None, None, "a", "b")]
        posted: list[tuple[str, str]] = []
        end = 0
        for number in range(400):
            event = chance.choice("ab")
            posts = [here.post(f"{number}.{n}", event=event) for n in range(chance.randint(1, 2))]
            if chance.random() < 0.3:
                only = chance.choice([None, "a", "b"])
                followers.append((here.follow(only, end)[0], only, len(posted)))
            for post in posts:
                await post
            posted += [(f"{number}.{n}", event) for n in range(len(posts))]
            end = here.subscriptions.end(NAME)
            socket, _, _ = chance.choice(followers)
            chance.choice([socket.fill, socket.drain_away, socket.drain_away])()
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        for socket, _, _ in followers:
            socket.drain_away()
        for socket, only, first in followers:
            expected = [data for data, event in posted[first:] if only in (None, event)]
            # mypy does not infer a lambda's defaults.
            await eventually(lambda socket=socket, wanted=expected: socket.seen == wanted)  # type: ignore[misc]
