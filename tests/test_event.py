"""Events' names, ids and types, and the order of ids."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidEvent, InvalidName, TooLarge
from hub.event import (
    ID_BYTES,
    ID_LENGTH,
    MICROSECONDS,
    TYPE_BYTES,
    Event,
    IdOrder,
    check_channel_name,
    check_id,
    check_size,
    check_type,
    file_name,
    fits_header,
    id_at,
    ids_fit_header,
    ids_from,
    is_channel_name,
    is_hub_form,
    time_of,
)

NAME_LETTERS = string.ascii_letters + string.digits + "_-"
NOW = 1_795_174_810_793_214  # 2026-11-20T11:40:10.793214Z
times = st.integers(0, 253_370_764_799 * MICROSECONDS)
ids = st.one_of(
    times.map(id_at),
    st.integers(NOW, NOW + 5).map(id_at),
    st.sampled_from(
        ["7", "x", "2026-11-20", "2027-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
    ),
)


def test_an_event_is_a_value() -> None:
    assert Event("1", "type", "data") == Event("1", "type", "data")
    with pytest.raises(AttributeError):
        Event("1", "", "").data = "changed"  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["abcd", "a-channel", "A_b-9", "0000", "----", "_a1b", "a" * 64, "_all2", "Streams"]
)
def test_names_that_channels_can_have(name: str) -> None:
    assert check_channel_name(name) == name
    assert is_channel_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "abc",
        "a" * 65,
        "a/bc",
        "a bc",
        "abcd\n",
        "äbcd",
        "a.bcd",
        "..",
        "a%20b",
        "١٢٣٤",
        "a\0bc",
    ],
)
def test_names_that_channels_cannot_have(name: str) -> None:
    with pytest.raises(InvalidName, match="4 to 64 letters, digits, '_' or '-'"):
        check_channel_name(name)
    assert not is_channel_name(name)


@pytest.mark.parametrize(
    "name", ["streams", "query", "consumers", "health", "metrics", "_all", "_system"]
)
def test_names_that_are_reserved(name: str) -> None:
    with pytest.raises(InvalidName, match="reserved"):
        check_channel_name(name)


@given(st.text(alphabet=NAME_LETTERS + "/. ä\n", max_size=70))
def test_a_name_is_a_channel_or_is_refused(name: str) -> None:
    by_rule = re.fullmatch(r"[A-Za-z0-9_-]{4,64}(?!\n)", name) is not None
    by_rule = by_rule and re.fullmatch("_[A-Za-z]+", name) is None
    reserved = name in ("streams", "query", "consumers", "health", "metrics")
    assert is_channel_name(name) == (by_rule and not reserved)


def test_a_file_is_called_like_its_log() -> None:
    assert file_name("a-channel_1", "tsv") == "a-channel_1.tsv"
    for name in ("a/b", "a:b", "a b", "%41", "ä"):
        stem, _, form = file_name(name, "ndjson").rpartition(".")
        assert re.fullmatch("[A-Za-z0-9_.%-]+", stem)
        assert (unquote(stem), form) == (name, "ndjson")


@pytest.mark.parametrize("bad", list("\t\n\r\0"))
def test_what_would_break_a_line_is_in_no_id_and_no_type(bad: str) -> None:
    for check in (check_id, check_type):
        for value in (bad, f"a{bad}", f"{bad}a", f"a{bad}a"):
            with pytest.raises(InvalidEvent, match="TAB, LF, CR"):
                check(value)


@pytest.mark.parametrize("bad", ["\x01", "\x0b", "\x1f", "\x7f", " a", "a ", " "])
def test_an_id_that_no_header_carries_is_refused(bad: str) -> None:
    with pytest.raises(InvalidEvent, match="Last-Event-ID"):
        check_id(bad)
    assert not fits_header(bad)
    assert not ids_fit_header([b"7", bad.encode(), b"8"])
    assert check_type(bad) == bad


@pytest.mark.parametrize("good", ["", "7", "a b", "ä", "a\u0085\u2028b", "~", "!", ":"])
def test_ids_that_headers_carry(good: str) -> None:
    assert check_id(good) == good
    assert ids_fit_header([good.encode()])


@given(st.lists(st.text(alphabet="a \x01\x0b\x7f\u0085", max_size=3)))
def test_many_ids_fit_if_each_does(values: list[str]) -> None:
    together = ids_fit_header([each.encode() for each in values])
    assert together == all(map(fits_header, values))


@pytest.mark.parametrize("word", ["start", "earliest"])
def test_a_word_for_the_beginning_is_no_id(word: str) -> None:
    with pytest.raises(InvalidEvent, match="beginning"):
        check_id(word)
    assert check_type(word) == word


def test_limits_count_bytes_of_utf8() -> None:
    assert check_id("ä" * (ID_BYTES // 2))
    assert check_type("a" * TYPE_BYTES)
    with pytest.raises(InvalidEvent, match="id has 257 bytes; the limit is 256"):
        check_id("a" * (ID_BYTES + 1))
    with pytest.raises(InvalidEvent, match="event type has 258 bytes; the limit is 256"):
        check_type("ä" * (TYPE_BYTES // 2 + 1))
    assert check_id("abc", 3)
    with pytest.raises(InvalidEvent, match="limit is 2"):
        check_id("abc", 2)
    check_size(5, 5)
    with pytest.raises(TooLarge, match="limit is 5"):
        check_size(6, 5)


def test_a_lone_surrogate_is_not_utf8() -> None:
    with pytest.raises(InvalidEvent, match="not UTF-8"):
        check_type("\udcff")


@given(times)
def test_an_id_reads_as_its_time(moment: int) -> None:
    identity = id_at(moment)
    assert len(identity) == ID_LENGTH
    assert is_hub_form(identity.encode())
    assert time_of(identity) == moment


@given(times, st.integers(-MICROSECONDS, MICROSECONDS))
def test_ids_sort_as_their_times(moment: int, step: int) -> None:
    other = max(0, moment + step)
    assert (id_at(moment) < id_at(other)) == (moment < other)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_ids_go_on_over_the_second(count: int) -> None:
    first = NOW // MICROSECONDS * MICROSECONDS + 999_998
    assert ids_from(first, count) == [id_at(first + n).encode() for n in range(count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T11:40:10.793214Z", "2026-11-20T11:40:10.793214Z"),
        ("2026-11-20T11:40:10.793Z", "2026-11-20T11:40:10.793000Z"),
        ("2026-11-20T11:40:10,5", "2026-11-20T11:40:10.500000Z"),
        ("2026-11-20T11:40:10.123456789Z", "2026-11-20T11:40:10.123456Z"),
        ("2026-11-20 11:40:10", "2026-11-20T11:40:10.000000Z"),
        ("2026-11-20T11:40", "2026-11-20T11:40:00.000000Z"),
        ("2026-11-20", "2026-11-20T00:00:00.000000Z"),
        ("2026-11-20T11:40:10+01:30", "2026-11-20T10:10:10.000000Z"),
        ("2026-11-20T11:40:10-0100", "2026-11-20T12:40:10.000000Z"),
        # A plus that stood in a URL without %2B.
        ("2026-11-20T11:40:10 01:30", "2026-11-20T10:10:10.000000Z"),
        ("2026-11-20 11:40 0130", "2026-11-20T10:10:00.000000Z"),
        ("1969-12-31T23:59:59Z", None),
    ],
)
def test_times_in_other_forms(text: str, expected: str | None) -> None:
    moment = time_of(text)
    assert moment is not None
    if expected is None:
        assert moment == -MICROSECONDS
    else:
        assert id_at(moment) == expected


@pytest.mark.parametrize(
    "text",
    ["", "7", "now", "2026", "2026-13-01", "2026-02-30", "2026-11-20T25:00:00Z", "11:40:10",
     "2026-11-20T11:40:60Z", "2026-11-20T11:40:10.Z", "x2026-11-20", "2026-11-20T11:40:10Zx",
     "2026-11-20\n", "٢٠٢٦-11-20", "0000-01-01", "2026-11-20T11:40:10+99:00", "2026-W47-5"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    assert time_of(text) is None


def test_a_time_agrees_with_the_standard_library() -> None:
    moment = time_of("2026-11-20T11:40:10.793214Z")
    assert moment == NOW
    assert datetime.fromtimestamp(NOW / MICROSECONDS, UTC).isoformat(timespec="seconds") == (
        "2026-11-20T11:40:10+00:00"
    )


@pytest.mark.parametrize(
    "text", [b"", b"2026-11-20T11:40:10.79321Z", b"2026-11-20T11:40:10.793214+", b"x" * ID_LENGTH]
)
def test_other_ids_are_not_in_the_hubs_form(text: bytes) -> None:
    assert not is_hub_form(text)


def order_of(values: list[str]) -> IdOrder:
    """The order of ids, found in the plainest way."""
    order = IdOrder()
    moments = [time_of(each) for each in values]
    clocks = [
        moment
        for each, moment in zip(values, moments, strict=True)
        if moment is not None and is_hub_form(each.encode()) and each < "9999"
    ]
    order.clock = max(clocks, default=0)
    known = [moment for moment in moments if moment is not None]
    order.ordered = len(known) == len(values) and known == sorted(known)
    return order


@given(st.lists(ids), st.lists(ids))
def test_the_order_of_ids(first: list[str], behind: list[str]) -> None:
    at_once, in_parts, other = IdOrder(), IdOrder(), IdOrder()
    at_once.extend([each.encode() for each in first + behind])
    in_parts.extend([each.encode() for each in first])
    other.extend([each.encode() for each in behind])
    in_parts.append(other)
    assert at_once == in_parts
    expected = order_of(first + behind)
    assert (at_once.clock, at_once.ordered) == (expected.clock, expected.ordered)


@given(st.lists(ids), times)
def test_the_next_id_is_above_all_own_ids(given_ids: list[str], now: int) -> None:
    order = IdOrder()
    order.extend([each.encode() for each in given_ids])
    clock = order.next_clock(now)
    assert clock == max(now, order.clock + 1)
    own = [each for each in given_ids if is_hub_form(each.encode()) and each < "9999"]
    assert all(each < id_at(clock) for each in own)


def test_a_far_future_id_does_not_push_the_clock_over() -> None:
    order = IdOrder()
    order.extend([b"9999-12-31T23:59:59.999999Z"])
    assert order.next_clock(NOW) == NOW
