"""The door of subscriptions: `Accept: text/event-stream`."""

from __future__ import annotations

from aiohttp import web

from hub import sse
from hub.engines.base import Selection
from hub.errors import InvalidRequest
from hub.event import START, fits_header, time_of
from hub.subscription import SLOW_BLOCK
from hub.web.context import HUB, Context
from hub.web.selection import cursor_of, number_of

BUSY_RETRY = 15
"""How many times the usual `retry:` a subscriber waits when the hub is full or closing."""

HEADERS = {
    "Content-Type": sse.CONTENT_TYPE,
    # no-transform: a proxy that compresses would hold events back.
    "Cache-Control": "no-cache, no-transform",
    "Vary": "Accept",
    "X-Accel-Buffering": "no",  # nginx
}
"""Those of every answer that is a subscription."""


class EventStream(web.StreamResponse):
    """A response without length or chunks: its end is the end of the connection.

    So one and the same bytes object can go to every subscriber.
    """

    _length_check = False


async def subscribe(request: web.Request, name: str) -> web.StreamResponse:
    """Send what the read selects, then stay and send what is added."""
    hub = request.app[HUB]
    for parameter in ("until", "limit"):
        if parameter in request.query:
            raise InvalidRequest(f"{parameter!r} does not go with a subscription: it has no end")
    place, resumed_from = await _begin(request, hub, name)
    # Only now: while the place was looked for, others may have come.
    full = len(hub.subscriptions) >= hub.options.max_subscriptions
    if full or hub.subscriptions.closing:
        return await turn_away(request, hub)
    response = EventStream(headers=HEADERS)
    response.force_close()
    if resumed_from is not None and fits_header(resumed_from):
        response.headers["Last-Event-ID"] = resumed_from
    writer = await response.prepare(request)
    head = sse.retry(hub.options.retry) + sse.HEARTBEAT
    await response.write(head + sse.RESET if resumed_from == "" else head)
    response.headers.clear()  # sent: not to be held for as long as the subscription lasts
    transport = request.transport
    if writer is not None and transport is not None:
        transport.set_write_buffer_limits(SLOW_BLOCK)
        subscription = hub.subscriptions.add(
            name, request.query.get("event"), place, transport, writer.drain
        )
        await subscription.run()
    return response


async def _begin(request: web.Request, hub: Context, name: str) -> tuple[int, str | None]:
    """The place to begin at and the id before it; that is empty if the cursor is unknown."""
    await hub.engine.look(name)
    log = hub.engine.find(name)
    cursor, seen = cursor_of(request)
    tail = number_of(request, "tail")
    if log is None:
        if cursor is None or cursor in START:
            return 0, None
        return 0, "" if seen or time_of(cursor) is None else cursor
    end, last_id = log.length, log.last_id
    if cursor in START or (cursor is None and tail is not None):
        if tail is None:
            return 0, None
        wanted = Selection(tail=tail, event=request.query.get("event"))
        return (await hub.engine.window(name, wanted, end)).start, None
    if cursor is None:
        return end, last_id or None  # an empty log has none
    place = await hub.engine.resume(name, cursor, end, seen=seen)
    if place is None:
        return 0, ""
    # A time to come is no event's id: who comes back with it would seem to know another log.
    return place, last_id if place == end and last_id else cursor


async def turn_away(request: web.Request, hub: Context) -> web.StreamResponse:
    """Let a subscriber come again later: the hub is full, or closes."""
    # Any status but 200 makes a browser give up for good.
    response = EventStream(headers=HEADERS)
    response.force_close()
    await response.prepare(request)
    await response.write(sse.retry(hub.options.retry * BUSY_RETRY) + sse.HEARTBEAT)
    return response
