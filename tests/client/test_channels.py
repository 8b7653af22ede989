"""Channels through the client, against a hub process."""

from __future__ import annotations

from hub.client import Event, Hub


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
