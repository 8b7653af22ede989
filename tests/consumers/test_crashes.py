"""Consumers of a hub that is a process: killed while it folds, and while it is posted to."""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunHub
from tests.process import PATIENCE, HubProcess, wait_until

SUM = "(e, s) => { s.sum = (s.sum || 0) + e.n; s.count = (s.count || 0) + 1 }"
ENDLESS = "(e, s) => { for (;;); }"


def ask(hub: HubProcess, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """A request and its answer, which is JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{hub.url}{path}", data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def put(hub: HubProcess, identifier: str, stream: str, handler: str) -> None:
    status, answer = ask(
        hub, "PUT", f"/consumers/{identifier}/stream/{stream}", {"handler": handler}
    )
    assert status in (200, 201), answer


def fill(hub: HubProcess, channel: str, first: int, last: int) -> None:
    """Post the events from `first` to `last`, each with its number, as one batch."""
    lines = b"".join(b'{"n":%d,"pad":"%b"}\n' % (n, b"x" * 200) for n in range(first, last + 1))
    request = urllib.request.Request(
        f"{hub.url}/{channel}", lines, {"Content-Type": "application/x-ndjson"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.status == 201


def folded(count: int) -> dict[str, int]:
    return {"sum": count * (count + 1) // 2, "count": count}


def children(hub: HubProcess) -> list[int]:
    """The processes that the hub has started."""
    assert hub.process is not None
    own = Path(f"/proc/{hub.process.pid}/task")
    return [int(each) for task in own.iterdir() for each in (task / "children").read_text().split()]


def test_each_event_counts_once_though_the_hub_is_killed_while_it_folds(run_hub: RunHub) -> None:
    hub = run_hub("--durability", "os")
    total = 100_000
    for first in range(1, total, 50_000):
        fill(hub, "a-channel", first, first + 49_999)
    put(hub, "one", "a-channel", SUM)
    put(hub, "all", "_all", SUM)
    positions: list[int] = []
    kills = 0
    while not positions or positions[-1] < total:
        for identifier in ("one", "all"):
            status, found = ask(hub, "GET", f"/consumers/{identifier}")
            assert status == 200
            if found["position"]:
                assert found["state"] == folded(found["position"])
        positions.append(found["position"])
        if kills < 5 and found["position"] > kills * total // 6:
            workers = children(hub)
            hub.kill()
            wait_until(lambda: not any(map(is_running, workers)), "the workers end too")  # noqa: B023
            hub.start()
            kills += 1
    assert kills == 5
    for identifier in ("one", "all"):
        status, found = ask(hub, "GET", f"/consumers/{identifier}/until/{total}")
        assert found["state"] == folded(total)
    hub.restart()
    assert ask(hub, "GET", "/consumers/one")[1]["position"] == total


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def test_a_stop_outlives_the_hub(run_hub: RunHub) -> None:
    hub = run_hub()
    fill(hub, "a-channel", 1, 100)
    put(
        hub, "one", "a-channel", "(e, s) => { if (e.n === 50) throw new Error('fifty'); s.n = e.n }"
    )
    assert ask(hub, "GET", "/consumers/one/until/100")[0] == 408
    stopped = ask(hub, "GET", "/consumers/one")[1]
    assert (stopped["position"], stopped["state"], stopped["status"]) == (49, {"n": 49}, "stopped")
    hub.restart()
    assert ask(hub, "GET", "/consumers/one")[1] == stopped


@pytest.mark.parametrize(
    "handler",
    [
        ENDLESS,
        "(e, s) => { const a = []; for (;;) a.push(new Array(1000).fill(1)) }",
        "(e, s) => 'a'.repeat(2e6).indexOf('a'.repeat(1e6) + 'b')",
        "(e, s) => { (function f() { f() })() }",
    ],
)
def test_a_bomb_stops_its_consumer_and_nothing_else(run_hub: RunHub, handler: str) -> None:
    hub = run_hub("--consumer-seconds", "0.5", "--consumer-workers", "1")
    fill(hub, "a-channel", 1, 100)
    put(hub, "good", "a-channel", SUM)
    put(hub, "bad", "a-channel", handler)
    worst = 0.0
    count = 100
    while "status" not in ask(hub, "GET", "/consumers/bad")[1]:
        begun = time.monotonic()
        count += 1
        fill(hub, "a-channel", count, count)
        worst = max(worst, time.monotonic() - begun)
    assert worst < 1
    assert ask(hub, "GET", f"/consumers/good/until/{count}")[1]["state"] == folded(count)
    stopped = ask(hub, "GET", "/consumers/bad")[1]
    assert (stopped["position"], stopped["state"]) == (0, {})
    assert stopped["error"].startswith("event 1: ")
    assert ask(hub, "GET", "/health")[1]["status"] == "ok"
    assert hub.stop() == 0


def test_posting_does_not_wait_for_folding(run_hub: RunHub) -> None:
    hub = run_hub("--durability", "os")
    for first in range(1, 200_001, 50_000):
        fill(hub, "a-channel", first, first + 49_999)

    def latencies() -> list[float]:
        found = []
        for _ in range(300):
            begun = time.perf_counter()
            fill(hub, "other", 1, 1)
            found.append(time.perf_counter() - begun)
        return found

    before = latencies()
    stop = threading.Event()

    def refold() -> None:
        while not stop.is_set():
            for identifier in ("one", "two"):
                put(hub, identifier, "a-channel", SUM)
            time.sleep(0.5)

    folding = threading.Thread(target=refold)
    folding.start()
    try:
        time.sleep(0.2)
        during = latencies()
    finally:
        stop.set()
        folding.join()
    assert statistics.median(during) < 5 * statistics.median(before) + 0.005
    assert sorted(during)[len(during) * 95 // 100] < 0.1


def test_a_hub_that_folds_is_gone_within_two_seconds(run_hub: RunHub) -> None:
    hub = run_hub("--consumer-seconds", "100")
    fill(hub, "a-channel", 1, 10)
    for at in range(20):
        put(hub, f"good-{at}", "a-channel", SUM)
        assert ask(hub, "GET", f"/consumers/good-{at}/until/10")[0] == 200
    for at in range(2):
        put(hub, f"bad-{at}", "a-channel", ENDLESS)
        time.sleep(0.2)
    workers = children(hub)
    assert len(workers) == 2
    begun = time.monotonic()
    assert hub.stop() == 0
    assert time.monotonic() - begun < 2
    assert not any(map(is_running, workers))
    hub.start()
    assert ask(hub, "GET", "/consumers/good-7")[1]["position"] == 10


def test_many_consumers_take_two_processes_and_few_threads(run_hub: RunHub) -> None:
    hub = run_hub("--durability", "os")
    fill(hub, "a-channel", 1, 1000)
    for at in range(100):
        put(hub, f"c-{at}", "_all", SUM)
    fill(hub, "a-channel", 1001, 2000)
    for at in range(100):
        status, found = ask(hub, "GET", f"/consumers/c-{at}/until/2000")
        assert (status, found["state"]) == (200, folded(2000))
    assert len(children(hub)) <= 2
    assert hub.process is not None
    assert len(os.listdir(f"/proc/{hub.process.pid}/task")) < 40
    hub.kill()
    hub.start()
    for at in range(100):
        status, found = ask(hub, "GET", f"/consumers/c-{at}/until/2000")
        assert (status, found["state"]) == (200, folded(2000))
