"""What the hub promises to many who write and read at once, checked on what each of them saw.

Writers write down what they sent, when, and what they were told; readers what they
read, and the number that it had. In the end the log of the hub tells what came to
be: everything that was said must fit it, across kills.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import aiohttp
import pytest
from msgspec import Struct

from hub.engines.files import FilesEngine
from hub.options import Durability
from hub.sse import Parser
from tests.conftest import Client, RunHub, StartHub
from tests.process import PATIENCE, HubProcess, wait_until
from tests.web.streaming import Document, commit, of_type, read, split
from tests.web.wire import TSV, post

# One of a hundred


@pytest.fixture(params=[Durability.OS, Durability.ALWAYS])
async def hub(start_hub: StartHub, events: Path, request: pytest.FixtureRequest) -> Client:
    return await start_hub(engine=FilesEngine(events, request.param))


async def statuses(hub: Client, requests: list[tuple[str, Document]]) -> list[int]:
    async def send(path: str, body: Document) -> int:
        async with hub.post(path, json=body) as answer:
            if answer.status == 409:
                assert (await answer.json())["code"] in ("version_conflict", "condition_conflict")
            return answer.status

    return list(await asyncio.gather(*(send(path, body) for path, body in requests)))


ONE_OF_A_HUNDRED = sorted([201] + [409] * 99)


@pytest.mark.parametrize("before", [0, 3])
async def test_one_of_a_hundred_with_the_same_version(hub: Client, before: int) -> None:
    if before:
        await commit(hub, "orders", *of_type(*"ABC"))
    bodies = [{"events": [{"type": "N", "n": n}], "expectedVersion": before} for n in range(100)]
    told = await statuses(hub, [("/streams/orders/commit", body) for body in bodies])
    assert sorted(told) == ONE_OF_A_HUNDRED
    found = await read(hub, "/streams/orders")
    assert [each["payload"]["n"] for each in found[before:]] == [told.index(201)]


@pytest.mark.parametrize("spread", ["one stream", "other streams", "new streams", "with versions"])
async def test_one_of_a_hundred_with_the_same_condition(hub: Client, spread: str) -> None:
    for number in range(10):
        await commit(hub, f"orders-{number}", *of_type("A"))
    async with hub.get("/query?types=N") as answer:
        condition = json.loads(answer.headers["x-event-store-query-condition"])
    requests: list[tuple[str, Document]] = []
    for number in range(100):
        body: Document = {"events": [{"type": "N", "n": number}], "condition": condition}
        name = "orders-0"
        if spread == "other streams":
            name = f"orders-{number % 10}"
        elif spread == "new streams":
            name = f"new-{number}"
        elif spread == "with versions":
            name = f"orders-{number % 10}"
            body["expectedVersion"] = 1
        requests.append((f"/streams/{name}/commit", body))
    told = await statuses(hub, requests)
    assert sorted(told) == ONE_OF_A_HUNDRED
    found = await read(hub, "/query", types="N")
    assert [each["payload"]["n"] for each in found] == [told.index(201)]


async def test_no_position_comes_before_one_that_rules_it_out(hub: Client) -> None:
    """Posts and plain commits have no condition, but the conditions of others see them.

    Whoever was not seen because he came later, has a later position too.
    """
    for _ in range(5):
        async with hub.get("/query?types=N") as answer:
            condition = json.loads(answer.headers["x-event-store-query-condition"])

        async def decide(number: int, condition: Document = condition) -> int:
            body = {"events": of_type("M"), "condition": condition}
            async with hub.post(f"/streams/orders-{number}/commit", json=body) as answer:
                told = await answer.json()
                return int(told["position"]) if answer.status == 201 else 0

        deciding = [asyncio.create_task(decide(number)) for number in range(20)]
        posting = asyncio.create_task(post(hub, "/a-channel?event=N", "text"))
        deciding += [asyncio.create_task(decide(number)) for number in range(20)]
        await posting
        positions = [place for place in await asyncio.gather(*deciding) if place]
        order = await read(hub, "/streams/_all")
        first = next(
            at
            for at, each in enumerate(order, 1)
            if each["payload"]["type"] == "N" and at > condition["noneMatchAfter"]
        )
        assert all(place < first for place in positions)


async def test_a_commit_that_is_given_up(hub: Client) -> None:
    """Its client hangs up: it is there whole and in time, or never."""
    for number in range(40):
        async with hub.get("/query?types=N") as answer:
            condition = json.loads(answer.headers["x-event-store-query-condition"])
        body = {"events": [{"type": "N", "n": number}, {"type": "M"}], "condition": condition}
        text = json.dumps(body).encode()
        _, writer = await asyncio.open_connection(hub.host, hub.port)
        writer.write(
            b"POST /streams/given-up/commit HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
            % (len(text), text)
        )
        await asyncio.sleep(random.uniform(0, 0.004))
        writer.transport.abort()
        other = {"events": [{"type": "N", "n": -number}], "condition": condition}
        async with hub.post("/streams/others/commit", json=other) as answer:
            taken = answer.status == 201
        new: list[Document] = []
        while not new:  # the one that was given up may have yet to be written
            new = (await read(hub, "/streams/_all"))[condition["noneMatchAfter"] :]
        kinds = [each["payload"]["type"] for each in new]
        assert kinds == (["N"] if taken else ["N", "M"])


# Many at once, and a hub that dies


Work: TypeAlias = Callable[[aiohttp.ClientSession], Awaitable[None]]


class Write(Struct):
    """What somebody wrote: each event has a token that only it has."""

    stream: str
    tokens: list[int]
    began: float
    ended: float = 0.0
    status: int = 0  # 0: nobody knows
    told: Document = {}
    expected: int | None = None
    condition: Document | None = None


class Reading(Struct):
    """What somebody read: numbers and tokens, in the order in which they came."""

    path: str
    seen: list[tuple[int, int]]


class World:
    """A hub, those who use it, and what they saw."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.writes: list[Write] = []
        self.readings: list[Reading] = []
        self.over = False
        self._tokens = count(1)

    def has_seen_enough(self) -> bool:
        """Whether many writes came to be, and many were refused."""
        statuses = [each.status for each in self.writes]
        return statuses.count(201) > 20 and statuses.count(409) > 20

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=PATIENCE)
        async with aiohttp.ClientSession(self.hub.url, timeout=timeout) as client:
            yield client

    def events(self, kind: str, most: int = 3) -> list[Document]:
        size = random.randint(1, most)
        return [{"type": kind, "token": next(self._tokens)} for _ in range(size)]

    async def write(
        self,
        client: aiohttp.ClientSession,
        stream: str,
        events: list[Document],
        expected: int | None = None,
        condition: Document | None = None,
    ) -> Write:
        """Commit, and write down what is known of it at any moment."""
        write = Write(stream, [each["token"] for each in events], time.monotonic())
        write.expected, write.condition = expected, condition
        self.writes.append(write)
        body: Document = {"events": events}
        if expected is not None:
            body["expectedVersion"] = expected
        if condition is not None:
            body["condition"] = condition
        async with client.post(f"/streams/{quote(stream, safe='')}/commit", json=body) as answer:
            write.told = json.loads(await answer.read())
            write.ended = time.monotonic()
            write.status = answer.status
        return write

    async def send(
        self, client: aiohttp.ClientSession, channel: str, events: list[Document], batch: bool
    ) -> None:
        """The same by the other door."""
        write = Write(channel, [each["token"] for each in events], time.monotonic())
        self.writes.append(write)
        texts = [json.dumps(each) for each in events]
        body = "".join(f"\t\t{text}\n" for text in texts) if batch else texts[0]
        headers = TSV if batch else {}
        async with client.post(f"/{channel}", data=body.encode(), headers=headers) as answer:
            await answer.read()
            write.ended = time.monotonic()
            write.status = answer.status

    async def forever(self, work: Work) -> None:
        """Do it again and again, also when the hub is down now and then."""
        async with self.client() as client:
            while not self.over:
                try:
                    await work(client)
                except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.02)


STREAMS = ["orders-1", "orders-2", "orders-3"]
SELECTED: dict[str, Callable[[Document], bool]] = {
    "/streams/_all": lambda each: True,
    "/streams/category/orders": lambda each: each["stream"] in (*STREAMS, "orders-channel"),
    "/streams/join?streams=orders-1,Decided": lambda each: (
        each["stream"] == "orders-1" or each["payload"]["type"] == "Decided"
    ),
    "/query?types=Versioned,Posted": lambda each: (
        each["payload"]["type"] in ("Versioned", "Posted")
    ),
}
OWN_NUMBERS: dict[str, Callable[[Document], bool]] = {
    "/streams/derived": lambda each: each["payload"]["type"] == "Decided",
    "/streams/orders-1": lambda each: each["stream"] == "orders-1",
    "/streams/orders-channel": lambda each: each["stream"] == "orders-channel",
}


def versioned(world: World, stream: str) -> Work:
    async def work(client: aiohttp.ClientSession) -> None:
        async with client.get(f"/streams/{stream}/version") as answer:
            version = (await answer.json())["version"] if answer.status == 200 else 0
        await world.write(client, stream, world.events("Versioned"), expected=version)

    return work


def deciding(world: World) -> Work:
    async def work(client: aiohttp.ClientSession) -> None:
        async with client.get("/query/from/end?types=Decided") as answer:
            condition = json.loads(answer.headers["x-event-store-query-condition"])
            await answer.read()
        stream = random.choice(STREAMS)
        await world.write(client, stream, world.events("Decided"), condition=condition)

    return work


def plain(world: World) -> Work:
    async def work(client: aiohttp.ClientSession) -> None:
        stream = random.choice([*STREAMS, "orders-channel", f"new/{random.randrange(20)}"])
        await world.write(client, stream, world.events("Plain", 8))

    return work


def posting(world: World) -> Work:
    async def work(client: aiohttp.ClientSession) -> None:
        batch = random.random() < 0.4
        channel = random.choice(["orders-channel", "orders-1", "a-channel"])
        await world.send(client, channel, world.events("Posted", 20 if batch else 1), batch)

    return work


def follower(world: World, path: str) -> Work:
    """Live, resumed with the last id whenever it breaks off, which it does by itself too."""
    reading = Reading(path, [])
    world.readings.append(reading)

    async def work(client: aiohttp.ClientSession) -> None:
        headers = {"Accept": "text/event-stream"}
        if reading.seen:
            headers["Last-Event-ID"] = str(reading.seen[-1][0])
        left = random.randrange(5, 400)
        async with client.get(path, headers=headers) as answer:
            if answer.status == 404:
                await asyncio.sleep(0.05)
                return
            assert answer.status == 200
            parser = Parser()
            while left > 0 and not world.over:
                piece = await answer.content.readany()
                if not piece:
                    return
                for message in parser.feed(piece):
                    assert message.event != "hub-reset", (path, reading.seen[-1:])
                    token = json.loads(message.data)["payload"]["token"]
                    reading.seen.append((int(message.id), token))
                    left -= 1

    return work


def poller(world: World, path: str) -> Work:
    """Reads in parts and waits for more; its numbers count from 1 without a gap."""
    reading = Reading(path, [])
    world.readings.append(reading)

    async def work(client: aiohttp.ClientSession) -> None:
        begin = len(reading.seen) + 1
        window = f"/from/{begin}/until/{begin + random.randrange(100)}"
        async with client.get(path + window) as answer:
            if answer.status in (404, 408, 503):
                await asyncio.sleep(0.05)
                return
            assert answer.status == 200
            documents = split(await answer.text())
        for number, each in enumerate(documents, begin):
            reading.seen.append((number, each["payload"]["token"]))

    return work


@pytest.mark.parametrize("durability", ["always", "os"])
async def test_what_everybody_saw_fits_together(run_hub: RunHub, durability: str) -> None:
    hub = await asyncio.to_thread(
        run_hub, "--durability", durability, "--read-timeout", "0.5", "--heartbeat", "1"
    )
    world = World(hub)
    async with world.client() as client:
        matcher = {"payload": {"type": "Decided"}}
        async with client.put("/streams/derived", json=matcher) as answer:
            assert answer.status == 201
    works = [versioned(world, each) for each in ("orders-1", "orders-1", "orders-2", "orders-3")]
    works += [deciding(world), deciding(world), deciding(world)]
    works += [plain(world), plain(world), posting(world), posting(world), posting(world)]
    works += [follower(world, path) for path in (*SELECTED, *OWN_NUMBERS)]
    works += [poller(world, path) for path in ("/streams/_all", *OWN_NUMBERS)]
    tasks = [asyncio.create_task(world.forever(each)) for each in works]
    for _ in range(2):
        await asyncio.sleep(random.uniform(0.7, 1.2))
        await asyncio.to_thread(hub.kill)
        await asyncio.to_thread(hub.start)
    await asyncio.sleep(0.7)
    await asyncio.to_thread(wait_until, world.has_seen_enough, "there is enough to look at")
    world.over = True
    done, late = await asyncio.wait(tasks, timeout=PATIENCE)
    assert not late
    for task in done:
        task.result()
    assert "Traceback" not in hub.log
    async with world.client() as client:
        order = await documents(client, "/streams/_all")
        check_order(world, order)
        await check_streams(client, order)
        check_writes(world, order)
        check_conditions(world, order)
        check_readings(world, order)


async def documents(client: aiohttp.ClientSession, path: str) -> list[Document]:
    async with client.get(path) as answer:
        assert answer.status == 200
        return split(await answer.text())


def token_of(document: Document) -> int:
    token = document["payload"]["token"]
    assert isinstance(token, int)
    return token


def check_order(world: World, order: list[Document]) -> None:
    """Every event once, only such as were sent, and none that was refused."""
    found = [token_of(each) for each in order]
    assert len(set(found)) == len(found)
    assert set(found) <= {token for each in world.writes for token in each.tokens}
    refused = {token for each in world.writes if each.status >= 400 for token in each.tokens}
    assert refused.isdisjoint(found)


async def check_streams(client: aiohttp.ClientSession, order: list[Document]) -> None:
    """Each stream has its own revisions, without a gap, in the order of positions."""
    for stream in {each["stream"] for each in order}:
        found = await documents(client, f"/streams/{quote(stream, safe='')}")
        assert found == [each for each in order if each["stream"] == stream]
        versions = [each["metadata"]["streamVersion"] for each in found]
        assert versions == list(range(len(found)))


def check_writes(world: World, order: list[Document]) -> None:
    """Whole or not at all; where and as what it was told; in the order of real time."""
    places = {token_of(each): place for place, each in enumerate(order, 1)}
    claimed: set[tuple[str, int]] = set()
    latest = 0  # position of what was acknowledged, of everything that had ended by then
    ended: list[tuple[float, int]] = []
    for each in sorted(world.writes, key=lambda each: each.began):
        here = [places[token] for token in each.tokens if token in places]
        if each.status != 201:
            assert each.status in (0, 409, 503)
            assert len(here) in (0, len(each.tokens))
        else:
            assert len(here) == len(each.tokens)
        if not here:
            continue
        assert here == list(range(here[0], here[0] + len(here)))
        documents = [order[place - 1] for place in here]
        assert {document["stream"] for document in documents} == {each.stream}
        before = documents[0]["metadata"]["streamVersion"]
        if each.expected is not None:
            assert before == each.expected
            assert (each.stream, before) not in claimed
            claimed.add((each.stream, before))
        if each.told.get("position"):
            assert each.told["position"] == here[-1]
            assert (each.told["streamVersion"], each.told["version"]) == (
                before,
                before + len(here),
            )
        # Whatever had been acknowledged before this one began, lies before it.
        for moment, place in ended:
            if moment < each.began:
                latest = max(latest, place)
        ended = [pair for pair in ended if pair[0] >= each.began]
        assert here[0] > latest
        if each.status == 201:
            ended.append((each.ended, here[-1]))


def check_conditions(world: World, order: list[Document]) -> None:
    """Nothing that a condition rules out came between what was seen and what was decided."""
    places = {token_of(each): place for place, each in enumerate(order, 1)}
    decided = 0
    for each in world.writes:
        place = places.get(each.tokens[0])
        if each.condition is None or place is None:
            continue
        decided += 1
        between = order[each.condition["noneMatchAfter"] : place - 1]
        assert not [other for other in between if other["payload"]["type"] == "Decided"]
    assert decided > 10


def check_readings(world: World, order: list[Document]) -> None:
    """Everybody saw each event that he had asked for, once, in order, under its number."""
    for reading in world.readings:
        if reading.path in SELECTED:
            wanted = [
                (place, token_of(each))
                for place, each in enumerate(order, 1)
                if SELECTED[reading.path](each)
            ]
        else:
            chosen = filter(OWN_NUMBERS[reading.path], order)
            wanted = [(number, token_of(each)) for number, each in enumerate(chosen, 1)]
        assert reading.seen == wanted[: len(reading.seen)], reading.path
        assert len(reading.seen) > min(50, len(wanted) // 4), reading.path
