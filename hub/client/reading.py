"""Reads a channel: its history, and what is new, going on where a reader was.

Owns where a reader begins, each time that it connects. How a connection is kept
alive is in `following`, how lines are read in `lines`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

from hub.client.connection import Connection, Parameters
from hub.client.following import Following, OnReconnect, follow
from hub.client.lines import events_of, whole_lines
from hub.client.place import Place, Reader
from hub.client.values import Event
from hub.errors import HubError, UnknownId

TSV = "text/tab-separated-values"

Chunks = AsyncGenerator[Sequence[Event] | None, None]
"""Events as they come; None where the hub begins again, since it does not know the place."""


def subscription(
    connection: Connection,
    channel: str,
    place: Place | None,
    event: str | None,
    on_reconnect: OnReconnect | None,
    following: Following | None = None,
) -> Chunks:
    """What is written behind a place, for ever; None: from now on."""
    reader = Reader(place or Place(), event)
    return _follow(connection, channel, reader, on_reconnect, following, known=place is not None)


def replayed(
    connection: Connection,
    channel: str,
    place: Place,
    event: str | None,
    on_reconnect: OnReconnect | None,
) -> Chunks:
    """The history behind a place in bulk, then what is new, for ever."""
    return replayed_to(connection, channel, Reader(place, event), on_reconnect)


async def replayed_to(
    connection: Connection, channel: str, reader: Reader, on_reconnect: OnReconnect | None
) -> Chunks:
    """The same to a reader, who knows of each chunk where it ends."""
    following = Following(connection.patience, on_reconnect)
    while True:
        error = None
        try:
            await _connect(connection, channel, reader)
            params = selection(since=reader.place.id, event=reader.asked)
            chunks = history(connection, channel, params)
            async with aclosing(chunks):
                async for came in chunks:
                    following.connected()
                    if events := reader.take(came):
                        yield events
                    if reader.turned:
                        break
            if not reader.turned:
                break
            continue
        except UnknownId:
            reader.reset()
            yield None
            continue
        except HubError as reason:
            error = reason
        await following.pause(error)
    following.connected()
    live = _follow(connection, channel, reader, on_reconnect, following)
    async with aclosing(live):
        async for chunk in live:
            yield chunk


async def _follow(
    connection: Connection,
    channel: str,
    reader: Reader,
    on_reconnect: OnReconnect | None,
    following: Following | None,
    *,
    known: bool = True,
) -> Chunks:
    """What is written behind the place of a reader; unless that is known, from now on."""
    following = following or Following(connection.patience, on_reconnect)
    params: dict[str, str | int | None] = {}

    async def begin() -> str:
        nonlocal known
        if not known:
            reader.start(await end_of(connection, channel))
            known = True
        await _connect(connection, channel, reader)
        # Only of what this reader has seen the hub may say that it is of another log.
        given = reader.place.seen is None
        params.update(event=reader.asked, since=reader.place.id if given else None)
        return "" if given else reader.place.id

    while True:
        messages = follow(connection, f"/{channel}", params, begin, following)
        async with aclosing(messages):
            async for chunk in messages:
                if chunk is None:
                    reader.reset()
                    yield None
                    continue
                if events := reader.take([Event(each.id, each.event, each.data) for each in chunk]):
                    yield events
                if reader.turned:
                    break


async def history(
    connection: Connection, channel: str, params: Parameters
) -> AsyncGenerator[Sequence[Event], None]:
    """The part of a channel that is selected."""
    headers = {"Accept": TSV}
    async with connection.open("GET", f"/{channel}", params=params, headers=headers) as response:
        chunks = whole_lines(connection.pieces(response))
        async with aclosing(chunks):
            async for chunk in chunks:
                yield events_of(chunk)


async def end_of(connection: Connection, channel: str) -> Place:
    """The place behind the last event there is."""
    rows = await _run_until(connection, channel, None)
    return Place(rows[-1].id, len(rows), whole=True) if rows else Place()


async def _connect(connection: Connection, channel: str, reader: Reader) -> None:
    """Make a reader ready for what comes behind its place."""
    if reader.vague:
        run: list[Event] = []
        with suppress(UnknownId):
            run = await _run_until(connection, channel, reader.place.id)
        reader.settle(run)
    reader.connect()


async def _run_until(connection: Connection, channel: str, until: str | None) -> list[Event]:
    """The last events in a row that share an id; with `until`, this id."""
    tail = 2
    while True:
        params = selection(until=until, tail=tail)
        chunks = history(connection, channel, params)
        async with aclosing(chunks):
            rows = [each async for chunk in chunks for each in chunk]
        run = len(rows)
        while run and rows[run - 1].id == rows[-1].id:
            run -= 1
        if run or len(rows) < tail:
            return rows[run:]
        tail *= 8


def selection(
    *,
    since: str | None = None,
    until: str | None = None,
    tail: int | None = None,
    limit: int | None = None,
    event: str | None = None,
) -> Parameters:
    """The parameters that select a part of a history."""
    return {"since": since, "until": until, "tail": tail, "limit": limit, "event": event}
