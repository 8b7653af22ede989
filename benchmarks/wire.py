"""HTTP/1.1 as bytes on plain sockets: the cheapest client that tells the truth.

Owns how a request is written and how the end of an answer is found. All servers
get the same bytes, but for the path.
"""

from __future__ import annotations

import re
import socket
from types import TracebackType

HOST = "127.0.0.1"

TIMEOUT = 60.0
"""Seconds after which a server that does not answer ends the run."""

_PIECE = 64 * 1024
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class BadAnswer(Exception):
    """A server answered something that a measurement cannot go on with."""


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request as bytes; `_` in a header's name stands for `-`."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(port: int) -> socket.socket:
    """A connected socket with a timeout, that sends what it has at once."""
    connection = socket.create_connection((HOST, port), timeout=TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def answer_size(start: bytes) -> int | None:
    """The size of a whole answer, given its first bytes; None while its head is not complete."""
    head = start.find(b"\r\n\r\n")
    if head < 0:
        return None
    length = _LENGTH.search(start, 0, head + 2)
    if length is None and start.startswith(b"HTTP/1.1 204 "):
        return head + 4
    if length is None:
        raise BadAnswer(f"no Content-Length in {start[:head]!r}")
    return head + 4 + int(length[1])


def check_success(answer: bytes | bytearray) -> None:
    """Raise `BadAnswer` unless the status is one of 200 to 299."""
    if not answer.startswith(b"HTTP/1.1 2"):
        raise BadAnswer(f"not a success: {answer[:300]!r}")


class Body:
    """The body of an answer whose bytes are not kept: how many lines it has, and its end.

    `head` has to end with the line break of the last header.
    """

    def __init__(self, head: bytes) -> None:
        self.lines = 0
        self.whole = False
        self._chunked = _CHUNKED.search(head) is not None
        self._rest = b""  # the beginning of a line between two chunks
        self._last = False  # the chunk of size 0 has come
        self._missing = 0  # of the body or the chunk
        if not self._chunked:
            length = _LENGTH.search(head)
            if length is None:
                raise BadAnswer(f"no Content-Length in {head!r}")
            self._missing = int(length[1])
            self.whole = not self._missing

    def take(self, buffer: bytearray, start: int, end: int) -> int:
        """Count the lines of what came from `start` to `end` of a buffer; how many they are."""
        before = self.lines
        while start < end and not self.whole:
            if self._missing:
                size = min(self._missing, end - start)
                self.lines += buffer.count(b"\n", start, start + size)
                start += size
                self._missing -= size
                self.whole = not self._missing and not self._chunked
            else:
                start = self._begin_chunk(buffer, start, end)
        return self.lines - before

    def _begin_chunk(self, buffer: bytearray, start: int, end: int) -> int:
        """Read a line between two chunks; return where what follows begins."""
        line_end = buffer.find(b"\n", start, end)
        if line_end < 0:
            self._rest += buffer[start:end]
            return end
        line = (self._rest + buffer[start:line_end]).strip()
        self._rest = b""
        if line:
            self._missing = int(line, 16)
            self._last = not self._missing
        else:  # the line break behind a chunk, or behind the last one's size
            self.whole = self._last
        return line_end + 1


class Connection:
    """A keep-alive connection that blocks."""

    def __init__(self, port: int) -> None:
        self._socket = connect(port)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._socket.close()

    def exchange(self, message: bytes, *, refused: bool = False) -> bytes:
        """Send a request, return its whole answer.

        Raises `BadAnswer` unless it is a success, or a conflict if it is to be `refused`.
        """
        self._socket.sendall(message)
        answer = self._receive()
        while (size := answer_size(answer)) is None or len(answer) < size:
            answer += self._receive()
        if not refused:
            check_success(answer)
        elif not answer.startswith(b"HTTP/1.1 409 "):
            raise BadAnswer(f"no conflict: {answer[:300]!r}")
        return answer

    def read(self, message: bytes, lines: int) -> bytes:
        """Send a request, read its answer, which has so many lines; return its head."""
        self._socket.sendall(message)
        head = bytearray(self._receive())
        while (end := head.find(b"\r\n\r\n")) < 0:
            head += self._receive()
        check_success(head)
        body = Body(bytes(head[: end + 2]))
        body.take(head, end + 4, len(head))
        while not body.whole:
            piece = bytearray(self._receive())
            body.take(piece, 0, len(piece))
        if body.lines != lines:
            raise BadAnswer(f"{body.lines} lines came, not {lines}")
        return bytes(head[: end + 2])

    def send_until(self, message: bytes, wanted: bytes) -> None:
        """Send a request, return as soon as `wanted` has come."""
        self._socket.sendall(message)
        answer = self._receive()
        while wanted not in answer:
            answer += self._receive()

    def download(self, message: bytes, buffer: bytearray) -> int:
        """Send a request, read its whole answer into `buffer` over and over; its size."""
        self._socket.sendall(message)
        start = self._receive()
        while (size := answer_size(start)) is None:
            start += self._receive()
        check_success(start)
        done = len(start)
        while done < size:
            got = self._socket.recv_into(buffer)
            if not got:
                raise BadAnswer(f"the connection ended {size - done} bytes early")
            done += got
        return size

    def _receive(self) -> bytes:
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise BadAnswer("the connection was closed")
        return piece
