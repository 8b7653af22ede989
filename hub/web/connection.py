"""A connection: aiohttp's, but small writes go their express way, and errors have the hub's form.

Owns which request of a connection is answered next, and by whom: one after the other. aiohttp
has its requests in a queue, and a task that waits for the next one. While the task waits and
nothing else is under way, a request is offered to `Express` first; the task is woken for the
others. One whose head has come before is offered without being parsed, if the parser holds
nothing of another. Must not know what is sent.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage

from hub.web.errors import answer
from hub.web.express import Express, Stored
from hub.web.heads import UNKNOWN, Head, framing

READ_AHEAD = 4
"""Requests of one connection that are held beside the one under way; then it is read no more."""

logger = logging.getLogger(__name__)


class Again(NamedTuple):
    """What is known of a request that has gone its express way, and may come again."""

    head: Head
    content_type: str


class Connection(web.RequestHandler):
    """What `Runner` makes of each client's socket."""

    __slots__ = ("_again", "_express", "_head", "_owed", "_under_way")

    def __init__(self, manager: web.Server, express: Express, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._max_msg_queue_size = READ_AHEAD
        self._msg_queue_resume_size = READ_AHEAD // 2
        self._express = express
        self._under_way = False  # a request is on its express way
        self._owed = 0  # bytes that the parser waits for; `UNKNOWN` for good once it is not known
        self._head: Head | None = None  # of the request that was parsed last, if it had one
        self._again: Again | None = None  # what need not be parsed again

    def data_received(self, data: bytes) -> None:
        """Parse what came; begin with the next request if none is under way."""
        waiter = self._waiter
        if waiter is None or waiter.done():  # a request is on aiohttp's way
            self._parse(data)
            return
        again = self._again
        if again is not None and self._is_between() and self._begin_again(again, data):
            return
        self._waiter = None  # so that nobody is woken yet
        self._parse(data)
        self._waiter = waiter
        if self._messages and not self._under_way:
            self._go_on(waiter)

    def _is_between(self) -> bool:
        """Whether nothing is under way, waits, or has come in part."""
        held = self._owed or self._under_way or self._messages or self._paused
        return not (held or self._logging_enabled or self._close or self._force_close)

    def _begin_again(self, again: Again, data: bytes) -> bool:
        """Begin with a request whose head has been parsed before; False if it has not."""
        read = again.head.read(data)
        if read is None:
            return False
        target, body = read
        stored = self._express.take_again(target, again.content_type, body)
        if stored is None:
            return False
        self._begin(target, stored)
        return True

    def _parse(self, data: bytes) -> None:
        """Hand on what came to aiohttp's parser, and know how much it waits for then."""
        super().data_received(data)
        self._head = None
        if self._owed == 0 and data:
            self._owed, self._head = framing(data)
        if self._owed != UNKNOWN:
            self._owed = max(self._owed - len(data), UNKNOWN)

    def _go_on(self, waiter: asyncio.Future[None]) -> None:
        """Begin with the first request that waits."""
        message, content = self._messages[0]
        # aiohttp's way drains, and writes to its access log.
        usual = content.is_eof() and not (self._paused or self._logging_enabled)
        if usual and isinstance(message, RawRequestMessage) and message.method == "POST":
            stored = self._express.take(message, content)
            if stored is not None:
                self._begin(message.path, stored)
                self._pop(message)
                return
        waiter.set_result(None)

    def _begin(self, path: str, stored: Stored) -> None:
        self._under_way = self._request_in_progress = True
        self._express.polling.asked()
        stored.receipt.add_done_callback(partial(self._end, path, stored))
        assert self._manager is not None  # noqa: S101 - so it is while it is open
        self._manager.requests_count += 1

    def _pop(self, message: RawRequestMessage) -> None:
        """Take the first request that waits, which has gone its express way, out of the queue."""
        if self._head is not None and len(self._messages) == 1:
            self._again = Again(self._head, message.headers.get("Content-Type", ""))
        assert self._parser is not None  # noqa: S101
        self._messages.popleft()
        self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()

    def _end(self, path: str, stored: Stored, _: object) -> None:
        self._under_way = self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)  # the hub is closing
        transport = self.transport
        if stored.receipt.cancelled():  # the hub closes, and waits no longer
            if transport is not None:
                transport.abort()
            return
        data = self._express.answer(path, stored)
        if transport is None or transport.is_closing():  # the client has gone
            return
        transport.write(data)
        self._express.polling.answered(self._loop)
        if self._close or self._force_close:
            transport.close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        waiter = self._waiter
        if self._messages and waiter is not None and not waiter.done():
            self._go_on(waiter)

    def _process_keepalive(self) -> None:
        """Close the connection if it has been idle for too long."""
        if self._under_way:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp cannot parse, or what a handler let through."""
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
