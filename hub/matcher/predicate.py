"""The tests that a matcher's values are made into.

Knows what equality and order mean between JSON values; a matcher has been
checked (`rules`) before it comes here.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any

from hub.matcher.rules import MATCHER_DEPTH, OPERATORS

Test = Callable[[Any], bool]

_ORDER = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}
_NUMBERS = frozenset({int, float, Decimal})
_MISSING: Any = object()
_TRUE, _FALSE, _TOO_DEEP = object(), object(), object()


def test_for(spec: Any) -> Test:
    """The test for a value of a checked matcher."""
    if type(spec) is list:
        scalars = [each for each in spec if type(each) is not dict]
        tests = [test_for(each) for each in spec if type(each) is dict]
        if scalars:
            tests.insert(0, _is_in(frozenset(map(_key, scalars))))
        return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)
    if type(spec) is not dict:
        return _equals(spec)
    if any(name in OPERATORS for name in spec):
        tests = [_operator(name, operand) for name, operand in spec.items()]
        return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)
    return _has_fields([(key, test_for(each)) for key, each in spec.items()])


def _operator(name: str, operand: Any) -> Test:
    if name in _ORDER:
        compare = _ORDER[name]
        kinds = frozenset({str}) if type(operand) is str else _NUMBERS
        return lambda value: type(value) in kinds and compare(value, operand)
    if name in ("$has", "$hasAny"):
        keys = frozenset(map(_key, operand if name == "$hasAny" else [operand]))
        return lambda value: type(value) is list and not keys.isdisjoint(map(_key, value))
    equal = _equals(operand)
    return equal if name == "$eq" else lambda value: not equal(value)


def _equals(literal: Any) -> Test:
    if type(literal) is str:
        return lambda value: bool(value == literal)
    if type(literal) in (int, float):
        return lambda value: value == literal and type(value) is not bool
    key = _key(literal)
    return lambda value: bool(_key(value) == key)


def _is_in(keys: frozenset[Any]) -> Test:
    return lambda value: (value if type(value) is str else _key(value)) in keys


def _has_fields(fields: list[tuple[str, Test]]) -> Test:
    def test(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for key, check in fields:
            field = value.get(key, _MISSING)
            if field is _MISSING or not check(field):
                return False
        return True

    return test


def _key(value: Any, depth: int = 0) -> Any:
    """What JSON values are compared by: equal if they are, and fit for a set."""
    kind = type(value)
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is not list and kind is not dict:
        return value
    if depth == MATCHER_DEPTH:
        return _TOO_DEEP  # to be in a matcher
    if kind is list:
        return tuple([_key(each, depth + 1) for each in value])
    return frozenset([(name, _key(each, depth + 1)) for name, each in value.items()])
