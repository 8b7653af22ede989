"""What the hub costs as work grows: more events in one channel, more channels.

The logs are written as the hub would have written them, and the hub has read
them once before anything is measured.
"""

from __future__ import annotations

import random
import shutil
import statistics
from typing import NamedTuple

from benchmarks import servers, wire
from benchmarks.events import EVENT_BYTES, TYPE, write_log
from benchmarks.feeds import HttpFeed, Line
from benchmarks.plot import Panel, svg
from benchmarks.report import Grid, number
from benchmarks.run import Run, say
from benchmarks.size import resume
from benchmarks.stage import Publishers

_CONNECTIONS = 100
_FEW = 10  # events of each channel where the number of channels grows
_TITLE = "What the hub costs as work grows"


class Measured(NamedTuple):
    """What one size of work came to. `start`: seconds until it answered."""

    size: int
    posts: float  # a second
    memory: float  # MiB
    resume: float  # ms
    start: float
    first_start: float


class Anywhere(HttpFeed):
    """Posts to channels that are chosen at random, each time anew."""

    def __init__(self, port: int, channels: list[str]) -> None:
        super().__init__(port, "", "", b"")
        self._channels = channels

    def line(self) -> Line:
        """See `Feed`."""

        def request(data: bytes) -> bytes:
            return wire.request("POST", f"/{random.choice(self._channels)}?event={TYPE}", data)

        return Line(wire.connect(self.port), request)


def growth(run: Run) -> list[Grid]:
    """Posts, memory and resuming at three sizes each; the plot of them is drawn."""
    events = (100, 1000, 5000) if run.quick else (10_000, 1_000_000, 10_000_000)
    channels = (1, 20, 200) if run.quick else (1, 1000, 100_000)
    long = [_measure(run, f"{size:,} events", 1, size, size) for size in events]
    wide = [_measure(run, f"{size:,} channels", size, _FEW, size) for size in channels]
    kinds = {"events in one channel": long, f"channels of {_FEW} events": wide}
    foot = (
        f"durability always; posts of {EVENT_BYTES} bytes over {_CONNECTIONS} connections, each to "
        "any channel; resume: from connecting until the first event"
    )
    if run.plot is not None:
        run.plot.write_text(svg(_TITLE, foot, [_panels(*kind) for kind in kinds.items()]))
        say(f"  drawn: {run.plot}")
    return [_grid(*kind, foot) for kind in kinds.items()]


def _measure(run: Run, title: str, channels: int, events: int, size: int) -> Measured:
    directory = run.directory / f"grown-{channels}-{events}"
    directory.mkdir()
    names = [f"grown-{number}" for number in range(channels)]
    for at, name in enumerate(names):
        write_log(directory / f"{name}.tsv", events, at * events)
    core = run.cores.server
    with servers.hub(core, directory) as hub:
        first_start = hub.start_seconds
    say(f"  {title}: first start {first_start:.2f} s")
    with servers.hub(core, directory) as hub:
        times = []
        for _ in range(run.pick(300, 10)):
            at = random.randrange(channels)
            times.append(resume(hub.port, names[at], events, at * events))
        posts = _posts(run, Anywhere(hub.port, names))
        found = Measured(
            size,
            posts,
            hub.resident_bytes() / 2**20,
            statistics.median(times),
            hub.start_seconds,
            first_start,
        )
    shutil.rmtree(directory)
    say(f"  {title}: " + ", ".join(f"{key} {value:,.2f}" for key, value in found._asdict().items()))
    return found


def _posts(run: Run, feed: Anywhere) -> float:
    """Posts a second, median of the rounds."""
    publishers = Publishers(feed, _CONNECTIONS)
    rates = []
    try:
        for _ in range(run.pick(5, 1) + 1):  # the first warms up
            first = publishers.published
            elapsed = publishers.flood(seconds=run.seconds)
            rates.append((publishers.published - first) / elapsed)
    finally:
        publishers.close()
    return statistics.median(rates[1:])


def _panels(across: str, sizes: list[Measured]) -> list[Panel]:
    return [
        Panel("durable posts/s", across, [(each.size, each.posts) for each in sizes]),
        Panel("resident memory, MiB", across, [(each.size, each.memory) for each in sizes]),
        Panel("resume, ms", across, [(each.size, each.resume) for each in sizes]),
    ]


def _grid(across: str, sizes: list[Measured], foot: str) -> Grid:
    return Grid(
        f"{_TITLE}: {across}",
        (across, "posts/s", "memory, MiB", "resume, ms", "start, s", "first start, s"),
        tuple((f"{each.size:,}", *map(number, each[1:])) for each in sizes),
        (foot, "first start: before the index knew the files"),
    )
