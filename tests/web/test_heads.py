"""Heads that come again: what is not parsed again is what the parser would have said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import event, given, settings
from hypothesis import strategies as st

from hub.web.connection import Connection
from hub.web.express import _TARGET, Express, Stored
from hub.web.heads import HEAD_BYTES, UNKNOWN, framing
from tests.conftest import Client
from tests.web.test_express import CLOSE, known, request
from tests.web.wire import PATIENCE, Answer, rows

PATHS = ("/a-channel", "/streams/orders/commit")

LINE = b"POST /a-channel?id=7 HTTP/1.1"
METHODS = st.sampled_from([b"POST"] * 5 + [b"GET", b"PUT", b"DELETE", b"post", b"CONNECT"])
TARGETS = st.sampled_from(
    [each.encode() for each in PATHS] * 3
    + [b"/a-channel?id=%C3%A4&event=a", b"/a-channel?a#b", b"/a-channel?a b", b"*", b"a", b""]
    + [
        b"/a-channel?x HTTP/1.1\r\nOrigin: http://a\r\nX: y",
        b'/a-channel?"<>\\',
        b"/a-channel?\xe4",
    ]
    + [b"/a-channel?a\tb", b"/a-channel?\x7f", b"/a-channel?a\rb", b"/a-channel?"]
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"http/1.1"])
LINES = st.tuples(METHODS, TARGETS, VERSIONS)
PLAIN = [b"Host: a", b"Accept: */*", b"X: a\tb", b"X:", b"X: ", b"Content-Type: text/plain"]
FRAMES = [b"Content-Length: 2", b"Content-Length : 2", b"content-length:2", b"Content-Length: 2, 2"]
CODED = [b"Transfer-Encoding: chunked", b"transfer-encoding: identity", b"Expect: 100-continue"]
CONNECTION = [b"Connection: upgrade", b"Upgrade: websocket", b"Connection: close"]
WRONG = [
    b" folded: 1",
    b"bad name: 1",
    b"X: \xff",
    b"X: a\nY: b",
    b"X: a\rb",
    b"X: a\0b",
    b"\xe4: a",
]
FIELDS = st.one_of([st.sampled_from(each) for each in (PLAIN, FRAMES, CODED, CONNECTION, WRONG)])
LENGTHS = st.sampled_from(
    [b"Content-Length: %d"] * 4
    + [b"content-length: %d", b"Content-Length: 0%d", b"Content-Length: +%d", b"CONTENT-LENGTH:%d"]
    + [b"Content-Length: %d ", b"Content-Length:  %d"]
)
ENDS = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r\r\n"])
BODIES = st.sampled_from([b"{}", b"", b"a\r\n\r\nb", b"x" * 300, b"GET / HTTP/1.1\r\n\r\n"])
BLOCKS = st.tuples(st.lists(FIELDS, max_size=3), st.none() | LENGTHS, st.lists(FIELDS, max_size=2))
HARMLESS = st.just(([b"Host: a"], b"Content-Length: %d", [b"Content-Type: text/plain"]))


def whole(line: bytes, block: Any, body: bytes, end: bytes = b"\r\n") -> bytes:
    """A request, or something like one."""
    before, length, after = block
    lengths = [] if length is None else [length % len(body)]
    return b"".join(each + end for each in [line, *before, *lengths, *after, b""]) + body


@st.composite
def requests(draw: st.DrawFn, blocks: st.SearchStrategy[Any] = HARMLESS | BLOCKS) -> bytes:
    """The same, perhaps with more or less behind its head than it says."""
    line = draw(st.just(LINE) | st.builds(b"%b %b %b".__mod__, LINES))
    message = whole(line, draw(blocks), draw(BODIES), draw(st.just(b"\r\n") | ENDS))
    if draw(st.integers(0, 3)):
        return message
    return draw(
        st.sampled_from([b"more", b"\r\n", request(b"/b-channel", b"")]).map(message.__add__)
        | st.integers(0, len(message)).map(lambda end: message[:end])
    )


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


Found = tuple[Any, bytes, bool]
"""A message, what came of its body, and whether that is all."""


def parsed(parser: HttpRequestParser, data: bytes) -> list[Found] | None:
    """What the parser finds in data that it is fed; None: no requests."""
    try:
        messages, upgraded, _ = parser.feed_data(data)
    except HttpProcessingError:
        return None
    if upgraded:
        return None
    return [
        (message, b"".join(getattr(content, "_buffer", ())), content.is_eof())
        for message, content in messages
    ]


def parser_of(loop: asyncio.AbstractEventLoop) -> HttpRequestParser:
    return HttpRequestParser(BaseProtocol(loop), loop, 2**16, auto_decompress=False)


@settings(max_examples=1500)
@given(data=requests())
def test_a_request_ends_where_the_parser_ends_it(
    loop: asyncio.AbstractEventLoop, data: bytes
) -> None:
    size, head = framing(data)
    event(f"known: {size != UNKNOWN}, a head to remember: {head is not None}")
    if size == UNKNOWN:
        return
    message = data[:size] + b"x" * (size - len(data))
    parser = parser_of(loop)
    found = parsed(parser, message)
    if found is None:  # the connection ends with 400
        return
    ((_, _, complete),) = found
    assert complete
    behind = parsed(parser, request(b"/behind", b""))
    assert behind is None or [each[0].path for each in behind] == ["/behind"]
    less = parsed(parser_of(loop), message[:-1])
    assert not (less and less[0][2])


@settings(max_examples=1500)
@given(data=st.data(), block=HARMLESS | BLOCKS)
def test_what_is_not_parsed_again_the_parser_finds_the_same(
    loop: asyncio.AbstractEventLoop, data: st.DataObject, block: Any
) -> None:
    first = whole(LINE, block, b"{}")
    size, head = framing(first)
    known = parsed(parser_of(loop), first)
    if head is None or known is None or size != len(first):
        return
    again = data.draw(requests(st.just(block) | BLOCKS))
    read = head.read(again)
    event(f"read: {read is not None}")
    if read is None:
        return
    target, body = read
    if target.partition("?")[0] not in PATHS or not _TARGET(target):
        return
    event("taken")
    found = parsed(parser_of(loop), again)
    assert found
    ((message, sent, complete),) = found
    assert (message.method, message.path, sent, complete) == ("POST", target, body, True)
    assert fields(message) == fields(known[0][0])
    assert message.should_close == known[0][0].should_close


def fields(message: Any) -> list[tuple[bytes, bytes]]:
    """Its headers but for the length."""
    return [each for each in message.raw_headers if each[0].lower() != b"content-length"]


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which way each request went that was stored: `parsed`, `again`."""
    found: list[str] = []

    def watch(name: str, way: str) -> None:
        take = getattr(Express, name)

        def taking(self: Express, *given: Any) -> Stored | None:
            stored: Stored | None = take(self, *given)
            if stored is not None:
                found.append(way)
            return stored

        monkeypatch.setattr(Express, name, taking)

    watch("take", "parsed")
    watch("take_again", "again")
    return found


async def answers(hub: Client, *messages: bytes) -> list[Answer]:
    """What one connection is answered, one after the other."""
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    found = []
    for each in messages:
        writer.write(each)
        raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        raw += await reader.readexactly(int(Answer(raw).headers["Content-Length"]))
        found.append(Answer(raw))
    writer.close()
    return found


KEPT = b"Content-Type: text/plain\r\n"


async def test_a_head_that_comes_again_is_not_parsed(
    hub: Client, events: Path, ways: list[str]
) -> None:
    await known(hub)
    got = await answers(
        hub,
        request(b"/a-channel?id=1", b"one", KEPT),
        request(b"/a-channel?id=2", b"twenty-two", KEPT),
        request(b"/streams/orders/commit", b'{"events": [{"type": "A"}]}', KEPT),
        request(b"/a-channel?id=3", b"three"),
        request(b"/a-channel?id=4", b"four"),
    )
    assert [each.status for each in got] == [201] * 5
    assert ways == ["parsed", "again", "again", "parsed", "again"]
    assert [line[0] for line in rows(events)][1:] == [b"1", b"2", b"3", b"4"]


def test_a_long_head_is_the_parsers_alone() -> None:
    """An idle connection would hold it, and to look at it takes time."""
    short = request(b"/a-channel", b"x", b"X: %b\r\n" % (b"y" * (HEAD_BYTES - 100)))
    size, head = framing(short)
    assert size == len(short)
    assert head is not None
    assert framing(request(b"/a-channel", b"x", b"X: %b\r\n" % (b"y" * HEAD_BYTES))) == (
        UNKNOWN,
        None,
    )


@pytest.mark.parametrize(
    ("message", "status", "way"),
    [
        (request(b"/a-channel?id=\xe4", b"x"), 400, None),
        (request(b"/b-channel?id=2", b"x"), 201, None),
        (request(b"/a-channel?id=2", b"x", b"Origin: http://elsewhere\r\n"), 403, None),
        (request(b"/a-channel?id=2", b""), 201, "parsed"),
        (request(b"/a-channel?id=2", b"x").replace(b"Length: 1", b"Length: 01"), 201, "parsed"),
        (request(b"/a-channel?id=a%09b", b"x"), 422, None),
        (request(b"/a-channel?id=2", b"a\0b"), 422, None),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, None),
        (request(b"/a-channel", b"x")[:-1].replace(b"POST", b"PUT") + b"x", 200, None),
    ],
)
async def test_what_differs_is_parsed(
    hub: Client, ways: list[str], message: bytes, status: int, way: str | None
) -> None:
    await known(hub)
    first = request(b"/a-channel?id=1", b"one")
    got = await answers(hub, first, first.replace(b"id=1", b"id=5"), message)
    assert [each.status for each in got] == [201, 201, status]
    assert ways == ["parsed", "again", *filter(None, [way])]


async def test_a_head_in_a_target_is_none(hub: Client, events: Path, ways: list[str]) -> None:
    """The line ends at its first line break, whatever looks like a head behind it."""
    await known(hub)
    first = request(b"/a-channel?id=1", b"one")
    hidden = request(b"/a-channel?id=2 HTTP/1.1\r\nOrigin: http://elsewhere\r\nX: y", b"two")
    got = await answers(hub, first, hidden)
    assert [each.status for each in got] == [201, 403]
    assert [line[0] for line in rows(events)][1:] == [b"1"]


async def test_behind_what_the_parser_holds_all_is_parsed(
    hub: Client, events: Path, ways: list[str]
) -> None:
    """Chunks, several requests in one, and a body in parts: then it still waits, or may."""
    await known(hub)
    first, second = (request(b"/a-channel?id=%d" % number, b"text") for number in (1, 2))
    chunked = b"POST /a-channel?id=3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    for piece in (first, second[:-2], second[-2:], first, chunked + b"1\r\na\r\n", b"0\r\n\r\n"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)
    for piece in (second, second + CLOSE):
        writer.write(piece)
        await asyncio.sleep(0.05)
    raw = await asyncio.wait_for(reader.read(-1), PATIENCE)
    writer.close()
    assert raw.count(b"HTTP/1.1 201") == 6
    assert [line[0] for line in rows(events)][1:] == [b"1", b"2", b"1", b"3", b"2", b"2"]
    assert ways == ["parsed", "again", "parsed", "parsed"]


async def test_a_connection_that_is_asked_to_close_does(hub: Client, ways: list[str]) -> None:
    await known(hub)
    first = request(b"/a-channel?id=1", b"x")
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    for piece in (first, first, request(b"/a-channel?id=1", b"x", b"Connection: close\r\n")):
        writer.write(piece)
        await asyncio.sleep(0.05)
    raw = await asyncio.wait_for(reader.read(-1), PATIENCE)  # to the end of the connection
    writer.close()
    assert raw.count(b"HTTP/1.1 201") == 3
    assert ways == ["parsed", "again"]


async def test_what_ends_a_head_is_not_taken_for_a_request(hub: Client, events: Path) -> None:
    await known(hub)
    first = request(b"/a-channel?id=1", b"x")
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    for piece in (first, first + b"POST /b-channel HTTP/1.1\r\nX: ", first):
        writer.write(piece)
        await asyncio.sleep(0.05)
    for _ in range(3):
        assert b" 201 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    writer.close()
    assert len(rows(events, "b-channel")) == 1


async def test_nothing_is_learnt_of_the_one_before(
    hub: Client, ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that wait, the head that is remembered is that of the one that was taken."""
    await known(hub)
    begun = Connection._begin

    def beginning(self: Connection, *given: Any) -> None:
        begun(self, *given)
        if ways == ["parsed"]:  # both come while the first is under way
            self.data_received(request(b"/a-channel?id=2", b"x"))
            self.data_received(request(b"/a-channel?id=3", b"x", b"Origin: http://elsewhere\r\n"))

    monkeypatch.setattr(Connection, "_begin", beginning)
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(request(b"/a-channel?id=1", b"x", b"Accept: */*\r\n"))
    for status in (b"201", b"201", b"403"):
        assert status in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    writer.write(request(b"/a-channel?id=3", b"x", b"Origin: http://elsewhere\r\n"))
    assert b" 403 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    writer.close()
