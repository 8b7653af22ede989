"""Data to the hub and back: what is kept, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from hub.client.payloads import column_of, data_of, from_json, number, to_json
from hub.errors import InvalidEvent
from tests.examples import text

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(), inner, max_size=3),
    max_leaves=10,
)


@given(_VALUES)
def test_json_comes_back_with_the_value_of_each_number(value: Any) -> None:
    assert from_json(to_json(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_comes_back_as_what_reads_the_same(value: Decimal) -> None:
    assert Decimal(str(from_json(to_json([value]))[0])) == value


@pytest.mark.parametrize(
    ("digits", "value"),
    [
        ("1.10", 1.1),
        ("1E2", 100.0),
        ("-0.0", -0.0),
        ("0.1234567890123456789", Decimal("0.1234567890123456789")),
        ("1e400", Decimal("1E+400")),
        ("123456789012345678901234567890.5", Decimal("123456789012345678901234567890.5")),
    ],
)
def test_a_number_is_a_float_where_a_float_has_its_value(digits: str, value: object) -> None:
    assert (number(digits), type(number(digits))) == (value, type(value))
    assert from_json(f'{{"a": {digits}}}') == {"a": value}
    assert json.loads(to_json(number(digits)), parse_float=Decimal) == Decimal(digits)


def test_an_integer_keeps_its_digits() -> None:
    assert from_json("123456789012345678901234567890") == 123456789012345678901234567890
    assert to_json(10**40) == b"1" + b"0" * 40


@pytest.mark.parametrize(
    "value", [float("nan"), [None, float("inf")], {"a": {float("nan")}}, object(), Decimal("NaN")]
)
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(InvalidEvent, match="cannot be written as JSON"):
        to_json(value)


@pytest.mark.parametrize("broken", ["", "{", "nul", b'"\xff"', "[" * 100_000])
def test_what_is_no_json_is_refused(broken: str | bytes) -> None:
    with pytest.raises(InvalidEvent, match="is not the JSON"):
        from_json(broken)


@dataclass
class Order:
    item: str
    price: int


def test_json_as_a_type() -> None:
    assert from_json('{"item": "tea", "price": 4}', Order) == Order("tea", 4)
    assert to_json(Order("tea", 4)) == b'{"item":"tea","price":4}'
    with pytest.raises(InvalidEvent, match="price"):
        from_json('{"item": "tea"}', Order)


def test_text_and_bytes_go_as_they_are_all_else_as_json() -> None:
    assert data_of(" text\n") == b" text\n"
    assert data_of(b"\xc3\xa4") == data_of(bytearray(b"\xc3\xa4")) == "ä".encode()
    assert data_of({"a": [1, None]}) == b'{"a":[1,null]}'
    assert data_of(None) == b"null"
    with pytest.raises(InvalidEvent, match="not UTF-8"):
        data_of("\ud800")


@given(text("\0\x0b"))
def test_a_column_holds_text_on_one_line(data: str) -> None:
    column = column_of(data)
    assert b"\n" not in column
    wanted = data.replace("\r\n", "\n").replace("\r", "\n")
    assert column.replace(b"\x0b", b"\n").decode() == wanted


@pytest.mark.parametrize("data", ["a\0", "a\x0b", b"\xff", "\ud800"])
def test_what_no_column_can_hold_is_refused(data: str | bytes) -> None:
    with pytest.raises(InvalidEvent):
        column_of(data)


def test_json_that_somebody_else_wrote_stays_on_one_line() -> None:
    assert column_of({"a": Raw(b"[1,\n2]")}) == b'{"a":[1,\x0b2]}'
