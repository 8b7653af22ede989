"""Many events to one channel: batches of TSV, one after the other.

Owns how large a batch is, and what is told when one fails. While a batch travels
the next one is made, so that two at most are held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from hub.client.connection import Connection
from hub.client.lines import line_of
from hub.client.payloads import column_of, id_of, type_of
from hub.client.values import Published
from hub.errors import HubError, InvalidEvent, InvalidRequest
from hub.event import Event

Events = Iterable[Any] | AsyncIterable[Any]

BATCH_EVENTS = 20_000
BATCH_BYTES = 2 * 1024 * 1024
"""The bytes at which a batch is full; the last event may lie above."""

CONTENT_TYPE = "text/tab-separated-values"


async def publish_all(
    connection: Connection,
    channel: str,
    events: Events,
    event: str,
    progress: Callable[[Published], object] | None,
) -> Published:
    """Write all events; return what was stored."""
    if isinstance(events, str | bytes | bytearray | memoryview | Mapping):
        raise InvalidRequest("'events' is one event: put it into a list, or use publish")
    done = Published()

    async def send(batch: list[bytes]) -> None:
        nonlocal done
        answer = await connection.request(
            "POST", f"/{channel}", headers={"Content-Type": CONTENT_TYPE}, body=b"".join(batch)
        )
        done = done.plus(answer.json(Published))
        if progress is not None:
            progress(done)

    sending: asyncio.Task[None] | None = None
    try:
        async with aclosing(_batches(events, event)) as batches:
            async for batch in batches:
                if sending is not None:
                    await sending
                sending = asyncio.create_task(send(batch))
                await asyncio.sleep(0)  # off it goes
        if sending is not None:
            await sending
    except BaseException as error:
        if sending is not None and not sending.done():
            if isinstance(error, asyncio.CancelledError):
                sending.cancel()
            with suppress(HubError, asyncio.CancelledError):
                await sending
        _tell(error, done)
        raise
    return done


def _tell(error: BaseException, done: Published) -> None:
    if isinstance(error, InvalidEvent) and error.line is not None and error.status is not None:
        error.line += done.count  # the hub counts within the batch
    if isinstance(error, HubError):
        error.stored = done.count
    if isinstance(error, Exception):
        error.add_note(f"{done.count} events were stored before, up to id {done.last!r}")


async def _batches(events: Events, event: str) -> AsyncGenerator[list[bytes], None]:
    head = b"\t" + event.encode() + b"\t"
    batch: list[bytes] = []
    size = number = 0
    async with aclosing(_each(events)) as chunks:
        async for chunk in chunks:
            for each in chunk:
                number += 1
                try:
                    if isinstance(each, Event):
                        line = line_of(id_of(each.id), type_of(each.event), column_of(each.data))
                    else:
                        line = b"%b%b\n" % (head, column_of(each))
                except InvalidEvent as error:
                    if batch:
                        yield batch
                    raise InvalidEvent(error.reason, number) from None
                batch.append(line)
                size += len(line)
                if size >= BATCH_BYTES or len(batch) >= BATCH_EVENTS:
                    yield batch
                    batch, size = [], 0
    if batch:
        yield batch


async def _each(events: Events) -> AsyncGenerator[Iterable[Any], None]:
    if isinstance(events, AsyncIterable):
        async for each in events:
            yield (each,)
    else:
        yield events
