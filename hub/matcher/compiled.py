"""Matchers, compiled and ready to be asked."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from hub.errors import InvalidRequest
from hub.matcher.predicate import test_for
from hub.matcher.reader import read_slowly, reader_for
from hub.matcher.rules import FIELDS, MATCHER_BYTES, TOO_DEEP, TOO_LONG, checked, text_of

REMEMBERED = 256
"""Compiled matchers that are remembered by their text."""

REMEMBERED_BYTES = 2048
"""Bytes of text up to which a matcher is remembered."""

_decode = msgspec.json.Decoder().decode


class Matcher:
    """A compiled matcher. Immutable; equal to another if their texts are equal.

    `text` is the matcher as canonical JSON: compact, ASCII, keys sorted, numbers
    in one form, members of arrays sorted. `stream_name` is set if it says no more
    than that the stream has this very name. `streams` are the only streams whose
    events can match; None: any.
    """

    __slots__ = ("_payload", "_read", "_tests", "stream_name", "streams", "text")

    def __init__(self, spec: dict[str, Any]) -> None:
        """For `compile_matcher`, which has checked `spec` and gives it away."""
        stream = spec.get("stream")
        self.text = text_of(spec)
        self.streams = _strings(stream)
        self.stream_name: str | None = (
            stream if type(stream) is str and spec.keys() == {"stream"} else None
        )
        self._payload = spec.get("payload")
        self._tests = [test_for(spec[field]) if field in spec else None for field in FIELDS]
        self._read = reader_for(spec)

    def matches(self, stream: str, payload: object, metadata: object) -> bool:
        """Whether an event matches, given as decoded JSON."""
        of_stream, of_payload, of_metadata = self._tests
        return (
            (of_stream is None or of_stream(stream))
            and (of_payload is None or of_payload(payload))
            and (of_metadata is None or of_metadata(metadata))
        )

    def matches_document(self, document: bytes) -> bool:
        """Whether an event matches, given as an NDJSON document.

        Bytes that are no document match nothing but a matcher that says nothing.
        """
        of_stream, of_payload, of_metadata = self._tests
        try:
            event = self._read(document)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            fields = read_slowly(document)
            return all(
                test is None or (field in fields and test(fields[field]))
                for field, test in zip(FIELDS, self._tests, strict=True)
            )
        return (
            (of_stream is None or of_stream(event.stream))
            and (of_payload is None or of_payload(event.payload))
            and (of_metadata is None or of_metadata(event.metadata))
        )

    def types(self, type_key: str) -> frozenset[str] | None:
        """The only values of `payload[type_key]` with which an event can match; None: any."""
        found: set[str] = set()
        for each in self._payload if type(self._payload) is list else [self._payload]:
            fields = each if type(each) is dict else {}
            names = _strings(
                {"$eq": fields["$eq"].get(type_key)} if "$eq" in fields else fields.get(type_key)
            )
            if names is None:
                return None
            found |= names
        return frozenset(found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matcher) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Matcher({self.text})"


def parse_matcher(text: str | bytes) -> Matcher:
    """Compile a matcher given as JSON text; raise `InvalidRequest` if it is none.

    Short texts are remembered with their matcher.
    """
    if len(text) > MATCHER_BYTES:
        raise InvalidRequest(TOO_LONG)
    return _remembered(text) if len(text) <= REMEMBERED_BYTES else _parse(text)


def compile_matcher(spec: object) -> Matcher:
    """Compile a matcher given as decoded JSON; raise `InvalidRequest` if it is none."""
    return Matcher(checked(spec))


def _parse(text: str | bytes) -> Matcher:
    try:
        spec = _decode(text)
    except RecursionError:
        raise InvalidRequest(TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidRequest(f"the matcher is not JSON: {error}") from None
    return compile_matcher(spec)


_remembered = lru_cache(maxsize=REMEMBERED)(_parse)


def _strings(spec: Any) -> frozenset[str] | None:
    """The strings to which a part of a matcher holds a field; None: not to strings."""
    found: set[str] = set()
    for each in spec if type(spec) is list else [spec]:
        value = each.get("$eq") if type(each) is dict else each
        if type(value) is not str:
            return None
        found.add(value)
    return frozenset(found)
