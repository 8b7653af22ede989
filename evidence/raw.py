"""Requests over sockets, whatever their bytes are, and what must hold of each answer.

Owns the connections, and how long one may go without an answer. Must not know what
requests there are.
"""

from __future__ import annotations

import re
import socket
import time
from collections import Counter, deque
from contextlib import suppress
from typing import NamedTuple

from evidence.run import check

SOON = 15.0
"""Seconds after which a connection must have an answer, or its end."""

PAUSE = 0.02
"""Seconds without an answer after which the next is sent: the hub may wait for more of this one."""

REST = 0.01
"""Seconds of silence in the middle of an answer, after which nobody waits for more of it."""

OPEN = 100
"""Connections that are left to wait for their answers at once."""

_LONGEST = 1_000_000
_STATUS = re.compile(rb"HTTP/(?:1\.[01]|0\.9) (\d{3}) ")  # 0.9: a line that names no version
_ANSWER = re.compile(rb".*\r\nContent-Length: (\d+)\r\n(?:.*?\r\n)?\r\n(.*)", re.DOTALL)
_TRACE = re.compile(rb'Traceback|File "[^"]*\.py"')


class _Waiting(NamedTuple):
    connection: socket.socket
    data: bytes
    since: float


class Sender:
    """Sends to one port, each time over a connection of its own."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.statuses: Counter[int] = Counter()
        self._port = port
        self._waiting: deque[_Waiting] = deque()

    def send(self, data: bytes, before: bytes = b"") -> None:
        """Send it, and judge the answer if it comes at once; else it is waited for later.

        With `before` it goes over a connection on which this has been posted before. Raises
        `Broken` if there is an answer of a kind that there must not be.
        """
        self.sent += 1
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=SOON)
        if before:
            self._post(connection, before)
        with suppress(ConnectionError):  # it may close before it has read all
            connection.sendall(data)
        self._receive(_Waiting(connection, data, time.monotonic()), PAUSE)
        while len(self._waiting) > OPEN:
            self._wait(self._waiting.popleft())

    def _post(self, connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        answer = b""
        while not (found := _ANSWER.fullmatch(answer)) or len(found[2]) < int(found[1]):
            piece = b""
            with suppress(TimeoutError):
                piece = connection.recv(65536)
            check(piece, f"{data!r} was answered {answer!r}, and no more")
            answer += piece
        self._judge(data, answer)
        check(b" 201 " in answer, f"{data!r} was answered {answer!r}")

    def settle(self) -> None:
        """Wait for all answers that have not come yet. Raises `Broken` if one does not."""
        while self._waiting:
            self._wait(self._waiting.popleft())

    def close(self) -> None:
        """Wait for nothing more."""
        for each in self._waiting:
            each.connection.close()
        self._waiting.clear()

    def _wait(self, waiting: _Waiting) -> None:
        answered = self._receive(waiting, max(PAUSE, waiting.since + SOON - time.monotonic()))
        check(answered, f"{waiting.data!r} has no answer, and no end, after {SOON:.0f} s")

    def _receive(self, waiting: _Waiting, seconds: float) -> bool:
        """Read what comes and judge it; False if nothing has, and the connection waits on."""
        connection, data, _ = waiting
        answer = b""
        connection.settimeout(seconds)
        try:
            while len(answer) < _LONGEST and (piece := connection.recv(65536)):
                answer += piece
                connection.settimeout(REST)
        except TimeoutError:
            if not answer:
                self._waiting.append(waiting)
                return False
        except ConnectionError:
            pass  # it was told off, and the rest of what it sent went unread
        connection.close()
        if answer:
            self._judge(data, answer)
        return True

    def _judge(self, data: bytes, answer: bytes) -> None:
        check(_STATUS.match(answer), f"{data!r} was answered {answer[:200]!r}")
        check(not _TRACE.search(answer), f"{data!r} was answered with a traceback: {answer!r}")
        for found in _STATUS.findall(answer):  # there may be several requests in the data
            status = int(found)
            self.statuses[status] += 1
            check(100 <= status < 500, f"{data!r} was answered {answer[:1000]!r}")
