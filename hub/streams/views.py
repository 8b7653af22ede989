"""What can be read as a stream: a log, a derived stream, a part of the global order.

Owns how each is read between two numbers, forwards and backwards, and how one
waits for more. Numbers are revisions for a log or a derived stream, positions
for the rest. Must not know HTTP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence

from msgspec import Struct

from hub.document import documents
from hub.engines.base import Engine, Scope, Slice
from hub.errors import UnknownStream
from hub.formats import NDJSON, split_rows
from hub.lines import line_breaks, reversed_lines
from hub.matcher import Matcher
from hub.streams.waiting import Waiting

MEMBERS = 1000
"""Events of a derived stream that are read at once, unless they are large."""


class Piece(Struct):
    """Some documents, without LF, and the number of each; the bytes of all.

    Every number up to `end` has been looked at.
    """

    documents: list[bytes]
    numbers: Sequence[int]
    end: int
    size: int


class View(ABC):
    """A sequence of documents with rising numbers.

    `name` is what the client calls it; views with the same `key` are the same.
    """

    def __init__(self, name: str, engine: Engine, waiting: Waiting, *told: object) -> None:
        self.name = name
        self.key = repr((type(self).__name__, name, *told))
        self._engine = engine
        self._waiting = waiting

    @abstractmethod
    def head(self) -> int:
        """The last number that there may be; of one that lags, `settle` tells more."""

    @abstractmethod
    async def settle(self) -> int:
        """The last number, of a view in which everything acknowledged is seen."""

    @abstractmethod
    def slices(
        self, low: int, high: int, *, backwards: bool = False
    ) -> AsyncGenerator[Slice, None]:
        """The documents from number `low` to `high`, which exist; in backwards order if asked.

        Perhaps none at a time. Close it, or read it to its end.
        """

    @abstractmethod
    async def wait(self, after: int) -> None:
        """Wait until `head` may have passed a number, or the hub closes. Cancelling is safe."""

    async def read(self, after: int, limit: int, size: int) -> Piece:
        """About `limit` documents behind a number, or `size` bytes of them; fewer at the end."""
        high = await self.settle()
        numbers: list[int] = []
        piece = Piece([], numbers, max(after, high), 0)
        if after >= high:
            return piece
        reading = self.slices(after + 1, high)
        try:
            async for part in reading:
                lines = part.lines.split(b"\n")
                lines.pop()
                piece.documents += lines
                piece.size += len(part.lines) - len(lines)
                numbers += part.numbers
                if len(numbers) >= limit or piece.size >= size:
                    piece.end = numbers[-1]
                    break
        finally:
            await reading.aclose()
        return piece


class LogView(View):
    """One log, by revision; with a matcher, the events of it that match."""

    def __init__(
        self, name: str, engine: Engine, waiting: Waiting, matcher: Matcher | None = None
    ) -> None:
        super().__init__(name, engine, waiting, matcher and matcher.text)
        self._matcher = matcher
        self._next = (1, 0)  # an event that was come to, and its place: who reads on asks for it

    def head(self) -> int:
        log = self._engine.find(self.name)
        return log.version if log else 0

    async def _place(self, revision: int) -> int:
        known, place = self._next
        if revision == known:
            return place
        return 0 if revision <= 1 else await self._engine.place(self.name, revision)

    async def settle(self) -> int:
        await self._engine.look(self.name)
        return self.head()

    async def span(self, low: int, high: int) -> tuple[int, int] | None:
        """The places that hold just the documents from `low` to `high`, if the file does."""
        log = self._engine.find(self.name)
        if log is None or log.format != NDJSON or self._matcher is not None:
            return None
        return await self._places(low, high)

    async def _places(self, low: int, high: int) -> tuple[int, int]:
        log = self._engine.find(self.name)
        assert log is not None  # noqa: S101 - its events have numbers
        start = await self._place(low)
        if high >= log.version:
            return start, log.length
        return start, await self._engine.place(self.name, high + 1)

    async def slices(
        self, low: int, high: int, *, backwards: bool = False
    ) -> AsyncGenerator[Slice, None]:
        if low > high:
            return
        end, last = (log.length, log.version) if (log := self._engine.find(self.name)) else (0, 0)
        if high < last:
            end = await self._engine.place(self.name, high + 1)
        start = await self._place(low)
        while start < end:
            if backwards:
                lines = await self._engine.read_back(self.name, start, end)
                end -= len(lines)
                revisions = range(high - line_breaks(lines) + 1, high + 1)
                high = revisions[0] - 1
            else:
                lines = await self._engine.read(self.name, start, end)
                start += len(lines)
                revisions = range(low, low + line_breaks(lines))
                low += len(revisions)
                self._next = (low, start)
            text = self._documents(lines, revisions[0])
            if backwards:
                revisions, text = revisions[::-1], reversed_lines(text)
            yield _matching(Slice(revisions, text), self._matcher)

    def _documents(self, lines: bytes, revision: int) -> bytes:
        log = self._engine.find(self.name)
        if log is not None and log.format == NDJSON:
            return lines
        return documents(split_rows(lines), self.name, revision, keys=self._engine.keys)

    async def wait(self, after: int) -> None:
        if self.head() <= after:
            await self._waiting.for_log(self.name)


class DerivedView(View):
    """A derived stream, by its own revisions; with a matcher, the events of it that match.

    Once that is removed, reading raises `UnknownStream`, also if another has its name by then.
    """

    def __init__(
        self, name: str, engine: Engine, waiting: Waiting, matcher: Matcher | None = None
    ) -> None:
        self._definition = engine.derived[name]
        super().__init__(name, engine, waiting, self._definition.text, matcher and matcher.text)
        self._matcher = matcher
        self._version = 0
        self._seen = 0  # the position up to which `_version` tells

    def head(self) -> int:
        # It is not known without a look whether what came since belongs to it.
        return self._version + (self._engine.head > self._seen)

    async def settle(self) -> int:
        await self._engine.settle()
        seen = self._engine.head
        version = await self._engine.version_of(self.name)
        self._check()
        self._version, self._seen = version, seen
        return version

    def _check(self) -> None:
        if self._engine.derived.get(self.name) is not self._definition:
            raise UnknownStream(f"derived stream {self.name!r} has been removed")

    async def slices(
        self, low: int, high: int, *, backwards: bool = False
    ) -> AsyncGenerator[Slice, None]:
        revisions = range(high, low - 1, -1) if backwards else range(low, high + 1)
        while revisions:
            found = await self._engine.read_derived(self.name, revisions[:MEMBERS])
            self._check()
            read, revisions = revisions[: len(found)], revisions[len(found) :]
            yield _matching(Slice(read, b"".join(found)), self._matcher)

    async def wait(self, after: int) -> None:
        if self.head() <= after:
            await self._waiting.for_order()


class OrderView(View):
    """A part of the global order, by position."""

    def __init__(self, name: str, engine: Engine, waiting: Waiting, scope: Scope) -> None:
        selector, matcher = scope.selector, scope.matcher
        told = (selector and selector.text, scope.streams, matcher and matcher.text)
        super().__init__(name, engine, waiting, *told)
        self._scope = scope

    def scope(self) -> Scope:
        """What of the order is meant, now."""
        return self._scope

    def head(self) -> int:
        return self._engine.head

    async def settle(self) -> int:
        return await self._engine.settle()

    async def slices(
        self, low: int, high: int, *, backwards: bool = False
    ) -> AsyncGenerator[Slice, None]:
        cursor = self._engine.cursor(self.scope(), low, high, backwards=backwards)
        while (part := await self._engine.read_order(cursor)) is not None:
            yield part

    async def wait(self, after: int) -> None:
        if self._engine.head <= after:
            await self._waiting.for_order()


class CategoryView(OrderView):
    """Every stream whose name begins with a category's: new ones come to it."""

    def __init__(
        self,
        category: str,
        engine: Engine,
        waiting: Waiting,
        names: Callable[[str], Sequence[str]],
        matcher: Matcher | None = None,
    ) -> None:
        super().__init__(f"category/{category}", engine, waiting, Scope(matcher=matcher))
        self._category = category
        self._names = names

    def scope(self) -> Scope:
        return Scope(streams=self._names(self._category), matcher=self._scope.matcher)


def _matching(part: Slice, matcher: Matcher | None) -> Slice:
    """What of some documents matches."""
    if matcher is None:
        return part
    matches = matcher.matches_document
    found = [each for each in part.each() if matches(each[1])]
    return Slice([at for at, _ in found], b"".join([line + b"\n" for _, line in found]))
