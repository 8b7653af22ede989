"""What a running hub holds: memory, file descriptors, tasks, threads.

Owns how that is asked for, from the system and from `/metrics`.
"""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import NamedTuple

from tests.process import PATIENCE, HubProcess


class Held(NamedTuple):
    """At one moment."""

    files: int
    tasks: int
    subscribers: int
    threads: int
    resident: int  # bytes

    def __str__(self) -> str:
        return (
            f"{self.files} file descriptors, {self.tasks} tasks, {self.subscribers} subscriptions, "
            f"{self.threads} threads, {self.resident / 2**20:.1f} MiB"
        )


def held(hub: HubProcess) -> Held:
    """What a hub holds now. The question itself costs a task and a file descriptor."""
    return Held(
        files(hub),
        int(gauge(hub, "hub_tasks")),
        int(gauge(hub, "hub_subscribers")),
        sum(1 for _ in (_process(hub) / "task").iterdir()),
        resident(hub),
    )


def files(hub: HubProcess) -> int:
    """How many file descriptors a hub has."""
    return sum(1 for _ in (_process(hub) / "fd").iterdir())


def resident(hub: HubProcess) -> int:
    """Bytes of memory that a hub has."""
    for line in (_process(hub) / "status").read_text().split("\n"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(hub)


def gauge(hub: HubProcess, name: str) -> float:
    """One figure of `/metrics`."""
    with urllib.request.urlopen(f"{hub.url}/metrics", timeout=PATIENCE) as answer:
        found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None, f"there is no {name} in /metrics"
    return float(found[1])


def _process(hub: HubProcess) -> Path:
    assert hub.process is not None, "the hub is not running"
    return Path("/proc", str(hub.process.pid))
