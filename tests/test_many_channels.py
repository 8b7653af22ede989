"""A hundred thousand channels, each written once: files open, memory, and starting over them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import RunHub
from tests.posting import history
from tests.process import PATIENCE, HubProcess

MIB = 1024 * 1024
MANY = 100_000
CONNECTIONS = 8
PIPELINED = 50
"""Requests sent on one connection before their answers are read."""

MOST = 300 * MIB
"""What the hub may have resident."""

START_SECONDS = 12.0
"""Within which the hub starts over them: several times what it takes on an idle machine."""

TIMES = 10
"""On a slower machine: times what it takes to read every file once."""

REMOVE_SECONDS = 120.0
"""For what has yet to be removed when all tests have passed."""

REBUILD_SECONDS = 25.0
"""The same, when every file must be read since the index is gone."""


def post_to(hub: HubProcess, channels: list[str]) -> None:
    """Post one event to each channel, as fast as that goes."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        parts = [channels[n::CONNECTIONS] for n in range(CONNECTIONS)]
        list(pool.map(lambda part: _post_to(hub.port, part), parts))


def _post_to(port: int, channels: list[str]) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        for at in range(0, len(channels), PIPELINED):
            part = channels[at : at + PIPELINED]
            connection.sendall(b"".join(map(_request, part)))
            _read_answers(connection, len(part))


def _request(channel: str) -> bytes:
    return (
        f"POST /{channel}?event=type HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nSome data"
    ).encode()


def _read_answers(connection: socket.socket, count: int) -> None:
    answers = b""
    while answers.count(b"Z") < count:  # each body is an id, and ends with it
        piece = connection.recv(65536)
        assert piece
        answers += piece
    assert answers.count(b"HTTP/1.1 201") == count


def status_of(hub: HubProcess, field: str) -> int:
    """A field of the process's status, in KiB or as a count."""
    assert hub.process is not None
    status = Path(f"/proc/{hub.process.pid}/status").read_text()
    return int(status.partition(f"\n{field}:")[2].split()[0])


def open_files(hub: HubProcess) -> int:
    assert hub.process is not None
    return len(os.listdir(f"/proc/{hub.process.pid}/fd"))


def check(hub: HubProcess, channels: Iterable[str]) -> None:
    """The hub has all of these, in a few descriptors and not too much memory."""
    names = list(channels)
    with urllib.request.urlopen(f"{hub.url}/health", timeout=PATIENCE) as answer:
        health = json.loads(answer.read())
    assert (health["channels"], health["events"]) == (len(names), len(names))
    assert health["status"] == "ok"
    assert status_of(hub, "VmHWM") * 1024 < MOST
    assert open_files(hub) < 100
    for name in names[:: len(names) // 10]:
        (event,) = history(hub, name)
        assert (event.type, event.data) == ("type", "Some data")


def start(hub: HubProcess, seconds: float, slow: float) -> None:
    """Start the hub within so many seconds, or within `slow` ones where those are more."""
    hub.start(max(seconds, slow))


def reading(events: Path) -> float:
    """How many seconds it takes to read every log once."""
    began = time.monotonic()
    for each in events.glob("*.tsv"):
        each.read_bytes()
    return time.monotonic() - began


@pytest.fixture(scope="session")
def removing() -> Iterator[list[subprocess.Popen[bytes]]]:
    """What removes directories while other tests run; all is gone at the end."""
    begun: list[subprocess.Popen[bytes]] = []
    yield begun
    assert [each.wait(REMOVE_SECONDS) for each in begun] == [0] * len(begun)


@pytest.fixture
def events(tmp_path: Path, removing: list[subprocess.Popen[bytes]]) -> Iterator[Path]:
    """The events directory; it is large, and so is not left behind as pytest would."""
    yield tmp_path / "events"
    removing.append(subprocess.Popen(["rm", "-r", tmp_path / "events"]))


@pytest.mark.parametrize(("durability", "count"), [("os", MANY), ("always", 3000)])
def test_many_channels(run_hub: RunHub, durability: str, count: int) -> None:
    hub = run_hub("--durability", durability)
    channels = [f"channel-{n:06}" for n in range(count)]
    post_to(hub, channels)
    check(hub, channels)
    hub.kill()
    slow = TIMES * reading(hub.events)
    start(hub, START_SECONDS, slow)  # it reads what the index does not know yet
    check(hub, channels)
    assert hub.stop() == 0
    start(hub, START_SECONDS, slow)  # the index knows everything
    check(hub, channels)
    hub.kill()
    for each in (hub.events / ".hub").glob("index*"):
        each.unlink()
    start(hub, REBUILD_SECONDS, slow)  # every file is read
    check(hub, channels)
