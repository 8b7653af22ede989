"""What a name on the command line means: a channel, a stream, or a view of streams.

Owns where each is read, in which format, and which parts of it can be asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import click
import msgspec
from msgspec import Struct, structs

from hub.errors import InvalidRequest, UnknownStream
from hub.event import check_stream_name, is_channel_name
from hub.formats import CONTENT_TYPES, NDJSON, TSV

if TYPE_CHECKING:
    from hub.client.connection import Connection

VERSION = "x-event-store-version"
"""The header with the last number of what is read: a revision or a position."""


QUERY = "/query"


class Part(Struct, frozen=True):
    """Which events of a source are meant; None stands for what was not said."""

    since: str | None = None
    until: str | None = None
    event: str | None = None
    tail: int | None = None
    limit: int | None = None


class Source(Struct, frozen=True):
    """Where a name is read. `format` and `size`, in bytes, are those of its file."""

    name: str
    path: str
    query: dict[str, str] = {}
    is_channel: bool = False
    is_there: bool = True
    format: str = NDJSON
    size: int | None = None


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that pick events: arguments `since`, `until`, `event`."""
    for option in (
        click.option("--event", metavar="TYPE", help="Only events of this type."),
        click.option("--until", metavar="ID", help="Only events up to this one; like --since."),
        click.option(
            "--since",
            metavar="ID",
            help="Only events behind this one: an id, a time as 2026-11-20T11:40Z, or 'start'; of "
            "a stream that is no channel, a revision or position.",
        ),
    ):
        command = option(command)
    return command


async def find(connection: Connection, name: str) -> Source:
    """What a name means to the hub. Raises `InvalidName`, and `HubError` as every request."""
    path, _, query = name.partition("?")
    if path == "query":
        return Source(name, QUERY, dict(parse_qsl(query)))
    if path in ("_all", "join") or path.startswith("category/"):
        return Source(name, f"/streams/{path}", dict(parse_qsl(query)))
    check_stream_name(name)
    told = await connection.request("GET", "/streams", params={"prefix": name, "limit": 1})
    listed = msgspec.json.decode(told.body)["streams"]
    known = listed[0] if listed and listed[0]["stream"] == name else None
    size = known["metadata"].get("bytes") if known else None
    found = Source(name, f"/{name}", is_there=bool(known), size=size)
    if not is_channel_name(name) or (known and known["derived"]):
        return as_stream(found)
    form = known["format"] if known else TSV
    return structs.replace(found, is_channel=True, format=form)


def as_stream(source: Source) -> Source:
    """A channel, read as the stream that it is."""
    from hub.client.connection import segment

    path = f"/streams/{segment(source.name)}"
    return structs.replace(source, path=path, is_channel=False, format=NDJSON)


async def find_there(connection: Connection, name: str) -> Source:
    """The same, if something was written there. Raises `UnknownStream` too."""
    source = await find(connection, name)
    if not source.is_there:
        raise UnknownStream(f"there is no channel or stream {name!r}: 'hub ls' lists what there is")
    return source


async def read(
    connection: Connection,
    source: Source,
    part: Part,
    form: str,
    seen: Callable[[int], object] = lambda version: None,
) -> AsyncGenerator[bytes]:
    """The part of a source in this format, as it comes: in pieces, not in lines.

    `seen` is told the last number that there is of a stream.
    """
    from hub.client.lines import whole_lines

    if source.is_channel:
        path, params = source.path, _channel_part(part)
    else:
        if form == TSV:
            raise InvalidRequest(f"{source.name!r} is no channel: it is read as documents only")
        path, params = await _window(connection, source, part)
    headers = {"Accept": CONTENT_TYPES[form].partition(";")[0]}
    async with connection.open("GET", path, params=params, headers=headers) as response:
        seen(int(response.headers.get(VERSION, 0)))
        pieces = connection.pieces(response)
        if source.is_channel or part.tail is None:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
            return
        lines: deque[bytes] = deque(maxlen=part.tail)
        async with aclosing(whole_lines(pieces)) as chunks:
            async for chunk in chunks:
                lines.extend(chunk.split(b"\n")[:-1])
        if source.path != QUERY:  # which is not read backwards
            lines.reverse()
        yield b"".join([each + b"\n" for each in lines])


def _channel_part(part: Part) -> dict[str, str | int | None]:
    return {
        "since": part.since,
        "until": part.until,
        "event": part.event,
        "tail": part.tail,
        "limit": part.limit,
    }


async def _window(
    connection: Connection, source: Source, part: Part
) -> tuple[str, dict[str, str | int | None]]:
    """The URL of a part of a stream. What was not written yet is not waited for."""
    params = stream_params(source, part.event)
    path = source.path
    if part.since is not None and part.since != "start":
        path += f"/from/{number(part.since, '--since') + 1}"
    if source.path == QUERY:
        if part.until is not None or part.limit is not None:
            raise InvalidRequest("a query takes neither --until nor --limit")
        return path, params
    if part.until is not None:
        last = number(part.until, "--until")
        told = await connection.request("GET", f"{source.path}/version", params=params)
        if last < msgspec.json.decode(told.body)["version"]:
            path += f"/until/{last}"
    if part.tail is not None:
        path += f"/backwards/{part.tail}"
    elif part.limit is not None:
        path += f"/forwards/{part.limit}"
    return path, params


def stream_params(source: Source, event: str | None) -> dict[str, str | int | None]:
    """The parameters of a stream's URL."""
    params: dict[str, str | int | None] = dict(source.query)
    if event is not None:
        if "filter" in params:
            raise InvalidRequest("--event is a filter itself, and the name has one already")
        params["filter"] = msgspec.json.encode({"payload": {"type": event}}).decode()
    return params


def number(text: str, option: str) -> int:
    """A revision or a position. Raises `InvalidRequest`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequest(
            f"{option} of a stream that is no channel is a revision or position, not {text!r}"
        )
    return int(text)
