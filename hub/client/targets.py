"""What a read of streams is of, as a path and parameters.

Owns the ways to say it: a stream, a category, a join by names or by a selector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from hub.client.connection import Parameters, segment
from hub.client.payloads import to_json
from hub.client.values import Query
from hub.errors import InvalidRequest

Number = int | str
"""A revision or position; from the end on if it is negative; `"start"` or `"end"`."""


class Target(Struct, frozen=True):
    """A path of the hub, with parameters."""

    path: str
    params: Parameters


def target_of(
    stream: str | None,
    category: str | None,
    streams: Sequence[str] | None,
    selector: Sequence[Any] | None,
    filter: Mapping[str, Any] | None,  # noqa: A002
) -> Target:
    """The one that is given of the first four. Raises `InvalidRequest` if it is not one."""
    if isinstance(streams, str):
        raise InvalidRequest(f"'streams' is a list of names: [{streams!r}] is one")
    given = [each for each in (stream, category, streams, selector) if each is not None]
    if len(given) != 1:
        raise InvalidRequest("give one of 'stream', 'category', 'streams', 'selector'")
    params: dict[str, str | int | None] = {}
    if stream is not None:
        path = segment(stream)
    elif category is not None:
        path = "category/" + segment(category)
    else:
        path = "join"
        if streams is not None:
            params["streams"] = ",".join(streams)
        else:
            params["selector"] = to_json(selector).decode()
    return Target("/streams/" + path, {**params, "filter": _json(filter)})


def target_of_query(query: Query) -> Target:
    """What a query asks for. Raises `InvalidRequest` if it asks for nothing."""
    alone = [bool(query.types or query.tags), bool(query.items), query.selector is not None]
    if sum(alone) != 1:
        raise InvalidRequest("a query needs 'types' and 'tags', or 'items', or a 'selector'")
    params: dict[str, str | int | None] = {"filter": _json(query.filter)}
    if query.selector is not None:
        params["selector"] = to_json(query.selector).decode()
    else:
        own = {"types": query.types, "tags": query.tags}
        items = query.items or [{key: value for key, value in own.items() if value}]
        params["query"] = to_json({"items": items}).decode()
    return Target("/query", params)


def window(**parts: Number | None) -> str:
    """The end of a path that says which part is asked for."""
    given = [(name.strip("_"), value) for name, value in parts.items() if value is not None]
    return "".join(f"/{name}/{segment(str(value))}" for name, value in given)


def _json(value: Any) -> str | None:
    return None if value is None else to_json(value).decode()
