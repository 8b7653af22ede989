"""Small writes on their express way are answered as aiohttp's way answers them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hub.errors import DiskFull
from hub.web import busypoll, express
from hub.web.bodies import SMALL
from hub.web.express import EXPRESS, Express, Stored, Ways
from tests.conftest import Client, StartHub
from tests.web.test_created import LAST, lines_of
from tests.web.wire import Answer, exchange, refused

VARYING = ("commitId", "committedAt")


def request(path: bytes, body: bytes, headers: bytes = b"", version: bytes = b"1.1") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    head = b"POST %b HTTP/%b\r\nHost: localhost\r\n%b%b\r\n" % (path, version, length, headers)
    return head + body


CLOSE = b"GET /health HTTP/1.1\r\nHost: x\r\n" + LAST + b"\r\n"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Stored | None]:
    """What `Express` said to each request that it was offered."""
    found: list[Stored | None] = []
    take = Express.take

    def taking(self: Express, *arguments: Any) -> Stored | None:
        found.append(take(self, *arguments))
        return found[-1]

    monkeypatch.setattr(Express, "take", taking)
    return found


async def known(hub: Client) -> None:
    """Ask for the paths once, so that their doors are known."""
    for path in ("/a-channel", "/streams/orders/commit"):
        async with hub.post(path) as answer:
            assert answer.status in (201, 400)


async def first_answer(hub: Client, message: bytes) -> Answer:
    """The answer to a request behind which the connection stays open, and another comes."""
    raw = (await exchange(hub, message + CLOSE)).raw
    head, _, rest = raw.partition(b"\r\n\r\n")
    length = int(Answer(raw).headers["Content-Length"])
    assert rest[length:].startswith(b"HTTP/1.1 200 OK\r\n"), raw
    return Answer(head + b"\r\n\r\n" + rest[:length])


def commit(**members: object) -> bytes:
    return json.dumps({"events": [{"type": "A"}], **members}).encode()


SAME = {
    "a post": (b"/a-channel?id=7", b"text", 201),
    "an empty one": (b"/a-channel?id=7&event=a", b"", 201),
    "a type that is none": (b"/a-channel?event=a%09b", b"text", 422),
    "data that is none": (b"/a-channel", b"a\0b", 422),
    "a commit": (b"/streams/orders/commit", commit(expectedVersion=0, metadata={"a": 1}), 201),
    "a version that is not so": (b"/streams/orders/commit", commit(expectedVersion=5), 409),
    "an old condition": (
        b"/streams/orders/commit",
        commit(condition={"types": ["A"], "noneMatchAfter": 99}),
        409,
    ),
    "no JSON": (b"/streams/orders/commit", b"{", 400),
    "no event": (b"/streams/orders/commit", b'{"events": [1]}', 422),
}


@pytest.mark.parametrize("name", SAME)
async def test_the_answer_is_the_same(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Any
) -> None:
    path, body, status = SAME[name]
    ours = await start_hub(events=tmp_path / "ours")
    await known(ours)
    mine = await first_answer(ours, request(path, body))
    theirs_hub = await start_hub(events=tmp_path / "theirs")
    monkeypatch.setattr(Express, "take", lambda *_: None)
    await known(theirs_hub)
    theirs = await first_answer(theirs_hub, request(path, body))
    assert mine.status == theirs.status == status
    assert lines_of(mine.head) == lines_of(theirs.head)
    if mine.headers["Content-Type"] == "application/json":
        documents = [json.loads(each.body) for each in (mine, theirs)]
        for each in documents:
            for varying in VARYING:
                each.pop(varying, None)
        assert documents[0] == documents[1]
    else:
        assert mine.body == theirs.body == b"7"


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (request(b"/a-channel?id=7", b"x", b"Origin: http://elsewhere\r\n"), 403),
        (request(b"/a-channel", b"x", b"origin: http://elsewhere\r\n"), 403),
        (request(b"/a-channel?id=7", b"x", b"Content-Encoding: identity\r\n"), 201),
        (request(b"/a-channel?id=7", b"1\ta\tb\n", b"Content-Type: application/x-ndjson\r\n"), 422),
        (request(b"/a-channel?id=7", b"x" * (SMALL + 1)), 201),
        (request(b"/b-channel?id=7", b"x"), 201),
        (request(b"/a/b", b"x"), 404),
        (request(b"/streams/orders/close", b""), 404),
        (request(b"//a-channel", b"x"), 404),
    ],
)
async def test_whatever_is_special_goes_the_other_way(
    hub: Client, taken: list[Stored | None], message: bytes, status: int
) -> None:
    await known(hub)
    taken.clear()
    assert (await first_answer(hub, message)).status == status
    assert taken in ([None], [])


async def test_the_loop_stays_awake_for_who_asks_again_at_once(
    hub: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busypoll, "SECONDS", 0.1)
    await known(hub)
    polling = hub.app[EXPRESS].polling
    for _ in range(busypoll.TRIES):
        assert not polling.awake
        await first_answer(hub, request(b"/a-channel", b"x"))
    assert polling.awake
    answers = await exchange(hub, request(b"/a-channel", b"x") * busypoll.MOST + CLOSE)
    assert answers.raw.count(b"HTTP/1.1 201") == busypoll.MOST
    times = 0
    while polling.awake:
        await asyncio.sleep(0.15)
        assert not polling.awake
        await first_answer(hub, request(b"/a-channel", b"x"))
        times += 1
    assert times > 1  # the requests that came at once are why it goes on


@pytest.mark.parametrize("close", [LAST, b""])
async def test_a_connection_that_is_to_close(
    hub: Client, taken: list[Stored | None], close: bytes
) -> None:
    await known(hub)
    taken.clear()
    answer = await exchange(
        hub, request(b"/a-channel?id=7", b"x", close, b"1.1" if close else b"1.0")
    )
    assert (answer.status, answer.body) == (201, b"7")
    assert taken == [None]


async def test_the_first_of_a_path_is_the_routers(hub: Client, taken: list[Stored | None]) -> None:
    for number in range(3):
        answer = await first_answer(hub, request(b"/a-channel?id=%d" % number, b"x"))
        assert answer.body == b"%d" % number
    assert [each is not None for each in taken] == [False, True, True]


async def test_chunks_that_came_at_once(hub: Client, taken: list[Stored | None]) -> None:
    await known(hub)
    head = b"POST /a-channel?id=7 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await first_answer(hub, head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    assert answer.body == b"7"
    async with hub.get("/a-channel?tail=1") as history:
        assert await history.text() == "7\t\tabc\n"
    assert taken[-1] is not None


async def test_chunks_that_break_off_store_nothing(hub: Client) -> None:
    await known(hub)
    head = b"POST /a-channel?id=7 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await exchange(hub, head + b"2\r\nab\r\nzz\r\nc\r\n0\r\n\r\n")
    assert answer.status == 400
    async with hub.get("/a-channel?tail=1") as history:
        assert not (await history.text()).startswith("7\t")


async def test_an_error_while_it_is_stored(hub: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await known(hub)
    full = DiskFull("no space left on the disk: nothing of this was stored")

    async def write(*_: object) -> None:
        raise full

    monkeypatch.setattr("hub.storage.groupfiles.GroupFiles.write", write)
    async with hub.post("/a-channel", data="x") as answer:
        await refused(answer, 507, "disk_full", "no space")
    async with hub.get("/metrics") as answer:
        assert 'hub_errors_total{code="disk_full"} 1.0' in await answer.text()


async def test_a_mistake_of_the_hub(hub: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await known(hub)
    monkeypatch.setattr("hub.web.channels._told", lambda receipt: receipt.nothing)
    async with hub.post("/a-channel", data="x") as answer:
        await refused(answer, 500, "internal")


async def test_not_every_way_is_remembered(hub: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express, "WAYS", 10)
    ways = hub.app[express.EXPRESS].ways
    for number in range(25):
        async with hub.get(f"/channel-{number}") as answer:
            assert answer.status == 200
        assert 0 < len(ways) <= 10
    long = "/" + "x" * (express.WAY_LENGTH + 1)
    async with hub.get(long) as answer:
        assert answer.status == 400
    assert ways.find("GET", long) is None
    assert ways.find("GET", "/channel-24") is not None


def test_ways_of_other_methods_are_others() -> None:
    ways = Ways()
    found: Any = object()
    ways.remember("GET", "/a-channel", found)
    assert ways.find("GET", "/a-channel") is found
    assert ways.find("POST", "/a-channel") is None
