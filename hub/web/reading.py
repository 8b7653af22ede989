"""Sends what is read of a stream: NDJSON, from the file where that is possible.

Owns the answer's headers, and the waiting for what is not there yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from aiohttp import web
from aiohttp.web_response import ContentCoding

from hub.errors import TimedOut
from hub.formats import CONTENT_TYPES, NDJSON
from hub.streams import View
from hub.streams.views import LogView
from hub.web.context import HUB
from hub.web.history import COMPRESS_FROM, _takes_gzip
from hub.web.sendfile import send_file
from hub.window import Bounds, Window


async def read(
    request: web.Request, view: View, window: Window, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer `GET` and `HEAD` of a stream. Raises `TimedOut` if nothing of the window came."""
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
    packed = _takes_gzip(request)
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
    if waits:
        timeout = request.app[HUB].options.read_timeout
        pieces = _with_more(view, pieces, version, bounds.high, timeout)
    return await _stream(request, response, pieces, packed)


async def _stream(
    request: web.Request,
    response: web.StreamResponse,
    pieces: AsyncIterator[bytes],
    packed: bool,
) -> web.StreamResponse:
    # Before the headers are out, what goes wrong is still an answer.
    first = b"" if request.method == "HEAD" else await anext(pieces, b"")
    if packed and request.method == "HEAD":
        response.headers["Content-Encoding"] = "gzip"
    elif packed:
        response.enable_compression(ContentCoding.gzip)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    await response.write(first)
    async for piece in pieces:
        await response.write(piece)
    return response


async def _pieces(view: View, bounds: Bounds) -> AsyncIterator[bytes]:
    async for slices in view.slices(bounds.low, bounds.high, backwards=bounds.backwards):
        if slices:
            yield b"".join([each.lines for each in slices])


async def _with_more(
    view: View, pieces: AsyncIterator[bytes], seen: int, high: int, seconds: float
) -> AsyncIterator[bytes]:
    """What is there, then what comes, up to number `high` or until the time is over."""
    some = False
    async for piece in pieces:
        some = True
        yield piece
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while seen < high and loop.time() < end:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await view.wait(seen)
        now = min(high, await view.settle())
        if now > seen:
            async for piece in _pieces(view, Bounds(seen + 1, now, False)):
                some = True
                yield piece
            seen = now
    if not some:
        raise TimedOut(
            f"nothing that is asked for came to stream {view.name!r} in {seconds:g} s: "
            f"it has version {seen}"
        )
