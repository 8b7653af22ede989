"""Finding, committing to, defining, closing and listing streams."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hub.engines.files import FilesEngine
from hub.errors import (
    Conflict,
    InvalidName,
    NameTaken,
    StreamClosed,
    UnknownStream,
    VersionConflict,
)
from hub.formats import Batch
from hub.matcher import compile_matcher
from hub.streams import StreamInfo, Streams
from hub.streams.service import LISTED_AT_ONCE
from tests.storage.disks import FaultyDisk
from tests.streams.test_feed import Run
from tests.streams.writing import PATIENCE, Writing

A = compile_matcher({"payload": {"type": "A"}})
B = compile_matcher({"payload": {"type": "B"}})


async def test_streams_by_name(streams: Streams, writing: Writing, tmp_path: Path) -> None:
    for name in ("unknown", "_all "):
        with pytest.raises((UnknownStream, InvalidName)):
            await streams.view(name)
    assert (await streams.view("_all")).name == "_all"
    await writing.commit("orders", "A")
    assert (await streams.view("orders")).name == "orders"
    (tmp_path / "events" / "by-hand.tsv").write_bytes(b"1\tA\ttext\n")
    view = await streams.view("by-hand")
    assert await view.settle() == 1


async def test_committing(streams: Streams, writing: Writing) -> None:
    first = await writing.commit("orders", "AB", expected=0)
    assert (first.version, first.count, first.position) == (0, 2, 2)
    with pytest.raises(VersionConflict):
        await writing.commit("orders", "C", expected=0)
    with pytest.raises(InvalidName):
        await writing.commit("_all", "A")
    await streams.put("derived", A)
    with pytest.raises(Conflict):
        await writing.commit("derived", "A")


async def test_defining(streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "ABA")
    assert await streams.put("derived", A) == (2, True)
    assert await streams.put("derived", A) == (2, False)
    with pytest.raises(NameTaken, match="derived already"):
        await streams.put("derived", B)
    with pytest.raises(NameTaken, match="is a log"):
        await streams.put("orders", A)
    own = compile_matcher({"stream": "orders"})
    assert await streams.put("orders", own) == (3, False)
    with pytest.raises(NameTaken):
        await streams.put("derived", compile_matcher({"stream": "derived"}))
    assert await streams.put("new", compile_matcher({"stream": "new"})) == (0, True)
    assert await streams.put("new", compile_matcher({"stream": ["new"]})) == (0, False)


async def test_removing(streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "A")
    await streams.put("derived", A)
    await streams.remove("derived")
    with pytest.raises(UnknownStream):
        await streams.remove("derived")
    with pytest.raises(Conflict, match="never removed"):
        await streams.remove("orders")
    assert await streams.put("derived", B) == (0, True)


@pytest.mark.parametrize("replaced", [False, True])
async def test_whoever_follows_what_is_removed_is_told(
    streams: Streams, writing: Writing, replaced: bool
) -> None:
    """At once, and though there is another of that name by then: its numbers mean other events."""
    await writing.commit("orders", "AABBB")
    await streams.put("derived", A)
    behind, waiting = [await streams.view("derived") for _ in range(2)]
    live = Run(streams.feed, await streams.view("derived"))
    last = await waiting.settle()
    woken = asyncio.create_task(waiting.wait(last))
    await live.is_live()
    await streams.remove("derived")
    if replaced:
        await streams.put("derived", B)
    await asyncio.wait_for(woken, PATIENCE)
    with pytest.raises(UnknownStream):
        await asyncio.wait_for(live.task, PATIENCE)
    assert live.socket.ids == [1, 2]
    for view in (behind, waiting):
        with pytest.raises(UnknownStream):
            await view.settle()
        with pytest.raises(UnknownStream):
            _ = [each async for each in view.slices(1, 2)]


async def test_a_definition_waits_for_others(streams: Streams) -> None:
    """What is said to be defined is on disk, whoever defined it."""
    results = await asyncio.gather(
        *(streams.put("derived", each) for each in (A, B, A, B)), return_exceptions=True
    )
    assert [type(each) for each in results] == [tuple, NameTaken, tuple, NameTaken]
    assert results[0] == (0, True)
    assert results[2] == (0, False)
    _, other = await asyncio.gather(streams.remove("derived"), streams.put("derived", B))
    assert other == (0, True)


async def test_a_definition_that_cannot_be_stored(tmp_path: Path) -> None:
    disk = FaultyDisk("fsync", 10**9, 28)
    engine = FilesEngine(tmp_path / "events", disk=disk)
    await engine.open()
    streams = Streams(engine, 30.0)
    disk.left = 1
    with pytest.raises(Exception, match="could not be stored"):
        await streams.put("derived", A)
    assert await streams.put("derived", A) == (0, True)
    streams.close()
    await engine.close()


async def test_sealing(streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "AB")
    for _ in range(2):
        log = await streams.seal("orders")
        assert (log.version, log.closed) == (2, True)
    with pytest.raises(StreamClosed):
        await writing.commit("orders", "C")
    with pytest.raises(UnknownStream):
        await streams.seal("unknown")
    await streams.put("derived", A)
    with pytest.raises(Conflict):
        await streams.seal("derived")


async def test_what_is_under_way_when_a_stream_is_sealed(
    streams: Streams, writing: Writing
) -> None:
    await writing.commit("orders", "A")
    results = await asyncio.gather(
        *(writing.commit("orders", "B") for _ in range(5)),
        streams.seal("orders"),
        *(writing.commit("orders", "C") for _ in range(5)),
        return_exceptions=True,
    )
    taken = [each for each in results if not isinstance(each, BaseException)]
    assert all(isinstance(each, StreamClosed) for each in results if each not in taken)
    version = await (await streams.view("orders")).settle()
    assert version == len(taken)  # the first, and one for each but the seal itself


async def test_listing(streams: Streams, writing: Writing) -> None:
    await writing.commit("b", "AB")
    await writing.post("channel", "A")
    await streams.put("a", A)
    await streams.seal("b")
    listed = await streams.list("", "", 10)
    told = [each.metadata for each in listed]
    assert [list(each) for each in told] == [[], *[["bytes", "lastId", "lastTime"]] * 2]
    assert listed == [
        StreamInfo("a", 2, False, "ndjson", True, {}),
        StreamInfo("b", 2, True, "ndjson", False, told[1]),
        StreamInfo("channel", 1, False, "tsv", False, told[2]),
    ]
    assert [each.stream for each in await streams.list("", "a", 1)] == ["b"]
    assert [each.stream for each in await streams.list("c", "", 10)] == ["channel"]
    assert await streams.list("", "", 0) == []


async def test_a_stream_that_goes_while_it_is_listed(streams: Streams) -> None:
    names = [f"derived-{number}" for number in range(20)]
    for name in names:
        await streams.put(name, A)
    listing = asyncio.create_task(streams.list("", "", 100))
    await asyncio.gather(*(streams.remove(name) for name in names))
    listed = await listing
    assert {each.stream for each in listed} <= set(names)
    assert await streams.list("", "", 100) == []


async def test_a_page_is_full_though_a_log_is_not_there_yet(
    streams: Streams, engine: FilesEngine, writing: Writing
) -> None:
    """A page that is not full is the last one, to who reads page by page."""
    for name in ("a", "c", "d"):
        await writing.commit(name, "A")
    made = engine.append("bbbb", Batch.of_one("1", "A", b"one"))
    assert [each.stream for each in await streams.list("", "", 2)] == ["a", "c"]
    await made
    assert [each.stream for each in await streams.list("", "", 2)] == ["a", "bbbb"]


async def test_a_list_longer_than_what_is_looked_at_at_once(
    streams: Streams, engine: FilesEngine
) -> None:
    names = [f"log-{number:03}" for number in range(2 * LISTED_AT_ONCE + 1)]
    for name in names:
        await engine.make(name, "ndjson")
    for limit in (LISTED_AT_ONCE - 1, LISTED_AT_ONCE, LISTED_AT_ONCE + 1, 1000):
        assert [each.stream for each in await streams.list("", "", limit)] == names[:limit]


async def test_categories_have_names_that_streams_can_have(streams: Streams) -> None:
    assert streams.category("orders", None).name == "category/orders"
    for name in ("_all", "a::b", ""):
        with pytest.raises(InvalidName):
            streams.category(name, None)
