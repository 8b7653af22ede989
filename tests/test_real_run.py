"""The history of some repositories, as programs would keep and read it: every sum is checked."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import aiohttp

from tests.conftest import RunHub
from tests.process import HubProcess
from tests.web.streaming import Document, split

REPOSITORIES = 12
EVENTS = 1500
WORDS = [
    "fix",
    "add",
    "ünï",
    "\u2028",
    "日本語",
    '"quoted"',
    "a\tb",
    "line\nline",
    "\U0001f600",
    "\\",
]


def history(seed: int = 7) -> Iterator[Document]:
    """Events in time order, unevenly spread over repositories, as a line of a file each."""
    chance = random.Random(seed)
    at = datetime(2009, 8, 10, tzinfo=UTC)
    weights = [2**-number for number in range(REPOSITORIES)]
    for number in range(EVENTS):
        at += timedelta(seconds=chance.choice([0, 1, 60, 86_400]))
        repository = chance.choices(range(REPOSITORIES), weights)[0]
        event: Document = {
            "stream": f"repo-{repository}",
            "type": chance.choices(["Committed", "Merged", "Tagged"], [20, 3, 1])[0],
            "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        }
        if event["type"] == "Tagged":
            event["tag"] = f"v{number}.{chance.randrange(9)}"
        else:
            words = chance.choices(WORDS, k=chance.randrange(1, 30))
            added, removed = chance.randrange(2000), chance.randrange(500)
            event |= {"commit": f"{number:012x}", "message": " ".join(words)}
            event |= {"files": chance.randrange(50), "added": added, "removed": removed}
        yield event


def payload(event: Document) -> Document:
    """What is committed of a line of the file."""
    return {key: value for key, value in event.items() if key != "stream"}


class Store:
    """The hub as such a program sees it."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.client = client

    async def commit(self, stream: str, events: list[Document], **rest: Any) -> Document:
        body = {"events": events, **rest}
        async with self.client.post(f"/streams/{stream}/commit", json=body) as answer:
            assert answer.status == 201, await answer.text()
            return dict(await answer.json())

    async def read(self, path: str, **query: str) -> list[Document]:
        async with self.client.get(path, params=query) as answer:
            assert answer.status == 200, await answer.text()
            return split(await answer.text())


async def write(store: Store, events: Iterable[Document], most: int = 50) -> None:
    """Commit them in their order, those of one stream that follow each other together."""
    versions: dict[str, int] = defaultdict(int)
    position = 0
    for stream, some in groupby(events, lambda each: each["stream"]):
        waiting = list(map(payload, some))
        while waiting:
            part, waiting = waiting[:most], waiting[most:]
            told = await store.commit(stream, part, expectedVersion=versions[stream])
            versions[stream] += len(part)
            position += len(part)
            assert (told["version"], told["position"]) == (versions[stream], position)


def lines_of_code(events: Iterable[Document]) -> dict[str, int]:
    """Added less removed, for each stream."""
    sums: dict[str, int] = defaultdict(int)
    for each in events:
        sums[each["stream"]] += each.get("added", 0) - each.get("removed", 0)
    return dict(sums)


def flat(documents: Iterable[Document]) -> list[Document]:
    """Documents as the lines of the file."""
    return [{"stream": each["stream"], **each["payload"]} for each in documents]


HANDLER = """(event, state, metadata) => {
  const lines = (event.added || 0) - (event.removed || 0);
  return {...state, lines: (state.lines || 0) + lines, events: (state.events || 0) + 1};
}"""


async def check(store: Store, events: list[Document]) -> None:
    """Everything that can be read, against the same computed from the lines."""
    streams: dict[str, list[Document]] = defaultdict(list)
    for each in events:
        streams[each["stream"]].append(each)
    async with store.client.get("/streams", params={"prefix": "repo-"}) as answer:
        listed = (await answer.json())["streams"]
    assert {each["stream"]: each["version"] for each in listed} == {
        stream: len(own) for stream, own in streams.items()
    }
    for stream, own in streams.items():
        assert flat(await store.read(f"/streams/{stream}")) == own
        assert flat(await store.read(f"/streams/{stream}/backwards/10")) == own[:-11:-1]
    assert flat(await store.read("/streams/_all")) == events
    category = await store.read("/streams/category/repo")
    assert flat(category) == events
    assert lines_of_code(flat(category)) == lines_of_code(events)
    half = len(events) // 2
    window = f"/streams/category/repo/from/{half}/until/{half + 99}"
    assert flat(await store.read(window)) == events[half - 1 : half + 99]
    tagged = [each for each in events if each["type"] == "Tagged"]
    assert flat(await store.read("/query", types="Tagged")) == tagged
    some = sorted(streams)[:3]
    selector = json.dumps([[some, "Tagged"]])
    assert flat(await store.read("/streams/join", selector=selector)) == [
        each for each in tagged if each["stream"] in some
    ]
    large = json.dumps({"payload": {"added": {"$gte": 1000}}})
    assert flat(await store.read("/streams/category/repo", filter=large)) == [
        each for each in events if each.get("added", 0) >= 1000
    ]
    async with store.client.put("/streams/releases", json={"payload": {"type": "Tagged"}}) as told:
        assert (await told.json())["version"] == len(tagged)
    assert flat(await store.read("/streams/releases")) == tagged
    for stream in some:
        url = f"/consumers/lines-{stream}/stream/{stream}"
        async with store.client.put(url, json={"handler": HANDLER}) as told:
            assert told.status in (200, 201), await told.text()
        own = streams[stream]
        async with store.client.get(f"/consumers/lines-{stream}/until/{len(own)}") as told:
            state = (await told.json())["state"]
        assert state == {"lines": lines_of_code(own)[stream], "events": len(own)}


async def run(hub: HubProcess, events: list[Document]) -> None:
    """Write it all, read it all, and again after a crash."""
    async with aiohttp.ClientSession(hub.url) as client:
        await write(Store(client), events)
        await check(Store(client), events)
    await asyncio.to_thread(hub.kill)
    await asyncio.to_thread(hub.start)
    async with aiohttp.ClientSession(hub.url) as client:
        await check(Store(client), events)


async def test_a_history(run_hub: RunHub) -> None:
    hub = await asyncio.to_thread(run_hub, "--durability", "os")
    await run(hub, list(history()))
    assert "Traceback" not in hub.log
