"""The door of history: the file as it is, its headers, its parts, and its other forms."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from hub.engines.files import FilesEngine
from hub.formats import CONTENT_TYPES, NDJSON, TSV
from hub.storage.logfile import Disk
from tests.conftest import Client, StartHub
from tests.web.wire import (
    AS_NDJSON,
    NOT_PACKED,
    PACKED,
    PATIENCE,
    append_by_hand,
    eventually,
    exchange,
    get,
    post,
    post_batch,
    refused,
    subscribe,
)
from tests.web.wire import TSV as TSV_BODY

Headers = dict[str, str]


async def test_history_is_the_file(hub: Client, channel: bytes) -> None:
    answer, body = await get(hub)
    assert (answer.status, body) == (200, channel)
    assert answer.headers["Content-Type"] == "text/tab-separated-values; charset=utf-8"
    assert answer.headers["Content-Length"] == str(len(channel))
    assert answer.headers["Last-Event-ID"] == "59"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["ETag"].startswith('"')
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert "Content-Encoding" not in answer.headers


async def test_a_large_history_and_many_readers(hub: Client, events: Path) -> None:
    body = b"".join(b"%d\ttype\t%b\n" % (number, b"x" * 1000) for number in range(5000))
    await post_batch(hub, body, TSV_BODY, "/a-channel")
    answers = await asyncio.gather(*(get(hub) for _ in range(5)))
    assert all(got == body for _, got in answers)
    # One connection serves on behind it.
    request = b"GET /a-channel%b HTTP/1.1\r\nHost: x\r\n"
    answer = await exchange(
        hub, request % b"" + b"\r\n" + request % b"?tail=1" + b"Connection: close\r\n\r\n"
    )
    assert answer.body.startswith(body + b"HTTP/1.1 200 OK")
    assert answer.body.endswith(b"\r\n\r\n4999\ttype\t" + b"x" * 1000 + b"\n")


async def test_a_reader_who_leaves_early_is_no_harm(hub: Client) -> None:
    body = b"".join(b"%d\ttype\t%b\n" % (number, b"x" * 1000) for number in range(20_000))
    await post_batch(hub, body, TSV_BODY, "/a-channel")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        reader, writer = await asyncio.open_connection(hub.host, hub.port, limit=1000)
        writer.write(b"GET /a-channel HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(500)
        writer.transport.abort()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert (await get(hub))[1] == body


async def test_a_channel_that_was_never_written(hub: Client, events: Path) -> None:
    for path in ("/a-channel", "/a-channel?tail=5", "/a-channel?since=2026-11-20&limit=1"):
        for accept in (NOT_PACKED, AS_NDJSON, PACKED):
            answer, body = await get(hub, path, **accept)
            assert (answer.status, body) == (200, b"")
            assert answer.headers["Content-Length"] == "0"
            assert answer.headers["Last-Event-ID"] == "start"
    for path in ("/a-channel?since=unknown", "/a-channel?until=%0D%0Ax"):
        await refused(await hub.get(path), 422, "unknown_id")
    assert (await hub.head("/a-channel")).status == 200
    assert os.listdir(events) == [".hub"]


async def test_bad_selections(hub: Client, channel: bytes) -> None:
    for query in ("limit=x", "tail=-1", "limit=1&tail=1", "limit="):
        await refused(await hub.get(f"/a-channel?{query}"), 400, "invalid_request")
    for query in ("since=unknown", "until=unknown", "since=%FF", "since=%0D%0AX-Y:1"):
        answer = await hub.get(f"/a-channel?{query}")
        await refused(answer, 422, "unknown_id", "no event has the id")


async def test_a_line_without_its_end_is_not_shown(
    hub: Client, channel: bytes, events: Path
) -> None:
    append_by_hand(events, b"99\ta\tby hand")
    for path in ("/a-channel", "/a-channel?since=1", "/a-channel?event=a", "/a-channel?tail=1"):
        answer, body = await get(hub, path)
        assert body.endswith(channel[-54:])
        assert answer.headers["Last-Event-ID"] == "59"
    answer, _ = await get(hub, Range=f"bytes={len(channel)}-")
    assert answer.status == 416
    await refused(await hub.get("/a-channel?until=99"), 422, "unknown_id")


class SlowDisk(Disk):
    """A disk whose writes are in the file, but not finished before they may be."""

    def __init__(self) -> None:
        self.may_finish = threading.Event()
        self.may_finish.set()

    def pwritev(self, fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        written = os.pwritev(fd, buffers, offset, flags)
        assert self.may_finish.wait(PATIENCE)
        return written


async def test_what_is_not_yet_on_disk_is_not_shown(start_hub: StartHub, events: Path) -> None:
    disk = SlowDisk()
    hub = await start_hub(engine=FilesEngine(events, disk=disk))
    await post(hub, "/a-channel?id=1", "on disk")
    async with subscribe(hub, "/a-channel?since=start") as stream:
        await stream.take(1)
        disk.may_finish.clear()
        posting = asyncio.create_task(post(hub, "/a-channel?id=2", "not yet"))
        path = events / "a-channel.tsv"
        await eventually(lambda: b"not yet" in path.read_bytes())
        for query in ("", "?since=1", "?tail=2", "?event="):
            _, body = await get(hub, f"/a-channel{query}")
            assert body == (b"" if "since" in query else b"1\t\ton disk\n")
        async with subscribe(hub, "/a-channel?since=start") as late:
            assert [each.data for each in await late.take(1)] == ["on disk"]
            assert late.raw.count(b"data:") == stream.raw.count(b"data:") == 1
            assert not posting.done()
            disk.may_finish.set()
            await posting
            for each in (stream, late):
                assert [message.data for message in await each.take(1)] == ["not yet"]


# Not modified


async def test_etags(hub: Client, channel: bytes) -> None:
    tags = {}
    for name, headers in {
        "plain": {}, "packed": PACKED, "ndjson": AS_NDJSON, "both": {**AS_NDJSON, **PACKED}
    }.items():  # fmt: skip
        answer, _ = await get(hub, **headers)
        tag = tags[name] = answer.headers["ETag"]
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*", f'W/"y",{tag} '):
            answer, body = await get(hub, **headers, If_None_Match=known)
            assert (answer.status, body) == (304, b""), known
            assert answer.headers["ETag"] == tag
            assert answer.headers["Last-Event-ID"] == "59"
        for unknown in ('"x"', "x", '""', tag.strip('"')):
            answer, body = await get(hub, **headers, If_None_Match=unknown)
            assert (answer.status, bool(body)) == (200, True)
    assert len(set(tags.values())) == 4
    await post(hub, "/a-channel")
    for tag in tags.values():
        answer, body = await get(hub, If_None_Match=tag)
        assert (answer.status, body[: len(channel)]) == (200, channel)


async def test_the_etag_of_an_empty_history(hub: Client) -> None:
    answer, _ = await get(hub)
    tag = answer.headers["ETag"]
    assert (await get(hub, If_None_Match=tag))[0].status == 304
    await post(hub, "/a-channel")
    assert (await get(hub, If_None_Match=tag))[0].status == 200


# HEAD


@pytest.mark.parametrize("query", ["", "?tail=3", "?event=a", "?since=1&limit=2", "?limit=0"])
@pytest.mark.parametrize("headers", [NOT_PACKED, PACKED, AS_NDJSON, {**AS_NDJSON, **PACKED}])
async def test_head_has_the_headers_of_get(
    hub: Client, channel: bytes, query: str, headers: Headers
) -> None:
    path = f"/a-channel{query}"
    async with hub.get(path, headers=headers) as answer:
        of_get = answer.headers.copy()
        body = await answer.read()
    async with hub.head(path, headers=headers) as answer:
        assert await answer.read() == b""
        of_head = answer.headers.copy()
    for each in (of_get, of_head):
        each.pop("Date")
        # How the body is sent, which may be left out of HEAD: RFC 9110, 9.3.2.
        each.popall("Transfer-Encoding", None)
    assert of_head == of_get
    assert body or "limit" in query
    sent = b"".join(b"%b: %b\r\n" % (n.encode(), v.encode()) for n, v in headers.items())
    request = b"HEAD %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b\r\n" % (path.encode(), sent)
    assert (await exchange(hub, request)).body == b""


async def test_head_is_never_a_subscription(hub: Client, channel: bytes) -> None:
    answer = await hub.head("/a-channel", headers={**NOT_PACKED, "Accept": "text/event-stream"})
    assert answer.headers["Content-Length"] == str(len(channel))


@pytest.mark.parametrize("accepted", [b"identity", b"gzip"])
@pytest.mark.parametrize(
    "path", [b"/a-channel?format=ndjson", b"/a-channel?event=none", b"/streams/_all"]
)
async def test_a_body_without_a_length_ends_with_an_old_connection(
    hub: Client, channel: bytes, path: bytes, accepted: bytes
) -> None:
    """HTTP/1.0 has no chunks, and some of its clients keep connections."""
    headers = b"Connection: keep-alive\r\nAccept-Encoding: %b\r\n" % accepted
    answer = await exchange(hub, b"GET %b HTTP/1.0\r\n%b\r\n" % (path, headers))
    assert answer.status == 200
    assert "Content-Length" not in answer.headers
    assert "Connection" not in answer.headers  # it closes by itself
    body = gzip.decompress(answer.body) if accepted == b"gzip" else answer.body
    assert body.count(b"\n") == (0 if b"none" in path else channel.count(b"\n"))


# Compression


@pytest.mark.parametrize(
    "accepted", ["gzip", "GZIP", "br, gzip;q=0.5", "gzip; q=0.001", "deflate,gzip", "*;q=0, gzip"]
)
async def test_gzip_for_those_who_take_it(hub: Client, channel: bytes, accepted: str) -> None:
    headers = b"Accept-Encoding: %b\r\nConnection: close\r\n" % accepted.encode()
    answer = await exchange(hub, b"GET /a-channel HTTP/1.0\r\n" + headers + b"\r\n")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Content-Length" not in answer.headers
    assert gzip.decompress(answer.body) == channel
    assert len(answer.body) < len(channel)


@pytest.mark.parametrize(
    "accepted", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "gzip ;Q=0.0", "xgzip", "gzipx"]
)
async def test_no_gzip_for_those_who_do_not(hub: Client, channel: bytes, accepted: str) -> None:
    answer, body = await get(hub, Accept_Encoding=accepted)
    assert "Content-Encoding" not in answer.headers
    assert body == channel


async def test_a_short_history_is_not_compressed(hub: Client) -> None:
    await post(hub, "/a-channel")
    answer, _ = await get(hub, **PACKED)
    assert "Content-Encoding" not in answer.headers


# Documents


async def test_documents(hub: Client, channel: bytes) -> None:
    answer, body = await get(hub, **AS_NDJSON)
    assert answer.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
    assert answer.headers["Last-Event-ID"] == "59"
    first, second, *_ = body.split(b"\n")
    assert first == (
        b'{"stream":"a-channel","payload":{"type":"a","data":"one\\ntwo"},'
        b'"metadata":{"id":"1","streamVersion":0}}'
    )
    assert second == (
        b'{"stream":"a-channel","payload":{"type":"b","n":1.10},'
        b'"metadata":{"id":"2","streamVersion":1}}'
    )
    assert body.count(b"\n") == channel.count(b"\n")
    assert body.endswith(b"}\n")


@pytest.mark.parametrize(
    "accept", ["application/x-ndjson, */*;q=0.1", "text/x, application/x-ndjson;q=1"]
)
async def test_documents_for_those_who_ask_for_them_among_others(
    hub: Client, channel: bytes, accept: str
) -> None:
    answer, _ = await get(hub, Accept=accept)
    assert answer.headers["Content-Type"] == CONTENT_TYPES[NDJSON]
    answer, _ = await get(hub, Accept="text/html, */*")
    assert answer.headers["Content-Type"] == CONTENT_TYPES[TSV]


async def test_versions_over_more_than_one_piece(hub: Client) -> None:
    count = 30_000  # more than is read at a time
    body = b"".join(b"%d\t%b\tdata\n" % (at, b"ab"[at % 2 :][:1]) for at in range(count))
    await post_batch(hub, body, TSV_BODY, "/a-channel")
    for query, expected in {
        "since=20000": range(20_001, count),
        "event=b": range(1, count, 2),
        "since=29000&event=a": range(29_002, count, 2),
        "tail=3": range(count - 3, count),
    }.items():
        _, documents = await get(hub, f"/a-channel?{query}", **AS_NDJSON)
        versions = [
            json.loads(line)["metadata"]["streamVersion"] for line in documents.split(b"\n")[:-1]
        ]
        assert versions == list(expected), query


async def test_ids_that_no_header_carries(start_hub: StartHub, events: Path) -> None:
    append_by_hand(events, b"1\t\ta\nb\x0b\t\tby hand\n")
    hub = await start_hub()
    answer, body = await get(hub)
    assert (answer.status, body.count(b"\n")) == (200, 2)
    assert "Last-Event-ID" not in answer.headers


async def test_a_file_that_is_gone_is_an_answer(
    hub: Client, channel: bytes, events: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (events / "a-channel.tsv").unlink()
    for path in ("/a-channel", "/a-channel?tail=1", "/a-channel?event=a"):
        await refused(await hub.get(path), 503, "read_failed", "No such file")
    answer = await hub.post("/a-channel", data=b"lost")
    await refused(answer, 503, "write_failed", "No such file")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
async def test_a_derived_stream_is_no_channel(hub: Client, accept: str) -> None:
    # An empty history, or silence, would say that there is nothing in it.
    matcher = {"payload": {"type": "Placed"}}
    assert (await hub.put("/streams/placed-orders", json=matcher)).status == 201
    answer = await hub.get("/placed-orders?since=start", headers={"Accept": accept})
    await refused(answer, 404, "unknown_stream", "/streams/placed-orders")
    assert (await hub.delete("/streams/placed-orders")).status == 204
    async with hub.get("/placed-orders?since=start", headers={"Accept": accept}) as answer:
        assert answer.status == 200
