"""Documents as server-sent events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hub.document import KEYS, Keys
from hub.matcher import compile_matcher
from hub.sse import Parser
from hub.streams import Streams
from hub.streams.framing import PIECE, Framer
from tests.streams.writing import Writing


async def test_frames(streams: Streams, writing: Writing, tmp_path: Path) -> None:
    await writing.commit("orders", "AB")
    view = await streams.view("orders")
    framed = await Framer(KEYS).read(view, 0, await view.settle())
    lines = (tmp_path / "events" / "orders.ndjson").read_bytes().split(b"\n")
    assert framed.end == 2
    assert framed.frames == b"".join(
        b"event: %b\ndata: %b\nid: %d\n\n" % (kind, line, number)
        for number, (kind, line) in enumerate(zip((b"A", b"B"), lines, strict=False), 1)
    )
    rest = await Framer(KEYS).read(view, 1, 2)
    assert framed.frames.endswith(rest.frames)
    assert rest.frames.count(b"\n\n") == 1
    nothing = await Framer(KEYS).read(view, 2, 2)
    assert (nothing.frames, nothing.end) == (b"", 2)


@pytest.mark.parametrize("kind", ["a\\nb", "a\\rb", "a\\u0000b", ""])
async def test_types_that_would_break_a_frame(streams: Streams, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "events" / "orders.ndjson"
    path.write_text(
        f'{{"stream":"orders","payload":{{"type":"{kind}"}},"metadata":{{"id":"1"}}}}\n'
    )
    view = await streams.view("orders")
    framed = await Framer(KEYS).read(view, 0, await view.settle())
    (message,) = Parser().feed(framed.frames)
    assert (message.event, message.id) == ("message", "1")
    assert json.loads(message.data)["payload"] == {"type": json.loads(f'"{kind}"')}


async def test_white_space_by_hand(streams: Streams, tmp_path: Path) -> None:
    text = '{"stream":"orders",\r"payload":\r\t{"type":"A"},"metadata":{"id":"1"}}\n'
    (tmp_path / "events" / "orders.ndjson").write_bytes(text.encode())
    view = await streams.view("orders")
    framed = await Framer(KEYS).read(view, 0, await view.settle())
    (message,) = Parser().feed(framed.frames)
    assert json.loads(message.data) == json.loads(text)


async def test_the_key_of_the_type_is_an_option(streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "A")
    view = await streams.view("orders")
    framed = await Framer(Keys("kind")).read(view, 0, 1)
    assert framed.frames.startswith(b"data: ")


async def test_pieces(streams: Streams, writing: Writing) -> None:
    for _ in range(8):
        await writing.commit("long", "AB" * 1000)
    for matcher in (None, compile_matcher({"payload": {"type": "B"}})):
        view = await streams.view("long", matcher)
        head = await view.settle()
        place, whole, pieces = 0, b"", 0
        while place < head:
            framed = await Framer(KEYS).read(view, place, head)
            assert framed.end > place
            place = framed.end
            whole += framed.frames
            pieces += 1
        step = 1 if matcher is None else 2
        assert [int(each.id) for each in Parser().feed(whole)] == list(range(step, 16001, step))
        assert 1 < pieces <= len(whole) // PIECE + 1


async def test_nothing_that_matches(streams: Streams, writing: Writing) -> None:
    await writing.commit("orders", "A" * 1000)
    view = await streams.view("orders", compile_matcher({"payload": {"type": "B"}}))
    framed = await Framer(KEYS).read(view, 0, 1000)
    assert (framed.frames, framed.end) == (b"", 1000)
