"""Handlers: each event of a channel to a function, at least once, across restarts.

Owns who handles what, what happens when a handler raises, and the file of places. One
connection per channel: over one for all (a join of streams) events would come as
documents, in which text and JSON are not as they were published.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from msgspec import Struct

from hub.client.backoff import Backoff
from hub.client.connection import Connection, Door
from hub.client.errors import HandlerFailed
from hub.client.following import OnReconnect
from hub.client.keeping import Keeper
from hub.client.payloads import to_json, type_of
from hub.client.place import START, Place
from hub.client.reading import end_of, replayed
from hub.client.values import Event
from hub.errors import InvalidRequest
from hub.event import check_channel_name

ATTEMPTS = 5
"""How often a handler is called with an event before that is reported."""

RETRY_SECONDS = 0.2
"""Before the second attempt; it doubles from there on."""

SAVE_SECONDS = 1.0
"""Between two writes of the file of places."""

Handler = Callable[[Event], Any]
H = TypeVar("H", bound=Handler)
OnError = Callable[[Event, Exception], Any]


class _Registered(Struct):
    event: str | None
    handler: Handler


class Positions(Struct, forbid_unknown_fields=True):
    """What the file of places holds: where each channel was handled up to."""

    positions: dict[str, Place]


class Reacting(Door):
    """The methods of a `Hub` for handlers."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._handlers: dict[str, list[_Registered]] = {}

    def on(self, channel: str, event: str | None = None) -> Callable[[H], H]:
        """Register the function below for the events of a channel, or those of one type.

        It is called with the `Event`, and may be a coroutine function. Of several for
        one event, each is called, in the order of registration. `run` calls them.

        Example::

            @hub.on("orders", event="placed")
            async def pack(event):
                print("packing", event.json()["item"])
        """
        check_channel_name(channel)
        type_of(event or "")

        def register(handler: H) -> H:
            self._handlers.setdefault(channel, []).append(_Registered(event, handler))
            return handler

        return register

    async def run(
        self,
        *,
        position: str | os.PathLike[str] | None = None,
        since: str | None = START,
        attempts: int = ATTEMPTS,
        on_error: OnError | None = None,
        on_reconnect: OnReconnect | None = None,
    ) -> None:
        """Call the registered handlers with each event, for ever.

        Channels are followed side by side, each in order: the next event comes when
        every handler of this one has returned. Between channels there is no order.

        `position` is the path of a file that keeps how far each channel was handled,
        replaced atomically about every second and at the end. The next run goes on from
        there; a channel that is not in it begins at `since`: `"start"`, an id, a time,
        or None for what is new. Each event is handled at least once: after a crash
        those of the last second come again. When a log is another one now, all of the
        new one is handled.

        A handler that raises is called again, `attempts` times in all, each time later
        than before. Then `on_error(event, error)` is called, and the event counts as
        handled; without `on_error` (or if that raises) `run` ends with `HandlerFailed`
        (or with that), and the event is the first one of the next run. Cancelling is
        safe: the handler is cancelled, and its event comes again.

        Example::

            @hub.on("orders")
            async def handle(event):
                print(event.data)

            worker = asyncio.create_task(hub.run(position="worker.position"))
            await hub.publish("orders", "first")
            worker.cancel()
        """
        if not self._handlers:
            raise InvalidRequest("no handler is registered: decorate one with @hub.on(channel)")
        work = _Work(
            self._connection,
            None if position is None else Keeper(position),
            max(1, attempts),
            on_error,
            on_reconnect,
        )
        await work.run({name: tuple(each) for name, each in self._handlers.items()}, since)


class _Work:
    """One run: the places of all channels, and how they are kept."""

    def __init__(
        self,
        connection: Connection,
        keeper: Keeper | None,
        attempts: int,
        on_error: OnError | None,
        on_reconnect: OnReconnect | None,
    ) -> None:
        self._connection = connection
        self._keeper = keeper
        self._attempts = attempts
        self._on_error = on_error
        self._on_reconnect = on_reconnect
        self._places: dict[str, Place] = {}
        # Of each channel, what came last, and how many of it were handled.
        self._chunks: dict[str, tuple[Sequence[Event], int]] = {}
        self._changed = False

    async def run(self, handlers: dict[str, tuple[_Registered, ...]], since: str | None) -> None:
        if self._keeper is not None:
            found = self._keeper.load(Positions)
            self._places = {} if found is None else found.positions
        for channel in handlers:
            if channel not in self._places:
                place = Place(since) if since else await end_of(self._connection, channel)
                self._places[channel] = place
        self._changed = True
        tasks = [asyncio.create_task(self._handle(*each)) for each in handlers.items()]
        tasks.append(asyncio.create_task(self._save_at_times()))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._keeper is not None and self._changed:
                self._keeper.save_now(self._content())

    async def _handle(self, channel: str, handlers: tuple[_Registered, ...]) -> None:
        start = self._places[channel]
        chunks = replayed(self._connection, channel, start, None, self._on_reconnect)
        async with aclosing(chunks):
            async for chunk in chunks:
                if chunk is None:
                    self._places[channel] = Place()
                    self._changed = True
                    continue
                for done, event in enumerate(chunk, 1):
                    for each in handlers:
                        if each.event is None or each.event == event.event:
                            await self._call(channel, each.handler, event)
                    self._chunks[channel] = chunk, done
                    self._changed = True
                self._places[channel] = self._place(channel)
                self._chunks.pop(channel, None)

    async def _call(self, channel: str, handler: Handler, event: Event) -> None:
        backoff = Backoff(RETRY_SECONDS)
        while True:
            try:
                await _awaited(handler(event))
                return
            except Exception as error:
                wait = backoff.next()
                if backoff.attempt >= self._attempts:
                    name = getattr(handler, "__name__", repr(handler))
                    if self._on_error is None:
                        raise HandlerFailed(
                            f"handler {name!r} failed {self._attempts} times at event "
                            f"{event.id!r} of channel {channel!r}: {error!r}",
                            channel,
                            event,
                        ) from error
                    await _awaited(self._on_error(event, error))
                    return
            await asyncio.sleep(wait)

    def _place(self, channel: str) -> Place:
        chunk, done = self._chunks.get(channel, ((), 0))
        return self._places[channel].after(chunk[:done])

    def _content(self) -> bytes:
        self._changed = False
        return to_json(Positions({name: self._place(name) for name in self._places}))

    async def _save_at_times(self) -> None:
        while self._keeper is not None:
            if self._changed:
                await self._keeper.save(self._content())
            await asyncio.sleep(SAVE_SECONDS)


async def _awaited(value: Awaitable[object] | object) -> None:
    if inspect.isawaitable(value):
        await value
