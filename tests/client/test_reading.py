"""Readers that go on where they were: nothing missed, nothing twice, whatever breaks."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from hub.client import (
    Disconnected,
    Event,
    Hub,
    Iteration,
    Reconnecting,
    UnknownId,
    Unreachable,
)
from hub.errors import HubError, InvalidName
from tests.client.proxy import run_proxy
from tests.conftest import RunHub
from tests.process import HubProcess

SECONDS = 40.0


async def take(events: Iteration[Event], number: int) -> list[Event]:
    """The next events; fails if they do not come."""
    found: list[Event] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < number:
            found.append(await anext(events))
    return found


async def post(hub: Hub, channel: str, ids: str, kinds: str = "") -> None:
    """One batch: an event with each of these ids, its data being where it stands in the log."""
    at = len([each async for each in hub.history(channel)])
    kinds = kinds or "a" * len(ids)
    batch = [Event(i, k, str(at + n)) for n, (i, k) in enumerate(zip(ids, kinds, strict=True))]
    await hub.publish_many(channel, batch)


def numbers(events: list[Event]) -> list[int]:
    return [int(each.data) for each in events]


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(SECONDS):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


async def publish_through_all(
    url: str, stop: asyncio.Event, acknowledged: list[str] | None = None
) -> list[str]:
    """Publish until told to stop, through every death of the hub; the ids that it acknowledged."""
    acknowledged = [] if acknowledged is None else acknowledged
    async with Hub(url, timeout=5) as hub:
        for number in count():
            if stop.is_set():
                return acknowledged
            with suppress(HubError):
                acknowledged.append(await hub.publish("orders", {"n": number}))
            await asyncio.sleep(0.001)
    raise AssertionError


@pytest.mark.parametrize("way", ["subscribe", "replay"])
async def test_a_hub_that_is_killed_again_and_again_is_not_noticed(
    way: str, server: HubProcess
) -> None:
    stop = asyncio.Event()
    seen: list[Event] = []
    reconnects: list[Reconnecting] = []
    async with Hub(server.url) as hub:
        await hub.publish("orders", {"n": -1})

        async def read() -> None:
            if way == "subscribe":
                events = hub.subscribe("orders", since="start", on_reconnect=reconnects.append)
            else:
                events = hub.replay("orders", on_reconnect=reconnects.append)
            async for event in events:
                seen.append(event)  # noqa: PERF401 - each at once

        reader = asyncio.create_task(read())
        acknowledged: list[str] = []
        publisher = asyncio.create_task(publish_through_all(server.url, stop, acknowledged))
        for _ in range(4):
            await asyncio.sleep(random.uniform(0.2, 0.6))
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(random.uniform(0, 0.2))
            await asyncio.to_thread(server.start)
        await asyncio.sleep(0.3)
        await until(lambda: len(acknowledged) > 100)
        stop.set()
        await publisher
        stored = [each async for each in hub.history("orders")]
        await until(lambda: len(seen) >= len(stored))
        await asyncio.sleep(0.2)
        reader.cancel()
    assert seen == stored
    assert set(acknowledged) <= {each.id for each in stored}
    assert len(reconnects) >= 4


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("way", ["subscribe", "replay"])
async def test_connections_that_break_anywhere_are_not_noticed(
    way: str, seed: int, server: HubProcess
) -> None:
    chance = random.Random(seed)
    async with (
        Hub(server.url) as direct,
        # The headers have about 250 bytes, so some break before there is anything.
        run_proxy(server.port, lambda: chance.randrange(100, 6000)) as proxy,
        Hub(proxy.url, patience=30) as hub,
    ):
        if way == "subscribe":
            events = hub.subscribe("orders", since="start")
        else:
            events = hub.replay("orders")

        await direct.publish("orders", "first", id="x")
        # Only runs: an id that comes again while the reader is away is another matter.
        writer = asyncio.create_task(write_runs(direct, chance))
        seen: list[Event] = []

        async def read() -> None:
            async for event in events:
                seen.append(event)  # noqa: PERF401 - each at once

        reader = asyncio.create_task(read())
        await writer
        stored = [each async for each in direct.history("orders")]
        await until(lambda: len(seen) >= len(stored) or reader.done())
        await asyncio.sleep(0.1)
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader
    assert seen == stored
    assert proxy.count > 5


async def write_runs(hub: Hub, chance: random.Random) -> None:
    """Batches of which each shares an id that no other has, and events with ids of the hub."""
    for number in range(60):
        given = chance.choice(["", f"run-{number}"])
        batch = [
            Event(given, "t", f"{number}.{n}" + "\nline" * chance.randrange(20))
            for n in range(chance.randrange(1, 12))
        ]
        await hub.publish_many("orders", batch)
        if given and chance.random() < 0.5:  # the run goes on a little later
            await asyncio.sleep(chance.random() * 0.1)
            await hub.publish_many("orders", batch)
        await asyncio.sleep(chance.random() * 0.03)


async def test_what_was_seen_of_a_run_does_not_come_again(server: HubProcess) -> None:
    async with (
        Hub(server.url) as hub,
        run_proxy(server.port, lambda: None) as proxy,
        Hub(proxy.url) as reading,
    ):
        await post(hub, "orders", "axxx")
        events = reading.subscribe("orders", since="start")
        assert numbers(await take(events, 4)) == [0, 1, 2, 3]
        proxy.break_all()
        await post(hub, "orders", "xxy")  # the run goes on while nobody reads
        assert numbers(await take(events, 3)) == [4, 5, 6]
        proxy.break_all()
        await post(hub, "orders", "yx")
        assert numbers(await take(events, 2)) == [7, 8]
        await events.aclose()


async def test_who_begins_with_what_is_new_misses_nothing_even_before_the_first_event(
    server: HubProcess,
) -> None:
    for channel, before in [("none", ""), ("single", "a"), ("runs", "axxx")]:
        async with (
            Hub(server.url) as hub,
            run_proxy(server.port, lambda: None) as proxy,
            Hub(proxy.url) as reading,
        ):
            if before:
                await post(hub, channel, before)
            reconnects: list[Reconnecting] = []
            events = reading.subscribe(channel, on_reconnect=reconnects.append)
            first = asyncio.ensure_future(anext(events))

            async def subscribed(hub: Hub = hub) -> bool:
                return bool((await hub.health())["subscribers"])

            await until(subscribed)
            proxy.break_all()
            await post(hub, channel, "xxy")  # nobody is there
            await until(lambda reconnects=reconnects: bool(reconnects))  # type: ignore[misc]
            found = [await asyncio.wait_for(first, SECONDS), *await take(events, 2)]
            assert numbers(found) == [len(before) + n for n in range(3)], channel
            await events.aclose()


@pytest.mark.parametrize(
    ("ids", "kinds"),
    [("xxxxx", "babab"), ("xxxxx", "ababa"), ("xxxyy", "bbabb"), ("pqrst", "ababa")],
)
async def test_of_one_type_nothing_is_missed_or_doubled_either(
    ids: str, kinds: str, server: HubProcess
) -> None:
    wanted = [at for at, kind in enumerate(kinds + "aba") if kind == "a"]
    for way in ("subscribe", "replay"):
        for seen in range(1, kinds.count("a") + 1):
            channel = f"{way}-{seen}"
            async with (
                Hub(server.url) as hub,
                run_proxy(server.port, lambda: None) as proxy,
                Hub(proxy.url) as reading,
            ):
                await post(hub, channel, ids, kinds)
                since = {"since": "start"} if way == "subscribe" else {}
                events = getattr(reading, way)(channel, event="a", **since)
                first = await take(events, seen)
                proxy.break_all()
                await post(hub, channel, ids[-1] * 3, "aba")
                found = first + await take(events, len(wanted) - seen)
                assert numbers(found) == wanted, channel
                await events.aclose()


@pytest.mark.parametrize("way", ["subscribe", "replay", "scan"])
async def test_of_one_type_runs_of_one_id_that_are_apart_are_told_apart(
    way: str, server: HubProcess
) -> None:
    """What stands between them is not of the type: who does not see it takes them for one."""
    async with (
        Hub(server.url) as hub,
        run_proxy(server.port, lambda: None) as proxy,
        Hub(proxy.url) as reading,
    ):
        await post(hub, "orders", "AABA", "taot")
        since = {"since": "start"} if way == "subscribe" else {}
        if way == "scan":
            events = reading.scan("orders", lambda _, event: event, Event("", "", "-1"), event="t")
        else:
            events = getattr(reading, way)("orders", event="t", **since)
        assert numbers(await take(events, 2)) == [0, 3]
        proxy.break_all()
        await post(hub, "orders", "AA", "tt")
        assert numbers(await take(events, 2)) == [4, 5]
        await events.aclose()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("way", ["subscribe", "replay"])
async def test_of_one_type_whatever_the_ids_each_event_comes_once(
    way: str, seed: int, server: HubProcess
) -> None:
    """A log at random, and breaks: where it is known that the reader has come to its end."""
    chance = random.Random(seed)
    async with (
        Hub(server.url) as hub,
        run_proxy(server.port, lambda: None) as proxy,
        Hub(proxy.url) as reading,
    ):
        since = {"since": "start"} if way == "subscribe" else {}
        events = getattr(reading, way)("orders", event="t", **since)
        seen: list[int] = []
        log: list[Event] = []
        for step in range(24):
            kinds = [chance.choice("to") for _ in range(chance.randrange(5))] + ["t"]
            if step % 2:
                proxy.break_all()
                # While nobody reads only the last run may go on; what else comes is new.
                given = log[-1].id or f"away-{step}"
                ids = [given if chance.random() < 0.6 else ""] * len(kinds)
            else:
                ids = [chance.choice(chance.choice(["", "AB"]) or [""]) for _ in kinds]
            rows = enumerate(zip(ids, kinds, strict=True), len(log))
            batch = [Event(given, kind, str(number)) for number, (given, kind) in rows]
            log += batch
            await hub.publish_many("orders", batch)
            wanted = [int(each.data) for each in log if each.event == "t"]
            seen += numbers(await take(events, len(wanted) - len(seen)))
            assert seen == wanted
        await events.aclose()


async def test_since_an_id_of_a_run_begins_behind_its_first(server: HubProcess) -> None:
    async with (
        Hub(server.url) as hub,
        run_proxy(server.port, lambda: None) as proxy,
        Hub(proxy.url) as reading,
    ):
        await post(hub, "orders", "axxxb", "baabb")
        for way in ("subscribe", "replay", "history"):
            events = getattr(reading, way)("orders", since="x")
            assert numbers(await take(events, 3)) == [2, 3, 4]
            if way != "history":
                proxy.break_all()
                await post(hub, "orders", "c", "b")
                await take(events, 1 if way == "subscribe" else 2)
            await events.aclose()
        for kind, wanted in [("a", [2]), ("b", [3, 4])]:
            await post(hub, f"of-{kind}", "axxxb", "baabb")
            events = reading.subscribe(f"of-{kind}", since="x", event=kind)
            found = await take(events, 1)
            proxy.break_all()
            await post(hub, f"of-{kind}", "c", kind)
            assert numbers(found + await take(events, len(wanted))) == [*wanted, 5]
            await events.aclose()


async def test_the_seam_between_history_and_live_has_no_gap(server: HubProcess) -> None:
    stop = asyncio.Event()
    async with Hub(server.url) as hub:
        acknowledged: list[str] = []
        publisher = asyncio.create_task(publish_through_all(server.url, stop, acknowledged))
        await asyncio.sleep(0.1)
        readers = [hub.replay("orders") for _ in range(8)]
        found = await asyncio.gather(*(take(each, 300) for each in readers))
        stop.set()
        await publisher
        stored = [each async for each in hub.history("orders", limit=300)]
        assert all(each == stored for each in found)
        for each in readers:
            await each.aclose()


def replace_log(events: Path) -> None:
    """Another log of the same name, with an event that looks like the word of the hub."""
    shutil.rmtree(events)
    events.mkdir()
    (events / "orders.tsv").write_text("p\t\t10\nhub-reset\thub-reset\t\nq\t\t12\n")


async def test_a_log_that_ends_before_what_was_read_is_another_one(
    run_hub: RunHub, events: Path
) -> None:
    """A backup that was put back, say: what it has comes from its start, and is told so."""
    server = run_hub("--retry", "50")
    resets: list[str] = []
    async with Hub(server.url) as hub:
        await hub.publish_many("orders", (Event(f"2026-11-2{n}", "", str(n)) for n in range(3)))
        live = hub.subscribe("orders", since="start", on_reset=lambda: resets.append("live"))
        replay = hub.replay("orders", on_reset=lambda: resets.append("replay"))
        # Times that somebody gave, and not ids: the log need not have come so far.
        later = hub.subscribe("orders", since="2099-01-01", on_reset=lambda: resets.append("no"))
        latest = hub.replay("orders", since="2099-01-01", on_reset=lambda: resets.append("no"))
        waiting = [asyncio.create_task(take(each, 1)) for each in (later, latest)]
        assert numbers(await take(live, 3)) == numbers(await take(replay, 3)) == [0, 1, 2]
        await asyncio.to_thread(server.stop)
        (events / "orders.tsv").write_text("2026-11-20\t\t0\n2026-11-21\t\t10\n")
        shutil.rmtree(events / ".hub")
        await asyncio.to_thread(server.start)
        assert numbers(await take(live, 2)) == numbers(await take(replay, 2)) == [0, 10]
        assert sorted(resets) == ["live", "replay"]
        while not all(each.done() for each in waiting):  # until they are connected again
            await hub.publish("orders", 20)
            await asyncio.sleep(0.05)
        assert [numbers(await each) for each in waiting] == [[20], [20]]
        assert "no" not in resets
        for each in (live, replay, later, latest):
            await each.aclose()


async def test_a_log_that_is_another_one_is_read_from_its_start(
    run_hub: RunHub, events: Path
) -> None:
    server = run_hub("--retry", "50")
    async with Hub(server.url) as hub:
        await post(hub, "orders", "abc")
        resets: list[str] = []
        live = hub.subscribe("orders", since="start", on_reset=lambda: resets.append("live"))
        replay = hub.replay("orders", on_reset=lambda: resets.append("replay"))
        assert numbers(await take(live, 3)) == numbers(await take(replay, 3)) == [0, 1, 2]
        await asyncio.to_thread(server.stop)
        replace_log(events)
        await asyncio.to_thread(server.start)
        assert [each.id for each in await take(live, 3)] == ["p", "hub-reset", "q"]
        assert [each.id for each in await take(replay, 3)] == ["p", "hub-reset", "q"]
        assert sorted(resets) == ["live", "replay"]
        # An event of that type is one, also as the first of a connection.
        after = hub.subscribe("orders", since="p", on_reset=lambda: resets.append("no"))
        assert [each.id for each in await take(after, 2)] == ["hub-reset", "q"]
        assert "no" not in resets
        await after.aclose()
        await live.aclose()
        await replay.aclose()


async def test_a_hub_that_falls_silent_is_left(run_hub: RunHub) -> None:
    server = run_hub("--retry", "50", "--heartbeat", "0.1")
    assert server.process is not None
    async with Hub(server.url, timeout=0.6) as hub:
        await hub.publish("orders", "0")
        reconnects: list[Reconnecting] = []
        events = hub.subscribe("orders", since="start", on_reconnect=reconnects.append)
        await take(events, 1)
        following = asyncio.ensure_future(anext(events))
        await asyncio.sleep(1.5)
        assert not reconnects  # heartbeats keep it
        server.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: len(reconnects) >= 2)
            assert isinstance(reconnects[0].error, Disconnected)
            assert "nothing came for 0.6 s" in str(reconnects[0].error)
            with pytest.raises(Disconnected):
                await hub.publish("orders", "late")
        finally:
            server.process.send_signal(signal.SIGCONT)
        await hub.publish("orders", "1")
        # What was posted to the silent hub may have been stored after all: that is not known.
        assert (await asyncio.wait_for(following, SECONDS)).data in ("1", "late")
        await events.aclose()


async def test_a_full_hub_is_asked_again(run_hub: RunHub) -> None:
    server = run_hub("--retry", "20", "--max-subscriptions", "1")
    async with Hub(server.url) as hub:
        await hub.publish("orders", "0")
        one = hub.subscribe("orders", since="start")
        await take(one, 1)
        waits: list[Reconnecting] = []
        other = hub.subscribe("orders", since="start", on_reconnect=waits.append)
        first = asyncio.ensure_future(anext(other))
        await until(lambda: bool(waits))
        assert (waits[0].error, waits[0].attempt) == (None, 1)
        assert 0.15 <= waits[0].seconds <= 0.45  # fifteen times the usual, with jitter
        await one.aclose()
        assert (await asyncio.wait_for(first, SECONDS)).data == "0"
        await other.aclose()


async def test_where_it_is_pointless_nobody_tries_again(server: HubProcess) -> None:
    hooks: list[Reconnecting] = []
    async with Hub(server.url) as hub:
        with pytest.raises(InvalidName):
            hub.subscribe("a")
        with pytest.raises(UnknownId):
            await anext(hub.history("orders", since="nobody"))
        with pytest.raises(HubError) as caught:
            await anext(hub.follow("nothing", on_reconnect=hooks.append))
        assert (caught.value.status, caught.value.code) == (404, "unknown_stream")
    async with Hub("http://127.0.0.1:9") as nowhere:
        for events in (
            nowhere.subscribe("orders", on_reconnect=hooks.append),
            nowhere.subscribe("orders", since="start", on_reconnect=hooks.append),
            nowhere.replay("orders", on_reconnect=hooks.append),
            nowhere.history("orders"),
        ):
            with pytest.raises(Unreachable, match=r"no hub answers at http://127\.0\.0\.1:9: "):
                await anext(events)
    assert hooks == []


async def test_with_patience_a_reader_may_be_there_before_the_hub(run_hub: RunHub) -> None:
    server = run_hub()
    await asyncio.to_thread(server.stop)
    async with Hub(server.url, patience=SECONDS) as hub:
        published = asyncio.ensure_future(hub.publish("orders", "0"))
        live = asyncio.ensure_future(take(hub.subscribe("orders", since="start"), 1))
        replayed = asyncio.ensure_future(take(hub.replay("orders"), 1))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        assert await published
        assert numbers(await live) == numbers(await replayed) == [0]


async def test_cancelling_at_any_moment_leaves_no_connection(server: HubProcess) -> None:
    async with Hub(server.url) as hub:
        await hub.publish_many("orders", range(5000))
        before = len(os.listdir("/proc/self/fd"))

        async def read(events: Iteration[Event]) -> None:
            async for _ in events:
                await asyncio.sleep(0)

        for step in range(40):
            for way in ("subscribe", "replay"):
                task = asyncio.create_task(read(getattr(hub, way)("orders", since="start")))
                await asyncio.sleep(step * 0.001)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        async def none_left() -> bool:
            return not (await hub.health())["subscribers"]

        await until(none_left)
        assert len(os.listdir("/proc/self/fd")) < before + 10


async def test_leaving_a_loop_closes_its_connection(server: HubProcess) -> None:
    async with Hub(server.url) as hub:
        await hub.publish("orders", "0")

        async def none_left() -> bool:
            return not (await hub.health())["subscribers"]

        async for _ in hub.subscribe("orders", since="start"):
            assert not await none_left()
            break
        await until(none_left)
        events = hub.subscribe("orders", since="start")
        async with events:
            await anext(events)
        await until(none_left)


async def test_a_closed_hub_ends_what_is_under_way(server: HubProcess) -> None:
    hub = Hub(server.url)
    waiting = asyncio.ensure_future(anext(hub.subscribe("orders")))
    await asyncio.sleep(0.2)
    await hub.close()
    with pytest.raises(HubError) as caught:
        await asyncio.wait_for(waiting, SECONDS)
    assert caught.value.code == "client_closed"
