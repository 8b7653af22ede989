"""The door of channels: `POST /{channel}` writes, `GET /{channel}` reads or subscribes."""

from __future__ import annotations

import msgspec
from aiohttp import web

from hub import sse
from hub.batch import BatchReader, NdjsonReader, TsvReader
from hub.errors import InvalidRequest, TooLarge
from hub.event import check_channel_name, check_id, check_size, check_type
from hub.formats import Batch, data_column
from hub.web import events, history
from hub.web.context import HUB, Context

_CREATED_HEADERS = {"Content-Type": "text/plain; charset=utf-8"}


async def post(request: web.Request) -> web.Response:
    """Write one event, or with a TSV or NDJSON body a batch."""
    hub = request.app[HUB]
    name = check_channel_name(request.match_info["channel"])
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type == "text/tab-separated-values":
        if request.query.get("id") or request.query.get("event"):
            raise InvalidRequest(
                "'id' and 'event' do not go with a TSV batch: its lines have their own"
            )
        return await _post_batch(request, hub, name, TsvReader(hub.options.limits))
    options = hub.options
    event_id = event_type = ""
    if request.query_string:
        event_id = check_id(request.query.get("id", ""), options.max_id_bytes)
        event_type = check_type(request.query.get("event", ""), options.max_type_bytes)
    if media_type == "application/x-ndjson":
        reader = NdjsonReader(options.limits, event_type, event_id)
        return await _post_batch(request, hub, name, reader)
    body = await _read_event(request, options.max_event_bytes)
    batch = Batch.of_one(event_id, event_type, data_column(body))
    receipt = await hub.engine.append(name, batch)
    return web.Response(status=201, body=receipt.first_id.encode(), headers=_CREATED_HEADERS)


async def get(request: web.Request) -> web.StreamResponse:
    """History, or with `Accept: text/event-stream` a subscription."""
    name = check_channel_name(request.match_info["channel"])
    if request.method == "GET" and sse.CONTENT_TYPE in request.headers.get("Accept", ""):
        return await events.subscribe(request, name)
    return await history.read(request, name)


async def _post_batch(
    request: web.Request, hub: Context, name: str, reader: BatchReader
) -> web.Response:
    limit = hub.options.max_request_bytes
    _check_length(request, limit)
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes, which is the limit")
        reader.feed(piece)
    batch = reader.finish()
    if not batch.count:
        return _batch_answer(200, 0, None, None)
    receipt = await hub.engine.append(name, batch)
    return _batch_answer(201, receipt.count, receipt.first_id, receipt.last_id)


def _batch_answer(status: int, count: int, first: str | None, last: str | None) -> web.Response:
    body = msgspec.json.encode({"count": count, "first": first, "last": last}) + b"\n"
    return web.Response(status=status, body=body, content_type="application/json")


async def _read_event(request: web.Request, limit: int) -> bytes:
    """The body of a single event; the line break behind it does not count."""
    most = limit + len(b"\r\n")
    _check_length(request, most)
    if request.content_length is not None and "Content-Encoding" not in request.headers:
        return await request.read()
    pieces: list[bytes] = []
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
        check_size(size, most)
        pieces.append(piece)
    return b"".join(pieces)


def _check_length(request: web.Request, limit: int) -> None:
    length = request.content_length
    if length is not None and length > limit:
        raise TooLarge(f"the body has {length} bytes; the limit is {limit}")
