"""What the hub and its workers say to each other, over a socket.

Owns the structs and their framing: the length in eight bytes, then MessagePack. The
documents of a batch come behind their task as they are, in pieces and into a buffer
that stays: fresh memory for each would cost more than all copying.
Sending and receiving block.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec

PIECE = 128
"""Documents that are sent at once."""

_LENGTH = struct.Struct("!Q")

T = TypeVar("T")


class Limits(msgspec.Struct, frozen=True):
    """What a handler may take: seconds of a processor per batch, bytes of memory and of state."""

    seconds: float
    memory: int
    state: int


class Why(StrEnum):
    """Why a batch could not be folded."""

    HANDLER = "handler"  # it is no function
    THROWN = "thrown"  # the handler threw
    TIME = "time"
    MEMORY = "memory"
    STATE = "state"  # JSON cannot hold it, or it is too large
    DIED = "died"  # the whole process ended


class Fault(msgspec.Struct, frozen=True):
    """A batch that could not be folded.

    `at` is the first event of it that could not be, from 1 on; 0 if that is unknown.
    `again` says that it need not be the batch's fault: the system may have ended the process.
    """

    why: Why
    text: str
    at: int = 0
    again: bool = False


class Task(msgspec.Struct, frozen=True, array_like=True):
    """A batch for a handler. With `handler`, a sandbox for it is made first, with `state`.

    `size` is that of the batch that follows, in bytes; if it is 0, nothing is folded
    and no sandbox stays. `drop` names sandboxes that are not needed any more.
    """

    key: str
    size: int = 0
    handler: str | None = None
    state: bytes = b""
    drop: tuple[str, ...] = ()


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """What became of a task: the state after the whole batch, or a fault and no state.

    After a fault the sandbox is gone. `seconds` is what it took.
    """

    state: bytes = b""
    fault: Fault | None = None
    seconds: float = 0.0


class Gone(ConnectionError):
    """The other side has ended."""


def send(to: socket.socket, message: msgspec.Struct) -> None:
    """Send a message whole. Raises `OSError`."""
    body = msgspec.msgpack.encode(message)
    to.sendall(_LENGTH.pack(len(body)))
    to.sendall(body)


def batch_size(documents: Sequence[bytes]) -> int:
    """Bytes of a batch, which is a JSON array."""
    return sum(map(len, documents)) + len(documents) + 1 if documents else 0


def send_batch(to: socket.socket, documents: Sequence[bytes]) -> None:
    """Send the documents of a batch. Raises `OSError`."""
    start = b"["
    for at in range(0, len(documents), PIECE):
        to.sendall(start + b",".join(documents[at : at + PIECE]))
        start = b","
    to.sendall(b"]")


def receive(source: socket.socket, kind: type[T]) -> T:
    """Wait for a message. Raises `Gone` if there will be none."""
    (length,) = _LENGTH.unpack(_into(source, memoryview(bytearray(_LENGTH.size))))
    return msgspec.msgpack.decode(_into(source, memoryview(bytearray(length))), type=kind)


class Inbox:
    """Receives batches, each in the memory of the one before."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, source: socket.socket, size: int) -> memoryview:
        """Wait for a batch; it is valid until the next one. Raises `Gone`."""
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        return _into(source, memoryview(self._buffer)[:size])


def _into(source: socket.socket, buffer: memoryview) -> memoryview:
    rest = buffer
    while rest:
        count = source.recv_into(rest)
        if not count:
            raise Gone("the other side has ended")
        rest = rest[count:]
    return buffer
