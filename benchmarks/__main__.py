"""`python -m benchmarks`: measures what it is asked for and prints tables."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    beside,
    commits,
    conditions,
    consuming,
    growth,
    latency,
    live,
    machine,
    posting,
    reads,
    size,
    transfer,
)
from benchmarks.machine import Cores
from benchmarks.report import Figure, Grid, table
from benchmarks.run import Run, say
from benchmarks.servers import PeerMissing

MEASUREMENTS: dict[str, Callable[[Run], Sequence[Figure | Grid]]] = {
    "post-100": posting.throughput,
    "post-1": posting.latency,
    "live-1": live.one_publisher,
    "live-32": live.many_publishers,
    "history": transfer.history,
    "batch": transfer.batch,
    "memory": size.memory,
    "long": size.long_channel,
    "commit": commits.commits,
    "condition": conditions.flat,
    "consumer": consuming.catch_up,
    "stream-read": reads.small,
    "stream-read-large": reads.large,
    "beside": beside.beside,
    "latency": latency.latency,
    "growth": growth.growth,
}

_DIRECTORY = Path("/var/tmp")  # /tmp may be in memory, where a sync costs nothing
_PLOT = Path("docs/growth.svg")


def main() -> int:
    """Measure and print. Returns 1 if something could not be measured."""
    arguments = _arguments()
    # So that `finally` and `with` stop the servers and remove the files.
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cores = Cores.of_this_machine()
    found: list[Figure | Grid] = []
    with tempfile.TemporaryDirectory(prefix="hub-benchmarks-", dir=arguments.directory) as place:
        facts = machine.facts(cores, Path(place), 50 if arguments.quick else 500)
        os.sched_setaffinity(0, {cores.load})
        shared = Path(place, "shared")
        shared.mkdir()
        for name in arguments.only or MEASUREMENTS:
            say(name)
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=place) as directory:
                run = Run(Path(directory), shared, cores, arguments.quick, arguments.plot)
                try:
                    found += MEASUREMENTS[name](run)
                except PeerMissing as error:
                    found.append(Figure(name, notes=(f"not measured: {error}",)))
    if arguments.quick:
        print("A quick run: it shows that the benchmarks work; the figures mean nothing.\n")
    figures = [each for each in found if isinstance(each, Figure)]
    grids = [each for each in found if isinstance(each, Grid)]
    tables = [table(figures)] if figures else []
    print("\n\n".join([*tables, *map(str, grids), "\n".join(facts)]))
    missing = any(grid.missing for grid in grids)
    return int(missing or any(figure.hub is None for figure in figures))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=MEASUREMENTS,
        help="measure only this; can be given several times",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smoke test of some seconds with small numbers"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=_DIRECTORY,
        help="where the servers keep their files, removed afterwards (default: %(default)s)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        help=f"where growth draws its plot (default: {_PLOT}, and none in a quick run)",
    )
    arguments = parser.parse_args()
    if arguments.plot is None and not arguments.quick:
        arguments.plot = _PLOT
    return arguments


if __name__ == "__main__":
    sys.exit(main())
