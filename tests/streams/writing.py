"""What tests write to streams, and read of them."""

from __future__ import annotations

import json

from hub.commit import parse_commit
from hub.document import KEYS
from hub.engines.base import Receipt
from hub.engines.files import FilesEngine
from hub.event import Limits
from hub.formats import Batch
from hub.streams import Streams, View

PATIENCE = 10.0
"""Seconds after which what a test waits for is taken to never come."""


class Writing:
    """Commits events that are no more than a type of one letter each."""

    def __init__(self, engine: FilesEngine, streams: Streams) -> None:
        self._engine = engine
        self._streams = streams

    async def commit(self, stream: str, types: str, expected: int | None = None) -> Receipt:
        body = {"events": [{"type": each} for each in types], "expectedVersion": expected}
        commit = parse_commit(json.dumps(body).encode(), KEYS, Limits(), 10**6)
        return await self._streams.commit(stream, commit)

    async def post(self, channel: str, types: str) -> None:
        for each in types:
            await self._engine.append(channel, Batch.of_one("", each, b"text"))


async def numbered(
    view: View, low: int = 1, high: int | None = None, *, backwards: bool = False
) -> list[tuple[int, str]]:
    """The number and the type of each document between two numbers."""
    last = await view.settle()
    found = []
    async for part in view.slices(low, last if high is None else high, backwards=backwards):
        for number, line in part.each():
            found.append((number, json.loads(line)["payload"]["type"]))
    return found


def types(found: list[tuple[int, str]]) -> str:
    """The types alone."""
    return "".join(kind for _, kind in found)
