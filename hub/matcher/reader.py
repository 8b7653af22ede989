"""Reading documents as far as a matcher looks at them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from math import isinf
from typing import Any, NoReturn, TypedDict

import msgspec

from hub.matcher.rules import MATCHER_DEPTH, OPERATORS

SHAPES = 256
"""Readers that are remembered: one for each set of fields that a matcher looks at."""

_FEW_KEYS = 16  # beyond, the whole object is decoded
_DEEPEST = 2 * MATCHER_DEPTH
_STRUCTURE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]', re.DOTALL)  # strings and brackets
_typed_dict: Any = TypedDict


def reader_for(spec: dict[str, Any]) -> Callable[[bytes], Any]:
    """A function that decodes of a document no more than a matcher looks at."""
    shape = []
    for field, value in spec.items():
        keys: set[str] = set()
        for each in value if type(value) is list else [value]:
            keys.update(each if type(each) is dict else ())
        whole = not keys.isdisjoint(OPERATORS) or len(keys) > _FEW_KEYS
        shape.append((field, None if whole else tuple(sorted(keys))))
    return _shaped_reader(tuple(shape))


@lru_cache(maxsize=SHAPES)
def _shaped_reader(shape: tuple[tuple[str, tuple[str, ...] | None], ...]) -> Callable[[bytes], Any]:
    fields: list[tuple[str, Any]] = []
    for field, keys in shape:
        kind: Any = Any
        if field == "stream":
            kind = str
        elif keys is not None:
            kind = _typed_dict("Fields", dict.fromkeys(keys, Any), total=False)
        fields.append((field, kind))
    return msgspec.json.Decoder(msgspec.defstruct("Document", fields, gc=False)).decode


def read_slowly(document: bytes) -> dict[str, Any]:
    """A document that holds what the fast reader does not take; empty if it is none.

    That is: numbers beyond a double or of thousands of digits, which stay exact;
    half surrogate pairs; payloads that are no objects; and deep nesting, where what
    is read must not hang on how deep the caller's own stack is.
    """
    try:
        try:
            return _object(document)
        except RecursionError:
            return _object(_shallow(document))
    except ValueError:
        return {}


def _object(document: bytes) -> dict[str, Any]:
    found = json.loads(
        document.decode(), parse_int=Decimal, parse_float=_real, parse_constant=_no_number
    )
    return found if type(found) is dict else {}


def _shallow(document: bytes) -> bytes:
    """The document with nothing in what lies deeper than any matcher looks."""
    parts = []
    depth = kept = 0
    for token in _STRUCTURE.finditer(document):
        mark = token[0]
        if mark in b"[{":
            depth += 1
            if depth == _DEEPEST:
                parts.append(document[kept : token.end()])
                kept = len(document)
        elif mark in b"]}":
            if depth == _DEEPEST:
                kept = token.start()
            depth -= 1
    return b"".join([*parts, document[kept:]])


def _real(text: str) -> float | Decimal:
    value = float(text)
    if isinf(value):
        try:
            return Decimal(text)
        except InvalidOperation:  # an exponent of 19 digits
            pass
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)
