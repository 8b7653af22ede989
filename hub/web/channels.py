"""The door of channels: `POST /{channel}` writes, `GET /{channel}` reads or subscribes."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import msgspec
from aiohttp import web

from hub import sse
from hub.batch import BatchReader, NdjsonReader, TsvReader
from hub.errors import InvalidEvent, InvalidRequest
from hub.event import check_channel_name, check_id, check_size, check_type
from hub.formats import Batch, data_column
from hub.options import Options
from hub.web import bodies, events, history
from hub.web.bodies import Room
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
        event_id = check_id(_parameter(request, "id"), options.max_id_bytes)
        event_type = check_type(_parameter(request, "event"), options.max_type_bytes)
    if media_type == "application/x-ndjson":
        reader = NdjsonReader(options.limits, event_type, event_id)
        return await _post_batch(request, hub, name, reader)
    with hub.bodies.room() as room:
        column = await _read_column(request, room, options)
        batch = Batch.of_one(event_id, event_type, column)
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
    with hub.bodies.room() as room:
        async for piece in bodies.pieces(request, room, limit, limit):
            reader.feed(piece)
        batch = reader.finish()
        if not batch.count:
            return _batch_answer(200, 0, None, None)
        receipt = await hub.engine.append(name, batch)
    return _batch_answer(201, receipt.count, receipt.first_id, receipt.last_id)


def _batch_answer(status: int, count: int, first: str | None, last: str | None) -> web.Response:
    body = msgspec.json.encode({"count": count, "first": first, "last": last}) + b"\n"
    return web.Response(status=status, body=body, content_type="application/json")


def _parameter(request: web.Request, name: str) -> str:
    value = request.query.get(name, "")
    if "\ufffd" in value:  # the character itself, or what stands for bytes that are not UTF-8
        try:
            unquote_to_bytes(request.rel_url.raw_query_string).decode()
        except UnicodeDecodeError:
            raise InvalidEvent(f"the parameter {name!r} is not UTF-8") from None
    return value


async def _read_column(request: web.Request, room: Room, options: Options) -> bytes:
    """The data column for the body of a single event; the line break behind it does not count."""
    limit = options.max_event_bytes
    most = limit + len(b"\r\n")
    if most > options.max_request_bytes:
        most = limit = options.max_request_bytes
    column = data_column(await bodies.read(request, room, most, limit))
    check_size(len(column), limit)
    return column
