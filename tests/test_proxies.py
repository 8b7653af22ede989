"""The hub behind nginx and Caddy, as the documentation sets them up: nothing is held back."""

from __future__ import annotations

import gzip
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import RunHub
from tests.process import PATIENCE, HubProcess, wait_until
from tests.proxies import auth, caddy, nginx

Proxy = Callable[..., AbstractContextManager[str]]

NAME = "https://hub.example.com"
"""The origin of pages that browsers get from the proxy."""

AT_ONCE = 5.0
"""Seconds within which an event arrives that nobody holds back; the heartbeat takes longer."""


@pytest.fixture
def hub(run_hub: RunHub) -> HubProcess:
    """A hub whose heartbeats push nothing through, and that allows pages of the proxy's name."""
    return run_hub("--heartbeat", "60", "--cors", NAME)


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest) -> Proxy:
    found: Proxy = request.param
    return found


@pytest.fixture
def url(proxy: Proxy, hub: HubProcess, tmp_path: Path) -> Iterator[str]:
    """The hub's URL as browsers have it."""
    with proxy(hub, tmp_path) as found:
        yield found


def curl(*arguments: str, data: bytes | None = None) -> bytes:
    """What curl prints; over HTTP/2, unless the arguments say something else."""
    command = ["curl", "-sSk", "--max-time", str(PATIENCE), *arguments]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def status(*arguments: str) -> int:
    return int(curl("-o", "/dev/null", "-w", "%{http_code}", *arguments))


class Follower:
    """A curl that follows a channel over HTTP/2."""

    def __init__(self, url: str, place: Path, *arguments: str) -> None:
        self._file = place / "followed"
        with open(self._file, "wb") as file:
            command = ["curl", "-sSkN", "-H", "Accept: text/event-stream", *arguments, url]
            self._process = subprocess.Popen(command, stdout=file)
        self.wait_for(b"retry:")

    def wait_for(self, text: bytes) -> None:
        """Return when it has come."""
        wait_until(lambda: text in self._file.read_bytes(), f"{text!r} comes through")

    def close(self) -> None:
        """Hang up."""
        self._process.kill()
        self._process.wait()


def subscribers(hub: HubProcess) -> int:
    return int(curl(f"{hub.url}/health").split(b'"subscribers":')[1].split(b",")[0])


@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
def test_events_arrive_at_once(url: str, hub: HubProcess, tmp_path: Path, version: str) -> None:
    follower = Follower(f"{url}/a-channel", tmp_path, version)
    try:
        for number in range(5):
            start = time.monotonic()
            curl("-d", f"event {number}", f"{url}/a-channel")
            follower.wait_for(b"data: event %d\n" % number)
            assert time.monotonic() - start < AT_ONCE
    finally:
        follower.close()
    # Who has gone is not kept by the proxy.
    wait_until(lambda: not subscribers(hub), "the subscription ends")


def test_many_subscriptions_share_a_connection(url: str, tmp_path: Path) -> None:
    """More than the six that HTTP/1.1 gives a browser."""
    curl("-d", "data", f"{url}/a-channel")
    several = [f"{url}/a-channel?since=start&n={number}" for number in range(20)]
    command = ["curl", "-sSkN", "--http2", "--parallel", "--parallel-max", "20", "--max-time", "2",
               "-H", "Accept: text/event-stream", "-w", "%{http_version} %{num_connects}\n",
               *several]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    lines = done.stdout.split("\n")
    assert lines.count("data: data") == 20
    connections = [line.split() for line in lines if line.startswith("2 ")]
    assert len(connections) == 20
    assert sum(int(count) for _, count in connections) == 1


def test_history_batches_ranges_and_compression(url: str, hub: HubProcess) -> None:
    batch = b"".join(b"%06d\ta\t%b\n" % (number, b"x" * 1000) for number in range(5000))
    as_tsv = ("-H", "Content-Type: text/tab-separated-values", "--data-binary", "@-")
    told = curl(*as_tsv, f"{url}/a-channel", data=batch)
    assert told == b'{"count":5000,"first":"000000","last":"004999"}\n'
    assert (hub.events / "a-channel.tsv").read_bytes() == batch
    packed = ("-H", "Content-Encoding: gzip", *as_tsv)
    curl(*packed, f"{url}/b-channel", data=gzip.compress(batch))
    assert curl(f"{url}/b-channel") == batch
    assert curl("-r", "100-299", f"{url}/a-channel") == batch[100:300]
    assert status("-r", f"{len(batch)}-", f"{url}/a-channel") == 416
    answer = curl("-H", "Accept-Encoding: gzip", f"{url}/a-channel")
    assert len(answer) < len(batch) / 10
    assert gzip.decompress(answer) == batch
    head = curl("-I", f"{url}/a-channel").decode().lower()
    tag = head.split("etag: ")[1].split("\r\n")[0]
    assert "last-event-id: 004999" in head
    assert status("-H", f"If-None-Match: {tag}", f"{url}/a-channel") == 304


def test_a_browser_gets_the_page_and_a_program_data(url: str) -> None:
    curl("-d", "data", f"{url}/a-channel")
    assert curl("-H", "Accept: text/html", f"{url}/a-channel").startswith(b"<!doctype html>")
    assert curl(f"{url}/a-channel").endswith(b"\tdata\n")


def test_pages_of_the_proxys_name_have_to_be_allowed(url: str) -> None:
    post = ("-d", "data", f"{url}/a-channel")
    assert status("-H", "Origin: https://elsewhere.example.com", *post) == 403
    assert status("-H", f"Origin: {NAME}", *post) == 201
    head = curl("-I", "-H", f"Origin: {NAME}", f"{url}/a-channel").decode().lower()
    assert f"access-control-allow-origin: {NAME}" in head


def test_the_hub_is_told_the_name_that_was_asked_for(url: str) -> None:
    assert url.removeprefix("https://").encode() in curl(url)


def test_a_resumed_subscription_loses_nothing(url: str, hub: HubProcess, tmp_path: Path) -> None:
    curl("-d", "one", f"{url}/a-channel?id=1")
    curl("-d", "two", f"{url}/a-channel?id=2")
    follower = Follower(f"{url}/a-channel", tmp_path, "-H", "Last-Event-ID: 1")
    follower.wait_for(b"data: two\nid: 2\n")
    follower.close()


def test_who_may_do_what(proxy: Proxy, hub: HubProcess, tmp_path: Path) -> None:
    with auth(tmp_path) as port, proxy(hub, tmp_path, port) as url:
        channel = f"{url}/a-channel"

        # curl 7.88 takes it for an error of HTTP/2 when Caddy, which has answered, asks it to
        # stop sending (RFC 9113, 8.1): whether that comes first is chance.
        post = ("--http1.1", "-d", "x", channel)

        def bearing(token: str) -> tuple[str, str]:
            return "-H", f"Authorization: Bearer {token}"

        assert status(channel) == 401
        assert status(*post) == 401
        assert status(*bearing("guessed"), channel) == 401
        assert status(*bearing("let-me-read"), *post) == 403
        assert status(*bearing("let-me-read"), "-X", "DELETE", f"{url}/consumers/one") == 403
        assert not hub.events.joinpath("a-channel.tsv").exists()
        assert status(*bearing("let-me-write"), "-d", "data", channel) == 201
        assert status(*bearing("let-me-read"), channel) == 200
        batch = ("-H", "Content-Type: application/x-ndjson", "--data-binary", "@-")
        large = b'"x"\n' * 100_000
        curl(*bearing("let-me-write"), *batch, channel, data=large)
        # An EventSource has nothing but its cookie.
        follower = Follower(channel, tmp_path, "-H", "Cookie: token=let-me-read")
        curl(*bearing("let-me-write"), "-d", "more", channel)
        follower.wait_for(b"data: more\n")
        follower.close()
