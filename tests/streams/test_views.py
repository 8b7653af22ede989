"""What can be read as a stream, and how one waits for more of it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import tracemalloc

import pytest

from hub.batch import TsvReader
from hub.engines.files import FilesEngine
from hub.errors import UnknownStream
from hub.event import Limits
from hub.matcher import Matcher, compile_matcher
from hub.selector import join_of
from hub.streams import Streams, View
from hub.streams.views import MEMBERS, LogView
from tests.streams.writing import PATIENCE, Writing, numbered, types

NOT_B = compile_matcher({"payload": {"type": {"$ne": "B"}}})
ALL_TYPES = compile_matcher({"payload": {"type": list("ABCDE")}})


async def make(streams: Streams, writing: Writing) -> None:
    await writing.commit("other", "X")
    await writing.commit("orders-1", "AB")
    await writing.post("channel", "ABCDE")
    await writing.commit("orders-1", "CDE")
    await streams.put(
        "derived", compile_matcher({"stream": "orders-1", "payload": {"type": list("ABCDE")}})
    )


async def view_of(streams: Streams, kind: str, matcher: Matcher | None = None) -> View:
    if kind == "join":
        return streams.join("join", join_of(["orders-1", "missing"]), matcher)
    if kind == "category":
        return streams.category("orders", matcher)
    return await streams.view(kind, matcher)


NUMBERS = {
    "orders-1": [1, 2, 3, 4, 5],
    "channel": [1, 2, 3, 4, 5],
    "derived": [1, 2, 3, 4, 5],
    "join": [2, 3, 9, 10, 11],
    "category": [2, 3, 9, 10, 11],
}


@pytest.mark.parametrize("kind", NUMBERS)
async def test_documents_and_their_numbers(streams: Streams, writing: Writing, kind: str) -> None:
    await make(streams, writing)
    view = await view_of(streams, kind)
    numbers = NUMBERS[kind]
    everything = list(zip(numbers, "ABCDE", strict=True))
    assert await view.settle() == view.head() == (5 if numbers[-1] == 5 else 11)
    assert await numbered(view) == everything
    assert await numbered(view, backwards=True) == everything[::-1]
    for low in range(1, 12):
        for high in range(low, view.head() + 1):
            wanted = [each for each in everything if low <= each[0] <= high]
            assert await numbered(view, low, high) == wanted
            assert await numbered(view, low, high, backwards=True) == wanted[::-1]


@pytest.mark.parametrize("kind", NUMBERS)
async def test_a_matcher_leaves_the_numbers(streams: Streams, writing: Writing, kind: str) -> None:
    await make(streams, writing)
    view = await view_of(streams, kind, NOT_B)
    wanted = list(zip(NUMBERS[kind], "ABCDE", strict=True))
    del wanted[1]
    assert await numbered(view) == wanted
    assert await numbered(view, backwards=True) == wanted[::-1]
    assert await view.settle() == (await view_of(streams, kind)).head() or kind == "derived"


async def test_the_global_order(streams: Streams, writing: Writing) -> None:
    await make(streams, writing)
    view = await streams.view("_all")
    assert await numbered(view) == list(enumerate("XABABCDECDE", 1))


async def test_a_stream_without_events(streams: Streams) -> None:
    await streams.put("empty", compile_matcher({"stream": "empty"}))
    await streams.put("derived", ALL_TYPES)
    for kind in ("empty", "derived", "_all", "join", "category"):
        view = await view_of(streams, kind)
        assert await view.settle() == 0
        for backwards in (True, False):
            assert await numbered(view, 1, 0, backwards=backwards) == []


async def test_a_long_derived_stream(streams: Streams, writing: Writing) -> None:
    count = 2 * MEMBERS + 10
    await writing.commit("long", "A" * count)
    await streams.put("derived", ALL_TYPES)
    view = await streams.view("derived")
    numbers = [number for number, _ in await numbered(view)]
    assert numbers == list(range(1, count + 1))
    assert [number for number, _ in await numbered(view, backwards=True)] == numbers[::-1]


async def test_the_place_of_documents_in_the_file(streams: Streams, writing: Writing) -> None:
    await make(streams, writing)
    view = await streams.view("orders-1")
    assert isinstance(view, LogView)
    await view.settle()
    whole = await view.span(1, 5)
    assert whole is not None
    assert whole[0] == 0
    two, rest = await view.span(1, 2), await view.span(3, 5)
    assert two is not None
    assert rest == (two[1], whole[1])
    channel = await streams.view("channel")
    filtered = await streams.view("orders-1", NOT_B)
    for each in (channel, filtered):
        assert isinstance(each, LogView)
        assert await each.span(1, 5) is None


async def test_pieces(streams: Streams, writing: Writing) -> None:
    await make(streams, writing)
    for kind, numbers in NUMBERS.items():
        view = await view_of(streams, kind)
        last = await view.settle()
        piece = await view.read(0, 100, 10**6)
        assert [json.loads(each)["payload"]["type"] for each in piece.documents] == list("ABCDE")
        assert (list(piece.numbers), piece.end) == (numbers, last)
        piece = await view.read(numbers[3], 100, 10**6)
        assert (list(piece.numbers), piece.end) == (numbers[4:], last)
        for after in (last, last + 5):
            piece = await view.read(after, 100, 10**6)
            assert (piece.documents, list(piece.numbers), piece.end) == ([], [], after)


async def test_a_piece_has_about_as_many_as_are_asked_for(
    streams: Streams, writing: Writing
) -> None:
    for _ in range(30):
        await writing.commit("long", "A" * 100)
    view = await streams.view("long")
    after, sizes = 0, []
    while (piece := await view.read(after, 500, 10**6)).documents:
        assert list(piece.numbers) == list(range(after + 1, after + 1 + len(piece.documents)))
        sizes.append(len(piece.documents))
        after = piece.end
    assert sum(sizes) == 3000


@pytest.fixture
async def large(engine: FilesEngine, streams: Streams) -> None:
    """A log of lines and one of documents: small events, large ones, and a rare kind."""
    await streams.put("orders-1", compile_matcher({"stream": "orders-1"}))
    await streams.put("derived", compile_matcher({"payload": {"type": "A"}}))
    await streams.put("sparse", compile_matcher({"payload": {"rare": 1}}))
    for name in ("orders-1", "channel"):
        await post(engine, name, ["A"] * 500)
        for _ in range(15):
            await post(engine, name, ["A", LARGE])
    for _ in range(150):
        await post(engine, "channel", [RARE] + ["C" * 4000] * 15)


LARGE = '{"type":"A","x":"%s"}' % ("x" * 10**6)
RARE = '{"type":"B","rare":1,"x":"%s"}' % ("x" * 2000)
HELD = 12 * 2**20
"""Bytes that a reader may have the hub hold, with all that is made of them."""


async def post(engine: FilesEngine, name: str, texts: list[str]) -> None:
    reader = TsvReader(Limits())
    for each in texts:
        data = each if each.startswith("{") else f'{{"type":"{each}"}}'
        reader.feed(b"\t\t%b\n" % data.encode())
    await engine.append(name, reader.finish())


async def test_what_a_reader_holds_is_bounded_in_bytes(streams: Streams, large: None) -> None:
    kinds = ("orders-1", "channel", "derived", "sparse", "_all", "join", "category")
    for kind, backwards in itertools.product(kinds, (False, True)):
        view = await view_of(streams, kind)
        high = await view.settle()
        count = 0
        gc.collect()
        tracemalloc.start()
        async for part in view.slices(1, high, backwards=backwards):
            count += len(part.numbers)
            del part
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < HELD, kind
        if kind not in ("join", "category"):
            assert count == high, kind


async def test_a_piece_is_bounded_in_bytes(streams: Streams, large: None) -> None:
    for kind in ("orders-1", "channel", "derived", "_all", "join", "category"):
        view = await view_of(streams, kind)
        numbers: list[int] = []
        high = await view.settle()
        after = 0
        while after < high:
            piece = await view.read(after, 10**6, 2 * 2**20)
            assert piece.size == sum(map(len, piece.documents)) < 4 * 2**20
            assert piece.size >= 2 * 2**20 or piece.end == high
            numbers += piece.numbers
            after = piece.end
        assert numbers == [number for number, _ in await numbered(view)]


@pytest.mark.parametrize("kind", ["orders-1", "channel", "derived", "_all", "join", "category"])
async def test_waiting(streams: Streams, writing: Writing, kind: str) -> None:
    await make(streams, writing)
    view = await view_of(streams, kind)
    last = await view.settle()
    waiting = asyncio.create_task(view.wait(last))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    if kind == "channel":
        await writing.post("channel", "N")
    else:
        await writing.commit("orders-1", "A")
    await asyncio.wait_for(waiting, PATIENCE)
    assert await view.settle() > last
    await asyncio.wait_for(view.wait(last), PATIENCE)  # there is more already


async def test_who_waits_for_another_log_is_not_woken(streams: Streams, writing: Writing) -> None:
    await make(streams, writing)
    view = await streams.view("orders-1")
    waiting = asyncio.create_task(view.wait(await view.settle()))
    await writing.commit("other", "XYZ")
    await asyncio.sleep(0.02)
    assert not waiting.done()
    waiting.cancel()


async def test_views_of_the_same_have_the_same_key(streams: Streams, writing: Writing) -> None:
    await make(streams, writing)

    async def keys() -> list[str]:
        views = [
            await view_of(streams, kind, matcher)
            for kind in ("orders-1", "channel", "derived", "_all", "join", "category")
            for matcher in (None, NOT_B)
        ]
        views.append(streams.join("join", join_of(["orders-1"]), None))
        views.append(streams.join("join", join_of(["other"]), None))
        views.append(streams.category("other", None))
        return [each.key for each in views]

    first = await keys()
    assert first == await keys()
    assert len(set(first)) == len(first)


async def test_a_derived_stream_that_is_removed(streams: Streams, writing: Writing) -> None:
    await make(streams, writing)
    view = await streams.view("derived")
    await view.settle()
    await streams.remove("derived")
    with pytest.raises(UnknownStream):
        await view.settle()
    with pytest.raises(UnknownStream):
        await numbered(view, 1, 2)


async def test_what_comes_while_a_derived_stream_is_followed(
    streams: Streams, writing: Writing, engine: FilesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for as if it had been seen."""
    await make(streams, writing)
    view = await streams.view("derived")
    follow = engine.version_of

    async def overtaken(name: str) -> int:
        version = await follow(name)
        await writing.commit("orders-1", "A")
        return version

    monkeypatch.setattr(engine, "version_of", overtaken)
    last = await view.settle()
    monkeypatch.undo()
    await asyncio.wait_for(view.wait(last), PATIENCE)
    assert await view.settle() == last + 1


async def test_what_comes_while_one_reads(streams: Streams, writing: Writing) -> None:
    """The numbers that were asked for, and no others."""
    for kind in ("orders-1", "_all", "category"):
        await writing.commit("orders-1", "ABC")
        view = await view_of(streams, kind)
        last = await view.settle()
        reading = view.slices(1, last)
        found: list[int] = []
        async for part in reading:
            await writing.commit("orders-1", "N" * 300)
            found += part.numbers
        assert found == list(range(1, last + 1))


def test_types() -> None:
    assert types([(1, "A"), (7, "B")]) == "AB"
