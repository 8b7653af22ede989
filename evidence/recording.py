"""A run of a hub under load, killed and started: what it did to its files, and what it told whom.

Owns how that is recorded, and how what was told is found in the bytes on their way to
sockets. Must not know what a power cut leaves of it.
"""

from __future__ import annotations

import asyncio
import errno
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import aiohttp
from msgspec import Struct

from evidence.events import HANDLER, NOTHING, compact
from evidence.ledger import Write, writes_in
from evidence.publishers import CHANNELS, PAUSE, Publisher, Role
from evidence.run import Run
from evidence.shim import Call, Entry, Shim, entries
from hub.options import Durability
from tests.process import PATIENCE, HubProcess

SYNC_INTERVAL = 0.1

DERIVED = "decisions"
READERS = ("/streams/_all", f"/{CHANNELS[0]}?since=start")

_SAID = {
    "position": re.compile(rb'"version":\d+,"position":(\d+),'),
    "id": re.compile(rb'(?:\r\n\r\n|"last":")(\d{4}-\d\d-\d\dT[\d:.]+Z)'),
    "frame": re.compile(
        rb'\ndata: [^\n]*?(?:"token":|token )(\d+)[^\n]*\n(?:data:[^\n]*\n)*id: ([^\n]+)\n'
    ),
    "closed": re.compile(rb'"stream":"([^"]+)","version":\d+,"closed":true'),
    "derived": re.compile(rb'HTTP/1.1 201 [^{]*{"stream":"([^"]+)","version":'),
    "consumer": re.compile(rb'HTTP/1.1 201 [^{]*{"identifier":"([^"]+)"'),
}
"""What an answer, or a frame of a subscription, says."""


class Told(NamedTuple):
    """Something that the hub said: where in the record and when it began to."""

    at: int
    time: int
    kind: str
    value: str
    other: str = ""


class Recording(Struct):
    """A run of a hub: what it did, what it said, what those who wrote to it know."""

    directory: Path
    durability: Durability
    entries: list[Entry]
    ends: list[int]  # how many there were when the hub ended
    told: list[Told]
    writes: list[Write]
    faulty: bool

    @property
    def root(self) -> Path:
        return self.directory / "disk"

    def longest_sync(self) -> float:
        """Seconds that a sync took, at most."""
        longest = 0
        for begin, end in pairwise([0, *self.ends]):
            life = self.entries[begin:end]
            syncs = [
                (each.time, life[each.size - 1].time) for each in life if each.call is Call.SYNCED
            ]
            longest = max([longest, *(end - begin for end, begin in syncs)])
        return longest / 1e9

    def longest_pause(self) -> float:
        """Seconds in which a hub did nothing, at most: without a processor it syncs nothing."""
        times = [each.time for each in self.entries]
        lives = [times[begin:end] for begin, end in pairwise([0, *self.ends])]
        return max(b - a for life in lives for a, b in pairwise(life)) / 1e9


async def record(run: Run, durability: Durability, faulty: bool) -> Recording:
    """Run a hub, and those who write and read, for a while; with `faulty` some syncs fail."""
    directory = run.directory / f"{durability.value}{'-faulty' * faulty}"
    root = directory / "disk"
    root.mkdir(parents=True)
    shim = Shim(directory, root, record=True)
    options = ("--durability", durability.value, "--sync-interval", str(SYNC_INTERVAL))
    hub = HubProcess(root / "events", directory / "hub.log", *options)
    hub.environment = shim.environment
    ledgers = [directory / f"publisher-{number}" for number in range(run.pick(1, 2))]
    publishers = [Publisher(path, n, run.seed) for n, path in enumerate(ledgers, 1)]
    chance = run.chance(f"recording {directory.name}")
    ends: list[int] = []
    found: list[Entry] = []
    try:
        for life in range(run.pick(2, 4)):
            await asyncio.to_thread(hub.start)
            if life == 0:
                await _prepare(hub.url)
            works = [role for publisher in publishers for role in publisher.roles()]
            works += map(_reader, READERS)
            tasks = [asyncio.create_task(_keep_on(work, hub.url)) for work in works]
            await _wait(run.pick(1, 3) / 2, shim if faulty else None, chance)
            if life == 1:
                await _say(hub.url, "POST", f"/streams/{CHANNELS[1]}/close")
            shim.die()
            assert hub.process is not None
            await asyncio.to_thread(hub.process.wait, PATIENCE)
            hub.kill()
            shim.heal()
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            found = list(entries(shim.record.read_bytes()))
            ends.append(len(found))
    finally:
        if hub.process is not None:
            hub.kill()
    writes = writes_in(ledgers)
    return Recording(directory, durability, found, ends, list(_told(found)), writes, faulty)


async def _keep_on(work: Role, url: str) -> None:
    async with aiohttp.ClientSession(url) as client:
        while True:
            with suppress(aiohttp.ClientError, OSError):
                await work(client)
            await asyncio.sleep(PAUSE)


def _reader(path: str) -> Role:
    async def read(client: aiohttp.ClientSession) -> None:
        headers = {"Accept": "text/event-stream"}
        async with client.get(path, headers=headers) as answer:
            while await answer.content.readany():
                pass

    return read


async def _wait(seconds: float, shim: Shim | None, chance: random.Random) -> None:
    """Let the others work; with a shim, let a sync fail now and then."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if shim:
            shim.arm(Call.SYNC, chance.randrange(1, 30), errno.EIO, lasting=False)
        await asyncio.sleep(min(left, 0.1))


async def _prepare(url: str) -> None:
    await _say(url, "PUT", f"/streams/{DERIVED}", {"payload": {"type": "Decided"}})
    await _say(url, "PUT", f"/{CHANNELS[0]}")
    body = {"handler": HANDLER, "state": NOTHING}
    await _say(url, "PUT", "/consumers/fold/stream/_all", body)


async def _say(url: str, method: str, path: str, body: object = None) -> None:
    data = None if body is None else compact(body)
    async with (
        aiohttp.ClientSession(url) as client,
        client.request(method, path, data=data) as told,
    ):
        await told.read()


def _told(found: Sequence[Entry]) -> Iterator[Told]:
    """What was said, and when first, from the bytes on their way to the sockets."""
    known: set[tuple[str, ...]] = set()
    said: dict[int, bytes] = {}  # by descriptor: of the answer that is being sent, what is new
    for at, each in enumerate(found, 1):
        if each.call is not Call.SENT:
            continue
        before = b"" if each.data.startswith(b"HTTP/1.1 ") else said.get(each.file, b"")
        text = before + each.data
        end = 0
        for kind, pattern in _SAID.items():
            for match in pattern.finditer(text):
                end = max(end, match.end() - 1)  # the LF begins the next frame, too
                told = Told(at, each.time, kind, *(part.decode() for part in match.groups()))
                if told[2:] not in known:
                    known.add(told[2:])
                    yield told
        said[each.file] = text[end:]
