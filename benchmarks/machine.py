"""The machine: which core is whose, and the facts that figures depend on.

Owns the two cores of a run, the reading of `/proc`, and the cost of a sync.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.events import EVENT_BYTES

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cores:
    """The core of the servers and the core of the load generator."""

    server: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first two cores that this process may use; the same twice if there is one."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[1 % len(usable)])

    def __str__(self) -> str:
        if self.server == self.load:
            return f"ONE core only ({self.server}): servers and load generator share it"
        return f"servers on core {self.server}, load generator on core {self.load}"


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread runs on `core` for the length of a `with`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(process: int) -> float:
    """Processor time of a process and its children that still run, whichever thread began them."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    children: list[str] = []
    for each in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            children += each.read_text().split()
    own = (int(stat[11]) + int(stat[12])) / _TICKS
    return own + sum(cpu_seconds(int(each)) for each in children)


def resident_bytes(process: int) -> int:
    """What a process holds in memory."""
    for line in Path(f"/proc/{process}/status").read_text().split("\n"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(process)


def fdatasync_seconds(directory: Path, count: int) -> list[float]:
    """How long each of `count` syncs took, each after an append as long as one event."""
    path = directory / "fdatasync"
    piece = b"x" * EVENT_BYTES
    samples: list[float] = []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(count):
            os.write(file, piece)
            began = time.perf_counter()
            os.fdatasync(file)
            samples.append(time.perf_counter() - began)
    finally:
        os.close(file)
        path.unlink()
    return samples


def facts(cores: Cores, directory: Path, syncs: int) -> list[str]:
    """One line for each fact about the machine."""
    with on_core(cores.server):
        sync = statistics.median(fdatasync_seconds(directory, syncs))
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    return [
        f"processor: {_processor()}, {os.cpu_count()} cores; {cores}",
        f"system: {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load average {load}",
        f"fdatasync of a {EVENT_BYTES}-byte append: median {sync * 1e6:.0f} µs, "
        f"on {_filesystem(directory)}",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().split("\n"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(directory: Path) -> str:
    device = directory.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().split("\n"):
        fields = line.split()
        if len(fields) > 2 and fields[2] == number:
            kind = fields[fields.index("-") + 1]
            memory = ": in memory, so nothing here is durable" if kind == "tmpfs" else ""
            return kind + memory
    return "an unknown file system"
