"""Selectors by the rules as they are written, with no thought of speed; and material for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Event = tuple[str, str, list[str], list[str]]
"""Its stream, its type, its tags, the derived streams that contain it."""


def named(name: str, event: Event) -> bool:
    """Whether an event is meant by a name."""
    stream, kind, tags, derived = event
    return (
        name == "_all"
        or name in (stream, kind)
        or name in derived
        or any(name == f"tags/{tag}" for tag in tags)
    )


def selects(spec: Any, event: Event, depth: int = 0) -> bool:
    """Whether a selector in its plain form means an event."""
    if isinstance(spec, str):
        return named(spec, event)
    combine: Callable[[list[bool]], bool] = all if depth % 2 else any
    return combine([selects(each, event, depth + 1) for each in spec])


def queried(items: list[dict[str, list[str]]], event: Event) -> bool:
    """Whether the items of a query mean an event."""
    _, kind, tags, _ = event
    return any(
        (not item.get("types") or kind in item["types"])
        and all(tag in tags for tag in item.get("tags", []))
        for item in items
    )


# The same words for streams, types, tags and derived streams, so that they can be mixed up.
words = st.sampled_from(["a", "b", "c", "tags/a", "é"])
events = st.tuples(
    words, words | st.just(""), st.lists(words, max_size=3), st.lists(words, max_size=2)
)
names = words | st.sampled_from(["tags/b", "tags/tags/a"])
specs = st.recursive(
    names | st.just("_all"), lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=8
)
items = st.lists(
    st.fixed_dictionaries(
        {}, optional={"types": st.lists(words, max_size=3), "tags": st.lists(words, max_size=3)}
    ),
    min_size=1,
    max_size=3,
)
