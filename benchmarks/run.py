"""One run of the benchmarks: where it keeps its files, its cores, how long it measures."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Cores
from benchmarks.servers import Server


@dataclass(frozen=True)
class Run:
    """What every measurement gets. Its directory is its own and empty at first."""

    directory: Path
    shared: Path  # for what several measurements use, and make if it is missing
    cores: Cores
    quick: bool
    plot: Path | None = None  # where a plot is drawn, if one is to be

    def pick(self, full: int, quick: int) -> int:
        """The size for a full run, or the one for a smoke test."""
        return quick if self.quick else full

    @property
    def rounds(self) -> int:
        """How often the hub and its peer are measured in turn."""
        return self.pick(11, 1)

    @property
    def seconds(self) -> float:
        """How long one round takes."""
        return 0.2 if self.quick else 1.0


def say(text: str) -> None:
    """Tell the person who waits how far it is."""
    print(text, file=sys.stderr, flush=True)


class Busy:
    """How much of their cores a server and this process used while `measured`.

    Where something else keeps the machine busy, processor time for each
    operation says more than operations per second.
    """

    def __init__(self) -> None:
        self._elapsed = self._server = self._load = 0.0
        self._operations = 0

    @contextmanager
    def measured(self, server: Server) -> Iterator[None]:
        """Count the time of a `with`."""
        began, used, own = time.perf_counter(), server.cpu_seconds(), time.process_time()
        yield
        self._elapsed += time.perf_counter() - began
        self._server += server.cpu_seconds() - used
        self._load += time.process_time() - own

    def count(self, operations: int) -> None:
        """That many operations were done while it measured."""
        self._operations += operations

    def shares(self) -> str:
        """What server and load generator used of their cores, and the server each time."""
        if not self._elapsed or not self._operations:
            return "not measured"
        each = self._server / self._operations * 1e6
        shares = f"{self._server / self._elapsed:.0%}, {self._load / self._elapsed:.0%}"
        return f"{shares}, {each:.2g} µs" if each < 10 else f"{shares}, {each:,.0f} µs"

    def __str__(self) -> str:
        if not self._elapsed:
            return "not measured"
        server, load = self._server / self._elapsed, self._load / self._elapsed
        each = ""
        if self._operations:
            each = f" ({self._server / self._operations * 1e6:.2f} µs each)"
        return f"{server:.0%} of its core{each}, load generator {load:.0%}"
