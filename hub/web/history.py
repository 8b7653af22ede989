"""The door of history: a log, or a part of it, as a file.

A log in its own format goes from the kernel to the socket. What is filtered,
converted or compressed is streamed in pieces.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, web
from aiohttp.web_response import ContentCoding

from hub.document import documents
from hub.engines.base import LogState, Selection, Window
from hub.errors import UnknownId
from hub.event import START, fits_header, time_of
from hub.formats import CONTENT_TYPES, NDJSON, TSV
from hub.lines import lines_of_format
from hub.web.context import HUB, Context
from hub.web.negotiation import COMPRESS_FROM, has_already, takes_gzip
from hub.web.selection import format_of, selection_of
from hub.web.sendfile import send_file

_BEGINNING = min(START, key=len)  # "start": a cursor for a body that holds no event

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


async def read(request: web.Request, name: str) -> web.StreamResponse:
    """Answer `GET` and `HEAD` of a log's history."""
    hub = request.app[HUB]
    wanted = selection_of(request)
    form = format_of(request)
    if form is None:
        taken = request.headers.get("Accept", "")
        form = NDJSON if CONTENT_TYPES[NDJSON].partition(";")[0] in taken else TSV
    await hub.engine.look(name)
    log = hub.engine.find(name)
    if log is None:
        _check_cursors(wanted)
        window = Window(0, 0, None)
        tag = '"0"'
    else:
        end, last_id = log.length, log.last_id
        tag = f'"{end:x}-{zlib.crc32(last_id.encode()):08x}-{form}"'
        window = Window(0, end, last_id or None)
        if wanted != Selection():
            window = await hub.engine.window(name, wanted, end)
    size = window.end - window.start
    as_it_is = log is None or (form == log.format and wanted.event is None)
    part = _range_of(request, tag, size) if as_it_is else None
    packed = (
        part is None
        and log is not None
        and (size >= COMPRESS_FROM or not as_it_is)
        and takes_gzip(request)
    )
    if packed:
        tag = f'{tag[:-1]}-gzip"'
    response = web.StreamResponse(
        headers={
            "Content-Type": CONTENT_TYPES[form],
            "Cache-Control": "no-cache",
            "Vary": "Accept, Accept-Encoding",
            "ETag": tag,
        }
    )
    cursor = await _cursor(hub, name, window)
    if fits_header(cursor):  # not so, at most, in a line that was appended by hand
        response.headers["Last-Event-ID"] = cursor
    if has_already(request, tag):
        response.set_status(304)
        await response.prepare(request)
        return response
    if log is None or (as_it_is and not packed):
        return await _send_bytes(request, response, hub, log, window, part)
    pieces = _pieces(hub, log, window, form, wanted.event)
    return await send_pieces(request, response, pieces, packed=packed)


def _check_cursors(wanted: Selection) -> None:
    """What a log that was never written says to ids that it cannot have."""
    for cursor in (wanted.since, wanted.until):
        if cursor is not None and time_of(cursor) is None:
            raise UnknownId(f"no event has the id {cursor!r}, and it does not read as an ISO time")


async def _cursor(hub: Context, name: str, window: Window) -> str:
    """What a subscription has to be given so that it goes on where the body ends."""
    if window.last_id is None and window.end:  # an empty body: it ends behind this event
        window = await hub.engine.window(name, Selection(), window.end)
    return window.last_id or _BEGINNING


async def _send_bytes(
    request: web.Request,
    response: web.StreamResponse,
    hub: Context,
    log: LogState | None,
    window: Window,
    part: range | None,
) -> web.StreamResponse:
    """The bytes of the file as they are, or a range of them."""
    start, end = window.start, window.end
    size = end - start
    response.headers["Accept-Ranges"] = "bytes"
    if part is not None and not part:
        response.set_status(416)
        response.headers["Content-Range"] = f"bytes */{size}"
        response.headers["Content-Length"] = "0"
        await response.prepare(request)
        return response
    if part is not None:
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        if part.stop < size:
            # The body ends somewhere before that event.
            response.headers.popall("Last-Event-ID", None)
        start, end = start + part.start, start + part.stop
    response.content_length = end - start
    if request.method == "HEAD" or start == end:
        await response.prepare(request)
    elif log is not None:
        await send_file(request, response, hub.engine.file(log.name), start, end)
    return response


def _range_of(request: web.Request, tag: str, size: int) -> range | None:
    """The range asked for, empty if there is no such; None if the whole is to be sent.

    RFC 9110, 14.2: only GET has ranges, and one that makes no sense is ignored.
    """
    asked = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if not asked or request.method != "GET" or request.headers.get("If-Range", tag) != tag:
        return None
    first, last = asked.groups()
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


async def send_pieces(
    request: web.Request,
    response: web.StreamResponse,
    pieces: AsyncIterator[bytes],
    *,
    packed: bool,
) -> web.StreamResponse:
    """Send a body piece by piece, in gzip if it is to be packed; to `HEAD`, only the headers."""
    # Before the headers are out, what cannot be read is still an answer.
    first = b"" if request.method == "HEAD" else await anext(pieces, b"")
    if packed and request.method == "HEAD":
        # With compression enabled, aiohttp would send the end of a gzip stream as a body.
        response.headers["Content-Encoding"] = "gzip"
    elif packed:
        response.enable_compression(ContentCoding.gzip)
    if request.version < HttpVersion11:
        response.force_close()  # there are no chunks: only so does the body have an end
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    await response.write(first)
    async for piece in pieces:
        await response.write(piece)
    return response


async def _pieces(
    hub: Context, log: LogState, window: Window, form: str, only: str | None
) -> AsyncIterator[bytes]:
    event = None if only is None else only.encode()
    keys = hub.engine.keys
    stored = lines_of_format(log.format, keys)
    revision = 0
    if form == NDJSON and log.format == TSV:
        revision = 1 + await hub.engine.count(log.name, 0, window.start)
    place = window.start
    while place < window.end:
        lines = await hub.engine.read(log.name, place, window.end)
        place += len(lines)
        if form == log.format:
            lines = lines if event is None else stored.of_type(lines, event)
        elif form == NDJSON:
            rows = stored.rows(lines)
            lines = documents(rows, log.name, revision, event, keys=keys)
            revision += len(rows)
        else:
            rows = stored.rows(lines if event is None else stored.of_type(lines, event))
            lines = b"".join([b"%b\t%b\t%b\n" % (*row,) for row in rows])
        if lines:
            yield lines
