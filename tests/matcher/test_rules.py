"""What is refused as a matcher, and the one form of those that mean the same."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest

from hub.errors import InvalidRequest
from hub.matcher.rules import MATCHER_BYTES, MATCHER_DEPTH, MATCHER_VALUES, checked, text_of


def field(value: object) -> dict[str, object]:
    """A matcher that says this of one field."""
    return {"payload": {"a": value}}


def nested(levels: int, leaf: object = 1, key: str = "a") -> object:
    for _ in range(levels):
        leaf = {key: leaf}
    return leaf


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "a matcher is a JSON object .*, not an array"),
        ("a", "not a string"),
        (None, "not null"),
        (True, "not a boolean"),
        (5, "not a number"),
        ({"stream": "a", "type": "b"}, "a key 'type': only 'stream', 'payload' and 'metadata'"),
        ({"$eq": {}}, r"a key '\$eq'"),
        (field({"$foo": 1}), r"'payload.a' has an unknown operator '\$foo': \$eq, \$ne, .* known"),
        (field({"$gt": 1, "$GT": 1}), r"unknown operator '\$GT'"),
        (field({"$": 1}), r"unknown operator '\$'"),
        (field([1, {"$in": [1]}]), r"'payload.a' has an unknown operator '\$in'"),
        (field({"b": {"c": {"$foo": 1}}}), r"'payload.a.b.c' has an unknown operator"),
        ({"payload": {"$foo": 1}}, r"'payload' has an unknown operator '\$foo'"),
        ({"metadata": {"$foo": 1}}, r"'metadata' has an unknown operator '\$foo'"),
        ({"stream": {"$foo": "a"}}, r"'stream' has an unknown operator '\$foo'"),
        (field({"$gt": 1, "b": 2}), r"'payload.a' has 'b' beside '\$gt': plain keys or operators"),
        (field({"b": 2, "$gt": 1}), r"has 'b' beside '\$gt'"),
        (field([]), "'payload.a' is an empty array"),
        ({"payload": []}, "'payload' is an empty array"),
        ({"stream": []}, "'stream' is an empty array"),
        (field([[1]]), "'payload.a' has an array in an array"),
        (field({"$gt": None}), r"'payload.a' is wrong: \$gt takes a number or a string, not null"),
        (field({"$gte": True}), r"\$gte takes a number or a string, not a boolean"),
        (field({"$lt": [1]}), r"\$lt takes a number or a string, not an array"),
        (field({"$lte": {}}), r"\$lte takes a number or a string, not an object"),
        (field({"$has": ["x"]}), r"\$has takes one value, and \$hasAny an array of them"),
        (field({"$hasAny": "x"}), r"\$hasAny takes an array with at least one value, not a string"),
        (field({"$hasAny": []}), r"\$hasAny takes an array with at least one value"),
        (field({"$hasAny": {"a": 1}}), r"\$hasAny takes an array with at least one value"),
        ({"stream": 5}, "'stream' is a name: a string, an array of strings"),
        ({"stream": None}, "'stream' is a name"),
        ({"stream": {}}, "'stream' is a name"),
        ({"stream": ["a", 5]}, "'stream' is a name"),
        ({"stream": [{}]}, "'stream' is a name"),
        ({"stream": {"$gt": 5}}, "'stream' is a name"),
        ({"stream": {"$has": "a"}}, "'stream' is a name"),
        ({"stream": {"a": "b"}}, "'stream' is a name"),
        ({"payload": "a"}, "'payload' is an object"),
        ({"payload": None}, "'payload' is an object"),
        ({"payload": ["a"]}, "'payload' is an object"),
        ({"payload": [{}, []]}, "'payload' is an object"),
        ({"metadata": 1}, "'metadata' is an object"),
        ({"payload": {"$gt": 1}}, "'payload' is an object"),
        ({"payload": {"$has": {}}}, "'payload' is an object"),
        ({"payload": {"$eq": [1]}}, "'payload' is an object"),
        ({"payload": [{"$ne": 1}]}, "'payload' is an object"),
        (field(math.nan), "'payload.a' is not a number that JSON has"),
        (field({"$lt": math.inf}), "is not a number that JSON has"),
        (field({"$eq": [-math.inf]}), "is not a number that JSON has"),
        (field(10**4300), "'payload.a' has more than 4300 digits"),
        (field(-(10**4300)), "'payload.a' has more than 4300 digits"),
        (field({1, 2}), "'payload.a' is not JSON"),
        (field({"$eq": b"x"}), "'payload.a' is not JSON"),
        (field("\ud800"), "half of a surrogate pair"),
        ({"payload": {"\udfff": 1}}, "half of a surrogate pair"),
        (field({"$eq": {"\udfff": 1}}), "half of a surrogate pair"),
        ({"\ud800": 1}, r"a key '\\ud800'"),
    ],
)
def test_what_cannot_be_meant_is_refused(spec: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        checked(spec)
    str(caught.value).encode()  # goes into an answer


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"stream": "a"},
        {"stream": ["a", {"$gt": "b"}]},
        {"stream": {"$ne": "a", "$gte": "b", "$lte": "c", "$lt": "d", "$gt": "e", "$eq": "f"}},
        {"payload": {"a": {}}},
        {"payload": [{"a": 1}, {"$eq": {"b": 2}}]},
        {"payload": {"$ne": {}}},
        field({"$eq": {"$gt": 1}}),
        field({"$ne": []}),
        field({"$has": None}),
        field({"$has": {"$x": [1]}}),
        field({"$hasAny": [[1], {}]}),
        field({"": {"a.b": 1, "a$": 2}}),
        field(10**4300 - 1),
        field(""),
    ],
)
def test_what_can_be_meant_is_taken(spec: object) -> None:
    checked(spec)


@pytest.mark.parametrize(
    ("specs", "text"),
    [
        ([{"stream": "a"}, {"stream": ["a"]}, {"stream": {"$eq": "a"}}], '{"stream":"a"}'),
        ([{"stream": ["a", {"$eq": "a"}, "a"]}], '{"stream":"a"}'),
        ([{}, {"payload": {}}, {"metadata": {}, "payload": {}}], "{}"),
        (
            [
                {"stream": "a", "payload": {"b": 1, "c": 2}},
                {"payload": {"c": 2, "b": 1.0}, "stream": "a"},
            ],
            '{"payload":{"b":1,"c":2},"stream":"a"}',
        ),
        ([field([3, "x", None]), field([None, "x", 3, 3.0])], '{"payload":{"a":["x",3,null]}}'),
        ([field([1, True])], '{"payload":{"a":[1,true]}}'),
        ([field({"$lt": 2, "$gt": 1})], '{"payload":{"a":{"$gt":1,"$lt":2}}}'),
        ([field({"$eq": {}})], '{"payload":{"a":{"$eq":{}}}}'),
        ([field({"$eq": [2, 1]})], '{"payload":{"a":{"$eq":[2,1]}}}'),
        ([field({"$eq": None})], '{"payload":{"a":null}}'),
        ([field({"$eq": 1, "$ne": 2})], '{"payload":{"a":{"$eq":1,"$ne":2}}}'),
        ([field(-0.0), field(0)], '{"payload":{"a":0}}'),
        ([field(10**20), field(1e20)], '{"payload":{"a":100000000000000000000}}'),
        ([field(10**21), field(1e21)], '{"payload":{"a":1e+21}}'),
        ([field(-(10**21)), field(-1e21)], '{"payload":{"a":-1e+21}}'),
        ([field(10**21 + 1)], '{"payload":{"a":1000000000000000000001}}'),
        ([field(10**400)], '{"payload":{"a":1%s}}' % ("0" * 400)),
        ([field(2**64 + 1)], '{"payload":{"a":18446744073709551617}}'),
        ([field("é\n\x7f😀")], '{"payload":{"a":"\\u00e9\\n\\u007f\\ud83d\\ude00"}}'),
    ],
)
def test_what_means_the_same_has_one_text(specs: list[object], text: str) -> None:
    assert [text_of(checked(spec)) for spec in specs] == [text] * len(specs)


def test_the_result_shares_nothing_with_what_was_given() -> None:
    spec = field({"$eq": [1, {"b": [2]}]})
    result = checked(spec)
    before = text_of(result)
    spec["payload"]["a"]["$eq"][1]["b"].append(3)  # type: ignore[index]
    spec["stream"] = "a"
    assert text_of(result) == before


@pytest.mark.parametrize(
    "nest",
    [
        lambda levels: {"payload": nested(levels - 1)},
        lambda levels: {"payload": {"a": {"$eq": nested(levels - 3)}}},
        lambda levels: {"payload": {"a": {"$hasAny": [nested(levels - 4)]}}},
        lambda levels: {"payload": [nested(levels - 2), {}]},
    ],
)
def test_depth_is_bounded(nest: Callable[[int], object]) -> None:
    checked(nest(MATCHER_DEPTH))
    for levels in (MATCHER_DEPTH + 1, 10_000):
        with pytest.raises(InvalidRequest, match=f"nested deeper than {MATCHER_DEPTH} levels"):
            checked(nest(levels))


def test_values_are_counted() -> None:
    for kind in (
        list,
        lambda values: {"$eq": list(values)},
        lambda values: {"$hasAny": list(values)},
    ):
        checked(field(kind(range(MATCHER_VALUES - 3))))
        with pytest.raises(InvalidRequest, match=f"more than {MATCHER_VALUES} values"):
            checked(field(kind(range(MATCHER_VALUES))))
    kinds: list[object] = [[1], {"b": 1}, {"$gt": 1}, {"$eq": [1]}, [{}]]
    for each in kinds:
        of_each = 3 if each == {"$eq": [1]} else 2
        fitting = (MATCHER_VALUES - 2) // of_each
        checked(field({str(number): each for number in range(fitting)}))
        with pytest.raises(InvalidRequest, match=f"more than {MATCHER_VALUES} values"):
            checked(field({str(number): each for number in range(fitting + 1)}))


def test_bytes_are_counted() -> None:
    shell = len(text_of(checked(field(""))))
    checked(field("x" * (MATCHER_BYTES - shell)))
    for value in (
        "x" * (MATCHER_BYTES - shell + 1),
        "é" * (MATCHER_BYTES // 6),
        {"x" * MATCHER_BYTES: 1},
    ):
        with pytest.raises(InvalidRequest, match=f"more than {MATCHER_BYTES} bytes"):
            checked(field(value))


def test_what_is_too_long_is_refused_at_once() -> None:
    long = "x" * (MATCHER_BYTES + 1)
    for value in ({"b": long, "c": {"$foo": 1}}, {long: 1, "c": {"$foo": 1}}):
        with pytest.raises(InvalidRequest, match=f"more than {MATCHER_BYTES} bytes"):
            checked(field(value))


def test_hostile_input_costs_no_more_than_an_answer() -> None:
    started = time.perf_counter()
    for value in (
        ["x" * 10_000] * 10_000,
        [[]] * 1_000_000,
        ["x" * 60] * 1_000_000,
        list(range(1_000_000)),
        {"$hasAny": list(range(1_000_000))},
        nested(10_000),
        nested(20, [{"b": number} for number in range(100_000)]),
        {"$" + "x" * 10_000_000: 1},
        {"x" * 10_000_000: {"$foo": 1}},
    ):
        with pytest.raises(InvalidRequest) as caught:
            checked(field(value))
        assert len(str(caught.value)) < 400
    assert time.perf_counter() - started < 5
