"""The pool: workers that die, that are all busy, that are taken in turn."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from msgspec import Raw

from hub.consumers.messages import Limits, Reply, Why
from hub.consumers.pool import KEPT, Pool, Work
from hub.errors import Closing, SandboxFailed
from tests.consumers.memory import document
from tests.process import wait_until

LIMITS = Limits(seconds=0.3, memory=32 * 2**20, state=100_000)
COUNT = "(e, s) => ({ n: (s.n || 0) + 1 })"
HANGS = "(e, s) => 'a'.repeat(2e6).indexOf('a'.repeat(1e6) + 'b')"

_serials = count(1)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool of two."""
    pool = Pool(2, LIMITS)
    yield pool
    await pool.close()


class Folding:
    """One consumer's batches, each going on from the one before."""

    def __init__(self, pool: Pool, identifier: str, handler: str = COUNT) -> None:
        self.pool = pool
        self.identifier = identifier
        self.handler = handler
        self.state = b"{}"
        self.serial = next(_serials)

    async def fold(self, *payloads: object) -> Reply:
        serial = next(_serials)
        documents = [document(at, each) for at, each in enumerate(payloads)]
        reply = await self.pool.fold(
            Work(self.identifier, self.serial, serial, self.handler, Raw(self.state), documents)
        )
        if reply.fault is None:
            self.state, self.serial = reply.state, serial
        return reply


def processes(pool: Pool) -> list[int]:
    return [each._process.pid for each in pool._workers if each._process is not None]


async def test_it_starts_no_process_before_there_is_work_and_one_for_one(pool: Pool) -> None:
    assert processes(pool) == []
    one = Folding(pool, "one")
    await one.fold()
    await one.fold(1)
    await one.fold(2, 3)
    assert one.state == b'{"n":3}'
    assert len(processes(pool)) == 1


async def test_many_consumers_share_few_processes(pool: Pool) -> None:
    all_of_them = [Folding(pool, f"c-{at}") for at in range(3 * KEPT)]
    for _ in range(3):
        await asyncio.gather(*(each.fold(1, 2) for each in all_of_them))
    assert {each.state for each in all_of_them} == {b'{"n":6}'}
    assert len(processes(pool)) == 2
    assert all(len(each._held) <= KEPT for each in pool._workers)


async def test_a_state_of_another_time_is_not_gone_on_from(pool: Pool) -> None:
    one = Folding(pool, "one")
    await one.fold(1)
    state, serial = one.state, one.serial
    await one.fold(2)
    one.state, one.serial = state, serial  # as if the last reply had been lost
    await one.fold(2)
    assert one.state == b'{"n":2}'


async def test_what_cannot_be_interrupted_costs_one_batch(pool: Pool) -> None:
    good, bad = Folding(pool, "good"), Folding(pool, "bad", HANGS)
    await good.fold(1)
    reply = await bad.fold(1)
    assert reply.fault is not None
    assert (reply.fault.why, reply.fault.at) == (Why.DIED, 0)
    assert "ran on although its time was up" in reply.fault.text
    assert not reply.fault.again
    await good.fold(2)
    assert good.state == b'{"n":2}'


@pytest.mark.parametrize(
    "bomb",
    [
        "const a = []; for (;;) a.push(new Array(1000).fill(1))",
        "let t = 'x'; for (;;) t += t",
        "'x'.repeat(2 ** 29)",
        "new Uint8Array(2 ** 30)",
        "let o = {}; for (;;) o = { o }",
        "const m = new Map(); for (let i = 0; ; i++) m.set(i, 'x' + i)",
        "let f = () => 1; for (;;) { const g = f; f = () => g }",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a",
        "const a = new Array(3e5).fill(0); for (;;) a.sort()",
        "let x = 2n; for (;;) x = x * x",
    ],
)
async def test_a_bomb_goes_off_in_its_own_batch(pool: Pool, bomb: str) -> None:
    # Here rather than in the sandbox's own tests: the engine has been seen to crash without memory.
    good, bad = Folding(pool, "good"), Folding(pool, "bad", f"(e, s) => {{ {bomb} }}")
    await good.fold(1)
    begun = time.monotonic()
    reply = await bad.fold(1)
    assert reply.fault is not None
    assert time.monotonic() - begun < 10
    await good.fold(2)
    assert good.state == b'{"n":2}'


@pytest.mark.parametrize(
    ("sign", "text"),
    [
        (signal.SIGSEGV, "it crashed the sandbox"),
        (signal.SIGKILL, "the system ended the sandbox"),
        (signal.SIGUSR1, "the sandbox ended with status -10"),
    ],
)
async def test_the_end_of_a_process_is_told(pool: Pool, sign: signal.Signals, text: str) -> None:
    one = Folding(pool, "one", "() => { for (;;); }")
    await one.fold()
    (pid,) = processes(pool)
    folding = asyncio.ensure_future(one.fold(1))
    await asyncio.sleep(0.05)
    os.kill(pid, sign)
    reply = await folding
    assert reply.fault is not None
    assert reply.fault.why is Why.DIED
    assert reply.fault.text.startswith(text)


async def test_one_that_ends_while_it_is_idle_costs_no_batch(pool: Pool) -> None:
    one = Folding(pool, "one")
    await one.fold(1)
    for at in range(2, 8):
        (pid,) = processes(pool)
        os.kill(pid, signal.SIGKILL)
        if at % 2:  # at once, it may not be quite gone
            await asyncio.sleep(0.05)
        assert (await one.fold(at)).fault is None
        assert one.state == b'{"n":%d}' % at
        assert pid not in processes(pool)


async def test_one_that_takes_all_its_time_keeps_nobody_waiting_for_longer() -> None:
    pool = Pool(1, Limits(1.0, LIMITS.memory, LIMITS.state))
    try:
        slow, quick = Folding(pool, "slow", "() => { for (;;); }"), Folding(pool, "quick")
        await quick.fold(1)
        endless = asyncio.ensure_future(slow.fold(1))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        await quick.fold(2)
        assert 0.3 < time.monotonic() - begun < 10
        assert (await endless).fault is not None
    finally:
        await pool.close()


async def test_turns_are_taken_in_order() -> None:
    pool = Pool(1, LIMITS)
    try:
        order: list[str] = []

        async def run(each: Folding) -> None:
            for _ in range(3):
                await each.fold(1)
                order.append(each.identifier)

        await asyncio.gather(*(run(Folding(pool, name)) for name in "abc"))
        assert order == list("abcabcabc")
    finally:
        await pool.close()


async def test_folding_does_not_hold_the_event_loop(pool: Pool) -> None:
    slow = Folding(pool, "slow", "(e, s) => { for (let i = 0; i < 3e6; i++); }")
    await slow.fold()
    folding = asyncio.ensure_future(slow.fold(*range(3)))
    pauses = []
    while not folding.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        pauses.append(time.perf_counter() - before)
    assert len(pauses) > 10
    assert sorted(pauses)[len(pauses) // 2] < 0.05


async def test_cancelling_does_not_harm_the_worker(pool: Pool) -> None:
    one, other = (
        Folding(pool, "one", "(e, s) => { for (let i = 0; i < 1e6; i++); }"),
        Folding(pool, "other"),
    )
    for _ in range(5):
        folding = asyncio.ensure_future(one.fold(1))
        await asyncio.sleep(0.01)
        folding.cancel()
    await asyncio.gather(*(other.fold(1) for _ in range(1)))
    assert (await one.fold(1)).fault is None
    assert other.state == b'{"n":1}'


async def test_closing_ends_what_is_under_way() -> None:
    pool = Pool(2, Limits(30.0, LIMITS.memory, LIMITS.state))
    folding = [
        asyncio.ensure_future(Folding(pool, name, "() => { for (;;); }").fold(1)) for name in "abcd"
    ]
    await asyncio.to_thread(wait_until, lambda: len(processes(pool)) == 2, "both are running")
    begun = time.monotonic()
    await pool.close()
    assert time.monotonic() - begun < 5
    results = await asyncio.gather(*folding, return_exceptions=True)
    assert all(
        isinstance(each, Closing) or (isinstance(each, Reply) and each.fault is not None)
        for each in results
    )
    with pytest.raises(Closing):
        await Folding(pool, "late").fold(1)


@pytest.mark.parametrize("command", ["/nonexistent/python", "/bin/false"])
async def test_a_process_that_cannot_be_started_is_nobodys_fault(
    pool: Pool, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Folding(pool, "one")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", command)
        for _ in range(3):
            with pytest.raises(SandboxFailed):
                await one.fold(1)
    assert (await one.fold(1)).fault is None


async def test_the_hubs_secrets_are_not_in_its_environment(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_SECRET", "secret")
    await Folding(pool, "one").fold(1)
    (pid,) = processes(pool)
    environment = await asyncio.to_thread(Path(f"/proc/{pid}/environ").read_bytes)
    assert b"secret" not in environment
    assert b"TZ=UTC" in environment
