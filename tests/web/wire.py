"""The hub as it looks from a socket: what no well-behaved client sends, and what goes by live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import msgspec
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict

from hub import sse
from hub.engines.files import FilesEngine
from hub.formats import split_rows
from hub.options import Options
from hub.sse import Message, Parser
from hub.web.app import make_app
from tests.conftest import Client

TSV = {"Content-Type": "text/tab-separated-values"}
NDJSON = {"Content-Type": "application/x-ndjson"}

AS_NDJSON = {"Accept": NDJSON["Content-Type"]}
PACKED = {"Accept-Encoding": "gzip"}
NOT_PACKED = {"Accept-Encoding": "identity"}

PATIENCE = 20.0
"""Seconds after which what a test waits for is taken to never come."""


@asynccontextmanager
async def serving(events: Path) -> AsyncIterator[Client]:
    """A hub of its own, where a fixture does not do: in an event loop that the test starts."""
    async with TestClient(TestServer(make_app(Options(events=events), FilesEngine(events)))) as hub:
        yield hub


class Answer:
    """An HTTP response as bytes: `head` and `body` as they came."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = self.head.decode().split("\r\n")
        self.version, status, _ = first.split(" ", 2)
        self.status = int(status)
        self.headers: CIMultiDict[str] = CIMultiDict()
        for line in lines:
            name, _, value = line.partition(": ")
            self.headers.add(name, value)


async def exchange(client: Client, request: bytes) -> Answer:
    """Send bytes, and read until the hub closes: ask it to with `Connection: close`."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        writer.write(request)
        await writer.drain()
        return Answer(await asyncio.wait_for(reader.read(-1), PATIENCE))
    finally:
        writer.close()


async def get(
    hub: Client, path: str = "/a-channel", **headers: str
) -> tuple[ClientResponse, bytes]:
    """Read, with headers named in Python's way; what is not asked for is not compressed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with hub.get(path, headers={**NOT_PACKED, **named}) as answer:
        return answer, await answer.read()


class ErrorBody(msgspec.Struct, forbid_unknown_fields=True):
    """The hub's one form of an error."""

    error: str
    code: str


async def error_of(answer: ClientResponse) -> ErrorBody:
    """The error in an answer, after a look at its form."""
    assert answer.content_type == "application/json"
    body = msgspec.json.decode(await answer.read(), type=ErrorBody)
    assert body.error
    assert "Traceback" not in body.error
    assert body.code.replace("_", "").isalnum()
    return body


class Subscription:
    """An open subscription: `head` is what came before the first event."""

    def __init__(self, answer: ClientResponse) -> None:
        self.answer = answer
        self.headers = answer.headers
        self.raw = b""
        self.parser = Parser()
        self._messages: list[Message] = []

    async def more(self) -> bool:
        """Wait for bytes; return False at the end of the stream."""
        piece = await asyncio.wait_for(self.answer.content.readany(), PATIENCE)
        self.raw += piece
        self._messages += self.parser.feed(piece)
        return bool(piece)

    async def take(self, count: int) -> list[Message]:
        """The next messages, as many as asked for."""
        while len(self._messages) < count:
            assert await self.more(), f"the stream ended after {self.raw!r}"
        taken, self._messages = self._messages[:count], self._messages[count:]
        return taken

    async def until_data(self, data: str) -> list[Message]:
        """All messages up to the first with this data."""
        taken: list[Message] = []
        while not taken or taken[-1].data != data:
            taken += await self.take(1)
        return taken

    async def rest(self) -> list[Message]:
        """All messages up to the end of the stream."""
        while await self.more():
            pass
        taken, self._messages = self._messages, []
        return taken


@asynccontextmanager
async def subscribe(
    client: Client, path: str, last_event_id: str | None = None, **headers: str
) -> AsyncIterator[Subscription]:
    """Subscribe; on entry the hub has answered and the head has been read."""
    headers["Accept"] = sse.CONTENT_TYPE
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    async with client.get(path, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == sse.CONTENT_TYPE
        subscription = Subscription(answer)
        while sse.HEARTBEAT not in subscription.raw:
            assert await subscription.more()
        yield subscription


async def eventually(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)


async def post(client: Client, path: str, data: str | bytes = b"data") -> str:
    """Post one event; return its id."""
    async with client.post(path, data=data) as answer:
        assert answer.status == 201, await answer.text()
        return await answer.text()


async def post_batch(client: Client, body: bytes, headers: dict[str, str], path: str) -> object:
    """Post a batch that is accepted; return what the hub says."""
    async with client.post(path, data=BytesIO(body), headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return await answer.json()


async def refused(answer: ClientResponse, status: int, code: str, *words: str) -> None:
    """Check that an answer is this error, and that its sentence has these words."""
    error = await error_of(answer)
    assert (answer.status, error.code) == (status, code)
    for word in words:
        assert word in error.error


def rows(events: Path, name: str = "a-channel") -> list[list[bytes]]:
    """What stands in a channel's file."""
    path = events / f"{name}.tsv"
    return split_rows(path.read_bytes()) if path.exists() else []


def append_by_hand(events: Path, lines: bytes) -> None:
    """Write to a channel's file behind the hub's back."""
    events.mkdir(exist_ok=True)
    with open(events / "a-channel.tsv", "ab") as file:
        file.write(lines)
