"""Lines of an answer's body, as they come, as events and as documents.

Owns how a body that comes in pieces is cut into whole lines, on LF only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from hub.client.errors import UnexpectedAnswer, endless
from hub.client.payloads import number
from hub.client.values import Document, Event
from hub.sse import MOST_BYTES

_decode_documents = msgspec.json.Decoder(Document, float_hook=number).decode_lines


async def whole_lines(
    pieces: AsyncGenerator[bytes, None], limit: int = MOST_BYTES
) -> AsyncGenerator[bytes, None]:
    """The pieces of a body, cut anew so that each is whole lines.

    Raises `UnexpectedAnswer` for a line that has no end after `limit` bytes.
    """
    rest: list[bytes] = []
    held = 0
    async with aclosing(pieces):
        async for piece in pieces:
            end = piece.rfind(b"\n") + 1
            if end:
                yield b"".join([*rest, piece[:end]])
                rest, held = [], 0
            if end < len(piece):
                rest.append(piece[end:] if end else piece)
                held += len(rest[-1])
            if held > limit:
                raise endless(200, f"a line of it has more than {limit} bytes")


def events_of(chunk: bytes) -> Sequence[Event]:
    """The events in whole lines of TSV."""
    text = chunk.decode(errors="replace")
    lines = text.split("\n")
    lines.pop()
    if "\x0b" in text:
        return [_with_breaks(*line.split("\t", 2)) for line in lines]
    return [Event(*line.split("\t", 2)) for line in lines]


def _with_breaks(identity: str, event: str, data: str) -> Event:
    return Event(identity, event, data.replace("\x0b", "\n"))


def documents_of(chunk: bytes) -> Sequence[Document]:
    """The documents in lines of NDJSON."""
    try:
        return _decode_documents(chunk)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UnexpectedAnswer(f"what came is no NDJSON document: {error}") from None


def line_of(identity: str, event: str, column: bytes) -> bytes:
    """An event as a line of TSV."""
    return b"%b\t%b\t%b\n" % (identity.encode(), event.encode(), column)
