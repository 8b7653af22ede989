"""What comes to a source, as lines, for ever: through restarts of the hub.

Owns that nothing is missed and nothing comes twice between the events that are there
and those that come.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import Struct

from hub.cli.program import say
from hub.cli.sources import Part, Source, as_stream, read, stream_params
from hub.cli.terminal import note
from hub.document import metadata_of
from hub.event import Event
from hub.formats import NDJSON, TSV, encode_line

if TYPE_CHECKING:
    from hub import sse
    from hub.client.connection import Connection
    from hub.client.following import Following
    from hub.client.place import Place
    from hub.client.values import Reconnecting

Chunks = AsyncGenerator[bytes, None]
"""Whole lines; nothing where the log has become another one, which comes from its start."""

_BEYOND = "9" * 17  # no stream is so long: a read from there tells its version only

RESET = "it does not know the place any more: everything comes from the start"


class Notes(Struct):
    """What a person is told of one source while it is followed."""

    name: str
    broken: bool = False

    def reconnect(self, told: Reconnecting) -> None:
        """The connection has to be made again. Said once until it is there."""
        if not self.broken:
            reason = told.error or "the hub ended it"
            note(f"hub: {self.name}: the connection broke ({reason}): trying again")
        self.broken = True

    def come(self) -> None:
        """Something came."""
        if self.broken:
            note(f"hub: {self.name}: the hub is back")
        self.broken = False

    def reset(self) -> None:
        """What comes now was there before."""
        say(f"{self.name}: {RESET}")


def follow(connection: Connection, source: Source, part: Part, form: str) -> Chunks:
    """A part of a source, and then what is added. `part` has no `until` or `limit`.

    Without `since` and `tail` it is what is added only. Lines of a channel come as rows
    if `form` is TSV. Raises what cannot be mended by trying again.
    """
    if form == TSV:
        return _rows(connection, source.name, part)
    return _documents(connection, source, part)


async def _rows(connection: Connection, channel: str, part: Part) -> Chunks:
    from hub.client.place import Place
    from hub.client.reading import replayed, subscription

    notes = Notes(channel)
    event = part.event
    if part.since is not None:
        live = replayed(connection, channel, Place(part.since), event, notes.reconnect)
    else:
        lines, place = await _last(connection, channel, part.tail or 0, event)
        if lines:
            yield b"".join(lines)
        live = subscription(connection, channel, place, event, None, _patient(connection, notes))
    async with aclosing(live):
        async for events in live:
            if events is None:
                notes.reset()
                yield b""
                continue
            notes.come()
            yield b"".join([encode_line(each) for each in events])


async def _last(
    connection: Connection, channel: str, tail: int, event: str | None
) -> tuple[list[bytes], Place]:
    """The last so many rows of a channel, and the place behind them."""
    from hub.client.place import Place

    source = Source(channel, f"/{channel}", is_channel=True)
    asked = tail + 1
    while True:
        pieces = [
            piece async for piece in read(connection, source, Part(event=event, tail=asked), TSV)
        ]
        lines = b"".join(pieces).split(b"\n")[:-1]
        ids = [line.partition(b"\t")[0] for line in lines]
        # The place is behind so many events in a row that share an id: how many must be known.
        if len(ids) < asked or len(set(ids)) > 1 or not ids:
            break
        asked *= 8
    events = [Event(each.decode(), "", "") for each in ids]
    return [line + b"\n" for line in lines[len(lines) - tail :]] if tail else [], (
        Place().after(events)
    )


async def _documents(connection: Connection, source: Source, part: Part) -> Chunks:
    from hub.client.following import follow as messages_of
    from hub.client.lines import whole_lines

    notes = Notes(source.name)
    view = as_stream(source) if source.is_channel else source
    cursor = 0

    def see(version: int) -> None:
        nonlocal cursor
        cursor = max(cursor, version)

    async def begin() -> str:
        return str(cursor)

    if not source.is_there:
        await _first(connection, source.name)
    else:
        of_channel = source.is_channel and part.since is not None  # by ids and times
        if of_channel or (part.since is None and not part.tail):
            async for _ in read(connection, view, Part(since=_BEYOND), NDJSON, see):
                pass
        if part.since is not None or part.tail:
            history = read(connection, source if of_channel else view, part, NDJSON, see)
            async with aclosing(whole_lines(history)) as chunks:
                async for lines in chunks:
                    if of_channel:
                        last = metadata_of(lines[lines.rfind(b"\n", 0, -1) + 1 :])
                        see((last.stream_version or 0) + 1)
                    yield lines
    params = stream_params(view, part.event)
    live = messages_of(connection, view.path, params, begin, _patient(connection, notes))
    async with aclosing(live):
        async for messages in live:
            if messages is None:
                notes.reset()
                cursor = 0
                yield b""
                continue
            notes.come()
            cursor = int(messages[-1].id)
            yield _lines(messages)


def _patient(connection: Connection, notes: Notes) -> Following:
    """Tries for ever: the hub has answered already."""
    from hub.client.following import Following

    following = Following(connection.patience, notes.reconnect)
    following.connected()
    return following


async def _first(connection: Connection, channel: str) -> None:
    """Wait until there is something in a channel."""
    from hub.client.place import Place
    from hub.client.reading import subscription

    live = subscription(connection, channel, Place(), None, None)
    async with aclosing(live):
        async for events in live:
            if events:
                return


def _lines(messages: Sequence[sse.Message]) -> bytes:
    return b"".join([each.data.encode() + b"\n" for each in messages])
