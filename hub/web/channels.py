"""The door of channels: `POST /{channel}` writes, `GET` reads or subscribes, `PUT` makes one."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import lru_cache
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from hub import sse
from hub.batch import BatchReader, NdjsonReader, TsvReader
from hub.engines.base import Receipt
from hub.errors import InvalidRequest
from hub.event import Limits, check_channel_name, check_id, check_size, check_type
from hub.formats import NDJSON, TSV, Batch, data_column
from hub.web import bodies, events, history
from hub.web.context import HUB, Context
from hub.web.created import created

TARGETS = 4096
"""Channels and types whose names are not looked at again at each post."""

TARGET_LENGTH = 256
"""Characters of a URL's query and a `Content-Type` that are worth remembering."""


class Target(msgspec.Struct, frozen=True):
    """What the URL and the `Content-Type` of a post say."""

    name: str
    media_type: str
    event_id: str
    event_type: str


async def post(request: web.Request) -> web.StreamResponse:
    """Write one event, or with a TSV or NDJSON body a batch."""
    hub = request.app[HUB]
    limits = hub.options.limits
    query = request.rel_url.raw_query_string
    name, content_type = request.match_info["channel"], request.headers.get("Content-Type", "")
    # The same few targets come again and again, unless each has an id of its own.
    usual = "id=" not in query and len(query) + len(content_type) <= TARGET_LENGTH
    read = _known_target if usual else _read_target
    target = read(name, query, content_type, limits)
    if target.media_type == "text/tab-separated-values":
        if target.event_id or target.event_type:
            raise InvalidRequest(
                "'id' and 'event' do not go with a TSV batch: its lines have their own"
            )
        return await _post_batch(request, hub, target.name, TsvReader(limits))
    if target.media_type == "application/x-ndjson":
        reader = NdjsonReader(limits, target.event_type, target.event_id)
        return await _post_batch(request, hub, target.name, reader)
    most, limit = hub.options.event_body
    if bodies.is_small(request, most):
        body = await bodies.read_small(request)
        receipt = await _append(hub, target, body)
    else:
        with hub.bodies.room() as room:
            body = b"".join([each async for each in bodies.pieces(request, room, most, limit)])
            receipt = await _append(hub, target, body)
    return created(request, receipt.first_id.encode())


def _read_target(name: str, query: str, content_type: str, limits: Limits) -> Target:
    # What is not UTF-8 stays to be noticed. Of several, the first counts.
    fields = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    parameters = dict(reversed(fields))
    return Target(
        check_channel_name(name),
        content_type.partition(";")[0].strip().lower(),
        check_id(parameters.get("id", ""), limits.id_bytes),
        check_type(parameters.get("event", ""), limits.type_bytes),
    )


_known_target = lru_cache(maxsize=TARGETS)(_read_target)


def get(request: web.Request) -> Awaitable[web.StreamResponse]:
    """History, or with `Accept: text/event-stream` a subscription."""
    name = check_channel_name(request.match_info["channel"])
    if request.method == "GET" and sse.CONTENT_TYPE in request.headers.get("Accept", ""):
        return events.subscribe(request, name)
    return history.read(request, name)


async def put(request: web.Request) -> web.StreamResponse:
    """Make an empty channel, of the format that it is to have for life."""
    hub = request.app[HUB]
    name = check_channel_name(request.match_info["channel"])
    form = request.query.get("format", TSV)
    if form not in (TSV, NDJSON):
        raise InvalidRequest(f"'format' must be {TSV!r} or {NDJSON!r}, not {form!r}")
    await hub.engine.look(name)  # somebody may have made its file by hand
    new = await hub.engine.make(name, form)
    body = msgspec.json.encode({"channel": name, "format": form}) + b"\n"
    return web.Response(status=201 if new else 200, body=body, content_type="application/json")


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


def _append(hub: Context, target: Target, body: bytes) -> Awaitable[Receipt]:
    """Commit one event; the line break behind its data does not count."""
    column = data_column(body)
    check_size(len(column), hub.options.max_event_bytes)
    batch = Batch.of_one(target.event_id, target.event_type, column)
    return hub.engine.append(target.name, batch)
