"""Server-sent events: what the hub writes and what a client reads.

Owns the `text/event-stream` format of the WHATWG HTML standard, section 9.2
(https://html.spec.whatwg.org/multipage/server-sent-events.html). It must not
know sockets or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from hub.errors import TooLarge
from hub.formats import LINE_BREAK

CONTENT_TYPE = "text/event-stream"

HEARTBEAT = b":\n"
"""A bare comment line. With a blank line behind it, some clients fire an empty message."""

RESET = b"event: hub-reset\ndata: \n\n"
"""First frame to a reader whose id is unknown: what follows is the log from its beginning."""

RETRY_DIGITS = 18
"""A `retry:` of more is no time that anybody waits, and is passed over."""

MOST_BYTES = 128 * 1024 * 1024
"""Bytes of a line, or of an event's data, that a reader takes: twice a hub's largest request."""

_VT = LINE_BREAK
_NEXT_DATA = b"\ndata: "


def retry(milliseconds: int) -> bytes:
    """The field that tells a client how long to wait before it connects again."""
    return b"retry: %d\n" % milliseconds


def frames(rows: Iterable[Sequence[bytes]], only: bytes | None = None) -> bytes:
    """Frames for the rows of a TSV log; with `only`, for the events of that type.

    Each has an `event:` line unless its type is empty, a `data:` line for each
    line of its data, and last its `id:`. Last, because some clients keep an id
    as soon as they have read it: of an event that breaks off in its data they
    must not think that they had it.
    """
    if only is not None:
        rows = [row for row in rows if row[1] == only]
    return b"".join(
        [
            b"event: %b\ndata: %b\nid: %b\n\n"
            % (event, data.replace(_VT, _NEXT_DATA) if _VT in data else data, identity)
            if event
            else b"data: %b\nid: %b\n\n"
            % (data.replace(_VT, _NEXT_DATA) if _VT in data else data, identity)
            for identity, event, data in rows
        ]
    )


class Message(Struct, frozen=True, gc=False):
    """One dispatched message: its type (`message` when none is given), data, last event id."""

    event: str
    data: str
    id: str


class Parser:
    """An incremental reader of an event stream; bytes in, messages out.

    Lines end with CR LF, LF or CR, wherever the pieces are cut. `last_event_id`
    is the id to resume from, `retry` the last reconnection time in
    milliseconds or None. A message that the stream does not finish is dropped.
    `default_type` is the type of a message that names none. A line, or the data
    of a message, of more than `limit` bytes is the end of it: `TooLarge`.
    """

    def __init__(
        self,
        last_event_id: str = "",
        default_type: str = "message",
        limit: int = MOST_BYTES,
    ) -> None:
        self.last_event_id = last_event_id
        self._default_type = default_type
        self._limit = limit
        self._fault: TooLarge | None = None
        self.retry: int | None = None
        self._open: list[bytes] = []  # pieces of the line that has no end yet
        self._held = 0  # bytes of these
        self._after_cr = False
        self._started = False
        self._id = last_event_id
        self._event = ""
        self._data: bytes | bytearray | None = None  # in one piece: many short lines cost no more

    def feed(self, piece: bytes) -> list[Message]:
        """Take in the next bytes; return the messages that they complete.

        Raises `TooLarge`, once the messages before have been returned, and from then on.
        """
        if self._fault:
            raise self._fault
        messages: list[Message] = []
        try:
            self._take(piece, messages)
        except TooLarge as fault:
            self._fault = fault
            self._open, self._data = [], None
            if not messages:
                raise
        return messages

    def _take(self, piece: bytes, messages: list[Message]) -> None:
        if self._after_cr and piece:
            # The CR has already ended its line: an LF behind it belongs to it.
            self._after_cr = False
            if piece.startswith(b"\n"):
                piece = piece[1:]
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._open.append(piece)
        self._held += len(piece)
        if b"\n" not in piece:
            self._check("a line", self._held)
            return
        large = self._held > self._limit
        lines = b"".join(self._open).split(b"\n")
        self._open = [lines.pop()]
        self._held = len(self._open[0])
        for line in lines:
            if large:
                self._check("a line", len(line))
            if line:
                self._field(line)
            else:
                self._dispatch(messages)
        self._check("a line", self._held)

    def _check(self, what: str, size: int) -> None:
        if size > self._limit:
            raise TooLarge(f"{what} of the event stream has more than {self._limit} bytes")

    def _field(self, line: bytes) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data = value if self._data is None else self._joined(self._data, value)
        elif name == b"event":
            self._event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) <= RETRY_DIGITS:
            self.retry = int(value)

    def _joined(self, data: bytes | bytearray, line: bytes) -> bytearray:
        self._check("an event", len(data) + 1 + len(line))
        if not isinstance(data, bytearray):
            data = bytearray(data)
        data += b"\n"
        data += line
        return data

    def _dispatch(self, messages: list[Message]) -> None:
        self._started = True
        self.last_event_id = self._id
        if self._data is not None:
            event = self._event or self._default_type
            messages.append(Message(event, self._data.decode(errors="replace"), self._id))
            self._data = None
        self._event = ""
