"""Followers of streams go on where they were, by numbers."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest

from hub.client import Document, Hub, Reconnecting
from tests.client.proxy import run_proxy
from tests.client.test_reading import SECONDS, replace_log, until
from tests.conftest import RunHub
from tests.process import HubProcess


@pytest.mark.parametrize("seed", range(2))
async def test_connections_that_break_anywhere_are_not_noticed(
    seed: int, server: HubProcess
) -> None:
    chance = random.Random(seed)
    async with (
        Hub(server.url) as direct,
        run_proxy(server.port, lambda: chance.randrange(100, 8000)) as proxy,
        Hub(proxy.url, patience=30) as hub,
    ):
        follows = [hub.follow("_all"), hub.follow("s-1"), hub.follow(category="s")]
        seen: list[list[Document]] = [[] for _ in follows]

        async def read(at: int) -> None:
            async for each in follows[at]:
                seen[at].append(each)

        await direct.commit("s-1", [{"type": "first"}])
        readers = [asyncio.create_task(read(at)) for at in range(len(follows))]
        for number in range(60):
            events = [{"type": "T", "text": "x" * chance.randrange(200)} for _ in range(3)]
            await direct.commit(f"s-{number % 3}", events)
            await asyncio.sleep(0.01)
        reads = [direct.read("_all"), direct.read("s-1"), direct.read(category="s")]
        wanted = [[each async for each in some] for some in reads]
        await until(lambda: [len(each) for each in seen] == [len(each) for each in wanted])
        for reader in readers:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader
    for found, stored in zip(seen, wanted, strict=True):
        assert [(each.stream, each.payload, each.metadata) for each in found] == [
            (each.stream, each.payload, each.metadata) for each in stored
        ]
    assert [each.number for each in seen[0]] == list(range(1, 182))
    assert [each.number for each in seen[1]] == [each.revision for each in seen[1]]


@pytest.mark.parametrize("start", [-1, "end", -2])
async def test_what_is_counted_from_the_end_is_fixed_at_the_first_answer(
    start: int | str, server: HubProcess
) -> None:
    async with (
        Hub(server.url) as hub,
        run_proxy(server.port, lambda: None) as proxy,
        Hub(proxy.url) as reading,
    ):
        await hub.commit("s-1", [{"type": each} for each in "AB"])
        waits: list[Reconnecting] = []
        found = reading.follow("s-1", from_=start, on_reconnect=waits.append)
        first = await anext(found)
        assert first.type == ("A" if start == -2 else "B")
        proxy.break_all()
        await hub.commit("s-1", [{"type": each} for each in "CDE"])
        if start == -2:
            assert (await anext(found)).type == "B"
        more = [await asyncio.wait_for(anext(found), SECONDS) for _ in range(3)]
        assert [each.type for each in more] == list("CDE")
        assert waits
        await found.aclose()


async def test_an_empty_stream_is_waited_at_from_its_end(server: HubProcess) -> None:
    async with (
        Hub(server.url) as hub,
        run_proxy(server.port, lambda: None) as proxy,
        Hub(proxy.url) as reading,
    ):
        waits: list[Reconnecting] = []
        found = reading.follow("_all", from_="end", on_reconnect=waits.append)
        first = asyncio.ensure_future(anext(found))

        async def subscribed() -> bool:
            return bool((await hub.health())["subscribers"])

        await until(subscribed)
        proxy.break_all()
        await hub.commit("s-1", [{"type": each} for each in "AB"])  # nobody is there
        assert (await asyncio.wait_for(first, SECONDS)).type == "A"
        assert waits
        await found.aclose()


async def test_other_logs_are_followed_from_their_start(run_hub: RunHub, events: Path) -> None:
    server = run_hub("--retry", "50")
    async with Hub(server.url) as hub:
        await hub.commit("orders", [{"type": each} for each in "ABCDEF"])
        resets: list[str] = []
        found = hub.follow("orders", on_reset=lambda: resets.append("reset"))
        for _ in range(6):
            await anext(found)
        await asyncio.to_thread(server.stop)
        replace_log(events)
        await asyncio.to_thread(server.start)
        more = [await asyncio.wait_for(anext(found), SECONDS) for _ in range(3)]
        assert [(each.id, each.number) for each in more] == [("p", 1), ("hub-reset", 2), ("q", 3)]
        assert resets == ["reset"]
        await found.aclose()
