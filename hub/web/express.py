"""The express way of small writes: from the parser to their door, and the answer back.

For each request aiohttp makes a request, a writer, a task and a response: several times
the work of storing an event. A small POST on a connection that stays open, whose path has
been asked for before, is handed to its door as it came from the parser, and the answer is
written to the connection. Owns which requests these are. Whatever is special about one goes
aiohttp's way, and gets the same answer there: an error before anything is under way, too.

Must not know what a door does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import HttpVersion11, web

from hub.engines.base import Receipt
from hub.web.bodies import SMALL
from hub.web.busypoll import BusyPoll
from hub.web.context import Context
from hub.web.created import created, whole
from hub.web.errors import failed

WAYS = 4096
"""Paths whose doors are not looked for again at each request."""

WAY_LENGTH = 256
"""Characters of a path that is worth remembering."""

_TARGET = re.compile(r"[!-\"$-~]+").fullmatch  # what the parser lets through as it stands


class Sent(NamedTuple):
    """A request, as its door needs it."""

    match: Mapping[str, str]  # what the route found in the path
    path: str  # as it was sent, without its query
    query: str
    content_type: str
    body: bytes


class Stored(NamedTuple):
    """What is under way, and what is told when it is there."""

    receipt: asyncio.Future[Receipt]
    body: Callable[[Receipt], bytes]
    content_type: str  # as `created` knows it


Door = Callable[[Context, Sent], Stored | None]
"""Begins to store what was sent. None, or any error: it goes aiohttp's way."""


class Ways:
    """The ways to doors that requests came lately: the same few come again and again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], web.UrlMappingMatchInfo] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, method: str, path: str) -> web.UrlMappingMatchInfo | None:
        """What the router found before."""
        return self._known.get((method, path))

    def remember(self, method: str, path: str, found: web.UrlMappingMatchInfo) -> None:
        """Keep what the router has found."""
        if len(path) > WAY_LENGTH:
            return
        if len(self._known) >= WAYS:
            self._known.clear()
        self._known[method, path] = found


class Express:
    """The doors that small writes are handed to, by the handlers that the router finds."""

    def __init__(self, hub: Context, ways: Ways, doors: Mapping[Any, Door]) -> None:
        self.ways = ways
        self.polling = BusyPoll()
        self._hub = hub
        self._doors = doors

    def take(self, message: Any, content: Any) -> Stored | None:
        """Begin with a request whose body has come; None if it is nothing for this way.

        `message` and `content` are those of aiohttp's parser, and stay as they are.
        """
        if message.should_close or message.version != HttpVersion11:
            return None
        headers = message.headers
        if "Origin" in headers or "Expect" in headers or "Content-Encoding" in headers:
            return None
        if content.exception() is not None:
            return None
        body = b"".join(getattr(content, "_buffer", ()))  # of an empty one there is no buffer
        return self._hand_on(message.path, headers.get("Content-Type", ""), body)

    def take_again(self, target: str, content_type: str, body: bytes) -> Stored | None:
        """The same for a request that differs from one that was taken in these at most."""
        return self._hand_on(target, content_type, body) if _TARGET(target) else None

    def _hand_on(self, target: str, content_type: str, body: bytes) -> Stored | None:
        path, _, query = target.partition("?")
        way = self.ways.find("POST", path)
        door = self._doors.get(way.handler) if way else None
        if way is None or door is None or len(body) > SMALL:
            return None
        try:
            return door(self._hub, Sent(way, path, query, content_type, body))
        except Exception:
            return None  # said there

    def answer(self, path: str, stored: Stored) -> bytes:
        """The answer when the receipt is there, or an error is."""
        try:
            return created(stored.body(stored.receipt.result()), stored.content_type)
        except Exception as error:
            response, code = failed("POST", path, error)
            self._hub.metrics.failed(code)
            return whole(response)


EXPRESS: web.AppKey[Express] = web.AppKey("express", Express)
