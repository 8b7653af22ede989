"""How channels write events down: TSV lines, and batches of them.

Owns every byte of a TSV line; `document` owns NDJSON. It must not know files, sockets or SSE.
Functions that take a `chunk` take whole lines, each closed by LF, and split on
LF only: `splitlines()` would also split on VT, FF, U+0085 and U+2028.

TSV line: `id TAB event TAB data LF`; line breaks inside data stand as VT, the
in-field line break of TSV exports.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import add

import msgspec

from hub.errors import InvalidEvent
from hub.event import (
    START,
    UNFIT_ID,
    Event,
    IdOrder,
    Limits,
    fits_header,
    ids_fit_header,
    ids_from,
)

TSV = "tsv"
NDJSON = "ndjson"
CONTENT_TYPES = {
    TSV: "text/tab-separated-values; charset=utf-8",
    NDJSON: "application/x-ndjson; charset=utf-8",
}

LINE_BREAK = b"\x0b"
"""VT: how a line break inside data is stored."""

Row = list[bytes]
"""The three fields of a TSV line: id, event, data as stored."""

_START = frozenset(each.encode() for each in START)
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: the second of a string that it decodes, the last of what is too deep."""

_validate_json = msgspec.json.Decoder(msgspec.Raw).decode


def data_column(body: bytes) -> bytes:
    """The data column for a body as posted: one final line break dropped, the others VT.

    Raises `InvalidEvent` for NUL, VT or bytes that are not UTF-8.
    """
    if b"\0" in body or LINE_BREAK in body:
        raise InvalidEvent("the data holds a NUL or VT (0x0B), which it must not")
    check_utf8(body)
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return body.removesuffix(b"\n").replace(b"\n", LINE_BREAK)


def check_utf8(text: bytes) -> None:
    """Raise `InvalidEvent`, naming the byte, if `text` is not UTF-8."""
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise InvalidEvent(f"byte {error.start + 1} of the data is not UTF-8") from None


def encode_line(event: Event) -> bytes:
    """One event as a TSV line; its fields must have been checked."""
    data = event.data.replace("\n", "\x0b")
    return f"{event.id}\t{event.event}\t{data}\n".encode()


def decode_row(row: Sequence[bytes]) -> Event:
    """One TSV line's fields as an event."""
    identity, event, data = row
    return Event(identity.decode(), event.decode(), data.replace(LINE_BREAK, b"\n").decode())


def split_rows(chunk: bytes) -> list[Row]:
    """The fields of every line of a chunk of a sound TSV log."""
    rows = [line.split(b"\t", 2) for line in chunk.split(b"\n")]
    rows.pop()
    return rows


def fill_ids(chunk: bytes, first: int) -> tuple[bytes, int]:
    """Give the lines whose id column is empty ids from time `first` on.

    Returns the chunk and the time for the next id.
    """
    lines = chunk.split(b"\n")
    lines.pop()
    if all(line.startswith(b"\t") for line in lines):
        ids = ids_from(first, len(lines))
        lines = list(map(add, ids, lines))
        first += len(lines)
    else:
        for at, line in enumerate(lines):
            if line.startswith(b"\t"):
                lines[at] = ids_from(first, 1)[0] + line
                first += 1
    lines.append(b"")
    return b"\n".join(lines), first


def check_rows(chunk: bytes, limits: Limits, *, stored: bool) -> list[Row]:
    """Split a chunk of TSV lines that come from outside, and check each.

    With `stored` the lines stand in a log: each must have an id, and any size
    goes. Raises `InvalidEvent` whose `line` counts from 1 within the chunk.
    """
    rows = split_rows(chunk)
    ids: list[bytes] = []
    sound = (
        b"\0" not in chunk and b"\r" not in chunk and _is_utf8(chunk) and set(map(len, rows)) == {3}
    )
    if sound:
        ids = [row[0] for row in rows]
        if stored:
            sound = all(ids)
        else:
            sound = (
                max(map(len, ids)) <= limits.id_bytes
                and _START.isdisjoint(ids)
                and ids_fit_header(ids)
                and max(map(len, {row[1] for row in rows})) <= limits.type_bytes
                and max(len(row[2]) for row in rows) <= limits.event_bytes
            )
    if not sound:
        for number, row in enumerate(rows, 1):
            reason = _fault(row, limits, stored)
            if reason:
                raise InvalidEvent(reason, number)
        raise AssertionError("a chunk is unsound, but none of its lines")
    return rows


def _is_utf8(chunk: bytes) -> bool:
    if chunk.isascii():
        return True
    try:
        chunk.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fault(row: Row, limits: Limits, stored: bool) -> str | None:
    line = b"\t".join(row)
    if len(row) < 3:
        return "it is not 'id TAB event TAB data': it has fewer than two TABs"
    if b"\0" in line or b"\r" in line:
        return "it holds a NUL or CR, which it must not"
    if not _is_utf8(line):
        return "it is not UTF-8"
    if stored:
        return None if row[0] else "it has no id"
    if row[0] in _START:
        return f"its id cannot be {row[0].decode()!r}: as a cursor that means the beginning"
    if not fits_header(row[0].decode()):
        return UNFIT_ID
    for what, field, limit in (
        ("id", row[0], limits.id_bytes),
        ("event type", row[1], limits.type_bytes),
        ("data", row[2], limits.event_bytes),
    ):
        if len(field) > limit:
            return f"its {what} has {len(field)} bytes; the limit is {limit}"
    return None


def check_json_line(line: bytes) -> None:
    """Raise `InvalidEvent` if a line of an NDJSON batch cannot be an event's data."""
    if b"\r" in line or LINE_BREAK in line or b"\0" in line:
        raise InvalidEvent("it holds a CR, VT or NUL outside of an escape")
    check_utf8(line)  # the decoder below passes over what strings hold
    try:
        _validate_json(line)
    except NOT_JSON as error:
        raise InvalidEvent(f"it is not JSON: {error}") from None


def are_json_lines(chunk: bytes, lines: list[bytes]) -> bool:
    """Whether `check_json_line` passes each of these, which a chunk consists of.

    At once that takes a fifth of the time.
    """
    if b"\r" in chunk or LINE_BREAK in chunk or b"\0" in chunk or not _is_utf8(chunk):
        return False
    try:
        deque(map(_validate_json, lines), 0)
    except NOT_JSON:
        return False
    return True


class Batch(msgspec.Struct):
    """Events that are committed together, as TSV lines.

    `chunks` hold whole lines; where the id column is empty the hub gives one,
    at the moment of the commit. `blank` counts those. `first_id` and `last_id`
    are empty when they are blank. `order` tells of the given ids.
    """

    chunks: list[bytes]
    count: int
    blank: int
    first_id: str
    last_id: str
    order: IdOrder

    @classmethod
    def of_one(cls, event_id: str, event_type: str, data: bytes) -> Batch:
        """One event; `data` is its column as stored. The id may be empty."""
        order = IdOrder()
        if event_id:
            order.extend([event_id.encode()])
        line = f"{event_id}\t{event_type}\t".encode() + data + b"\n"
        return cls([line], 1, 0 if event_id else 1, event_id, event_id, order)
