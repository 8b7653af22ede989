"""The hub in one table with what else keeps or spreads events, each in its own protocol.

All servers run at the same time on one core and are measured in turn, so that
only one has work. The load generator is the same for all: bytes on plain sockets.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.events import MARK
from benchmarks.report import Grid, number
from benchmarks.run import Busy, Run, say
from benchmarks.stage import Lost, Publishers, Stage
from benchmarks.systems import System, Systems, side_by_side

_CONNECTIONS = (1, 100)
_FILLING = 100  # connections that post what is read again
_HISTORY = 10_000
"""Events of the history. No more, since nchan takes longer for each event the more there are."""

_BUFFER = 1024 * 1024


class Cell:
    """One server's rates in the rounds of one measurement, and how busy it was."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.busy = Busy()
        self.rates: list[float] = []

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count the processor time of a `with`."""
        with self.busy.measured(self.system.server):
            yield

    def __str__(self) -> str:
        return number(statistics.median(self.rates))


def beside(run: Run) -> list[Grid]:
    """Posts, live delivery and history of each."""
    events = run.pick(_HISTORY, 1000)
    audiences = (1, 20) if run.quick else (1, 100, 1000)
    columns: dict[str, list[Cell]] = {}
    with side_by_side(run) as systems:
        for count in _CONNECTIONS:
            several = "connection" if count == 1 else "connections"
            title = f"posts/s, {count} {several}"
            columns[title] = _posts(run, systems.running, count)
            _say(title, columns[title])
        for size in audiences:
            several = "subscriber" if size == 1 else "subscribers"
            title = f"deliveries/s, {size:,} {several}"
            columns[title] = _live(run, systems.running, size)
            _say(title, columns[title])
        title = f"events/s of a history of {events:,}"
        columns[title] = _history(run, systems.running, events)
        _say(title, columns[title])
    return [_rates(systems, columns), _use(systems, columns)]


def _posts(run: Run, systems: list[System], count: int) -> list[Cell]:
    """Each connection posts as soon as it is answered."""
    with ExitStack() as stack:
        cells, publishers = [], []
        for system in systems:
            cells.append(Cell(system))
            publishers.append(Publishers(system.channel(f"posted-{count}"), count))
            stack.callback(publishers[-1].close)
        for turn in _turns(run, 7):
            for cell, each in zip(cells, publishers, strict=True):
                first = each.published
                with cell.measured():
                    elapsed = each.flood(seconds=run.seconds)
                cell.busy.count(each.published - first)
                if turn:
                    cell.rates.append((each.published - first) / elapsed)
    return cells


def _live(run: Run, systems: list[System], size: int) -> list[Cell]:
    """One publisher, which posts as soon as it is answered."""
    with ExitStack() as stack:
        cells, stages = [], []
        for system in systems:
            cells.append(Cell(system))
            feed = system.channel(f"live-{size}")
            stages.append(Stage(stack, system.server, feed, (size, 1)))
        for turn in _turns(run, 7):
            for cell, stage in zip(cells, stages, strict=True):
                rate = stage.play(run.seconds)
                if turn:
                    cell.rates.append(rate)
        for cell, stage in zip(cells, stages, strict=True):
            cell.busy = stage.busy
    return cells


def _history(run: Run, systems: list[System], events: int) -> list[Cell]:
    """All events over one connection that is there before."""
    cells = []
    for system in systems:
        cell = Cell(system)
        cells.append(cell)
        feed = system.channel("history")
        publishers = Publishers(feed, _FILLING)
        try:
            publishers.flood(events=events)
        finally:
            publishers.close()
        say(f"  {system.name}: {events:,} events are there")
    for turn in _turns(run, 3):
        for cell in cells:
            elapsed = _replay(cell, events)
            cell.busy.count(events)
            if turn:
                cell.rates.append(events / elapsed)
    return cells


def _replay(cell: Cell, events: int) -> float:
    """Read so many events; the seconds that it took."""
    buffer = bytearray(_BUFFER)
    replay = cell.system.channel("history").replay()
    come = 0
    with replay.socket as connection, cell.measured():
        began = time.perf_counter()
        connection.sendall(replay.request)
        while come < events:
            size = connection.recv_into(buffer)
            if not size:
                raise Lost(f"the history ended after {come} events of {events}")
            come += buffer.count(MARK, 0, size)
        elapsed = time.perf_counter() - began
    if come > events:
        raise Lost(f"the history has {come} events, not {events}")
    return elapsed


def _turns(run: Run, rounds: int) -> range:
    """The rounds that count, from 1 on; in a full run round 0 warms up."""
    return range(run.pick(0, 1), run.pick(rounds, 1) + 1)


def _say(title: str, cells: list[Cell]) -> None:
    rates = (f"{cell.system.name} {cell}" for cell in cells)
    say(f"  {title}: {'; '.join(rates)}")


def _rates(systems: Systems, columns: dict[str, list[Cell]]) -> Grid:
    rows = [
        (system.name, system.durability, *(str(cells[row]) for cells in columns.values()))
        for row, system in enumerate(systems.running)
    ]
    return Grid(
        "Side by side, medians of the rounds",
        ("server", "an event is", *columns),
        tuple(rows),
        ("one publisher for deliveries; every subscriber got every event once",),
        tuple(systems.missing),
    )


def _use(systems: Systems, columns: dict[str, list[Cell]]) -> Grid:
    rows = [
        (system.name, *(cells[row].busy.shares() for cells in columns.values()))
        for row, system in enumerate(systems.running)
    ]
    return Grid(
        "What of its core the server used meanwhile, the load generator of its own, and "
        "the server's time for each",
        ("server", *columns),
        tuple(rows),
    )
