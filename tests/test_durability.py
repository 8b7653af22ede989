"""A hub that is killed, stopped under load, or out of disk: what was acknowledged is there."""

from __future__ import annotations

import errno
import os
import random
import resource
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

import pytest

from hub.engines.files import FilesEngine
from tests.conftest import Client, RunHub, StartHub
from tests.parts import missing
from tests.posting import history, post
from tests.process import PATIENCE, HubProcess, wait_until
from tests.storage.disks import FaultyDisk

BATCH = 40
"""Events in each batch that is posted while the hub is killed."""


class Publisher:
    """Posts to one channel from a thread: single events, or batches; keeps what was said of each.

    Every event's data is `publisher.post.place`.
    """

    def __init__(self, hub: HubProcess, channel: str, name: str, batch: int) -> None:
        self.acknowledged: list[int] = []
        self.posted = 0
        self.name = name
        self.batch = batch
        self._hub = hub
        self._channel = channel
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def lines(self, number: int) -> list[str]:
        return [f"{self.name}.{number}.{place}" for place in range(self.batch)]

    def _run(self) -> None:
        while not self._stop.is_set():
            number = self.posted
            self.posted += 1
            try:
                self._post(number)
                self.acknowledged.append(number)
            except (OSError, HTTPException):
                time.sleep(0.02)  # it is down

    def _post(self, number: int) -> None:
        if self.batch == 1:
            post(self._hub, self._channel, *self.lines(number))
            return
        body = "".join(f"\tt\t{each}\n" for each in self.lines(number)).encode()
        request = urllib.request.Request(
            f"{self._hub.url}/{self._channel}",
            body,
            {"Content-Type": "text/tab-separated-values"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert answer.status == 201


def test_killed_at_any_moment_nothing_acknowledged_is_lost(run_hub: RunHub) -> None:
    hub = run_hub()
    channels = ("first-channel", "other-channel")
    publishers = {
        channel: [
            Publisher(hub, channel, f"{channel}-{n}", batch)
            for n, batch in enumerate((1, 1, BATCH, 20 * BATCH))
        ]
        for channel in channels
    }
    everybody = [each for some in publishers.values() for each in some]
    for each in everybody:
        each.start()
    chance = random.Random(os.urandom(8))
    for _ in range(10):
        time.sleep(chance.uniform(0.05, 0.5))
        hub.kill()
        hub.start()
    time.sleep(0.2)
    for each in everybody:
        each.stop()
    for channel in channels:
        found = history(hub, channel)
        _check(publishers[channel], [each.data for each in found])
        ids = [each.id for each in found]
        assert ids == sorted(set(ids))
        hub.kill()
        hub.start()
        assert history(hub, channel) == found


def _check(publishers: list[Publisher], found: list[str]) -> None:
    """Each acknowledged post is there once, in order; each post whole, unbroken, or absent."""
    assert len(set(found)) == len(found)
    places = {data: place for place, data in enumerate(found)}
    for each in publishers:
        assert len(each.acknowledged) > 5
        stored = [n for n in range(each.posted) if each.lines(n)[0] in places]
        assert set(each.acknowledged) <= set(stored)
        begins = [places[each.lines(number)[0]] for number in stored]
        assert begins == sorted(begins)
        for number, begin in zip(stored, begins, strict=True):
            assert found[begin : begin + each.batch] == each.lines(number)
    assert len(found) == sum(
        each.batch
        for each in publishers
        for number in range(each.posted)
        if each.lines(number)[0] in places
    )


def test_a_second_hub_ends_with_a_message(run_hub: RunHub, events: Path) -> None:
    hub = run_hub()
    assert hub.process is not None
    with pytest.raises(AssertionError, match="the hub has ended") as told:
        run_hub()
    assert f"is in use by another hub (process {hub.process.pid})" in str(told.value)
    assert "Traceback" not in str(told.value)
    post(hub, "a-channel", "still works")


def test_a_second_hub_ends_with_a_status(run_hub: RunHub, tmp_path: Path) -> None:
    hub = run_hub()
    other = HubProcess(hub.events, tmp_path / "other.log")
    with pytest.raises(AssertionError):
        other.start()
    assert other.process is not None
    assert other.process.wait(PATIENCE) == 1
    other.process = None


def test_damage_is_told_at_health_and_the_rest_is_served(run_hub: RunHub, events: Path) -> None:
    hub = run_hub()
    post(hub, "a-channel", "sound")
    hub.stop()
    with open(events / "a-channel.tsv", "a") as file:
        file.write("no event\nx\tt\tlater\n")
    hub.start()
    with urllib.request.urlopen(f"{hub.url}/health") as answer:
        assert b'"damaged":["a-channel"]' in answer.read()
    assert [each.data for each in history(hub, "a-channel")] == ["sound"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(hub, "a-channel", "more")
    assert refused.value.code == 503
    assert b"line 2" in refused.value.read()
    refused.value.close()
    assert "a-channel.tsv takes no writes: line 2" in hub.log


def test_a_torn_tail_is_cut_and_logged(run_hub: RunHub, events: Path) -> None:
    hub = run_hub()
    post(hub, "a-channel", "whole")
    hub.kill()
    path = events / "a-channel.tsv"
    size = path.stat().st_size
    with open(path, "a") as file:
        file.write("2026-11-20T11:40:10.793214Z\tt\ttor")
    hub.start()
    assert f"cut off a torn write that was never acknowledged: 33 bytes at offset {size}" in hub.log
    assert [each.data for each in history(hub, "a-channel")] == ["whole"]


# Faults, as a client sees them


@pytest.mark.parametrize(("error", "status"), [(errno.ENOSPC, 507), (errno.EIO, 503)])
async def test_a_failed_write_has_its_status_and_reading_goes_on(
    start_hub: StartHub, events: Path, error: int, status: int
) -> None:
    disk = FaultyDisk("pwritev", 2, error, lasting=True)
    hub: Client = await start_hub(engine=FilesEngine(events, disk=disk))
    assert (await hub.post("/a-channel", data=b"first")).status == 201
    before = await (await hub.get("/a-channel")).text()
    for _ in range(2):
        answer = await hub.post("/a-channel", data=b"second")
        assert answer.status == status
        assert set(await answer.json()) == {"error", "code"}
        assert await (await hub.get("/a-channel")).text() == before
    batch = await hub.post(
        "/a-channel",
        data=b"\tt\tx\n\tt\ty\n",
        headers={"Content-Type": "text/tab-separated-values"},
    )
    assert batch.status == status
    disk.healed = True
    assert (await hub.post("/a-channel", data=b"third")).status == 201
    after = await (await hub.get("/a-channel")).text()
    assert after.startswith(before)
    assert after.endswith("\tthird\n")
    assert after.count("\n") == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        missing("a file system of 1 MiB can only be mounted by root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def _status(hub: HubProcess, channel: str, data: str) -> int:
    try:
        post(hub, channel, data)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
    return 201


@pytest.mark.parametrize("durability", ["always", "os"])
def test_a_full_disk(run_hub: RunHub, small_disk: Path, durability: str) -> None:
    events = small_disk / "events"
    hub = run_hub("--durability", durability, directory=events)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    kept = ["first"]
    post(hub, "a-channel", "first")
    for number in range(100):
        data = f"{number} " + "x" * 20_000
        if _status(hub, "a-channel", data) != 201:
            break
        kept.append(data)
    assert 5 < len(kept) < 60
    for channel in ("a-channel", "other-channel"):
        assert _status(hub, channel, "y" * 30_000) == 507
    assert [each.data for each in history(hub, "a-channel")] == kept
    # It starts on a full disk, too, with and without an index.
    for _ in range(2):
        hub.kill()
        hub.start()
        assert [each.data for each in history(hub, "a-channel")] == kept
        for each in (events / ".hub").glob("index*"):
            each.unlink()
    ballast.unlink()
    post(hub, "a-channel", "y" * 30_000)
    post(hub, "other-channel", "again")
    assert [each.data for each in history(hub, "a-channel")] == [*kept, "y" * 30_000]
    assert hub.stop() == 0


# The end


@pytest.fixture
def open_files() -> Iterator[None]:
    """This process may have as many files open as the system lets it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("open_files")
def test_sigterm_with_a_thousand_subscriptions_and_posts_in_flight(run_hub: RunHub) -> None:
    hub = run_hub()
    with ExitStack() as stack:
        subscribers = [
            stack.enter_context(_subscribe(hub, f"channel-{n % 10}")) for n in range(1000)
        ]
        publishers = [
            Publisher(hub, f"channel-{n}", f"publisher-{n}", (1, 1, BATCH)[n % 3]) for n in range(6)
        ]
        for each in publishers:
            each.start()
        wait_until(lambda: all(len(each.acknowledged) > 10 for each in publishers), "posts")
        began = time.monotonic()
        status = hub.stop()
        seconds = time.monotonic() - began
        for each in publishers:
            each.stop()
        assert status == 0, hub.log
        assert seconds < 2
        assert "Traceback" not in hub.log
        for subscriber in subscribers:
            last = b""
            while piece := subscriber.recv(65536):
                last = piece
            assert not last or last.endswith(b"\n")
    hub.start()
    for n, each in enumerate(publishers):
        _check([each], [event.data for event in history(hub, f"channel-{n}")])


def _subscribe(hub: HubProcess, channel: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", hub.port), PATIENCE)
    connection.sendall(
        f"GET /{channel} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode()
    )
    begun = b""
    while not begun.endswith(b":\n"):
        begun += connection.recv(4096)
    return connection
