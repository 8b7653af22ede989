"""Durable posts of single events, against a bare handler that keeps nothing."""

from __future__ import annotations

import select
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks import servers, wire
from benchmarks.events import EVENT_BYTES, filler
from benchmarks.machine import fdatasync_seconds, on_core
from benchmarks.report import Figure, Goal, compared
from benchmarks.run import Busy, Run, say

CONNECTIONS = 100

_POST = wire.request("POST", "/posted?event=measured", filler(EVENT_BYTES))


class Posted(NamedTuple):
    """How many posts were answered, and how long it took."""

    answered: int
    seconds: float


class Posters:
    """Keep-alive connections to one server, each of which posts as soon as it is answered.

    There is one for each of the `messages`, which posts only that.
    """

    def __init__(self, port: int, messages: Sequence[bytes]) -> None:
        self._epoll = select.epoll()
        self._sockets = {}
        self._messages = {}
        for message in messages:
            connection = wire.connect(port)
            self._sockets[connection.fileno()] = connection
            self._messages[connection.fileno()] = message
            self._epoll.register(connection, select.EPOLLIN)

    def post(self, seconds: float) -> Posted:
        """Post for so long."""
        open_answers: dict[int, bytes] = {}
        waiting = len(self._sockets)
        answered = 0
        began = time.perf_counter()
        deadline = began + seconds
        for number, each in self._sockets.items():
            each.sendall(self._messages[number])
        while waiting:
            ready = self._epoll.poll(wire.TIMEOUT)
            if not ready:
                raise wire.BadAnswer("the server does not answer")
            for number, _ in ready:
                connection = self._sockets[number]
                answer = open_answers.pop(number, b"") + connection.recv(65536)
                size = wire.answer_size(answer)
                if size is None or len(answer) < size:
                    open_answers[number] = answer
                    continue
                wire.check_success(answer)
                answered += 1
                if time.perf_counter() < deadline:
                    connection.sendall(self._messages[number])
                else:
                    waiting -= 1
        return Posted(answered, time.perf_counter() - began)

    def close(self) -> None:
        """Close the connections."""
        for each in self._sockets.values():
            each.close()
        self._epoll.close()


def throughput(run: Run) -> list[Figure]:
    """Posts per second over many connections."""
    rates: dict[str, list[float]] = {"hub": [], "bare": []}
    busy = {"hub": Busy(), "bare": Busy()}
    with ExitStack() as stack:
        running = {
            "hub": stack.enter_context(servers.hub(run.cores.server, run.directory / "events")),
            "bare": stack.enter_context(servers.bare(run.cores.server, run.directory)),
        }
        posters = {}
        for name, server in running.items():
            posters[name] = Posters(server.port, [_POST] * CONNECTIONS)
            stack.callback(posters[name].close)
            posters[name].post(run.seconds / 4)  # to warm up
        for number in range(run.rounds):
            for name, server in running.items():
                with busy[name].measured(server):
                    posted = posters[name].post(run.seconds)
                busy[name].count(posted.answered)
                rates[name].append(posted.answered / posted.seconds)
            say(f"  round {number + 1}: hub {rates['hub'][-1]:,.0f}, bare {rates['bare'][-1]:,.0f}")
    return [
        compared(
            "post-100: durable posts, 100 connections; peer: bare aiohttp",
            "posts/s",
            rates["hub"],
            rates["bare"],
            Goal(0.8, at_least=True),
            *(f"{name} used {each}" for name, each in busy.items()),
        )
    ]


def latency(run: Run) -> list[Figure]:
    """Time of one post over one connection, against the bare handler's and two syncs."""
    count = run.pick(1000, 50)
    ours: list[float] = []
    theirs: list[float] = []
    notes: list[str] = []
    with ExitStack() as stack:
        hub = stack.enter_context(servers.hub(run.cores.server, run.directory / "events"))
        bare = stack.enter_context(servers.bare(run.cores.server, run.directory))
        to_hub = stack.enter_context(wire.Connection(hub.port))
        to_bare = stack.enter_context(wire.Connection(bare.port))
        for connection in (to_hub, to_bare):
            _latency(connection, count // 4)  # to warm up
        for number in range(run.rounds):
            with on_core(run.cores.server):
                sync = statistics.median(fdatasync_seconds(run.directory, count))
            bare_time = _latency(to_bare, count)
            hub_time = _latency(to_hub, count)
            ours.append(hub_time * 1e6)
            theirs.append((bare_time + 2 * sync) * 1e6)
            say(
                f"  round {number + 1}: hub {hub_time * 1e6:.0f} µs, "
                f"bare {bare_time * 1e6:.0f} µs, fdatasync {sync * 1e6:.0f} µs"
            )
            notes.append(f"{bare_time * 1e6:.0f} + 2 * {sync * 1e6:.0f}")
    return [
        compared(
            "post-1: latency of a durable post, 1 connection; peer: bare + 2 fdatasync",
            "µs",
            ours,
            theirs,
            Goal(1, at_least=False),
            "the peer in each round, µs: " + ", ".join(notes),
        )
    ]


def _latency(connection: wire.Connection, count: int) -> float:
    samples = []
    for _ in range(count):
        began = time.perf_counter()
        connection.exchange(_POST)
        samples.append(time.perf_counter() - began)
    return statistics.median(samples)
