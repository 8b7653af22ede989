"""Items out of chunks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence

import pytest

from hub.client import Hub, Iteration
from tests.process import HubProcess


class Source:
    """Chunks, and whether somebody still wants them."""

    def __init__(self, *chunks: Sequence[int]) -> None:
        self.open = False
        self._chunks = chunks

    async def read(self) -> AsyncGenerator[Sequence[int], None]:
        self.open = True
        try:
            for each in self._chunks:
                await asyncio.sleep(0)
                yield each
        finally:
            await asyncio.sleep(0)
            self.open = False


async def test_items_come_one_by_one() -> None:
    assert [each async for each in Iteration(Source([1, 2], [], [3]).read())] == [1, 2, 3]
    found = Iteration(Source([1, 2]).read())
    assert [await anext(found), await anext(found)] == [1, 2]
    with pytest.raises(StopAsyncIteration):
        await anext(found)


async def test_who_leaves_the_loop_closes_the_source_soon() -> None:
    source = Source([1, 2], [3])
    async for _ in Iteration(source.read()):
        break
    for _ in range(5):
        await asyncio.sleep(0)
    assert not source.open


async def test_who_enters_it_closes_the_source_at_once() -> None:
    source = Source([1, 2], [3])
    async with Iteration(source.read()) as found:
        assert await anext(found) == 1
        assert source.open
    assert not source.open
    await found.aclose()


async def test_one_that_was_never_begun_can_be_closed() -> None:
    source = Source([1])
    await Iteration(source.read()).aclose()
    assert not source.open


_LEAVES = """
import asyncio, sys
from hub.client import Hub

async def main():
    hub = Hub(sys.argv[1])
    if sys.argv[3] == "closed":
        async with hub:
            await leave(hub)
    await leave(hub)

async def leave(hub):
    ways = [
        hub.history("orders"),
        hub.subscribe("orders", since="start"),
        hub.replay("orders"),
        hub.scan("orders", lambda state, _: state + 1, 0, snapshot=sys.argv[2]),
        hub.read("_all"),
        hub.follow("_all"),
        hub.streams(),
    ]
    for way in ways:
        await anext(way)
    # They are open, and somebody refers to them, when the loop ends.
    raise SystemExit(3)

asyncio.run(main())
"""


async def test_what_is_open_when_the_loop_ends_ends_in_silence(
    server: HubProcess, client: Hub, tmp_path: object
) -> None:
    await client.publish_many("orders", range(100_000))
    for way in ("closed", "open"):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", _LEAVES, server.url, f"{tmp_path}/snapshot", way],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 3
        lines = done.stderr.split("\n")
        if way == "open":  # aiohttp says that a session was not closed, which is true
            lines = [each for each in lines if "Unclosed" not in each and "<aiohttp" not in each]
        assert lines == [""]
