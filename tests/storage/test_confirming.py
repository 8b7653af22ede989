"""Who commits is told once his position outlasts a crash, or what is wrong."""

from __future__ import annotations

import asyncio

import pytest

from hub.errors import IndexFailed
from hub.storage.confirming import Confirming
from hub.storage.group import Receipt


class Keeping:
    """A sequencer that keeps positions when it is let to: at once, later, or not at all."""

    def __init__(self) -> None:
        self.kept = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()

    def secure_now(self, position: int) -> bool:
        return position <= self.kept

    async def secure(self, position: int) -> None:
        await self.gate.wait()
        if self.error:
            raise self.error


class Bench:
    def __init__(self) -> None:
        self.keeping = Keeping()
        self.confirming = Confirming(self.keeping)

    def store(self, position: int = 1) -> asyncio.Future[Receipt]:
        """What who commits waits for: it is stored."""
        told: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.confirming.confirm(told, Receipt(1, "a", "a", 0, position))
        return told


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_position_that_is_kept_at_once_is_told_without_a_task(bench: Bench) -> None:
    bench.keeping.kept = 7
    before = len(asyncio.all_tasks())
    told = bench.store(7)
    assert (await told).position == 7
    assert len(asyncio.all_tasks()) == before


async def test_what_is_stored_in_one_turn_is_told_in_the_next(bench: Bench) -> None:
    bench.keeping.kept = 7
    first, second = bench.store(6), bench.store(7)
    assert not first.done()
    await asyncio.sleep(0)
    assert (first.result().position, second.result().position) == (6, 7)


async def test_nobody_is_told_before_the_position_is_kept(bench: Bench) -> None:
    told = bench.store(7)
    await settled()
    assert not told.done()
    bench.keeping.gate.set()
    assert (await told).position == 7


@pytest.mark.parametrize("error", [IndexFailed("lost"), RuntimeError("a mistake")])
async def test_what_is_wrong_with_the_position_is_told(bench: Bench, error: Exception) -> None:
    bench.keeping.error = error
    bench.keeping.gate.set()
    with pytest.raises(type(error)):
        await bench.store()


async def test_who_goes_away_is_told_nothing(bench: Bench) -> None:
    bench.keeping.kept = 1
    soon, gone = bench.store(1), bench.store(7)
    soon.cancel()
    gone.cancel()
    later = bench.store(7)
    await settled()
    later.cancel()
    bench.keeping.error = IndexFailed("lost")
    bench.keeping.gate.set()
    await bench.confirming.close()
    assert all(each.cancelled() for each in (soon, gone, later))


async def test_closing_waits_for_what_is_not_confirmed(bench: Bench) -> None:
    told = bench.store()
    closing = asyncio.ensure_future(bench.confirming.close())
    await settled()
    assert not closing.done()
    bench.keeping.gate.set()
    await closing
    assert told.done()
    await bench.confirming.close()
