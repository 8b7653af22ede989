"""Runs the application: aiohttp's runner, but with limits, a memory, and errors in the hub's form.

Owns what aiohttp leaves no other way to choose: the class of its connections,
which answers what it cannot parse as text and logs a traceback of it; how many
there are, and how slow; and the way to a door, which is looked for again at each
request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from hub.options import BODY_SECONDS, CONNECTIONS, IDLE_SECONDS
from hub.web.connection import Connection
from hub.web.express import EXPRESS, Express, Ways
from hub.web.pace import Pace

logger = logging.getLogger(__name__)


class Runner(web.AppRunner):
    """An `AppRunner` whose handlers are cancelled when their client goes.

    Of more than `max_connections` the newest is closed at once; so is, after
    `idle_timeout` seconds, one without a whole head of its next request. A body that
    is slow for `body_timeout` seconds is answered with 408 (see `pace`).
    """

    def __init__(
        self,
        app: web.Application,
        *,
        max_connections: int = CONNECTIONS,
        idle_timeout: float = IDLE_SECONDS,
        body_timeout: float = BODY_SECONDS,
        **settings: Any,
    ) -> None:
        # Cancelling ends a subscription, whose handler would never look by itself.
        own = {"handler_cancellation": True, "keepalive_timeout": idle_timeout}
        super().__init__(app, **{**own, **settings})
        self._max_connections = max_connections
        self._body_timeout = body_timeout
        self._pacing: asyncio.Task[None] | None = None

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        express = self.app[EXPRESS]
        server.request_handler = _Finding(server.request_handler, express.ways).handle
        assert isinstance(server, _Server)  # noqa: S101 - it has just become one
        server.most = self._max_connections
        server.full = False
        server.express = express
        pace = Pace(lambda: server.connections, self._body_timeout)
        self._pacing = asyncio.get_running_loop().create_task(pace.run())
        return server

    async def cleanup(self) -> None:
        """Close everything."""
        if self._pacing is not None:
            self._pacing.cancel()
        await super().cleanup()


class _Finding:
    """Finds the door of a request, and handles it there, as aiohttp does but for what is known."""

    def __init__(
        self, find: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], ways: Ways
    ) -> None:
        self._find = find  # and handle the request
        self._ways = ways

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        assert isinstance(request, web.Request)  # noqa: S101 - the application makes them
        path = request.rel_url.raw_path
        if not path.startswith("/"):  # `*`, or nothing behind a host: no route would take it
            path = f"/{path}"
            request = request.clone(rel_url=f"/{request.rel_url}")
        known = self._ways.find(request.method, path)
        if known is None or "Expect" in request.headers:
            response = await self._find(request)
            self._ways.remember(request.method, path, request.match_info)
            return response
        request._match_info = known
        return await known.handler(request)


class _Server(web.Server):
    most: int  # connections
    full: bool  # and that has been said
    express: Express

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._connections) <= self.most:
            self.full = False
            return
        # Without an answer: a browser that gets an error would never subscribe again.
        transport.abort()
        if not self.full:  # said once
            self.full = True
            logger.warning("%d connections are open: more are closed at once", self.most)

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self.express, loop=self._loop, **self._kwargs)
