"""The kill loop: a hub that is killed at any moment, and everybody who was told anything by it."""

from __future__ import annotations

import json
import multiprocessing
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from bisect import bisect_right
from collections.abc import Callable
from itertools import count
from multiprocessing.process import BaseProcess
from urllib.parse import quote

from evidence.events import HANDLER, NOTHING, Document, compact, folded
from evidence.ledger import Folded, Order, Seen, check_reading, entries_in, writes_in
from evidence.publishers import CHANNELS, STREAMS, publish
from evidence.run import Run, check
from evidence.subscribers import CONSUMERS, DERIVED, GLOBAL, LIVE, NUMBERED, subscribe
from tests.process import PATIENCE, HubProcess

PUBLISHERS = 2
DURABILITIES = ("always", "interval", "os")

VERIFIED_EVERY = 10
"""Of the kills, after which `hub verify` looks at what is left."""

SLOW_EVERY = 40
"""Of the lives, one that is long enough for consumers to be saved."""

SLOW_SECONDS = 11.0


def kill(run: Run) -> list[str]:
    """Kill the hub (SIGKILL) at random moments, under load, and start it again.

    Publishers (single events, batches, commits with an expected version and with conditions)
    and subscribers are processes of their own that note what they sent and what they were
    told. The hub is killed while it serves, while it starts, and while it ends, with each
    durability. In the end: each acknowledged event is there once, byte for byte, in order,
    at the position that was told; batches are whole or absent; each subscriber that resumed
    has each event exactly once; the states of consumers are the folds of the log; positions
    have no gaps. Short: 8 kills; long: 500.
    """
    return _Loop(run).go(run.pick(8, 500))


class _Loop:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._chance = run.chance("kills")
        self._ledgers = run.directory / "ledgers"
        self._ledgers.mkdir()
        self._hub = HubProcess(run.directory / "events", run.directory / "hub.log")
        context = multiprocessing.get_context("spawn")
        self._over, self._done, self._quiet = context.Event(), context.Event(), context.Event()
        url, seed = self._hub.url, run.seed
        self._publishers: list[BaseProcess] = [
            context.Process(
                target=publish,
                args=(url, self._ledgers / f"publisher-{number}", number, seed, self._over),
            )
            for number in range(1, PUBLISHERS + 1)
        ]
        self._subscribers: BaseProcess = context.Process(
            target=subscribe, args=(url, self._ledgers, seed, self._done, self._quiet)
        )
        self._starts: list[float] = []
        self._moments = {"serving": 0, "starting": 0, "ending": 0}

    def go(self, kills: int) -> list[str]:
        processes = [*self._publishers, self._subscribers]
        try:
            self._start()
            self._prepare()
            for each in processes:
                each.start()
            for number in count(1):
                self._life(number)
                for each in processes:
                    check(each.exitcode is None, f"{each} has ended: its output says why")
                if number % 50 == 0:
                    self._run.say(f"{sum(self._moments.values())} kills")
                if sum(self._moments.values()) >= kills:
                    break
            return self._end()
        finally:
            for each in processes:
                if each.pid is not None:
                    each.kill()
            if self._hub.process is not None:
                self._hub.kill()

    def _start(self) -> None:
        began = time.monotonic()
        self._hub.start()
        self._starts.append(time.monotonic() - began)

    def _prepare(self) -> None:
        ask(self._hub, "PUT", f"/streams/{DERIVED}", {"payload": {"type": "Decided"}})
        for each in STREAMS:
            ask(self._hub, "PUT", f"/streams/{each}", {"stream": each})
        for each in CHANNELS:
            ask(self._hub, "PUT", f"/{each}")
        for name, stream in CONSUMERS.items():
            body = {"handler": HANDLER, "state": NOTHING}
            ask(self._hub, "PUT", f"/consumers/{name}/stream/{stream}", body)

    def _life(self, number: int) -> None:
        """One life of the hub, from the moment at which it serves: how it ends, and begins anew."""
        chance = self._chance
        slow = self._run.long and number % SLOW_EVERY == 5
        time.sleep(SLOW_SECONDS if slow else chance.uniform(0.0, 0.8))
        ending = chance.random() < 0.15
        if ending:
            assert self._hub.process is not None
            self._hub.process.send_signal(signal.SIGTERM)
            time.sleep(chance.uniform(0.0, 0.4))
        self._kill("ending" if ending else "serving")
        while chance.random() < 0.35:
            self._hub.begin()
            usual = statistics.median(self._starts)
            time.sleep(chance.uniform(0.3, 1.05) * usual)
            self._kill("starting")
        if number % VERIFIED_EVERY == 0:
            self._verify()
        self._quiet.set() if chance.random() < 0.5 else self._quiet.clear()
        self._hub.arguments = ("--durability", chance.choice(DURABILITIES))
        self._start()

    def _kill(self, moment: str) -> None:
        self._moments[moment] += 1
        self._hub.kill()

    def _verify(self) -> None:
        command = [sys.executable, "-m", "hub", "verify", str(self._hub.events)]
        result = subprocess.run(command, capture_output=True, text=True)
        check(result.returncode == 0, f"hub verify:\n{result.stdout}{result.stderr}")
        text = result.stdout
        check("positions have no event" not in text, f"hub verify:\n{text}")

    def _end(self) -> list[str]:
        self._over.set()
        self._quiet.clear()
        for each in self._publishers:
            each.join(PATIENCE)
            check(each.exitcode == 0, "a publisher hung, or failed: its output says why")
        self._done.set()
        self._run.say("all is written")
        self._subscribers.join(10 * PATIENCE)
        check(self._subscribers.exitcode == 0, "a subscriber hung, or failed: its output says why")
        shown = self._check()
        check(self._hub.stop() == 0, "the hub did not end well")
        self._verify()
        for word in ("Traceback", "ERROR"):
            check(word not in self._hub.log, f"there is {word!r} in {self._run.directory}/hub.log")
        return shown

    def _check(self) -> list[str]:
        hub = self._hub
        order = Order(ask(hub, "GET", "/streams/_all").split(b"\n")[:-1])
        head = json.loads(ask(hub, "GET", "/streams/_all/version"))["version"]
        check(head == len(order.lines), f"{head} positions, but {len(order.lines)} events")
        writes = writes_in(sorted(self._ledgers.glob("publisher-*")))
        order.check_writes(writes)
        order.check_streams()
        self._check_logs(order)
        seen = self._check_readers(order)
        states = self._check_consumers(order)
        statuses = [each.status for each in writes]
        moments = ", ".join(f"{times} while {moment}" for moment, times in self._moments.items())
        return [
            f"{sum(self._moments.values())} kills ({moments}); "
            f"a start took {statistics.median(self._starts):.2f} s, "
            f"at most {max(self._starts):.2f} s",
            f"{len(writes):,} writes: {statuses.count(201):,} acknowledged, "
            f"{statuses.count(409):,} refused by version or condition, "
            f"{statuses.count(503):,} by a 503, {statuses.count(0):,} without an answer",
            f"{head:,} events in {len({each['stream'] for each in order.documents}):,} logs, "
            f"positions 1 to {head:,} without a gap",
            f"{seen:,} events received by {len(LIVE + NUMBERED + GLOBAL)} subscribers, "
            f"{states:,} states of {len(CONSUMERS)} consumers",
        ]

    def _check_logs(self, order: Order) -> None:
        """What each log's URLs give is its file, and is what the order says."""
        for stream in {each["stream"] for each in order.documents}:
            lines = [
                line
                for line, each in zip(order.lines, order.documents, strict=True)
                if each["stream"] == stream
            ]
            found = ask(self._hub, "GET", f"/streams/{quote(stream, safe='')}")
            check(found == b"".join([line + b"\n" for line in lines]), f"{stream} is another")

    def _check_readers(self, order: Order) -> int:
        total = 0
        for number, path in enumerate((*LIVE, *NUMBERED, *GLOBAL)):
            seen = entries_in(self._ledgers / f"subscriber-{number}", Seen)
            check_reading(path, seen, wanted(path, order))
            total += len(seen)
        return total

    def _check_consumers(self, order: Order) -> int:
        """Every state that was told, and the last one, is the fold of the log up to there."""
        told = entries_in(self._ledgers / "watcher", Folded)
        for name, stream in CONSUMERS.items():
            events = wanted(f"/streams/{stream}", order)
            numbers = [int(number) for number, _ in events]
            states = folded([token for _, token in events])
            last = json.loads(ask(self._hub, "GET", f"/consumers/{name}/until/{numbers[-1]}"))
            own = [each for each in told if each.path == name]
            own.append(Folded(name, last["position"], last["state"]))
            check(last["position"] == numbers[-1], f"consumer {name} is at {last['position']}")
            for each in own:
                expected = states[bisect_right(numbers, each.position)]
                check(each.state == expected, f"{each} should be {expected}")
        return len(told)


def wanted(path: str, order: Order) -> list[tuple[str, int]]:
    """What a URL selects: the id and the token of each event."""
    if path in SELECTED:
        return [(str(place), token) for place, each, token in order if SELECTED[path](each)]
    name = path.rpartition("/")[2]
    own = [(each["metadata"]["id"], token) for _, each, token in order if of(each, name)]
    if path == f"/{name}":
        return own
    return [(str(revision), token) for revision, (_, token) in enumerate(own, 1)]


def of(document: Document, stream: str) -> bool:
    """Whether an event is in a stream."""
    if stream == DERIVED:
        return bool(document["payload"]["type"] == "Decided")
    return bool(document["stream"] == stream)


SELECTED: dict[str, Callable[[Document], bool]] = {
    "/streams/_all": lambda each: True,
    "/streams/category/orders": lambda each: each["stream"].startswith("orders-"),
    f"/streams/join?streams={STREAMS[2]},{DERIVED}": (
        lambda each: of(each, STREAMS[2]) or of(each, DERIVED)
    ),
    "/query?types=Posted,Versioned": (
        lambda each: each["payload"]["type"] in ("Posted", "Versioned")
    ),
}
"""What the URLs of the global order select."""


def ask(hub: HubProcess, method: str, path: str, body: object = None) -> bytes:
    """One request, which must go well."""
    data = None if body is None else compact(body)
    request = urllib.request.Request(hub.url + path, data, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        content: bytes = answer.read()
    return content
