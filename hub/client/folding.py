"""States from events: `fold` over a history, `scan` live, with a snapshot to go on from.

Owns the snapshot's content. Its file is in `keeping`, its events come from `reading`.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import is_dataclass
from functools import reduce
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from hub.client.connection import Door
from hub.client.errors import InvalidFile
from hub.client.following import OnReconnect
from hub.client.iteration import Iteration
from hub.client.keeping import Keeper
from hub.client.payloads import from_json, to_json
from hub.client.place import Place, Reader
from hub.client.reading import Chunks, history, replayed_to, selection
from hub.client.values import Event
from hub.event import check_channel_name

S = TypeVar("S")

SAVE_SECONDS = 5.0
"""Seconds between two snapshots while events come."""

Reducer = Callable[[S, Event], S]


class Saved(Struct, forbid_unknown_fields=True):
    """What a snapshot holds: a state, and the place behind the last event in it."""

    channel: str
    event: str | None
    place: Place
    state: Raw


class Folding(Door):
    """The methods of a `Hub` for states."""

    async def fold(
        self,
        channel: str,
        reducer: Reducer[S],
        initial: S,
        *,
        since: str | None = None,
        until: str | None = None,
        tail: int | None = None,
        event: str | None = None,
    ) -> S:
        """The state after the history: `reducer(state, event)` of each event gives the next one.

        The parameters select events as for `history`, and it raises the same. What
        the reducer raises goes to the caller.

        Example::

            await hub.publish("orders", {"price": 4}, event="placed")
            total = await hub.fold("orders", lambda total, event: total + event.json()["price"], 0)
            assert total == 4
        """
        params = selection(since=since, until=until, tail=tail, event=event)
        state = initial
        async with aclosing(history(self._connection, check_channel_name(channel), params)) as read:
            async for chunk in read:
                state = reduce(reducer, chunk, state)
        return state

    def scan(
        self,
        channel: str,
        reducer: Reducer[S],
        initial: S,
        *,
        event: str | None = None,
        snapshot: str | os.PathLike[str] | None = None,
        save_every: float = SAVE_SECONDS,
        on_reconnect: OnReconnect | None = None,
    ) -> Iteration[S]:
        """The state after each event, of the history and then live, for ever.

        With `snapshot`, the path of a file, the state and its place are kept there,
        about every `save_every` seconds and at the end, atomically; next time it goes
        on from there, with the state of the snapshot as the first. The state must be
        JSON; a dataclass or a `msgspec.Struct` comes back as what `initial` is. Delete
        the file when the reducer has changed.

        When the log is another one now, it starts over, with `initial` as the next
        state. A reducer may change the state in place: each start has a copy of
        `initial`. What it raises goes to the caller, and the snapshot stays as it was.
        Raises `InvalidFile`, and what `replay` raises.

        Example::

            await hub.publish("orders", {"price": 4}, event="placed")
            add = lambda total, event: total + event.json()["price"]
            async for total in hub.scan("orders", add, 0, snapshot="orders.snapshot"):
                assert total == 4
                break
        """
        name = check_channel_name(channel)

        def replay_to(reader: Reader) -> Chunks:
            return replayed_to(self._connection, name, reader, on_reconnect)

        reader = Reader(Place(), event)
        file = None
        if snapshot is not None:
            file = Snapshot(Keeper(snapshot), name, event, initial)
        return Iteration(_scan(replay_to, reader, reducer, initial, file, save_every))


class Snapshot:
    """The file of one scan."""

    def __init__(self, keeper: Keeper, channel: str, event: str | None, initial: Any) -> None:
        self._keeper = keeper
        self._channel = channel
        self._event = event
        typed = isinstance(initial, Struct) or is_dataclass(initial)
        self._kind: Any = type(initial) if typed else Any
        self._checked = False

    def load(self) -> tuple[Any, Place] | None:
        """The state and its place; None if there is no snapshot yet. Raises `InvalidFile`."""
        saved = self._keeper.load(Saved)
        if saved is None:
            return None
        if (saved.channel, saved.event) != (self._channel, self._event):
            raise InvalidFile(
                f"{self._keeper.path} is a snapshot of {_named(saved.channel, saved.event)}, "
                f"not of {_named(self._channel, self._event)}: give each its own file"
            )
        return from_json(bytes(saved.state), self._kind), saved.place

    def content(self, state: Any, place: Place) -> bytes:
        """What to save. Raises `InvalidFile` for a state that would not come back as it is."""
        text = to_json(state)
        if not self._checked:
            back = from_json(text, self._kind)
            if back != state:
                raise InvalidFile(
                    "the state cannot be kept as JSON, in which keys are text, and tuples and "
                    f"sets are lists: {back!r:.200} would come back for {state!r:.200}"
                )
            self._checked = True
        return msgspec.json.encode(Saved(self._channel, self._event, place, Raw(text)))

    async def save(self, state: Any, place: Place) -> None:
        """Keep a state."""
        await self._keeper.save(self.content(state, place))

    def save_now(self, state: Any, place: Place) -> None:
        """The same, without waiting for other tasks."""
        self._keeper.save_now(self.content(state, place))


def _named(channel: str, event: str | None) -> str:
    return f"channel {channel!r}" + ("" if event is None else f", type {event!r}")


async def _scan(
    replay_to: Callable[[Reader], Chunks],
    reader: Reader,
    reducer: Reducer[S],
    initial: S,
    file: Snapshot | None,
    save_every: float,
) -> AsyncGenerator[Sequence[S], None]:
    done: int | None = None  # how many of the last chunk are in the state; None: all
    found = None if file is None else file.load()
    if found is not None:
        state, place = found
        reader.start(place)
        yield (state,)
    else:
        state = copy.deepcopy(initial)
    saved = time.monotonic()
    sound = True  # not so while the reducer changes the state
    try:
        async with aclosing(replay_to(reader)) as chunks:
            async for chunk in chunks:
                if chunk is None:
                    state = copy.deepcopy(initial)
                    yield (state,)
                    continue
                for done, event in enumerate(chunk):
                    sound = False
                    state = reducer(state, event)
                    done, sound = done + 1, True
                    yield (state,)
                    if file is not None and time.monotonic() - saved > save_every:
                        await file.save(state, reader.behind(done))
                        saved = time.monotonic()
                done = None
    finally:
        if file is not None and sound:
            file.save_now(state, reader.place if done is None else reader.behind(done))
