"""Selectors as they are given: names, JSON, queries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidRequest
from hub.selector import (
    EVERYTHING,
    AllOf,
    AnyOf,
    Kind,
    Node,
    Term,
    join_of,
    parse_selector,
    parse_selector_text,
    query_of_items,
    query_of_types,
)
from hub.selector.parsing import SELECTOR_BYTES, SELECTOR_DEPTH, SELECTOR_TERMS, TEXT_BYTES
from tests.selector import naive


def name(text: str) -> Term:
    return Term(Kind.NAME, text)


def kind(text: str) -> Term:
    return Term(Kind.TYPE, text)


def tag(text: str) -> Term:
    return Term(Kind.TAG, text)


A, B, C, D = map(name, "abcd")


@pytest.mark.parametrize(
    ("spec", "root"),
    [
        ("a", A),
        (["a"], A),
        ([["a"]], A),
        ([[["a"]]], A),
        (["a", "b"], AnyOf((A, B))),
        ([["a", "b"]], AllOf((A, B))),
        ([[["a", "b"]]], AnyOf((A, B))),
        ([[[["a", "b"]]]], AllOf((A, B))),
        (["a", "b", ["c", "d"]], AnyOf((AllOf((C, D)), A, B))),
        ([["a", "b", ["c", "d"]]], AllOf((AnyOf((C, D)), A, B))),
        ([["a", ["b", ["c", "d"]]]], AllOf((AnyOf((AllOf((C, D)), B)), A))),
        ("tags/a", name("tags/a")),
        ("a,b", name("a,b")),
        ("_all", EVERYTHING),
        (["_all"], EVERYTHING),
        (["a", "_all"], EVERYTHING),
        ([["a", "_all"]], A),
        ("_ALL", name("_ALL")),
        ("tags/_all", name("tags/_all")),
    ],
)
def test_depth_decides(spec: object, root: Node) -> None:
    selector = parse_selector(spec, allow_all=True)
    assert selector.root == root
    assert selector.plain() == spec
    assert parse_selector_text(json.dumps(spec), allow_all=True) == selector


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "an empty array"),
        ([[]], "an empty array"),
        (["a", []], "an empty array"),
        ("", "an empty name"),
        (["a", ""], "an empty name"),
        (None, "not null"),
        (True, "not true"),
        (5, "not a number"),
        (["a", 1.5], "not a number"),
        ({"a": 1}, "not an object"),
        (["a", [None]], "not null"),
        ("\ud800", "half of a surrogate pair"),
        (["a", ["\udfff"]], "half of a surrogate pair"),
    ],
)
@pytest.mark.parametrize("allow_all", [True, False])
def test_what_is_no_selector_is_refused(spec: object, message: str, allow_all: bool) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse_selector(spec, allow_all=allow_all)
    str(caught.value).encode()


@pytest.mark.parametrize("spec", ["_all", ["_all"], ["a", ["b", ["_all"]]]])
def test_all_cannot_be_joined(spec: object) -> None:
    with pytest.raises(InvalidRequest, match="'_all' cannot be joined"):
        parse_selector(spec, allow_all=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the selector is not JSON"),
        ("a", "the selector is not JSON"),
        ('["a"', "the selector is not JSON"),
        ('["\\ud800"]', "the selector is not JSON"),
        (b'["\xff"]', "the selector is not JSON"),
        ("NaN", "the selector is not JSON"),
        ("1e999", "the selector is not JSON"),
        ("[" * 10_000 + '"a"' + "]" * 10_000, "the selector is nested too deep"),
        (" " * TEXT_BYTES + '"a"', f"the selector has more than {TEXT_BYTES} bytes"),
    ],
)
def test_text_that_is_no_selector_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_selector_text(text, allow_all=True)


def test_text_has_its_limit() -> None:
    text = '"a"'.ljust(TEXT_BYTES)
    assert parse_selector_text(text, allow_all=True).root == A
    with pytest.raises(InvalidRequest, match=f"more than {TEXT_BYTES} bytes"):
        parse_selector_text(text + " ", allow_all=True)


def nested(levels: int) -> Any:
    spec: Any = "a"
    for _ in range(levels):
        spec = [spec]
    return spec


def test_limits() -> None:
    assert parse_selector(nested(SELECTOR_DEPTH), allow_all=True).root == A
    for levels in (SELECTOR_DEPTH + 1, 10_000):
        with pytest.raises(InvalidRequest, match=f"nested deeper than {SELECTOR_DEPTH} levels"):
            parse_selector(nested(levels), allow_all=True)
    makers: list[Callable[[list[str]], object]] = [
        join_of,
        query_of_types,
        lambda names: parse_selector([[each] for each in names], allow_all=True),
        lambda names: query_of_items({"items": [{"types": names}]}),
        lambda names: query_of_items({"items": [{"tags": [each]} for each in names]}),
    ]
    for make in makers:
        make([str(number) for number in range(SELECTOR_TERMS)])
        with pytest.raises(InvalidRequest, match=f"more than {SELECTOR_TERMS} names"):
            make([str(number) for number in range(SELECTOR_TERMS + 1)])
        with pytest.raises(InvalidRequest, match=f"more than {SELECTOR_TERMS} names"):
            make(["a"] * (SELECTOR_TERMS + 1))
        make(["x" * SELECTOR_BYTES])
        for names in (["x" * SELECTOR_BYTES, "a"], ["é" * (SELECTOR_BYTES // 2), "a"]):
            with pytest.raises(InvalidRequest, match=f"more than {SELECTOR_BYTES} bytes"):
                make(names)
    query_of_items({"items": [{}] * SELECTOR_TERMS})
    with pytest.raises(InvalidRequest, match=f"more than {SELECTOR_TERMS} names"):
        query_of_items({"items": [{"types": [], "tags": []}] * (SELECTOR_TERMS + 1)})


def test_hostile_input_costs_no_more_than_an_answer() -> None:
    started = time.perf_counter()
    specs: list[Any] = [
        ["x" * 10_000] * 100_000,
        [["a"]] * 1_000_000,
        [[[["a"] * 999]]] * 1_000_000,
        nested(100_000),
        "x" * 10_000_000,
        {"x" * 10_000_000: 1},
    ]
    for spec in specs:
        with pytest.raises(InvalidRequest) as caught:
            parse_selector(spec, allow_all=True)
        assert len(str(caught.value)) < 400
    with pytest.raises(InvalidRequest) as caught:
        query_of_items({"items": [{"x" * 10_000_000: 1}]})
    assert len(str(caught.value)) < 400
    assert time.perf_counter() - started < 5
    while specs[3] != "a":  # level by level, so that freeing it takes no stack
        [specs[3]] = specs[3]


@given(naive.specs, st.lists(naive.events, max_size=5))
def test_a_selector_is_as_written(spec: Any, events: list[naive.Event]) -> None:
    selector = parse_selector(spec, allow_all=True)
    assert [selector.matches(*each) for each in events] == [
        naive.selects(spec, each) for each in events
    ]


def test_joins() -> None:
    assert join_of(["b", "a"]).root == AnyOf((A, B))
    assert join_of(["b", "a"]).plain() == ["b", "a"]
    assert join_of(iter(["a"])).root == A
    assert join_of(["a", "tags/b"]).root == AnyOf((A, name("tags/b")))
    for names, message in (
        ([], "an empty array"),
        (["a", ""], "an empty name"),
        (["a", "_all"], "'_all' cannot be joined"),
        (["\ud800"], "half of a surrogate pair"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            join_of(names)


def test_queries_by_types() -> None:
    selector = query_of_types(["OrderPlaced"])
    assert selector.root == kind("OrderPlaced")
    assert selector.plain() == ["OrderPlaced"]
    selector = query_of_types(iter(["B", "A", "B"]))
    assert selector.root == AnyOf((kind("A"), kind("B")))
    assert selector.plain() == ["B", "A"]
    assert selector.matches("s", "A", [], [])
    assert not selector.matches("A", "C", ["A"], ["A"])
    assert query_of_types(["_all"]).root == kind("_all")
    for types, message in (
        ([], "types is empty"),
        (["a", ""], "strings that are not empty"),
        (["\ud800"], "half of a surrogate pair"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            query_of_types(types)


TX, TY, KA, KB = tag("x"), tag("y"), kind("a"), kind("b")


@pytest.mark.parametrize(
    ("items", "root", "plain"),
    [
        ([{"types": ["a"]}], KA, ["a"]),
        ([{"types": ["a"], "tags": []}], KA, ["a"]),
        ([{"types": ["a", "a"]}], KA, ["a"]),
        ([{"types": ["a", "b"]}], AnyOf((KA, KB)), [[["a", "b"]]]),
        ([{"tags": ["x"]}], TX, ["tags/x"]),
        ([{"tags": ["x"], "types": []}], TX, ["tags/x"]),
        ([{"tags": ["x", "x"]}], TX, ["tags/x"]),
        ([{"tags": ["y", "x"]}], AllOf((TX, TY)), [["tags/y", "tags/x"]]),
        ([{"types": ["a"], "tags": ["x"]}], AllOf((TX, KA)), [["tags/x", "a"]]),
        (
            [{"types": ["a"], "tags": ["x", "y"]}],
            AllOf((TX, TY, KA)),
            [["tags/x", "tags/y", "a"]],
        ),
        (
            [{"types": ["a", "b"], "tags": ["x"]}],
            AllOf((AnyOf((KA, KB)), TX)),
            [["tags/x", ["a", "b"]]],
        ),
        ([{}], EVERYTHING, ["_all"]),
        ([{"types": [], "tags": []}], EVERYTHING, ["_all"]),
        ([{"types": ["a"]}, {}], EVERYTHING, ["a", "_all"]),
        ([{"types": ["a"]}, {"tags": ["x"]}], AnyOf((TX, KA)), ["a", "tags/x"]),
        (
            [{"types": ["a", "b"]}, {"types": ["a"], "tags": ["x"]}],
            AnyOf((AllOf((TX, KA)), KA, KB)),
            [[["a", "b"]], ["tags/x", "a"]],
        ),
        ([{"types": ["a"]}, {"types": ["a"]}], KA, ["a", "a"]),
    ],
)
def test_queries_by_items(items: object, root: Node, plain: object) -> None:
    selector = query_of_items({"items": items})
    assert selector.root == root
    assert selector.plain() == plain
    assert query_of_items(json.dumps({"items": items})) == selector
    assert query_of_items(json.dumps({"items": items}).encode()).plain() == plain


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "the query is a JSON object, not an array"),
        (None, "the query is a JSON object, not null"),
        (5, "the query is a JSON object, not a number"),
        ({}, "the query has no items"),
        ({"items": []}, "the query has no items"),
        ({"items": {}}, "the query has no items"),
        ({"items": None}, "the query has no items"),
        ({"items": {"types": ["a"]}}, "the query has no items"),
        ({"items": "a"}, "the query has no items"),
        ({"item": []}, "the query has a key 'item': only items can be"),
        ({"items": [{}], "types": ["a"]}, "the query has a key 'types'"),
        ({"items": ["a"]}, "an item of the query is a JSON object, not 'a'"),
        ({"items": [None]}, "an item of the query is a JSON object, not null"),
        ({"items": [{"type": "a"}]}, "an item of the query has a key 'type': only tags, types"),
        ({"items": [{"types": "a"}]}, "types is an array of strings"),
        ({"items": [{"types": None}]}, "types is an array of strings"),
        ({"items": [{"types": ["a", 1]}]}, "types is an array of strings"),
        ({"items": [{"types": [["a"]]}]}, "types is an array of strings"),
        ({"items": [{"types": [""]}]}, "types is an array of strings that are not empty"),
        ({"items": [{"tags": "x"}]}, "tags is an array of strings"),
        ({"items": [{"tags": [None]}]}, "tags is an array of strings"),
        ({"items": [{"tags": [""]}]}, "tags is an array of strings that are not empty"),
        ({"items": [{"tags": ["\ud800"]}]}, "half of a surrogate pair"),
        ("", "the query is not JSON"),
        ("a", "the query is not JSON"),
        (b"\xff", "the query is not JSON"),
        ('"a"', "the query is a JSON object, not 'a'"),
        ("[" * 10_000 + "]" * 10_000, "the query is nested too deep"),
        ('{"items":[{}]}' + " " * TEXT_BYTES, f"the query has more than {TEXT_BYTES} bytes"),
    ],
)
def test_what_is_no_query_is_refused(spec: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        query_of_items(spec)


@given(naive.items, st.lists(naive.events, max_size=5))
def test_a_query_is_as_written_and_its_plain_form_means_no_less(
    items: list[dict[str, list[str]]], events: list[naive.Event]
) -> None:
    query = query_of_items({"items": items})
    plain = parse_selector(query.plain(), allow_all=True)
    for event in events:
        meant = naive.queried(items, event)
        assert query.matches(*event) == meant
        assert plain.matches(*event) or not meant


@given(naive.items, naive.events)
def test_where_kinds_have_names_of_their_own_the_plain_form_means_the_same(
    items: list[dict[str, list[str]]], event: naive.Event
) -> None:
    stream, event_type, tags, _ = event
    apart = ("s/" + stream, "T" + event_type, ["t" + each for each in tags], ["d"])
    renamed = [
        {
            what: [("T" if what == "types" else "t") + each for each in names]
            for what, names in item.items()
        }
        for item in items
    ]
    plain = parse_selector(query_of_items({"items": renamed}).plain(), allow_all=True)
    assert plain.matches(*apart) == naive.queried(items, event)
