"""A group of batches on its way into a file: their ids, and their lines.

Owns which ids the hub gives, and how a group becomes bytes in the format of its
log. Must not know files, tasks or threads.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from hub.document import Draft, Mark, documents, lines_of
from hub.event import IdOrder, id_at, ids_from
from hub.formats import NDJSON, Batch, fill_ids, split_rows

GROUP_BYTES = 256 * 1024
"""A group up to this size is built in memory and handed to readers as it is."""


class Receipt(Struct, gc=False):
    """What a batch got when it was committed."""

    count: int
    first_id: str
    last_id: str
    version: int = 0  # of the log, before this
    position: int = 0  # of its last event
    committed_at: int = 0  # milliseconds since 1970


class Entry(Struct):
    """A batch that has its ids and its place in the log."""

    receipt: Receipt
    size: int  # about how many bytes its lines have
    lines: Callable[[], Iterable[bytes]]  # in pieces


def enter(
    log_name: str,
    log_format: str,
    version: int,
    order: IdOrder,
    batch: Batch | Draft,
    clock: Callable[[], int],
) -> Entry:
    """Give a batch its ids, above all those in `order`, and take them in there.

    `clock` gives nanoseconds since 1970. The events get the revisions after
    `version` in a log of this name and format.
    """
    now = clock() // 1000
    if isinstance(batch, Draft):
        return _enter_draft(log_name, version, order, batch, now)
    receipt, chunks, first_time = _give_ids(order, batch, version, now)
    size = sum(map(len, chunks))
    if log_format == NDJSON:
        mark = Mark(str(uuid.uuid4()), now // 1000, batch.count)
        return Entry(
            receipt,
            2 * size,
            lambda: _as_documents(_filled(chunks, first_time), log_name, version, mark),
        )
    return Entry(receipt, size, lambda: _filled(chunks, first_time))


def _enter_draft(stream: str, version: int, order: IdOrder, draft: Draft, now: int) -> Entry:
    count = draft.count
    first = order.next_clock(now)
    last = first + count - 1
    order.append_own(first, last)
    ids = [id_at(first).encode()] if count == 1 else ids_from(first, count)
    at = now // 1000
    receipt = Receipt(count, ids[0].decode(), ids[-1].decode(), version, 0, at)
    size = sum(map(len, draft.payloads)) + count * (len(draft.metadata) + 200)
    return Entry(receipt, size, lambda: (lines_of(draft, stream, version, ids, at),))


def _give_ids(
    order: IdOrder, batch: Batch, version: int, now: int
) -> tuple[Receipt, list[bytes], int]:
    """The receipt, the lines, and the time for the first of them whose id is blank (0: none is)."""
    at = now // 1000
    if not batch.blank:
        order.append(batch.order)
        receipt = Receipt(batch.count, batch.first_id, batch.last_id, version, 0, at)
        return receipt, batch.chunks, 0
    if batch.count == 1:  # the usual case
        first = order.next_clock(now)
        order.append_own(first, first)
        identity = id_at(first)
        chunk = identity.encode() + batch.chunks[0]
        return Receipt(1, identity, identity, version, 0, at), [chunk], 0
    first = max(order.next_clock(now), batch.order.next_clock(now))
    last = first + batch.blank - 1
    if batch.blank < batch.count:
        order.append(batch.order)
        order.ordered = False  # given and own ids mixed: not worth a look at each
    order.append_own(first, last)
    first_id, last_id = batch.first_id or id_at(first), batch.last_id or id_at(last)
    return Receipt(batch.count, first_id, last_id, version, 0, at), batch.chunks, first


def size_of(entries: Iterable[Entry]) -> int:
    """About how many bytes the lines have."""
    return sum([each.size for each in entries])


def lines_of_group(entries: Iterable[Entry]) -> bytes:
    """All lines, with the ids that the hub gives filled in."""
    return b"".join([chunk for each in entries for chunk in each.lines()])


def pieces_of(entries: Iterable[Entry]) -> Iterator[bytes]:
    """All lines, in large pieces."""
    piece: list[bytes] = []
    size = 0
    for each in entries:
        for chunk in each.lines():
            piece.append(chunk)
            size += len(chunk)
            if size >= GROUP_BYTES:
                yield b"".join(piece)
                piece.clear()
                size = 0
    if piece:
        yield b"".join(piece)


def _filled(chunks: list[bytes], first_time: int) -> Iterable[bytes]:
    return _fill(chunks, first_time) if first_time else chunks


def _fill(chunks: list[bytes], next_time: int) -> Iterator[bytes]:
    for chunk in chunks:
        filled, next_time = fill_ids(chunk, next_time)
        yield filled


def _as_documents(
    chunks: Iterable[bytes], stream: str, version: int, mark: Mark
) -> Iterator[bytes]:
    first = 0
    for chunk in chunks:
        rows = split_rows(chunk)
        place = Mark(mark.commit_id, mark.committed_at, mark.size, first)
        yield documents(rows, stream, version + first + 1, mark=place)
        first += len(rows)
