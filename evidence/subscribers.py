"""Those who read while the hub is killed: a process that notes each event it got, and each state.

Subscribers go on where they were, by `Last-Event-ID`, whenever the hub is back; now
and then they leave by themselves. Some stay away for as long as nobody is to follow
the global order, since positions then come into the index later.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import aiohttp

from evidence.events import data_of, stored_of, token_in
from evidence.ledger import Folded, Ledger, Seen
from evidence.publishers import BOTH_DOORS, CHANNELS, PAUSE, STREAMS
from hub.sse import Message, Parser

DERIVED = "decisions"
LIVE = tuple(f"/{each}" for each in (*CHANNELS, BOTH_DOORS, STREAMS[0]))
NUMBERED = (f"/streams/{STREAMS[0]}", f"/streams/{STREAMS[1]}", f"/streams/{DERIVED}")
GLOBAL = (
    "/streams/_all",
    "/streams/category/orders",
    f"/streams/join?streams={STREAMS[2]},{DERIVED}",
    "/query?types=Posted,Versioned",
)
CONSUMERS = {"all": "_all", "category": "category/orders", "derived": DERIVED, "log": CHANNELS[0]}

SILENCE = 3.0
"""Seconds without an event after which, in the end, a subscriber takes it that it has all."""


class Subscriber:
    """Follows one URL for the whole run."""

    def __init__(self, path: str, ledger: Path, chance: random.Random) -> None:
        self.path = path
        self._ledger = Ledger(ledger)
        self._chance = chance
        self._last = ""

    async def follow(self, client: aiohttp.ClientSession, goes_on: Callable[[bool], bool]) -> None:
        """Subscribe once, until the hub or this one leaves. `goes_on` is told of each event."""
        headers = {"Accept": "text/event-stream"}
        where = self.path
        if self._last:
            headers["Last-Event-ID"] = self._last
        else:
            where += f"{'&' if '?' in where else '?'}since=start"
        left = self._chance.randrange(5, 3000)
        async with client.get(where, headers=headers) as answer:
            if answer.status in (404, 503):
                return
            assert answer.status == 200, f"{where}: {answer.status}"
            parser = Parser()
            while left > 0:
                try:
                    piece = await asyncio.wait_for(answer.content.readany(), 0.2)
                except TimeoutError:
                    if not goes_on(False):
                        return
                    continue
                if not piece:
                    return
                for message in parser.feed(piece):
                    self._take(message)
                    left -= 1
                    goes_on(True)

    def _take(self, message: Message) -> None:
        if message.event == "hub-reset":
            self._ledger.put(Seen(self.path, message.id, 0, reset=True))
            return
        token = token_in(message.data)
        self._ledger.put(Seen(self.path, message.id, token, self._is_whole(message, token)))
        self._last = message.id

    def _is_whole(self, message: Message, token: int) -> bool:
        kind = message.event
        if not self.path.startswith(("/streams/", "/query")):
            return message.data in (data_of(token, kind), *self._stored(token, kind))
        payload = message.data.partition('"payload":')[2].rpartition(',"metadata":')[0]
        return payload in self._stored(token, kind)

    def _stored(self, token: int, kind: str) -> list[str]:
        return [stored_of(token, kind, posted=posted).decode() for posted in (False, True)]


class Watcher:
    """Asks for the states of the consumers."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = Ledger(ledger)

    async def look(self, client: aiohttp.ClientSession) -> None:
        """Ask for each."""
        for name in CONSUMERS:
            async with client.get(f"/consumers/{name}") as answer:
                told = await answer.json()
                if answer.status == 200:
                    assert "error" not in told, told
                    self._ledger.put(Folded(name, told["position"], told["state"]))
        await asyncio.sleep(0.1)


async def _subscribe(subscriber: Subscriber, url: str, over: Event, quiet: Event) -> None:
    heard = time.monotonic()

    def goes_on(event: bool) -> bool:
        nonlocal heard
        if event:
            heard = time.monotonic()
        if over.is_set():
            return time.monotonic() < heard + SILENCE
        heard = time.monotonic()
        return not (quiet.is_set() and subscriber.path not in LIVE)

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(url, timeout=timeout, read_bufsize=2**20) as client:
        while goes_on(False) or not over.is_set():
            try:
                if goes_on(False):
                    await subscriber.follow(client, goes_on)
            except (aiohttp.ClientError, OSError):
                pass  # it is down
            await asyncio.sleep(10 * PAUSE)


async def _watch(watcher: Watcher, url: str, over: Event) -> None:
    timeout = aiohttp.ClientTimeout(total=30, sock_connect=5)
    async with aiohttp.ClientSession(url, timeout=timeout) as client:
        while not over.is_set():
            try:
                await watcher.look(client)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(10 * PAUSE)


def subscribe(url: str, directory: Path, seed: int, over: Event, quiet: Event) -> None:
    """A process's whole life; it ends some time after `over`, when nothing comes any more."""

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for number, path in enumerate((*LIVE, *NUMBERED, *GLOBAL)):
                chance = random.Random(f"{seed} subscriber {number}")
                subscriber = Subscriber(path, directory / f"subscriber-{number}", chance)
                group.create_task(_subscribe(subscriber, url, over, quiet))
            watcher = Watcher(directory / "watcher")
            group.create_task(_watch(watcher, url, over))

    asyncio.run(run())
