"""What a matcher may be: checks what a client sent, and brings equal matchers into one form.

Every refusal is an `InvalidRequest` that names the place and what would be right there.
Hostile input costs no more than an answer: depth, values and bytes are counted.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, NoReturn

from hub.errors import InvalidRequest

MATCHER_BYTES = 64 * 1024
"""Bytes of JSON that a matcher may have."""

MATCHER_DEPTH = 32
"""How deep a matcher's objects and arrays may be nested."""

MATCHER_VALUES = 1000
"""Scalars, objects and arrays that a matcher may be made of."""

ORDER = ("$gt", "$gte", "$lt", "$lte")
OPERATORS = ("$eq", "$ne", *ORDER, "$has", "$hasAny")
FIELDS = ("stream", "payload", "metadata")
TOO_DEEP = f"the matcher is nested deeper than {MATCHER_DEPTH} levels"
TOO_LONG = f"the matcher has more than {MATCHER_BYTES} bytes"

_DIGITS = 4300  # of an integer that Python reads and writes as text
_TOO_MANY_DIGITS = 10**_DIGITS
_EXPONENT = 10**21  # from here on a float is written with one
_SHOWN = 100  # characters of a client's text in a message


def checked(spec: object) -> dict[str, Any]:
    """A matcher in canonical form: what is equal, stands in it in one way only.

    The result is new and shares nothing with `spec`. Raises `InvalidRequest`.
    """
    if type(spec) is not dict:
        raise InvalidRequest(
            'a matcher is a JSON object {"stream": …, "payload": …, "metadata": …}, '
            f"not {_kind(spec)}"
        )
    check = _Check()
    normal = {}
    for field, value in spec.items():
        if field == "stream":
            _check_stream(value)
        elif field in FIELDS:
            _check_object(field, value)
        else:
            raise InvalidRequest(
                f"the matcher has a key {_shown(field)}: "
                "only 'stream', 'payload' and 'metadata' can be"
            )
        said = check.value(value, field, 1)
        if said != {}:  # payload and metadata are always objects
            normal[field] = said
    # Escaped and sorted it may be longer; and what was accepted must be so again.
    if len(text_of(normal)) > MATCHER_BYTES:
        raise InvalidRequest(TOO_LONG)
    return normal


def text_of(spec: Any) -> str:
    """The canonical text of a part in canonical form."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"))


class _Check:
    """Checks the values of one matcher and brings them into one form; counts what it meets."""

    def __init__(self) -> None:
        self._values = 0
        self._size = 0

    def value(self, spec: Any, path: str, depth: int) -> Any:
        """What the field at `path` must be."""
        if type(spec) is list:
            return self._any_of(spec, path, depth)
        if type(spec) is not dict:
            return self._literal(spec, path, depth)
        operators = [key for key in spec if key.startswith("$")]
        if not operators:
            self._count(path, depth)
            return {
                self._string(key): self.value(each, f"{path}.{key[:_SHOWN]}", depth + 1)
                for key, each in spec.items()
            }
        for name in spec:
            if name not in operators:
                _refuse(
                    path, f"has {_shown(name)} beside {operators[0]!r}: plain keys or operators"
                )
        return self._operators(spec, path, depth)

    def _any_of(self, spec: list[Any], path: str, depth: int) -> Any:
        self._count(path, depth)
        if not spec:
            _refuse(path, "is an empty array, which nothing can match")
        members = {}
        for each in spec:
            if type(each) is list:
                _refuse(
                    path,
                    "has an array in an array: an array means any of its members; "
                    '{"$eq": […]} means the array itself',
                )
            member = self.value(each, path, depth + 1)
            members[text_of(member)] = member
        return [members[text] for text in sorted(members)] if len(members) > 1 else member

    def _operators(self, spec: dict[str, Any], path: str, depth: int) -> Any:
        self._count(path, depth)
        normal = {}
        for name, operand in spec.items():
            if name not in OPERATORS:
                _refuse(
                    path,
                    f"has an unknown operator {_shown(name)}: {', '.join(OPERATORS)} are known",
                )
            right = None
            if name in ORDER and type(operand) not in (int, float, str):
                right = "a number or a string"
            elif name == "$has" and type(operand) is list:
                right = "one value, and $hasAny an array of them"
            elif name == "$hasAny" and (type(operand) is not list or not operand):
                right = "an array with at least one value"
            if right:
                _refuse(path, f"is wrong: {name} takes {right}, not {_kind(operand)}")
            normal[name] = self._literal(operand, path, depth + 1)
        if normal.keys() == {"$eq"} and type(normal["$eq"]) not in (list, dict):
            return normal["$eq"]
        return normal

    def _literal(self, value: Any, path: str, depth: int) -> Any:
        self._count(path, depth)
        if type(value) is str:
            return self._string(value)
        if type(value) is list:
            return [self._literal(each, path, depth + 1) for each in value]
        if type(value) is dict:
            return {
                self._string(key): self._literal(each, path, depth + 1)
                for key, each in value.items()
            }
        if type(value) in (int, float):
            return _number(value, path)
        if value is None or type(value) is bool:
            return value
        return _refuse(path, "is not JSON")

    def _count(self, path: str, depth: int) -> None:
        self._values += 1
        if depth > MATCHER_DEPTH:
            raise InvalidRequest(TOO_DEEP)
        if self._values > MATCHER_VALUES:
            raise InvalidRequest(f"the matcher has more than {MATCHER_VALUES} values")

    def _string(self, text: str) -> str:
        self._size += len(text)
        if self._size > MATCHER_BYTES:
            raise InvalidRequest(TOO_LONG)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidRequest("the matcher has half of a surrogate pair") from None
        return text


def _check_stream(spec: Any) -> None:
    for each in spec if type(spec) is list else [spec]:
        operands = each.items() if type(each) is dict and each else [("$eq", each)]
        for name, operand in operands:
            known = name in OPERATORS or not name.startswith("$")
            if known and (type(operand) is not str or name not in ("$eq", "$ne", *ORDER)):
                _refuse(
                    "stream",
                    "is a name: a string, an array of strings, or $eq, $ne, $gt, $gte, $lt, $lte "
                    "with a string are right",
                )


def _check_object(path: str, spec: Any) -> None:
    for each in spec if type(spec) is list else [spec]:
        sound = type(each) is dict and all(
            name in ("$eq", "$ne") and type(operand) is dict
            for name, operand in each.items()
            if name in OPERATORS
        )
        if not sound:
            _refuse(
                path,
                "is an object: an object of its fields, an array of such, or $eq and $ne with an "
                "object are right",
            )


def _number(value: int | float, path: str) -> int | float:
    """One form for equal numbers, so that their texts are equal."""
    if isinstance(value, float):
        if not isfinite(value):
            _refuse(path, "is not a number that JSON has")
        return int(value) if value.is_integer() and abs(value) < _EXPONENT else value
    if abs(value) < _EXPONENT:
        return value
    if abs(value) >= _TOO_MANY_DIGITS:
        _refuse(path, f"has more than {_DIGITS} digits")
    try:
        near = float(value)
    except OverflowError:
        return value
    return near if near == value else value


def _refuse(path: str, fault: str) -> NoReturn:
    raise InvalidRequest(f"the matcher's {_shown(path)} {fault}")


def _shown(text: object) -> str:
    return repr(text if len(str(text)) <= _SHOWN else f"{str(text)[:_SHOWN]}…")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")
