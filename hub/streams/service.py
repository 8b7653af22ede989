"""The streams of one hub: finds, commits, defines, closes and lists them.

Must not know HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from msgspec import Struct

from hub.commit import Commit
from hub.engines.base import Engine, LogState, Receipt, Scope
from hub.errors import Conflict, InvalidName, InvalidRequest, NameTaken, UnknownStream
from hub.event import check_stream_name, is_stream_name, time_of
from hub.formats import NDJSON
from hub.matcher import Matcher
from hub.selector import Selector
from hub.streams.categories import Categories
from hub.streams.feed import Feed
from hub.streams.framing import Framer
from hub.streams.views import CategoryView, DerivedView, LogView, OrderView, View
from hub.streams.waiting import Waiting

ALL = "_all"
"""The stream of everything, in global order."""


LISTED_AT_ONCE = 100
"""Streams that a list looks at before others get their turn."""


class StreamInfo(Struct):
    """What a list of streams tells of one."""

    stream: str
    version: int
    closed: bool
    format: str
    derived: bool
    metadata: dict[str, object]
    """Of a log: its `bytes`, its `lastId`, and its `lastTime` in milliseconds: that of this id,
    or when the log was written last."""


class Streams:
    """What can be done with streams."""

    def __init__(self, engine: Engine, heartbeat: float) -> None:
        self._engine = engine
        self._waiting = Waiting(engine)
        self._categories = Categories(engine)
        self.feed = Feed(Framer(engine.keys), heartbeat)
        self._defining = asyncio.Lock()  # whoever defines waits for what others define

    def close(self) -> None:
        """Wake all who wait: the hub closes."""
        self.feed.close()
        self._waiting.close()

    async def view(self, name: str, matcher: Matcher | None = None) -> View:
        """A stream by name, `_all` among them. Raises `UnknownStream`, `InvalidName`."""
        if name == ALL:
            return self.order(ALL, Scope(matcher=matcher))
        check_stream_name(name)
        if name in self._engine.derived:
            return DerivedView(name, self._engine, self._waiting, matcher)
        await self._engine.look(name)
        if self._engine.find(name) is None:
            raise UnknownStream(f"there is no stream {name!r}: a commit or a PUT makes it")
        return LogView(name, self._engine, self._waiting, matcher)

    def order(self, name: str, scope: Scope) -> OrderView:
        """A part of the global order."""
        return OrderView(name, self._engine, self._waiting, scope)

    def join(self, name: str, selector: Selector, matcher: Matcher | None) -> OrderView:
        """What a selector means, in global order."""
        return self.order(name, Scope(selector, matcher=matcher))

    def category(self, category: str, matcher: Matcher | None) -> OrderView:
        """Every stream `category-…` or `category/…`, in global order."""
        if not is_stream_name(category):
            raise InvalidName(f"{category!r} is not the beginning of a stream's name")
        return CategoryView(category, self._engine, self._waiting, self._categories.names, matcher)

    def commit(self, name: str, commit: Commit) -> Awaitable[Receipt]:
        """Commit events; as `Engine.commit`, and `Conflict` for a derived stream."""
        self._check_log(name, "it takes no events of its own")
        return self._engine.commit(name, commit.draft, commit.expected, commit.condition)

    def _check_log(self, name: str, reason: str) -> None:
        if name == ALL:
            raise InvalidName(f"{ALL!r} is every event of every log: it can only be read")
        check_stream_name(name)
        if name in self._engine.derived:
            raise Conflict(f"stream {name!r} is derived: {reason}")

    async def put(self, name: str, matcher: Matcher) -> tuple[int, bool]:
        """Define a derived stream, or make an empty log; its version, and whether it is new.

        Raises `NameTaken`.
        """
        check_stream_name(name)
        engine = self._engine
        async with self._defining:
            known = engine.derived.get(name)
            await engine.look(name)
            log = engine.find(name)
            if known is not None:
                if known != matcher:
                    raise NameTaken(f"stream {name!r} is derived already, by {known.text}")
            elif matcher.stream_name == name:
                if log is not None:
                    return log.version, False
                return 0, await engine.make(name, NDJSON)
            elif log is not None:
                raise NameTaken(f"stream {name!r} is a log: it cannot be derived")
            elif matcher.streams is not None and name in matcher.streams:
                raise InvalidRequest(
                    f"stream {name!r} cannot be derived from itself: it has no events of its own"
                )
            else:
                await engine.derive(name, matcher)
        return await engine.version_of(name), known is None

    async def remove(self, name: str) -> None:
        """Take a derived stream away: for who follows it, it ends.

        Raises `Conflict` for a log, `UnknownStream`.
        """
        check_stream_name(name)
        async with self._defining:
            if name in self._engine.derived:
                await self._engine.underive(name)
                self.feed.forget()
                self._waiting.look_again()
                return
        await self._engine.look(name)
        if self._engine.find(name) is None:
            raise UnknownStream(f"there is no stream {name!r}")
        raise Conflict(f"stream {name!r} is a log: events are never removed")

    async def seal(self, name: str) -> LogState:
        """Let a log take no more events, for good."""
        self._check_log(name, "it cannot be closed")
        await self._engine.look(name)
        log = self._engine.find(name)
        if log is None:
            raise UnknownStream(f"there is no stream {name!r}")
        async with self._defining:
            if not log.closed:
                await self._engine.seal(name)
        return log

    async def list(self, prefix: str, after: str, limit: int) -> list[StreamInfo]:
        """The first `limit` streams behind a name, in the order of their names."""
        engine = self._engine
        listed: list[StreamInfo] = []
        while names := engine.names(prefix, after, min(limit - len(listed), LISTED_AT_ONCE)):
            found = [await self._info(name) for name in names]
            listed += [each for each in found if each is not None]
            after = names[-1]
            await asyncio.sleep(0)  # others must not wait for a long list
        untold = [each for each in listed if each.metadata.get("lastTime", 0) is None]
        written = await engine.written([each.stream for each in untold if each.version])
        for each in untold:
            each.metadata["lastTime"] = written.get(each.stream)
        return listed

    async def _info(self, name: str) -> StreamInfo | None:
        """None if it has been removed meanwhile."""
        if name in self._engine.derived:
            with suppress(UnknownStream):
                version = await self._engine.version_of(name)
                return StreamInfo(name, version, False, NDJSON, True, {})
        log = self._engine.find(name)
        if log is None:
            return None
        moment = time_of(log.last_id)
        metadata = {
            "bytes": log.length,
            "lastId": log.last_id,
            "lastTime": None if moment is None else moment // 1000,
        }
        return StreamInfo(name, log.version, log.closed, log.format, False, metadata)
