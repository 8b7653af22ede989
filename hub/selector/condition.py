"""Conditions: what must not have happened for a commit to be taken."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from hub.errors import InvalidRequest
from hub.matcher import Matcher, compile_matcher
from hub.selector.parsing import decoded, object_of, parse_selector, query_of_types, types_of
from hub.selector.tree import Selector, compact

LAST_POSITION = 2**63 - 1
"""The highest position that an event can have."""


LONG_HEADER = 8000
"""Characters above which types are told once: clients have limits for a header, from 8 KiB on."""


class Condition(Struct, frozen=True):
    """What must hold for a commit: no event that is meant came after a position.

    Meant is what `selector` selects and `matcher`, if there is one, matches.
    `types` are told beside the selector where it is made of types.
    """

    selector: Selector
    none_match_after: int
    matcher: Matcher | None = None
    types: list[str] | None = None

    def header(self) -> str:
        """The condition as compact ASCII JSON, as `parse_condition` takes it."""
        parts = [f'"selector":{compact(self.selector.plain())}']
        if self.types is not None:
            parts.append(f'"types":{compact(self.types)}')
            if sum(map(len, parts)) > LONG_HEADER:
                del parts[0]  # the types mean it
        parts.append(f'"noneMatchAfter":{self.none_match_after}')
        if self.matcher is not None:
            parts.append(f'"matcher":{self.matcher.text}')
        return "{" + ",".join(parts) + "}"


def parse_condition(spec: object) -> Condition:
    """The condition that decoded JSON, or JSON text of an object, says.

    Raises `InvalidRequest` if it says none.
    """
    if isinstance(spec, str | bytes):
        spec = decoded("the condition", spec)
    keys = {"selector", "types", "noneMatchAfter", "matcher"}
    fields = object_of("the condition", spec, keys)
    given = {key: value for key, value in fields.items() if value is not None}
    after = given.get("noneMatchAfter")
    if type(after) is not int or not 0 <= after <= LAST_POSITION:
        raise InvalidRequest(
            "the condition's noneMatchAfter is a position: an integer from 0 "
            f"to {LAST_POSITION} is right"
        )
    types = types_of(given["types"]) if "types" in given else None
    if "selector" in given:
        selector = parse_selector(given["selector"], allow_all=True)
        if types is not None and _just(selector.plain()) == set(types):
            selector = Selector(query_of_types(types).root, selector.plain())
    elif types is not None:
        selector = query_of_types(types)
    else:
        raise InvalidRequest("the condition has neither a selector nor types")
    matcher = compile_matcher(given["matcher"]) if "matcher" in given else None
    return Condition(selector, after, matcher, types)


def _just(plain: Any) -> set[str] | None:
    """The names of a selector that is no more than names of which any will do."""
    members = plain if isinstance(plain, list) else [plain]
    return set(members) if all(isinstance(each, str) for each in members) else None
