"""Streams in memory, and what tests ask of consumers over and over."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate

import msgspec

from hub.consumers.consumer import Consumer
from hub.consumers.source import Piece
from hub.errors import UnknownStream

PATIENCE = 90.0
"""Seconds after which what a test waits for is taken to never come."""


def document(number: int, payload: object, stream: str = "stream-1") -> bytes:
    """An event as a view gives it."""
    return msgspec.json.encode(
        {"stream": stream, "payload": payload, "metadata": {"id": f"id-{number}"}}
    )


class MemoryView:
    """A stream that is a list. `numbers` may have gaps, as those of a category have."""

    def __init__(self, name: str = "stream-1") -> None:
        self.name = name
        self.documents: list[bytes] = []
        self.numbers: list[int] = []
        self.looked_at = 0  # the last number there is, perhaps of another stream
        self.failing: Exception | None = None
        self.reads = 0
        self._more = asyncio.Event()

    def add(self, *payloads: object, at: int | None = None) -> None:
        """Append events, the first of them with number `at`."""
        number = self.looked_at + 1 if at is None else at
        for each in payloads:
            self.documents.append(document(number, each, self.name))
            self.numbers.append(number)
            number += 1
        self.pass_over(number - 1)

    def pass_over(self, number: int) -> None:
        """Say that there are events up to a number, which belong to other streams."""
        self.looked_at = max(self.looked_at, number)
        self._more.set()
        self._more = asyncio.Event()

    def head(self) -> int:
        return self.looked_at

    async def settle(self) -> int:
        return self.looked_at

    async def read(self, after: int, limit: int, size: int) -> Piece:
        self.reads += 1
        await asyncio.sleep(0)
        if self.failing is not None:
            raise self.failing
        wanted = [at for at, number in enumerate(self.numbers) if number > after]
        end = self.looked_at
        sizes = list(accumulate(len(self.documents[at]) for at in wanted))
        limit = min(limit, 1 + bisect_left(sizes, size))
        if len(wanted) > limit:
            wanted = wanted[:limit]
            end = self.numbers[wanted[-1]]
        documents = [self.documents[at] for at in wanted]
        numbers = [self.numbers[at] for at in wanted]
        return Piece(documents, numbers, end, sum(map(len, documents)))

    async def wait(self, after: int) -> None:
        while self.looked_at <= after:
            await self._more.wait()


class Memory:
    """The streams of a test: called with a name, it opens a view."""

    def __init__(self, *names: str) -> None:
        self.views = {name: MemoryView(name) for name in names or ("stream-1",)}

    def __getitem__(self, name: str) -> MemoryView:
        return self.views[name]

    async def __call__(self, name: str) -> MemoryView:
        if name not in self.views:
            raise UnknownStream(f"there is no stream {name!r}")
        return self.views[name]


async def until(consumer: Consumer, condition: Callable[[], object]) -> None:
    """Wait for changes of a consumer until a condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await consumer.change()


async def reached(consumer: Consumer, position: int) -> object:
    """Wait for a position; return the state that belongs to it."""
    await until(consumer, lambda: consumer.progress.position >= position)
    return msgspec.json.decode(consumer.progress.state)


async def halted(consumer: Consumer) -> str:
    """Wait until an error has stopped a consumer; return it."""
    await until(consumer, lambda: consumer.progress.error is not None)
    assert consumer.progress.error is not None
    return consumer.progress.error


def payloads(numbers: Sequence[int]) -> list[dict[str, int]]:
    """Events that carry a number each."""
    return [{"n": number} for number in numbers]
