"""The servers of which a channel can be had whatever their protocol, side by side.

Owns which they are, and how durable each is: what stands in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks import feeds, servers
from benchmarks.feeds import NCHAN_HTTP, NCHAN_LOCATIONS, Feed
from benchmarks.nats import NatsFeed
from benchmarks.resp import RedisFeed
from benchmarks.run import Run
from benchmarks.servers import PeerMissing, Server

SYNCED = "on disk when answered"
UNSYNCED = "given to the system when answered"


@dataclass(frozen=True)
class System:
    """A server that runs, and how to get a feed of it by name."""

    name: str
    durability: str
    server: Server
    feed: Callable[[int, str], Feed]

    def channel(self, name: str) -> Feed:
        """The feed of a name; one that was not used before is empty."""
        return self.feed(self.server.port, name)


@dataclass
class Systems:
    """All that could be started, and why the others could not."""

    running: list[System] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@contextmanager
def side_by_side(run: Run) -> Iterator[Systems]:
    """The hub, with and without syncing, and its peers; gone when the `with` ends."""
    core, directory = run.cores.server, run.directory
    found = Systems()
    with ExitStack() as stack:

        def hub(durability: str) -> Server:
            events = directory / f"events-{durability}"
            return stack.enter_context(servers.hub(core, events, "--durability", durability))

        def add_nchan() -> System:
            nginx = servers.nginx(core, directory, NCHAN_LOCATIONS, http=NCHAN_HTTP, nchan=True)
            return System("nginx + nchan", "in memory", stack.enter_context(nginx), feeds.nchan)

        def add_redis() -> System:
            server = stack.enter_context(servers.redis(core, directory))
            return System("Redis Streams, appendfsync always", SYNCED, server, RedisFeed)

        def add_jetstream() -> System:
            server, syncs = stack.enter_context(servers.jetstream(core, directory))
            durability = SYNCED if syncs else f"{UNSYNCED}, synced once a minute"
            return System("NATS JetStream, file storage", durability, server, NatsFeed)

        found.running += [
            System("hub, always", SYNCED, hub("always"), feeds.hub),
            System("hub, os", UNSYNCED, hub("os"), feeds.hub),
        ]
        for add in (add_nchan, add_redis, add_jetstream):
            try:
                found.running.append(add())
            except PeerMissing as error:
                found.missing.append(str(error))
        yield found
