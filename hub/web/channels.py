"""The door of channels: `POST /{channel}` writes, `GET` reads or subscribes, `PUT` makes one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import lru_cache
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from hub import sse
from hub.batch import BatchReader, NdjsonReader, TsvReader
from hub.engines.base import Receipt
from hub.errors import InvalidRequest, UnknownStream
from hub.event import Limits, check_channel_name, check_id, check_size, check_type
from hub.formats import TSV, Batch, data_column
from hub.web import bodies, events, history, pages
from hub.web.answers import as_json
from hub.web.context import HUB, Context
from hub.web.created import TEXT
from hub.web.express import Sent, Stored
from hub.web.negotiation import prefers_page
from hub.web.selection import format_of

TARGETS = 4096
"""Channels and types whose names are not looked at again at each post."""

TARGET_LENGTH = 256
"""Characters of a URL's query and a `Content-Type` that are worth remembering."""


_BATCHES = ("text/tab-separated-values", "application/x-ndjson")


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
    target = _target(
        request.match_info["channel"],
        request.rel_url.raw_query_string,
        request.headers.get("Content-Type", ""),
        limits,
    )
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
    return web.Response(status=201, body=receipt.first_id.encode(), headers={"Content-Type": TEXT})


def post_at_once(hub: Context, sent: Sent) -> Stored | None:
    """The same for one small event."""
    target = _target(sent.match["channel"], sent.query, sent.content_type, hub.options.limits)
    if target.media_type in _BATCHES or len(sent.body) > hub.options.event_body[0]:
        return None
    return Stored(_append(hub, target, sent.body), _told, TEXT)


def _told(receipt: Receipt) -> bytes:
    return receipt.first_id.encode()


def _target(name: str, query: str, content_type: str, limits: Limits) -> Target:
    # The same few targets come again and again, unless each has an id of its own.
    usual = "id=" not in query and len(query) + len(content_type) <= TARGET_LENGTH
    read = _known_target if usual else _read_target
    return read(name, query, content_type, limits)


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
    """History, or with `Accept: text/event-stream` a subscription; to a browser, the page."""
    name = check_channel_name(request.match_info["channel"])
    if prefers_page(request):
        return pages.page(request)
    if name in request.app[HUB].engine.derived:
        raise UnknownStream(
            f"{name!r} is a derived stream, no channel: it is read at /streams/{name}"
        )
    if request.method == "GET" and sse.CONTENT_TYPE in request.headers.get("Accept", ""):
        return events.subscribe(request, name)
    return history.read(request, name)


async def put(request: web.Request) -> web.StreamResponse:
    """Make an empty channel, of the format that it is to have for life."""
    hub = request.app[HUB]
    name = check_channel_name(request.match_info["channel"])
    form = format_of(request) or TSV
    await hub.engine.look(name)  # somebody may have made its file by hand
    new = await hub.engine.make(name, form)
    return as_json({"channel": name, "format": form}, 201 if new else 200)


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
    return as_json({"count": count, "first": first, "last": last}, status)


def _append(hub: Context, target: Target, body: bytes) -> asyncio.Future[Receipt]:
    """Commit one event; the line break behind its data does not count."""
    column = data_column(body)
    check_size(len(column), hub.options.max_event_bytes)
    batch = Batch.of_one(target.event_id, target.event_type, column)
    return hub.engine.append(target.name, batch)
