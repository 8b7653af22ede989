"""A stream of Redis as a feed: XADD, XREAD BLOCK and XRANGE, in RESP on plain sockets."""

from __future__ import annotations

import re
import socket

from benchmarks import wire
from benchmarks.events import EVENT_BYTES, MARK, TYPE
from benchmarks.feeds import Line, Replay

_ANSWER_BYTES = 4096
_COUNT = 1000  # events of one answer to a subscriber, at most
_FOUND = re.compile(rb"\*1\r\n\*2\r\n\$\d+\r\n[^\r]+\r\n\*(\d+)\r\n")
_ID = re.compile(rb"\r\n\$\d+\r\n(\d+-\d+)\r\n")
_LAST_BYTES = 2 * EVENT_BYTES  # the last event of an answer takes no more


class RedisFeed:
    """A subscriber asks again from the last id that it has, as `XREAD BLOCK` wants it."""

    pulled = True

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._name = name.encode()
        self._requests: dict[bytes, bytes] = {}  # from id to the request of what follows

    def line(self) -> Line:
        """A connection for XADD."""
        head = _command(b"XADD", self._name, b"*", b"event", TYPE.encode(), b"data", b"")
        head = head.removesuffix(b"$0\r\n\r\n")
        return Line(
            wire.connect(self._port), lambda data: b"%b$%d\r\n%b\r\n" % (head, len(data), data)
        )

    def answer_size(self, start: bytes) -> int | None:
        """The answer to XADD is the id, as a bulk string."""
        end = start.find(b"\r\n")
        if end < 0:
            return None
        if not start.startswith(b"$"):
            raise wire.BadAnswer(f"not a success: {start[:300]!r}")
        size = end + int(start[1:end]) + 4
        return size if len(start) >= size else None

    def subscribe(self) -> socket.socket:
        """Nothing is sent that tells of a blocked XREAD, so it begins at an id, not at `$`."""
        connection = wire.connect(self._port)
        connection.sendall(_command(b"XREVRANGE", self._name, b"+", b"-", b"COUNT", b"1"))
        answer = b"\r\n" + connection.recv(_ANSWER_BYTES)
        last = _ID.search(answer)
        connection.sendall(self._after(last[1] if last else b"0-0"))
        return connection

    def again(self, come: bytes) -> bytes | None:
        """See `Feed`."""
        head = _FOUND.match(come)
        if not head or come.count(MARK) < int(head[1]) or not come.endswith(b"\r\n"):
            return None
        last = come.rfind(MARK)
        if len(come) - last != EVENT_BYTES + 2:
            return None  # the last event is not whole
        ids = _ID.findall(come, max(0, last - _LAST_BYTES), last)
        return self._after(ids[-1])

    def replay(self) -> Replay:
        """All in one answer, which is the fastest: Redis does nothing else meanwhile."""
        return Replay(wire.connect(self._port), _command(b"XRANGE", self._name, b"-", b"+"))

    def _after(self, identity: bytes) -> bytes:
        found = self._requests.get(identity)
        if found is None:
            if len(self._requests) > _COUNT:
                self._requests.clear()
            found = self._requests[identity] = _command(
                b"XREAD", b"COUNT", b"%d" % _COUNT, b"BLOCK", b"0", b"STREAMS", self._name, identity
            )
        return found


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)
