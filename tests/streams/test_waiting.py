"""Who waits for a log, who for the global order, and when they are woken."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from hub.engines.files import FilesEngine
from hub.streams import Streams
from hub.streams.waiting import Waiting
from tests.streams.writing import PATIENCE, Writing


@pytest.fixture
async def waiting(engine: FilesEngine) -> Waiting:
    return Waiting(engine)


async def started(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    await asyncio.sleep(0.01)
    return task


async def test_who_is_woken(waiting: Waiting, writing: Writing) -> None:
    one = await started(waiting.for_log("one"))
    same = await started(waiting.for_log("one"))
    other = await started(waiting.for_log("other"))
    order = await started(waiting.for_order())
    await writing.commit("one", "A")
    await asyncio.wait_for(asyncio.gather(one, same, order), PATIENCE)
    assert not other.done()
    await writing.post("other", "A")
    await asyncio.wait_for(other, PATIENCE)


async def test_who_is_to_look_again(waiting: Waiting) -> None:
    one = await started(waiting.for_log("one"))
    order = await started(waiting.for_order())
    waiting.look_again()
    await asyncio.wait_for(order, PATIENCE)
    assert not one.done()
    waiting.close()
    await asyncio.wait_for(one, PATIENCE)


async def test_the_order_is_told_of_soon(waiting: Waiting, writing: Writing) -> None:
    """Positions that somebody waits for are not left for later."""
    loop = asyncio.get_running_loop()
    for _ in range(5):
        order = await started(waiting.for_order())
        began = loop.time()
        await writing.post("channel", "A")
        await asyncio.wait_for(order, PATIENCE)
        assert loop.time() - began < 0.15


async def test_who_leaves_is_forgotten(waiting: Waiting, writing: Writing) -> None:
    tasks = [await started(waiting.for_log("one")) for _ in range(3)]
    tasks += [await started(waiting.for_order()) for _ in range(3)]
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not waiting._logs
    assert not waiting._order
    await writing.commit("one", "A")
    again = await started(waiting.for_log("one"))
    await writing.commit("one", "A")
    await asyncio.wait_for(again, PATIENCE)
    assert not waiting._logs


async def test_nobody_waits_for_a_hub_that_closes(waiting: Waiting, streams: Streams) -> None:
    log, order = await started(waiting.for_log("one")), await started(waiting.for_order())
    waiting.close()
    await asyncio.wait_for(asyncio.gather(log, order), PATIENCE)
    await asyncio.wait_for(waiting.for_log("one"), PATIENCE)
    await asyncio.wait_for(waiting.for_order(), PATIENCE)
