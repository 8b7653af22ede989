"""NDJSON documents: the lines of logs that commits made, and TSV rows as such lines.

Owns every byte of a document:
`{"stream":…,"payload":{…},"metadata":{"id":…,"commitId":…,"committedAt":…,
"commitVersion":…,"commitSize":…,"streamVersion":…, user metadata}}`, compact, keys
in this order. `commitVersion` counts from 0 to `commitSize` - 1 inside one commit,
so that a torn one is seen; `streamVersion` is the version of the stream before the
event. A line that somebody wrote by hand may have other keys, another order of
them, and white space. It must not know files, sockets or the TSV line (`formats`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Raw, Struct, ValidationError

from hub.errors import InvalidEvent
from hub.event import IdOrder
from hub.formats import LINE_BREAK, NOT_JSON, Batch, Row, check_utf8

OWN_METADATA = frozenset(
    {"id", "commitId", "committedAt", "commitVersion", "commitSize", "streamVersion"}
)
"""Keys of the metadata that the hub sets; user metadata cannot have them."""

TYPE_KEY = "type"
TAGS_KEY = "tags"

NESTING = 256
"""How deep a payload's objects and arrays may stand in each other. The decoder's own limit is
what is left of Python's stack, so that what one thread takes another might not read."""

_TOO_DEEP = f"its objects and arrays are nested deeper than {NESTING} levels"

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_STEPS = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")  # as signed: +1, -1
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_UNFIT_FOR_FIELD = re.compile("[\t\n\r\0]")

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_string = msgspec.json.Decoder(str).decode


class Keys(Struct, frozen=True):
    """The keys of a payload that hold the event's type and its tags."""

    type: str = TYPE_KEY
    tags: str = TAGS_KEY


KEYS = Keys()


class Metadata(Struct, gc=False, rename="camel"):
    """What the hub itself reads of a document's metadata."""

    id: str
    commit_version: int = 0
    commit_size: int = 1
    commit_id: str = ""
    stream_version: int | None = None  # it need not stand in a line made by hand


class Parts(Struct, gc=False):
    """A document, its payload and metadata as they stand."""

    stream: str
    payload: Raw
    metadata: Raw


class Draft(Struct):
    """The events of a commit before they have ids and a place.

    `payloads` are compact JSON objects, `metadata` what a user added: members
    of an object as `,"key":value`, or empty. `ids` are those that a client
    gave; where one is empty the hub gives it.
    """

    payloads: list[bytes]
    types: list[str]
    commit_id: str
    metadata: bytes = b""

    @property
    def count(self) -> int:
        """How many events it has."""
        return len(self.payloads)

    def as_batch(self) -> Batch:
        """The events as lines of a channel, which have no room for a user's metadata."""
        lines = [
            b"\t%b\t%b\n" % (kind.encode(), payload)
            for kind, payload in zip(self.types, self.payloads, strict=True)
        ]
        return Batch([b"".join(lines)], self.count, self.count, "", "", IdOrder())


class Labels(Struct, frozen=True, gc=False):
    """What queries find an event by."""

    type: str
    tags: tuple[str, ...] = ()


parts_of = msgspec.json.Decoder(Parts).decode
"""Split a document; raises `msgspec.DecodeError` if it is none."""


class _Meta(Struct, gc=False):
    metadata: Metadata


_metadata_of = msgspec.json.Decoder(_Meta).decode


def metadata_of(document: bytes) -> Metadata:
    """The hub's own metadata of a document. Raises `msgspec.DecodeError`."""
    return _metadata_of(document).metadata


@lru_cache(maxsize=8)
def labels_reader(keys: Keys) -> Callable[[bytes], Labels]:
    """A function from a document to its labels. It raises `msgspec.DecodeError`."""
    return _reader(lambda payload: _struct("Document", payload=payload), keys)


@lru_cache(maxsize=8)
def payload_labels_reader(keys: Keys) -> Callable[[bytes], Labels]:
    """A function from a payload (a JSON object) to its labels. It raises `msgspec.DecodeError`."""
    return _reader(None, keys)


def _reader(
    outer: Callable[[type[Struct]], type[Struct]] | None, keys: Keys
) -> Callable[[bytes], Labels]:
    usual = _labels_type("Labels", keys, str | None, list[str] | None, None)
    # A number need not fit into Python's: labels of another kind are looked at as they stand.
    other = _labels_type("AnyLabels", keys, Raw, Raw, Raw())
    decode = msgspec.json.Decoder(outer(usual) if outer else usual).decode
    decode_other = msgspec.json.Decoder(outer(other) if outer else other).decode

    def read(text: bytes) -> Labels:
        found: Any
        try:
            found = decode(text)
        except ValidationError:
            found = decode_other(text)
            found = found.payload if outer else found
            kind, tags = bytes(found.type), bytes(found.tags)
            return Labels(_string(kind) or "", _strings(tags))
        found = found.payload if outer else found
        return Labels(found.type or "", tuple(found.tags) if found.tags else ())

    return read


def _struct(name: str, **fields: Any) -> type[Struct]:
    return msgspec.defstruct(name, list(fields.items()), gc=False)


def _labels_type(name: str, keys: Keys, kind: Any, tags: Any, default: Any) -> type[Struct]:
    return msgspec.defstruct(
        name,
        [("type", kind, default), ("tags", tags, default)],
        rename={"type": keys.type, "tags": keys.tags},
        gc=False,
    )


def _string(text: bytes) -> str | None:
    return _decode_string(text) if text[:1] == b'"' else None


def _strings(text: bytes) -> tuple[str, ...]:
    parts = [bytes(each) for each in _decode_list(text)] if text[:1] == b"[" else [text]
    return tuple([each for each in map(_string, parts) if each is not None])


class Mark(Struct, frozen=True):
    """What tells the events of one commit: its id, its time in milliseconds since 1970."""

    commit_id: str
    committed_at: int
    size: int
    first: int = 0  # the commitVersion of the first line


def lines_of(draft: Draft, stream: str, version: int, ids: Sequence[bytes], at: int) -> bytes:
    """The lines of a commit to a stream that has `version` events, made `at` this millisecond."""
    payloads = draft.payloads
    count = len(payloads)
    head = _head(stream)
    mark = b'","commitId":"%b","committedAt":%d,"commitVersion":' % (draft.commit_id.encode(), at)
    user = draft.metadata
    if count == 1:  # the usual case
        return b'%b%b,"metadata":{"id":"%b%b0,"commitSize":1,"streamVersion":%d%b}}\n' % (
            head,
            payloads[0],
            ids[0],
            mark,
            version,
            user,
        )
    return b"".join(
        [
            b'%b%b,"metadata":{"id":"%b%b%d,"commitSize":%d,"streamVersion":%d%b}}\n'
            % (head, payload, identity, mark, index, count, version + index, user)
            for index, (payload, identity) in enumerate(zip(payloads, ids, strict=True))
        ]
    )


def documents(
    rows: Iterable[Sequence[bytes]],
    stream: str,
    revision: int,
    only: bytes | None = None,
    mark: Mark | None = None,
    keys: Keys = KEYS,
) -> bytes:
    """Rows of TSV as documents, the first row being event `revision` of `stream`.

    With `only`, just the events of that type; with `mark`, as events of one commit.
    """
    head = _head(stream)
    parts: list[bytes] = []
    middle = b',"streamVersion":'
    for version, (identity, event, data) in enumerate(rows, revision - 1):
        if only is not None and event != only:
            continue
        if mark:
            middle = (
                b',"commitId":"%b","committedAt":%d,"commitVersion":%d,"commitSize":%d,"streamVersion":'
                % (
                    mark.commit_id.encode(),
                    mark.committed_at,
                    version - revision + 1 + mark.first,
                    mark.size,
                )
            )
        parts += (
            head,
            payload_of(event, data, keys),
            b',"metadata":{"id":',
            msgspec.json.encode(identity.decode()),
            middle,
            b"%d}}\n" % version,
        )
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _head(stream: str) -> bytes:
    return b'{"stream":' + msgspec.json.encode(stream) + b',"payload":'


def payload_of(event: bytes, data: bytes, keys: Keys = KEYS) -> bytes:
    """A TSV event's payload as compact JSON.

    It is the data itself when that is a JSON object, with `type` set from the
    event's type when it has none; numbers keep their digits.
    """
    text = data.replace(LINE_BREAK, b"\n")
    if text.lstrip(b" \t\n")[:1] == b"{" and not _is_too_deep(text):
        try:
            fields = _decode_fields(text)
        except NOT_JSON:
            pass
        else:
            compact = msgspec.json.format(text, indent=-1).strip()
            if not event or keys.type in fields:
                return compact
            tag = b"{%b:%b" % (msgspec.json.encode(keys.type), msgspec.json.encode(event.decode()))
            return tag + (b"," + compact[1:] if fields else b"}")
    return msgspec.json.encode({keys.type: event.decode(), "data": text.decode()})


def compact_payload(text: bytes) -> bytes:
    """A JSON object as a payload: without white space, each number with its digits.

    Raises `InvalidEvent` if it is none, or is nested deeper than `NESTING`.
    """
    check_utf8(text)
    if _is_too_deep(text):
        raise InvalidEvent(_TOO_DEEP)
    try:
        _decode_fields(text)
        return msgspec.json.format(text, indent=-1).strip()
    except NOT_JSON as error:
        raise InvalidEvent(f"it is not a JSON object: {error}") from None


def _is_too_deep(text: bytes) -> bool:
    if text.count(b"{") + text.count(b"[") <= NESTING:  # nearly always
        return False
    steps = memoryview(_STRING.sub(b"", text).translate(_STEPS, _NO_BRACKETS)).cast("b")
    return max(accumulate(steps), default=0) > NESTING


class _Id(Struct, gc=False):
    id: str


class _Row(Struct, gc=False):
    payload: Raw
    metadata: _Id


class _HasId(Struct, gc=False):
    metadata: _Id


_row_of = msgspec.json.Decoder(_Row).decode
_id_of = msgspec.json.Decoder(_HasId).decode


@lru_cache(maxsize=8)
def row_reader(keys: Keys) -> Callable[[bytes], Row]:
    """A function from a document to a TSV row: its id, its type, its payload as compact JSON.

    A type that no field can hold counts as none. It raises `msgspec.DecodeError`.
    """
    typed = msgspec.defstruct(
        "Typed", [("type", str | None, None)], rename={"type": keys.type}, gc=False
    )
    decode_type: Callable[[bytes], Any] = msgspec.json.Decoder(typed).decode
    labels = payload_labels_reader(keys)

    def read(document: bytes) -> Row:
        found = _row_of(document)
        payload = bytes(found.payload)
        try:
            kind = decode_type(payload).type or ""
        except ValidationError:
            kind = labels(payload).type
        if b" " in payload or b"\t" in payload or b"\r" in payload:  # by hand, or in its strings
            payload = msgspec.json.format(payload, indent=-1)
        return [found.metadata.id.encode(), _field(kind), payload]

    return read


def row_of(document: bytes, keys: Keys = KEYS) -> Row:
    """A document as a TSV row, as `row_reader` says."""
    return row_reader(keys)(document)


def id_of(document: bytes) -> bytes:
    """The id of a document, sooner than by `metadata_of`. Raises `msgspec.DecodeError`."""
    return _id_of(document).metadata.id.encode()


def type_of(document: bytes, keys: Keys = KEYS) -> bytes:
    """The type of a document as a TSV row has it. Raises `msgspec.DecodeError`."""
    return _field(labels_reader(keys)(document).type)


def _field(kind: str) -> bytes:
    fits = kind.isprintable() or not _UNFIT_FOR_FIELD.search(kind)  # the first takes no time
    return kind.encode() if fits else b""
