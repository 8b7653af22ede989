"""Eager coroutines: begun at once, and gone on with in a task."""

from __future__ import annotations

import asyncio

import pytest

from hub.storage.eager import start


async def test_what_waits_for_nothing_is_done_at_once() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    assert start(work()) is None
    assert done == [1]


async def test_what_waits_goes_on_in_a_task() -> None:
    done: list[object] = []
    waits: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        done.append("begun")
        done.append(await waits)
        await asyncio.sleep(0)
        done.append(asyncio.current_task())

    rest = start(work())
    assert rest
    assert done == ["begun"]
    task = asyncio.ensure_future(rest)
    waits.set_result(5)
    await task
    assert done == ["begun", 5, task]


async def test_errors_come_to_whoever_waits() -> None:
    waits: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def work() -> None:
        try:
            await waits
        except ValueError as error:
            seen.append(str(error))
            raise KeyError from error

    rest = start(work())
    assert rest
    waits.set_exception(ValueError("no"))
    with pytest.raises(KeyError):
        await rest
    assert seen == ["no"]

    async def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        start(fails())
