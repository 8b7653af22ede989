"""Reads the bodies of requests: their limits, their encodings, their memory.

Owns how much of all bodies together the hub holds, so that many large posts at
once end in answers, not in a hub without memory. Must not know what is in them.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType

from aiohttp import web

from hub.errors import Busy, InvalidRequest, TooLarge, UnknownEncoding
from hub.web import heaps

SMALL = 64 * 1024
"""Bytes up to which a body is not counted: open connections bound how many there are."""

PIECE = 16 * 1024
"""Bytes that are decoded or handed on at once: even as the shortest lines, a matter of some
milliseconds."""

FREED_BYTES = heaps.KEPT_BYTES
"""Of bodies that were dealt with, after which the heaps are told to give back what is free: what
lies between things in use they would keep, and after a large batch that is most of it."""

FREED_SECONDS = 0.05
"""Until then: the last to hold a body may be a subscriber's turn."""

TURN_SECONDS = 0.005
"""After which others have their turn between two pieces of a body, however much of it is there."""

_FIRST_STEP = 256
"""Bytes of a member of gzip that are looked at first. What lies behind its end is copied, so the
steps grow with the member: of very small ones, little is copied for each."""

_ANY_HEADER = 32 + zlib.MAX_WBITS  # zlib: that of gzip, or its own

_UNREADABLE = "the body cannot be read: it breaks off, or is not in the encoding that it says"


class Bodies:
    """What is held of the bodies of all requests under way, up to `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._freed = 0
        self._giving_back: asyncio.TimerHandle | None = None

    def room(self) -> Room:
        """Room for one request's body: a context manager that gives it back."""
        return Room(self)

    def free(self, size: int) -> None:
        """A request is done with so many bytes."""
        self.held -= size
        self._freed += size
        if self._freed >= FREED_BYTES and self._giving_back is None:
            loop = asyncio.get_running_loop()
            self._giving_back = loop.call_later(FREED_SECONDS, self._give_back)

    def _give_back(self) -> None:
        self._freed = 0
        self._giving_back = None
        heaps.give_back()


class Room:
    """What one request holds."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._taken = 0

    def take(self, size: int) -> None:
        """Count `size` more bytes. Raises `Busy` if the hub holds too many."""
        bodies = self._bodies
        if bodies.held + size > bodies.limit:
            raise Busy(
                f"the hub holds {bodies.held} bytes of requests that are being written; "
                f"the limit is {bodies.limit}: try again"
            )
        bodies.held += size
        self._taken += size

    def __enter__(self) -> Room:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bodies.free(self._taken)
        self._taken = 0


def is_small(request: web.Request, most: int) -> bool:
    """Whether a body has its length in a header, of at most `most` bytes, and is not counted."""
    length = request.content_length
    if length is None or length > SMALL or length > most:
        return False
    return "Content-Encoding" not in request.headers


async def read_small(request: web.Request) -> bytes:
    """A small body; raises `InvalidRequest` if it breaks off."""
    content = request.content
    try:
        if content.is_eof():  # it came together with its head, as small ones do
            return content.read_nowait(-1)
        return await request.read()
    except web.RequestPayloadError:
        raise InvalidRequest(_UNREADABLE) from None


async def pieces(request: web.Request, room: Room, most: int, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes in, decoded, in pieces of at most `PIECE` bytes.

    Others have their turn in between. Raises `TooLarge` above `most` bytes (`limit`
    is what the client is told), `UnknownEncoding`, `InvalidRequest` if it breaks off,
    `Busy`.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "deflate"):
        raise UnknownEncoding(f"a body cannot be read in the encoding {encoding!r}: gzip can")
    decoder = _Decoder() if encoding in ("gzip", "deflate") else None
    # What cannot be made smaller is a little larger in an encoding.
    most_received = most + SMALL if decoder else most
    if request.content_length is not None:
        _check_size(request.content_length, most_received, limit)
    received = size = 0
    try:
        async for raw in request.content.iter_any():
            began = time.monotonic()
            received += len(raw)
            _check_size(received, most_received, limit)
            for piece in decoder.decode(raw) if decoder else _cut(raw):
                if piece:
                    size += len(piece)
                    _check_size(size, most, limit)
                    room.take(len(piece))
                    yield piece
                if time.monotonic() - began > TURN_SECONDS:
                    await asyncio.sleep(0)
                    began = time.monotonic()
    except (web.RequestPayloadError, zlib.error):
        raise InvalidRequest(_UNREADABLE) from None
    if decoder and not decoder.finished:
        raise InvalidRequest(_UNREADABLE)


def _cut(raw: bytes) -> Iterable[bytes]:
    if len(raw) <= PIECE:
        return (raw,)
    return (raw[at : at + PIECE] for at in range(0, len(raw), PIECE))


class _Decoder:
    """Undoes gzip (RFC 1952, any number of members) and deflate (RFC 1950), a piece at a time."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_ANY_HEADER)
        self._step = _FIRST_STEP
        self._begun = False

    @property
    def finished(self) -> bool:
        """Whether what came so far is whole."""
        return self._stream.eof or not self._begun

    def decode(self, raw: bytes) -> Iterator[bytes]:
        """What `raw` unpacks to, in bounded pieces, some of them empty. Raises `zlib.error`."""
        at = 0
        while at < len(raw):
            if self._stream.eof:
                self._stream = zlib.decompressobj(_ANY_HEADER)
                self._step = _FIRST_STEP
            self._begun = True
            part = raw[at : at + self._step]
            yield self._stream.decompress(part, PIECE)
            at += len(part) - len(self._stream.unused_data or self._stream.unconsumed_tail)
            self._step = min(2 * self._step, PIECE)
        while not self._stream.eof and (piece := self._stream.decompress(b"", PIECE)):
            yield piece


def _check_size(size: int, most: int, limit: int) -> None:
    if size > most:
        raise TooLarge(f"the body has {size} bytes or more; the limit is {limit}")
