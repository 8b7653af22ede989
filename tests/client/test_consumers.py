"""Consumers through the client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.client import Hub, InvalidHandler, TimedOut, UnknownConsumer, UnknownStream
from hub.client.connection import Answer, Connection
from tests.client.test_reading import SECONDS
from tests.process import HubProcess

COUNT = "(event, state) => ({n: (state.n ?? 0) + 1})"
FAILS = "(event, state) => event.missing.field"


async def test_a_consumer_is_made_read_reset_and_deleted(client: Hub) -> None:
    await client.commit("a/b", [{"type": "A"}, {"type": "B"}])
    made = await client.put_consumer("count", COUNT, "a/b", state={"n": 10})
    assert (made.identifier, made.stream) == ("count", "a/b")
    found = await client.wait_for("count", 2, seconds=SECONDS)
    assert (found.position, found.state, found.status, found.error) == (2, {"n": 12}, None, None)
    assert await client.consumer("count") == found
    assert await client.consumers() == {"count": "a/b"}
    await client.reset_consumer("count", state={}, from_=1)
    assert (await client.wait_for("count", 2)).state == {"n": 1}
    await client.delete_consumer("count")
    for work in (client.consumer("count"), client.wait_for("count", 1)):
        with pytest.raises(UnknownConsumer) as caught:
            await work
        assert caught.value.status == 404


async def test_whatever_can_be_read_can_be_consumed(client: Hub) -> None:
    await client.commit("s-1", [{"type": "A"}, {"type": "B"}])
    await client.commit("t-1", [{"type": "A"}])
    for name, given, wanted in [
        ("all", {"stream": "_all"}, 3),
        ("category", {"category": "s"}, 2),
        ("join", {"streams": ["s-1", "t-1"]}, 3),
        ("selector", {"selector": [["s-1", "A"]]}, 1),
        ("late", {"stream": "_all", "from_": 2}, 1),
    ]:
        await client.put_consumer(name, COUNT, **given)  # type: ignore[arg-type]
        for _ in range(500):
            if (await client.consumer(name)).state == {"n": wanted}:
                break
            await asyncio.sleep(0.01)
        assert (await client.consumer(name)).state == {"n": wanted}, name


async def test_what_is_wrong_is_said(client: Hub) -> None:
    with pytest.raises(InvalidHandler):
        await client.put_consumer("bad", "no function", "_all")
    with pytest.raises(UnknownStream):
        await client.put_consumer("bad", COUNT, "nothing")


async def test_a_consumer_that_has_stopped_is_not_waited_for(client: Hub) -> None:
    await client.commit("s-1", [{"type": "A"}])
    await client.put_consumer("fails", FAILS, "s-1")
    with pytest.raises(TimedOut, match="has stopped"):
        await asyncio.wait_for(client.wait_for("fails", 1), SECONDS)
    found = await client.consumer("fails")
    assert found.status == "stopped"
    assert "TypeError" in (found.error or "")


async def test_who_waits_too_long_is_told(run_hub: object) -> None:
    server: HubProcess = run_hub("--read-timeout", "0.2")  # type: ignore[operator]
    async with Hub(server.url) as client:
        await client.put_consumer("count", COUNT, "_all")
        with pytest.raises(TimedOut, match=r"did not reach 1 within 0\.5 s"):
            await client.wait_for("count", 1, seconds=0.5)
        waiting = asyncio.ensure_future(client.wait_for("count", 1))
        await asyncio.sleep(0.7)  # longer than the hub waits
        await client.commit("s-1", [{"type": "A"}])
        assert (await asyncio.wait_for(waiting, SECONDS)).state == {"n": 1}


async def test_a_hub_that_does_not_wait_is_asked_at_times(
    run_hub: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: HubProcess = run_hub("--read-timeout", "0")  # type: ignore[operator]
    asked: list[str] = []
    request = Connection.request

    async def counted(connection: Connection, method: str, path: str, **rest: Any) -> Answer:
        asked.append(path)
        return await request(connection, method, path, **rest)

    async with Hub(server.url) as client:
        await client.put_consumer("count", COUNT, "_all")
        monkeypatch.setattr(Connection, "request", counted)
        with pytest.raises(TimedOut):
            await client.wait_for("count", 1, seconds=0.5)
        assert len(asked) <= 12  # two each time
        waiting = asyncio.ensure_future(client.wait_for("count", 1))
        await client.commit("s-1", [{"type": "A"}])
        assert (await asyncio.wait_for(waiting, SECONDS)).state == {"n": 1}


async def test_a_consumer_is_followed_through_a_restart(server: HubProcess, client: Hub) -> None:
    await client.commit("s-1", [{"type": "A"}])
    await client.put_consumer("count", COUNT, "s-1")
    await client.wait_for("count", 1)
    async with client.follow_consumer("count") as changes:
        first = await anext(changes)
        assert (first.position, first.state, first.stream) == (1, {"n": 1}, "s-1")
        await asyncio.to_thread(server.restart)
        await client.commit("s-1", [{"type": "A"}])
        assert (await asyncio.wait_for(anext(changes), SECONDS)).state == {"n": 2}
        await client.put_consumer("count", FAILS, "s-1")
        while (last := await asyncio.wait_for(anext(changes), SECONDS)).status is None:
            pass
        assert "TypeError" in (last.error or "")
        await client.delete_consumer("count")
        with pytest.raises(UnknownConsumer):
            await asyncio.wait_for(anext(changes), SECONDS)
