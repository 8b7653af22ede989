"""Live delivery to many EventSource subscribers, against nginx with nchan.

Owns the publishers and the subscribers, which are the same for both servers.
Each post carries a number; every subscriber counts the events it gets, and one
of them keeps all its bytes, so that what came is compared with what was sent.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import servers, wire
from benchmarks.events import MARK, TYPE, numbered
from benchmarks.report import Figure, Goal, compared
from benchmarks.run import Busy, Run, say
from benchmarks.servers import Server

SUBSCRIBERS = 1000

_STALLED = 30.0  # seconds without an event after which a run is given up
_AT_ONCE = 64  # sockets that are read before the publishers have a turn
_SETTLE = 0.3  # seconds in which an event that comes twice would come
_BUFFER = 256 * 1024
_NUMBER = re.compile(rb"data: ?" + MARK + rb"(\d+)")

_NCHAN_HTTP = """\
    nchan_shared_memory_size 512M;
    nchan_message_buffer_length 100000;
    nchan_message_timeout 10m;
"""
_NCHAN_LOCATIONS = """\
        location = /publish { nchan_publisher; nchan_channel_id live; }
        location = /subscribe { nchan_subscriber eventsource; nchan_channel_id live; }
"""


class Lost(Exception):
    """Subscribers did not get what was published, each event once."""


class Audience:
    """Subscribers to one server. One of them, the witness, keeps what it gets."""

    def __init__(self, port: int, path: str, size: int) -> None:
        self.epoll = select.epoll()
        self.size = size
        self.received = 0
        self._buffer = bytearray(_BUFFER)
        self._counts: dict[int, int] = {}
        self._kept = bytearray()
        message = wire.request("GET", path, Accept="text/event-stream", Cache_Control="no-cache")
        self._sockets = {}
        for _ in range(size):
            connection = wire.connect(port)
            connection.sendall(message)
            wire.check_success(connection.recv(_BUFFER))
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
            counts[number] += events
            self.received += events
            if number == self._witness:
                self._kept += buffer[:size]
        return len(ready)

    def check(self, numbers: range) -> None:
        """Raise `Lost` unless each subscriber got just these events; then forget them."""
        wrong = {count for count in self._counts.values() if count != len(numbers)}
        if wrong:
            raise Lost(f"of {len(numbers)} events some subscribers got {sorted(wrong)[:5]}")
        seen = sorted(int(each) for each in _NUMBER.findall(self._kept))
        if seen != list(numbers):
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
    """Keep-alive connections that each post the next event as soon as they are answered."""

    def __init__(self, port: int, path: str, count: int) -> None:
        self.epoll = select.epoll()
        self.published = 0
        self.waiting = 0
        self._path = path
        self._sockets = {}
        for _ in range(count):
            connection = wire.connect(port)
            self._sockets[connection.fileno()] = connection
            self.epoll.register(connection, select.EPOLLIN)

    def start(self) -> None:
        """Post one event from each."""
        for each in self._sockets:
            self._post(each)

    def go_on(self, more: bool) -> int:
        """Take in the answers that are there, and post again if there are to be more."""
        ready = self.epoll.poll(0)
        for number, _ in ready:
            wire.check_success(self._sockets[number].recv(65536))
            self.waiting -= 1
            if more:
                self._post(number)
        return len(ready)

    def _post(self, number: int) -> None:
        body = numbered(self.published)
        self._sockets[number].sendall(wire.request("POST", self._path, body))
        self.published += 1
        self.waiting += 1

    def close(self) -> None:
        """Close the connections."""
        for each in self._sockets.values():
            each.close()
        self.epoll.close()


class Stage:
    """A server with its audience and its publishers."""

    def __init__(
        self, stack: ExitStack, server: Server, paths: tuple[str, str], sizes: tuple[int, int]
    ) -> None:
        self.server = server
        self.busy = Busy()
        self._audience = Audience(server.port, paths[1], sizes[0])
        stack.callback(self._audience.close)
        self._publishers = Publishers(server.port, paths[0], sizes[1])
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
                worked = publishers.go_on(time.perf_counter() < deadline) + audience.read()
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


def one_publisher(run: Run) -> list[Figure]:
    """Deliveries with one publisher."""
    return _deliveries(run, 1, Goal(1.0, at_least=True))


def many_publishers(run: Run) -> list[Figure]:
    """Deliveries with 32 publishers."""
    return _deliveries(run, 32, Goal(5, at_least=True))


def _deliveries(run: Run, publishers: int, goal: Goal) -> list[Figure]:
    sizes = (run.pick(SUBSCRIBERS, 50), publishers)
    core = run.cores.server
    ours: list[float] = []
    theirs: list[float] = []
    with ExitStack() as stack:
        peer = stack.enter_context(
            servers.nginx(core, run.directory, _NCHAN_LOCATIONS, http=_NCHAN_HTTP, nchan=True)
        )
        server = stack.enter_context(servers.hub(core, run.directory / "events"))
        hub = Stage(stack, server, (f"/live?event={TYPE}", "/live"), sizes)
        nchan = Stage(stack, peer, ("/publish", "/subscribe"), sizes)
        for stage in (hub, nchan):
            stage.play(run.seconds / 4)  # to warm up
        for number in range(run.rounds):
            ours.append(hub.play(run.seconds))
            theirs.append(nchan.play(run.seconds))
            say(f"  round {number + 1}: hub {ours[-1]:,.0f}, nchan {theirs[-1]:,.0f}")
    return [_figure(sizes, goal, ours, theirs, hub, nchan)]


def _figure(
    sizes: tuple[int, int],
    goal: Goal,
    ours: Sequence[float],
    theirs: Sequence[float],
    hub: Stage,
    nchan: Stage,
) -> Figure:
    audience, publishers = sizes
    several = "publisher" if publishers == 1 else "publishers"
    return compared(
        f"live-{publishers}: live to {audience:,} subscribers, {publishers} {several}; "
        "peer: nginx + nchan",
        "deliveries/s",
        ours,
        theirs,
        goal,
        "every subscriber got every event once, from both",
        f"hub used {hub.busy}; nchan used {nchan.busy}",
    )
