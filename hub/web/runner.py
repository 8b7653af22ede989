"""Runs the application: aiohttp's runner, but what is no HTTP gets the hub's form of an error.

Owns what aiohttp leaves no other way to choose: the class of its connections.
It answers what it cannot parse as text, and logs a traceback of it.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from aiohttp import web

from hub.web.errors import answer

logger = logging.getLogger(__name__)


class Runner(web.AppRunner):
    """An `AppRunner` whose handlers are cancelled when their client goes."""

    def __init__(self, app: web.Application, **settings: Any) -> None:
        # Cancelling ends a subscription, whose handler would never look by itself.
        super().__init__(app, **{"handler_cancellation": True, **settings})

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is already on its way: the connection ends")
        phrase = HTTPStatus(status).phrase
        if status >= 500:
            logger.error("%s: %r", phrase, exc, exc_info=exc)
            reason = "the hub made a mistake; its log says more"
        else:
            reason = (message or str(exc)).partition("\n")[0].strip().rstrip(":")
            reason = reason.partition(": bytearray(")[0]
            reason = f"this cannot be read as an HTTP request: {reason}"
        response = answer(status, reason, phrase.lower().replace(" ", "_"))
        response.force_close()
        return response
