"""Requests that nobody would send: what can be said of them is that the hub stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import hub as package
from evidence.described import FILES, described
from evidence.holding import files, resident
from evidence.raw import SOON, Sender
from evidence.requests import FIRST, behind, requests
from evidence.run import Broken, Run, check
from tests.process import PATIENCE, HubProcess, wait_until

OPTIONS = (
    *("--durability", "os", "--read-timeout", "0.1", "--heartbeat", "0.2"),
    *("--idle-timeout", "1", "--body-timeout", "1", "--consumer-seconds", "0.2"),
)
"""Short times, so that what waits for more is over soon."""

AT_ONCE = 60
"""Examples between two looks at the hub, each of some requests: making one costs most."""

TOLD = 10_000
"""Requests after which it is told how far it is."""

MEMORY = 400_000_000
"""Bytes of the hub's memory."""

LEFT = 60
"""Files that may be open more than at first, of logs and of the index."""

PLACE = Path("a", "b", "c", "events")
"""So deep in the run's directory that what climbs out of it is found there."""

_SENDS = st.one_of(
    st.tuples(requests(), st.sampled_from([b"", b"", FIRST])),
    st.tuples(behind(), st.just(FIRST)),
)
"""What goes over one connection, and what went before."""

_ROOT = Path(package.__file__).parents[1]


def fuzz(run: Run) -> list[str]:
    """Send requests of all kinds, sound and not, byte for byte over sockets.

    Hypothesis makes them: methods, paths and queries with every kind of encoding, headers
    that contradict each other, bodies, chunks, several requests in one, cut off and with
    bytes changed, over connections of their own or behind a sound post. Schemathesis makes
    others from the OpenAPI description, and holds the answers against it. No answer is a
    5xx, no answer and no log has a traceback, nothing hangs, the memory stays bounded, no
    file appears but in the events directory. Afterwards the hub works, ends, and its logs
    are sound. Short: 1,000 requests, and two of each operation; long: 100,000 and 300.
    """
    (run.directory / PLACE.parent).mkdir(parents=True)
    hub = HubProcess(run.directory / PLACE, run.directory / "hub.log", *OPTIONS)
    hub.start()
    try:
        return _Fuzz(run, hub).go()
    finally:
        if hub.process is not None:
            hub.kill()


class _Fuzz:
    def __init__(self, run: Run, hub: HubProcess) -> None:
        self._run = run
        self._hub = hub
        self._sender = Sender(hub.port)
        self._files = files(hub)
        self._around = set(os.listdir(_ROOT))
        self._memory = 0

    def go(self) -> list[str]:
        try:
            self._raw(self._run.pick(1000, 100_000))
        finally:
            self._sender.close()
        statuses = ", ".join(
            f"{count:,} times {status}" for status, count in sorted(self._sender.statuses.items())
        )
        cases = described(self._run, self._hub)
        self._look()
        return [
            f"{self._sender.sent:,} raw requests; answers: {statuses}",
            *cases,
            f"at most {self._memory / 1e6:.0f} MB of memory",
            self._end(),
        ]

    def _raw(self, count: int) -> None:
        """Send at least so many."""
        chance = self._run.chance("raw")
        told = 0
        while self._sender.sent < count:
            self._some(chance.getrandbits(60))
            self._sender.settle()
            self._look()
            if self._sender.sent >= told + TOLD:
                told = self._sender.sent
                self._run.say(f"{told:,} requests")

    def _some(self, number: int) -> None:
        """Some that belong to a number. Of those that break the hub, the shortest is told."""
        first: list[Broken] = []

        @seed(number)
        @settings(
            max_examples=AT_ONCE,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(_SENDS, min_size=1, max_size=40))
        def send(some: list[tuple[bytes, bytes]]) -> None:
            try:
                for data, before in some:
                    self._sender.send(data, before)
            except Broken as error:
                first.append(error)
                raise

        try:
            send()
        except Broken:
            raise
        except Exception:
            if first:  # Hypothesis could not make it happen again
                raise first[0] from None
            raise

    def _look(self) -> None:
        """The hub works, what was sent is over, and it has told of no mistake."""
        hub = self._hub
        with urllib.request.urlopen(f"{hub.url}/health", timeout=SOON) as answer:
            check(answer.status == 200, f"/health is {answer.status}")
        wait_until(lambda: files(hub) < self._files + LEFT, "connections are closed")
        self._memory = max(self._memory, resident(hub))
        check(self._memory < MEMORY, f"the hub takes {self._memory:,} bytes of memory")
        self._check_log()
        self._check_files()

    def _end(self) -> str:
        """The hub still works, ends well, and its logs are sound."""
        hub = self._hub
        with urllib.request.urlopen(f"{hub.url}/at-the-end", b"the end", timeout=SOON) as answer:
            check(answer.status == 201, f"a post is answered with {answer.status}")
        check(hub.stop() == 0, "the hub did not end well")
        command = [sys.executable, "-m", "hub", "verify", str(hub.events)]
        result = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT)
        check(result.returncode == 0, f"hub verify: {result.stdout}{result.stderr}")
        hub.start()
        with urllib.request.urlopen(f"{hub.url}/at-the-end", timeout=PATIENCE) as answer:
            check(answer.read().endswith(b"\tthe end\n"), "the last event is not there")
        check(hub.stop() == 0, "the hub did not end well")
        self._check_log()
        self._check_files()
        return f"hub verify: {result.stdout.strip()}"

    def _check_log(self) -> None:
        log = self._hub.log
        for word in ("Traceback", " ERROR "):
            check(word not in log, f"there is {word!r} in the hub's log: {log[-3000:]}")

    def _check_files(self) -> None:
        """No file is where it must not be: not around the events directory, nor where it runs."""
        strange = []
        place = self._run.directory
        for part in PLACE.parts:
            strange += [path for path in place.iterdir() if path.name != part]
            place /= part
        mine = {self._run.directory / name for name in ("hub.log", *FILES)}
        strange = [path for path in strange if path not in mine]
        for path in place.iterdir():
            if path.name != ".hub" and not (path.is_file() and path.suffix in (".tsv", ".ndjson")):
                strange.append(path)
        for name in set(os.listdir(_ROOT)) - self._around:
            if Path(name).suffix in (".tsv", ".ndjson"):
                strange.append(_ROOT / name)
        check(not strange, f"there are files that must not be there: {strange}")
