"""A group of batches on its way into a file: their ids, and their lines.

Owns which ids the hub gives, and how a group becomes bytes. Must not know
files, tasks or threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from hub.event import IdOrder, id_at
from hub.formats import Batch, fill_ids

GROUP_BYTES = 256 * 1024
"""A group up to this size is built in memory and handed to readers as it is."""


class Receipt(Struct, frozen=True, gc=False):
    """What a batch got when it was committed."""

    count: int
    first_id: str
    last_id: str


class Entry(Struct):
    """A batch that has its ids."""

    chunks: list[bytes]  # its lines
    receipt: Receipt
    first_time: int = 0  # for the first line whose id is still blank; 0: none is


def give_ids(order: IdOrder, batch: Batch, clock: Callable[[], int]) -> Entry:
    """Give a batch its ids, above all those in `order`, and take them in there.

    `clock` gives nanoseconds since 1970.
    """
    if not batch.blank:
        order.append(batch.order)
        return Entry(batch.chunks, Receipt(batch.count, batch.first_id, batch.last_id))
    now = clock() // 1000
    if batch.count == 1:  # the usual case
        first = order.next_clock(now)
        order.append_own(first, first)
        identity = id_at(first)
        return Entry([identity.encode() + batch.chunks[0]], Receipt(1, identity, identity))
    first = max(order.next_clock(now), batch.order.next_clock(now))
    last = first + batch.blank - 1
    if batch.blank < batch.count:
        order.append(batch.order)
        order.ordered = False  # given and own ids mixed: not worth a look at each
    order.append_own(first, last)
    receipt = Receipt(batch.count, batch.first_id or id_at(first), batch.last_id or id_at(last))
    return Entry(batch.chunks, receipt, first)


def size_of(entries: Iterable[Entry]) -> int:
    """About how many bytes the lines have."""
    return sum([len(chunk) for each in entries for chunk in each.chunks])


def lines_of(entries: Iterable[Entry]) -> bytes:
    """All lines, with the ids that the hub gives filled in."""
    return b"".join([chunk for each in entries for chunk in _filled(each)])


def pieces_of(entries: Iterable[Entry]) -> Iterator[bytes]:
    """All lines, in large pieces."""
    piece: list[bytes] = []
    size = 0
    for each in entries:
        for chunk in _filled(each):
            piece.append(chunk)
            size += len(chunk)
            if size >= GROUP_BYTES:
                yield b"".join(piece)
                piece.clear()
                size = 0
    if piece:
        yield b"".join(piece)


def _filled(entry: Entry) -> Iterable[bytes]:
    return _fill(entry.chunks, entry.first_time) if entry.first_time else entry.chunks


def _fill(chunks: list[bytes], next_time: int) -> Iterator[bytes]:
    for chunk in chunks:
        filled, next_time = fill_ids(chunk, next_time)
        yield filled
