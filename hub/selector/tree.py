"""What a selector is: a tree of ORs and ANDs over names, and a test made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

ALL = "_all"
"""The name that selects every event."""

TAGS = "tags/"
"""What stands before a tag where a name stands."""

_Test = Callable[[str, str, Collection[str], Collection[str]], bool]
_decode = msgspec.json.Decoder().decode


class Kind(Enum):
    """What a term names."""

    NAME = "name"  # a stream, a type, a derived stream, or a tag behind "tags/"
    TYPE = "type"
    TAG = "tag"


class Term(Struct, frozen=True):
    """One name; that of a tag without `tags/`."""

    kind: Kind
    name: str


class AnyOf(Struct, frozen=True):
    """The events that at least one of two or more parts selects. No part is an `AnyOf`."""

    parts: tuple[Node, ...]


class AllOf(Struct, frozen=True):
    """The events that each of two or more parts selects. No part is an `AllOf`."""

    parts: tuple[Node, ...]


class Everything(Struct, frozen=True):
    """Every event. It is never part of something else."""


Node = Term | AnyOf | AllOf | Everything

EVERYTHING = Everything()


class Selector:
    """A selector in its simplest form. Immutable; equal to another if their texts are equal.

    `root` is the tree. `text` tells it as canonical JSON, with the kinds of its
    terms; parts are sorted and told once.
    """

    __slots__ = ("_plain", "_test", "root", "text")

    def __init__(self, root: Node, plain: object) -> None:
        """For the functions below; `plain` is the form that goes out."""
        self.root = root
        self.text = _text(root)
        self._plain = json.dumps(plain)
        self._test = _test(root)

    def plain(self) -> Any:
        """The selector as JSON value, as it was given, or as a query is told."""
        return _decode(self._plain)

    def terms(self) -> frozenset[Term]:
        """Every term in it. Only `_all` has none."""
        return frozenset(_terms(self.root))

    def matches(
        self, stream: str, event_type: str, tags: Collection[str], derived: Collection[str]
    ) -> bool:
        """Whether an event is meant; `derived`: the derived streams that contain it."""
        return self._test(stream, event_type, tags, derived)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Selector({self.text})"


def any_of(parts: list[Node]) -> Node:
    if EVERYTHING in parts:
        return EVERYTHING
    flat = {each for part in parts for each in (part.parts if type(part) is AnyOf else [part])}
    return AnyOf(tuple(sorted(flat, key=_text))) if len(flat) > 1 else flat.pop()


def all_of(parts: list[Node]) -> Node:
    flat = {each for part in parts for each in (part.parts if type(part) is AllOf else [part])}
    flat.discard(EVERYTHING)
    if len(flat) > 1:
        return AllOf(tuple(sorted(flat, key=_text)))
    return flat.pop() if flat else EVERYTHING


def _terms(node: Node) -> Iterator[Term]:
    if isinstance(node, Term):
        yield node
    elif isinstance(node, AnyOf | AllOf):
        for part in node.parts:
            yield from _terms(part)


def _text(node: Node) -> str:
    return compact(_described(node))


def _described(node: Node) -> object:
    if isinstance(node, Term):
        return {node.kind.value: node.name}
    if isinstance(node, AnyOf):
        return {"anyOf": [_described(part) for part in node.parts]}
    if isinstance(node, AllOf):
        return {"allOf": [_described(part) for part in node.parts]}
    return ALL


def _test(node: Node) -> _Test:
    """What `Selector.matches` does, the names of an OR looked up at once."""
    if isinstance(node, Everything):
        return lambda *event: True
    if isinstance(node, AllOf):
        needed = [_test(part) for part in node.parts]
        return lambda *event: all(test(*event) for test in needed)
    parts = node.parts if isinstance(node, AnyOf) else (node,)
    others = [_test(part) for part in parts if not isinstance(part, Term)]
    named: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for part in parts:
        if isinstance(part, Term):
            named[part.kind].add(part.name)
    names = named[Kind.NAME]
    types = names | named[Kind.TYPE]
    tagged = named[Kind.TAG] | {name[len(TAGS) :] for name in names if name.startswith(TAGS)}

    def test(stream: str, event_type: str, tags: Collection[str], derived: Collection[str]) -> bool:
        return (
            stream in names
            or event_type in types
            or not tagged.isdisjoint(tags)
            or not names.isdisjoint(derived)
            or any(other(stream, event_type, tags, derived) for other in others)
        )

    return test


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
