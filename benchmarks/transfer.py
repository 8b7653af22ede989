"""Much at once: a whole history read, against nginx; a large batch written."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers, wire
from benchmarks.events import ndjson_batch, tsv_batch, write_log
from benchmarks.machine import on_core
from benchmarks.report import Figure, Goal, compared
from benchmarks.run import Busy, Run, say

_BUFFER = 1024 * 1024
_BATCHES = {"tsv": "text/tab-separated-values", "ndjson": "application/x-ndjson"}


def history(run: Run) -> list[Figure]:
    """The history of a million events over one connection."""
    count = run.pick(1_000_000, 10_000)
    events = run.directory / "events"
    events.mkdir()
    write_log(events / "history.tsv", count)
    core = run.cores.server
    ours: list[float] = []
    theirs: list[float] = []
    busy = {"hub": Busy(), "nginx": Busy()}
    buffer = bytearray(_BUFFER)
    with ExitStack() as stack:
        location = f"        location /files/ {{ alias {events}/; }}\n"
        nginx = stack.enter_context(servers.nginx(core, run.directory, location))
        hub = stack.enter_context(servers.hub(core, events))
        to_hub = stack.enter_context(wire.Connection(hub.port))
        to_nginx = stack.enter_context(wire.Connection(nginx.port))
        sides = (
            ("hub", hub, to_hub, wire.request("GET", "/history"), ours),
            ("nginx", nginx, to_nginx, wire.request("GET", "/files/history.tsv"), theirs),
        )
        for number in range(run.pick(9, 1) + 1):  # the first warms up
            for name, server, connection, message, rates in sides:
                began = time.perf_counter()
                with busy[name].measured(server):
                    size = connection.download(message, buffer)
                rates.append(size / (time.perf_counter() - began) / 1e6)
            say(f"  round {number}: hub {ours[-1]:,.0f} MB/s, nginx {theirs[-1]:,.0f} MB/s")
    return [
        compared(
            f"history: all of {count:,} events over one connection; peer: nginx, same file",
            "MB/s",
            ours[1:],
            theirs[1:],
            Goal(0.8, at_least=True),
            *(f"{name} used {each}" for name, each in busy.items()),
        )
    ]


def batch(run: Run) -> list[Figure]:
    """A batch of a hundred thousand lines, until it is on disk and answered."""
    count = run.pick(100_000, 2_000)
    bodies = {"tsv": tsv_batch(count), "ndjson": ndjson_batch(count)}
    rates: dict[str, list[float]] = {name: [] for name in bodies}
    plain: dict[str, list[float]] = {name: [] for name in bodies}
    with (
        servers.hub(run.cores.server, run.directory / "events") as hub,
        wire.Connection(hub.port) as connection,
    ):
        for number in range(run.rounds + 1):  # the first warms up
            for name, body in bodies.items():
                message = wire.request(
                    "POST", f"/batch-{name}-{number}", body, Content_Type=_BATCHES[name]
                )
                began = time.perf_counter()
                answer = connection.exchange(message)
                rates[name].append(count / (time.perf_counter() - began))
                if b'"count":%d,' % count not in answer:
                    raise wire.BadAnswer(f"not all was stored: {answer!r}")
                with on_core(run.cores.server):
                    plain[name].append(count / _write(run.directory / "plain", body))
            say("  " + ", ".join(f"{name} {each[-1]:,.0f}" for name, each in rates.items()))
    return [
        Figure(
            f"batch-{name}: {count:,} lines of {len(bodies[name]) // count} bytes in one post, "
            "durable",
            Goal(300_000, at_least=True, unit="events/s"),
            statistics.median(rates[name][1:]),
            "events/s",
            notes=(
                "rounds: " + " ".join(f"{each:,.0f}" for each in rates[name][1:]),
                "only writing and syncing the same bytes: "
                f"{statistics.median(plain[name][1:]):,.0f} events/s",
            ),
        )
        for name in bodies
    ]


def _write(path: Path, body: bytes) -> float:
    """How long it takes to put bytes on disk, and no more than that."""
    began = time.perf_counter()
    with open(path, "wb") as file:
        file.write(body)
        file.flush()
        os.fdatasync(file.fileno())
    elapsed = time.perf_counter() - began
    path.unlink()
    return elapsed
