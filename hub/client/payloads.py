"""Data on its way to the hub and back: text, or anything that JSON can say.

Numbers keep their value. It must not know HTTP.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar, overload

import msgspec

from hub.errors import InvalidEvent
from hub.event import check_id, check_type
from hub.formats import LINE_BREAK, check_utf8

T = TypeVar("T")

_BYTES = (bytes, bytearray, memoryview)
_encode = msgspec.json.Encoder(decimal_format="number").encode


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8. Raises `InvalidEvent` for what JSON cannot say, as NaN."""
    try:
        text = _encode(value)
        if b"null" in text or b"NaN" in text or b"Infinity" in text:  # numbers that are none?
            plain = msgspec.to_builtins(value, builtin_types=(Decimal,))
            json.dumps(plain, default=_checked, allow_nan=False)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidEvent(f"the data cannot be written as JSON: {error}") from None
    return text


def _checked(value: Decimal) -> float:
    return 0.0 if value.is_finite() else float("nan")


def number(text: str) -> float | Decimal:
    """A number with a fraction or an exponent: a float if one reads the same, else a Decimal."""
    value = float(text)
    shortest = repr(value)
    if shortest == text:
        return value
    exact = Decimal(text)
    return value if value - value == 0 and Decimal(shortest) == exact else exact


@lru_cache(maxsize=64)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, float_hook=number)


@overload
def from_json(text: str | bytes) -> Any: ...
@overload
def from_json(text: str | bytes, kind: type[T]) -> T: ...
def from_json(text: str | bytes, kind: Any = Any) -> Any:
    """What a JSON text says, as a `kind` that msgspec knows if one is given.

    Integers of any size stay exact. A number with a fraction is a float if that reads
    the same (1.10 is 1.1), else a `Decimal`. Raises `InvalidEvent`.
    """
    try:
        return _decoder(kind).decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"the data is not the JSON that is asked for: {error}") from None


def id_of(value: str) -> str:
    """An id that some hub takes: how long it may be is the hub's to say. Raises `InvalidEvent`."""
    return check_id(value, sys.maxsize)


def type_of(value: str) -> str:
    """The same of an event's type."""
    return check_type(value, sys.maxsize)


def data_of(data: Any) -> bytes:
    """The bytes to post: text and bytes as they are, all else as JSON."""
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError as error:
            raise InvalidEvent(f"the data is not UTF-8: {error}") from None
    if isinstance(data, _BYTES):
        return bytes(data)
    return to_json(data)


def column_of(data: Any) -> bytes:
    """The same as the last column of a TSV line.

    Raises `InvalidEvent` for what could not be told from a line break there.
    """
    if isinstance(data, str):
        if data.isprintable():  # nearly always
            return data.encode()
        text = data_of(data)
    elif isinstance(data, _BYTES):
        text = bytes(data)
        check_utf8(text)
    else:
        text = to_json(data)
    if LINE_BREAK in text or b"\0" in text:
        raise InvalidEvent("the data holds a NUL or VT (0x0B), which it must not")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text.replace(b"\n", LINE_BREAK) if b"\n" in text else text
