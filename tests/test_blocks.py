"""Blocks of logs: whole, wherever they begin, and soon the same for all who read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import blocks as module
from hub import sse
from hub.blocks import Block, Blocks
from hub.engines.files import FilesEngine
from hub.errors import ReadFailed
from hub.formats import Batch, split_rows
from tests.web.wire import eventually

NAME = "a-channel"
SIZE = 4096


class Counting(FilesEngine):
    """Counts what is read of logs, and fails on demand."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.reads = 0
        self.failing = False

    async def read(self, name: str, start: int, end: int, size: int = 0) -> bytes:
        self.reads += 1
        if self.failing:
            raise ReadFailed("the disk is gone")
        return await super().read(name, start, end, size)


@pytest.fixture
async def engine(events: Path) -> AsyncIterator[Counting]:
    found = Counting(events)
    await found.open()
    yield found
    await found.close()


async def fill(engine: FilesEngine, sizes: list[int]) -> bytes:
    """Make a log whose events have data of these sizes; return it."""
    for number, size in enumerate(sizes):
        await engine.append(NAME, Batch.of_one("", "ab"[number % 2], b"x" * size))
    return engine.file(NAME).read_bytes()


async def walk(
    blocks: Blocks, place: int, end: int, size: int = SIZE, only: bytes | None = None
) -> list[Block]:
    """All blocks from a place to the end."""
    found = []
    while place < end:
        block = await blocks.read(NAME, only, place, end, size)
        assert block[1] > place
        place = block[1]
        found.append(block)
    assert place == end
    return found


@pytest.mark.parametrize("only", [None, b"a", b"b", b"none"])
@pytest.mark.parametrize("sizes", [[30] * 600, [3000] * 20, [10_000, 5, 5, 20_000, 5] * 5])
async def test_from_any_event_on_nothing_is_missing(
    engine: Counting, sizes: list[int], only: bytes | None
) -> None:
    log = await fill(engine, sizes)
    blocks = Blocks(engine, lambda: 1)
    place = 0
    for line in log.split(b"\n")[:-1]:
        found = await walk(blocks, place, len(log), only=only)
        text = b"".join(frames for frames, _ in found)
        assert text == sse.frames(split_rows(log[place:]), only)
        place += len(line) + 1


async def test_wherever_readers_begin_they_soon_share_what_is_read(engine: Counting) -> None:
    log = await fill(engine, [60] * 1000)
    blocks = Blocks(engine, lambda: 1)
    one = await walk(blocks, 0, len(log))
    reads = engine.reads
    place = log.index(b"\n", 7 * SIZE // 3) + 1
    other = await walk(blocks, place, len(log))
    assert engine.reads == reads + 1
    shared = one[-len(other) + 1 :]
    assert [id(frames) for frames, _ in other[1:]] == [id(frames) for frames, _ in shared]
    again = await walk(blocks, 0, len(log))
    assert engine.reads == reads + 1
    assert [id(frames) for frames, _ in again] == [id(frames) for frames, _ in one]


@given(place=st.integers(0, 10**12), size=st.sampled_from([8, 16, 4096, 16384, 262144]))
def test_a_block_is_not_larger_than_asked_for_nor_tiny(place: int, size: int) -> None:
    stop = module._stop(place, size)
    assert size // module.LEAST <= stop - place <= size
    assert stop % (size - size // module.LEAST) == 0


async def test_who_asks_at_the_same_time_gets_the_same(engine: Counting) -> None:
    log = await fill(engine, [60] * 100)
    blocks = Blocks(engine, lambda: 1)
    asked = [blocks.read(NAME, None, 0, len(log), SIZE) for _ in range(50)]
    first, *others = await asyncio.gather(*asked)
    assert engine.reads == 1
    assert all(each is first for each in others)


async def test_what_ends_with_the_log_is_not_all_that_there_is_later(engine: Counting) -> None:
    early = await fill(engine, [60] * 3)
    blocks = Blocks(engine, lambda: 1)
    _, place = await blocks.read(NAME, None, 0, len(early), SIZE)
    assert place == len(early)
    log = await fill(engine, [60] * 3)
    frames, place = await blocks.read(NAME, None, 0, len(log), SIZE)
    assert place == len(log)
    assert frames == sse.frames(split_rows(log))


async def test_what_is_held_is_bounded(engine: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await fill(engine, [60] * 500)
    monkeypatch.setattr(module, "HELD_BYTES", 3 * SIZE)
    blocks = Blocks(engine, lambda: 1)
    count = len(await walk(blocks, 0, len(log)))
    assert 0 < blocks._size == sum(len(frames) for frames, _ in blocks._held.values()) <= 3 * SIZE
    reads = engine.reads
    await walk(blocks, 0, len(log))
    assert engine.reads == reads + count  # each had gone when it was wanted again
    monkeypatch.setattr(module, "HELD_BLOCKS", 2)
    await walk(blocks, 0, len(log), only=b"none")
    assert len(blocks._held) == 2


async def test_many_readers_have_more_held_as_long_as_they_are_there(
    engine: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await fill(engine, [60] * 900)
    monkeypatch.setattr(module, "HELD_BYTES", SIZE)
    monkeypatch.setattr(module, "MORE_BYTES", SIZE // 2)
    monkeypatch.setattr(module, "MOST_BYTES", 8 * SIZE)
    readers = [1]
    blocks = Blocks(engine, lambda: readers[0])
    for count, most in ((1, 1), (6, 3), (1000, 8), (1, 1)):
        readers[0] = count
        blocks.shed()
        assert blocks._size <= most * SIZE
        await walk(blocks, 0, len(log))
        assert (most - 1) * SIZE // 2 < blocks._size <= most * SIZE


async def test_a_block_that_is_too_large_to_hold(
    engine: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await fill(engine, [3 * SIZE])
    monkeypatch.setattr(module, "HELD_BYTES", SIZE)
    blocks = Blocks(engine, lambda: 1)
    frames, _ = await blocks.read(NAME, None, 0, len(log), SIZE)
    assert frames == sse.frames(split_rows(log))
    assert not blocks._held
    assert blocks._size == 0


async def test_a_failure_is_told_and_not_held(engine: Counting) -> None:
    log = await fill(engine, [60])
    blocks = Blocks(engine, lambda: 1)
    engine.failing = True
    for _ in range(2):
        with pytest.raises(ReadFailed):
            await blocks.read(NAME, None, 0, len(log), SIZE)
    engine.failing = False
    frames, _ = await blocks.read(NAME, None, 0, len(log), SIZE)
    assert frames == sse.frames(split_rows(log))


async def test_one_who_goes_away_does_not_take_it_from_others(engine: Counting) -> None:
    log = await fill(engine, [60])
    blocks = Blocks(engine, lambda: 1)
    one, other = (
        asyncio.ensure_future(blocks.read(NAME, None, 0, len(log), SIZE)) for _ in range(2)
    )
    await asyncio.sleep(0)
    one.cancel()
    frames, _ = await other
    assert frames == sse.frames(split_rows(log))
    assert one.cancelled()


async def test_if_all_go_away_a_failure_is_nobodys(engine: Counting) -> None:
    log = await fill(engine, [60])
    blocks = Blocks(engine, lambda: 1)
    engine.failing = True
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    one = asyncio.ensure_future(blocks.read(NAME, None, 0, len(log), SIZE))
    await asyncio.sleep(0)
    one.cancel()
    await eventually(lambda: not blocks._coming)
    assert not told
