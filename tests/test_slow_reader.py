"""A subscriber that stops reading costs the hub next to nothing, and nobody else anything."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import RunHub
from tests.posting import post
from tests.process import PATIENCE, HubProcess, wait_until

MIB = 1024 * 1024
LINE = 63 * 1024
BATCH_LINES = 60 * MIB // LINE
BATCHES = 18
"""Of 60 MiB each: more than 1 GiB."""

MOST = 20 * MIB
"""What the slow reader may cost the hub."""

PATIENT = 0.5
"""Seconds within which others are served meanwhile."""


class Follower:
    """Follows a channel on a socket of its own; it reads only when it is told to."""

    def __init__(self, hub: HubProcess, channel: str) -> None:
        self.count = 0
        self.digest = hashlib.blake2b()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", hub.port))
        self._socket.sendall(
            f"GET /{channel} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        self._lines = self._socket.makefile("rb", MIB)
        while self._lines.readline() != b":\n":
            pass

    def read(self, count: int) -> None:
        """Read on until so many events have come in all."""
        for line in self._lines:
            if line.startswith(b"data: "):
                self.digest.update(line[6:])
                self.count += 1
                if self.count == count:
                    return
        raise AssertionError("the hub ended the stream")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def lines_of(batch: int) -> Iterator[bytes]:
    filler = b"x" * (LINE - 40)
    for number in range(BATCH_LINES):
        yield b'{"batch":%d,"number":%d,"x":"%b"}\n' % (batch, number, filler)


class Publisher:
    """Posts over one connection."""

    def __init__(self, hub: HubProcess) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=PATIENCE)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def batch(self, number: int) -> None:
        self.post(b"".join(lines_of(number)), "application/x-ndjson")

    def post(self, body: bytes, kind: str = "text/plain") -> None:
        self._connection.request("POST", "/a-channel", body, {"Content-Type": kind})
        answer = self._connection.getresponse()
        assert answer.status == 201, answer.read()
        answer.read()

    def close(self) -> None:
        self._connection.close()


def resident(hub: HubProcess) -> int:
    """Bytes of memory that the hub has."""
    assert hub.process is not None
    status = Path(f"/proc/{hub.process.pid}/status").read_text()
    (line,) = (each for each in status.split("\n") if each.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Path]:
    """The events directory; it is large, and so is not left behind as pytest would."""
    yield tmp_path / "events"
    shutil.rmtree(tmp_path / "events")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is entered here is left at the end of the test."""
    with ExitStack() as stack:
        yield stack


def test_a_subscriber_that_stops_reading_while_a_gibibyte_is_posted(
    run_hub: RunHub, stack: ExitStack
) -> None:
    hub = run_hub("--durability", "os")
    publisher = stack.enter_context(closing(Publisher(hub)))
    with closing(Follower(hub, "a-channel")) as quick:
        for batch in range(4):
            publisher.batch(batch)
            quick.read((batch + 1) * BATCH_LINES)
    before = resident(hub)
    with closing(Follower(hub, "a-channel")) as slow, closing(Follower(hub, "a-channel")) as quick:
        expected = hashlib.blake2b()
        highest = 0
        for batch in range(BATCHES):
            for line in lines_of(batch):
                expected.update(line)
            publisher.batch(batch)
            quick.read((batch + 1) * BATCH_LINES)
            highest = max(highest, resident(hub))
            _nobody_waits(hub)
        assert BATCHES * BATCH_LINES * LINE > 1024 * MIB
        assert quick.digest.digest() == expected.digest()
        with urllib.request.urlopen(f"{hub.url}/metrics", timeout=PATIENCE) as answer:
            assert b"\nhub_lagging_subscribers 1.0\n" in answer.read()
        cost = highest - before
        assert cost < MOST, f"{cost / MIB:.1f} MiB"
        slow.read(BATCHES * BATCH_LINES)
        assert slow.digest.digest() == expected.digest()
        assert resident(hub) - before < MOST
        # It is live again.
        post(hub, "a-channel", "more")
        slow.read(BATCHES * BATCH_LINES + 1)


def _nobody_waits(hub: HubProcess) -> None:
    with closing(Follower(hub, "other-channel")) as other:
        began = time.monotonic()
        post(hub, "other-channel", "data")
        other.read(1)
        assert time.monotonic() - began < PATIENT


def test_small_events_pass_one_who_does_not_read(run_hub: RunHub, stack: ExitStack) -> None:
    """Live events, that is: those that are framed once for everybody."""
    hub = run_hub("--durability", "os")
    publisher = stack.enter_context(closing(Publisher(hub)))
    count = 600
    with closing(Follower(hub, "a-channel")) as slow, closing(Follower(hub, "a-channel")) as quick:
        reading = threading.Thread(target=quick.read, args=(count,), daemon=True)
        reading.start()
        for _ in range(count // 2):
            publisher.post(b"x" * 200_000)
        before = resident(hub)
        for _ in range(count // 2):
            publisher.post(b"x" * 200_000)
        wait_until(lambda: quick.count == count, "the quick one has everything")
        reading.join(PATIENCE)
        assert resident(hub) - before < MOST
        slow.read(count)
        assert slow.digest.digest() == quick.digest.digest()
