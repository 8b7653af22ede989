"""Reading the bodies of batch posts, whole and in pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.batch import BatchReader, NdjsonReader, TsvReader
from hub.errors import InvalidEvent
from hub.event import Event, IdOrder, Limits, id_at
from hub.formats import Batch, decode_row, encode_line, split_rows
from tests import examples

LIMITS = Limits()
SMALL = Limits(event_bytes=8, id_bytes=6, type_bytes=4)
NOW = 1_795_174_810_793_214

MakeReader = Callable[[], BatchReader]


def read(reader: BatchReader, pieces: Iterable[bytes]) -> Batch:
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def summary(batch: Batch) -> tuple[bytes, int, int, str, str, IdOrder]:
    """All of a batch but how its bytes are cut into chunks."""
    assert all(chunk.endswith(b"\n") for chunk in batch.chunks)
    return (
        b"".join(batch.chunks),
        batch.count,
        batch.blank,
        batch.first_id,
        batch.last_id,
        batch.order,
    )


def outcome(make: MakeReader, pieces: Iterable[bytes]) -> object:
    """The batch, or the line that was refused."""
    try:
        return summary(read(make(), pieces))
    except InvalidEvent as error:
        return error.line


def test_tsv_line_by_line() -> None:
    body = b"7\ttype\tdata\n\t\t\n8\t\ta\x0bb\tc\n"
    batch = read(TsvReader(LIMITS), [body])
    assert summary(batch)[:5] == (body, 3, 1, "7", "8")


def test_a_last_line_without_line_break_counts() -> None:
    assert summary(read(TsvReader(LIMITS), [b"7\t\ta\n8\t\tb"]))[:2] == (b"7\t\ta\n8\t\tb\n", 2)
    assert read(NdjsonReader(LIMITS), [b"1\n2"]).count == 2
    assert read(NdjsonReader(LIMITS), [b"1\r"]).chunks == [b"\t\t1\n"]


@pytest.mark.parametrize("make", [TsvReader, NdjsonReader])
def test_an_empty_body_is_an_empty_batch(make: Callable[[Limits], BatchReader]) -> None:
    for pieces in ([], [b""], [b"", b""]):
        assert summary(read(make(LIMITS), pieces)) == (b"", 0, 0, "", "", IdOrder())


def test_line_breaks_of_tsv() -> None:
    batch = read(TsvReader(LIMITS), [b"1\tt\ta\r\n2\tt\tb\rc\td\r\re\r\n"])
    assert b"".join(batch.chunks) == b"1\tt\ta\n2\tt\tb\x0bc\td\x0b\x0be\n"
    with pytest.raises(InvalidEvent, match="line 2: it holds a NUL or CR"):
        read(TsvReader(LIMITS), [b"1\tt\ta\n2\rx\tt\ta\rb\n"])


@pytest.mark.parametrize("line", [b"", b"\t", b"a b c", b"7\ttype\t\xff", b"7\ttype\t\0"])
@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_a_bad_tsv_line_is_named(line: bytes, cut: int) -> None:
    body = b"1\t\ta\n" * 4 + line + b"\n" + b"1\t\ta\n"
    with pytest.raises(InvalidEvent, match=r"^line 5: ") as caught:
        read(TsvReader(LIMITS), [body[:cut], body[cut:]])
    assert caught.value.line == 5


def test_ndjson_line_by_line() -> None:
    body = b'{"n": 1.10}\r\n\n  \n[1,\t2]\n"x"'
    batch = read(NdjsonReader(LIMITS, "type"), [body])
    expected = b'\ttype\t{"n": 1.10}\n\ttype\t[1,\t2]\n\ttype\t"x"\n'
    assert summary(batch) == (expected, 3, 3, "", "", IdOrder())


def test_ndjson_events_that_share_an_id() -> None:
    batch = read(NdjsonReader(LIMITS, "type", id_at(NOW)), [b"1\n", b"2\n"])
    row = f"{id_at(NOW)}\ttype\t"
    assert b"".join(batch.chunks) == f"{row}1\n{row}2\n".encode()
    assert (batch.count, batch.blank, batch.first_id, batch.last_id) == (
        2,
        0,
        id_at(NOW),
        id_at(NOW),
    )
    assert batch.order.clock == NOW


def test_blank_lines_of_ndjson_count_in_line_numbers() -> None:
    for pieces in ([b"1\n\n\nbad\n"], [b"1\n", b"\n\nb", b"ad\n"]):
        with pytest.raises(InvalidEvent, match=r"^line 4: it is not JSON"):
            read(NdjsonReader(LIMITS), pieces)


def test_ndjson_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidEvent, match=r"^line 2: .*not UTF-8"):
        read(NdjsonReader(LIMITS), [b'1\n{"a":"\xff"}\n'])


@pytest.mark.parametrize(
    ("make", "good", "bad"),
    [
        (lambda: TsvReader(SMALL), b"123456\tabcd\t12345678", b"123456\tabcd\t123456789"),
        (lambda: TsvReader(SMALL), b"\t\t12345678", b"\t\t123456789"),
        (lambda: TsvReader(SMALL), b"\tabcd\t", b"\tabcde\t"),
        (lambda: TsvReader(SMALL), b"123456\t\t", b"1234567\t\t"),
        (lambda: TsvReader(SMALL), b"123456\tabcd\t12345678\r", b"123456\tabcd\t12345678\r\r"),
        (lambda: NdjsonReader(SMALL), b"12345678", b"123456789"),
        (lambda: NdjsonReader(SMALL), b"12345678\r", b" 12345678"),
        (lambda: NdjsonReader(SMALL), b"[1,2,3 ]", b'"' + b"a" * 100 + b'"'),
        (lambda: TsvReader(SMALL), b"\t\t", b"\t\t" + b"a" * 100),
    ],
)
def test_limits_whole_and_byte_by_byte(make: MakeReader, good: bytes, bad: bytes) -> None:
    for cut in (examples.bytewise, lambda whole: [whole]):
        for end in (b"", b"\n", b"\n" + good + b"\n"):
            assert read(make(), cut(good + b"\n" + good + end)).count >= 2
            with pytest.raises(InvalidEvent, match="limit") as caught:
                read(make(), cut(good + b"\n" + bad + end))
            assert caught.value.line == 2


def test_an_endless_line_is_refused_before_it_is_held() -> None:
    for reader in (TsvReader(SMALL), NdjsonReader(SMALL)):
        reader.feed(b"1" * 20)
        with pytest.raises(InvalidEvent, match=r"line 1: it has 40 bytes or more; .* is 8"):
            reader.feed(b"1" * 20)


@given(st.lists(examples.events(), min_size=1), st.booleans(), examples.cuts)
def test_tsv_events_come_back(events: list[Event], last_break: bool, cuts: list[int]) -> None:
    body = b"".join(map(encode_line, events))
    if not last_break:
        body = body.removesuffix(b"\n")
    batch = read(TsvReader(LIMITS), examples.pieces(body, cuts))
    rows = split_rows(b"".join(batch.chunks))
    assert [decode_row(row) for row in rows] == events
    assert (batch.first_id, batch.last_id) == (events[0].id, events[-1].id)
    assert batch.blank == sum(not each.id for each in events)
    order = IdOrder()
    order.extend([each.id.encode() for each in events if each.id])
    assert batch.order == order


def test_ids_that_the_hub_gives_are_not_counted_as_given() -> None:
    body = f"{id_at(NOW)}\t\t\n\t\t\n{id_at(NOW + 1)}\t\t\n".encode()
    batch = read(TsvReader(LIMITS), [body])
    assert (batch.blank, batch.order.ordered, batch.order.clock) == (1, True, NOW + 1)


lines = st.sampled_from(
    (
        b"", b"\t\t", b"7\tt\ta", b"\tt\ta\rb", b"x\ty", b"1", b"{}", b'{"a":"\xc3\xa4"}', b"\r",
        b" ", b"start\t\t", b"\xc3\t\t", b"123456789\t\t", b"1234567890123456",
        b"12345678901234567890123",
    )
)  # fmt: skip


@given(st.lists(lines, max_size=5), st.sampled_from([b"", b"\n", b"\r\n", b"\r"]), examples.cuts)
def test_pieces_read_as_the_whole(each: list[bytes], end: bytes, cuts: list[int]) -> None:
    body = b"\n".join(each) + end
    makers: list[MakeReader] = [
        lambda: TsvReader(SMALL),
        lambda: TsvReader(LIMITS),
        lambda: NdjsonReader(SMALL, "t"),
        lambda: NdjsonReader(LIMITS, "t", "id"),
    ]
    for make in makers:
        whole = outcome(make, [body])
        assert outcome(make, examples.pieces(body, cuts)) == whole
        assert outcome(make, examples.bytewise(body)) == whole


@given(st.lists(st.one_of(st.integers(), examples.text()), min_size=1), examples.cuts)
def test_ndjson_is_kept_to_the_letter(values: list[int | str], cuts: list[int]) -> None:
    texts = [json.dumps(each) for each in values]
    batch = read(NdjsonReader(LIMITS, "t"), examples.pieces("\n".join(texts).encode(), cuts))
    rows = split_rows(b"".join(batch.chunks))
    assert [decode_row(row) for row in rows] == [Event("", "t", text) for text in texts]
    assert all(re.fullmatch(rb"[^\r\n\0\x0b]*", row[2]) for row in rows)
