"""Matchers by the rules as they are written, with no thought of speed; and material for them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = Any


def equal(one: Json, other: Json) -> bool:
    """Whether two JSON values are the same."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict | list) or isinstance(other, dict | list):
        return False
    return bool(one == other)


def number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def fits(operator: str, operand: Json, value: Json) -> bool:
    """Whether an operator holds of a value."""
    if operator == "$eq":
        return equal(value, operand)
    if operator == "$ne":
        return not equal(value, operand)
    if operator == "$has":
        return isinstance(value, list) and any(equal(each, operand) for each in value)
    if operator == "$hasAny":
        return isinstance(value, list) and any(fits("$has", each, value) for each in operand)
    if not (number(value) and number(operand)) and not (type(value) is type(operand) is str):
        return False
    if operator == "$gt":
        return bool(value > operand)
    if operator == "$gte":
        return bool(value >= operand)
    if operator == "$lt":
        return bool(value < operand)
    assert operator == "$lte"
    return bool(value <= operand)


def holds(spec: Json, value: Json) -> bool:
    """Whether a value is as a matcher says."""
    if isinstance(spec, list):
        return any(holds(each, value) for each in spec)
    if not isinstance(spec, dict):
        return equal(spec, value)
    if any(key.startswith("$") for key in spec):
        return all(fits(key, each, value) for key, each in spec.items())
    return isinstance(value, dict) and all(
        key in value and holds(each, value[key]) for key, each in spec.items()
    )


# Few values, so that they meet; among them all that could be taken for one another.
strings = st.sampled_from(["", "a", "b", "ab", "1", "é", '"', "\\", "\n", "type", "😀", "￿"])
numbers = st.sampled_from(
    [0, 1, -1, 1.0, 1.5, 2**53, 2**53 + 1, 2.0**53, 2**64, 10**25, 1e25, 1e300]
)
scalars = strings | numbers | st.sampled_from([None, True, False])
keys = st.sampled_from(["a", "b", "type", "", "é", "a.b", 'q"', "self", "__x"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(keys, values, max_size=4)


def operators(
    operand: st.SearchStrategy[Json], order: st.SearchStrategy[Json]
) -> st.SearchStrategy[Json]:
    either = st.fixed_dictionaries(
        {},
        optional={
            "$eq": operand,
            "$ne": operand,
            **dict.fromkeys(["$gt", "$gte", "$lt", "$lte"], order),
            "$has": operand.filter(lambda each: not isinstance(each, list)),
            "$hasAny": st.lists(operand, min_size=1, max_size=3),
        },
    )
    return either.filter(lambda each: 0 < len(each) < 4)


def _specs(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    member = inner.filter(lambda each: not isinstance(each, list))
    return st.lists(member, min_size=1, max_size=4) | st.dictionaries(keys, inner, max_size=3)


specs = st.recursive(scalars | operators(values, strings | numbers), _specs, max_leaves=6)
"""What a matcher can say of a field."""

object_specs = st.dictionaries(keys, specs, max_size=3)
names = st.sampled_from(["a", "b", "orders-1", "é"])
name_operators = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), names, min_size=1, max_size=2
)
matchers = st.fixed_dictionaries(
    {},
    optional={
        "stream": names | name_operators | st.lists(names | name_operators, min_size=1, max_size=3),
        "payload": object_specs
        | st.lists(object_specs, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from(["$eq", "$ne"]), objects, min_size=1),
        "metadata": object_specs,
    },
)
"""Whole matchers."""
