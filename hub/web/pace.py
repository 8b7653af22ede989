"""Bodies of requests that come too slowly: each would hold what it has sent without an end.

Owns how fast a body has to be. Only the time counts in which the hub waits for it,
so that back-pressure is nobody's fault. Must not know what is in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from aiohttp import StreamReader, web
from msgspec import Struct

from hub.errors import TimedOut

BODY_RATE = 100
"""Bytes a second: below what any network carries, above what ties up a connection for nothing."""

LOOKS = 6
"""In the time that a body may be slow."""

_SLICE = 1024  # connections that are looked at before other work has its turn


logger = logging.getLogger(__name__)


class _Slow(Struct):
    """A body that did not bring enough at the last looks."""

    bytes: int  # that it had brought then
    looks: int


class Pace:
    """Ends bodies that are slow for `seconds`. `connections` are those of the server."""

    def __init__(
        self, connections: Callable[[], Sequence[web.RequestHandler]], seconds: float
    ) -> None:
        self._connections = connections
        self._seconds = seconds
        self._slow: dict[StreamReader, _Slow] = {}

    async def run(self) -> None:
        """Look again and again, until it is cancelled, which is safe at any time."""
        while True:
            await asyncio.sleep(self._seconds / LOOKS)
            try:
                await self._look()
            except Exception:  # one look that fails must not be the last
                logger.exception("the pace of bodies could not be looked at")

    async def _look(self) -> None:
        before, self._slow = self._slow, {}
        for at, each in enumerate(self._connections(), 1):
            body = _unfinished(each)
            if body is not None:
                slow = before.get(body)
                if _is_awaited(body, slow) and not self._is_in_time(body, slow):
                    end(each, body, self._seconds)
            if at % _SLICE == 0:
                await asyncio.sleep(0)

    def _is_in_time(self, body: StreamReader, slow: _Slow | None) -> bool:
        enough = BODY_RATE * self._seconds / LOOKS
        if slow is None or body.total_bytes - slow.bytes >= enough:
            slow = _Slow(body.total_bytes, -1)
        self._slow[body] = _Slow(body.total_bytes, slow.looks + 1)
        return slow.looks + 1 < LOOKS


def _unfinished(connection: web.RequestHandler) -> StreamReader | None:
    """The body of the request that has a door just now, if not all of it has come."""
    request = connection._current_request
    return None if request is None or request.content.is_eof() else request.content


def _is_awaited(body: StreamReader, slow: _Slow | None) -> bool:
    """Whether a door waits for it: it does just now, or did and has not got to what came since.

    A hub that is busy has a byte of each of many bodies whenever it looks.
    """
    if body._waiter is not None:
        return True
    return slow is not None and body._size < BODY_RATE


def end(connection: web.RequestHandler, body: StreamReader, seconds: float) -> None:
    """Let the door that waits answer 408, and close the connection then."""
    body.set_exception(
        TimedOut(
            f"the body brought less than {BODY_RATE} bytes a second for {seconds:g} s, "
            "and nothing of it was stored: send it when it is whole"
        )
    )
    body.feed_eof()  # nobody waits for what is missing
    connection.close()
