"""Reads the body of a batch post piece by piece into one `Batch`.

Owns the two batch bodies: TSV lines as `GET` returns them, and NDJSON, where
each line is one event's data. It must not know where the pieces come from.
What is held is the encoded batch and the piece of a line that is still open.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from hub.errors import InvalidEvent
from hub.event import IdOrder, Limits
from hub.formats import LINE_BREAK, Batch, are_json_lines, check_json_line, check_rows


class BatchReader(ABC):
    """Turns bytes into a batch: `feed` any number of pieces, then `finish`.

    A bad line, or one over a limit, raises `InvalidEvent` with its number,
    counted from 1, and ends the batch.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # A line has two more fields and their TABs beside its data.
        self._line_limit = limits.event_bytes + limits.id_bytes + limits.type_bytes + 4
        self._open: list[bytes] = []  # pieces of the line that has no LF yet
        self._open_size = 0
        self._lines = 0
        self._batch = Batch([], 0, 0, "", "", IdOrder())

    def feed(self, piece: bytes) -> None:
        """Take in the next bytes of the body."""
        end = piece.rfind(b"\n") + 1
        if end:
            self._open.append(piece[:end])
            self._take(b"".join(self._open))
            self._open.clear()
            self._open_size = 0
        if end < len(piece):
            self._open.append(piece[end:])
            self._open_size += len(piece) - end
            if self._open_size > self._line_limit:
                raise InvalidEvent(
                    f"it has {self._open_size} bytes or more; "
                    f"the limit for an event's data is {self._limits.event_bytes}",
                    self._lines + 1,
                )

    def finish(self) -> Batch:
        """The whole batch; a last line without LF counts."""
        if self._open:
            self.feed(b"\n")
        return self._batch

    def _take(self, chunk: bytes) -> None:
        try:
            lines = self._read(chunk)
        except InvalidEvent as error:
            raise InvalidEvent(error.reason, self._lines + (error.line or 0)) from None
        self._lines += lines

    @abstractmethod
    def _read(self, chunk: bytes) -> int:
        """Add a chunk of whole lines to the batch; return how many lines it had."""

    def _add(self, chunk: bytes, ids: list[bytes], blank: int) -> None:
        batch = self._batch
        if not ids:
            return
        if not batch.count:
            batch.first_id = ids[0].decode()
        batch.last_id = ids[-1].decode()
        batch.chunks.append(chunk)
        batch.count += len(ids)
        batch.blank += blank
        if blank < len(ids):
            batch.order.extend([each for each in ids if each] if blank else ids)


class TsvReader(BatchReader):
    """`id TAB event TAB data` lines; the hub gives an id where it is empty."""

    def _read(self, chunk: bytes) -> int:
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n")
            if b"\r" in chunk:
                chunk = b"\n".join(_normalise(line) for line in chunk.split(b"\n"))
        ids = [row[0] for row in check_rows(chunk, self._limits, stored=False)]
        self._add(chunk, ids, ids.count(b""))
        return len(ids)


def _normalise(line: bytes) -> bytes:
    """A lone CR inside data is a line break; in the other columns it stays, and is refused."""
    fields = line.split(b"\t", 2)
    fields[-1] = fields[-1].replace(b"\r", LINE_BREAK) if len(fields) == 3 else fields[-1]
    return b"\t".join(fields)


class NdjsonReader(BatchReader):
    """One JSON text a line, kept to the letter; blank lines are passed over.

    All events share one type and, if a client gives one, one id; both must
    have been checked.
    """

    def __init__(self, limits: Limits, event_type: str = "", event_id: str = "") -> None:
        super().__init__(limits)
        self._id = event_id.encode()
        self._head = f"{event_id}\t{event_type}\t".encode()

    def _read(self, chunk: bytes) -> int:
        lines = chunk.split(b"\n")
        lines.pop()
        fit = max(map(len, lines)) <= self._limits.event_bytes
        kept = lines if fit and are_json_lines(chunk, lines) else self._check(lines)
        if kept:
            head, between = self._head, b"\n" + self._head
            count = len(kept)
            self._add(
                head + between.join(kept) + b"\n", [self._id] * count, 0 if self._id else count
            )
        return len(lines)

    def _check(self, lines: list[bytes]) -> list[bytes]:
        """The lines that are not blank, without a CR at their ends."""
        kept: list[bytes] = []
        limit = self._limits.event_bytes
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\r"):
                line = line[:-1]
            if not line.strip():
                continue
            if len(line) > limit:
                raise InvalidEvent(f"its data has {len(line)} bytes; the limit is {limit}", number)
            try:
                check_json_line(line)
            except InvalidEvent as error:
                raise InvalidEvent(error.reason, number) from None
            kept.append(line)
        return kept
