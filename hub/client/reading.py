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
from hub.client.place import START, Place, drop_seen
from hub.client.values import Event
from hub.errors import HubError, UnknownId
from hub.event import is_hub_form

TSV = "text/tab-separated-values"

Chunks = AsyncGenerator[Sequence[Event] | None, None]
"""Events as they come; None where the hub begins again, since it does not know the place."""


async def subscription(
    connection: Connection,
    channel: str,
    place: Place | None,
    event: str | None,
    on_reconnect: OnReconnect | None,
    following: Following | None = None,
) -> Chunks:
    """What is written behind a place, for ever; None: from now on."""
    following = following or Following(connection.patience, on_reconnect)
    here = place or Place()
    known = place is not None
    count = 0  # events to drop, since they were seen
    params: dict[str, str | int | None] = {"event": event}

    async def begin() -> str:
        nonlocal here, known, count
        if not known:
            here = await end_of(connection, channel, event)
            known = True
        here, count = await _resume(connection, channel, here, event)
        # Only of what this reader has seen the hub may say that it is of another log.
        params["since"] = here.id if here.given else None
        return "" if here.given else here.id

    messages = follow(connection, f"/{channel}", params, begin, following)
    async with aclosing(messages):
        async for chunk in messages:
            if chunk is None:
                here, count = Place(), 0
                yield None
                continue
            events: Sequence[Event] = [Event(each.id, each.event, each.data) for each in chunk]
            if count:
                events, count = drop_seen(events, here, count)
            here = here.after(events)
            if events:
                yield events


async def replayed(
    connection: Connection,
    channel: str,
    place: Place,
    event: str | None,
    on_reconnect: OnReconnect | None,
) -> Chunks:
    """The history behind a place in bulk, then what is new, for ever."""
    following = Following(connection.patience, on_reconnect)
    while True:
        error = None
        try:
            place, count = await _resume(connection, channel, place, event)
            chunks = history(connection, channel, selection(since=place.id, event=event))
            async with aclosing(chunks):
                async for events in chunks:
                    following.connected()
                    if count:
                        events, count = drop_seen(events, place, count)
                    place = place.after(events)
                    if events:
                        yield events
            break
        except UnknownId:
            place = Place()
            yield None
            continue
        except HubError as reason:
            error = reason
        await following.pause(error)
    following.connected()
    live = subscription(connection, channel, place, event, on_reconnect, following)
    async with aclosing(live):
        async for chunk in live:
            yield chunk


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


async def end_of(connection: Connection, channel: str, event: str | None = None) -> Place:
    """The place behind the last event there is."""
    rows = await _run_until(connection, channel, None)
    if not rows:
        return Place()
    return Place(rows[-1].id, sum(event is None or each.event == event for each in rows))


async def _resume(
    connection: Connection, channel: str, place: Place, event: str | None
) -> tuple[Place, int]:
    """The place, and how many events that were seen the hub will send again from there on.

    It begins behind the first event of those in a row that have the id, which was not
    seen, and thus not counted, if it is of another type.
    """
    first = 1
    unique = (place.seen is None or place.seen < 2) and is_hub_form(place.id.encode())
    if event is not None and place.id != START and not unique:
        with suppress(UnknownId):
            run = await _run_until(connection, channel, place.id)
            first = int(not run or run[0].event == event)
    seen = first if place.seen is None else place.seen
    given = place.given or place.seen is None
    return Place(place.id, seen, given), max(0, seen - first)


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
