"""Live delivery to many EventSource subscribers, against nginx with nchan."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import feeds, servers
from benchmarks.feeds import NCHAN_HTTP, NCHAN_LOCATIONS
from benchmarks.report import Figure, Goal, compared
from benchmarks.run import Run, say
from benchmarks.stage import Stage

SUBSCRIBERS = 1000


def one_publisher(run: Run) -> list[Figure]:
    """Deliveries with one publisher."""
    return _deliveries(run, 1, Goal(1.0, at_least=True))


def many_publishers(run: Run) -> list[Figure]:
    """Deliveries with 32 publishers."""
    return _deliveries(run, 32, Goal(5, at_least=True))


def _deliveries(run: Run, publishers: int, goal: Goal) -> list[Figure]:
    sizes = (run.pick(SUBSCRIBERS, 50), publishers)
    core = run.cores.server
    ours: list[float] = []
    theirs: list[float] = []
    with ExitStack() as stack:
        peer = stack.enter_context(
            servers.nginx(core, run.directory, NCHAN_LOCATIONS, http=NCHAN_HTTP, nchan=True)
        )
        server = stack.enter_context(servers.hub(core, run.directory / "events"))
        hub = Stage(stack, server, feeds.hub(server.port, "live"), sizes)
        nchan = Stage(stack, peer, feeds.nchan(peer.port, "live"), sizes)
        for stage in (hub, nchan):
            stage.play(run.seconds / 4)  # to warm up
        for number in range(run.rounds):
            ours.append(hub.play(run.seconds))
            theirs.append(nchan.play(run.seconds))
            say(f"  round {number + 1}: hub {ours[-1]:,.0f}, nchan {theirs[-1]:,.0f}")
    return [_figure(sizes, goal, ours, theirs, hub, nchan)]


def _figure(
    sizes: tuple[int, int],
    goal: Goal,
    ours: Sequence[float],
    theirs: Sequence[float],
    hub: Stage,
    nchan: Stage,
) -> Figure:
    audience, publishers = sizes
    several = "publisher" if publishers == 1 else "publishers"
    return compared(
        f"live-{publishers}: live to {audience:,} subscribers, {publishers} {several}; "
        "peer: nginx + nchan",
        "deliveries/s",
        ours,
        theirs,
        goal,
        "every subscriber got every event once, from both",
        f"hub used {hub.busy}; nchan used {nchan.busy}",
    )
