"""The door of history: a log, or a part of it, as a file.

Plain TSV goes from the kernel to the socket. What is filtered, converted or
compressed is streamed in pieces.
"""

from __future__ import annotations

import zlib

from aiohttp import ETag, web
from aiohttp.web_response import ContentCoding

from hub.engines.base import LogState, Selection, Window
from hub.event import START
from hub.formats import CONTENT_TYPES, NDJSON, TSV, documents, split_rows
from hub.web.context import HUB, Context
from hub.web.selection import selection_of
from hub.web.sendfile import send_file

COMPRESS_FROM = 1024
"""Bytes below which compression is not worth it."""

_BEGINNING = min(START, key=len)  # "start": a cursor for a body that holds no event


async def read(request: web.Request, name: str) -> web.StreamResponse:
    """Answer `GET` and `HEAD` of a log's history."""
    hub = request.app[HUB]
    wanted = selection_of(request)
    form = (
        NDJSON
        if CONTENT_TYPES[NDJSON].partition(";")[0] in request.headers.get("Accept", "")
        else TSV
    )
    log = hub.engine.find(name)
    window = Window(0, 0, None)
    tag = '"0"'
    if log is not None:
        end, last_id = log.length, log.last_id
        tag = f'"{end:x}-{zlib.crc32(last_id.encode()):08x}-{form}"'
        window = Window(0, end, last_id or None)
        if wanted != Selection():
            window = await hub.engine.window(name, wanted, end)
    response = web.StreamResponse(
        headers={
            "Content-Type": CONTENT_TYPES[form],
            "Cache-Control": "no-cache",
            "Vary": "Accept, Accept-Encoding",
            "ETag": tag,
            "Last-Event-ID": window.last_id or wanted.since or _BEGINNING,
        }
    )
    if _is_known(request, tag):
        response.set_status(304)
        await response.prepare(request)
        return response
    if log is None or (form == TSV and wanted.event is None):
        return await _send_bytes(request, response, hub, log, window)
    return await _stream(request, response, hub, log, window, form, wanted.event)


def _is_known(request: web.Request, tag: str) -> bool:
    known = request.if_none_match or ()
    return any(each.value in ("*", tag.strip('"')) for each in known if isinstance(each, ETag))


async def _send_bytes(
    request: web.Request,
    response: web.StreamResponse,
    hub: Context,
    log: LogState | None,
    window: Window,
) -> web.StreamResponse:
    """The bytes of the file as they are, or a range of them."""
    start, end = window.start, window.end
    size = end - start
    response.headers["Accept-Ranges"] = "bytes"
    part = _range_of(request, response, size)
    if part is None:
        if log is not None and size >= COMPRESS_FROM and _takes_gzip(request):
            return await _stream(request, response, hub, log, window, TSV, None)
    elif part.start >= part.stop:
        response.set_status(416)
        response.headers["Content-Range"] = f"bytes */{size}"
        response.headers["Content-Length"] = "0"
        await response.prepare(request)
        return response
    else:
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        if part.stop < size:
            del response.headers["Last-Event-ID"]  # the body ends somewhere before that event
        start, end = start + part.start, start + part.stop
    response.content_length = end - start
    if request.method == "HEAD" or start == end:
        await response.prepare(request)
    elif log is not None:
        await send_file(request, response, hub.engine.file(log.name), start, end)
    return response


def _range_of(request: web.Request, response: web.StreamResponse, size: int) -> range | None:
    """The range asked for, empty if there is no such; None if the whole is to be sent."""
    if "Range" not in request.headers:
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and condition != response.headers["ETag"]:
        return None
    try:
        asked = request.http_range
    except ValueError:  # RFC 9110, 14.2: a range that makes no sense is ignored
        return None
    if asked.start is None and asked.stop is None:
        return None
    return range(*slice(asked.start, asked.stop).indices(size))


def _takes_gzip(request: web.Request) -> bool:
    for each in request.headers.get("Accept-Encoding", "").split(","):
        coding, _, weight = each.strip().partition(";")
        if coding.strip().lower() == "gzip" and weight.replace(" ", "") not in ("q=0", "q=0.0"):
            return True
    return False


async def _stream(
    request: web.Request,
    response: web.StreamResponse,
    hub: Context,
    log: LogState,
    window: Window,
    form: str,
    only: str | None,
) -> web.StreamResponse:
    """Events of one type, or as NDJSON documents, or compressed: in pieces."""
    if _takes_gzip(request):
        response.enable_compression(ContentCoding.gzip)
        response.headers["ETag"] = response.headers["ETag"][:-1] + '-gzip"'
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    event = None if only is None else only.encode()
    place = window.start
    revision = 0
    if form == NDJSON:
        revision = 1 + await hub.engine.count(log.name, 0, place)
    while place < window.end:
        lines = await hub.engine.read(log.name, place, window.end)
        place += len(lines)
        if form == NDJSON or event is not None:
            rows = split_rows(lines)
            if form == NDJSON:
                lines = documents(rows, log.name, revision, event)
                revision += len(rows)
            else:
                lines = b"".join([b"\t".join(row) + b"\n" for row in rows if row[1] == event])
        if lines:
            await response.write(lines)
    return response
