"""A hub as a process of its own, that a test can stop, kill and start again.

Everything here blocks: in a coroutine, call it by `asyncio.to_thread`. Tests
get one from the fixture `run_hub`, which also ends it.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

import hub

PATIENCE = 30.0
"""Seconds after which what a test waits for is taken to never come."""

_PAUSE = 0.01
_ROOT = Path(hub.__file__).parents[1]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Return as soon as the condition holds; fail when it still does not in the end."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(_PAUSE)


def free_port() -> int:
    """A port that nothing listens on, from below those that the system gives to clients.

    One of those could go to a client while the hub on it is down, even to one
    that is trying to reach that hub.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class HubProcess:
    """`python -m hub serve` over one directory and on one port, started as often as you like."""

    def __init__(self, events: Path, log: Path, *arguments: str) -> None:
        self.events = events
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}  # more of it, for the next start
        self._log = log

    @property
    def log(self) -> str:
        """Everything that the hub has logged, over all its lives."""
        return self._log.read_text() if self._log.exists() else ""

    def start(self, seconds: float = PATIENCE) -> None:
        """Run the hub; return when it answers, and fail when it still does not in the end."""
        self.begin()
        wait_until(self._answers, "the hub answers at /health", seconds)

    def begin(self) -> None:
        """Run the hub; return at once."""
        assert self.process is None, "the hub is already running"
        with open(self._log, "ab") as log:
            self.process = self._run(log)

    def stop(self) -> int:
        """Ask the hub to end (SIGTERM); return its exit status once it is gone."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the hub without giving it a chance to do anything more (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def _run(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        place = ("--port", str(self.port), "--events", str(self.events))
        own = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
        return subprocess.Popen(
            [sys.executable, "-m", "hub", "serve", *place, *self.arguments],
            cwd=_ROOT,  # so it is the hub that the tests import
            env={**own, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"the hub has ended:\n{self.log}")
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=PATIENCE) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def _end(self, sign: signal.Signals) -> int:
        assert self.process is not None, "the hub is not running"
        self.process.send_signal(sign)
        status = self.process.wait(PATIENCE)
        self.process = None
        return status
