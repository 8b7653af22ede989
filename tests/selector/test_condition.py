"""Conditions, as they go out in a header and come back with a commit."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidRequest
from hub.matcher import compile_matcher
from hub.selector import (
    AllOf,
    AnyOf,
    Condition,
    Kind,
    Node,
    Term,
    parse_condition,
    parse_selector,
    query_of_items,
    query_of_types,
)
from hub.selector.condition import LAST_POSITION, LONG_HEADER
from hub.selector.parsing import TEXT_BYTES
from tests.matcher import naive as matchers
from tests.selector import naive

NAME_A, NAME_B = Term(Kind.NAME, "a"), Term(Kind.NAME, "b")
TYPE_A, TYPE_B = Term(Kind.TYPE, "a"), Term(Kind.TYPE, "b")


def test_the_headers_that_the_issue_shows() -> None:
    query = query_of_items({"items": [{"types": ["OrderPlaced"], "tags": ["featured"]}]})
    assert Condition(query, 7).header() == (
        '{"selector":[["tags/featured","OrderPlaced"]],"noneMatchAfter":7}'
    )
    types = ["OrderPlaced"]
    assert Condition(query_of_types(types), 0, types=types).header() == (
        '{"selector":["OrderPlaced"],"types":["OrderPlaced"],"noneMatchAfter":0}'
    )


def test_many_types_are_told_once() -> None:
    for count, twice in ((100, True), (600, False)):
        types = [f"type-{number:03}" for number in range(count)]
        text = Condition(query_of_types(types), 5, types=types).header()
        assert ('"selector"' in text) == twice
        assert len(text) < LONG_HEADER
        again = parse_condition(text)
        assert again.selector == query_of_types(types)
        assert again.header() == text


def test_a_header_is_ascii() -> None:
    matcher = compile_matcher({"payload": {"é": "😀\n"}})
    text = Condition(query_of_types(["é\n\x7f"]), 1, matcher, ["é\n\x7f"]).header()
    assert text == (
        '{"selector":["\\u00e9\\n\\u007f"],"types":["\\u00e9\\n\\u007f"],"noneMatchAfter":1,'
        '"matcher":{"payload":{"\\u00e9":"\\ud83d\\ude00\\n"}}}'
    )
    assert msgspec.json.decode(text)["matcher"] == {"payload": {"é": "😀\n"}}


@pytest.mark.parametrize(
    ("fields", "root", "plain"),
    [
        ({"selector": "a"}, NAME_A, "a"),
        ({"selector": ["a"]}, NAME_A, ["a"]),
        ({"selector": ["a", "b"]}, AnyOf((NAME_A, NAME_B)), ["a", "b"]),
        ({"types": ["a"]}, TYPE_A, ["a"]),
        ({"types": ["b", "a", "b"]}, AnyOf((TYPE_A, TYPE_B)), ["b", "a"]),
        ({"types": ["a"], "selector": None}, TYPE_A, ["a"]),
        ({"types": None, "selector": ["a"]}, NAME_A, ["a"]),
        # just these types
        ({"types": ["a"], "selector": ["a"]}, TYPE_A, ["a"]),
        ({"types": ["a"], "selector": "a"}, TYPE_A, "a"),
        ({"types": ["ab"], "selector": "ab"}, Term(Kind.TYPE, "ab"), "ab"),
        ({"types": ["a", "b"], "selector": ["b", "a"]}, AnyOf((TYPE_A, TYPE_B)), ["b", "a"]),
        ({"types": ["a", "b"], "selector": ["b", "a", "a"]}, AnyOf((TYPE_A, TYPE_B)), None),
        ({"types": ["_all"], "selector": ["_all"]}, Term(Kind.TYPE, "_all"), ["_all"]),
        # something else
        ({"types": ["a", "b"], "selector": ["a"]}, NAME_A, ["a"]),
        ({"types": ["a"], "selector": ["a", "b"]}, AnyOf((NAME_A, NAME_B)), ["a", "b"]),
        ({"types": ["a", "b"], "selector": [["a", "b"]]}, AllOf((NAME_A, NAME_B)), [["a", "b"]]),
        ({"types": ["a"], "selector": [["a"]]}, NAME_A, [["a"]]),
        ({"types": ["a"], "selector": ["a", ["b"]]}, AnyOf((NAME_A, NAME_B)), ["a", ["b"]]),
        ({"types": ["a"], "selector": ["tags/a"]}, Term(Kind.NAME, "tags/a"), ["tags/a"]),
    ],
)
def test_selector_and_types(fields: dict[str, Any], root: Node, plain: object) -> None:
    spec = {"noneMatchAfter": 3, **fields}
    condition = parse_condition(spec)
    assert condition.selector.root == root
    assert condition.selector.plain() == (fields["selector"] if plain is None else plain)
    assert condition.none_match_after == 3
    assert condition.matcher is None
    assert parse_condition(json.dumps(spec)) == condition
    assert parse_condition(json.dumps(spec).encode()) == condition


def test_a_condition_with_everything() -> None:
    spec = {
        "selector": ["_all"],
        "types": ["a"],
        "noneMatchAfter": LAST_POSITION,
        "matcher": {"stream": "s"},
    }
    condition = parse_condition(spec)
    assert condition.selector == parse_selector("_all", allow_all=True)
    assert condition.matcher == compile_matcher({"stream": "s"})
    assert condition.types == ["a"]
    assert json.loads(condition.header()) == spec
    assert parse_condition({**spec, "matcher": None}).matcher is None
    assert LAST_POSITION == 9_223_372_036_854_775_807  # what the index can hold
    with pytest.raises(AttributeError, match="immutable"):
        condition.none_match_after = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"noneMatchAfter": 1}, "neither a selector nor types"),
        ({"noneMatchAfter": 1, "selector": None}, "neither a selector nor types"),
        ({"noneMatchAfter": 1, "types": []}, "types is empty"),
        ({"noneMatchAfter": 1, "types": [], "selector": ["a"]}, "types is empty"),
        ({"noneMatchAfter": 1, "types": "a"}, "types is an array of strings"),
        ({"noneMatchAfter": 1, "types": [1], "selector": ["a"]}, "types is an array of strings"),
        ({"noneMatchAfter": 1, "selector": []}, "the selector has an empty array"),
        ({"noneMatchAfter": 1, "selector": {}}, "a selector is a name or an array"),
        ({"noneMatchAfter": 1, "selector": "a", "x": 1}, "the condition has a key 'x'"),
        ({"noneMatchAfter": 1, "selector": "a", "matcher": []}, "a matcher is a JSON object"),
        (
            {"noneMatchAfter": 1, "selector": "a", "matcher": {"payload": {"a": {"$x": 1}}}},
            r"unknown operator '\$x'",
        ),
        ({"selector": "a"}, "noneMatchAfter is a position"),
        *(
            ({"selector": "a", "noneMatchAfter": after}, "noneMatchAfter is a position")
            for after in (None, True, False, -1, 1.0, "1", [1], LAST_POSITION + 1, 10**30)
        ),
        ([], "the condition is a JSON object, not an array"),
        (None, "the condition is a JSON object, not null"),
        (5, "the condition is a JSON object, not a number"),
        ("", "the condition is not JSON"),
        ("a", "the condition is not JSON"),
        ('"{}"', "the condition is a JSON object, not '{}'"),
        (b"\xff", "the condition is not JSON"),
        ('{"selector":"a","noneMatchAfter":NaN}', "the condition is not JSON"),
        ('{"selector":"a","noneMatchAfter":1e999}', "the condition is not JSON"),
        ('{"selector":' + "[" * 10_000, "the condition is nested too deep|not JSON"),
        ("[" * 10_000 + "]" * 10_000, "the condition is nested too deep"),
        (" " * TEXT_BYTES + "{}", f"the condition has more than {TEXT_BYTES} bytes"),
    ],
)
def test_what_is_no_condition_is_refused(spec: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse_condition(spec)
    str(caught.value).encode()


@given(
    st.lists(naive.words | st.just("_all"), min_size=1),
    st.none() | matchers.matchers,
    st.integers(0, LAST_POSITION),
)
def test_a_query_by_types_comes_back_as_it_went(types: list[str], spec: Any, after: int) -> None:
    selector = query_of_types(types)
    matcher = None if spec is None else compile_matcher(spec)
    condition = Condition(selector, after, matcher, selector.plain())
    again = parse_condition(condition.header())
    assert again == condition
    assert again.header() == condition.header()
    assert condition.header().isascii()


@given(naive.items, st.lists(naive.events, max_size=5))
def test_a_query_by_items_comes_back_as_no_less(
    items: list[dict[str, list[str]]], events: list[naive.Event]
) -> None:
    query = query_of_items({"items": items})
    again = parse_condition(Condition(query, 5).header())
    assert again.selector.plain() == query.plain()
    assert again.header() == Condition(query, 5).header()
    for event in events:
        assert again.selector.matches(*event) or not query.matches(*event)


@given(naive.specs, naive.specs)
def test_conditions_are_values(one: Any, other: Any) -> None:
    first, second = (
        parse_condition({"selector": each, "noneMatchAfter": 1}) for each in (one, other)
    )
    assert (first == second) == (first.selector.text == second.selector.text)
