"""Channels: publish, read the history, follow it.

Owns what is asked of `/{channel}`. How it is read is in `reading`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from hub.client.connection import Door
from hub.client.errors import UnexpectedAnswer
from hub.client.following import OnReconnect
from hub.client.importing import Events, publish_all
from hub.client.iteration import Iteration
from hub.client.payloads import data_of, id_of, type_of
from hub.client.place import START, Place
from hub.client.reading import Chunks, history, replayed, selection, subscription
from hub.client.values import Event, Published
from hub.event import check_channel_name

TEXT = "text/plain; charset=utf-8"
CREATED = 201


class Channels(Door):
    """The methods of a `Hub` for channels."""

    async def publish(
        self,
        channel: str,
        data: Any,
        *,
        event: str = "",
        id: str | None = None,  # noqa: A002
    ) -> str:
        """Write one event; return its id when it is as durable as the hub promises.

        `data` is text (`str`, or UTF-8 `bytes`), kept to the letter but for line
        breaks, which become LF; or anything else that JSON can say. `event` is its
        type. Without `id` the hub gives one: the time.

        It is not tried again by itself once it may have been stored: after
        `Disconnected` that is not known. With `Hub(…, patience=seconds)` it is tried
        again while surely nothing was stored. Raises `InvalidName`, `InvalidEvent`,
        `TooLarge`, `StreamClosed`, `LogUnavailable`, `Unreachable`, and other `HubError`.

        Example::

            event_id = await hub.publish("orders", {"item": "tea"}, event="placed")
            await hub.publish("orders", "any text", event="note", id="note-1")
        """
        params = {"event": type_of(event) or None, "id": id_of(id or "") or None}
        answer = await self._connection.request(
            "POST",
            "/" + check_channel_name(channel),
            params=params,
            headers={"Content-Type": TEXT},
            # The hub drops one line break at the end, which would be one of the data's own.
            body=data_of(data) + b"\n",
        )
        if answer.status != CREATED:
            raise UnexpectedAnswer(f"what answers at {self._connection.url} is no hub")
        return answer.body.decode()

    async def publish_many(
        self,
        channel: str,
        events: Events,
        *,
        event: str = "",
        progress: Callable[[Published], object] | None = None,
    ) -> Published:
        """Write any number of events, in order and in batches; return what was stored.

        `events` may be iterable or an async iterable, of any length: only what
        travels is held. Each is an `Event`, with its own type and its own id (if that
        is empty the hub gives one), or data as for `publish`, with the type `event`.
        `progress` is called with the sum after each batch.

        A batch is stored whole or not at all. If something fails, the batches before
        it stay stored: the error has their number as `stored`, the `line` of an
        `InvalidEvent` is the number of the event, counted from 1. After `Disconnected`
        the batch behind those may have been stored too.

        Example::

            done = await hub.publish_many("orders", ({"n": n} for n in range(1000)), event="made")
            assert done.count == 1000
        """
        return await publish_all(
            self._connection, check_channel_name(channel), events, type_of(event), progress
        )

    def history(
        self,
        channel: str,
        *,
        since: str | None = None,
        until: str | None = None,
        tail: int | None = None,
        limit: int | None = None,
        event: str | None = None,
    ) -> Iteration[Event]:
        """The events that are there, the oldest first.

        `since` and `until` are ids or ISO 8601 times: behind the one, up to and with
        the other; `tail` gives the last so many of these, `limit` the first; `event`
        those of one type. Raises `UnknownId` for what is neither an id nor a time, and
        `Disconnected` if it breaks off.

        Example::

            await hub.publish("orders", {"item": "tea"}, event="placed")
            async for event in hub.history("orders", tail=10, event="placed"):
                print(event.id, event.json()["item"])
        """
        params = selection(since=since, until=until, tail=tail, limit=limit, event=event)
        return Iteration(history(self._connection, check_channel_name(channel), params))

    def subscribe(
        self,
        channel: str,
        *,
        since: str | None = None,
        event: str | None = None,
        on_reconnect: OnReconnect | None = None,
        on_reset: Callable[[], object] | None = None,
    ) -> Iteration[Event]:
        """Events as they are written, for ever.

        `since` is where to begin: `None`, with what is new; `"start"`, with the first
        event; or behind an id or a time. `event` gives those of one type.

        When the connection breaks, or is silent for too long, it is made again after a
        while (see `Reconnecting`), and goes on where it was: no event is missed or
        comes twice. The first connection is tried for the hub's `patience` only.
        Raises what an answer of status 400, 401, 403 or 404 tells.

        `on_reset` is called when the hub does not know the place any more, since the
        log is another one now: what follows is that log from its start.

        Example::

            await hub.publish("orders", {"item": "tea"}, event="placed")
            async for event in hub.subscribe("orders", since="start"):
                print(event.event, event.data)
                break
        """
        name = check_channel_name(channel)
        place = Place(since) if since else None
        chunks = subscription(self._connection, name, place, event, on_reconnect)
        return Iteration(_without_resets(chunks, on_reset))

    def replay(
        self,
        channel: str,
        *,
        since: str = START,
        event: str | None = None,
        on_reconnect: OnReconnect | None = None,
        on_reset: Callable[[], object] | None = None,
    ) -> Iteration[Event]:
        """The history as fast as it can be read, then what is new, for ever.

        The same as `subscribe` from `since` on, faster while there is much to read.

        Example::

            await hub.publish("orders", {"item": "tea"}, event="placed")
            async for event in hub.replay("orders"):
                print(event.event, event.data)
                break
        """
        name = check_channel_name(channel)
        chunks = replayed(self._connection, name, Place(since or START), event, on_reconnect)
        return Iteration(_without_resets(chunks, on_reset))


async def _without_resets(
    chunks: Chunks, on_reset: Callable[[], object] | None
) -> AsyncGenerator[Sequence[Event], None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            if chunk is not None:
                yield chunk
            elif on_reset is not None:
                on_reset()
