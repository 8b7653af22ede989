"""A stream of NATS JetStream as a feed, in the NATS protocol on plain sockets.

Publishing waits for the stream's acknowledgement. A subscriber is what the
clients call an ordered consumer: ephemeral, pushed, without acknowledgements.
"""

from __future__ import annotations

import itertools
import socket
from typing import Any, NamedTuple

import msgspec

from benchmarks import wire
from benchmarks.events import TYPE
from benchmarks.feeds import Line, Replay

_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"lang":"raw","version":"0"}\r\n'
_PING = b"PING\r\n"
_PIECE = 65536

_inboxes = itertools.count()


class _Inbox(NamedTuple):
    """A connection that gets what is sent to two subjects."""

    socket: socket.socket
    subject: str

    @property
    def answers(self) -> str:
        """Where answers go."""
        return f"{self.subject}.answers"

    @property
    def events(self) -> str:
        """Where a consumer sends events. JetStream finds nobody there who wants `subject.>`."""
        return f"{self.subject}.events"


class NatsFeed:
    """A stream with file storage that keeps the subjects below its name. Made if missing."""

    pulled = False

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._name = name
        config = {
            "name": name,
            "subjects": [f"{name}.>"],
            "storage": "file",
            "retention": "limits",
            "num_replicas": 1,
        }
        line = self._inbox()
        with line.socket as connection:
            _ask(connection, _request(f"$JS.API.STREAM.CREATE.{name}", line.answers, config))

    def line(self) -> Line:
        """A connection whose posts are acknowledged to an inbox of its own."""
        own = self._inbox()
        head = f"PUB {self._name}.{TYPE} {own.answers} ".encode()
        return Line(own.socket, lambda data: b"%b%d\r\n%b\r\n" % (head, len(data), data))

    def answer_size(self, start: bytes) -> int | None:
        """The acknowledgement is a message to the inbox."""
        size = _message_size(start)
        if size is not None and b'"error"' in start[:size]:
            raise wire.BadAnswer(f"not a success: {start[:300]!r}")
        return size

    def subscribe(self) -> socket.socket:
        """A consumer of what comes from now on."""
        line = self._inbox()
        _ask(line.socket, self._consumer(line, "new"))
        return line.socket

    def again(self, come: bytes) -> bytes | None:
        """Nothing: the server pushes."""

    def replay(self) -> Replay:
        """A consumer of all that there is."""
        line = self._inbox()
        return Replay(line.socket, self._consumer(line, "all"))

    def _inbox(self) -> _Inbox:
        """A new connection with an inbox."""
        connection = wire.connect(self._port)
        inbox = _Inbox(connection, f"_INBOX.{next(_inboxes)}")
        subscriptions = f"SUB {inbox.answers} 1\r\nSUB {inbox.events} 2\r\n"
        connection.sendall(_CONNECT + subscriptions.encode() + _PING)
        come = connection.recv(_PIECE)
        while not come.endswith(b"PONG\r\n"):
            come += connection.recv(_PIECE)
        return inbox

    def _consumer(self, inbox: _Inbox, policy: str) -> bytes:
        config = {
            "deliver_subject": inbox.events,
            "deliver_policy": policy,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
        }
        body = {"stream_name": self._name, "config": config}
        return _request(f"$JS.API.CONSUMER.CREATE.{self._name}", inbox.answers, body)


def _request(subject: str, answers: str, body: dict[str, Any]) -> bytes:
    data = msgspec.json.encode(body)
    return f"PUB {subject} {answers} {len(data)}\r\n".encode() + data + b"\r\n"


def _ask(connection: socket.socket, request: bytes) -> None:
    """Send a request, wait for its answer. Raises `BadAnswer` if it is an error."""
    connection.sendall(request)
    come = connection.recv(_PIECE)
    while (size := _message_size(come)) is None:
        come += connection.recv(_PIECE)
    if b'"error"' in come[:size]:
        raise wire.BadAnswer(f"refused: {come[:300]!r}")


def _message_size(start: bytes) -> int | None:
    """Where the first message ends, with a PING before it; None while it is not whole."""
    begin = len(_PING) if start.startswith(_PING) else 0
    end = start.find(b"\r\n", begin)
    if end < 0:
        return None
    if not start.startswith(b"MSG ", begin):
        raise wire.BadAnswer(f"not a message: {start[:300]!r}")
    size = end + int(start[begin:end].rpartition(b" ")[2]) + 4
    return size if len(start) >= size else None
