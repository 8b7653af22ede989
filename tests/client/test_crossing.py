"""Coroutines in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from hub.client import ClientClosed
from hub.client.crossing import LoopThread, in_caller


async def nothing() -> None:
    pass


def test_results_and_errors_cross() -> None:
    loop = LoopThread()

    async def answer() -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    async def fails() -> None:
        raise KeyError("x")

    assert loop.run(answer()) not in (0, threading.get_ident())
    with pytest.raises(KeyError, match="x"):
        loop.run(fails())
    loop.close(nothing())
    with pytest.raises(ClientClosed):
        loop.run(answer())
    loop.close(nothing())


def test_calls_come_back_to_the_thread_that_waits() -> None:
    loop = LoopThread()

    async def work() -> list[int]:
        async def one() -> int:
            return int(await in_caller(threading.get_ident))

        return list(await asyncio.gather(one(), one()))

    found: list[tuple[int, list[int]]] = []

    def run() -> None:
        found.append((threading.get_ident(), loop.run(work())))

    threads = [threading.Thread(target=run) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 5
    assert all(idents == [own, own] for own, idents in found)

    async def asks() -> object:
        return await in_caller(int, "no number")

    with pytest.raises(ValueError, match="no number"):
        loop.run(asks())
    loop.close(nothing())


def test_what_is_raised_in_the_waiting_thread_cancels_the_work_and_waits_for_its_end() -> None:
    loop = LoopThread()
    ended: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def work() -> None:
        try:
            await in_caller(interrupt)
        finally:
            await asyncio.sleep(0.1)
            ended.append("ended")

    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert ended == ["ended"]
    loop.close(nothing())


def test_closing_ends_what_never_would() -> None:
    loop = LoopThread()
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            loop.run(asyncio.sleep(1000))
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    assert loop.alive
    loop.close(nothing())
    thread.join(10)
    assert [type(each) for each in caught] == [ClientClosed]
    assert not loop.alive
