"""Queries, and commits with a condition, in a small store and in one a hundred times as large.

Both stores are open at the same time and are asked in turn, so the ratio of the
two is that of the same moment. What is found is the same in both.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks import fixture, servers, wire
from benchmarks.commits import commit
from benchmarks.fixture import RARE, RARE_EVENTS, TYPE
from benchmarks.report import Figure, Goal, compared
from benchmarks.run import Run, say

_TIMES = 2
"""How many times longer it may take in the large store."""

_UNKNOWN = "nobody"
_CONDITION = re.compile(rb"\r\nx-event-store-query-condition: *([^\r]+)", re.IGNORECASE)
_STREAM = "course-art"  # of no category that is read elsewhere

_Ask = Callable[[wire.Connection], object]


def flat(run: Run) -> list[Figure]:
    """The time of each kind of question, in the large store and, as its peer, in the small one."""
    sizes = (run.pick(fixture.LARGE, 4000), run.pick(fixture.SMALL, 400))
    with ExitStack() as stack:
        connections = []
        for size in sizes:
            store = fixture.store(run, size)
            server = stack.enter_context(servers.hub(run.cores.server, store, *fixture.OPTIONS))
            connections.append(stack.enter_context(wire.Connection(server.port)))
        return [_figure(run, name, ask, connections, sizes) for name, ask in _asks().items()]


def _asks() -> dict[str, _Ask]:
    by_tag = json.dumps({"items": [{"tags": [RARE]}]}, separators=(",", ":"))
    newest = {"selector": [RARE], "noneMatchAfter": 0}
    return {
        "query-type": lambda to: _query(to, f"types={RARE}"),
        "query-tag": lambda to: _query(to, f"query={by_tag}"),
        "condition-fresh": _commit_after_query,
        # Everything is older than the condition: the whole store is to be ruled out.
        "condition-old": lambda to: _commit(to, [_UNKNOWN], 0),
        "condition-tag": lambda to: _commit(to, [[f"tags/{_UNKNOWN}", TYPE]], 0),
        "condition-refused": lambda to: _refused(to, newest),
    }


_MEANS = {
    "query-type": f"query for {RARE_EVENTS} events by type",
    "query-tag": f"query for {RARE_EVENTS} events by tag",
    "condition-fresh": "query, then a commit with the condition that it gave",
    "condition-old": "commit with a condition from before everything, on a type that never came",
    "condition-tag": "the same, on a tag that never came and the type of all events",
    "condition-refused": "commit that its condition refuses",
}


def _figure(
    run: Run, name: str, ask: _Ask, connections: list[wire.Connection], sizes: tuple[int, int]
) -> Figure:
    count = run.pick(100, 5)
    rounds: list[list[float]] = [[], []]
    for _ in range(run.pick(9, 1)):
        for connection, times in zip(connections, rounds, strict=True):
            samples = []
            for _ in range(count):
                began = time.perf_counter()
                ask(connection)
                samples.append(time.perf_counter() - began)
            times.append(statistics.median(samples) * 1e6)
    large, small = rounds
    say(f"  {name}: {statistics.median(large):.0f} µs, {statistics.median(small):.0f} µs")
    return compared(
        f"{name}: {_MEANS[name]}, {sizes[0]:,} events in the store; peer: {sizes[1]:,}",
        "µs",
        large,
        small,
        Goal(_TIMES, at_least=False),
    )


def _query(connection: wire.Connection, query: str) -> bytes:
    return connection.read(wire.request("GET", f"/query?{query}"), RARE_EVENTS)


def _commit_after_query(connection: wire.Connection) -> None:
    found = _CONDITION.search(_query(connection, f"types={RARE}"))
    if found is None:
        raise wire.BadAnswer("the query gave no condition")
    connection.exchange(commit(_STREAM, condition=found[1].decode()))


def _commit(connection: wire.Connection, selector: list[object], after: int) -> None:
    condition = {"selector": selector, "noneMatchAfter": after}
    connection.exchange(commit(_STREAM, condition=condition))


def _refused(connection: wire.Connection, condition: dict[str, object]) -> None:
    connection.exchange(commit(_STREAM, condition=condition), refused=True)
