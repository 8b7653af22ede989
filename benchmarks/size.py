"""What size costs: many idle subscribers, and a channel of ten million events."""

from __future__ import annotations

import os
import random
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers, wire
from benchmarks.events import id_in_log, write_log
from benchmarks.report import Figure, Goal
from benchmarks.run import Run, say

_SETTLE = 1.0  # seconds after which a server has done what new subscribers make it do
_LONG = "long-channel"
_FROM_END = 5000  # a resume begins this close to the end, or closer


def memory(run: Run) -> list[Figure]:
    """Resident memory of the hub for each subscriber that only waits."""
    first, more = 100, run.pick(4000, 300)
    message = wire.request("GET", "/idle-channel", Accept="text/event-stream")
    with ExitStack() as stack:
        hub = stack.enter_context(servers.hub(run.cores.server, run.directory / "events"))
        to_hub = stack.enter_context(wire.Connection(hub.port))
        to_hub.exchange(wire.request("POST", "/idle-channel", b"one"))

        def subscribe(count: int) -> int:
            for _ in range(count):
                connection = stack.enter_context(wire.connect(hub.port))
                connection.sendall(message)
                wire.check_success(connection.recv(65536))
            time.sleep(_SETTLE)
            return hub.resident_bytes()

        before = subscribe(first)
        after = subscribe(more)
    return [
        Figure(
            f"memory: for each of {more:,} idle subscribers",
            Goal(12, at_least=False, unit="KiB"),
            (after - before) / more / 1024,
            "KiB",
            notes=(f"resident with {first} subscribers: {before / 2**20:.1f} MiB",),
        )
    ]


def long_channel(run: Run) -> list[Figure]:
    """Opening a channel of ten million events, and resuming near its end."""
    count = run.pick(10_000_000, 20_000)
    events, empty = run.directory / "events", run.directory / "empty"
    events.mkdir()
    path = events / f"{_LONG}.tsv"
    say(f"  writing {count:,} events")
    write_log(path, count)
    core = run.cores.server
    with servers.hub(core, events) as hub:
        first = hub.start_seconds
    say(f"  opened for the first time in {first:.2f} s")
    openings: list[float] = []
    bases: list[float] = []
    for _ in range(run.pick(7, 1)):
        with servers.hub(core, empty) as hub:
            bases.append(hub.start_seconds)
        with servers.hub(core, events) as hub:
            openings.append(hub.start_seconds)
    say(f"  opened in {statistics.median(openings):.2f} s")
    with servers.hub(core, events) as hub:
        cold = _cold_resumes(hub.port, path, count, run.pick(10, 2))
        warm = [resume(hub.port, _LONG, count) for _ in range(run.pick(300, 10))]
    base = statistics.median(bases)
    opening = statistics.median(o - b for o, b in zip(openings, bases, strict=True))
    return [
        Figure(
            f"resume: to the first event near the end of {count:,}",
            Goal(10, at_least=False, unit="ms"),
            statistics.median(warm),
            "ms",
            notes=(
                f"of {len(warm)}: 99 % within {sorted(warm)[len(warm) * 99 // 100]:.2f} ms; "
                f"with a new connection each",
                f"with the file dropped from the page cache: median {statistics.median(cold):.2f} "
                f"ms, worst of {len(cold)}: {max(cold):.2f} ms",
            ),
        ),
        Figure(
            f"open: a channel of {count:,} events, {path.stat().st_size / 1e9:.2f} GB",
            Goal(1, at_least=False, unit="s"),
            opening,
            "s",
            notes=(
                f"start until /health answers, less {base:.2f} s over an empty directory",
                f"the first opening, before the index knew the file: {first - base:.2f} s",
            ),
        ),
    ]


def _cold_resumes(port: int, path: Path, count: int, times: int) -> list[float]:
    samples = []
    file = os.open(path, os.O_RDONLY)
    try:
        for _ in range(times):
            os.fdatasync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            samples.append(resume(port, _LONG, count))
    finally:
        os.close(file)
    return samples


def resume(port: int, channel: str, count: int, first: int = 0) -> float:
    """Of a channel of `write_log`: from before the connection until the event after one has come.

    In milliseconds; the one is at random, near the end of the `count` events from `first` on.
    """
    number = first + count - random.randint(2, min(_FROM_END, count // 2))
    message = wire.request(
        "GET",
        f"/{channel}",
        Accept="text/event-stream",
        Last_Event_ID=id_in_log(number).decode(),
    )
    wanted = b"id: " + id_in_log(number + 1)
    began = time.perf_counter()
    with wire.Connection(port) as connection:
        connection.send_until(message, wanted)
        return (time.perf_counter() - began) * 1000
