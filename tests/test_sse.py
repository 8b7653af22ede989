"""The event stream: what the hub writes is what a client reads (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import TooLarge
from hub.event import Event
from hub.formats import encode_line, split_rows
from hub.sse import HEARTBEAT, RESET, Message, Parser, frames, retry
from tests import examples


def parse(pieces: Iterable[bytes], parser: Parser | None = None) -> list[Message]:
    parser = parser or Parser()
    return [message for piece in pieces for message in parser.feed(piece)]


def in_every_way(stream: bytes) -> list[Message]:
    """The messages of a stream, which must be the same whole, byte by byte and in halves."""
    whole = parse([stream])
    assert parse(examples.bytewise(stream)) == whole
    for at in range(len(stream)):
        assert parse([stream[:at], b"", stream[at:]]) == whole
    return whole


def test_frames_byte_for_byte() -> None:
    rows = [[b"1", b"type", b"data"], [b"2", b"", b""], [b"3", b"x", b"a\x0b\x0bb\x0b"]]
    assert frames(rows) == (
        b"event: type\ndata: data\nid: 1\n\n"
        b"data: \nid: 2\n\n"
        b"event: x\ndata: a\ndata: \ndata: b\ndata: \nid: 3\n\n"
    )
    assert frames([]) == b""


def test_frames_of_one_type() -> None:
    rows = [[b"1", b"a", b"x"], [b"2", b"b", b"x"], [b"3", b"", b"x"]]
    assert [each.id for each in parse([frames(rows, b"b")])] == ["2"]
    assert [each.id for each in parse([frames(rows, b"")])] == ["3"]
    assert frames(rows, b"c") == b""


@given(st.lists(examples.events(examples.ids.filter(bool))), examples.cuts)
def test_a_client_reads_what_was_posted(events: list[Event], cuts: list[int]) -> None:
    rows = split_rows(b"".join(map(encode_line, events)))
    stream = retry(2000) + HEARTBEAT + frames(rows)
    expected = [Message(each.event or "message", each.data, each.id) for each in events]
    parser = Parser()
    assert parse(examples.pieces(stream, cuts), parser) == expected
    assert parser.retry == 2000
    assert parser.last_event_id == (events[-1].id if events else "")


@pytest.mark.parametrize("character", ["\u0085", "\u2028", "\u2029", "\f", "\x1c", "\ufeff"])
def test_what_other_programs_take_for_line_breaks_survives(character: str) -> None:
    event = Event("1", character, f"{character}a{character}\n{character}")
    messages = in_every_way(frames(split_rows(encode_line(event))))
    assert messages == [Message(event.event, event.data, "1")]


def test_the_examples_of_the_standard() -> None:
    assert in_every_way(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [
        Message("message", "YHOO\n+2\n10", "")
    ]
    stream = (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n"
    )
    assert in_every_way(stream) == [
        Message("message", "first event", "1"),
        Message("message", "second event", ""),
        Message("message", " third", ""),
    ]
    assert in_every_way(b"data\n\ndata\ndata\n\ndata:") == [
        Message("message", "", ""),
        Message("message", "\n", ""),
    ]
    assert in_every_way(b"data:test\n\ndata: test\n\n") == 2 * [Message("message", "test", "")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end(end: bytes) -> None:
    stream = end.join([b"id: 1", b"event: t", b"data: a", b"data: b", b"", b"data: c", b"", b""])
    assert in_every_way(stream) == [Message("t", "a\nb", "1"), Message("message", "c", "1")]


def test_line_ends_of_all_kinds_in_one_stream() -> None:
    assert in_every_way(b"data: a\rdata: b\r\ndata: c\n\r\ndata: d\r\r\r\n\n") == [
        Message("message", "a\nb\nc", ""),
        Message("message", "d", ""),
    ]


def test_a_byte_order_mark_counts_at_the_start_only() -> None:
    mark = b"\xef\xbb\xbf"
    assert in_every_way(mark + b"data: a\n\n") == [Message("message", "a", "")]
    assert in_every_way(mark + b"\ndata: a\n\n") == [Message("message", "a", "")]
    assert in_every_way(b"\n" + mark + b"data: a\n\n") == []
    assert in_every_way(mark + mark + b"data: a\n\n") == []
    assert in_every_way(b"data: \xef\xbb\xbfa\n\n") == [Message("message", "\ufeffa", "")]


def test_comments_and_unknown_fields_are_passed_over() -> None:
    stream = b":\n: data: x\n:\ndata: a\nDATA: x\n data: x\ndatax: x\nx\n:\n\n"
    assert in_every_way(stream) == [Message("message", "a", "")]


def test_an_id_with_nul_is_ignored() -> None:
    assert in_every_way(b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n") == [
        Message("message", "a", "1"),
        Message("message", "b", "1"),
    ]


def test_an_id_counts_once_its_block_is_finished() -> None:
    parser = Parser("0")
    assert parse([b"id: 1\n"], parser) == []
    assert parser.last_event_id == "0"
    assert parse([b"\n"], parser) == []  # no data: nothing is dispatched
    assert parser.last_event_id == "1"
    assert parse([b"data: a\n\n"], parser) == [Message("message", "a", "1")]
    assert parse([b"id\ndata: b\n\n"], parser) == [Message("message", "b", "")]
    assert parser.last_event_id == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"10", 10),
        (b"007", 7),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"1 ", None),
        ("\u0663".encode(), None),
        (b"9" * 5000, None),
    ],
)
def test_retry_is_digits_only(value: bytes, expected: int | None) -> None:
    parser = Parser()
    assert parse([b"retry: " + value + b"\ndata: a\n\n"], parser)
    assert parser.retry == expected


def test_a_type_without_data_is_forgotten() -> None:
    assert in_every_way(b"event: t\n\ndata: a\n\n") == [Message("message", "a", "")]
    assert in_every_way(b"event: t\nevent\ndata: a\n\n") == [Message("message", "a", "")]


def test_an_unfinished_message_is_dropped() -> None:
    assert in_every_way(b"data: a\n\nid: 9\ndata: b") == [Message("message", "a", "")]
    assert in_every_way(b"data: a\n\nid: 9\ndata: b\n") == [Message("message", "a", "")]


LIMIT = 20

FITTING = [
    b"x" * LIMIT + b"\n",
    b":" * LIMIT + b"\r\n",
    b"data: " + b"x" * (LIMIT - 6) + b"\n\n",
    b"data\n" * (LIMIT + 1) + b"\n",
    b"data: 123456789\rdata: 1234567890\r\r",
    b"data: 1234567890\n" + b":\n" * LIMIT + b"event: " + b"t" * (LIMIT - 7) + b"\n\n",
    b"data: 1234567890\n\n" * LIMIT,
]
"""Where nothing has more than `LIMIT` bytes: lines without their end, data with the LF inside."""

TOO_LONG = [
    b"x" * LIMIT + b"x",
    b"x" * LIMIT + b"x\n",
    b":" * LIMIT + b":\r\n",
    b"data: " + b"x" * (LIMIT - 5) + b"\n",
    b"data\n" * (LIMIT + 2),
    b"data: 1234567890\rdata: 1234567890\r",
    b"id: " + b"1" * (LIMIT - 3),
    "data: {}".format("\u00e4" * LIMIT).encode(),
]


def read(pieces: Iterable[bytes]) -> tuple[list[Message], str]:
    """The messages, and at which fault reading ends."""
    parser = Parser(limit=LIMIT)
    messages: list[Message] = []
    try:
        for piece in pieces:
            messages += parser.feed(piece)
        parser.feed(b"")
    except TooLarge as fault:
        with pytest.raises(TooLarge):
            parser.feed(b"\ndata: a\n\n")  # it goes on nowhere
        return messages, str(fault)
    return messages, ""


@pytest.mark.parametrize("stream", FITTING)
def test_what_is_not_too_long(stream: bytes) -> None:
    assert read(examples.bytewise(stream)) == read([stream]) == (parse([stream]), "")


@pytest.mark.parametrize("stream", TOO_LONG)
@pytest.mark.parametrize("before", [b"", b"data: before\n\n", b"data: before\r\n\r\n:\n"])
@pytest.mark.parametrize("behind", [b"", b"\n", b"\n\ndata: a\n\n"])
def test_a_line_or_an_event_that_never_ends(before: bytes, stream: bytes, behind: bytes) -> None:
    """What came before it is read, however the pieces are cut."""
    whole = before + stream + behind
    found = read([whole])
    assert found[0] == parse([before])
    assert f"more than {LIMIT} bytes" in found[1]
    assert read(examples.bytewise(whole)) == found
    for at in range(len(whole)):
        assert read([whole[:at], whole[at:]]) == found


def test_what_never_ends_is_not_kept() -> None:
    parser = Parser(limit=1000)
    for _ in range(400):
        assert parser.feed(b"data\n") == []
    with pytest.raises(TooLarge, match="an event of the event stream has more than 1000 bytes"):
        parse(400 * [b"data: x\n"], parser)
    assert len(pickle.dumps(vars(parser))) < 1000


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert in_every_way(b"id: \xff\nevent: \xc3\ndata: a\xe2\x82\n\n") == [
        Message("\ufffd", "a\ufffd", "\ufffd")
    ]


def test_characters_are_not_torn_by_pieces() -> None:
    assert in_every_way("data: äö\u2028\U0001f600\n\n".encode()) == [
        Message("message", "äö\u2028\U0001f600", "")
    ]


def test_what_the_hub_says_beside_events() -> None:
    parser = Parser("7")
    assert parse([retry(2000), HEARTBEAT], parser) == []
    assert (parser.retry, parser.last_event_id) == (2000, "7")
    # A reset is a message without an id: the client keeps the one that it had.
    assert parse([RESET], parser) == [Message("hub-reset", "", "7")]
    assert b"\n\n" not in retry(2000) + HEARTBEAT


@given(st.binary(max_size=60), examples.cuts)
def test_any_bytes_in_any_pieces(stream: bytes, cuts: list[int]) -> None:
    assert parse(examples.pieces(stream, cuts)) == parse([stream])


parts = st.sampled_from(
    (
        b"\r", b"\n", b"\r\n", b"data", b"data:", b"id:", b"event: ", b":", b" ", b"a", b"\0",
        b"\xef\xbb\xbf", b"retry: 5",
    )
)  # fmt: skip


@given(st.lists(parts, max_size=20), examples.cuts)
def test_any_fields_in_any_pieces(each: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(each)
    whole, cut = Parser(), Parser()
    assert parse([stream], whole) == parse(examples.pieces(stream, cuts), cut)
    assert (whole.retry, whole.last_event_id) == (cut.retry, cut.last_event_id)
    assert parse([stream]) == by_the_book(stream)


def by_the_book(stream: bytes) -> list[Message]:
    """The standard's own words, step by step, on a whole stream."""
    text = stream.decode(errors="replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    messages: list[Message] = []
    data = event = last_id = buffered_id = ""
    for line in lines:
        if not line:
            last_id = buffered_id
            if data:
                messages.append(Message(event or "message", data.removesuffix("\n"), last_id))
            data = event = ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            buffered_id = value
    return messages
