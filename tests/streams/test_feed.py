"""Subscriptions of streams: who is served together, who by himself, and nothing twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from hub.document import KEYS
from hub.errors import UnknownStream
from hub.matcher import compile_matcher
from hub.sse import HEARTBEAT, Parser
from hub.streams import Streams
from hub.streams.feed import REMEMBERED, Feed, Follower
from hub.streams.framing import Framed, Framer
from hub.streams.views import View
from hub.subscription import BACKLOG
from tests.streams.writing import PATIENCE, Writing
from tests.web.wire import eventually

A = compile_matcher({"payload": {"type": "A"}})


class Socket:
    """A transport that takes what it is given, or with `full` holds it back."""

    def __init__(self) -> None:
        self.raw = b""
        self.full = False
        self.closing = False
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.writes.append(data)
        self.raw += data

    def get_write_buffer_size(self) -> int:
        return BACKLOG + 1 if self.full else 0

    def is_closing(self) -> bool:
        return self.closing

    async def drain(self) -> None:
        await eventually(lambda: not self.full)

    @property
    def ids(self) -> list[int]:
        return [int(each.id) for each in Parser().feed(self.raw)]


@pytest.fixture
async def feed(streams: Streams) -> AsyncIterator[Feed]:
    feed = Feed(Framer(KEYS), 30.0)
    yield feed
    feed.close()


class Run:
    """A follower that is being served."""

    def __init__(self, feed: Feed, view: View, place: int = 0) -> None:
        self.first = place
        self.socket = Socket()
        self.follower: Follower = feed.add(view, place, self.socket, self.socket.drain)
        self.task = asyncio.create_task(self.follower.run())

    async def has(self, count: int) -> list[int]:
        """Wait until so many have come; their ids."""
        await eventually(lambda: len(self.socket.ids) >= count)
        return self.socket.ids

    async def is_live(self) -> None:
        await eventually(lambda: self.follower.live)


async def test_what_there_is_and_what_comes(feed: Feed, streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "ABC")
    runs = [Run(feed, await streams.view("orders"), place) for place in (0, 2, 3)]
    assert await runs[0].has(3) == [1, 2, 3]
    assert await runs[1].has(1) == [3]
    for each in runs:
        await each.is_live()
    await writing.commit("orders", "D")
    for each, count in zip(runs, (4, 2, 1), strict=True):
        assert (await each.has(count))[-1] == 4
    # The same bytes for all of them.
    assert len({id(each.socket.writes[-1]) for each in runs}) == 1


async def test_who_is_served_together(feed: Feed, streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "A")
    one, same = [Run(feed, await streams.view("orders")) for _ in range(2)]
    other = Run(feed, await streams.view("orders", A))
    for each in (one, same, other):
        await each.is_live()
    assert len(feed._groups) == 2
    one.task.cancel()
    await asyncio.sleep(0.01)
    assert len(feed._groups) == 2
    same.task.cancel()
    other.task.cancel()
    await asyncio.gather(one.task, same.task, other.task, return_exceptions=True)
    assert not feed._groups
    again = Run(feed, await streams.view("orders"), 1)
    await again.is_live()
    await writing.commit("orders", "A")
    assert await again.has(1) == [2]


async def test_a_follower_that_is_behind(feed: Feed, streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "A")
    slow, quick = [Run(feed, await streams.view("orders")) for _ in range(2)]
    for each in (slow, quick):
        await each.is_live()
    slow.socket.full = True
    for _ in range(20):
        await writing.commit("orders", "A" * 100)
    assert await quick.has(2001) == list(range(1, 2002))
    assert len(slow.socket.ids) == 1  # it is given nothing that it cannot take
    slow.socket.full = False
    assert await slow.has(2001) == list(range(1, 2002))
    await slow.is_live()
    await writing.commit("orders", "A")
    assert (await slow.has(2002))[-1] == 2002


async def test_a_transport_that_is_lost(feed: Feed, streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "A")
    one, other = [Run(feed, await streams.view("orders")) for _ in range(2)]
    for each in (one, other):
        await each.is_live()
    one.socket.closing = True
    await writing.commit("orders", "A")
    assert await other.has(2) == [1, 2]
    await asyncio.wait_for(one.task, PATIENCE)
    assert one.socket.ids == [1]


async def test_a_follower_that_has_read_further_than_the_others(
    feed: Feed, streams: Streams, writing: Writing
) -> None:
    """What is sent to all would be half of it twice for him: he reads by himself."""
    await writing.commit("orders", "ABC")
    view = await streams.view("orders")
    run = Run(feed, view, 1)
    await run.is_live()
    group = feed.group(view, 3)
    assert await run.has(2) == [2, 3]
    whole = await feed.after(view, 0, 3)
    for begin, end in ((0, 3), (2, 4)):
        run.follower.place = 3
        group._place = begin
        await group._send(Framed(whole.frames, end))
    assert run.socket.ids == [2, 3]
    await run.is_live()
    await writing.commit("orders", "D")
    assert await run.has(3) == [2, 3, 4]


async def test_heartbeats(streams: Streams, writing: Writing) -> None:
    feed = Feed(Framer(KEYS), 0.01)
    await writing.commit("orders", "A")
    idle, full, busy = [
        Run(feed, await streams.view("orders", matcher)) for matcher in (None, None, A)
    ]
    for each in (idle, full, busy):
        await each.is_live()
    full.socket.full = True
    await eventually(lambda: idle.socket.raw.count(HEARTBEAT) > 3)
    async with asyncio.timeout(PATIENCE):
        assert HEARTBEAT not in full.socket.writes
        before = busy.socket.writes.count(HEARTBEAT)
        while busy.socket.writes.count(HEARTBEAT) < before + 3:
            await writing.commit("orders", "B")  # much comes, but nothing that is meant
    feed.close()


async def test_the_end(feed: Feed, streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "A")
    live, behind = [Run(feed, await streams.view("orders")) for _ in range(2)]
    await live.is_live()
    await behind.is_live()
    behind.socket.full = True
    await writing.commit("orders", "A")
    feed.close()
    streams.close()
    behind.socket.full = False
    await asyncio.wait_for(asyncio.gather(live.task, behind.task), PATIENCE)
    late = Run(feed, await streams.view("orders"))
    await asyncio.wait_for(late.task, PATIENCE)
    assert late.socket.raw == b""


async def test_a_stream_that_is_removed(feed: Feed, streams: Streams, writing: Writing) -> None:
    await streams.put("derived", A)
    await writing.commit("orders", "A")
    runs = [Run(feed, await streams.view("derived")) for _ in range(2)]
    for each in runs:
        await each.is_live()
    await streams.remove("derived")
    await writing.commit("orders", "A")
    for each in runs:
        with pytest.raises(UnknownStream):
            await asyncio.wait_for(each.task, PATIENCE)
    assert not feed._groups


async def test_another_stream_of_the_same_name(streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "ABB")
    for matcher, count in ((A, 1), (compile_matcher({"payload": {"type": "B"}}), 2)):
        await streams.put("derived", matcher)
        view = await streams.view("derived")
        piece = await streams.feed.after(view, 0, await view.settle())
        assert piece.frames.count(b"\n\n") == count
        await streams.remove("derived")


async def test_what_is_remembered_is_bounded(
    feed: Feed, streams: Streams, writing: Writing
) -> None:
    await writing.commit("orders", "A" * 100)
    view = await streams.view("orders")
    for place in range(80):
        piece = await feed.after(view, place, 100)
        assert piece.end == 100
    assert len(feed._pieces) == REMEMBERED
    feed.forget()
    assert not feed._pieces


async def test_what_nothing_was_found_in_is_looked_at_again(
    feed: Feed, streams: Streams, writing: Writing
) -> None:
    await writing.commit("orders", "B")
    view = await streams.view("orders", A)
    assert (await feed.after(view, 0, 1)).frames == b""
    await writing.commit("orders", "A")
    piece = await feed.after(view, 0, await view.settle())
    assert (piece.frames.count(b"\n\n"), piece.end) == (1, 2)


async def test_nothing_missed_and_nothing_twice(
    feed: Feed, streams: Streams, writing: Writing
) -> None:
    """Followers of all kinds come, fall behind and leave while others write."""
    await writing.commit("orders", "A")
    await streams.put("derived", A)

    async def write() -> None:
        for _ in range(60):
            await writing.commit(random.choice(["orders", "other"]), "A" * random.randrange(1, 5))
            await asyncio.sleep(random.choice([0, 0, 0.002]))

    async def disturb() -> None:
        while True:
            run = random.choice(runs)
            run.socket.full = not run.socket.full
            await asyncio.sleep(0.001)

    writings = [asyncio.create_task(write()) for _ in range(2)]
    runs: list[Run] = []
    for number in range(40):
        name = ("orders", "derived", "_all")[number % 3]
        view = await streams.view(name)
        runs.append(Run(feed, view, random.randrange(view.head() + 1)))
        if random.random() < 0.2:
            random.choice(runs).task.cancel()
        await asyncio.sleep(0.002)
    disturbing = asyncio.create_task(disturb())
    await asyncio.gather(*writings)
    disturbing.cancel()
    for number, run in enumerate(runs):
        run.socket.full = False
        head = await (await streams.view(("orders", "derived", "_all")[number % 3])).settle()
        if run.task.cancelled() or run.task.cancelling():
            ids = run.socket.ids
            assert ids == list(range(run.first + 1, run.first + 1 + len(ids)))
            continue
        ids = await run.has(head - run.first)
        assert ids == list(range(run.first + 1, head + 1))
