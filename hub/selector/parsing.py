"""Selectors made of names, of decoded JSON, and of queries.

Every refusal is an `InvalidRequest` that says what would be right. Hostile input costs no
more than an answer: depth, names and bytes are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from hub.errors import InvalidRequest
from hub.selector.tree import (
    ALL,
    EVERYTHING,
    TAGS,
    Kind,
    Node,
    Selector,
    Term,
    all_of,
    any_of,
)

SELECTOR_DEPTH = 16
"""How deep the arrays of a selector may be nested."""

SELECTOR_TERMS = 1000
"""Names, types and tags that a selector may have."""

SELECTOR_BYTES = 64 * 1024
"""Bytes that they may have together."""

TEXT_BYTES = 256 * 1024
"""Bytes of JSON text that a selector, a query or a condition may have."""

_SHOWN = 100  # characters of a client's text in a message
_decode = msgspec.json.Decoder().decode


def parse_selector(spec: object, *, allow_all: bool) -> Selector:
    """The selector that decoded JSON says; raise `InvalidRequest` if it says none."""
    return Selector(_Check(allow_all).node(spec, 0), spec)


def parse_selector_text(text: str | bytes, *, allow_all: bool) -> Selector:
    """The selector that JSON text says; raise `InvalidRequest` if it says none."""
    return parse_selector(decoded("the selector", text), allow_all=allow_all)


def join_of(names: Iterable[str]) -> Selector:
    """The events that at least one of these names selects. `_all` cannot be one."""
    return parse_selector(list(names), allow_all=False)


def query_of_types(types: Iterable[str]) -> Selector:
    """The events of these types, whatever streams are called."""
    names = types_of(list(types))
    return Selector(any_of([Term(Kind.TYPE, name) for name in names]), names)


def query_of_items(spec: object) -> Selector:
    """The events that `{"items": [{"types": […], "tags": […]}, …]}` means, or JSON text of it.

    At least one item must hold: one of its types, if it has any, and each of its tags.
    """
    if isinstance(spec, str | bytes):
        spec = decoded("the query", spec)
    items = object_of("the query", spec, {"items"}).get("items")
    if type(items) is not list or not items:
        raise InvalidRequest(
            'the query has no items: {"items": [{"types": ["A"], "tags": ["b"]}]} is right'
        )
    check = _Check()
    nodes: list[Node] = []
    plain: list[object] = []
    for item in items:
        fields = object_of("an item of the query", item, {"types", "tags"})
        types = _names("types", fields["types"], check) if "types" in fields else []
        tags = _names("tags", fields["tags"], check) if "tags" in fields else []
        if not types and not tags:
            check.count(ALL)
        node, form = _item(types, tags)
        nodes.append(node)
        plain.append(form)
    return Selector(any_of(nodes), plain)


class _Check:
    """Checks the names of one selector and counts them."""

    def __init__(self, allow_all: bool = True) -> None:
        self._allow_all = allow_all
        self._terms = 0
        self._bytes = 0

    def node(self, spec: object, depth: int) -> Node:
        """The tree for a part that lies in `depth` arrays."""
        if isinstance(spec, str):
            return self._term(spec)
        if not isinstance(spec, list):
            raise InvalidRequest(
                "a selector is a name or an array of names and arrays, not "
                f'{_shown(spec)}: ["a", ["b", "c"]] means a, or else b and c'
            )
        if depth == SELECTOR_DEPTH:
            raise InvalidRequest(f"the selector is nested deeper than {SELECTOR_DEPTH} levels")
        if not spec:
            raise InvalidRequest("the selector has an empty array, which means nothing")
        parts = [self.node(each, depth + 1) for each in spec]
        return all_of(parts) if depth % 2 else any_of(parts)

    def _term(self, name: str) -> Node:
        self.count(name)
        if name != ALL:
            if not name:
                raise InvalidRequest("the selector has an empty name")
            return Term(Kind.NAME, name)
        if not self._allow_all:
            raise InvalidRequest("'_all' cannot be joined with others: it is every event already")
        return EVERYTHING

    def count(self, name: str) -> None:
        """Take in one more name; raise `InvalidRequest` if these are too many."""
        self._terms += 1
        try:
            self._bytes += len(name.encode())
        except UnicodeEncodeError:
            raise InvalidRequest("the selector has half of a surrogate pair") from None
        if self._terms > SELECTOR_TERMS:
            raise InvalidRequest(f"the selector has more than {SELECTOR_TERMS} names")
        if self._bytes > SELECTOR_BYTES:
            raise InvalidRequest(f"the names of the selector have more than {SELECTOR_BYTES} bytes")


def _names(what: str, names: object, check: _Check) -> list[str]:
    """Types or tags as given, each once."""
    if not isinstance(names, list) or not all(type(name) is str and name for name in names):
        raise InvalidRequest(f"{what} is an array of strings that are not empty")
    for name in names:
        check.count(name)
    return list(dict.fromkeys(names))


def types_of(types: object) -> list[str]:
    """Types as given, at least one, each once."""
    names = _names("types", types, _Check())
    if not names:
        raise InvalidRequest("types is empty: it is an array with at least one type")
    return names


def _item(types: list[str], tags: list[str]) -> tuple[Node, object]:
    """An item of a query, as a tree and in plain form."""
    plain: list[object] = [TAGS + tag for tag in tags]
    parts: list[Node] = [Term(Kind.TAG, tag) for tag in tags]
    if types:
        plain.append(types[0] if len(types) == 1 else types)
        parts.append(any_of([Term(Kind.TYPE, name) for name in types]))
    if not plain:
        return EVERYTHING, ALL
    return all_of(parts), plain[0] if len(plain) == 1 and len(types) < 2 else plain


def object_of(what: str, value: object, keys: set[str]) -> dict[str, Any]:
    """Return `value` if it is an object with no other keys."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} is a JSON object, not {_shown(value)}")
    for key in value:
        if key not in keys:
            raise InvalidRequest(
                f"{what} has a key {_shown(key)}: only {', '.join(sorted(keys))} can be"
            )
    return value


def decoded(what: str, text: str | bytes) -> Any:
    """What JSON text of a client says."""
    if len(text) > TEXT_BYTES:
        raise InvalidRequest(f"{what} has more than {TEXT_BYTES} bytes")
    try:
        return _decode(text)
    except RecursionError:
        raise InvalidRequest(f"{what} is nested too deep") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidRequest(f"{what} is not JSON: {error}") from None


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…")
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {dict: "an object", list: "an array"}
    return kinds.get(type(value), "a number")
