"""Bodies as lines, in whatever pieces they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.client import Event, UnexpectedAnswer
from hub.client.lines import documents_of, events_of, line_of, whole_lines
from hub.client.payloads import column_of
from hub.sse import MOST_BYTES
from tests.examples import bytewise, cuts, events, ids, pieces


async def _flow(parts: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for each in parts:
        yield each


async def _lines(parts: Iterable[bytes], limit: int) -> list[bytes]:
    return [each async for each in whole_lines(_flow(parts), limit)]


def _drive(parts: Iterable[bytes], limit: int = MOST_BYTES) -> list[bytes]:
    work = _lines(parts, limit)
    try:
        work.send(None)
    except StopIteration as done:
        found: list[bytes] = done.value
        return found
    raise AssertionError("it waits for something")


@given(st.lists(events(ids.filter(bool)), max_size=8), cuts)
def test_events_come_out_however_their_lines_are_cut(drawn: list[Event], at: list[int]) -> None:
    wanted = [Event(each.id, each.event, each.data) for each in drawn]
    body = b"".join(line_of(each.id, each.event, column_of(each.data)) for each in wanted)
    for parts in (pieces(body, at), bytewise(body), [body]):
        chunks = _drive(parts)
        assert all(each.endswith(b"\n") for each in chunks)
        assert [event for each in chunks for event in events_of(each)] == wanted


@given(st.lists(st.sampled_from([b"x", b"xx", b"\n", b"xxxxx\n", b"x\nxx"]), max_size=12))
def test_a_line_that_never_ends(parts: list[bytes]) -> None:
    """An error as soon as more is held than may be."""
    lines = b"".join(parts).split(b"\n")
    fits = all(len(each) <= 4 for each in lines)
    if fits:
        assert b"".join(_drive(parts, limit=4)) == b"".join(each + b"\n" for each in lines[:-1])
        return
    with pytest.raises(UnexpectedAnswer, match="more than 4 bytes") as told:
        _drive([*parts, b"xxxxx"], limit=4)
    assert told.value.status == 200


def test_a_line_without_its_end_is_no_event() -> None:
    assert _drive([b"1\t\ta\n2\t", b"\tb"]) == [b"1\t\ta\n"]


def test_documents_keep_the_value_of_their_numbers() -> None:
    lines = b'{"stream":"s","payload":{"type":"T","n":1e400,"m":2.50},"metadata":{"id":"1"}}\n'
    (found,) = documents_of(lines)
    assert (found.stream, found.type, found.id, found.number) == ("s", "T", "1", None)
    assert str(found.payload["n"]) == "1E+400"
    assert found.payload["m"] == 2.5


@pytest.mark.parametrize("lines", [b"<html>\n", b"{}\n", b'{"stream":1}\n'])
def test_what_is_no_document_is_an_error_of_ours(lines: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="no NDJSON document"):
        documents_of(lines)
