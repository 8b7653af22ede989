"""Commits of single events, each answered before the next of its connection.

The peer is event-storage-http, which is not on npm: the hub is compared with the
figures that its page gives, and beside with the library under it, behind a server
as small as can be (`peer/server.mjs`), in the same run. All write to the system's
cache and do not sync.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import msgspec

from benchmarks import fixture, servers, wire
from benchmarks.posting import Posters
from benchmarks.report import Figure, Goal, compared
from benchmarks.run import Busy, Run, say
from benchmarks.servers import PeerMissing, Server

CONNECTIONS = (1, 2, 4, 8, 16)

PUBLISHED = {
    "sharded": (809, 1422, 1731, 2109, 2389),
    "single": (1051, 1494, 1882, 2142, 2401),
}
"""Commits per second that the peer's page gives for its own HTTP layer, by `CONNECTIONS`."""

_STREAMS = {"sharded": "a stream for each connection", "single": "one stream"}
_GOAL = Goal(5, at_least=True)


class Lane(NamedTuple):
    """One server, and what it did over some connections."""

    posters: Posters
    server: Server
    busy: Busy
    rates: list[float]


def commits(run: Run) -> list[Figure]:
    """Commits per second over few connections, to a stream for each of them and to one."""
    with ExitStack() as stack:
        core, directory = run.cores.server, run.directory
        hub = stack.enter_context(servers.hub(core, directory / "events", *fixture.OPTIONS))
        running = {"hub": hub}
        missing = ""
        try:
            running["peer"] = stack.enter_context(servers.event_storage(core, directory))
        except PeerMissing as error:
            missing = str(error)
        figures: list[Figure] = []
        for streams in PUBLISHED:
            measured = [_measure(run, running, streams, each) for each in CONNECTIONS]
            figures += _figures(streams, measured)
        if missing:
            figures.append(Figure("commit-beside", notes=(f"not measured: {missing}",)))
        return figures


def commit(stream: str, **members: object) -> bytes:
    """The request that commits one event to a stream; `members` are more of its body."""
    event = {"type": fixture.TYPE, "seq": 1, "payload": fixture.PAYLOAD}
    body = msgspec.json.encode({"events": [event], **members})
    return wire.request("POST", f"/streams/{stream}/commit", body, Content_Type="application/json")


def _measure(run: Run, running: dict[str, Server], streams: str, count: int) -> dict[str, Lane]:
    one = streams == "single"
    names = ["write-bench" if one else f"write-bench-{number}" for number in range(count)]
    messages = [commit(name) for name in names]
    with ExitStack() as stack:
        lanes: dict[str, Lane] = {}
        for name, server in running.items():
            posters = Posters(server.port, messages)
            stack.callback(posters.close)
            posters.post(run.seconds / 4)  # to warm up
            lanes[name] = Lane(posters, server, Busy(), [])
        for _ in range(run.pick(9, 1)):
            for lane in lanes.values():
                with lane.busy.measured(lane.server):
                    posted = lane.posters.post(run.seconds / 2)
                lane.busy.count(posted.answered)
                lane.rates.append(posted.answered / posted.seconds)
    middles = (f"{name} {statistics.median(each.rates):,.0f}" for name, each in lanes.items())
    say(f"  {streams}, {count}: {', '.join(middles)}")
    return lanes


def _figures(streams: str, measured: list[dict[str, Lane]]) -> list[Figure]:
    """The hub against the peer's page, and against what runs beside it if that does."""
    ours = [lanes["hub"] for lanes in measured]
    page = [[float(known)] * len(ours[0].rates) for known in PUBLISHED[streams]]
    figures = [_worst(f"commit-{streams}", "the figures of its page", streams, ours, page, _GOAL)]
    if "peer" in measured[0]:
        beside = [lanes["peer"] for lanes in measured]
        rates = [lane.rates for lane in beside]
        name = "event-storage behind Node's HTTP, here"
        figure = _worst(f"commit-{streams}-beside", name, streams, ours, rates, None)
        used = [
            f"{n} connections: the peer used {lane.busy}"
            for n, lane in zip(CONNECTIONS, beside, strict=True)
        ]
        figures.append(dataclasses.replace(figure, notes=(*figure.notes, *used)))
    return figures


def _worst(
    name: str,
    peer: str,
    streams: str,
    ours: Sequence[Lane],
    theirs: Sequence[Sequence[float]],
    goal: Goal | None,
) -> Figure:
    """The number of connections at which the hub comes off worst; the others in the notes."""
    figures = [
        compared("", "commits/s", lane.rates, rates, goal)
        for lane, rates in zip(ours, theirs, strict=True)
    ]
    notes = [
        f"{count} connections: {each.hub:,.0f} commits/s, {each.ratio:.2f} times {each.peer:,.0f}; "
        f"hub used {lane.busy}"
        for count, each, lane in zip(CONNECTIONS, figures, ours, strict=True)
    ]
    worst = min(figures, key=lambda figure: figure.ratio or 0)
    title = (
        f"{name}: commits of one event, {_STREAMS[streams]}, connections: "
        f"{CONNECTIONS[figures.index(worst)]}, the worst of {', '.join(map(str, CONNECTIONS))}; "
        f"peer: {peer}"
    )
    return dataclasses.replace(worst, name=title, notes=tuple(notes))
