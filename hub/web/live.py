"""Streams as subscriptions: what is read of a stream, then what is added to it.

Owns the frames of documents, and where a subscription begins. On the wire it is
as for channels (`events`); a subscriber is served by a task of its own, from
what is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from hub import sse
from hub.document import Labels, labels_reader
from hub.engines.base import Slice
from hub.errors import InvalidRequest
from hub.event import START
from hub.streams import View
from hub.web.context import HUB
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
    place = window.bounds(head).low - 1
    unknown = False
    if cursor is not None and cursor not in START:
        known = cursor.isascii() and cursor.isdigit() and len(cursor) <= _DIGITS
        unknown = not known or int(cursor) > head
        place = 0 if unknown else int(cursor)
    full = len(hub.subscriptions) >= hub.options.max_subscriptions
    if full or hub.subscriptions.closing:
        return await _turn_away(request, hub)
    response = EventStream(
        headers={
            **_HEADERS,
            "x-event-store-stream": view.name,
            "x-event-store-version": str(head),
            **headers,
        }
    )
    response.force_close()
    if cursor is not None:
        response.headers["Last-Event-ID"] = "" if unknown else str(place)
    await response.prepare(request)
    begin = sse.retry(hub.options.retry) + sse.HEARTBEAT
    await response.write(begin + sse.RESET if unknown else begin)
    with hub.subscriptions.counted():
        await _follow(request, response, view, place)
    return response


async def _follow(
    request: web.Request, response: web.StreamResponse, view: View, place: int
) -> None:
    hub = request.app[HUB]
    labels = labels_reader(hub.engine.keys)
    while not hub.subscriptions.closing:
        head = await view.settle()
        if head > place:
            async for slices in view.slices(place + 1, head):
                if slices:
                    await response.write(_frames(slices, labels))
            place = head
            continue
        try:
            async with asyncio.timeout(hub.options.heartbeat):
                await view.wait(place)
        except TimeoutError:
            await response.write(sse.HEARTBEAT)


def _frames(slices: Sequence[Slice], labels: Callable[[bytes], Labels]) -> bytes:
    parts: list[bytes] = []
    for each in slices:
        lines = each.lines.split(b"\n")
        lines.pop()
        for number, line in enumerate(lines, each.number):
            kind = labels(line).type
            if kind:
                parts.append(b"event: %b\ndata: %b\nid: %d\n\n" % (kind.encode(), line, number))
            else:
                parts.append(b"data: %b\nid: %d\n\n" % (line, number))
    return b"".join(parts)
