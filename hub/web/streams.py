"""The doors of streams: `/streams…` and `/query`.

Owns what their URLs, bodies and answers look like. How documents get to the
client is in `reading` and `live`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from aiohttp import web
from msgspec import structs

from hub.commit import members_of, parse_commit
from hub.document import Draft
from hub.engines.base import Receipt, Scope
from hub.errors import InvalidName, InvalidRequest
from hub.matcher import Matcher, compile_matcher
from hub.selector import (
    Condition,
    Selector,
    parse_selector_text,
    query_of_items,
    query_of_types,
)
from hub.web import bodies, live, reading
from hub.web.addressing import check_one_of, filter_of, names_in, view_of
from hub.web.context import HUB, Context
from hub.web.created import JSON, created
from hub.web.selection import number_of
from hub.window import Window, split_window

CONDITION = "x-event-store-query-condition"
"""Header of a query's answer: what a commit has to give back as its condition."""

_TOLD = frozenset({"streamName", "version", "position", "events"})

_ACTIONS = frozenset({"commit", "close", "version"})

LISTED = 1000
"""Streams that a list has, unless a `limit` says less."""


def _segments(request: web.Request) -> list[str]:
    """What follows `/streams/`, each segment decoded: an encoded slash is part of a name."""
    raw = request.rel_url.raw_path.split("/")[2:]
    if raw and not raw[-1]:
        raw.pop()
    try:
        return [unquote(each, errors="strict") for each in raw]
    except UnicodeDecodeError:
        raise InvalidName("the path is not UTF-8") from None


def _name_of(segments: Sequence[str]) -> str:
    """The stream that is defined or removed. Raises `InvalidName` if its URL means more."""
    name = "/".join(segments)
    if len(segments) > 1 and segments[-1] in _ACTIONS:
        raise InvalidName(
            f"'{segments[-1]}' is done to a stream by POST, or read by GET: "
            f"a stream of this name is at /streams/{quote(name, safe='')}"
        )
    return name


async def post(request: web.Request) -> web.StreamResponse:
    """`POST /streams/{stream}/commit` and `/close`."""
    *names, action = _segments(request)
    if not names or action not in ("commit", "close"):
        raise web.HTTPNotFound
    name = "/".join(names)
    hub = request.app[HUB]
    if action == "close":
        log = await hub.streams.seal(name)
        return _json(200, {"stream": name, "version": log.version, "closed": True})
    options = hub.options
    with hub.bodies.room() as room:
        body = await _body(request, hub, room)
        parts = (body, hub.engine.keys, options.limits, options.max_request_bytes)
        if len(body) > bodies.SMALL:  # others must not wait for it
            commit = await asyncio.to_thread(parse_commit, *parts)
        else:
            commit = parse_commit(*parts)
        receipt = await hub.streams.commit(name, commit)
    return created(request, _committed(name, commit.draft, receipt), JSON)


def _committed(name: str, draft: Draft, receipt: Receipt) -> bytes:
    """What is told of a commit; its own members stand before a user's of the same names."""
    metadata = draft.metadata
    if metadata:
        members = members_of(b"{" + metadata[1:] + b"}")
        metadata = b"".join(
            [
                b",%b:%b" % (msgspec.json.encode(key), bytes(value))
                for key, value in members.items()
                if key not in _TOLD
            ]
        )
    head = b'{"commitId":"%b","committedAt":%d%b,"streamName":%b,"streamVersion":%d,' % (
        draft.commit_id.encode(),
        receipt.committed_at,
        metadata,
        msgspec.json.encode(name),
        receipt.version,
    )
    return head + b'"version":%d,"position":%d,"events":[%b]}\n' % (
        receipt.version + receipt.count,
        receipt.position,
        b",".join(draft.payloads),
    )


async def put(request: web.Request) -> web.StreamResponse:
    """`PUT /streams/{stream}`: a derived stream, or an empty log."""
    hub = request.app[HUB]
    name = _name_of(_segments(request))
    with hub.bodies.room() as room:
        body = await _body(request, hub, room)
    version, new = await hub.streams.put(name, _matcher_of(body))
    return _json(201 if new else 200, {"stream": name, "version": version})


def _matcher_of(body: bytes) -> Matcher:
    try:
        spec = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(
            f'the body is no JSON ({error}): a matcher is, as {{"payload": {{"type": "A"}}}}'
        ) from None
    if isinstance(spec, dict) and set(spec) == {"matcher"}:
        spec = spec["matcher"]
    return compile_matcher(spec)


async def delete(request: web.Request) -> web.StreamResponse:
    """`DELETE /streams/{stream}`: a derived stream goes, events never do."""
    await request.app[HUB].streams.remove(_name_of(_segments(request)))
    return web.Response(status=204)


async def listing(request: web.Request) -> web.StreamResponse:
    """`GET /streams`: the streams, in pages."""
    query = request.query
    limit = number_of(request, "limit")
    limit = LISTED if limit is None else min(limit, LISTED)
    found = await request.app[HUB].streams.list(
        query.get("prefix", ""), query.get("after", ""), limit
    )
    return _json(200, {"streams": [structs.asdict(each) for each in found]})


async def get(request: web.Request) -> web.StreamResponse:
    """`GET /streams/…`: a stream, `_all`, a join or a category, or a stream's version."""
    hub = request.app[HUB]
    segments = _segments(request)
    if not segments:
        return await listing(request)
    if len(segments) > 1 and segments[-1] == "version":
        view = await view_of(hub.streams, segments[:-1], request.query)
        return _json(200, {"stream": view.name, "version": await view.settle()})
    path, window = split_window(segments)
    view = await view_of(hub.streams, path, request.query)
    if live.is_wanted(request):
        return await live.subscribe(request, view, window, {})
    return await reading.read(request, view, window, {})


async def query(request: web.Request) -> web.StreamResponse:
    """`GET /query`: what a selector of types and tags means, and a condition to commit with."""
    hub = request.app[HUB]
    segments = request.rel_url.raw_path.split("/")[2:]
    rest, window = split_window(segments)
    if rest or window != Window(window.start):
        raise web.HTTPNotFound
    matcher = filter_of(request.query)
    selector, types = _queried(request)
    view = hub.streams.order("query", Scope(selector, matcher=matcher))
    head = await view.settle()
    headers = {CONDITION: Condition(selector, head, matcher, types).header()}
    if live.is_wanted(request):
        return await live.subscribe(request, view, window, headers)
    return await reading.read(request, view, window, headers, head)


def _queried(request: web.Request) -> tuple[Selector, list[str] | None]:
    given = request.query
    check_one_of(given, "types", "selector", "query")
    if "query" in given:
        return query_of_items(given["query"]), None
    if "selector" in given:
        return parse_selector_text(given["selector"], allow_all=True), None
    types = list(dict.fromkeys(names_in(given.getall("types", []))))
    if not types:
        raise InvalidRequest(
            'a query needs \'types=A,B\' or \'query={"items": [{"types": ["A"], "tags": ["b"]}]}\''
        )
    return query_of_types(types), types


async def _body(request: web.Request, hub: Context, room: bodies.Room) -> bytes:
    limit = hub.options.max_request_bytes
    if bodies.is_small(request, limit):
        return await bodies.read_small(request)
    return b"".join([each async for each in bodies.pieces(request, room, limit, limit)])


def _json(status: int, value: Any) -> web.Response:
    body = msgspec.json.encode(value) + b"\n"
    return web.Response(status=status, body=body, content_type=JSON)
