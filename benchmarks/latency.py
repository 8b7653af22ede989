"""From post to receipt: how long an event takes to subscribers, at a given rate.

Events are due at fixed times, whatever the server does (an open loop). What an
event took counts from the moment when it was due, so a server that stands still
pays for all that should have been posted meanwhile.
"""

from __future__ import annotations

import ctypes
import select
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.report import Grid
from benchmarks.run import Busy, Run, say
from benchmarks.stage import Audience, Publishers
from benchmarks.systems import System, Systems, side_by_side

_LINES = 100
"""Connections that post: an event that is due takes one that is free, or waits for one."""

_SLOW = 100  # events/s
_WARM = 0.25  # seconds at the beginning that do not count
_TAIL = 0.5
"""Seconds after the last event was due within which all have to come: else the rate
was more than could be done, and latencies would only tell for how long it was tried."""

_UNIT = 1e-5  # seconds: what latencies are counted in
_TIMER_SLACK = 29  # of prctl: how late a sleep may end

_Heard = list[tuple[float, int, int]]
"""Of each reading: its moment, how many events the subscriber had before, and has now."""


class Latencies:
    """How often each latency occurred, in units of 10 µs."""

    def __init__(self, seconds: Sequence[float] = ()) -> None:
        self.counts = Counter(int(each / _UNIT) for each in seconds)

    def percentile(self, share: float) -> float:
        """Milliseconds within which that share of all came."""
        wanted = share * self.counts.total()
        seen = 0
        units = -1
        for units in sorted(self.counts):
            seen += self.counts[units]
            if seen >= wanted:
                break
        return (units + 1) * _UNIT * 1000


@dataclass
class Cell:
    """What one server did at a rate, in events/s, before so many subscribers."""

    system: System
    rate: int
    size: int
    latencies: Latencies = field(default_factory=Latencies)
    busy: Busy = field(default_factory=Busy)
    whole: bool = False  # the rate was reached
    reached: float = 0.0  # events/s that came to all subscribers

    def __str__(self) -> str:
        if not self.whole:
            return f"not reached: {self.reached:,.0f} events/s"
        return " / ".join(f"{self.latencies.percentile(each):.2f}" for each in (0.5, 0.99, 0.999))


def latency(run: Run) -> list[Grid]:
    """Percentiles of each server at each rate and for each number of subscribers."""
    rates = (1000,) if run.quick else (_SLOW, 1000, 10_000)
    audiences = (1, 20) if run.quick else (1, 100, 1000)
    ctypes.CDLL(None).prctl(_TIMER_SLACK, 1)
    rows: dict[str, list[Cell]] = {}
    with side_by_side(run) as systems:
        for size in audiences:
            for rate in rates:
                # At a low rate it takes longer to see as many events.
                seconds = run.seconds * (8 if rate == _SLOW else 3)
                cells = [Cell(each, rate, size) for each in systems.running]
                for cell in cells:
                    _measure(cell, seconds)
                    say(f"  {size:,}, {rate:,}: {cell.system.name}: {cell}; used {cell.busy}")
                rows[f"{size:,} | {rate:,}"] = cells
    return _grids(systems, rows)


def _grids(systems: Systems, rows: dict[str, list[Cell]]) -> list[Grid]:
    heads = ("subscribers", "events/s")
    late = Grid(
        "From the moment when an event was due to be posted until a subscriber had it, "
        "p50 / p99 / p99.9 in ms",
        (*heads, *(each.name for each in systems.running)),
        tuple((*title.split(" | "), *map(str, cells)) for title, cells in rows.items()),
        (
            "open loop; every subscriber got every event once where a rate was reached",
            *(f"{each.name}: an event is {each.durability}" for each in systems.running),
        ),
        tuple(systems.missing),
    )
    use = Grid(
        "What of its core the server used meanwhile, the load generator of its own, and "
        "the server's time for each delivery",
        (*heads, *(each.name for each in systems.running)),
        tuple(
            (*title.split(" | "), *(each.busy.shares() for each in cells))
            for title, cells in rows.items()
        ),
    )
    return [late, use]


def _measure(cell: Cell, seconds: float) -> None:
    """Post for so long, and fill in what came of it."""
    heard: _Heard = []
    clock = time.perf_counter
    feed = cell.system.channel(f"late-{cell.size}-{cell.rate}")
    with ExitStack() as stack:
        both = select.epoll()  # the first of the files, since select() takes no high numbers
        stack.callback(both.close)
        audience = Audience(
            feed, cell.size, lambda before, now: heard.append((clock(), before, now))
        )
        stack.callback(audience.close)
        publishers = Publishers(feed, _LINES)
        stack.callback(publishers.close)
        both.register(audience.epoll.fileno(), select.EPOLLIN)
        both.register(publishers.epoll.fileno(), select.EPOLLIN)
        began = clock()
        with cell.busy.measured(cell.system.server):
            cell.whole = _play(audience, publishers, both, cell.rate, seconds)
        cell.busy.count(audience.received)
        cell.reached = audience.received / cell.size / (clock() - began)
        if cell.whole:
            order = audience.order()
            audience.check(range(publishers.published))
    if cell.whole:
        cell.latencies = _latencies(heard, order, began, cell.rate)


def _play(
    audience: Audience, publishers: Publishers, both: select.epoll, rate: int, seconds: float
) -> bool:
    """Post what is due, read what comes; whether all came that was to be posted."""
    clock = time.perf_counter
    began = clock()
    count = int(rate * seconds)
    while True:
        now = clock() - began
        due = min(count, int(now * rate) + 1)  # the first one is due at once
        while publishers.published < due and publishers.free:
            publishers.post()
        if publishers.published == count and audience.received >= count * audience.size:
            return True
        if now > seconds + _TAIL:
            return False
        if not publishers.take() + audience.read():
            if publishers.free and publishers.published < count:
                pause = publishers.published / rate - (clock() - began)
            else:
                pause = _TAIL
            if pause > 0:  # select() sleeps for microseconds, epoll only for milliseconds
                select.select([both], [], [], pause)


def _latencies(heard: _Heard, order: Sequence[int], began: float, rate: int) -> Latencies:
    """From each delivery's moment and when its event was due; `order` is that of arrival."""
    dues = [began + number / rate for number in order]
    found = Latencies()
    counts = found.counts
    counted = began + _WARM
    for moment, before, now in heard:
        for due in dues[before:now]:
            if due >= counted:
                counts[int((moment - due) / _UNIT)] += 1
    return found
