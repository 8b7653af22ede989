"""Handlers: at least once each, wherever it breaks."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from hub.client import Event, HandlerFailed, Hub, InvalidFile, InvalidRequest
from tests.client.test_reading import SECONDS, post, publish_through_all, until
from tests.conftest import RunHub
from tests.process import HubProcess


async def end(worker: asyncio.Task[None]) -> None:
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker


async def test_each_handler_gets_its_events_in_order(client: Hub) -> None:
    calls: list[tuple[str, str]] = []

    @client.on("orders")
    def every(event: Event) -> None:
        calls.append(("every", event.data))

    @client.on("orders", event="y")
    async def some(event: Event) -> None:
        await asyncio.sleep(0)
        calls.append(("some", event.data))

    @client.on("others")
    def other(event: Event) -> None:
        calls.append(("other", event.data))

    await post(client, "orders", "abc", "xyx")
    worker = asyncio.create_task(client.run())
    await until(lambda: len(calls) == 4)
    await post(client, "others", "p")
    await post(client, "orders", "d", "y")
    await until(lambda: len(calls) == 7)
    await end(worker)
    assert [each for each in calls if each[0] != "other"] == [
        ("every", "0"),
        ("every", "1"),
        ("some", "1"),
        ("every", "2"),
        ("every", "3"),
        ("some", "3"),
    ]
    assert (await client.health())["subscribers"] <= 2


async def test_the_next_run_goes_on_where_the_last_one_was(
    server: HubProcess, tmp_path: Path
) -> None:
    path = tmp_path / "worker.position"
    seen: list[str] = []
    for ids, wanted in [("axxx", 4), ("xx", 6), ("b", 7)]:
        async with Hub(server.url) as hub:
            hub.on("orders")(lambda event: seen.append(event.data))
            await post(hub, "orders", ids)
            worker = asyncio.create_task(hub.run(position=path))
            await until(lambda wanted=wanted: len(seen) >= wanted)  # type: ignore[misc]
            await asyncio.sleep(0.1)
            await end(worker)
    assert seen == list("0123456")


async def test_only_what_is_new_begins_at_the_first_run(server: HubProcess, tmp_path: Path) -> None:
    path = tmp_path / "worker.position"
    seen: list[str] = []
    async with Hub(server.url) as hub:
        hub.on("orders")(lambda event: seen.append(event.data))
        await post(hub, "orders", "axx")
        worker = asyncio.create_task(hub.run(position=path, since=None))
        await until(path.exists)
        await end(worker)
        await post(hub, "orders", "xb")  # nobody works
        worker = asyncio.create_task(hub.run(position=path, since=None))
        await until(lambda: len(seen) == 2)
        await end(worker)
    assert seen == ["3", "4"]


async def test_a_handler_that_raises_is_tried_again_then_reported(
    client: Hub, tmp_path: Path
) -> None:
    calls: list[str] = []

    @client.on("orders")
    async def fails(event: Event) -> None:
        calls.append(event.id)
        if event.id == "b" and calls.count("b") != 5:
            raise ValueError("not now")

    await post(client, "orders", "abc")
    path = tmp_path / "position"
    with pytest.raises(
        HandlerFailed, match=r"'fails' failed 2 times at event 'b'.*not now"
    ) as caught:
        await client.run(position=path, attempts=2)
    assert isinstance(caught.value.__cause__, ValueError)
    assert (caught.value.channel, caught.value.event.id) == ("orders", "b")
    assert calls == ["a", "b", "b"]
    # It is the first event of the next run; and this time it does at last.
    worker = asyncio.create_task(client.run(position=path, attempts=4))
    await until(lambda: calls[-1] == "c")
    await end(worker)
    assert calls == ["a", "b", "b", "b", "b", "b", "c"]


async def test_with_a_hook_the_work_goes_on(client: Hub) -> None:
    calls: list[str] = []
    errors: list[tuple[str, str]] = []

    @client.on("orders")
    def fails(event: Event) -> None:
        calls.append(event.id)
        if event.id == "b":
            raise ValueError("never")

    async def report(event: Event, error: Exception) -> None:
        errors.append((event.id, str(error)))

    await post(client, "orders", "abc")
    worker = asyncio.create_task(client.run(attempts=2, on_error=report))
    await until(lambda: calls[-1:] == ["c"])
    await end(worker)
    assert calls == ["a", "b", "b", "c"]
    assert errors == [("b", "never")]


async def test_an_event_whose_handler_was_cancelled_comes_again(
    client: Hub, tmp_path: Path
) -> None:
    started: list[str] = []

    @client.on("orders")
    async def slow(event: Event) -> None:
        started.append(event.id)
        if len(started) == 2:
            await asyncio.sleep(SECONDS)

    await post(client, "orders", "abc")
    worker = asyncio.create_task(client.run(position=tmp_path / "position"))
    await until(lambda: len(started) == 2)
    await end(worker)
    worker = asyncio.create_task(client.run(position=tmp_path / "position"))
    await until(lambda: len(started) == 4)
    await end(worker)
    assert started == ["a", "b", "b", "c"]


async def test_what_cannot_work_is_said(client: Hub, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no handler"):
        await client.run()
    client.on("orders")(print)
    (tmp_path / "position").write_text('{"orders": 7}')
    with pytest.raises(InvalidFile, match="remove it"):
        await client.run(position=tmp_path / "position")


async def test_all_of_another_log_is_handled(run_hub: RunHub, events: Path, tmp_path: Path) -> None:
    server = run_hub("--retry", "50")
    seen: list[str] = []
    async with Hub(server.url) as hub:
        hub.on("orders")(lambda event: seen.append(event.id))
        await post(hub, "orders", "ab")
        worker = asyncio.create_task(hub.run(position=tmp_path / "position"))
        await until(lambda: len(seen) == 2)
        await asyncio.to_thread(server.stop)
        shutil.rmtree(events)
        await asyncio.to_thread(server.start)
        await post(hub, "orders", "pq")
        await until(lambda: len(seen) == 4)
        await end(worker)
    assert seen == ["a", "b", "p", "q"]


_WORKS = """
import asyncio, sys
from hub.client import Hub

async def main():
    async with Hub(sys.argv[1], patience=30) as hub:
        with open(sys.argv[3], "a", buffering=1) as done:
            @hub.on("orders")
            def note(event):
                print(event.id, file=done)

            await hub.run(position=sys.argv[2])

asyncio.run(main())
"""


async def test_a_worker_and_a_hub_that_are_killed_handle_each_event(
    server: HubProcess, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    stop = asyncio.Event()
    publisher = asyncio.create_task(publish_through_all(server.url, stop))
    command = [sys.executable, "-c", _WORKS, server.url, str(tmp_path / "position"), str(done)]
    for turn in range(4):
        before = len(done.read_bytes()) if done.exists() else 0
        worker = await asyncio.create_subprocess_exec(*command)
        await until(lambda before=before: done.exists() and len(done.read_bytes()) > before)  # type: ignore[misc]
        await asyncio.sleep(random.uniform(0, 1.2))
        if turn % 2:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.3)
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
    stop.set()
    await publisher
    async with Hub(server.url) as hub:
        stored = [each.id async for each in hub.history("orders")]
    worker = await asyncio.create_subprocess_exec(*command)
    try:

        def handled() -> list[str]:
            return done.read_text().split("\n")[:-1]

        await until(lambda: set(handled()) >= set(stored))
    finally:
        worker.kill()
        await worker.wait()
    # In order, but for what came again after each kill.
    once = list(dict.fromkeys(handled()))
    assert once == stored
    assert len(handled()) < 3 * len(stored)
