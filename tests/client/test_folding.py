"""States: over histories, live, and across restarts."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.client import Event, Hub, InvalidFile, Iteration
from tests.client.test_reading import SECONDS, post, publish_through_all, until
from tests.conftest import RunHub
from tests.process import HubProcess


def empty() -> dict[str, Any]:
    """What `collect` begins with."""
    return {"all": []}


def collect(state: dict[str, Any], event: Event) -> dict[str, Any]:
    """All data, in a state that is changed in place."""
    state["all"].append(event.data)
    return state


async def last(states: Iteration[Any], number: int) -> Any:
    """The state after so many steps."""
    async with asyncio.timeout(SECONDS):
        for _ in range(number):
            state = await anext(states)
    return state


async def test_a_fold_goes_over_what_is_asked_for(client: Hub) -> None:
    await post(client, "orders", "abcd", "xyxy")

    def add(state: list[str], event: Event) -> list[str]:
        return [*state, event.id]

    none: list[str] = []
    assert await client.fold("orders", add, none) == ["a", "b", "c", "d"]
    assert await client.fold("orders", add, none, since="a", until="c") == ["b", "c"]
    assert await client.fold("orders", add, none, tail=2, event="y") == ["b", "d"]
    assert await client.fold("nothing", add, ["initial"]) == ["initial"]


async def test_a_reducer_that_raises_is_heard(client: Hub) -> None:
    await post(client, "orders", "a")
    with pytest.raises(ZeroDivisionError):
        await client.fold("orders", lambda state, _: state // 0, 1)


async def test_a_scan_gives_each_state_and_goes_on_live(client: Hub) -> None:
    await post(client, "orders", "abc")
    async with client.scan("orders", lambda state, _: state + 1, 0) as states:
        assert [await anext(states) for _ in range(3)] == [1, 2, 3]
        await post(client, "orders", "d")
        assert await asyncio.wait_for(anext(states), SECONDS) == 4


async def test_a_snapshot_is_gone_on_from(client: Hub, tmp_path: Path) -> None:
    path = tmp_path / "orders.snapshot"
    await post(client, "orders", "abxxx")
    calls: list[str] = []

    def counted(state: int, event: Event) -> int:
        calls.append(event.data)
        return state + 1

    async with client.scan("orders", counted, 0, snapshot=path) as states:
        assert await last(states, 4) == 4  # in the middle of a run of one id
    await post(client, "orders", "xy")
    async with client.scan("orders", counted, 0, snapshot=path) as states:
        assert await last(states, 1) == 4  # the state of the snapshot
        assert await last(states, 3) == 7
    assert calls == list("0123456")


@pytest.mark.parametrize("done", [2, 3])
async def test_a_snapshot_of_one_type_has_its_place_among_all(
    done: int, client: Hub, tmp_path: Path
) -> None:
    path = tmp_path / "orders.snapshot"
    await post(client, "orders", "BABBB", "totot")

    def add(state: list[str], event: Event) -> list[str]:
        return [*state, event.data]

    none: list[str] = []
    async with client.scan("orders", add, none, event="t", snapshot=path) as states:
        assert await last(states, done) == ["0", "2", "4"][:done]
    await post(client, "orders", "BB", "to")
    async with client.scan("orders", add, none, event="t", snapshot=path) as states:
        assert await last(states, 5 - done) == ["0", "2", "4", "5"]


async def test_a_scan_that_is_cancelled_or_left_keeps_its_place(
    client: Hub, tmp_path: Path
) -> None:
    path = tmp_path / "orders.snapshot"
    await post(client, "orders", "abc")

    async def scan() -> None:
        async for _ in client.scan("orders", collect, empty(), snapshot=path):
            pass

    task = asyncio.create_task(scan())
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    states = client.scan("orders", collect, empty(), snapshot=path)
    assert await last(states, 1) == {"all": ["0", "1", "2"]}
    await states.aclose()


@dataclass
class Total:
    count: int
    last: str | None = None


async def test_a_state_comes_back_as_what_it_was(client: Hub, tmp_path: Path) -> None:
    await post(client, "orders", "ab")

    def count(state: Total, event: Event) -> Total:
        return Total(state.count + 1, event.id)

    for wanted in (Total(1, "a"), Total(2, "b")):
        path = tmp_path / "typed"
        async with client.scan("orders", count, Total(0), snapshot=path) as states:
            assert await last(states, wanted.count) == wanted


@pytest.mark.parametrize("initial", [{"keys": {1: 2}}, (1, 2), {"set": {1}}, float("nan")])
async def test_a_state_that_would_come_back_otherwise_is_refused(
    initial: Any, client: Hub, tmp_path: Path
) -> None:
    await post(client, "orders", "ab")
    states = client.scan("orders", lambda state, _: state, initial, snapshot=tmp_path / "s")
    await anext(states)
    with pytest.raises(Exception, match="as JSON"):
        await states.aclose()
    assert not (tmp_path / "s").exists()


async def test_a_snapshot_of_something_else_is_refused(client: Hub, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    await post(client, "orders", "a")
    await post(client, "others", "a")
    async with client.scan("orders", lambda s, _: s + 1, 0, snapshot=path) as states:
        await anext(states)
    before = path.read_bytes()
    for channel, event in [("others", None), ("orders", "placed")]:
        with pytest.raises(InvalidFile, match="is a snapshot of channel 'orders'"):
            await anext(client.scan(channel, lambda s, _: s, 0, event=event, snapshot=path))
    path.write_text("my notes")
    with pytest.raises(InvalidFile, match="remove it to start over"):
        await anext(client.scan("orders", lambda s, _: s, 0, snapshot=path))
    assert path.read_text() == "my notes"
    path.write_bytes(before)


async def test_a_reducer_that_raises_leaves_the_snapshot_before_it(
    client: Hub, tmp_path: Path
) -> None:
    path = tmp_path / "snapshot"
    await post(client, "orders", "abc")

    def fails(state: dict[str, Any], event: Event) -> dict[str, Any]:
        collect(state, event)
        if event.id == "c":
            raise KeyError("c")  # it has changed the state already
        return state

    async with client.scan("orders", fails, empty(), snapshot=path) as states:
        await anext(states)
    with pytest.raises(KeyError):
        async for _ in client.scan("orders", fails, empty(), snapshot=path):
            pass
    async with client.scan("orders", collect, empty(), snapshot=path) as states:
        assert await last(states, 3) == {"all": ["0", "1", "2"]}


async def test_another_log_is_folded_from_its_start(
    run_hub: RunHub, events: Path, tmp_path: Path
) -> None:
    server = run_hub("--retry", "50")
    initial: dict[str, Any] = {"all": []}
    async with Hub(server.url) as hub:
        await post(hub, "orders", "ab")
        path = tmp_path / "snapshot"
        kept = hub.scan("orders", collect, initial, snapshot=path)
        await last(kept, 2)
        await kept.aclose()
        live = hub.scan("orders", collect, initial)
        await last(live, 2)
        await asyncio.to_thread(server.stop)
        shutil.rmtree(events)
        await asyncio.to_thread(server.start)
        await hub.publish("orders", "new", id="n")
        kept = hub.scan("orders", collect, initial, snapshot=path)
        # The snapshot's, then the initial one again, then the first of the new log.
        assert await last(kept, 1) == {"all": ["0", "1"]}
        assert await last(kept, 1) == {"all": []}
        assert await last(kept, 1) == {"all": ["new"]}
        assert await last(live, 2) == {"all": ["new"]}
        await kept.aclose()
        await live.aclose()


_SCANS = """
import asyncio, sys
from hub.client import Hub

def collect(state, event):
    state["all"].append(event.json()["n"])
    return state

async def main():
    async with Hub(sys.argv[1], patience=30) as hub:
        scan = hub.scan("orders", collect, {"all": []}, snapshot=sys.argv[2], save_every=0.02)
        async for state in scan:
            if state["all"] and state["all"][-1] == -1:
                return

asyncio.run(main())
"""


async def test_a_scan_that_is_killed_again_and_again_counts_each_event_once(
    server: HubProcess, tmp_path: Path
) -> None:
    path = tmp_path / "snapshot"
    stop = asyncio.Event()
    publisher = asyncio.create_task(publish_through_all(server.url, stop))
    command = [sys.executable, "-c", _SCANS, server.url, str(path)]
    sizes = [0]

    def size() -> int:
        return path.stat().st_size if path.exists() else 0

    for turn in range(4):
        process = await asyncio.create_subprocess_exec(*command)
        await until(lambda: size() > sizes[-1])  # it has gone on
        await asyncio.sleep(random.uniform(0, 0.2))
        if turn == 1:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.4)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        sizes.append(path.stat().st_size if path.exists() else 0)
    stop.set()
    await publisher
    async with Hub(server.url) as hub:
        await hub.publish("orders", {"n": -1})
        process = await asyncio.create_subprocess_exec(*command)
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0
        stored = [each.json()["n"] async for each in hub.history("orders")]
        states = hub.scan("orders", collect, empty(), snapshot=path)
        assert (await anext(states))["all"] == stored
        await states.aclose()
    assert sizes == sorted(sizes)
