"""The door of consumers: `/consumers`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote
from weakref import WeakValueDictionary

import msgspec
from aiohttp import web
from msgspec import Raw
from multidict import MultiDict

from hub import sse
from hub.consumers.checkpoint import Progress
from hub.consumers.consumer import Consumer
from hub.consumers.registry import EMPTY, END
from hub.consumers.source import OpenSource, Source
from hub.errors import InvalidName, InvalidRequest
from hub.options import Options
from hub.streams import Streams
from hub.web import bodies, pages
from hub.web.addressing import view_of
from hub.web.answers import as_json, as_known_json
from hub.web.context import HUB, Context
from hub.web.events import HEADERS, EventStream, turn_away
from hub.web.negotiation import prefers_page

NUMBER_DIGITS = 15
"""Digits of a revision or position: JavaScript, and thus every client, can hold it."""

STOPPED = b"stopped"
"""Type of the frame that tells that a consumer has stopped; its data is the error."""

SLASH = "%2F"
"""A slash that does not end a segment, in the name of a consumer's stream."""

_NULL = Raw(b"null")


class _Put(msgspec.Struct, forbid_unknown_fields=True):
    handler: str
    state: Raw = Raw()


class _Reset(msgspec.Struct, rename={"start": "from"}, forbid_unknown_fields=True):
    state: Raw = Raw()
    start: int | str | None = None


def directory(options: Options) -> Path:
    """Where consumers are kept."""
    return options.events / ".hub" / "consumers"


def opener(streams: Streams) -> OpenSource:
    """Opens streams by their names, as `_name_of` writes them."""

    async def open_view(name: str) -> Source:
        path, _, query = name.partition("?")
        segments = [each.replace(SLASH, "/") for each in path.split("/")]
        return await view_of(streams, segments, MultiDict(parse_qsl(query)))

    return open_view


async def put(request: web.Request) -> web.Response:
    """Make a consumer: `PUT /consumers/{identifier}/stream/{stream}[/from/{revision}]`."""
    hub = request.app[HUB]
    stream, start = _stream_of(request)
    body = await _body(request, hub, _Put)
    consumer, new = await hub.consumers.put(
        _identifier(request), stream, body.handler, _object(body.state) or EMPTY, start
    )
    return _answer(consumer, 201 if new else 200)


async def listing(request: web.Request) -> web.Response:
    """Every consumer: `GET /consumers`; to a browser, the page."""
    if prefers_page(request):
        return await pages.page(request)
    found = [
        _told(each, seen=each.progress.seen, version=each.head)
        for each in request.app[HUB].consumers
    ]
    return as_known_json(request, {"consumers": found})


async def get(request: web.Request) -> web.StreamResponse:
    """Position and state, or with `Accept: text/event-stream` each state that comes.

    To a browser, the page.
    """
    if prefers_page(request):
        return await pages.page(request)
    consumer = request.app[HUB].consumers.find(_identifier(request))
    if request.method == "GET" and sse.CONTENT_TYPE in request.headers.get("Accept", ""):
        return await _follow(request, consumer)
    return _answer(consumer)


async def until(request: web.Request) -> web.Response:
    """Wait until an event has been folded: `GET /consumers/{identifier}/until/{n}`."""
    return await _wait(request, _number(request.match_info["number"]))


async def after(request: web.Request) -> web.Response:
    """Wait for an event behind one: `GET /consumers/{identifier}/after/{n}`."""
    return await _wait(request, _number(request.match_info["number"]) + 1)


async def delete(request: web.Request) -> web.Response:
    """Remove a consumer."""
    await request.app[HUB].consumers.remove(_identifier(request))
    return web.Response(status=204)


async def reset(request: web.Request) -> web.Response:
    """Let a consumer begin again, with another state or from another event if they are given."""
    hub = request.app[HUB]
    identifier = _identifier(request)
    hub.consumers.find(identifier)
    body = await _body(request, hub, _Reset, b"{}")
    start = None if body.start is None else _start(str(body.start))
    return _answer(await hub.consumers.reset(identifier, _object(body.state), start))


async def _wait(request: web.Request, number: int) -> web.Response:
    hub = request.app[HUB]
    consumer = hub.consumers.find(_identifier(request))
    if consumer.progress.position < number:
        with hub.subscriptions.waiting(hub.options.max_subscriptions):
            await hub.consumers.reach(consumer.definition.identifier, number)
    return _answer(consumer)


async def _follow(request: web.Request, consumer: Consumer) -> web.StreamResponse:
    """Send the state, then each change; who is slow gets the latest only."""
    hub = request.app[HUB]
    full = len(hub.subscriptions) >= hub.options.max_subscriptions
    if full or hub.consumers.closing:
        return await turn_away(request, hub)
    with hub.subscriptions.counted():
        response = EventStream(headers=HEADERS)
        response.force_close()
        writer = await response.prepare(request)
        await response.write(sse.retry(hub.options.retry) + sse.HEARTBEAT)
        response.headers.clear()  # sent: not to be held for as long as the subscription lasts
        transport = request.transport
        if writer is not None and transport is not None:
            transport.set_write_buffer_limits(0)
            await _send_changes(hub, consumer, transport, writer.drain)
    return response


class _Told:
    """A state as it is sent: one object for all who follow its consumer."""

    __slots__ = ("__weakref__", "frames", "number", "progress")

    def __init__(self, progress: Progress, number: int, frames: bytes) -> None:
        self.progress: Progress | None = progress  # as long as it is the last
        self.number = number  # another one for another state
        self.frames = frames


_told_last: WeakValueDictionary[Consumer, _Told] = WeakValueDictionary()


def _state_of(consumer: Consumer) -> _Told:
    """The state that a consumer has, framed once."""
    now, last = consumer.progress, _told_last.get(consumer)
    number, frames = 0, b""
    if last is not None and last.progress is not None:
        was = last.progress
        if was is now:
            return last
        number = last.number + (was.state != now.state)
        if number == last.number and was.position == now.position:
            frames = last.frames
        last.progress = None  # who is slow need not hold its state, too
    told = _Told(now, number, frames or sse.frames([(b"%d" % now.position, b"", bytes(now.state))]))
    _told_last[consumer] = told
    return told


async def _send_changes(
    hub: Context,
    consumer: Consumer,
    transport: asyncio.WriteTransport,
    drain: Callable[[], Awaitable[None]],
) -> None:
    number: int | None = None
    error: str | None = None
    while not (hub.consumers.closing or consumer.removed or transport.is_closing()):
        told = _state_of(consumer)
        if told.number != number:
            number, error = told.number, None
            transport.write(told.frames)
        if consumer.progress.error != error:
            error = consumer.progress.error
            if error is not None:
                text = msgspec.json.encode({"error": error})
                identity = b"%d" % consumer.progress.position
                transport.write(sse.frames([(identity, STOPPED, text)]))
        await drain()  # until all has been taken: then it gets what there is by then
        if consumer.progress is not told.progress:
            continue
        try:
            async with asyncio.timeout(hub.options.heartbeat):
                await consumer.change()
        except TimeoutError:
            if not transport.is_closing():
                transport.write(sse.HEARTBEAT)


def _identifier(request: web.Request) -> str:
    return request.match_info["identifier"]


def _stream_of(request: web.Request) -> tuple[str, int]:
    """The stream's name, and how many events count as seen."""
    # Before it is decoded: a slash in a name may be written as %2F.
    path = request.rel_url.raw_path.split("/", 4)[4]
    head, _, last = path.rpartition("/")
    start = 0
    if head.endswith("/from"):
        path = head.removesuffix("/from")
        start = _start(unquote(last))
    name = _name_of(path)
    query = request.rel_url.raw_query_string
    return f"{name}?{query}" if query else name, start


def _name_of(path: str) -> str:
    """The name that a path behind `/streams/` is kept by: decoded, and it means the same.

    One that begins like a category, and is the name of a stream, keeps that slash encoded.
    """
    try:
        segments = [unquote(each, errors="strict") for each in path.split("/")]
    except UnicodeDecodeError:
        raise InvalidName("the path is not UTF-8") from None
    name = "/".join(segments)
    if "%" in name or "?" in name:  # could be taken for another one, and is none
        raise InvalidName(f"{name!r} cannot be the name of a stream")
    if segments[0].startswith("category/"):
        name = name.replace("/", SLASH, 1)
    return name


def _start(text: str) -> int:
    if text == "start":
        return 0
    return END if text == "end" else _number(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS):
        raise InvalidRequest(f"{text!r} is not a whole number from 0 on")
    return int(text)


async def _body(request: web.Request, hub: Context, kind: type[Any], empty: bytes = b"") -> Any:
    limit = hub.options.max_request_bytes
    with hub.bodies.room() as room:
        body = b"".join([each async for each in bodies.pieces(request, room, limit, limit)])
        try:
            body.decode()  # what is only passed on has not been looked at
            return msgspec.json.decode(body or empty, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"the body does not do: {error}") from None


def _object(state: Raw) -> Raw | None:
    if not state or state == _NULL:
        return None
    if bytes(memoryview(state)[:1]) != b"{":
        raise InvalidRequest("'state' must be a JSON object")
    return state


def _answer(consumer: Consumer, status: int = 200) -> web.Response:
    response = as_json(_told(consumer, state=consumer.progress.state), status)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = "Accept"  # a browser gets the page
    return response


def _told(consumer: Consumer, **more: object) -> dict[str, object]:
    """What every answer tells of a consumer, and more."""
    definition, progress = consumer.definition, consumer.progress
    told: dict[str, object] = {
        "identifier": definition.identifier,
        "stream": definition.stream,
        "position": progress.position,
        **more,
    }
    if progress.error is not None:
        told |= {"status": "stopped", "error": progress.error}
    return told
