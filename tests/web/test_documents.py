"""Channels whose log holds documents: read as rows or as they stand, in part, and followed."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hub.document import Keys
from hub.engines.files import FilesEngine
from hub.sse import Message
from tests.conftest import Client, StartHub
from tests.documents import NUMBERS, written
from tests.web.streaming import commit
from tests.web.wire import (
    AS_NDJSON,
    NDJSON,
    NOT_PACKED,
    PACKED,
    TSV,
    eventually,
    get,
    post,
    post_batch,
    refused,
    subscribe,
)

Rows = list[list[str]]


def append_by_hand(events: Path, lines: bytes) -> None:
    """Write to the channel's file behind the hub's back."""
    with open(events / "a-channel.ndjson", "ab") as file:
        file.write(lines)


def rows_of(body: bytes) -> Rows:
    """A history as TSV."""
    lines = body.decode().split("\n")
    assert lines.pop() == ""
    return [line.split("\t") for line in lines]


@pytest.fixture
async def stream(hub: Client, events: Path) -> bytes:
    """A channel of documents, with the ids 1 to 59; returns what stands in its file."""
    assert (await hub.put("/a-channel?format=ndjson")).status == 201
    body = b'1\ta\tone\x0btwo\n2\tb\t{"n": 1.10}\n'
    body += b"".join(b"%d\ta\t%b\n" % (number, b"x" * 50) for number in range(3, 60))
    await post_batch(hub, body, TSV, "/a-channel")
    content = (events / "a-channel.ndjson").read_bytes()
    assert content.count(b"\n") == 59
    return content


async def test_history_is_rows_of_compact_payloads(hub: Client, stream: bytes) -> None:
    answer, body = await get(hub)
    assert answer.headers["Content-Type"] == "text/tab-separated-values; charset=utf-8"
    assert answer.headers["Last-Event-ID"] == "59"
    assert rows_of(body)[:3] == [
        ["1", "a", '{"type":"a","data":"one\\ntwo"}'],
        ["2", "b", '{"type":"b","n":1.10}'],
        ["3", "a", '{"type":"a","data":"%s"}' % ("x" * 50)],
    ]
    assert len(rows_of(body)) == 59
    answer, packed = await get(hub, **PACKED)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert packed == body
    answer, whole = await get(hub, Range="bytes=0-9")  # of what is converted there are no ranges
    assert (answer.status, whole) == (200, body)
    assert "Accept-Ranges" not in answer.headers


async def test_the_file_is_the_history_as_documents(hub: Client, stream: bytes) -> None:
    answer, body = await get(hub, **AS_NDJSON)
    assert (answer.status, body) == (200, stream)
    assert answer.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
    assert answer.headers["Content-Length"] == str(len(stream))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Last-Event-ID"] == "59"
    answer, body = await get(hub, **AS_NDJSON, Range="bytes=100-199")
    assert (answer.status, body) == (206, stream[100:200])
    assert answer.headers["Content-Range"] == f"bytes 100-199/{len(stream)}"
    answer, body = await get(hub, **AS_NDJSON, Range=f"bytes={len(stream)}-")
    assert answer.status == 416
    async with hub.get("/a-channel", headers={**AS_NDJSON, **PACKED}, auto_decompress=False) as raw:
        assert gzip.decompress(await raw.read()) == stream


async def test_etags_and_head(hub: Client, stream: bytes) -> None:
    tags = set()
    for headers in (NOT_PACKED, PACKED, {**NOT_PACKED, **AS_NDJSON}, {**PACKED, **AS_NDJSON}):
        async with hub.get("/a-channel", headers=headers) as answer:
            of_get = answer.headers.copy()
        async with hub.head("/a-channel", headers=headers) as answer:
            assert await answer.read() == b""
            of_head = answer.headers.copy()
        for each in (of_get, of_head):
            each.pop("Date")
            each.popall("Transfer-Encoding", None)
        assert of_get == of_head
        tags.add(of_get["ETag"])
        known = {**headers, "If-None-Match": of_get["ETag"]}
        assert (await hub.get("/a-channel", headers=known)).status == 304
        other = {**headers, "If-None-Match": '"x"'}
        assert (await hub.get("/a-channel", headers=other)).status == 200
    assert len(tags) == 4
    await post(hub, "/a-channel")
    for tag in tags:
        assert (await hub.get("/a-channel", headers={"If-None-Match": tag})).status == 200


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("since=57", ["58", "59"]),
        ("since=start&limit=2", ["1", "2"]),
        ("until=2", ["1", "2"]),
        ("since=1&until=4", ["2", "3", "4"]),
        ("tail=2", ["58", "59"]),
        ("limit=1", ["1"]),
        ("limit=0", []),
        ("event=b", ["2"]),
        ("event=a&limit=2", ["1", "3"]),
        ("event=a&tail=1&until=3", ["3"]),
        ("event=a&since=2&limit=1", ["3"]),
        ("event=", []),
        ("event=x", []),
    ],
)
async def test_parts(hub: Client, stream: bytes, query: str, ids: list[str]) -> None:
    documents = [line + b"\n" for line in stream.split(b"\n")]
    answer, body = await get(hub, f"/a-channel?{query}")
    assert [row[0] for row in rows_of(body)] == ids
    assert answer.headers["Last-Event-ID"] == (
        ids[-1] if ids else "start" if "=0" in query else "59"
    )
    again, body = await get(hub, f"/a-channel?{query}", **AS_NDJSON)
    assert body == b"".join(documents[int(each) - 1] for each in ids)
    assert again.headers["Last-Event-ID"] == answer.headers["Last-Event-ID"]


async def test_bad_selections(hub: Client, stream: bytes) -> None:
    for query in ("limit=x", "tail=-1", "limit=1&tail=1"):
        await refused(await hub.get(f"/a-channel?{query}"), 400, "invalid_request")
    for query in ("since=unknown", "until=9999", 'since="1"', "since=%22id%22"):
        await refused(await hub.get(f"/a-channel?{query}"), 422, "unknown_id")


async def test_a_long_channel_in_both_formats(hub: Client, events: Path) -> None:
    await hub.put("/a-channel?format=ndjson")
    body = b"".join(b"%d\t%b\tdata %d\n" % (at, b"ab"[at % 2 :][:1], at) for at in range(30_000))
    await post_batch(hub, body, TSV, "/a-channel")
    _, found = await get(hub)
    assert found == b"".join(
        b'%d\t%b\t{"type":"%b","data":"data %d"}\n' % (at, kind, kind, at)
        for at in range(30_000)
        for kind in [b"ab"[at % 2 :][:1]]
    )
    _, found = await get(hub, "/a-channel?event=b&since=100")
    assert [int(row[0]) for row in rows_of(found)] == list(range(101, 30_000, 2))
    _, found = await get(hub, **AS_NDJSON)
    assert found == (events / "a-channel.ndjson").read_bytes()


@pytest.mark.parametrize("number", NUMBERS)
async def test_numbers_keep_their_digits(hub: Client, number: str) -> None:
    payload = f'{{"type":"n","n":{number}}}'
    body = f'{{"events": [{{"type": "n", "n": {number}}}]}}'.encode()
    async with hub.post("/streams/a-channel/commit", data=body) as answer:
        assert answer.status == 201
    _, found = await get(hub)
    assert rows_of(found)[0][1:] == ["n", payload]
    async with subscribe(hub, "/a-channel?since=start") as following:
        assert [each.data for each in await following.take(1)] == [payload]


async def test_a_commit_is_read_as_a_channel(hub: Client) -> None:
    first = await commit(hub, "orders-1", {"type": "Placed", "n": [1, {"a": "ä\n\t"}]}, {"x": None})
    await commit(hub, "orders-1", {"type": 7}, metadata={"user": "me"})
    _, body = await get(hub, "/orders-1")
    found = rows_of(body)
    assert [row[1] for row in found] == ["Placed", "", ""]
    assert [json.loads(row[2]) for row in found] == [*first["events"], {"type": 7}]
    _, body = await get(hub, "/orders-1?event=Placed", **AS_NDJSON)
    (document,) = [json.loads(line) for line in body.split(b"\n")[:-1]]
    assert document["metadata"]["commitId"] == first["commitId"]
    _, body = await get(hub, f"/orders-1?since={found[1][0]}")
    assert rows_of(body) == found[2:]


async def test_lines_by_hand(hub: Client, stream: bytes, events: Path) -> None:
    mine = b'{"metadata": {"id": "by hand"}, "payload": {"type" : "m", "a":\t1.0}'
    mine += b' , "stream":"a-channel"}\n'
    append_by_hand(events, mine)
    _, body = await get(hub, "/a-channel?tail=1")
    assert body == b'by hand\tm\t{"type":"m","a":1.0}\n'
    _, body = await get(hub, "/a-channel?since=59&event=m", **AS_NDJSON)
    assert body == mine
    async with subscribe(hub, "/a-channel", last_event_id="59") as following:
        assert await following.take(1) == [Message("m", '{"type":"m","a":1.0}', "by hand")]
        await post(hub, "/a-channel?id=61", "more")
        assert [each.id for each in await following.take(1)] == ["61"]


async def test_a_line_by_hand_that_is_no_document_stops_writes_not_reads(
    hub: Client, stream: bytes, events: Path
) -> None:
    append_by_hand(events, written("another", "60"))
    await refused(await hub.post("/a-channel", data=b"x"), 503, "log_damaged", "line 60", "another")
    _, body = await get(hub, **AS_NDJSON)
    assert body == stream


async def test_a_file_by_hand_is_a_channel(hub: Client, events: Path) -> None:
    lines = written("a-channel", "1", {"type": "t"}) + written("a-channel", "2")
    (events / "a-channel.ndjson").write_bytes(lines)
    _, body = await get(hub)
    assert body == b'1\tt\t{"type":"t"}\n2\t\t{}\n'
    assert (await hub.put("/a-channel?format=ndjson")).status == 200
    assert (await hub.put("/a-channel?format=tsv")).status == 409


async def test_a_log_goes_on_after_a_restart(start_hub: StartHub, events: Path) -> None:
    hub = await start_hub()
    await hub.put("/a-channel?format=ndjson")
    first = await post(hub, "/a-channel?event=t", "one")
    await hub.close()
    # A crash, in the middle of a commit.
    append_by_hand(events, written("a-channel", "x", commitVersion=0, commitSize=2, commitId="c"))
    hub = await start_hub()
    second = await post(hub, "/a-channel?event=t", "two")
    _, body = await get(hub)
    assert [row[0] for row in rows_of(body)] == [first, second]


async def test_the_key_of_the_type_is_an_option(start_hub: StartHub, events: Path) -> None:
    hub = await start_hub(engine=FilesEngine(events, keys=Keys(type="kind")))
    await commit(hub, "a-channel", {"kind": "k"}, {"kind": "k", "type": "t"}, {"type": "k"})
    await post(hub, "/b-channel?event=k", '{"type":"t"}')
    for path in ("/a-channel?event=k", "/a-channel?event=k&tail=1"):
        _, body = await get(hub, path)
        assert [row[1:] for row in rows_of(body)][-1] == ["k", '{"kind":"k","type":"t"}']
        assert body.count(b"\n") == (1 if "tail" in path else 2)
    _, body = await get(hub, "/b-channel", **AS_NDJSON)
    assert b'"payload":{"kind":"k","type":"t"}' in body
    async with subscribe(hub, "/a-channel?since=start&event=k") as following:
        assert [each.event for each in await following.take(2)] == ["k", "k"]
        await commit(hub, "a-channel", {"kind": "x", "type": "k"}, {"kind": "k", "n": 1})
        assert [each.data for each in await following.take(1)] == ['{"kind":"k","n":1}']


# Subscriptions


async def test_following_documents(hub: Client, stream: bytes) -> None:
    async with subscribe(hub, "/a-channel") as live, subscribe(hub, "/a-channel?event=b") as of_b:
        assert live.headers["Last-Event-ID"] == "59"
        await commit(hub, "a-channel", {"type": "a", "text": "x y\n"}, {"type": "b"}, {"n": 1})
        await post(hub, "/a-channel?event=b&id=99", "one\ntwo")
        messages = await live.take(4)
        assert [(each.event, each.data) for each in messages] == [
            ("a", '{"type":"a","text":"x y\\n"}'),
            ("b", '{"type":"b"}'),
            ("message", '{"n":1}'),
            ("b", '{"type":"b","data":"one\\ntwo"}'),
        ]
        assert await of_b.take(2) == [messages[1], messages[3]]
    async with subscribe(hub, "/a-channel?tail=4") as again:
        assert await again.take(4) == messages
    async with subscribe(hub, "/a-channel", last_event_id=messages[0].id) as resumed:
        assert await resumed.take(3) == messages[1:]
    async with subscribe(hub, "/a-channel?since=unknown") as reset:
        assert (await reset.take(2))[0].event == "hub-reset"
    async with subscribe(hub, "/a-channel?since=58&event=a") as of_a:
        assert [each.id for each in await of_a.take(2)] == ["59", messages[0].id]


async def writer(hub: Client, number: int) -> None:
    """Write in every way that there is."""
    for at in range(20):
        if at % 3 == 0:
            await post(hub, "/a-channel?event=p", f"{number} {at}")
        elif at % 3 == 1:
            await post_batch(hub, b'{"n":1}\n' * 5, NDJSON, "/a-channel?event=n")
        else:
            await commit(hub, "a-channel", *[{"type": "c", "n": at}] * 3)


async def follow(hub: Client, how: str) -> list[str]:
    seen: list[str] = []
    path, cursor = "/a-channel?since=start", None
    if how == "history":
        async with hub.get("/a-channel") as answer:
            cursor = answer.headers["Last-Event-ID"]
            seen = [row[0] for row in rows_of(await answer.read())]
        path = "/a-channel"
    elif how == "break":
        async with subscribe(hub, path) as following:
            seen = [each.id for each in await following.take(30)]
        path, cursor = "/a-channel", seen[-1]
    async with subscribe(hub, path, cursor) as following:
        end = '{"type":"","data":"end"}'
        return seen + [each.id for each in await following.until_data(end)]


async def test_every_event_once_and_in_order(hub: Client, events: Path) -> None:
    await hub.put("/a-channel?format=ndjson")
    await post(hub, "/a-channel")
    writers = [asyncio.create_task(writer(hub, number)) for number in range(4)]
    followers = [asyncio.create_task(follow(hub, how)) for how in ["start", "history", "break"] * 5]
    await asyncio.gather(*writers)
    await post(hub, "/a-channel", "end")
    documents: list[dict[str, Any]] = [
        json.loads(line) for line in (events / "a-channel.ndjson").read_bytes().split(b"\n")[:-1]
    ]
    ids = [each["metadata"]["id"] for each in documents]
    assert len(ids) == len(set(ids)) == 2 + 4 * (7 + 7 * 5 + 6 * 3)
    assert [each["metadata"]["streamVersion"] for each in documents] == list(range(len(ids)))
    for follower in followers:
        assert await asyncio.wait_for(follower, 20) == ids


async def test_one_who_reads_slowly_loses_nothing(hub: Client, events: Path) -> None:
    await hub.put("/a-channel?format=ndjson")
    async with subscribe(hub, "/a-channel") as slow:
        for at in range(40):
            await commit(hub, "a-channel", *[{"type": "t", "text": f"{at} " + "x" * 20_000}] * 5)
        log = events / "a-channel.ndjson"
        await eventually(lambda: log.stat().st_size > 4_000_000)
        found = [json.loads(each.data)["text"].split()[0] for each in await slow.take(200)]
    assert found == [str(at) for at in range(40) for _ in range(5)]
