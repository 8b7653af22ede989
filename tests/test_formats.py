"""TSV lines, NDJSON documents, and the mapping between them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.document import documents, payload_of
from hub.errors import InvalidEvent
from hub.event import Event, IdOrder, Limits, id_at
from hub.formats import (
    LINE_BREAK,
    Batch,
    check_json_line,
    check_rows,
    check_utf8,
    data_column,
    decode_row,
    encode_line,
    fill_ids,
    split_rows,
)
from tests import examples

NOW = 1_795_174_810_793_214
LIMITS = Limits(event_bytes=8, id_bytes=6, type_bytes=4)
ROOMY = Limits()


@given(st.lists(examples.events(examples.ids.filter(bool))))
def test_events_come_back_from_their_lines(events: list[Event]) -> None:
    chunk = b"".join(map(encode_line, events))
    rows = split_rows(chunk)
    assert [decode_row(row) for row in rows] == events
    if events:
        assert check_rows(chunk, ROOMY, stored=True) == rows
        assert check_rows(chunk, ROOMY, stored=False) == rows


def test_a_line_byte_for_byte() -> None:
    event = Event("2026-11-20T11:40:10.793214Z", "type", "a\tb\nc")
    assert encode_line(event) == b"2026-11-20T11:40:10.793214Z\ttype\ta\tb\x0bc\n"


@given(examples.text("\0\x0b", 30))
def test_a_body_is_kept_but_for_its_line_breaks(body: str) -> None:
    kept = data_column(body.encode()).replace(LINE_BREAK, b"\n").decode()
    assert kept == body.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


@pytest.mark.parametrize(
    ("body", "column"),
    [
        (b"", b""),
        (b"\n", b""),
        (b"\r\n", b""),
        (b"\r", b""),
        (b"\n\n", b"\x0b"),
        (b"a\r\n\r\n", b"a\x0b"),
        (b"a\n", b"a"),
        (b"a\r\nb\rc\nd", b"a\x0bb\x0bc\x0bd"),
        (b"a\r\r\n", b"a\x0b"),
        ("a\u0085b\u2028c\fd".encode(), "a\u0085b\u2028c\fd".encode()),
        (b" a\tb ", b" a\tb "),
        (b"\xef\xbb\xbfa", b"\xef\xbb\xbfa"),
    ],
)
def test_one_final_line_break_is_dropped(body: bytes, column: bytes) -> None:
    assert data_column(body) == column


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"a\0", "NUL or VT"),
        (b"\x0b", "NUL or VT"),
        (b"ab\xff", "byte 3 "),
        (b"\xed\xa0\x80", "not UTF-8"),  # a surrogate
        (b"\xc3", "byte 1 "),
        (b"\xc0\x80", "not UTF-8"),  # an overlong NUL
    ],
)
def test_what_a_log_cannot_hold_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        data_column(body)


@given(st.lists(st.sampled_from([b"", b"7", b"x"]), min_size=1))
def test_blank_ids_are_filled_in_order(given_ids: list[bytes]) -> None:
    chunk = b"".join(each + b"\ttype\tdata\n" for each in given_ids)
    filled, following = fill_ids(chunk, NOW)
    own = iter(range(NOW, following))
    expected = [each or id_at(next(own)).encode() for each in given_ids]
    assert [row[0] for row in split_rows(filled)] == expected
    assert next(own, None) is None
    assert [row[1:] for row in split_rows(filled)] == [row[1:] for row in split_rows(chunk)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "fewer than two TABs"),
        (b"1\ttype", "fewer than two TABs"),
        (b"1\ttype\ta\0", "NUL or CR"),
        (b"1\rx\ttype\ta", "NUL or CR"),
        (b"1\ttype\t\xff", "not UTF-8"),
        (b"\xff\ttype\ta", "not UTF-8"),
        (b"1\ttype\t123456789", "data has 9 bytes; the limit is 8"),
        (b"1\ttypes\ta", "event type has 5 bytes; the limit is 4"),
        (b"1234567\t\ta", "id has 7 bytes; the limit is 6"),
        (b"start\t\ta", "cannot be 'start'"),
        (b" 1\t\ta", "Last-Event-ID"),
        (b"1\x0b\t\ta", "Last-Event-ID"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_bad_line_is_named(line: bytes, reason: str, before: int) -> None:
    good = "\tä\t12345678\n".encode()
    chunk = before * good + line + b"\n" + good
    with pytest.raises(InvalidEvent, match=reason) as caught:
        check_rows(chunk, LIMITS, stored=False)
    assert caught.value.line == before + 1


def test_fields_at_their_limits_pass() -> None:
    chunk = "123456\tää\t12345678\n".encode()
    assert check_rows(chunk, LIMITS, stored=False) == [[b"123456", "ää".encode(), b"12345678"]]


def test_what_stands_in_a_log_may_be_longer_but_has_an_id() -> None:
    long = b"12345678 \ttypes\t123456789\nstart\t\t\n"
    assert len(check_rows(long, LIMITS, stored=True)) == 2
    with pytest.raises(InvalidEvent, match="no id") as caught:
        check_rows(long + b"\ttype\ta\n", LIMITS, stored=True)
    assert caught.value.line == 3


@pytest.mark.parametrize(
    "line", [b"{}", b"[1,2]", b"1", b'"a\\u000bb"', b"null", b' {"a" : 1} ', b"1\t", b'"\xc3\xa4"']
)
def test_json_of_every_kind_is_data(line: bytes) -> None:
    check_json_line(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b"NaN", "not JSON"),
        (b'"\x01"', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'"a\x0bb"', "CR, VT or NUL"),
        (b'"a\rb"', "CR, VT or NUL"),
        (b'"\0"', "CR, VT or NUL"),
        (b'"\xff"', "byte 2 of the data is not UTF-8"),
        (b'{"\xed\xa0\x80":1}', "not UTF-8"),
    ],
)
def test_what_is_not_json_is_refused(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        check_json_line(line)


def test_utf8_is_checked_to_the_last_byte() -> None:
    check_utf8("ä".encode())
    with pytest.raises(InvalidEvent, match="byte 3 "):
        check_utf8(b"ab\xc3")


def test_a_batch_of_one() -> None:
    own = Batch.of_one("", "type", b"data")
    assert (own.chunks, own.count, own.blank) == ([b"\ttype\tdata\n"], 1, 1)
    assert own.order == IdOrder()
    given_id = Batch.of_one(id_at(NOW), "", b"")
    assert (given_id.chunks, given_id.blank) == ([f"{id_at(NOW)}\t\t\n".encode()], 0)
    assert (given_id.first_id, given_id.last_id) == (id_at(NOW), id_at(NOW))
    assert given_id.order.clock == NOW


def test_a_document_byte_for_byte() -> None:
    rows = [[b"i1", b"Placed", b'{ "n" : 1.10 }'], [b'i"2', b"note", "ä\x0b\tb".encode()]]
    assert (
        documents(rows, "orders-1", 7)
        == (
            '{"stream":"orders-1","payload":{"type":"Placed","n":1.10},'
            '"metadata":{"id":"i1","streamVersion":6}}\n'
            '{"stream":"orders-1","payload":{"type":"note","data":"ä\\n\\tb"},'
            '"metadata":{"id":"i\\"2","streamVersion":7}}\n'
        ).encode()
    )


def test_documents_of_one_type_keep_their_versions() -> None:
    rows = [[b"1", b"a", b""], [b"2", b"b", b""], [b"3", b"", b""], [b"4", b"b", b""]]
    kept = [json.loads(line) for line in documents(rows, "abcd", 10, b"b").split(b"\n")[:-1]]
    assert [each["metadata"]["streamVersion"] for each in kept] == [10, 12]
    assert [each["metadata"]["id"] for each in kept] == ["2", "4"]
    assert documents(rows, "abcd", 10, b"").count(b"\n") == 1


NUMBERS = ["1.10", "1e999", "-0", "-0.0", "123456789012345678901234567890", "1E+2", "0.1e-400"]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_keep_their_digits(number: str) -> None:
    data = f'{{"n":{number},"in":[{number},{{"deep": {number}}}]}}'.encode()
    payload = payload_of(b"type", data)
    assert payload == (
        f'{{"type":"type","n":{number},"in":[{number},{{"deep":{number}}}]}}'.encode()
    )


@pytest.mark.parametrize(
    ("event", "data", "payload"),
    [
        (b"t", b"{}", b'{"type":"t"}'),
        (b"t", b" { } ", b'{"type":"t"}'),
        (b"", b'{"a":1}', b'{"a":1}'),
        (b"t", b'{"a":1,"type":"own"}', b'{"a":1,"type":"own"}'),
        (b"t", b'{"type":null}', b'{"type":null}'),
        (b"t", b'{"a":{"type":1}}', b'{"type":"t","a":{"type":1}}'),
        (b"t", b'{"\\u0074ype":1}', b'{"\\u0074ype":1}'),
        (b"t", b'{\x0b\t"a": 1\x0b}', b'{"type":"t","a":1}'),
        (b'"', b'{"a":1}', b'{"type":"\\"","a":1}'),
        (b"t", b"[1]", b'{"type":"t","data":"[1]"}'),
        (b"t", b"{broken", b'{"type":"t","data":"{broken"}'),
        (b"t", b'{"a":1}{"b":2}', b'{"type":"t","data":"{\\"a\\":1}{\\"b\\":2}"}'),
        (b"t", b'{"a":"\x0b"}', b'{"type":"t","data":"{\\"a\\":\\"\\n\\"}"}'),
        (b"", b"", b'{"type":"","data":""}'),
        (b"t", b'{"a":"x\\u000by"}', b'{"type":"t","a":"x\\u000by"}'),
    ],
)
def test_payloads(event: bytes, data: bytes, payload: bytes) -> None:
    assert payload_of(event, data) == payload


def test_an_object_nested_too_deep_is_kept_as_text() -> None:
    data = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    assert json.loads(payload_of(b"t", data)) == {"type": "t", "data": data.decode()}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | examples.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["type", "a", "", "\u2028"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["type", "data", "a", "ä"]), json_values, max_size=3),
    examples.types,
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
)
def test_an_object_is_its_own_payload(
    fields: dict[str, Any], event: str, indent: int | str | None, ascii_only: bool
) -> None:
    data = json.dumps(fields, indent=indent, ensure_ascii=ascii_only)
    payload = payload_of(event.encode(), data_column(data.encode()))
    expected = {"type": event, **fields} if event else fields
    assert json.loads(payload) == expected


@given(st.lists(examples.events(examples.ids.filter(bool)), min_size=1), st.integers(1, 10**6))
def test_any_event_is_one_line_of_json(events: list[Event], revision: int) -> None:
    rows = split_rows(b"".join(map(encode_line, events)))
    lines = documents(rows, "a-channel", revision).split(b"\n")
    assert lines.pop() == b""
    for version, (line, event) in enumerate(zip(lines, events, strict=True), revision - 1):
        document = json.loads(line)
        assert list(document) == ["stream", "payload", "metadata"]
        assert document["metadata"] == {"id": event.id, "streamVersion": version}
        assert list(document["metadata"]) == ["id", "streamVersion"]
        if not event.data.lstrip(" \t\n").startswith("{"):
            assert document["payload"] == {"type": event.event, "data": event.data}
