"""Subscribers by the thousand, in a process of its own, each byte of each compared with the log.

Owns their sockets and how each reads: at once, a little now and then, or not at
all any more. What has to come is made from the log file, which has an event
before any subscriber gets it. Must not know who publishes.
"""

from __future__ import annotations

import ctypes
import heapq
import random
import select
import socket
import struct
import time
from enum import StrEnum
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from evidence.run import Broken, check

HEARTBEAT = b":\n"

SLOW_BUFFER = 32 * 1024
"""Bytes that the system holds for a slow one: what is more waits in the hub's log."""

SLOW_PIECE = 16 * 1024
SLOW_SECONDS = (0.5, 3.0)  # a pause between two pieces

_BUFFER = 256 * 1024
_AT_ONCE = 256
_PATIENCE = 60.0
_SO_ATTACH_FILTER = 26


class Kind(StrEnum):
    """How a subscriber behaves."""

    QUICK = "quick"
    SLOW = "slow"
    CLOSES = "closes"  # with a FIN
    RESETS = "resets"  # with an RST
    VANISHES = "vanishes"  # without anything: nothing reaches it, nothing comes from it


LEAVING = (Kind.CLOSES, Kind.RESETS, Kind.VANISHES)


class Reader:
    """One subscriber, and how far it has come in what it has to get."""

    __slots__ = ("half", "kind", "place", "socket")

    def __init__(self, kind: Kind, connection: socket.socket) -> None:
        self.kind = kind
        self.socket = connection
        self.place = 0
        self.half = b""  # of a heartbeat


class Expected:
    """The bytes that each subscriber has to get: the events that come to a log, as frames."""

    def __init__(self, log: Path) -> None:
        self.frames = bytearray()
        self.events = 0
        self._log = log
        self._read = log.stat().st_size

    def extend(self) -> None:
        """Take in what has come to the log."""
        with open(self._log, "rb") as file:
            file.seek(self._read)
            piece = file.read()
        lines = piece[: piece.rfind(b"\n") + 1]
        self._read += len(lines)
        for line in lines.split(b"\n")[:-1]:
            identity, event, data = line.split(b"\t", 2)
            self.frames += b"event: %b\ndata: %b\nid: %b\n\n" % (event, data, identity)
            self.events += 1

    def take(self, reader: Reader, piece: memoryview) -> None:
        """What came to a reader is what had to come, but for heartbeats; else raise `Broken`."""
        if not reader.half and self.frames.startswith(piece, reader.place):
            reader.place += len(piece)
            return
        self.extend()
        rest = reader.half + bytes(piece)
        reader.half = b""
        while rest:
            place = reader.place
            between = not place or self.frames.endswith(b"\n\n", place - 2, place)
            if between and rest.startswith(b":"):  # no frame begins so
                if len(rest) < len(HEARTBEAT):
                    reader.half = rest
                    return
                check(rest.startswith(HEARTBEAT), f"{rest[:9]!r} came, which is no heartbeat")
                rest = rest[len(HEARTBEAT) :]
                continue
            end = rest.find(b"\n:") + 1 or len(rest)
            came, wanted = rest[:end], bytes(self.frames[place : place + end])
            check(
                came == wanted,
                f"a {reader.kind} one got {came[:200]!r} behind {place} bytes, "
                f"where {wanted[:200]!r} had to come",
            )
            reader.place += end
            rest = rest[end:]


class Crowd:
    """All subscribers of one channel."""

    def __init__(self, port: int, channel: str, log: Path, seed: str) -> None:
        self.expected = Expected(log)
        self.left: dict[Kind, int] = dict.fromkeys(LEAVING, 0)
        self._chance = random.Random(seed)
        self._port = port
        self._request = (
            f"GET /{channel} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        ).encode()
        self._epoll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self._gone: list[socket.socket] = []  # of those who vanished: a close would tell the hub
        self._later: list[tuple[float, int, Reader, bool]] = []  # moment, …, whether it leaves
        self._numbers = count()
        self._buffer = memoryview(bytearray(_BUFFER))
        self._hurry = False

    def join(self, kinds: dict[Kind, int]) -> None:
        """So many of each kind subscribe, one after the other and in a chance order."""
        order = [kind for kind, size in kinds.items() for _ in range(size)]
        self._chance.shuffle(order)
        for kind in order:
            connection = socket.socket()
            if kind is Kind.SLOW:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
            connection.settimeout(_PATIENCE)
            connection.connect(("127.0.0.1", self._port))
            connection.sendall(self._request)
            head = b""
            while not head.endswith(b"\n" + HEARTBEAT):
                piece = connection.recv(4096)
                check(piece, f"a subscription was ended: {head!r}")
                head += piece
            check(head.startswith(b"HTTP/1.1 200 "), f"a subscription was refused: {head!r}")
            connection.setblocking(False)
            self._readers[connection.fileno()] = Reader(kind, connection)
            self._epoll.register(connection, select.EPOLLIN)

    def leave(self, seconds: float) -> None:
        """Those who are to leave do so, each at some moment of the next `seconds`."""
        for each in self._readers.values():
            if each.kind in LEAVING:
                self._at(time.monotonic() + self._chance.uniform(0, seconds), each, True)

    def read(self, seconds: float) -> None:
        """Read what comes, for up to so long, as each does."""
        while self._later and self._later[0][0] <= time.monotonic():
            _, _, reader, leaves = heapq.heappop(self._later)
            if leaves:
                self._leave(reader)
            else:
                self._epoll.register(reader.socket, select.EPOLLIN)
        if self._later:
            seconds = max(0.0, min(seconds, self._later[0][0] - time.monotonic()))
        for number, _ in self._epoll.poll(seconds, _AT_ONCE):
            if number in self._readers:
                self._read(self._readers[number])

    def hurry(self) -> None:
        """From now on nobody pauses."""
        self._hurry = True

    def missing(self) -> int:
        """How many of those who are still there have not got everything yet."""
        self.expected.extend()
        end = len(self.expected.frames)
        return sum(each.place < end for each in self._readers.values())

    def state(self) -> State:
        """How it goes."""
        missing = self.missing()
        delivered = sum(each.place for each in self._readers.values())
        return State(len(self._readers), missing, self.left, self.expected.events, delivered)

    def depart(self) -> None:
        """All leave at once; those who vanished stay silent."""
        for each in self._readers.values():
            self._epoll.unregister(each.socket)
            each.socket.close()
        self._readers.clear()

    def close(self) -> None:
        """The end, also of the silence of those who vanished."""
        self.depart()
        for gone in self._gone:
            gone.close()
        self._epoll.close()

    def _at(self, moment: float, reader: Reader, leaves: bool) -> None:
        heapq.heappush(self._later, (moment, next(self._numbers), reader, leaves))

    def _read(self, reader: Reader) -> None:
        slow = reader.kind is Kind.SLOW and not self._hurry
        try:
            size = reader.socket.recv_into(self._buffer, SLOW_PIECE if slow else _BUFFER)
        except BlockingIOError:
            return
        if not size:
            raise Broken(f"the hub ended the subscription of one that is {reader.kind}")
        self.expected.take(reader, self._buffer[:size])
        if slow:
            self._epoll.unregister(reader.socket)
            self._at(time.monotonic() + self._chance.uniform(*SLOW_SECONDS), reader, False)

    def _leave(self, reader: Reader) -> None:
        del self._readers[reader.socket.fileno()]
        self._epoll.unregister(reader.socket)
        self.left[reader.kind] += 1
        if reader.kind is Kind.VANISHES:
            cut_off(reader.socket)
            self._gone.append(reader.socket)
            return
        if reader.kind is Kind.RESETS:
            reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reader.socket.close()


def cut_off(connection: socket.socket) -> None:
    """The system drops, before it looks at it, whatever comes to a socket.

    So nothing is answered: to the other side it is as if the cable were cut. Needs no
    rights: a socket filter whose one instruction is to keep no byte.
    """
    nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(nothing))
    connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


class State(NamedTuple):
    """What a crowd tells of itself."""

    there: int
    missing: int
    left: dict[Kind, int]
    events: int
    delivered: int


def serve(orders: Connection, port: int, channel: str, log: Path, seed: str) -> None:
    """A process's whole life: it does what it is told, and answers each order with its `State`.

    An order is the name of a method and its arguments; of one that broke a promise the
    answer is the text.
    """
    crowd = Crowd(port, channel, log, seed)
    try:
        while True:
            crowd.read(0.05)
            while orders.poll():
                name, *arguments = orders.recv()
                if name == "close":
                    return
                if name != "state":
                    getattr(crowd, name)(*arguments)
                orders.send(crowd.state())
    except Broken as error:
        orders.send(str(error))
    except EOFError:
        pass  # whoever orders has gone
    finally:
        crowd.close()
