"""Clients that nobody here wrote, against a hub process: npm's and PyPI's."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.conftest import RunHub
from tests.parts import CLIENTS, require_clients
from tests.posting import Poster, Received, history, pass_heartbeats, post
from tests.process import PATIENCE, HubProcess, wait_until

FAST = ("--heartbeat", "0.2", "--retry", "50")
"""A hub that makes clients come back soon, and shows them many heartbeats."""

TYPES = ("type", "größer", "hub-reset")
"""Event types that the tests use: `EventSource` gives only those that it is asked for."""


class Cutter:
    """A way to the hub that breaks once: right behind a mark in what the hub sends."""

    def __init__(self, hub: HubProcess, mark: bytes) -> None:
        self.has_cut = False
        self._hub = hub
        self._mark = mark
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with self._server:
            for _ in range(2):
                client, _ = self._server.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._hub.port)) as hub:
            hub.sendall(client.recv(64 * 1024))
            passed = b""
            while piece := hub.recv(64 * 1024):
                before, mark, _ = (passed + piece).partition(self._mark)
                if mark and not self.has_cut:
                    self.has_cut = True
                    client.sendall((before + mark)[len(passed) :])
                    return
                passed += piece
                client.sendall(piece)


class Follower:
    """A client, run by a script in `clients/`, that comes back when it is cut off."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self.events: list[Received] = []
        self.connections = 0
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = json.loads(line)
            if "type" in found:
                self.events.append(Received(**found))
            elif "open" in found:
                self.connections += 1

    def has(self, count: int) -> bool:
        """Whether so many events have arrived."""
        return len(self.events) >= count

    def close(self) -> None:
        with self._process:
            self._process.kill()
            self._thread.join(PATIENCE)


Follow = Callable[..., Follower]


@pytest.fixture(params=["eventsource.mjs", "fetch-event-source.mjs", "httpx-sse.py"])
def follow(request: pytest.FixtureRequest) -> Iterator[Follow]:
    """Starts a client on a channel; takes the parameters of the URL."""
    script = CLIENTS / request.param
    program = sys.executable if script.suffix == ".py" else require_clients()
    followers: list[Follower] = []

    def start(hub: HubProcess | Cutter, channel: str, **query: str) -> Follower:
        url = f"{hub.url}/{channel}?{urlencode(query)}"
        follower = Follower([program, script, url, *TYPES])
        followers.append(follower)
        wait_until(lambda: follower.connections > 0, "the client is connected")
        return follower

    yield start
    for each in followers:
        each.close()


def wait_for(follower: Follower, data: str) -> None:
    """Wait until the client has an event with this data."""
    wait_until(lambda: any(each.data == data for each in follower.events), f"{data!r} has arrived")


def test_every_kind_of_event_arrives_as_it_was_posted(run_hub: RunHub, follow: Follow) -> None:
    hub = run_hub(*FAST)
    follower = follow(hub, "a-channel")
    sent = [
        Received(event or "message", data, post(hub, "a-channel", data, event=event))
        for event, data in (
            ("", "Some data"),
            ("type", "first\n  second, after spaces\n\n\ttab: colon\n"),
            ("größer", "日本語 \u2028 \x85 \f 🎉"),
            ("type", ": not a comment"),
            ("", "data: id: event:"),
            ("type", "{}"),
            ("", "the end"),
        )
    ]
    sent[1] = sent[1]._replace(data=sent[1].data.removesuffix("\n"))
    wait_for(follower, "the end")
    assert follower.events == sent == history(hub, "a-channel")


def test_heartbeats_and_empty_events(run_hub: RunHub, follow: Follow) -> None:
    """A heartbeat is no message, before and after events; an event without data is one."""
    hub = run_hub(*FAST)
    follower = follow(hub, "a-channel")
    pass_heartbeats(hub, "a-channel")
    sent = [Received("type", "", post(hub, "a-channel", "", event="type"))]
    pass_heartbeats(hub, "a-channel")
    sent.append(Received("message", "the end", post(hub, "a-channel", "the end")))
    wait_for(follower, "the end")
    pass_heartbeats(hub, "a-channel")
    assert follower.events == sent
    assert follower.connections == 1


def test_history_and_then_live_in_one_connection(run_hub: RunHub, follow: Follow) -> None:
    hub = run_hub(*FAST)
    with Poster(hub, "a-channel") as poster:
        wait_until(lambda: len(poster.acknowledged) > 100, "a history")
        follower = follow(hub, "a-channel", since="start")
        count = len(poster.acknowledged)
        wait_until(lambda: len(poster.acknowledged) > count + 100, "live events")
    post(hub, "a-channel", "the end")
    wait_for(follower, "the end")
    assert follower.events == history(hub, "a-channel")
    assert [each.data for each in follower.events] == [*poster.acknowledged, "the end"]
    assert follower.connections == 1


def test_every_event_once_through_restarts(run_hub: RunHub, follow: Follow) -> None:
    hub = run_hub(*FAST)
    follower = follow(hub, "a-channel")
    with Poster(hub, "a-channel") as poster:
        for end in (hub.stop, hub.kill):
            count = len(follower.events)
            wait_until(partial(follower.has, count + 50), "live events")
            end()
            hub.start()
    post(hub, "a-channel", "the end")
    wait_for(follower, "the end")
    assert follower.connections > 2
    pass_heartbeats(hub, "a-channel", 1)
    assert follower.events == history(hub, "a-channel")
    assert {*poster.acknowledged} <= {each.data for each in follower.events}


@pytest.mark.parametrize("mark", [b"half", b"half of it\n"])
def test_an_event_that_is_cut_off_comes_again(run_hub: RunHub, follow: Follow, mark: bytes) -> None:
    """A client must not count an event as seen of which it has only a part."""
    hub = run_hub(*FAST)
    for data in ("first", "half of it", "last"):
        post(hub, "a-channel", data)
    cutter = Cutter(hub, mark)
    follower = follow(cutter, "a-channel", since="start")
    wait_for(follower, "last")
    assert cutter.has_cut
    assert follower.events == history(hub, "a-channel")


def test_an_unknown_id_is_told_by_hub_reset(run_hub: RunHub, follow: Follow) -> None:
    """The hub comes back over another directory: what the client has folded is worth nothing."""
    hub = run_hub(*FAST)
    follower = follow(hub, "a-channel")
    post(hub, "a-channel", "lost", id="lost-1")
    wait_for(follower, "lost")
    hub.stop()
    shutil.rmtree(hub.events)
    hub.events.mkdir()
    (hub.events / "a-channel.tsv").write_text("new-1\ttype\tone\nnew-2\t\ttwo\n")
    hub.start()
    wait_for(follower, "two")
    assert [each.data for each in follower.events] == ["lost", "", "one", "two"]
    assert [each.type for each in follower.events] == ["message", "hub-reset", "type", "message"]
    assert follower.events[2:] == history(hub, "a-channel")
