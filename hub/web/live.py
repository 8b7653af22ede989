"""Streams as subscriptions: what is read of a stream, then what is added to it.

Owns where a subscription begins, and its life. On the wire it is as for channels
(`events`); a subscriber is served by a task of its own, from what is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from aiohttp import web

from hub import sse
from hub.errors import InvalidRequest
from hub.event import START
from hub.streams import View
from hub.web.context import HUB, Context
from hub.web.events import _HEADERS, EventStream, _turn_away
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
    cursor = cursor_of(request)
    place, resumed_from = _begin(window, head, cursor)
    # Only now: while the head was looked for, others may have come.
    full = len(hub.subscriptions) >= hub.options.max_subscriptions
    if full or hub.subscriptions.closing:
        return await _turn_away(request, hub)
    with hub.subscriptions.counted():
        response = EventStream(
            headers={
                **_HEADERS,
                "x-event-store-stream": view.name,
                "x-event-store-version": str(head),
                **headers,
            }
        )
        response.force_close()
        if resumed_from is not None:
            response.headers["Last-Event-ID"] = resumed_from
        await response.prepare(request)
        begin = sse.retry(hub.options.retry) + sse.HEARTBEAT
        await response.write(begin + sse.RESET if resumed_from == "" else begin)
        response.headers.clear()  # sent: not to be held for as long as the subscription lasts
        await _follow(hub, response, view, place)
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


async def _follow(hub: Context, response: web.StreamResponse, view: View, place: int) -> None:
    loop = asyncio.get_running_loop()
    beat = loop.time() + hub.options.heartbeat
    while not hub.subscriptions.closing:
        head = await view.settle()
        if head > place:
            piece = await hub.streams.feed.after(view, place, head)
            place = piece.end
            if piece.frames:
                await response.write(piece.frames)
                beat = loop.time() + hub.options.heartbeat
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(beat):
                    await view.wait(place)
        if loop.time() >= beat:  # also when much comes, of which nothing is meant
            await response.write(sse.HEARTBEAT)
            beat = loop.time() + hub.options.heartbeat
