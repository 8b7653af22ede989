"""Documents as they are read, and as they are followed.

Owns `Documents`, what its headers tell, and how a follower goes on where it was: by
the number of the last document, which is unique. It must not know which URLs there are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

from msgspec import Struct

from hub.client.connection import Connection
from hub.client.following import Following, follow
from hub.client.iteration import Iteration
from hub.client.lines import documents_of, whole_lines
from hub.client.targets import Number, Target, window
from hub.client.values import Document
from hub.window import Window

CONDITION = "x-event-store-query-condition"
VERSION = "x-event-store-version"
NDJSON = "application/x-ndjson"


class Head(Struct):
    """What the headers of the last answer said."""

    version: int | None = None
    condition: str | None = None

    def take(self, headers: Mapping[str, str]) -> None:
        """Read them."""
        version = headers.get(VERSION, "")
        self.version = int(version) if version.isdigit() else None
        self.condition = headers.get(CONDITION)


class Documents(Iteration[Document]):
    """What a read of streams gives; see `Iteration`. Its attributes are known from the first
    document on, or from the end if there is none."""

    def __init__(self, chunks: AsyncGenerator[Sequence[Document], None], head: Head) -> None:
        super().__init__(chunks)
        self._head = head

    @property
    def version(self) -> int:
        """The last revision, or position, that there was at the time of the answer."""
        if self._head.version is None:
            raise RuntimeError("the version is not known yet: iterate first")
        return self._head.version

    @property
    def condition(self) -> str:
        """Of a query: the condition for a commit, that no more such events came."""
        if self._head.condition is None:
            raise RuntimeError("the condition is not known yet, or this is no query: iterate first")
        return self._head.condition


async def read_documents(
    connection: Connection, target: Target, head: Head
) -> AsyncGenerator[Sequence[Document], None]:
    """What a target has now."""
    headers = {"Accept": NDJSON}
    opened = connection.open("GET", target.path, params=target.params, headers=headers)
    async with opened as response:
        head.take(response.headers)
        chunks = whole_lines(connection.pieces(response))
        async with aclosing(chunks):
            async for chunk in chunks:
                yield documents_of(chunk)


async def follow_documents(
    connection: Connection,
    target: Target,
    start: Number | None,
    head: Head,
    following: Following,
    on_reset: Callable[[], object] | None,
) -> AsyncGenerator[Sequence[Document], None]:
    """What a target has, from `start` on, and what is added, for ever."""
    place = ""  # the number of the last document, as a cursor
    # What is counted from the end is another place later on: it is fixed at the first answer.
    moving = isinstance(start, str) or (start is not None and start < 0)

    async def begin() -> str:
        return place

    def take(headers: Mapping[str, str]) -> None:
        nonlocal place
        head.take(headers)
        if moving and not place and head.version is not None:
            place = str(Window(start).bounds(head.version).low - 1)

    path = target.path + window(from_=start)
    messages = follow(connection, path, target.params, begin, following, take)
    async with aclosing(messages):
        async for chunk in messages:
            if chunk is None:
                place = ""
                if on_reset is not None:
                    on_reset()
                continue
            lines = "\n".join([each.data for each in chunk]).encode()
            found = documents_of(lines)
            place = chunk[-1].id
            yield [
                Document(each.stream, each.payload, each.metadata, int(message.id))
                for each, message in zip(found, chunk, strict=True)
            ]
