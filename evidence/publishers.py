"""Those who write while the hub is killed: a process that notes what it sent and was told.

By both doors: single events and batches to channels, commits to streams; plain, with
the version that is expected, and with a condition.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from itertools import count
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import aiohttp

from evidence.events import compact, data_of, payload_of
from evidence.ledger import Ledger, Write

CHANNELS = ("a-channel", "other-channel")
STREAMS = ("orders-1", "orders-2", "orders-3")
BOTH_DOORS = "orders-both"  # a channel's log that is committed to, and a stream's that is posted to
TSV, NDJSON = "text/tab-separated-values", "application/x-ndjson"

LONGEST = 60.0
"""Seconds after which an answer that has not come is a hang."""

PAUSE = 0.01

Role: TypeAlias = Callable[[aiohttp.ClientSession], Awaitable[None]]


class Publisher:
    """Writes by all doors. Of several publishers, each has a number: its tokens are its own."""

    def __init__(self, ledger: Path, number: int, seed: int) -> None:
        self._ledger = Ledger(ledger)
        self._tokens = count(number * 100_000_000 + 1)
        self._numbers = count(1)
        self._chance = random.Random(f"{seed} publisher {number}")

    def roles(self) -> list[Role]:
        """What it does, all at once."""
        posts = [self.post, self.post, self.batch]
        commits = [self.plain, self.versioned, self.versioned, self.deciding, self.deciding]
        return [*posts, *commits]

    def _write(self, door: str, stream: str, kind: str, most: int) -> Write:
        tokens = [next(self._tokens) for _ in range(self._chance.randint(1, most))]
        return Write(next(self._numbers), door, stream, kind, tokens, time.monotonic())

    async def _send(
        self, client: aiohttp.ClientSession, write: Write, body: bytes, kind: str = "text/plain"
    ) -> None:
        """Note it, send it, note what came of it."""
        self._ledger.put(write)
        path = f"/streams/{quote(write.stream, safe='')}/commit"
        if write.door != "commit":
            path = f"/{write.stream}"
            path += f"?event={write.kind}" * (write.door != "tsv")
        headers = {"Content-Type": kind}
        async with client.post(path, data=body, headers=headers) as answer:
            text = await answer.read()
            write.ended = time.monotonic()
            write.status = answer.status
        if write.status == 201:
            if write.door == "commit":
                told = json.loads(text)
                write.position, write.version = told["position"], told["streamVersion"]
            else:
                write.id = text.decode() if write.door == "post" else json.loads(text)["last"]
        elif write.status not in (409, 503):
            raise AssertionError(f"{write} was answered {write.status}: {text.decode()}")
        self._ledger.put(write)

    async def post(self, client: aiohttp.ClientSession) -> None:
        """One event."""
        stream = self._chance.choice([*CHANNELS, BOTH_DOORS, STREAMS[0]])
        write = self._write("post", stream, "Posted", 1)
        await self._send(client, write, data_of(write.tokens[0], write.kind).encode())

    async def batch(self, client: aiohttp.ClientSession) -> None:
        """Many, all or nothing."""
        stream = self._chance.choice([*CHANNELS, BOTH_DOORS, STREAMS[1]])
        door = self._chance.choice(["tsv", "ndjson"])
        write = self._write(door, stream, "Batched", 80)
        if door == "tsv":
            texts = [data_of(each, write.kind).replace("\n", "\v") for each in write.tokens]
            body = "".join(f"\t{write.kind}\t{text}\n" for text in texts).encode()
            await self._send(client, write, body, TSV)
        else:  # its lines are JSON
            write.tokens = [each for each in write.tokens if each % 3]
            if write.tokens:
                body = b"\n".join([payload_of(each, write.kind) for each in write.tokens])
                await self._send(client, write, body, NDJSON)

    async def _commit(
        self, client: aiohttp.ClientSession, write: Write, condition: object = None
    ) -> None:
        events = b",".join([payload_of(each, write.kind) for each in write.tokens])
        rest = b""
        if write.expected is not None:
            rest += b',"expectedVersion":%d' % write.expected
        if condition is not None:
            rest += b',"condition":' + compact(condition)
        await self._send(client, write, b'{"events":[%b]%b}' % (events, rest), "application/json")

    async def plain(self, client: aiohttp.ClientSession) -> None:
        """A commit without any condition, also to streams that are new."""
        streams = [*STREAMS, BOTH_DOORS, f"new/{self._chance.randrange(10**6)}"]
        await self._commit(client, self._write("commit", self._chance.choice(streams), "Plain", 8))

    async def versioned(self, client: aiohttp.ClientSession) -> None:
        """A commit that expects what somebody may have overtaken."""
        stream = self._chance.choice(STREAMS[:2])
        async with client.get(f"/streams/{stream}/version") as answer:
            told = await answer.json()
            version = told["version"] if answer.status == 200 else 0
        write = self._write("commit", stream, "Versioned", 3)
        write.expected = version
        await self._commit(client, write)

    async def deciding(self, client: aiohttp.ClientSession) -> None:
        """A commit with the condition that nobody has decided meanwhile."""
        async with client.get("/query/from/end?types=Decided") as answer:
            await answer.read()
            if answer.status != 200:
                return
            condition = json.loads(answer.headers["x-event-store-query-condition"])
        write = self._write("commit", self._chance.choice(STREAMS), "Decided", 3)
        write.after = condition["noneMatchAfter"]
        await self._commit(client, write, condition)


async def _again_and_again(role: Role, url: str, over: Event) -> None:
    timeout = aiohttp.ClientTimeout(total=LONGEST, sock_connect=5)
    async with aiohttp.ClientSession(url, timeout=timeout) as client:
        while not over.is_set():
            try:
                await role(client)
            except TimeoutError as error:
                raise AssertionError(f"no answer within {LONGEST} s") from error
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(PAUSE)  # it is down
            await asyncio.sleep(PAUSE)


def publish(url: str, ledger: Path, number: int, seed: int, over: Event) -> None:
    """A process's whole life."""

    async def run() -> None:
        publisher = Publisher(ledger, number, seed)
        async with asyncio.TaskGroup() as group:
            for role in publisher.roles():
                group.create_task(_again_and_again(role, url, over))

    asyncio.run(run())
