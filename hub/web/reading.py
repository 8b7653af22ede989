"""Sends what is read of a stream: NDJSON, from the file where that is possible.

Owns the answer's headers, and the waiting for what is not there yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from aiohttp import web

from hub.errors import Closing, TimedOut
from hub.formats import CONTENT_TYPES, NDJSON
from hub.streams import View
from hub.streams.views import LogView
from hub.web.context import HUB, Context
from hub.web.history import send_pieces
from hub.web.negotiation import COMPRESS_FROM, takes_gzip
from hub.web.sendfile import send_file
from hub.window import Bounds, Window


async def read(
    request: web.Request,
    view: View,
    window: Window,
    headers: Mapping[str, str],
    version: int | None = None,
) -> web.StreamResponse:
    """Answer `GET` and `HEAD` of a stream: of its newest version, or of one that has been seen.

    Raises `TimedOut` if nothing of a window came.
    """
    if version is None:
        version = await view.settle()
    bounds = window.bounds(version)
    response = web.StreamResponse(
        headers={
            "Content-Type": CONTENT_TYPES[NDJSON],
            "Cache-Control": "no-cache",
            "Vary": "Accept, Accept-Encoding",
            "x-event-store-stream": view.name,
            "x-event-store-version": str(version),
            **headers,
        }
    )
    there = Bounds(bounds.low, min(bounds.high, version), bounds.backwards)
    waits = bounds.high > version and not bounds.backwards
    packed = not waits and takes_gzip(request)  # compressing would hold back what comes
    if isinstance(view, LogView) and not waits and not there.backwards:
        span = await view.span(there.low, there.high) if there.low <= there.high else (0, 0)
        if span is not None and not (packed and span[1] - span[0] >= COMPRESS_FROM):
            start, end = span
            response.content_length = end - start
            if request.method == "HEAD" or start == end:
                await response.prepare(request)
            else:
                file = request.app[HUB].engine.file(view.name)
                await send_file(request, response, file, start, end)
            return response
    pieces = _pieces(view, there)
    if not waits:
        return await send_pieces(request, response, pieces, packed=packed)
    hub = request.app[HUB]
    with hub.subscriptions.waiting(hub.options.max_subscriptions):
        pieces = _with_more(hub, view, pieces, version, bounds)
        return await send_pieces(request, response, pieces, packed=packed)


async def _pieces(view: View, bounds: Bounds) -> AsyncIterator[bytes]:
    async for part in view.slices(bounds.low, bounds.high, backwards=bounds.backwards):
        if part.lines:
            yield part.lines


async def _with_more(
    hub: Context, view: View, pieces: AsyncIterator[bytes], seen: int, wanted: Bounds
) -> AsyncIterator[bytes]:
    """What is there, then what comes within bounds, until the time is over or the hub ends.

    Raises `TimedOut` or `Closing` if that is nothing.
    """
    high = wanted.high
    some = False
    async for piece in pieces:
        some = True
        yield piece
    seconds = hub.options.read_timeout
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while seen < high and loop.time() < end and not hub.subscriptions.closing:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await view.wait(seen)
        now = min(high, await view.settle())
        if now > seen:
            async for piece in _pieces(view, Bounds(max(seen + 1, wanted.low), now, False)):
                some = True
                yield piece
            seen = now
    if not some and hub.subscriptions.closing:
        raise Closing("the hub is shutting down")
    if not some:
        raise TimedOut(
            f"stream {view.name!r} did not reach version {high} in {seconds:g} s, and nothing that "
            f"is asked for came: it has version {seen}"
        )
