"""The events that are posted and followed, and files full of them.

Owns what one benchmark event looks like, so that all measurements use the same.
"""

from __future__ import annotations

from pathlib import Path

from hub.event import ids_from

EVENT_BYTES = 200
"""Bytes of data of every event."""

TYPE = "measured"

MARK = b"~"
"""Stands once in the data of every live event and nowhere else: it is what subscribers count."""

_NUMBER_DIGITS = 10
_PIECE = 100_000  # lines that are made at a time
_FIRST_ID = 1_700_000_000_000_000  # microseconds: some moment of 2023
_FILLER = b"abcdefghijklmnopqrstuvwxyz0123456789 "


def filler(size: int) -> bytes:
    """Plain text of a given length."""
    return (_FILLER * (size // len(_FILLER) + 1))[:size]


_BEHIND_NUMBER = filler(EVENT_BYTES - _NUMBER_DIGITS - len(MARK))


def numbered(number: int) -> bytes:
    """The data of a live event: a mark, its number, and filler."""
    return b"%b%010d%b" % (MARK, number, _BEHIND_NUMBER)


def tsv_batch(count: int) -> bytes:
    """The body of a TSV batch whose ids the hub is to give."""
    head = f"\t{TYPE}\t".encode()
    data = filler(EVENT_BYTES - _NUMBER_DIGITS)
    return b"".join([b"%b%010d%b\n" % (head, number, data) for number in range(count)])


def ndjson_batch(count: int) -> bytes:
    """The body of an NDJSON batch: small objects."""
    head, tail = b'{"number":', b',"text":"%b"}\n'
    tail %= filler(EVENT_BYTES - len(head) - len(tail) - _NUMBER_DIGITS + len(b"%b\n"))
    return b"".join([b"%b%10d%b" % (head, number, tail) for number in range(count)])


def write_log(path: Path, count: int, first: int = 0) -> None:
    """A log file of `count` events with rising ids, as the hub would have written it.

    They are numbered from `first` on: the files of several logs may follow each other in time.
    """
    tail = f"\t{TYPE}\t".encode() + filler(EVENT_BYTES) + b"\n"
    with open(path, "wb") as file:
        for done in range(0, count, _PIECE):
            ids = ids_from(_FIRST_ID + first + done, min(_PIECE, count - done))
            file.write(tail.join(ids) + tail)


def id_in_log(number: int) -> bytes:
    """The id of the event with this number in a file of `write_log`."""
    return ids_from(_FIRST_ID + number, 1)[0]
