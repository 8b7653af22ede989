"""Stores and scopes for Hypothesis, each scope with a plain test that says the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from hub.matcher import compile_matcher
from hub.selector import parse_selector, query_of_items, query_of_types
from hub.storage.plan import Scope
from tests.storage.world import NAMES, Placed, World

TYPES = ["A", "B", "C", "log-a"]
TAGS = ["x", "y", "B"]
VIEWS = {
    "view": {"payload": {"type": ["A", "C"]}},
    "cat-view": {"stream": ["log-a", "log-b"], "payload": {"n": {"$gt": 3}}},
}

payloads = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES), "n": st.integers(0, 6)},
    optional={"tags": st.lists(st.sampled_from(TAGS), max_size=2, unique=True)},
)
groups = st.lists(
    st.tuples(st.sampled_from(sorted(NAMES)), st.lists(payloads, min_size=1, max_size=6)),
    min_size=1,
    max_size=20,
)
names = st.sampled_from(
    [*NAMES, *TYPES, *VIEWS, *(f"tags/{tag}" for tag in TAGS), "unknown", "tags/unknown"]
)
selectors = st.one_of(
    names,
    st.recursive(
        st.lists(names, min_size=1, max_size=3),
        lambda inner: st.lists(st.one_of(names, inner), min_size=1, max_size=3),
        max_leaves=8,
    ),
)
items = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "types": st.lists(st.sampled_from([*TYPES, "unknown"]), max_size=2, unique=True),
            "tags": st.lists(st.sampled_from([*TAGS, "unknown"]), max_size=2, unique=True),
        },
    ),
    min_size=1,
    max_size=3,
)
matchers = st.sampled_from(
    [
        {},
        {"stream": "log-a"},
        {"stream": ["log-a", "cat/2"]},
        {"payload": {"type": "A"}},
        {"payload": {"type": ["A", "B"], "n": {"$gte": 2, "$lt": 5}}},
        {"stream": {"$ne": "log-a"}, "payload": {"tags": {"$has": "x"}}},
        {"metadata": {"streamVersion": {"$gt": 2}}},
        {"payload": {"type": "unknown"}},
    ]
)
streams = st.lists(st.sampled_from([*NAMES, *VIEWS, "unknown"]), max_size=4, unique=True)


def selected(spec: Any, event: Placed, depth: int = 0) -> bool:
    """Whether a selector means an event, as it is defined."""
    if isinstance(spec, list):
        parts = [selected(each, event, depth + 1) for each in spec]
        return all(parts) if depth % 2 else any(parts)
    labels = event.labels
    view = VIEWS.get(spec)
    return (
        spec in (event.stream, labels.type)
        or (spec.startswith("tags/") and spec[5:] in labels.tags)
        or (view is not None and compile_matcher(view).matches_document(event.document))
    )


def queried(items: list[dict[str, list[str]]], event: Placed) -> bool:
    labels = event.labels
    return any(
        (not item.get("types") or labels.type in item["types"])
        and all(tag in labels.tags for tag in item.get("tags", []))
        for item in items
    )


def in_streams(wanted: list[str], event: Placed) -> bool:
    return event.stream in wanted or any(
        compile_matcher(VIEWS[name]).matches_document(event.document)
        for name in wanted
        if name in VIEWS
    )


Test = Callable[[Placed], bool]


@st.composite
def scopes(draw: st.DrawFn) -> tuple[Scope, Test]:
    """A scope, and the same as a plain test."""
    tests: list[Test] = []
    scope = Scope()
    kind = draw(st.sampled_from(["selector", "items", "types", "none", "none"]))
    if kind == "selector":
        spec = draw(selectors)
        scope.selector = parse_selector(spec, allow_all=True)
        tests.append(lambda event: selected(spec, event))
    elif kind == "items":
        wanted = draw(items)
        scope.selector = query_of_items({"items": wanted})
        tests.append(lambda event: queried(wanted, event))
    elif kind == "types":
        types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3))
        scope.selector = query_of_types(types)
        tests.append(lambda event: event.labels.type in types)
    if draw(st.booleans()):
        only = draw(streams)
        scope.streams = only
        tests.append(lambda event: in_streams(only, event))
    if draw(st.booleans()):
        matcher = compile_matcher(draw(matchers))
        scope.matcher = matcher
        tests.append(lambda event: matcher.matches_document(event.document))
    return scope, lambda event: all(test(event) for test in tests)


def make_world(directory: Path) -> World:
    world = World(directory)
    world.derived.update({name: compile_matcher(spec) for name, spec in VIEWS.items()})
    return world
