"""Busy polling: when the event loop stays awake, and that it sleeps otherwise."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Iterator

import pytest

from hub.web import busypoll
from hub.web.busypoll import MOST, TRIES, BusyPoll


class Watched(selectors.EpollSelector):
    """The system's, which counts how often it is asked without sleeping, and with."""

    looks = sleeps = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            self.looks += 1
        else:
            self.sleeps += 1
        return super().select(timeout)


@pytest.fixture
def selector() -> Watched:
    return Watched()


@pytest.fixture
def loop(selector: Watched) -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.SelectorEventLoop(selector)
    yield made
    made.close()


def run(loop: asyncio.AbstractEventLoop, seconds: float = 0.0) -> None:
    loop.run_until_complete(asyncio.sleep(seconds))


def sleep(loop: asyncio.AbstractEventLoop, polling: BusyPoll) -> None:
    """Let the loop go on until it is not kept awake."""
    while polling.awake:
        run(loop)


def try_it(loop: asyncio.AbstractEventLoop, polling: BusyPoll) -> None:
    """Give the answers after which the loop stays awake, to see whether that pays."""
    for _ in range(TRIES):
        assert not polling.awake
        polling.answered(loop)
    assert polling.awake


def test_the_loop_looks_again_for_a_moment_and_then_sleeps(
    loop: asyncio.AbstractEventLoop, selector: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busypoll, "SECONDS", 0.02)
    polling = BusyPoll()
    try_it(loop, polling)
    began = time.perf_counter()
    sleep(loop, polling)
    assert time.perf_counter() - began > 0.015
    assert selector.looks > 20
    selector.looks = selector.sleeps = 0
    run(loop, 0.05)
    assert selector.looks <= 5  # to begin and to end
    assert selector.sleeps >= 1


def test_as_long_as_requests_come_at_once_it_stays_awake_after_each_answer(
    loop: asyncio.AbstractEventLoop,
) -> None:
    polling = BusyPoll()
    try_it(loop, polling)
    for _ in range(3 * TRIES):
        polling.asked()
        polling.answered(loop)
        assert polling.awake
    sleep(loop, polling)


def test_where_nothing_comes_it_soon_sleeps_after_each_answer(
    loop: asyncio.AbstractEventLoop,
) -> None:
    polling = BusyPoll()
    try_it(loop, polling)
    for _ in range(3 * MOST):  # it pays, for once
        polling.asked()
    in_vain = 0
    while True:
        sleep(loop, polling)
        polling.asked()  # too late
        polling.answered(loop)
        if not polling.awake:
            break
        in_vain += 1
    assert in_vain == MOST - 1
    tried = 0
    for _ in range(10 * TRIES):
        polling.answered(loop)
        tried += polling.awake
        sleep(loop, polling)
    assert tried == 10
