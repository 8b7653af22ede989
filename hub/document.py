"""NDJSON documents: the lines of logs that commits made, and TSV rows as such lines.

Owns every byte of a document:
`{"stream":…,"payload":{…},"metadata":{"id":…,"commitId":…,"committedAt":…,
"commitVersion":…,"commitSize":…,"streamVersion":…, user metadata}}`, compact, keys
in this order. `commitVersion` counts from 0 to `commitSize` - 1 inside one commit,
so that a torn one is seen; `streamVersion` is the version of the stream before the
event. It must not know files, sockets or the TSV line (`formats`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from hub.errors import InvalidEvent
from hub.event import fits_header
from hub.formats import LINE_BREAK, NOT_JSON

OWN_METADATA = frozenset(
    {"id", "commitId", "committedAt", "commitVersion", "commitSize", "streamVersion"}
)
"""Keys of the metadata that the hub sets; user metadata cannot have them."""

TYPE_KEY = "type"
TAGS_KEY = "tags"

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


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
    tags: list[Sequence[str]]
    commit_id: str
    metadata: bytes = b""

    @property
    def count(self) -> int:
        return len(self.payloads)


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
    """A function from a document to its labels."""
    payload = _payload_type(keys)
    outer: Any = msgspec.defstruct("Labelled", [("payload", payload)], gc=False)
    decode = msgspec.json.Decoder(outer).decode
    return lambda document: _labels(decode(document).payload)


@lru_cache(maxsize=8)
def payload_labels_reader(keys: Keys) -> Callable[[bytes], Labels]:
    """A function from a payload (a JSON object) to its labels."""
    decode = msgspec.json.Decoder(_payload_type(keys)).decode
    return lambda payload: _labels(decode(payload))


def _payload_type(keys: Keys) -> type[Struct]:
    fields: list[tuple[str, type, Any]] = [("type", Any, None), ("tags", Any, None)]
    return msgspec.defstruct(
        "Payload", fields, rename={"type": keys.type, "tags": keys.tags}, gc=False
    )


def _labels(payload: Any) -> Labels:
    kind, tags = payload.type, payload.tags
    if tags is None:
        tags = ()
    elif type(tags) is list:
        tags = tuple([tag for tag in tags if type(tag) is str])
    else:
        tags = (tags,) if type(tags) is str else ()
    return Labels(kind if type(kind) is str else "", tags)


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
    if text.lstrip(b" \t\n")[:1] == b"{":
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


def row_of(document: bytes, keys: Keys) -> tuple[bytes, bytes, bytes]:
    """A document as the fields of a TSV row: its id, its type, its payload.

    Raises `InvalidEvent` if it has an id or a type that a line or a header cannot hold.
    """
    parts = parts_of(document)
    identity = metadata_of(document).id
    kind = payload_labels_reader(keys)(bytes(parts.payload)).type
    if not identity or not fits_header(identity):
        raise InvalidEvent("its metadata.id is empty, or holds what a header cannot carry")
    return identity.encode(), kind.encode(), msgspec.json.format(bytes(parts.payload), indent=-1)
