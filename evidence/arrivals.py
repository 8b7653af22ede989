"""Events that arrive at a steady rate, one a post, whatever the hub makes of it.

Owns the publishers' sockets and what each was told. A post's time counts from the
moment at which it should have gone out: one that had to wait is late.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from evidence.run import Broken, check

CONNECTIONS = 16

_LOOK_SECONDS = 0.5
_STALLED = 60.0  # seconds without an answer after which it is given up
_NUMBER = re.compile(rb"^([^\t]+)\tload\t(\d{10}) ", re.MULTILINE)
_FILLER = b"x" * 80


class Arrivals:
    """Publishers to one channel. Each event has a number, from 0 on."""

    def __init__(self, port: int, channel: str, rate: int) -> None:
        self.rate = rate
        self.published = 0
        self._told: dict[int, bytes] = {}  # number: id
        self._path = f"/{channel}?event=load"
        self._port = port

    def publish(self, seconds: float, look: Callable[[], None]) -> list[float]:
        """Publish for so long; how many seconds each was late when it was answered, sorted.

        `look` is called about twice a second. Connects anew: a hub closes what is idle for long.
        """
        with ExitStack() as stack:
            epoll = stack.enter_context(select.epoll())
            sockets: dict[int, socket.socket] = {}
            for _ in range(CONNECTIONS):
                each = stack.enter_context(socket.create_connection(("127.0.0.1", self._port)))
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                epoll.register(each, select.EPOLLIN)
                sockets[each.fileno()] = each
            return self._publish(epoll, sockets, seconds, look)

    def _publish(
        self,
        epoll: select.epoll,
        sockets: dict[int, socket.socket],
        seconds: float,
        look: Callable[[], None],
    ) -> list[float]:
        free = list(sockets.values())
        waiting: dict[int, tuple[float, int]] = {}
        late: list[float] = []
        began = looked = answered = time.monotonic()
        count, sent = round(seconds * self.rate), 0
        while sent < count or waiting:
            now = time.monotonic()
            if now - looked > _LOOK_SECONDS:
                looked = now
                look()
            due = min(count, int((now - began) * self.rate) + 1)
            while sent < due and free:
                connection = free.pop()
                connection.sendall(self._post())
                waiting[connection.fileno()] = (began + sent / self.rate, self.published)
                self.published += 1
                sent += 1
            pause = 0.2
            if sent < count and free:
                pause = max(0.0, began + sent / self.rate - time.monotonic())
            for number, _ in epoll.poll(pause):
                answer = sockets[number].recv(4096)
                answered = time.monotonic()
                check(answer.startswith(b"HTTP/1.1 201 "), f"a post was answered {answer!r}")
                intended, event = waiting.pop(number)
                self._told[event] = answer.rpartition(b"\r\n\r\n")[2].strip()
                late.append(answered - intended)
                free.append(sockets[number])
            if time.monotonic() - answered > _STALLED:
                raise Broken(f"{len(waiting)} posts were not answered in {_STALLED:.0f} s")
        return sorted(late)

    def check(self, log: Path) -> None:
        """Each event is in the log once, under the id that was told."""
        found = _NUMBER.findall(log.read_bytes())
        stored = {int(number): identity for identity, number in found}
        check(len(found) == len(stored), "an event is in the log twice")
        check(stored == self._told, "the log has other events than those that were acknowledged")

    def _post(self) -> bytes:
        body = b"%010d %b" % (self.published, _FILLER)
        head = f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
        return head.encode() + b"\r\n\r\n" + body
