"""What tests post to a hub process, and what it then holds."""

from __future__ import annotations

import threading
import time
import urllib.request
from http.client import HTTPException
from typing import NamedTuple, Self
from urllib.parse import urlencode

from tests.process import PATIENCE, HubProcess

_PAUSE = 0.002
"""Seconds between two posts: leaves time to those who read."""


class Received(NamedTuple):
    """One event as a reader has it."""

    type: str
    data: str
    id: str


def post(hub: HubProcess, channel: str, data: str, **query: str) -> str:
    """Post one event; return its id."""
    url = f"{hub.url}/{channel}?{urlencode(query)}"
    with urllib.request.urlopen(url, data.encode(), timeout=PATIENCE) as answer:
        assert answer.status == 201
        return str(answer.read().decode())


def history(hub: HubProcess, channel: str) -> list[Received]:
    """The events of a channel as a reader of the live stream should have them."""
    with urllib.request.urlopen(f"{hub.url}/{channel}", timeout=PATIENCE) as answer:
        lines = answer.read().decode().split("\n")
    assert lines.pop() == ""
    rows = (line.split("\t", 2) for line in lines)
    return [Received(row[1] or "message", row[2].replace("\v", "\n"), row[0]) for row in rows]


def pass_heartbeats(hub: HubProcess, channel: str, count: int = 3) -> None:
    """Return when so many more heartbeats have gone out to those who follow the channel."""
    request = urllib.request.Request(
        f"{hub.url}/{channel}", headers={"Accept": "text/event-stream"}
    )
    deadline = time.monotonic() + PATIENCE
    with urllib.request.urlopen(request, timeout=PATIENCE) as stream:
        for line in stream:
            assert time.monotonic() < deadline, "there are no heartbeats"
            count -= line == b":\n"
            if count < 0:  # one more: the first goes out at once
                return


class Poster:
    """Posts 0, 1, 2 … from a thread, until it is left; those for which the hub is down fail."""

    def __init__(self, hub: HubProcess, channel: str) -> None:
        self.acknowledged: list[str] = []
        """The data of what the hub has said is stored."""
        self._hub = hub
        self._channel = channel
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(_PAUSE):
            try:
                post(self._hub, self._channel, str(number))
                self.acknowledged.append(str(number))
            except (OSError, HTTPException):
                pass  # it is down; killed before it could answer, it may have stored this one
            number += 1
