"""The doors of whoever runs the hub."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from hub import __version__
from hub.web import operations
from hub.web.context import HUB
from tests.conftest import Client, StartHub
from tests.web.wire import (
    TSV,
    append_by_hand,
    eventually,
    post,
    post_batch,
    refused,
    rows,
    subscribe,
)


async def test_health_counts(hub: Client, events: Path) -> None:
    answer = await hub.get("/health")
    assert (answer.status, answer.content_type) == (200, "application/json")
    before = await answer.json()
    assert before.pop("uptime") >= 0
    assert before == {
        "status": "ok",
        "version": __version__,
        "channels": 0,
        "events": 0,
        "bytes": 0,
        "subscribers": 0,
        "damaged": [],
    }
    await post(hub, "/a-channel")
    await post_batch(hub, b"\t\ta\n\t\tb\n", TSV, "/b-channel")
    async with subscribe(hub, "/a-channel"):
        health = await (await hub.get("/health")).json()
        assert (health["channels"], health["events"], health["subscribers"]) == (2, 3, 1)
        lines = [b"\t".join(row) for name in "ab" for row in rows(events, f"{name}-channel")]
        assert health["bytes"] == len(b"\n".join(lines)) + 1


async def test_others_have_their_turn_while_many_logs_are_counted(
    hub: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "COUNTED_AT_ONCE", 2)
    for number in range(5):
        await post(hub, f"/channel-{number}")
    counting = asyncio.create_task(
        operations.health(make_mocked_request("GET", "/health", app=hub.app))
    )
    turns = 0
    while not counting.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 3
    body = counting.result().body
    assert isinstance(body, bytes)
    told = json.loads(body)
    assert (told["channels"], told["events"]) == (5, 5)


async def test_a_subscription_alone_makes_no_channel(hub: Client) -> None:
    async with subscribe(hub, "/a-channel"):
        assert (await (await hub.get("/health")).json())["channels"] == 0


async def test_health_while_closing(hub: Client) -> None:
    hub.app[HUB].subscriptions.close()
    answer = await hub.get("/health")
    assert (answer.status, (await answer.json())["status"]) == (503, "closing")


async def test_health_names_what_is_damaged(start_hub: StartHub, events: Path) -> None:
    append_by_hand(events, b"1\t\ta\nno event\n2\t\tb\n")
    hub = await start_hub()
    await post(hub, "/b-channel")
    answer = await hub.get("/health")
    health = await answer.json()
    assert (answer.status, health["status"], health["damaged"]) == (200, "damaged", ["a-channel"])
    async with hub.post("/a-channel", data=b"data") as answer:
        assert (answer.status, (await answer.json())["code"]) == (503, "log_damaged")
        assert answer.headers["Retry-After"]
    async with hub.get("/a-channel") as answer:
        assert await answer.read() == b"1\t\ta\n"


async def test_a_word_at_the_door(hub: Client) -> None:
    answer = await hub.get("/")
    text = await answer.text()
    assert (answer.status, answer.content_type) == (200, "text/plain")
    base = str(hub.make_url("/")).rstrip("/")
    assert f"curl -d @- '{base}/a-channel?event=greeting'" in text
    assert f"{base}/metrics" in text


@pytest.mark.parametrize("name", ["x:abc", "a:999999", ""])
async def test_a_name_that_no_url_can_have(hub: Client, name: str) -> None:
    answer = await hub.get("/", headers={"Host": name})
    await refused(answer, 400, "invalid_request", "Host", repr(name))


async def test_subscribers_are_counted_until_they_go(hub: Client) -> None:
    async with subscribe(hub, "/a-channel"), subscribe(hub, "/a-channel"):
        assert (await (await hub.get("/health")).json())["subscribers"] == 2
    await eventually(lambda: not len(hub.app[HUB].subscriptions))
    assert (await (await hub.get("/health")).json())["subscribers"] == 0
