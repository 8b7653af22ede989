"""Channels through the client, against a hub process."""

from __future__ import annotations

import pytest

from hub.client import Event, Hub, InvalidEvent
from tests.conftest import RunHub


async def test_what_is_published_is_read_as_it_was(client: Hub) -> None:
    texts = ["", " a ", "a\n", "\n\n", "a\tb\nc", "ä\u2028\x85\ufeff", '{"a": 1.10}']
    ids = [await client.publish("orders", each, event="t") for each in texts]
    found = [each async for each in client.history("orders")]
    assert found == [Event(i, "t", t) for i, t in zip(ids, texts, strict=True)]
    async with client.subscribe("orders", since="start") as live:
        assert [await anext(live) for _ in texts] == found


async def test_many_are_published_in_order(client: Hub) -> None:
    done = await client.publish_many("orders", range(50_000), event="n")
    found = [each async for each in client.history("orders")]
    assert [each.json() for each in found] == list(range(50_000))
    assert (done.count, done.first, done.last) == (50_000, found[0].id, found[-1].id)


async def test_how_long_ids_and_types_may_be_is_the_hubs_to_say(run_hub: RunHub) -> None:
    server = run_hub("--max-id-bytes", "300", "--max-type-bytes", "300")
    long, longer = "x" * 300, "x" * 301
    async with Hub(server.url) as hub:
        assert await hub.publish("orders", "1", id=long, event=long) == long
        await hub.publish_many("orders", [Event(long, long, "2")])
        await hub.publish_many("orders", ["3"], event="")
        hub.on("orders", event=long)(print)
        found = [each.data async for each in hub.history("orders", event=long)]
        assert found == ["1", "2"]
        for given in ({"id": longer}, {"event": longer}):
            with pytest.raises(InvalidEvent, match="the limit is 300"):
                await hub.publish("orders", "4", **given)
        with pytest.raises(InvalidEvent, match="must not"):
            await hub.publish("orders", "4", event="a\tb")
