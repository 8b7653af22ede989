"""What a client sends to commit events to a stream, made ready to be stored.

Owns the body of a commit: which members it has, what an event must be, and the
compact bytes that are kept. Numbers keep their digits. It must not know what
becomes of it.
"""

from __future__ import annotations

import random
import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from hub.document import OWN_METADATA, Draft, Keys, compact_payload, payload_labels_reader
from hub.errors import InvalidEvent, InvalidRequest, TooLarge
from hub.event import Limits, check_size, check_type
from hub.formats import NOT_JSON, check_utf8
from hub.selector import Condition, parse_condition

ENVELOPE = 256
"""About how many bytes a document has beside its payload and a user's metadata."""

MEMBERS = 16
"""Commas for each object up to which a large commit need not be counted before it is decoded."""

_ANY = frozenset({"any"})
_EMPTY = frozenset({"empty", "emptystream"})
_NUMBER = re.compile(r"-1|[0-9]{1,18}")
_STRING = rb'"(?:[^"\\]|\\.)*+"?'
_FLAT = rb'[^][{}"]*+(?:' + _STRING + rb'[^][{}"]*+)*+'
_TOKEN = re.compile(_STRING + rb"|[][{}]", re.DOTALL)
# What holds no more brackets is one part: the less there is to look at.
_PART = re.compile(rb"\{" + _FLAT + rb"\}|\[" + _FLAT + rb"\]|" + _STRING + rb"|[][{},]", re.DOTALL)
_STEPS = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
_SHOWN = 100  # characters of a client's value in a message
_SHAPE = '{"events": [{"type": "OrderPlaced"}], "expectedVersion": 3}'


class _Body(Struct, forbid_unknown_fields=True, rename="camel"):
    events: list[Raw] | UnsetType = UNSET
    expected_version: Any = None
    condition: Any = None
    metadata: Raw = Raw(b"null")


class Commit(Struct):
    """A commit that is sound in itself."""

    draft: Draft
    expected: int | None  # the version that the stream must have
    condition: Condition | None


members_of = msgspec.json.Decoder(dict[str, Raw]).decode
"""The members of a JSON object, each as it stands."""

_decode_body = msgspec.json.Decoder(_Body).decode


def parse_commit(body: bytes, keys: Keys, limits: Limits, most: int) -> Commit:
    """The commit that a request's body says; all of it may take `most` bytes when stored.

    Raises `InvalidRequest`, `InvalidEvent` for an event that cannot be kept, `TooLarge`.
    """
    _check_count(body, most)
    try:
        check_utf8(body)
        fields = _decode_body(body)
    except (InvalidEvent, *NOT_JSON) as error:
        raise InvalidRequest(f"the commit cannot be read ({error}); {_SHAPE} is right") from None
    if fields.events is UNSET or not fields.events:
        raise InvalidRequest(f"the commit has no events; {_SHAPE} is right")
    metadata = _metadata_of(fields.metadata, limits)
    count = len(fields.events)
    if len(body) + (ENVELOPE + len(metadata)) * (count - 1) > most:
        raise TooLarge(
            f"{count} events, each with {len(metadata)} bytes of metadata and {ENVELOPE} of the "
            f"hub's own, are more than {most} bytes, the limit for a request"
        )
    draft = Draft([], [], _commit_id(), metadata)
    read = payload_labels_reader(keys)
    for number, event in enumerate(fields.events, 1):
        try:
            payload = compact_payload(bytes(event))
            check_size(len(payload), limits.event_bytes)
            labels = read(payload)
            check_type(labels.type, limits.type_bytes)
        except InvalidEvent as error:
            raise InvalidEvent(f"event {number}: {error.reason}") from None
        draft.payloads.append(payload)
        draft.types.append(labels.type)
    condition = None if fields.condition is None else parse_condition(fields.condition)
    return Commit(draft, _expected(fields.expected_version), condition)


def _check_count(body: bytes, most: int) -> None:
    """Raise `TooLarge` if a body has more events: to decode them would stop everybody else.

    Goes through it only if it may have, event for event; others have their turn meanwhile.
    """
    events = most // ENVELOPE + 1
    if len(body) <= events:
        return
    objects = body.count(b"{")
    if objects <= events and body.count(b",") < events + MEMBERS * objects:
        return
    at, depth = 0, 0
    while found := _TOKEN.search(body, at):
        at = found.end()
        depth += _STEPS.get(found[0], 0)
        if depth == 2 and found[0] == b"[":
            at, depth = _check_array(body, at, most), 1


def _check_array(body: bytes, at: int, most: int) -> int:
    """The same for one array; return where it ends."""
    depth = count = 1
    for found in _PART.finditer(body, at):
        token = found[0]
        if token == b",":
            count += depth == 1
            if count > most // ENVELOPE + 1:
                raise TooLarge(
                    f"{count} events or more, each with {ENVELOPE} bytes of the hub's own, are "
                    f"more than {most} bytes, the limit for a request"
                )
        else:
            depth += _STEPS.get(token, 0)
            if not depth:
                return found.end()
    return len(body)


_bits = random.Random().getrandbits  # noqa: S311 - it must be unique, not secret


def _commit_id() -> str:
    """A random UUID (RFC 9562, version 4)."""
    text = f"{_bits(128):032x}"
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _metadata_of(given: Raw, limits: Limits) -> bytes:
    """The members of a user's metadata, each after a comma."""
    text = bytes(given)
    if text == b"null":
        return b""
    try:
        text = compact_payload(text)
    except InvalidEvent as error:
        raise InvalidRequest(f"the commit's metadata: {error.reason}") from None
    own = OWN_METADATA.intersection(members_of(text))
    if own:
        raise InvalidRequest(f"the hub itself sets {sorted(own)[0]!r} in the metadata")
    check_size(len(text), limits.event_bytes)
    return b"," + text[1:-1] if text != b"{}" else b""


def _expected(value: Any) -> int | None:
    """The version that `expectedVersion` says; None if it may be any."""
    if value is None:
        return None
    if type(value) is str:
        word = value.strip().lower()
        if word in _ANY:
            return None
        if word in _EMPTY:
            return 0
        value = int(word) if _NUMBER.fullmatch(word) else value
    if value == -1 and type(value) is int:  # what node-event-storage calls "any"
        return None
    if type(value) is not int or value < 0:
        raise InvalidRequest(
            f"expectedVersion is {repr(value)[:_SHOWN]}: a whole number from 0 on, 'any' or "
            "'empty' are right"
        )
    return value
