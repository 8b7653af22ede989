"""Documents, decoded as far as a matcher looks."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from hub.matcher.reader import read_slowly, reader_for
from hub.matcher.rules import MATCHER_DEPTH, OPERATORS

NOT_READ = b"\xff 1e999 [[[ \x00"


def test_only_what_is_looked_at_is_decoded() -> None:
    document = (
        b'{"metadata":{"id":"7","x":1e999},"stream":"s","payload":{"a":1,"b":1e999,"c":{"d":2}}}'
    )
    event = reader_for({"payload": {"a": 5, "c": {"d": 1}}})(document)
    assert event.payload == {"a": 1, "c": {"d": 2}}
    assert not hasattr(event, "stream")
    assert not hasattr(event, "metadata")
    event = reader_for({"stream": "x", "metadata": {"id": 1}})(document)
    assert (event.stream, event.metadata) == ("s", {"id": "7"})
    assert reader_for({"payload": [{"a": 1}, {"z": 1}]})(document).payload == {"a": 1}


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_looks_at_the_whole(operator: str) -> None:
    document = b'{"payload":{"a":1,"$eq":2}}'
    for spec in ({operator: {"a": 1}}, [{"a": 1}, {operator: {}}]):
        assert reader_for({"payload": spec})(document).payload == {"a": 1, "$eq": 2}


def test_many_keys_make_no_type() -> None:
    document = b'{"payload":{"a":1}}'
    many = {f"k{number}": 1 for number in range(100)}
    assert reader_for({"payload": many})(document).payload == {"a": 1}


@pytest.mark.parametrize(
    "key", ["", "a b", "a.b", "é", '"', "\\", "\n", "$x", "__x", "class", "self", "None", "1", "😀"]
)
def test_keys_can_be_anything(key: str) -> None:
    document = msgspec.json.encode({"payload": {"x": 0, key: 1}})
    assert reader_for({"payload": {key: 1}})(document).payload == {key: 1}
    escaped = "".join(f"\\u{unit:04x}" for unit in memoryview(key.encode("utf-16-le")).cast("H"))
    document = b'{"payload":{"%b":1}}' % escaped.encode()
    assert reader_for({"payload": {key: 1}})(document).payload == {key: 1}


def test_readers_of_one_shape_are_one() -> None:
    one = reader_for({"stream": "a", "payload": {"b": 1, "c": 2}})
    assert reader_for({"stream": ["x"], "payload": {"c": {"$gt": 1}, "b": None}}) is one
    assert reader_for({"stream": "a", "payload": {"b": 1}}) is not one


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1", 1),
        (b"1.5", 1.5),
        (b"0.1", 0.1),
        (b"1e-999", 0.0),
        (b"-0", 0),
        (b"18446744073709551617", 2**64 + 1),
        (b"1e999", Decimal("1e999")),
        (b"-1.5e999", Decimal("-1.5e999")),
        (b"1e9999999999999999999", float("inf")),
        (b"-1e9999999999999999999", float("-inf")),
        (b"1" * 4299, int("1" * 4299)),
        (b"-" + b"9" * 4299, -(10**4299 - 1)),
        (b"1" + b"0" * 4999, Decimal("1e4999")),
        (b'"\\ud800"', "\ud800"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b"[true,null]", [True, None]),
    ],
    ids=lambda each: repr(each)[:20],
)
def test_what_the_fast_reader_does_not_take_is_read_exactly(text: bytes, value: object) -> None:
    assert read_slowly(b'{"a":%b}' % text) == {"a": value}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"5",
        b"[]",
        b"null",
        b'"a"',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b"\xff\xfe{\x00}\x00",
        b"{'a':1}",
        b'{"a":1}{',
        b'{"a":1,}',
    ],
)
def test_what_is_no_document_holds_nothing(document: bytes) -> None:
    assert read_slowly(document) == {}


LEVELS = 20_000
LISTS = b"[" * LEVELS + b"]" * LEVELS
OBJECTS = b'{"x":' * LEVELS + b"1" + b"}" * LEVELS


@pytest.mark.parametrize("deep", [LISTS, OBJECTS, b"[0," * LEVELS + b"0" + b"]" * LEVELS])
def test_deep_documents_are_read_as_deep_as_any_matcher_looks(deep: bytes) -> None:
    found = read_slowly(b'{"before":[1,{}],"a":%b,"after":{"x":[2,[]]},"end":1e999}' % deep)
    assert found["before"] == [1, {}]
    assert found["after"] == {"x": [2, []]}
    assert found["end"] == Decimal("1e999")
    value = found["a"]
    levels = 0
    while value:
        value = value["x"] if isinstance(value, dict) else value[-1]
        levels += 1
    assert levels > MATCHER_DEPTH


@pytest.mark.parametrize("text", ["]]", "[[", "{", '\\"[[', "\\\\", '\\\\\\"]', "é]", "\n["])
def test_brackets_in_strings_are_no_nesting(text: str) -> None:
    string = msgspec.json.encode(text)
    found = read_slowly(b'{"a":%b,%b:[%b,%b],"b":[%b]}' % (LISTS, string, string, string, LISTS))
    assert found[text] == [text, text]
    assert list(found) == ["a", text, "b"]


def test_deep_documents_are_read_wherever_the_caller_stands() -> None:
    document = b'{"a":%b,"b":1}' % (b"[" * 900 + b"]" * 900)

    def read_at(depth: int) -> Any:
        return read_at(depth - 1) if depth else read_slowly(document)

    for depth in (0, sys.getrecursionlimit() - 400):
        found = read_at(depth)
        assert found["b"] == 1
        assert found["a"][0][0][0]


@pytest.mark.parametrize("line", [b'{"a":' + b"[" * LEVELS, LISTS, LISTS + b"]", b'{"a":"' + LISTS])
def test_what_is_deep_and_no_document_holds_nothing(line: bytes) -> None:
    assert read_slowly(line) == {}
