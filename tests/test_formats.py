"""TSV lines, and what batches of them and of JSON lines may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidEvent
from hub.event import Event, IdOrder, Limits, id_at
from hub.formats import (
    LINE_BREAK,
    Batch,
    are_json_lines,
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


TEXTS = [b'{"a": 1}', b" 1 ", '"\u00e4"'.encode(), b'"\\u000b"']
NO_TEXTS = [
    b"[" * 100_000,
    b"",
    b" ",
    b"1 2",
    b"{",
    b"1}",
    b'"\xff"',
    b'"a\0b"',
    b'"a\x0bb"',
    b"1\r",
    b"\r1",
]


@given(st.lists(st.sampled_from(TEXTS) | st.sampled_from(NO_TEXTS), min_size=1, max_size=4))
def test_lines_are_json_together_where_each_is(lines: list[bytes]) -> None:
    def is_one(line: bytes) -> bool:
        try:
            check_json_line(line)
        except InvalidEvent:
            return False
        return True

    chunk = b"\n".join(lines) + b"\n"
    assert are_json_lines(chunk, lines) == all(map(is_one, lines))


@pytest.mark.parametrize("line", TEXTS)
def test_json_lines_are_found_so(line: bytes) -> None:
    assert are_json_lines(line + b"\n" + line + b"\n", [line, line])
