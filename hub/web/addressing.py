"""Finds what is read: the stream, join or category that a path and its parameters mean.

Owns the rules of what stands behind `/streams/`, for reads and for consumers.
"""

from __future__ import annotations

from collections.abc import Sequence

from multidict import MultiMapping

from hub.errors import InvalidRequest, UnknownStream
from hub.matcher import Matcher, parse_matcher
from hub.selector import Selector, join_of, parse_selector_text
from hub.streams import Streams, View


async def view_of(streams: Streams, path: Sequence[str], given: MultiMapping[str]) -> View:
    """The view that the segments of a path and the parameters `given` mean.

    Raises `InvalidRequest`, `InvalidName`, `UnknownStream`.
    """
    matcher = filter_of(given)
    if path[:1] == ["category"] and len(path) > 1:
        return streams.category("/".join(path[1:]), matcher)
    if list(path) == ["join"] and (selector := _joined(given)) is not None:
        return streams.join("join", selector, matcher)
    try:
        return await streams.view("/".join(path), matcher)
    except UnknownStream:
        if list(path) != ["join"]:
            raise
        raise InvalidRequest("a join needs 'streams=a,b' or 'selector=[\"a\", \"b\"]'") from None


def _joined(given: MultiMapping[str]) -> Selector | None:
    """The selector of a join; None if the stream called `join` is meant."""
    check_one_of(given, "streams", "selector")
    if "selector" in given:
        return parse_selector_text(given["selector"], allow_all=False)
    if "streams" not in given:
        return None
    names = names_in(given.getall("streams"))
    if not names:
        raise InvalidRequest("'streams' is empty: names with commas between them are right")
    return join_of(names)


def filter_of(given: MultiMapping[str]) -> Matcher | None:
    """The matcher in `filter=`, if there is one."""
    text = given.get("filter")
    return parse_matcher(text) if text else None


def names_in(values: Sequence[str]) -> list[str]:
    """The names in lists with commas."""
    return [name for value in values for each in value.split(",") if (name := each.strip())]


def check_one_of(given: MultiMapping[str], *parameters: str) -> None:
    """Raise `InvalidRequest` if more than one of these is given."""
    both = [each for each in parameters if each in given]
    if len(both) > 1:
        raise InvalidRequest(f"{' and '.join(map(repr, both))} do not go together: give one")
