"""Streams as subscriptions: where they begin, what they send, how they go on and end."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hub.engines.files import FilesEngine
from hub.options import Durability
from hub.sse import HEARTBEAT, Message
from hub.web.context import HUB
from hub.web.events import BUSY_RETRY
from tests.conftest import Client, StartHub
from tests.web.streaming import commit, of_type, read
from tests.web.wire import (
    TSV,
    Answer,
    eventually,
    exchange,
    get,
    post,
    post_batch,
    refused,
    subscribe,
)

SSE = {"Accept": "text/event-stream"}
DERIVED = {"payload": {"type": ["A", "B", "C", "N"]}}


@pytest.fixture
async def hub(start_hub: StartHub) -> Client:
    """A hub that leaves syncing to the system: these tests are about something else."""
    return await start_hub(durability=Durability.OS)


@pytest.fixture
async def three(hub: Client) -> Client:
    """Each kind of stream has the events A, B and C, at other numbers."""
    await commit(hub, "other", *of_type("X"))
    await commit(hub, "orders-1", *of_type("A"))
    await commit(hub, "other", *of_type("Y"))
    await commit(hub, "orders-1", *of_type("B", "C"))
    await hub.put("/streams/derived", json=DERIVED)
    return hub


BY_REVISION = {"/streams/orders-1": "123", "/streams/derived": "123"}
BY_POSITION = {
    "/streams/_all?filter=" + quote(json.dumps({"stream": "orders-1"})): "245",
    "/streams/join?streams=orders-1,missing": "245",
    "/streams/category/orders": "245",
    "/query?types=A,B,C,N": "245",
    "/query?query=" + quote('{"items":[{"types":["A","B","C","N"]}]}'): "245",
}
KINDS = {**BY_REVISION, **BY_POSITION}


def told(messages: list[Message]) -> tuple[str, str]:
    """The types and the ids of messages whose data are documents of these types."""
    for each in messages:
        assert json.loads(each.data)["payload"]["type"] == each.event
    return "".join(each.event for each in messages), "".join(each.id for each in messages)


@pytest.mark.parametrize(("path", "ids"), KINDS.items())
async def test_every_read_is_a_subscription(three: Client, path: str, ids: str) -> None:
    async with subscribe(three, path) as stream:
        assert stream.raw.startswith(b"retry: 2000\n:\n")
        assert stream.headers["Cache-Control"] == "no-cache, no-transform"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert "Content-Length" not in stream.headers
        assert "Last-Event-ID" not in stream.headers
        assert stream.headers["x-event-store-version"] == ids[-1]
        condition = stream.headers.get("x-event-store-query-condition")
        assert ("/query" in path) == (condition is not None)
        assert told(await stream.take(3)) == ("ABC", ids)
        new = await commit(three, "orders-1", *of_type("N"))
        last = str(new["version" if path in BY_REVISION else "position"])
        assert told(await stream.take(1)) == ("N", last)
        plain, _, query = path.partition("?")
        documents = (await get(three, plain + ("?" + query if query else "")))[1].decode()
    async with subscribe(three, path) as stream:
        data = [each.data for each in await stream.take(4)]
    assert data == documents.split("\n")[:-1]


@pytest.mark.parametrize("path", KINDS)
async def test_resumed_where_it_broke_off(three: Client, path: str) -> None:
    ids = KINDS[path]
    for seen in range(4):
        cursor = ids[seen - 1] if seen else "0"
        async with subscribe(three, path, last_event_id=cursor) as stream:
            assert stream.headers["Last-Event-ID"] == cursor
            await commit(three, "orders-1", *of_type("N"))
            types, _ = told(await stream.take(4))
        assert types == ("ABC" + "N" * (seen + 1))[seen : seen + 4]


@pytest.mark.parametrize("spelling", ["lastEventID", "last_event_id", "lastEventId", "since"])
async def test_every_spelling_of_a_cursor(three: Client, spelling: str) -> None:
    async with subscribe(three, f"/streams/orders-1?{spelling}=2") as stream:
        assert stream.headers["Last-Event-ID"] == "2"
        assert told(await stream.take(1)) == ("C", "3")
    for start in ("start", "earliest"):
        async with subscribe(three, f"/streams/orders-1?{spelling}={start}") as stream:
            assert told(await stream.take(3)) == ("ABC", "123")
    async with subscribe(three, f"/streams/_all?{spelling}=4", last_event_id="2") as stream:
        assert told(await stream.take(3)) == ("YBC", "345")


@pytest.mark.parametrize("cursor", ["4", "999999999999999999", "9" * 30, "x", "-1", "1.5", "٣",
                                    "2026-11-20T11:40:10Z"])  # fmt: skip
async def test_an_unknown_id_starts_over_and_says_so(three: Client, cursor: str) -> None:
    async with subscribe(three, f"/streams/orders-1?since={quote(cursor)}") as stream:
        assert stream.headers["Last-Event-ID"] == ""
        assert stream.raw.startswith(b"retry: 2000\n:\nevent: hub-reset\ndata: \n\n")
        messages = await stream.take(4)
        assert messages[0] == Message("hub-reset", "", "")
        assert told(messages[1:]) == ("ABC", "123")
    async with subscribe(three, f"/streams/orders-1/from/3?since={quote(cursor)}") as stream:
        assert told((await stream.take(2))[1:]) == ("C", "3")


@pytest.mark.parametrize(
    ("window", "cursor", "expected"),
    [
        ("/from/2", None, "BC"),
        ("/from/2", "start", "BC"),
        ("/from/2", "0", "BC"),
        ("/from/2", "2", "C"),
        ("/from/-1", None, "C"),
        ("/from/-1", "1", "BC"),  # it was the last when it began, and must not be missed
        ("/from/end", None, "C"),
        ("/from/end", "1", "BC"),
        ("/from/start", None, "ABC"),
    ],
)
async def test_a_window_has_a_beginning(
    three: Client, window: str, cursor: str | None, expected: str
) -> None:
    async with subscribe(three, f"/streams/orders-1{window}", last_event_id=cursor) as stream:
        await commit(three, "orders-1", *of_type("N"))
        assert told(await stream.take(len(expected) + 1))[0] == expected + "N"


async def test_from_what_is_not_there_yet(three: Client) -> None:
    async with subscribe(three, "/streams/orders-1/from/6") as stream:
        await commit(three, "orders-1", *of_type("D", "E"))
        await commit(three, "orders-1", *of_type("F"))
        assert told(await stream.take(1)) == ("F", "6")


@pytest.mark.parametrize("window", ["/until/3", "/forwards/1", "/backwards/1", "/from/1/until/2"])
async def test_there_is_no_end(three: Client, window: str) -> None:
    for path in ("/streams/orders-1", "/streams/_all"):
        answer = await three.get(path + window, headers=SSE)
        await refused(answer, 400, "invalid_request", "no end")


async def test_what_is_refused_as_any_read(three: Client) -> None:
    await refused(await three.get("/streams/unknown", headers=SSE), 404, "unknown_stream")
    for path in ("/streams/orders-1/from/0", "/streams/join?streams=_all", "/query", "/streams/_x"):
        assert (await three.get(path, headers=SSE)).status == 400
    answer = await exchange(
        three, b"HEAD /streams/orders-1 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        b"Connection: close\r\n\r\n",
    )  # fmt: skip
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")


async def test_filters(three: Client) -> None:
    wanted = quote(json.dumps({"payload": {"type": ["B", "N"]}}))
    for path, ids in (("orders-1", "24"), ("derived", "24"), ("_all", "46")):
        async with subscribe(three, f"/streams/{path}?filter={wanted}") as stream:
            if path == "orders-1":
                await commit(three, "orders-1", *of_type("N"))
            assert told(await stream.take(2)) == ("BN", ids)


async def test_streams_that_are_new(three: Client) -> None:
    async with (
        subscribe(three, "/streams/category/orders/from/end") as category,
        subscribe(three, "/query/from/end?types=N") as query,
        subscribe(three, "/streams/join/from/end?streams=orders/1,N") as join,
    ):
        await commit(three, "orders/1", *of_type("N"))
        await post(three, "/orders-2?event=N", "text")
        for stream in (category, query, join):
            messages = await stream.take(2 if stream is not category else 3)
            assert [each.id for each in messages[-2:]] == ["6", "7"]


async def test_events_of_a_channel(three: Client) -> None:
    await post_batch(three, b'7\tt\tone\x0btwo\n8\t\t{"type":"a\\nb"}\n9\t\t\n', TSV, "/a-channel")
    async with subscribe(three, "/streams/a-channel") as stream:
        messages = await stream.take(3)
    assert [(each.event, each.id) for each in messages] == [
        ("t", "1"),
        ("message", "2"),  # its type would break the frame
        ("message", "3"),
    ]
    payloads = [json.loads(each.data)["payload"] for each in messages]
    assert payloads == [
        {"type": "t", "data": "one\ntwo"},
        {"type": "a\nb"},
        {"type": "", "data": ""},
    ]


async def test_lines_that_were_written_by_hand(hub: Client, events: Path) -> None:
    await commit(hub, "orders", *of_type("A"))
    with open(events / "orders.ndjson", "ab") as file:  # noqa: ASYNC230
        file.write(b'{"stream":"orders",\r"payload":\r{ "type": "B" },"metadata":{"id":"x"}}\n')
    async with subscribe(hub, "/streams/orders") as stream:
        messages = await stream.take(2)
        assert told(messages) == ("AB", "12")
        assert json.loads(messages[1].data)["metadata"] == {"id": "x"}


async def test_a_type_of_all_kinds_of_characters(hub: Client) -> None:
    kind = "ä:\u2028\x0b\x85 \U0001f600"
    await commit(hub, "orders", {"type": kind}, {"type": ""}, {"type": 5}, {})
    async with subscribe(hub, "/streams/orders") as stream:
        assert [each.event for each in await stream.take(4)] == [kind, *["message"] * 3]


async def test_heartbeats(start_hub: StartHub) -> None:
    hub = await start_hub(heartbeat=0.05, durability=Durability.OS)
    await commit(hub, "orders", *of_type("A"))

    async def write() -> None:
        while True:
            await commit(hub, "orders", *of_type("B"))
            await asyncio.sleep(0.005)

    async with subscribe(hub, "/streams/_all") as idle:
        await idle.take(1)
        while idle.raw.count(HEARTBEAT) < 4:
            assert await idle.more()
        assert idle.raw.count(b"\n\n") == 1
    # Also where much comes, but nothing that is meant.
    writing = asyncio.create_task(write())
    for path in ("/query?types=A", "/streams/orders?filter=" + quote('{"payload":{"type":"A"}}')):
        async with subscribe(hub, path) as busy:
            while busy.raw.count(HEARTBEAT) < 4:
                assert await busy.more()
            assert busy.raw.count(b"\n\n") == 1
    writing.cancel()


async def test_a_full_hub_says_when_to_come_back(start_hub: StartHub) -> None:
    hub = await start_hub(max_subscriptions=2, durability=Durability.OS)
    await commit(hub, "orders", *of_type("A"))
    request = b"GET /streams/orders HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
    async with subscribe(hub, "/a-channel"):
        async with subscribe(hub, "/streams/_all"):
            for each in (request, request.replace(b"streams/orders", b"b-channel")):
                answer = await exchange(hub, each)
                assert answer.status == 200
                assert answer.body == b"retry: %d\n:\n" % (2000 * BUSY_RETRY)
        await eventually(lambda: len(hub.app[HUB].subscriptions) == 1)
        async with subscribe(hub, "/streams/orders") as stream:
            assert told(await stream.take(1)) == ("A", "1")


async def test_many_at_once_do_not_pass_the_limit(start_hub: StartHub) -> None:
    hub = await start_hub(max_subscriptions=3, durability=Durability.OS)
    await commit(hub, "orders", *of_type("A"))
    paths = ["/streams/orders", "/streams/_all", "/query?types=A"] * 4
    answers = await asyncio.gather(*(hub.get(path, headers=SSE) for path in paths))
    heads = [await answer.content.readuntil(b":\n") for answer in answers]
    assert heads.count(b"retry: 2000\n:\n") == 3
    for answer in answers:
        answer.close()


async def test_a_hub_that_closes_ends_streams(three: Client) -> None:
    async with (
        subscribe(three, "/streams/orders-1") as log,
        subscribe(three, "/streams/_all") as order,
        subscribe(three, "/streams/derived") as derived,
    ):
        for stream, count in ((log, 3), (order, 5), (derived, 3)):
            await stream.take(count)
        three.app[HUB].subscriptions.close()
        three.app[HUB].streams.close()
        for stream in (log, order, derived):
            assert await stream.rest() == []
    answer = await exchange(
        three, b"GET /streams/_all HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
    )
    assert answer.body == b"retry: %d\n:\n" % (2000 * BUSY_RETRY)


async def test_who_leaves_leaves_nothing_behind(three: Client) -> None:
    context = three.app[HUB]
    waiting = context.streams._waiting
    tasks = len(asyncio.all_tasks())
    writers = []
    for at in range(30):
        path = list(KINDS)[at % len(KINDS)]
        reader, writer = await asyncio.open_connection(three.host, three.port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        await asyncio.wait_for(reader.readuntil(b"}\n"), 10)
        writers.append(writer)
    assert len(context.subscriptions) == 30
    for at, writer in enumerate(writers):
        (writer.transport.abort if at % 2 else writer.close)()
    await eventually(lambda: not len(context.subscriptions))
    await eventually(lambda: not waiting._order and not waiting._logs)
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_a_derived_stream_that_is_removed(three: Client) -> None:
    async with subscribe(three, "/streams/derived") as stream:
        await stream.take(3)
        await three.delete("/streams/derived")
        await commit(three, "orders-1", *of_type("A"))
        assert await stream.rest() == []
    await refused(await three.get("/streams/derived", headers=SSE), 404, "unknown_stream")


async def test_a_derived_stream_that_is_replaced(three: Client) -> None:
    """Who follows the one before is not given events of the other as if they came next."""
    async with subscribe(three, "/streams/derived") as stream:
        await stream.take(3)
        await three.delete("/streams/derived")
        await three.put("/streams/derived", json={"payload": {"type": "Other"}})
        await commit(three, "orders-1", *of_type("A", "Other", "Other", "Other", "Other"))
        assert await stream.rest() == []
    async with subscribe(three, "/streams/derived") as stream:
        assert [each.event for each in await stream.take(4)] == ["Other"] * 4


async def test_http_1_0(three: Client) -> None:
    reader, writer = await asyncio.open_connection(three.host, three.port)
    writer.write(b"GET /streams/orders-1/from/3 HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n")
    answer = Answer(await asyncio.wait_for(reader.readuntil(b"id: 3\n\n"), 10))
    assert (answer.version, answer.status) == ("HTTP/1.0", 200)
    assert answer.body.startswith(b"retry: 2000\n:\nevent: C\ndata: {")
    writer.close()


# Nothing missed, nothing doubled, while others write


async def write(hub: Client, number: int) -> None:
    for at in range(30):
        events = [{"type": "N", "writer": number, "n": at, "part": part} for part in range(at % 3)]
        if at % 4 == 0:
            await post(hub, f"/orders-{number % 3}?event=N", json.dumps({"writer": number}))
        await commit(hub, f"orders-{number % 3}", *events, {"type": "N", "writer": number})
        await asyncio.sleep(0)


async def follow(hub: Client, path: str, breaks: bool) -> list[tuple[str, str]]:
    """Read up to the event of type `End`; return ids and data."""
    seen: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        async with subscribe(hub, path, cursor) as stream:
            left = random.randrange(1, 40) if breaks else 10**9
            while left:
                left -= 1
                (message,) = await stream.take(1)
                seen.append((message.id, message.data))
                cursor = message.id
                if message.event == "End":
                    return seen


@pytest.mark.parametrize("durability", [Durability.OS, Durability.ALWAYS])
async def test_every_event_once_and_in_order(
    start_hub: StartHub, events: Path, durability: Durability
) -> None:
    hub = await start_hub(engine=FilesEngine(events, durability))
    for number in range(3):
        await commit(hub, f"orders-{number}", *of_type("N"))
    await hub.put("/streams/derived", json={"payload": {"type": ["N", "End"]}})
    paths = ["/streams/_all", "/streams/category/orders", "/query?types=N,End", "/streams/derived",
             "/streams/join?streams=orders-0,orders-1,orders-2", "/streams/orders-0"]  # fmt: skip
    writers = [asyncio.create_task(write(hub, number)) for number in range(4)]
    followers = {}
    for path in paths:
        for breaks in (True, False):
            followers[path, breaks] = asyncio.create_task(follow(hub, path, breaks))
            await asyncio.sleep(0.005)
    await asyncio.gather(*writers)
    await commit(hub, "orders-0", *of_type("End"))
    for (path, _), follower in followers.items():
        seen = await asyncio.wait_for(follower, 30)
        plain, _, query = path.partition("?")
        parts: dict[str, Any] = dict([query.split("=")]) if query else {}
        documents = await read(hub, plain, **parts)
        assert [json.loads(data) for _, data in seen] == documents
        assert [int(number) for number, _ in seen] == list(range(1, len(documents) + 1))
