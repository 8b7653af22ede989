"""Clients that send a byte a second, on many connections at once."""

from __future__ import annotations

import asyncio
import resource
import socket
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.pool import Pool

from evidence.holding import files as open_files
from evidence.holding import resident
from evidence.run import Run, check
from tests.process import PATIENCE, HubProcess

HEAD = b"POST /a-channel HTTP/1.1\r\nHost: hub\r\nX: "
BODY = b"POST /a-channel HTTP/1.1\r\nHost: hub\r\nContent-Length: 60000\r\n\r\n"
CHUNKED = (
    b"POST /a-channel HTTP/1.1\r\nHost: hub\r\nContent-Type: application/x-ndjson\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
WAYS = {
    "say nothing": (b"", b""),
    "head": (HEAD, b"x"),
    "body": (BODY, b"x"),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
}
"""What is sent first, and what each second."""

MEMORY = 20_000
"""Bytes of the hub's memory that a connection may take: buffers, mostly of the allocator."""


def slow(run: Run) -> list[str]:
    """Send heads and bodies of requests a byte a second, from many connections at once.

    Honest clients post and subscribe meanwhile: their posts take about as long as
    before, nothing is lost, and a subscriber that is silent stays. All others are
    closed, in the time that the options say, and come again until it is over. In the
    end the hub has no more open files than before. Short: 400 connections, a time of
    two seconds; long: 8,000, with the hub's defaults.
    """
    return asyncio.run(_Attack(run).go())


@dataclass
class _Attack:
    run: Run
    ended: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    over: bool = False
    honest: Pool = field(default_factory=lambda: get_context("spawn").Pool(1))

    async def go(self) -> list[str]:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        run = self.run
        options = () if run.long else ("--idle-timeout", "2", "--body-timeout", "2")
        limits = {"head": 75.0, "body": 30.0} if run.long else {"head": 2.0, "body": 2.0}
        hub = HubProcess(run.directory / "events", run.directory / "hub.log", *options)
        await asyncio.to_thread(hub.start)
        try:
            return await self._attack(hub, limits)
        finally:
            hub.kill()
            self.honest.terminate()

    async def _attack(self, hub: HubProcess, limits: dict[str, float]) -> list[str]:
        run, count = self.run, self.run.pick(400, 8000)
        subscriber = asyncio.create_task(self._subscribe(hub))
        before = await self._post(hub, 100)
        files, memory = open_files(hub), resident(hub)
        attackers = [
            asyncio.create_task(self._attacker(hub, way))
            for number in range(count)
            for way in [list(WAYS)[number % len(WAYS)]]
        ]
        await asyncio.sleep(min(limits.values()) / 2)
        held, most = open_files(hub) - files, resident(hub) - memory
        run.say(f"{held} connections are held")
        during = await self._post(hub, 100)
        await asyncio.sleep(max(limits.values()) * 1.6)
        self.over = True
        for each in attackers:
            each.cancel()
        await asyncio.gather(*attackers, return_exceptions=True)
        after = await self._post(hub, 100)
        for _ in range(100):
            if open_files(hub) > files + 2:
                await asyncio.sleep(0.1)
        check(open_files(hub) <= files + 2, f"{open_files(hub)} files are open, {files} before")
        check(held > count * 0.9, f"only {held} connections were held: this shows nothing")
        check(most < 20_000_000 + held * MEMORY, f"{most} bytes were taken by {held} connections")
        events = await asyncio.wait_for(subscriber, PATIENCE)
        check(events == 300, f"the subscriber got {events} events of 300")
        check(during < before * 5 + 0.05, f"a post took {before:.4f} s, and {during:.4f} s then")
        log = hub.log
        check("Traceback" not in log and "ERROR" not in log, "the hub's log has an error")
        shown = [f"{held:,} connections were held, with {most / 1e6:.0f} MB"]
        for way, times in self.ended.items():
            limit = limits["head" if way in ("head", "say nothing") else "body"]
            check(times, f"nobody was closed who sent slowly: {way}")
            late = max(times)
            check(late < limit * 1.5 + 3, f"{way}: closed only after {late:.1f} s")
            shown.append(f"{way}: {len(times):,} closed, at the latest after {late:.1f} s")
        shown.append(
            f"a post took {before * 1000:.1f} ms before, {during * 1000:.1f} ms meanwhile, "
            f"{after * 1000:.1f} ms after (median of 100)"
        )
        return shown

    async def _attacker(self, hub: HubProcess, way: str) -> None:
        """Send slowly, and again on a new connection when that is closed."""
        first, each = WAYS[way]
        while not self.over:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
                try:
                    began = time.monotonic()
                    closed = asyncio.create_task(_closed(reader))
                    writer.write(first)
                    while not closed.done():
                        writer.write(each)
                        await asyncio.wait([closed], timeout=1)
                    self.ended[way].append(time.monotonic() - began)
                finally:
                    writer.transport.abort()

    async def _post(self, hub: HubProcess, count: int) -> float:
        """Post so often; the median of the seconds. In a process that has nothing else to do."""
        times = await asyncio.to_thread(self.honest.apply, post, (hub.port, count))
        return statistics.median(times)

    async def _subscribe(self, hub: HubProcess) -> int:
        """Get 300 events, over all that; how many came."""
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(
            b"GET /a-channel?since=start HTTP/1.1\r\nHost: hub\r\nAccept: text/event-stream\r\n\r\n"
        )
        count = 0
        while count < 300 and (line := await reader.readline()):
            count += line.startswith(b"data:")
        writer.close()
        return count


async def _closed(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(65536):
            pass


def post(port: int, count: int) -> list[float]:
    """Post so often, each time on a connection of its own; how many seconds each took."""
    times = []
    for _ in range(count):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(
                b"POST /a-channel HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n"
                b"Content-Length: 1\r\n\r\nx"
            )
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        check(answer.startswith(b"HTTP/1.1 201 "), f"a post was answered {answer[:60]!r}")
        times.append(time.monotonic() - began)
    return times
