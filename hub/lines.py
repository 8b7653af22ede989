"""What reading needs to know of a log's lines, whatever their format.

Owns how the lines of a log are looked at: as rows of TSV, by type, by id; and
what a document must be to stand in a log. Must not know files. Functions that
take a `chunk` take whole lines, each closed by LF; a `line` may have its LF.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import lru_cache

import msgspec
from msgspec import Struct

from hub.document import KEYS, Keys, Metadata, id_of, row_reader, type_of
from hub.errors import InvalidEvent, LogDamaged
from hub.event import fits_header, ids_fit_header
from hub.formats import NOT_JSON, TSV, Row, split_rows

_LF = ord("\n")

_UNFIT_ID = "its metadata.id is empty, or holds what a header cannot carry"


class Lines(ABC):
    """Reads the lines of one format. What is not a line of it has no id, and no type at all."""

    @abstractmethod
    def rows(self, chunk: bytes) -> list[Row]:
        """The lines as rows of TSV. Raises `LogDamaged` if some are not of the format."""

    def of_type(self, chunk: bytes, only: bytes) -> bytes:
        """The lines whose type this is, as they stand."""
        kept = filter(self.typed(only), _split(chunk))
        return b"\n".join([*kept, b""])

    @abstractmethod
    def id(self, line: bytes) -> bytes:
        """The id of a line."""

    @abstractmethod
    def typed(self, only: bytes) -> Callable[[bytes], bool]:
        """A function that tells whether a line, in its row, has this type."""

    @abstractmethod
    def find(self, chunk: bytes, identity: bytes) -> int:
        """Where the last line begins that has this id, which holds no TAB or LF; -1: none has."""


@lru_cache(maxsize=16)
def lines_of_format(form: str, keys: Keys = KEYS) -> Lines:
    """What reads the lines of a format."""
    return TsvLines() if form == TSV else Documents(keys)


class TsvLines(Lines):
    """`id TAB event TAB data`."""

    def rows(self, chunk: bytes) -> list[Row]:
        return split_rows(chunk)

    def id(self, line: bytes) -> bytes:
        return line.partition(b"\t")[0]

    def typed(self, only: bytes) -> Callable[[bytes], bool]:
        return lambda line: line.split(b"\t", 2)[1] == only

    def find(self, chunk: bytes, identity: bytes) -> int:
        head = identity + b"\t"
        at = chunk.rfind(b"\n" + head)
        if at >= 0:
            return at + 1
        return 0 if chunk.startswith(head) else -1


class Documents(Lines):
    """NDJSON documents, by the hub or by hand."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def rows(self, chunk: bytes) -> list[Row]:
        read = row_reader(self._keys)
        try:
            return [read(line) for line in _split(chunk)]
        except NOT_JSON as error:
            raise LogDamaged(f"the file holds a line that is not a document: {error}") from None

    def id(self, line: bytes) -> bytes:
        try:
            return id_of(line)
        except NOT_JSON:
            return b""

    def typed(self, only: bytes) -> Callable[[bytes], bool]:
        # It stands in the line like this, unless escapes are used that it does not need.
        text = msgspec.json.encode(only.decode()) if only else b""
        keys = self._keys

        def has_type(line: bytes) -> bool:
            if text not in line and b"\\" not in line:
                return False
            try:
                return type_of(line, keys) == only
            except NOT_JSON:
                return False

        return has_type

    def find(self, chunk: bytes, identity: bytes) -> int:
        text = msgspec.json.encode(identity.decode())
        found, high = -1, len(chunk)
        while found < 0:
            at = chunk.rfind(text, 0, high)
            if at < 0:
                break
            high = chunk.rfind(b"\n", 0, at) + 1
            if self.id(chunk[high : chunk.find(b"\n", at) + 1]) == identity:
                found = high
        return max(found, self._find_escaped(chunk, identity, max(0, found)))

    def _find_escaped(self, chunk: bytes, identity: bytes, start: int) -> int:
        """The same, if from `start` on an id is written with escapes that it does not need."""
        if b"\\" not in chunk or (
            chunk.find(b"\\u", start) < 0 and chunk.find(b"\\/", start) < 0
        ):  # the first takes no time
            return -1
        place = len(chunk)
        for line in reversed(_split(chunk[start:])):
            place -= len(line) + 1
            if (b"\\u" in line or b"\\/" in line) and self.id(line) == identity:
                return place
        return -1


def _split(chunk: bytes) -> list[bytes]:
    lines = chunk.split(b"\n")
    lines.pop()
    return lines


def line_breaks(data: bytes) -> int:
    """How many LF there are; `bytes.count` looks at each byte by itself, this passes over lines."""
    last = deque(enumerate(io.BytesIO(data), 1), maxlen=1)
    return last[0][0] - (data[-1] != _LF) if last else 0


def reversed_lines(text: bytes) -> bytes:
    """Whole lines, the last one first."""
    lines = text.split(b"\n")
    if len(lines) == 2:
        return text
    lines.reverse()
    del lines[0]  # the empty one behind the last LF goes to the other end
    lines.append(b"")
    return b"\n".join(lines)


class _Object(Struct, gc=False):
    """Any object: what is in it is looked through, and not kept."""


class _Document(Struct, gc=False):
    stream: str
    payload: _Object
    metadata: Metadata


_checked = msgspec.json.Decoder(_Document).decode


def check_documents(chunk: bytes, stream: str) -> list[Metadata]:
    """The metadata of each line of a log of this stream, whoever wrote it there.

    Raises `InvalidEvent`, whose `line` counts from 1 within the chunk, at the
    first that is not a document of this stream.
    """
    lines = _split(chunk)
    try:
        if not chunk.isascii():
            chunk.decode()  # the decoder passes over what strings hold
        found = [_checked(line) for line in lines]
    except NOT_JSON:
        pass
    else:
        ids = [each.metadata.id.encode() for each in found]
        if {each.stream for each in found} <= {stream} and all(ids) and ids_fit_header(ids):
            return [each.metadata for each in found]
    for number, line in enumerate(lines, 1):
        reason = _fault(line, stream)
        if reason:
            raise InvalidEvent(reason, number)
    raise AssertionError("a chunk is unsound, but none of its lines")


def _fault(line: bytes, stream: str) -> str | None:
    try:
        line.decode()
        found = _checked(line)
    except UnicodeDecodeError:
        return "it is not UTF-8"
    except NOT_JSON as error:
        return f"it is not a document: {error}"
    if found.stream != stream:
        # Whoever looks for events by stream would find it under another name than its log's.
        return f"its stream is {found.stream!r}, but this is the log of {stream!r}"
    identity = found.metadata.id
    return None if identity and fits_header(identity) else _UNFIT_ID
