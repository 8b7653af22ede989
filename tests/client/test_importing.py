"""Many events in batches: order, memory, and what is told when it breaks."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest

from hub.client import Disconnected, Event, Hub, InvalidEvent, InvalidRequest, Published, TooLarge
from hub.client.importing import BATCH_EVENTS
from tests.client.proxy import run_proxy
from tests.process import HubProcess


async def test_events_keep_their_own_ids_and_types(client: Hub) -> None:
    mixed = [
        Event("a", "x", "1\n2"),
        Event("", "y", "\t"),
        "text",
        {"n": 1},
        b"bytes",
    ]
    done = await client.publish_many("orders", mixed, event="default")
    found = [each async for each in client.history("orders")]
    assert [(each.event, each.data) for each in found] == [
        ("x", "1\n2"),
        ("y", "\t"),
        ("default", "text"),
        ("default", '{"n":1}'),
        ("default", "bytes"),
    ]
    assert (done.first, done.last) == ("a", found[-1].id)


async def test_nothing_is_nothing(client: Hub) -> None:
    assert await client.publish_many("orders", []) == Published(0, None, None)


async def test_any_number_from_an_async_iterator_with_bounded_memory(client: Hub) -> None:
    async def endless() -> AsyncIterator[str]:
        for number in range(150_000):
            yield f"{number}" + 100 * "x"

    sums: list[int] = []
    tracemalloc.start()
    try:
        done = await client.publish_many(
            "orders", endless(), progress=lambda sum_: sums.append(sum_.count)
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.count == 150_000
    assert sums == sorted(set(sums))
    assert len(sums) > 5
    assert sums[-1] == 150_000
    assert most < 24_000_000  # of 16 MB that were published, two batches and a body at a time


async def test_a_bad_event_is_named_by_its_number_and_what_was_before_is_stored(
    client: Hub,
) -> None:
    def events() -> Iterator[str]:
        for number in range(BATCH_EVENTS + 10):
            yield str(number)
        yield "bad\0"

    with pytest.raises(InvalidEvent) as caught:
        await client.publish_many("orders", events())
    assert caught.value.line == BATCH_EVENTS + 11
    assert caught.value.stored == BATCH_EVENTS + 10
    stored = [each.json() async for each in client.history("orders")]
    assert stored == list(range(BATCH_EVENTS + 10))
    assert f"{BATCH_EVENTS + 10} events were stored before" in caught.value.__notes__[0]


async def test_what_the_hub_refuses_is_numbered_over_all_batches(run_hub: object) -> None:
    server: HubProcess = run_hub("--max-event-bytes", "100")  # type: ignore[operator]
    async with Hub(server.url) as client:
        events = ["x"] * (BATCH_EVENTS + 5) + ["y" * 101]
        with pytest.raises(InvalidEvent, match="limit is 100") as caught:
            await client.publish_many("orders", events)
        assert caught.value.status == 422
        assert caught.value.line == BATCH_EVENTS + 6
        assert caught.value.stored == BATCH_EVENTS
        with pytest.raises(TooLarge):
            await client.publish("orders", "y" * 101)


@pytest.mark.parametrize(
    "bad", [Event("a\tb", "", ""), Event("", "a\nb", ""), Event("start", "", ""), float("nan")]
)
async def test_nothing_can_break_out_of_its_line(bad: object, client: Hub) -> None:
    with pytest.raises(InvalidEvent):
        await client.publish_many("orders", [bad])
    assert [each async for each in client.history("orders")] == []


@pytest.mark.parametrize("one", ["text", b"bytes", {"n": 1}])
async def test_one_event_is_not_taken_for_many(one: object, client: Hub) -> None:
    with pytest.raises(InvalidRequest, match="put it into a list"):
        await client.publish_many("orders", one)  # type: ignore[arg-type]


async def test_an_error_of_the_iterable_comes_through(client: Hub) -> None:
    def events() -> Iterator[int]:
        yield from range(BATCH_EVENTS)
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        await client.publish_many("orders", events())
    assert f"{BATCH_EVENTS} events were stored before" in caught.value.__notes__[0]
    assert len([each async for each in client.history("orders")]) == BATCH_EVENTS


async def test_a_break_in_the_middle_tells_what_was_stored(server: HubProcess) -> None:
    async with Hub(server.url) as direct, run_proxy(server.port, lambda: 700) as proxy:
        async with Hub(proxy.url) as hub:
            with pytest.raises(Disconnected) as caught:
                await hub.publish_many("orders", range(10 * BATCH_EVENTS))
        stored = len([each async for each in direct.history("orders")])
    known = caught.value.stored
    assert known > 0
    assert known <= stored <= known + BATCH_EVENTS


async def test_cancelling_stops_it(client: Hub) -> None:
    async def endless() -> AsyncIterator[int]:
        while True:
            yield 1

    work = asyncio.create_task(client.publish_many("orders", endless()))
    await asyncio.sleep(0.3)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    count = (await client.health())["events"]
    await asyncio.sleep(0.2)
    assert (await client.health())["events"] <= count + BATCH_EVENTS
