"""`hub bench`: a quick load against a running hub, with a table of what it did.

It measures the hub and this client together, on whatever else the machine does:
`benchmarks/` in the sources measures in earnest.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec import Struct

from hub.cli.output import write
from hub.cli.talking import talk, url_option
from hub.cli.terminal import print_table, progress
from hub.formats import CONTENT_TYPES, TSV

if TYPE_CHECKING:
    from hub.client.connection import Connection

BATCH = 1000
"""Events in a batch."""

PACE_SECONDS = 0.005
"""Between two posts whose delivery is measured: that nothing waits in a queue."""


ARRIVAL_SECONDS = 10.0
"""After which an event that was posted should have come."""


class Result(Struct):
    """What one kind of load came to. Times are in milliseconds."""

    load: str
    events: int
    per_second: float
    megabytes_per_second: float
    p50: float | None = None
    p99: float | None = None


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=3.0,
    show_default=True,
    help="How long each kind of load goes on.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1000),
    default=16,
    show_default=True,
    help="Connections that post one event at a time.",
)
@click.option(
    "--size",
    type=click.IntRange(20),
    default=100,
    show_default=True,
    help="Bytes of an event's data.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each result as JSON.")
@url_option
def bench(seconds: float, connections: int, size: int, as_json: bool, url: str) -> None:
    """Put load on a running hub for some seconds, and print what it did.

    It posts events one at a time over several connections, posts batches, measures how long
    an event takes from its post to a subscriber, and reads a history. It writes to channels
    of its own, called bench-…, which stay; it says which.

    \b
    Example:
      hub bench
      hub bench --seconds 10 --connections 64 --size 1000
    """
    name = f"bench-{secrets.token_hex(3)}"
    channels = [f"{name}-posts", f"{name}-batches", f"{name}-live"]

    async def work(connection: Connection) -> list[Result]:
        load = Load(connection, seconds, b"x" * size)
        runs: list[Callable[[], Awaitable[Result]]] = [
            lambda: load.posts(channels[0], connections),
            lambda: load.batches(channels[1]),
            lambda: load.live(channels[2]),
            lambda: load.history(channels[1]),
        ]
        results = []
        with progress("measuring", len(runs)) as bar:
            for run in runs:
                results.append(await run())
                bar.advance(1)
        return results

    try:
        results = talk(url, work)
    finally:
        click.echo(f"channels written, which stay: {', '.join(channels)}", err=True)
    if as_json:
        write(b"".join([msgspec.json.encode(each) + b"\n" for each in results]))
    else:
        head = ("LOAD", "EVENTS", "EVENTS/s", "MB/s", "p50 ms", "p99 ms")
        print_table(head, [_row(each) for each in results])


class Load:
    """Kinds of load, each for some seconds."""

    def __init__(self, connection: Connection, seconds: float, data: bytes) -> None:
        self._connection = connection
        self._seconds = seconds
        self._data = data

    async def posts(self, channel: str, connections: int) -> Result:
        """Events, one for each request, over so many connections at once."""
        times: list[float] = []
        end = time.perf_counter() + self._seconds

        async def post() -> None:
            while (began := time.perf_counter()) < end:
                await self._post(channel, self._data)
                times.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*[post() for _ in range(connections)])
        took = time.perf_counter() - began
        load = f"post one event, {connections} connections"
        return _result(load, len(times), len(times) * len(self._data), took, times)

    async def batches(self, channel: str) -> Result:
        """Batches, one after the other."""
        body = (b"\t\t" + self._data + b"\n") * BATCH
        times: list[float] = []
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + self._seconds:
            await self._post(channel, body, CONTENT_TYPES[TSV])
            times.append(time.perf_counter() - now)
        took = time.perf_counter() - began
        events = len(times) * BATCH
        load = f"post batches of {BATCH}"
        return _result(load, events, events * len(self._data), took, times)

    async def live(self, channel: str) -> Result:
        """From the post of an event to its arrival at a subscriber, one at a time."""
        from hub.client.place import Place
        from hub.client.reading import subscription

        times: list[float] = []
        sent: asyncio.Queue[float] = asyncio.Queue()

        async def receive() -> None:
            live = subscription(self._connection, channel, Place(), None, None)
            async with aclosing(live):
                async for events in live:
                    now = time.perf_counter()
                    for _ in events or ():
                        times.append(now - sent.get_nowait())
                        sent.task_done()

        receiving = asyncio.ensure_future(receive())
        began = time.perf_counter()
        try:
            while time.perf_counter() < began + self._seconds:
                sent.put_nowait(time.perf_counter())
                await self._post(channel, self._data)
                await asyncio.sleep(PACE_SECONDS)
            async with asyncio.timeout(ARRIVAL_SECONDS):
                await sent.join()
        finally:
            receiving.cancel()
        took = time.perf_counter() - began
        return _result("from post to subscriber", len(times), 0, took, times)

    async def history(self, channel: str) -> Result:
        """The whole history of a channel, as one file."""
        events = size = 0
        began = time.perf_counter()
        async with (
            self._connection.open("GET", f"/{channel}") as response,
            aclosing(self._connection.pieces(response)) as pieces,
        ):
            async for piece in pieces:
                events += piece.count(b"\n")
                size += len(piece)
        return _result("read a history", events, size, time.perf_counter() - began)

    async def _post(self, channel: str, body: bytes, kind: str = "text/plain") -> None:
        headers = {"Content-Type": kind}
        await self._connection.request("POST", f"/{channel}", headers=headers, body=body)


def _result(
    load: str, events: int, size: int, seconds: float, times: list[float] | None = None
) -> Result:
    result = Result(load, events, events / seconds, size / seconds / 1e6)
    if times:
        times = sorted(times)
        result.p50 = 1000 * times[len(times) // 2]
        result.p99 = 1000 * times[len(times) * 99 // 100]
    return result


def _row(each: Result) -> tuple[str, ...]:
    times = ["" if value is None else f"{value:.2f}" for value in (each.p50, each.p99)]
    speed = f"{each.megabytes_per_second:,.1f}" if each.megabytes_per_second else ""
    return each.load, f"{each.events:,}", f"{each.per_second:,.0f}", speed, *times
