"""How fast a consumer catches up with a long stream, and what posts feel of it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence

import msgspec

from benchmarks import fixture, servers, wire
from benchmarks.events import EVENT_BYTES, filler
from benchmarks.fixture import CATEGORY, STREAMS
from benchmarks.report import Figure, Goal, compared
from benchmarks.run import Busy, Run, say
from benchmarks.servers import Server

_PATIENT = ("--read-timeout", "60")  # a slow machine needs more than the usual 10 s
_HANDLER = (
    "(event, state) => { state.count = (state.count || 0) + 1; "
    "state.last = event.seq; return state; }"
)
_POST = wire.request("POST", "/beside?event=measured", filler(EVENT_BYTES))
_PAUSE = 0.002  # seconds between two posts, so that they are no load of their own


class Posting(threading.Thread):
    """Posts to a channel, one after the other with pauses, until it is ended."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.times: list[float] = []  # microseconds
        self._connection = wire.Connection(port)
        self._over = threading.Event()

    def run(self) -> None:
        """Post."""
        with self._connection as connection:
            while not self._over.wait(_PAUSE):
                began = time.perf_counter()
                connection.exchange(_POST)
                self.times.append((time.perf_counter() - began) * 1e6)

    def end(self) -> list[float]:
        """Stop; how long each post took."""
        self._over.set()
        self.join()
        return self.times


def catch_up(run: Run) -> list[Figure]:
    """Events per second from the PUT until the state has them all, and posts beside it."""
    count = run.pick(fixture.LARGE, 4000)
    directory = fixture.store(run, count)
    own = fixture.of_stream(count)
    kinds = {
        "consumer-stream": (STREAMS[0], own, "one stream"),
        "consumer-category": (f"category/{CATEGORY}", count, "a category of two streams"),
    }
    quiet: list[list[float]] = []
    busy: list[list[float]] = []
    figures = []
    with servers.hub(run.cores.server, directory, *fixture.OPTIONS, *_PATIENT) as hub:
        for name, (stream, events, title) in kinds.items():
            used = Busy()
            rates = []
            for _ in range(run.pick(5, 1)):
                posting = Posting(hub.port)
                posting.start()
                time.sleep(run.seconds)
                quiet.append(posting.end())
                posting = Posting(hub.port)
                posting.start()
                with used.measured(hub):
                    rates.append(_fold(hub, name, stream, events))
                used.count(events)
                busy.append(posting.end())
            say(f"  {name}: " + " ".join(f"{rate:,.0f}" for rate in rates))
            figures.append(
                Figure(
                    f"{name}: a consumer catches up with {events:,} events of {title}",
                    Goal(200_000, at_least=True, unit="events/s"),
                    statistics.median(rates),
                    "events/s",
                    notes=(f"hub and its workers used {used}",),
                )
            )
    return [*figures, _delay(busy, quiet)]


def _fold(hub: Server, identifier: str, stream: str, events: int) -> float:
    """Make a consumer, wait until it has folded that many; events per second."""
    body = msgspec.json.encode({"handler": _HANDLER})
    with wire.Connection(hub.port) as connection:
        began = time.perf_counter()
        connection.exchange(wire.request("PUT", f"/consumers/{identifier}/stream/{stream}", body))
        done = wire.request("GET", f"/consumers/{identifier}/until/{events}")
        answer = connection.exchange(done)
        elapsed = time.perf_counter() - began
        if b'"count":%d,' % events not in answer:
            raise wire.BadAnswer(f"not every event was folded once: {answer!r}")
        connection.exchange(wire.request("DELETE", f"/consumers/{identifier}"))
    return events / elapsed


def _delay(busy: Sequence[Sequence[float]], quiet: Sequence[Sequence[float]]) -> Figure:
    """The latency of posts while a consumer catches up, with that of a hub at rest as its peer."""
    late = [sorted(time for each in side for time in each) for side in (busy, quiet)]
    slow = [f"{each[len(each) * 99 // 100]:,.0f} µs" for each in late]
    return compared(
        "consumer-posts: latency of a post while a consumer catches up; peer: without one",
        "µs",
        [statistics.median(each) for each in busy],
        [statistics.median(each) for each in quiet],
        None,
        f"99 % of the posts within {slow[0]}, without a consumer {slow[1]}; "
        f"the slowest {late[0][-1]:,.0f} µs and {late[1][-1]:,.0f} µs",
    )
