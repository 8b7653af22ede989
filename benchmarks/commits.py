"""Commits of single events, each answered before the next of its connection.

The peer is the event-storage library behind a small server (`peer/server.mjs`);
its own HTTP layer is not on npm, so the figures that its page gives are told
beside. Both write to the system's cache and do not sync.
"""

from __future__ import annotations

import dataclasses
import statistics
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
_TIMES = 5
"""How many times faster than the peer the hub is to be."""


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
        return [
            _figure(
                streams, [_measure(run, running, streams, each) for each in CONNECTIONS], missing
            )
            for streams in PUBLISHED
        ]


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


def _figure(streams: str, measured: list[dict[str, Lane]], missing: str) -> Figure:
    """The connections at which the hub comes off worst; the others in the notes."""
    goal = Goal(_TIMES, at_least=True)
    figures: list[Figure] = []
    notes: list[str] = []
    for count, known, lanes in zip(CONNECTIONS, PUBLISHED[streams], measured, strict=True):
        ours = lanes["hub"].rates
        theirs = lanes["peer"].rates if "peer" in lanes else [float(known)] * len(ours)
        figure = compared("", "commits/s", ours, theirs, goal)
        figures.append(figure)
        middle = statistics.median(ours)
        used = "; ".join(f"{name} used {lane.busy}" for name, lane in lanes.items())
        notes.append(
            f"{count} connections: {middle:,.0f} commits/s, {figure.ratio:.2f} times the peer's "
            f"{figure.peer:,.0f}, {middle / known:.2f} times the {known:,} of its page; {used}"
        )
    if missing:
        notes.append(f"the peer's figures are those of its page: {missing}")
    worst = min(figures, key=lambda figure: figure.ratio or 0)
    count = CONNECTIONS[figures.index(worst)]
    title = (
        f"commit-{streams}: commits of one event, {_STREAMS[streams]}, {count} connections (the "
        f"worst of {', '.join(map(str, CONNECTIONS))}); peer: event-storage behind Node's HTTP"
    )
    return dataclasses.replace(worst, name=title, notes=tuple(notes))
