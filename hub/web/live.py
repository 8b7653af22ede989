"""Streams as subscriptions: what is read of a stream, then what is added to it.

Owns where a subscription begins, and its life. On the wire it is as for channels
(`events`).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from hub import sse
from hub.errors import InvalidRequest
from hub.event import START
from hub.streams import View
from hub.subscription import SLOW_BLOCK
from hub.web.context import HUB
from hub.web.events import HEADERS, EventStream, turn_away
from hub.web.selection import cursor_of
from hub.window import Window

_DIGITS = 18


def is_wanted(request: web.Request) -> bool:
    """Whether a read is to be a subscription."""
    return request.method == "GET" and sse.CONTENT_TYPE in request.headers.get("Accept", "")


async def subscribe(
    request: web.Request, view: View, window: Window, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send what the read selects, then stay and send what is added."""
    hub = request.app[HUB]
    if window != Window(window.start):
        raise InvalidRequest(
            "'until', 'forwards' and 'backwards' do not go with a subscription: it has no end"
        )
    head = await view.settle()
    cursor, _ = cursor_of(request)
    place, resumed_from = _begin(window, head, cursor)
    # Only now: while the head was looked for, others may have come.
    full = len(hub.subscriptions) >= hub.options.max_subscriptions
    if full or hub.subscriptions.closing:
        return await turn_away(request, hub)
    with hub.subscriptions.counted():
        response = EventStream(
            headers={
                **HEADERS,
                "x-event-store-stream": view.name,
                "x-event-store-version": str(head),
                **headers,
            }
        )
        response.force_close()
        if resumed_from is not None:
            response.headers["Last-Event-ID"] = resumed_from
        writer = await response.prepare(request)
        begin = sse.retry(hub.options.retry) + sse.HEARTBEAT
        await response.write(begin + sse.RESET if resumed_from == "" else begin)
        response.headers.clear()  # sent: not to be held for as long as the subscription lasts
        transport = request.transport
        if writer is not None and transport is not None:
            transport.set_write_buffer_limits(SLOW_BLOCK)
            await hub.streams.feed.add(view, place, transport, writer.drain).run()
    return response


def _begin(window: Window, head: int, cursor: str | None) -> tuple[int, str | None]:
    """The number to begin behind, and the one resumed from; that is empty if it is unknown."""
    begin = window.bounds(head).low - 1
    if cursor is None or cursor in START:
        return begin, None
    known = cursor.isascii() and cursor.isdigit() and len(cursor) <= _DIGITS
    if not known or int(cursor) > head:
        return begin, ""
    # What is counted from the end is another place now than it was when this reader began.
    fixed = isinstance(window.start, int) and window.start > 0
    return max(int(cursor), begin) if fixed else int(cursor), str(int(cursor))
