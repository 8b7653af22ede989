"""The doors of streams: `/streams…` and `/query`.

Owns what their URLs, bodies and answers look like. How documents get to the
client is in `reading` and `live`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache, partial
from urllib.parse import unquote

import msgspec
from aiohttp import web
from msgspec import structs

from hub.commit import members_of, parse_commit
from hub.document import Draft
from hub.engines.base import Receipt, Scope
from hub.errors import InvalidName, InvalidRequest
from hub.formats import TSV
from hub.matcher import Matcher, compile_matcher
from hub.selector import (
    Condition,
    Selector,
    parse_selector_text,
    query_of_items,
    query_of_types,
)
from hub.streams import ALL
from hub.web import bodies, live, pages, reading
from hub.web.addressing import check_one_of, filter_of, names_in, view_of
from hub.web.answers import as_json, as_known_json
from hub.web.context import HUB, Context
from hub.web.created import JSON
from hub.web.express import Sent, Stored
from hub.web.negotiation import prefers_page
from hub.web.selection import format_of, number_of
from hub.window import WORDS, Window, split_window

CONDITION = "x-event-store-query-condition"
"""Header of a query's answer: what a commit has to give back as its condition."""

_TOLD = frozenset({"streamName", "version", "position", "events"})

_READ = frozenset({"GET", "HEAD"})
_DEFINED = _READ | {"PUT", "DELETE"}
_ACTIONS = {"commit": frozenset({"POST"}), "close": frozenset({"POST"}), "version": _READ}

LISTED = 1000
"""Streams that a list has, unless a `limit` says less."""


def methods_at(request: web.Request) -> frozenset[str]:
    """The methods of a URL below `/streams/`, beside `OPTIONS`; none if no stream can be there."""
    try:
        return _methods(_decoded(request.rel_url.raw_path))
    except InvalidName:
        return frozenset()


def _methods(segments: Sequence[str]) -> frozenset[str]:
    *before, last = segments
    if before and last in _ACTIONS:
        return _ACTIONS[last]
    is_part = bool(before) and (before[-1] in WORDS or before[0] == "category")
    return _READ if is_part or (last == ALL and not before) else _DEFINED


def _segments(request: web.Request) -> list[str]:
    """What follows `/streams/`, each segment decoded: an encoded slash is part of a name.

    Raises `HTTPMethodNotAllowed`, `InvalidName`.
    """
    segments = _decoded(request.rel_url.raw_path)
    allowed = _methods(segments)
    if request.method not in allowed:
        raise web.HTTPMethodNotAllowed(request.method, {*allowed, "OPTIONS"})
    return list(segments)


@lru_cache(maxsize=4096)
def _decoded(path: str) -> tuple[str, ...]:
    raw = path.split("/")[2:]
    if raw and not raw[-1]:
        raw.pop()
    try:
        return tuple(unquote(each, errors="strict") for each in raw)
    except UnicodeDecodeError:
        raise InvalidName("the path is not UTF-8") from None


async def post(request: web.Request) -> web.StreamResponse:
    """`POST /streams/{stream}/commit` and `/close`."""
    *names, action = _segments(request)
    name = "/".join(names)
    hub = request.app[HUB]
    if action == "close":
        log = await hub.streams.seal(name)
        return as_json({"stream": name, "version": log.version, "closed": True})
    options = hub.options
    with hub.bodies.room() as room:
        body = await _body(request, hub, room)
        parts = (body, hub.engine.keys, options.limits, options.max_request_bytes)
        if len(body) > bodies.SMALL:  # others must not wait for it
            commit = await asyncio.to_thread(parse_commit, *parts)
        else:
            commit = parse_commit(*parts)
        receipt = await hub.streams.commit(name, commit)
    return web.Response(status=201, body=_committed(name, commit.draft, receipt), content_type=JSON)


def commit_at_once(hub: Context, sent: Sent) -> Stored | None:
    """The same for a small commit."""
    *names, action = _decoded(sent.path)
    if not names or action != "commit":
        return None
    name, options = "/".join(names), hub.options
    commit = parse_commit(sent.body, hub.engine.keys, options.limits, options.max_request_bytes)
    receipt = asyncio.ensure_future(hub.streams.commit(name, commit))
    return Stored(receipt, partial(_committed, name, commit.draft), JSON)


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
    name = "/".join(_segments(request))
    with hub.bodies.room() as room:
        body = await _body(request, hub, room)
    version, new = await hub.streams.put(name, _matcher_of(body))
    return as_json({"stream": name, "version": version}, 201 if new else 200)


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
    await request.app[HUB].streams.remove("/".join(_segments(request)))
    return web.Response(status=204)


async def listing(request: web.Request) -> web.StreamResponse:
    """`GET /streams`: the streams, in pages; to a browser, the page."""
    if prefers_page(request):
        return await pages.page(request)
    query = request.query
    limit = number_of(request, "limit")
    limit = LISTED if limit is None else min(limit, LISTED)
    found = await request.app[HUB].streams.list(
        query.get("prefix", ""), query.get("after", ""), limit
    )
    return as_known_json(request, {"streams": [structs.asdict(each) for each in found]})


async def get(request: web.Request) -> web.StreamResponse:
    """`GET /streams/…`: a stream, `_all`, a join or a category, or a stream's version.

    To a browser, the page; but not of a part of a stream.
    """
    hub = request.app[HUB]
    segments = _segments(request)
    if len(segments) > 1 and segments[-1] == "version":
        view = await view_of(hub.streams, segments[:-1], request.query)
        return as_json({"stream": view.name, "version": await view.settle()})
    path, window = split_window(segments)
    if window == Window() and prefers_page(request):
        return await pages.page(request)
    view = await view_of(hub.streams, path, request.query)
    if live.is_wanted(request):
        return await live.subscribe(request, view, window, {})
    if format_of(request) == TSV:
        raise InvalidRequest("a stream is read as 'ndjson'; a channel also as 'tsv'")
    return await reading.read(request, view, window, {})


async def query(request: web.Request) -> web.StreamResponse:
    """`GET /query`: what a selector of types and tags means, and a condition to commit with."""
    hub = request.app[HUB]
    _, window = split_window(_decoded(request.rel_url.raw_path))
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
