"""The clock goes back, stands still, leaps: what a real hub makes of the time of day.

By the shim and not by libfaketime: that needs one more package and cannot change the
time of day in a running process without its monotonic clock, which no system does.
"""

from __future__ import annotations

import calendar
import os
import socket
import subprocess
import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import NamedTuple

from evidence.events import HANDLER, NOTHING
from evidence.run import Broken, Run, check
from evidence.shim import Shim
from hub.consumers.checkpoint import Checkpoints
from hub.consumers.registry import CHECKPOINT_SECONDS
from hub.event import id_at, time_of
from tests.process import HubProcess
from tests.storing import Storing, Told

CHANNEL, STREAM, CONSUMER = "a-channel", "orders-1", "fold"

WAIT = 0.5
"""Seconds of the hub's time-outs, and of five heartbeats."""

LATE = 10.0
"""Seconds that anything may take longer than it has to: of a machine that others use."""

ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"
"""Local time of central Europe: summer begins and ends at 1:00 UTC."""

BASE = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = 3600 * 10**9
DAY = 24 * HOUR
YEAR = 365 * DAY


class Scene(NamedTuple):
    """What the clock does. Times are nanoseconds since 1970."""

    name: str
    begin: int
    stands: bool = False
    leap: int = 0
    zone: str = "UTC"


def scenes(number: int) -> list[Scene]:
    """Those of a round; each round is ten years later."""
    base = int(BASE.replace(year=BASE.year + 10 * number).timestamp()) * 10**9
    year = BASE.year + 10 * number + 3
    midnight = (base + 2 * YEAR) // DAY * DAY
    just = 3 * 10**8  # before something
    return [
        Scene("is right", base),
        Scene("goes back by an hour", base - HOUR),
        Scene("stands still", base + HOUR, stands=True),
        Scene("stands still in the past", base - HOUR, stands=True),
        Scene("leaps forward by a year", base + YEAR),
        Scene("goes back by ten years", base - 9 * YEAR),
        Scene("has a leap second", midnight - just, leap=midnight),
        Scene("comes to summer time", _last_sunday(year, 3) - just, zone=ZONE),
        Scene("comes to winter time", _last_sunday(year, 10) - just, zone=ZONE),
    ]


def _last_sunday(year: int, month: int) -> int:
    """The moment at which the local time changes in Europe."""
    day = max(week[calendar.SUNDAY] for week in calendar.monthcalendar(year, month))
    return int(datetime(year, month, day, 1, tzinfo=UTC).timestamp()) * 10**9


def clock(run: Run) -> list[str]:
    """Let the clock of a real hub go back, stand still, leap, repeat a second, change its zone.

    A library between the hub and the system tells it another time of day, while it
    serves or while it is down after kill -9. Ids rise strictly within each log, and are
    the time in UTC wherever that is later than the last; positions have no gap, since= and
    until= find what they have to. Heartbeats, waits and time-outs that are under way take
    their time; a consumer's checkpoint is written after its time while the clock runs
    backwards. The files' times are changed, too. Short: one round; long: twelve rounds, the
    scenes in a chance order.
    """
    shim = Shim(run.directory, run.directory / "nothing")
    options = ("--heartbeat", str(WAIT / 5), "--read-timeout", str(WAIT))
    hub = HubProcess(
        run.directory / "events", run.directory / "hub.log", *options, "--idle-timeout", str(WAIT)
    )
    hub.environment = shim.environment
    try:
        return _Clock(run, hub, shim).go()
    finally:
        if hub.process is not None:
            hub.kill()


class _Clock:
    """One hub, and what it is told of the time."""

    def __init__(self, run: Run, hub: HubProcess, shim: Shim) -> None:
        self._run = run
        self._hub = hub
        self._shim = shim
        self._chance = run.chance("clock")
        self._client = Storing(hub)
        self._scene = Scene("is right", 0)
        self._shift = 0
        self._ids: dict[str, list[str]] = {CHANNEL: [], STREAM: []}
        self._told: list[tuple[str, int, int]] = []  # by commits: stream, revision, position
        self._counts: Counter[str] = Counter()

    def go(self) -> list[str]:
        run = self._run
        for number in range(run.pick(1, 12)):
            some = scenes(number)
            if run.long:
                self._chance.shuffle(some)
            for at, scene in enumerate(some):
                # A zone is the process's own: with another it has to begin anew.
                down = self._chance.random() < 0.3 or scene.zone != self._scene.zone or not at
                self._play(scene, down)
            run.say(f"round {number + 1}")
        self._run_backwards()
        self._check_all()
        self._hub.stop()
        command = [sys.executable, "-m", "hub", "verify", str(self._hub.events)]
        result = subprocess.run(command, capture_output=True, text=True)
        check(result.returncode == 0, f"hub verify: {result.stdout}{result.stderr}")
        log = self._hub.log
        check("Traceback" not in log and " ERROR " not in log, f"the hub's log: {log[-3000:]}")
        counts = ", ".join(f"{count:,} {what}" for what, count in sorted(self._counts.items()))
        return [counts, f"hub verify: {result.stdout.strip()}"]

    # The time

    def _set(self, scene: Scene) -> None:
        self._scene = scene
        self._shift = scene.begin - time.time_ns()
        stands = scene.begin if scene.stands else 0
        self._shim.set_clock(self._shift, frozen=stands, leap=scene.leap)

    def _now(self) -> int:
        """The time that the hub is told."""
        if self._scene.stands:
            return self._scene.begin
        now = time.time_ns() + self._shift
        return now - 10**9 if self._scene.leap and now >= self._scene.leap else now

    # What happens

    def _play(self, scene: Scene, down: bool) -> None:
        with ThreadPoolExecutor() as pool:
            if down:
                self._restart(scene)
            self._write()
            works: list[Callable[[], None]] = [self._beats, self._waits, self._idles]
            waiting = [pool.submit(work) for work in works]
            if not down:
                time.sleep(WAIT / 3)  # so that they have begun
                self._set(scene)
            end = time.monotonic() + self._run.pick(5, 20) / 10 + (1.5 if scene.leap else 0)
            while time.monotonic() < end:
                self._write()
            try:
                for each in waiting:
                    each.result()
            except TimeoutError as error:
                raise Broken(f"the clock {scene.name}: nothing comes in {WAIT + LATE} s") from error
        self._counts["scenes"] += 1
        self._counts["steps while it serves"] += not down

    def _restart(self, scene: Scene) -> None:
        hub = self._hub
        if hub.process is not None:
            hub.kill()
            self._counts["kills"] += 1
            for path in hub.events.glob("*.*"):
                changed = scene.begin + self._chance.choice([-1, 1]) * HOUR
                os.utime(path, ns=(changed, changed))
        self._set(scene)
        self._shim.environment["TZ"] = scene.zone
        hub.start()
        if not self._ids[CHANNEL]:
            body = {"handler": HANDLER, "state": NOTHING}
            self._ask("PUT", f"/consumers/{CONSUMER}/stream/_all", body)

    def _ask(self, method: str, path: str, body: object = None, kind: str = "") -> Told:
        told = self._client.ask(method, path, body, kind)
        self._client.close()  # an idle connection is ended soon
        check(told.status in (200, 201), f"{method} {path}, the clock {self._scene.name}: {told}")
        return told

    def _write(self) -> None:
        """An event, a batch, a commit: each has ids that are right."""
        number = sum(map(len, self._ids.values()))
        before = self._now()
        told = self._ask("POST", f"/{CHANNEL}?event=one", f"token {number}".encode())
        self._take(CHANNEL, before, told, [told.body.decode()])
        before = self._now()
        body = f"\tsome\ttoken {number + 1}\n\tsome\ttoken {number + 2}\n".encode()
        told = self._ask("POST", f"/{CHANNEL}", body, "text/tab-separated-values")
        self._take(CHANNEL, before, told, [told.json["first"], told.json["last"]])
        before = self._now()
        commit = {
            "events": [{"type": "t", "token": number + 3}, {"type": "t", "token": number + 4}]
        }
        told = self._ask("POST", f"/streams/{STREAM}/commit", commit)
        position, version = told.json["position"], told.json["version"]
        self._told.append((STREAM, version, position))
        found = self._ask("GET", f"/streams/{STREAM}/from/{version - 1}").documents
        self._take(STREAM, before, told, [each["metadata"]["id"] for each in found])

    def _take(self, log: str, before: int, told: Told, ids: list[str]) -> None:
        """These come behind all others; they are the time, if that is later than the last."""
        after = self._now()
        where = f"{log}, the clock {self._scene.name}, {id_at(before // 1000)}"
        last = time_of(self._ids[log][-1]) if self._ids[log] else 0
        latest = max(before, after, self._scene.leap if after < before else 0) // 1000
        assert last is not None
        for each in ids:
            moment = time_of(each)
            check(moment is not None and moment > last, f"{where}: {each} after {id_at(last)}")
            assert moment is not None
            fits = moment <= max(last + 1, latest) and (moment >= before // 1000 or after < before)
            check(fits, f"{where}: {each} after {id_at(last)} is not the time")
            last = moment
        self._ids[log] += ids
        self._counts["events"] += len(ids)
        date = parsedate_to_datetime(told.headers["date"]).timestamp()
        near = min(before, after) / 1e9 - 2 < date < latest / 1e6 + 2
        check(near, f"{where}: the answer is of {told.headers['date']}")

    # What takes its time, whatever the clock says

    def _beats(self) -> None:
        """A subscription has its heartbeats."""
        with self._connect() as connection:
            connection.sendall(
                b"GET /other-channel HTTP/1.1\r\nHost: hub\r\nAccept: text/event-stream\r\n\r\n"
            )
            began = time.monotonic()
            text = b""
            while text.count(b"\n:\n") < 6:
                piece = connection.recv(4096)
                check(piece, f"a subscription ends: {text!r}")
                text = text.replace(b":\n:", b":\n\n:") + piece
            self._took("heartbeats", time.monotonic() - began)

    def _waits(self) -> None:
        """A read waits for an event that does not come."""
        client = Storing(self._hub)
        began = time.monotonic()
        told = client.ask("GET", f"/streams/{STREAM}/from/900000/until/900001")
        client.close()
        check(told.status == 408, f"a read that waits ends with {told}")
        self._took("reads that wait", time.monotonic() - began)

    def _idles(self) -> None:
        """A head does not end."""
        with self._connect() as connection:
            began = time.monotonic()
            connection.sendall(b"GET / HTTP/1.1\r\n")
            while connection.recv(4096):
                pass
            self._took("heads that do not end", time.monotonic() - began)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._hub.port), timeout=WAIT + LATE)

    def _took(self, what: str, seconds: float) -> None:
        fits = WAIT * 0.7 < seconds < WAIT + LATE
        check(fits, f"the clock {self._scene.name}: {what} took {seconds:.2f} s, not {WAIT}")
        self._counts[what] += 1

    def _run_backwards(self) -> None:
        """A second each time, until a consumer's checkpoint is written."""
        folded = sum(map(len, self._ids.values()))
        checkpoints = Checkpoints(self._hub.events / ".hub" / "consumers")
        begin = self._now()
        began = time.monotonic()
        while checkpoints.read(CONSUMER)[1].position < folded:
            took = time.monotonic() - began
            check(took < CHECKPOINT_SECONDS + LATE, f"no checkpoint in {took:.1f} s")
            begin -= 10**9
            self._set(Scene("runs backwards", begin))
            self._write()
            time.sleep(WAIT / 5)
        self._run.say(f"a checkpoint came after {time.monotonic() - began:.1f} s")

    # What is there in the end

    def _check_all(self) -> None:
        documents = self._ask("GET", "/streams/_all").documents
        version = self._ask("GET", "/streams/_all/version").json["version"]
        check(version == len(documents), f"{version} positions, {len(documents)} events")
        for log, ids in self._ids.items():
            mine = [each["metadata"] for each in documents if each["stream"] == log]
            check([each["id"] for each in mine] == ids, f"{log}: other ids than were told")
            revisions = [each["streamVersion"] for each in mine]
            check(revisions == list(range(len(ids))), f"{log}: revisions {revisions}")
            check(all(a < b for a, b in pairwise(ids)), f"{log}: the ids do not rise")
            self._check_parts(log, ids)
        for stream, revision, position in self._told:
            found = documents[position - 1]
            is_so = found["stream"], found["metadata"]["streamVersion"] + 1
            check(is_so == (stream, revision), f"position {position} is {is_so}")
        told = self._ask("GET", f"/consumers/{CONSUMER}/until/{version}").json
        check(told["state"]["count"] == told["position"] == version, f"the consumer: {told}")

    def _check_parts(self, log: str, ids: list[str]) -> None:
        """Parts by ids and by times: of the scenes, and around chance events."""
        moments = [each.begin // 1000 for each in scenes(0)]
        for each in self._chance.sample(ids, min(len(ids), 20)):
            moment = time_of(each)
            assert moment is not None
            moments += [moment - 1, moment, moment + 1]
        for each in map(id_at, moments):
            for part, wanted in {
                "since": ids[bisect_right(ids, each) :],
                "until": ids[: bisect_right(ids, each)],
            }.items():
                found = self._ask("GET", f"/{log}?format=ndjson&{part}={each}").documents
                is_so = [one["metadata"]["id"] for one in found]
                check(is_so == wanted, f"{log}?{part}={each}: {len(is_so)} of {len(wanted)} events")
                self._counts["parts by time"] += 1
