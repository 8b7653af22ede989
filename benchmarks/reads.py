"""Reads of streams by one to sixteen readers at once, who count lines.

Owns the readers: each asks, counts the line breaks of the body as they come in,
and asks again. Every answer that comes to its end must have as many as there are
events.
"""

from __future__ import annotations

import select
import statistics
import time
from typing import NamedTuple

from benchmarks import fixture, servers, wire
from benchmarks.fixture import CATEGORY, STREAMS
from benchmarks.report import Figure, Goal
from benchmarks.run import Busy, Run, say
from benchmarks.servers import Server

READERS = (1, 2, 4, 8, 16)

PUBLISHED = "100,000 to 145,000"
"""Events per second that the peer's page gives for its reads."""

_BUFFER = 1024 * 1024
_SECONDS = 0.4  # of one round
_BEGIN_SECONDS = 0.1  # before it, in which all readers have begun


class Kind(NamedTuple):
    """A way to read, how many events it gives, and how many a second it is to give."""

    name: str
    path: str
    events: int
    goal: int


def kinds(count: int) -> list[Kind]:
    """What is read of a store with `count` events."""
    one, own = STREAMS[0], fixture.of_stream(count)
    join, category = f"/streams/join?streams={','.join(STREAMS)}", f"/streams/category/{CATEGORY}"
    third, thirds = -(-own // 3), 2 * own // 3
    low, high = -(-count // 3), 2 * count // 3
    return [
        Kind("forward", f"/streams/{one}", own, 2_000_000),
        Kind("range", f"/streams/{one}/from/{third}/until/{thirds}", thirds - third + 1, 500_000),
        Kind("backward", f"/streams/{one}/backwards/{own}", own, 500_000),
        Kind("join", join, count, 500_000),
        Kind("category", category, count, 500_000),
        Kind("category-range", f"{category}/from/{low}/until/{high}", high - low + 1, 500_000),
        Kind("category-backward", f"{category}/until/{count}/backwards/{count}", count, 500_000),
    ]


class Reader:
    """One connection that reads the same again and again, and counts the lines that come."""

    def __init__(self, port: int, kind: Kind) -> None:
        self.socket = wire.connect(port)
        self._message = wire.request("GET", kind.path)
        self._events = kind.events
        self._body: wire.Body | None = None
        self._head = b""

    def ask(self) -> None:
        """Send the request."""
        self._head, self._body = b"", None
        self.socket.sendall(self._message)

    def receive(self, buffer: bytearray) -> int:
        """Take in what has come; return how many lines that were."""
        size = self.socket.recv_into(buffer)
        if not size:
            raise wire.BadAnswer("the connection was closed")
        start = 0
        if self._body is None:
            known = len(self._head)
            self._head += buffer[:size]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return 0
            wire.check_success(self._head)
            self._body = wire.Body(self._head[: end + 2])
            start = end + 4 - known
        return self._body.take(buffer, start, size)

    def is_done(self) -> bool:
        """Whether the answer is whole. Raises `BadAnswer` unless it has what it should."""
        if self._body is None or not self._body.whole:
            return False
        if self._body.lines != self._events:
            raise wire.BadAnswer(f"{self._body.lines} events came, not {self._events}")
        return True


class Readers:
    """Some readers of the same, all of which have asked."""

    def __init__(self, port: int, kind: Kind, count: int) -> None:
        self._epoll = select.epoll()
        self._buffer = bytearray(_BUFFER)
        self._readers = {}
        for _ in range(count):
            reader = Reader(port, kind)
            self._readers[reader.socket.fileno()] = reader
            self._epoll.register(reader.socket, select.EPOLLIN)
            reader.ask()

    def read(self, seconds: float) -> int:
        """Read for so long; return how many events came."""
        events = 0
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            events += self._turn(again=True)
        return events

    def finish(self) -> None:
        """Read to the end what has been asked for, and leave."""
        while self._readers:
            self._turn(again=False)

    def _turn(self, *, again: bool) -> int:
        ready = self._epoll.poll(wire.TIMEOUT)
        if not ready:
            raise wire.BadAnswer("the server does not answer")
        events = 0
        for number, _ in ready:
            reader = self._readers[number]
            events += reader.receive(self._buffer)
            if reader.is_done():
                if again:
                    reader.ask()
                else:
                    self._readers.pop(number).socket.close()
        return events

    def close(self) -> None:
        """Close the connections."""
        self._epoll.close()
        for each in self._readers.values():
            each.socket.close()


def small(run: Run) -> list[Figure]:
    """Reads of a store of the size that the peer's own benchmark has."""
    return _reads(run, run.pick(fixture.SMALL, 400), run.pick(5, 1))


def large(run: Run) -> list[Figure]:
    """Reads of a store a hundred times as large."""
    return _reads(run, run.pick(fixture.LARGE, 4000), run.pick(3, 1))


def _reads(run: Run, count: int, rounds: int) -> list[Figure]:
    directory = fixture.store(run, count)
    figures = []
    with servers.hub(run.cores.server, directory, *fixture.OPTIONS) as hub:
        for kind in kinds(count):
            whole = Readers(hub.port, kind, 1)
            whole.finish()  # so that each is read to its end and counted, also when it is long
            whole.close()
            rates = {readers: _read(hub, kind, readers, rounds) for readers in READERS}
            figures.append(_figure(kind, count, rates))
    return figures


def _read(hub: Server, kind: Kind, readers: int, rounds: int) -> tuple[float, Busy]:
    rates: list[float] = []
    busy = Busy()
    for _ in range(rounds):
        all_readers = Readers(hub.port, kind, readers)
        try:
            all_readers.read(_BEGIN_SECONDS)
            began = time.perf_counter()
            with busy.measured(hub):
                events = all_readers.read(_SECONDS)
            rates.append(events / (time.perf_counter() - began))
            busy.count(events)
        finally:
            all_readers.close()
    return statistics.median(rates), busy


def _figure(kind: Kind, count: int, rates: dict[int, tuple[float, Busy]]) -> Figure:
    name = f"read-{kind.name}-{count}"
    each = ", ".join(f"{rate:,.0f}" for rate, _ in rates.values())
    say(f"  {name}: {each}")
    numbers = ", ".join(map(str, READERS))
    least = min(rates, key=lambda readers: rates[readers][0])
    return Figure(
        f"{name}: {kind.events:,} events an answer, the least of {numbers} readers",
        Goal(kind.goal, at_least=True, unit="events/s"),
        rates[least][0],
        "events/s",
        notes=(
            f"with {numbers} readers: {each}; the peer's page gives {PUBLISHED}",
            *(f"with {readers}, hub used {busy}" for readers, (_, busy) in rates.items()),
        ),
    )
