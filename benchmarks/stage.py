"""A feed with its audience and its publishers: the same for every server.

Each post carries a number; every subscriber counts the events it gets, and one
of them keeps all its bytes, so that what came is compared with what was sent.
"""

from __future__ import annotations

import math
import re
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks import wire
from benchmarks.events import MARK, numbered
from benchmarks.feeds import Feed
from benchmarks.run import Busy
from benchmarks.servers import Server

_STALLED = 30.0  # seconds without an event after which a run is given up
_AT_ONCE = 64  # sockets that are read before the publishers have a turn
_SETTLE = 0.3  # seconds in which an event that comes twice would come
_BUFFER = 256 * 1024
_NUMBER = re.compile(MARK + rb"(\d+)")


class Lost(Exception):
    """Subscribers did not get what was published, each event once."""


class Audience:
    """Subscribers to one feed. One of them, the witness, keeps what it gets.

    `heard` is told of each reading that brought events: how many the subscriber
    had before, and how many it has now.
    """

    def __init__(
        self, feed: Feed, size: int, heard: Callable[[int, int], None] | None = None
    ) -> None:
        self.epoll = select.epoll()
        self.size = size
        self.received = 0
        self._feed = feed
        self._heard = heard
        self._buffer = bytearray(_BUFFER)
        self._counts: dict[int, int] = {}
        self._kept = bytearray()
        self._come: dict[int, bytes] = {}  # of answers that are pulled and not whole
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(size):
            connection = feed.subscribe()
            connection.setblocking(False)
            number = connection.fileno()
            self._sockets[number] = connection
            self._counts[number] = 0
            self.epoll.register(number, select.EPOLLIN)
        self._witness = next(iter(self._sockets))

    def read(self) -> int:
        """Read some of the sockets that have something; return how many."""
        buffer, sockets, counts = self._buffer, self._sockets, self._counts
        ready = self.epoll.poll(0, _AT_ONCE)
        for number, _ in ready:
            size = sockets[number].recv_into(buffer)
            if not size:
                raise Lost("the server ended a subscription")
            events = buffer.count(MARK, 0, size)
            before = counts[number]
            counts[number] = before + events
            self.received += events
            if self._heard is not None and events:
                self._heard(before, before + events)
            if number == self._witness:
                self._kept += buffer[:size]
            if self._feed.pulled:
                self._pull(number, bytes(buffer[:size]))
        return len(ready)

    def _pull(self, number: int, piece: bytes) -> None:
        """Ask again once an answer is whole."""
        come = self._come.pop(number, b"") + piece
        request = self._feed.again(come)
        if request is None:
            self._come[number] = come
        else:
            self._sockets[number].sendall(request)

    def order(self) -> list[int]:
        """The numbers of the events since the last check, in the order in which they came."""
        return [int(each) for each in _NUMBER.findall(self._kept)]

    def check(self, numbers: range) -> None:
        """Raise `Lost` unless each subscriber got just these events; then forget them."""
        wrong = {count for count in self._counts.values() if count != len(numbers)}
        if wrong:
            raise Lost(f"of {len(numbers)} events some subscribers got {sorted(wrong)[:5]}")
        if sorted(self.order()) != list(numbers):
            raise Lost("the witness has as many events as were published, but not the same")
        self._counts = dict.fromkeys(self._counts, 0)
        self.received = 0
        self._kept.clear()

    def close(self) -> None:
        """End the subscriptions."""
        for each in self._sockets.values():
            each.close()
        self.epoll.close()


class Publishers:
    """Connections that each post the next event as soon as they are told and are free."""

    def __init__(self, feed: Feed, count: int) -> None:
        self.epoll = select.epoll()
        self.published = 0
        self.free: list[int] = []
        self._feed = feed
        self._lines = {}
        self._come: dict[int, bytes] = {}  # of answers that are not whole
        for _ in range(count):
            line = feed.line()
            number = line.socket.fileno()
            self._lines[number] = line
            self.free.append(number)
            self.epoll.register(number, select.EPOLLIN)

    @property
    def waiting(self) -> int:
        """How many posts are not answered yet."""
        return len(self._lines) - len(self.free)

    def post(self) -> None:
        """Post the next event, from a connection that is free."""
        line = self._lines[self.free.pop()]
        line.socket.sendall(line.request(numbered(self.published)))
        self.published += 1

    def start(self) -> None:
        """Post one event from each connection that is free."""
        while self.free:
            self.post()

    def take(self) -> int:
        """Take in the answers that are there; how many sockets had something."""
        ready = self.epoll.poll(0)
        for number, _ in ready:
            piece = self._lines[number].socket.recv(65536)
            if not piece:
                raise wire.BadAnswer("the server ended a connection")
            come = self._come.pop(number, b"") + piece
            size = self._feed.answer_size(come)
            if size is None or len(come) < size:
                self._come[number] = come
            else:
                self.free.append(number)
        return len(ready)

    def flood(self, *, seconds: float = math.inf, events: float = math.inf) -> float:
        """Post from all at once, for so long or so many events; how long it took."""
        began = time.perf_counter()
        deadline = began + seconds
        last = self.published + events
        while time.perf_counter() < deadline and self.published < last:
            while self.free and self.published < last:
                self.post()
            self._wait()
        while self.waiting:
            self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        """Take in answers, at least one."""
        if not self.take() and not self.epoll.poll(_STALLED):
            raise wire.BadAnswer("the server does not answer")

    def close(self) -> None:
        """Close the connections."""
        for each in self._lines.values():
            each.socket.close()
        self.epoll.close()


class Stage:
    """A server's feed with its audience and its publishers: `sizes` says how many of each."""

    def __init__(
        self, stack: ExitStack, server: Server, feed: Feed, sizes: tuple[int, int]
    ) -> None:
        self.server = server
        self.busy = Busy()
        self._audience = Audience(feed, sizes[0])
        stack.callback(self._audience.close)
        self._publishers = Publishers(feed, sizes[1])
        stack.callback(self._publishers.close)
        self._both = select.epoll()
        stack.callback(self._both.close)
        self._both.register(self._audience.epoll.fileno(), select.EPOLLIN)
        self._both.register(self._publishers.epoll.fileno(), select.EPOLLIN)

    def play(self, seconds: float) -> float:
        """Publish for so long, wait until all has come; return deliveries per second."""
        audience, publishers = self._audience, self._publishers
        first = publishers.published
        with self.busy.measured(self.server):
            began = time.perf_counter()
            deadline = began + seconds
            publishers.start()
            while (
                publishers.waiting
                or audience.received < (publishers.published - first) * audience.size
            ):
                worked = publishers.take()
                if worked and time.perf_counter() < deadline:
                    publishers.start()
                worked += audience.read()
                if not worked and not self._both.poll(_STALLED):
                    raise Lost(
                        f"{audience.received} deliveries of "
                        f"{publishers.published - first} events, then no more"
                    )
            elapsed = time.perf_counter() - began
        deliveries = audience.received
        self.busy.count(deliveries)
        settled = time.perf_counter() + _SETTLE
        while time.perf_counter() < settled:
            audience.read()
        audience.check(range(first, publishers.published))
        return deliveries / elapsed
