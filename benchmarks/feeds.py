"""One channel of a server, whatever its protocol: how events get in and out.

Owns the protocol of feeds and the one over HTTP. Those of Redis and NATS have
modules of their own. All write bytes to plain sockets, so that no client library
is what is measured.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol

from benchmarks import wire
from benchmarks.events import TYPE

_HEAD = 65536  # bytes read at once of the answer to a subscription


class Line(NamedTuple):
    """A connection that posts. `request` makes the bytes to be sent of an event's data."""

    socket: socket.socket
    request: Callable[[bytes], bytes]


class Replay(NamedTuple):
    """A connection, and what to send on it to get the history."""

    socket: socket.socket
    request: bytes


class Feed(Protocol):
    """One channel, stream or subject. Sockets are of the caller, who closes them."""

    @property
    def pulled(self) -> bool:
        """Whether a subscriber has to ask again after each answer."""

    def line(self) -> Line:
        """A new connection that posts."""

    def answer_size(self, start: bytes) -> int | None:
        """The size of the answer to a post at the start of `start`; None while it is not whole.

        Raises `BadAnswer` if the event was refused.
        """

    def subscribe(self) -> socket.socket:
        """A new connection to which all comes that is posted after this has returned."""

    def again(self, come: bytes) -> bytes | None:
        """What a subscriber who pulls has to send, given all that came since it did so last.

        None while that is not a whole answer.
        """

    def replay(self) -> Replay:
        """A new connection on which the whole history can be asked for."""


class HttpFeed:
    """A channel of the hub, or of nchan: events by POST, subscriptions with EventSource."""

    pulled = False

    def __init__(self, port: int, post: str, subscription: str, history: bytes) -> None:
        self.port = port
        self._post = post
        self._subscription = wire.request(
            "GET", subscription, Accept="text/event-stream", Cache_Control="no-cache"
        )
        self._history = history

    def line(self) -> Line:
        """A keep-alive connection."""
        return Line(wire.connect(self.port), lambda data: wire.request("POST", self._post, data))

    def answer_size(self, start: bytes) -> int | None:
        """See `Feed`."""
        size = wire.answer_size(start)
        if size is not None:
            wire.check_success(start)
        return size

    def subscribe(self) -> socket.socket:
        """A subscription is there as soon as the head of its answer is."""
        connection = wire.connect(self.port)
        connection.sendall(self._subscription)
        wire.check_success(connection.recv(_HEAD))
        return connection

    def again(self, come: bytes) -> bytes | None:
        """Nothing: the server pushes."""

    def replay(self) -> Replay:
        """See `Feed`."""
        return Replay(wire.connect(self.port), self._history)


NCHAN_HTTP = """\
    nchan_shared_memory_size 1G;
    nchan_message_buffer_length 1000000;
    nchan_message_timeout 10m;
"""

NCHAN_LOCATIONS = """\
        location ~ ^/publish/(.+)$ { nchan_publisher; nchan_channel_id $1; }
        location ~ ^/subscribe/(.+)$ {
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }
        location ~ ^/history/(.+)$ {
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message oldest;
        }
"""


def hub(port: int, name: str) -> Feed:
    """A channel of the hub."""
    history = wire.request("GET", f"/{name}")
    return HttpFeed(port, f"/{name}?event={TYPE}", f"/{name}", history)


def nchan(port: int, name: str) -> Feed:
    """A channel of an nginx with `NCHAN_HTTP` and `NCHAN_LOCATIONS`."""
    history = wire.request("GET", f"/history/{name}", Accept="text/event-stream")
    return HttpFeed(port, f"/publish/{name}", f"/subscribe/{name}", history)
