"""What each value of a matcher holds of, and what it does not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from hub.errors import InvalidRequest
from hub.matcher.predicate import test_for as make_test
from hub.matcher.rules import MATCHER_DEPTH, checked
from tests.matcher import naive

BIG = 2**64


def holds(spec: object, value: object) -> bool:
    return make_test(checked({"payload": {"a": spec}})["payload"])({"a": value})


@pytest.mark.parametrize(
    ("spec", "matching", "others"),
    [
        ("x", ["x"], ["", "X", "xx", None, 1, ["x"], {"x": 1}]),
        ("1", ["1"], [1, True]),
        (1, [1, 1.0], [True, "1", 2, None, [1]]),
        (1.5, [1.5, Decimal("1.5")], ["1.5", 1]),
        (0, [0, 0.0, -0.0], [False, None, "", [], {}]),
        (True, [True], [1, 1.0, "true", False, None]),
        (False, [False], [0, 0.0, "", None, True]),
        (None, [None], [0, False, "", "null", [], {}]),
        (BIG + 1, [BIG + 1], [BIG, BIG + 2, float(BIG)]),
        (2**53 + 1, [2**53 + 1], [2**53, 2.0**53]),
        # nested
        ({}, [{}, {"b": 1}], [None, [], 0, "", "{}"]),
        (
            {"b": 1},
            [{"b": 1}, {"b": 1.0, "c": 2}],
            [{}, {"b": 2}, {"c": 1}, [{"b": 1}], {"b": [1]}],
        ),
        ({"b": {"c": "x"}}, [{"b": {"c": "x", "d": 1}}], [{"b": "x"}, {"b": {}}, {"c": "x"}]),
        ({"b": None}, [{"b": None}], [{}, {"b": 0}]),
        # any of
        ([1, "x"], [1, 1.0, "x"], [True, "1", None, [1], [1, "x"]]),
        ([True, None], [True, None], [1, False, 0, "null"]),
        (["x", {"b": 1}], ["x", {"b": 1, "c": 2}], [{"b": 2}, "b", ["x"]]),
        ([{"b": 1}, {"c": 1}], [{"b": 1}, {"c": 1, "b": 2}], [{"b": 2, "c": 2}, {}]),
        ([{"$lt": 1}, {"$gt": 5}], [0, 6], [1, 3, 5, "6", None]),
        # $eq, $ne
        (
            {"$eq": [1, {"b": 2}]},
            [[1, {"b": 2}], [1.0, {"b": 2.0}]],
            [[1], [1, {"b": 2, "c": 3}], 1],
        ),
        ({"$eq": {"b": True}}, [{"b": True}], [{"b": 1}, {"b": True, "c": 1}, {}]),
        ({"$eq": []}, [[]], [None, {}, "", [[]]]),
        ({"$eq": {"$gt": 1}}, [{"$gt": 1}], [2, {"$gt": 2}, {}]),
        ({"$ne": "x"}, ["y", 1, None, ["x"]], ["x"]),
        ({"$ne": None}, [0, "", False, [], {}], [None]),
        ({"$ne": 1}, ["1", True, 2, None], [1, 1.0]),
        ({"$ne": [1]}, [[], [True], [1, 2], 1], [[1], [1.0]]),
        # order
        ({"$gt": 1}, [2, 1.1, BIG, Decimal("1e400")], [1, 1.0, 0, "2", True, None, [2], {}]),
        ({"$gte": 1}, [1, 1.0, 2], [0.9, True, "1", None]),
        ({"$lt": 1}, [0, 0.9, -BIG, Decimal("-1e400")], [1, False, "0", None]),
        ({"$lte": 1}, [1, 1.0, 0], [1.1, True, False, "1", None]),
        ({"$gt": 2**53}, [2**53 + 1], [2**53, 2.0**53]),
        ({"$gt": BIG, "$lt": BIG + 2}, [BIG + 1], [BIG, BIG + 2, float(BIG)]),
        ({"$gt": "b"}, ["ba", "c", "é"], ["b", "a", "", 5, True, None, ["c"]]),
        ({"$gte": "b"}, ["b", "c"], ["a", 5]),
        ({"$lt": "b"}, ["a", "", "B"], ["b", 1, None]),
        ({"$lte": "b"}, ["b", "a"], ["ba", 1]),
        ({"$lt": "￿"}, ["a"], ["😀"]),  # by code point, not by UTF-16
        # together
        ({"$gt": 1, "$lte": 3}, [2, 3, 1.5], [1, 4, "2"]),
        ({"$gt": 1, "$ne": 2}, [3], [2, 1, "3"]),
        ({"$eq": 1, "$gt": 1}, [], [1, 2]),
        ({"$has": "x", "$ne": ["x"]}, [["x", "y"]], [["x"], ["y"], "x"]),
        # $has, $hasAny
        ({"$has": "x"}, [["x"], ["y", "x"]], ["x", [], ["y"], [["x"]], {"x": 1}, None, ["xx"]]),
        ({"$has": 1}, [[1], [1.0]], [[True], ["1"], 1]),
        ({"$has": True}, [[True]], [[1], True]),
        ({"$has": None}, [[None], [1, None]], [[], None, [0]]),
        ({"$has": {"b": 1}}, [[{"b": 1}]], [[{"b": 1, "c": 2}], {"b": 1}, [{}]]),
        ({"$hasAny": ["x", 1]}, [["x"], [0, 1]], [["y"], [True], "x", [], None, [["x"]]]),
        ({"$hasAny": [["x"], {"b": 1}]}, [[["x"]], [{"b": 1}]], [["x"], [["x", "y"]], []]),
    ],
)
def test_each_rule(spec: object, matching: list[object], others: list[object]) -> None:
    assert [value for value in matching if not holds(spec, value)] == []
    assert [value for value in others if holds(spec, value)] == []


@pytest.mark.parametrize(
    "spec",
    [None, "x", 0, {}, [None, 1], {"$ne": 1}, {"$eq": None}, {"$lt": 1}, {"$has": 1}, [{"$ne": 1}]],
)
def test_what_is_not_there_matches_nothing(spec: object) -> None:
    test = make_test(checked({"payload": {"a": spec}})["payload"])
    nothing: list[object] = [{}, {"b": 1}, {"A": None}, [], None, "a"]
    assert [value for value in nothing if test(value)] == []
    test = make_test(checked({"payload": {"a": {"b": spec}}})["payload"])
    nothing = [{}, {"a": {}}, {"a": None}, {"b": 1}]
    assert [value for value in nothing if test(value)] == []


def test_all_fields_must_hold() -> None:
    test = make_test({"a": 1, "b": 2, "c": 3})
    assert test({"a": 1, "b": 2, "c": 3, "d": 4})
    for key in "abc":
        assert not test({"a": 1, "b": 2, "c": 3, key: 0})


@given(naive.specs, naive.values)
def test_it_is_as_written(spec: Any, value: Any) -> None:
    assert holds(spec, value) == naive.holds(spec, value)


@given(naive.values)
def test_every_value_equals_itself(value: Any) -> None:
    assert holds({"$eq": value}, value)
    assert not holds({"$ne": value}, value)
    assert holds({"$hasAny": [value]}, [0, value])


def test_a_value_deeper_than_any_matcher_costs_nothing() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    shallow: Any = []
    for _ in range(MATCHER_DEPTH - 3):
        shallow = [shallow]
    assert not holds({"$eq": shallow}, deep)
    assert holds({"$ne": shallow}, deep)
    assert not holds({"$has": 1}, [deep, deep])
    assert holds({"$has": 1}, [deep, 1])
    assert holds({"$eq": shallow}, shallow)
    while deep:  # level by level, so that freeing it takes no stack
        [deep] = deep


def test_many_members_are_looked_up_not_tried() -> None:
    """Cost: a field with many members against a matcher with many."""
    test = make_test(checked({"payload": {"a": {"$hasAny": list(range(900))}}})["payload"])
    value = {"a": [str(number) for number in range(200_000)]}
    assert not test(value)


def test_the_reference_itself_refuses_what_it_does_not_know() -> None:
    with pytest.raises(AssertionError):
        naive.fits("$foo", 1, 1)
    with pytest.raises(InvalidRequest):
        holds({"$foo": 1}, 1)
