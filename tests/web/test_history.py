"""The door of history: the file as it is, its headers, its parts, and its other forms."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from hub.formats import CONTENT_TYPES, NDJSON, TSV
from hub.web.history import COMPRESS_FROM
from tests.conftest import Client, StartHub
from tests.web.wire import TSV as TSV_BODY
from tests.web.wire import append_by_hand, eventually, exchange, post, post_batch, refused

Headers = dict[str, str]
AS_NDJSON = {"Accept": CONTENT_TYPES[NDJSON].partition(";")[0]}
PACKED = {"Accept-Encoding": "gzip"}
NOT_PACKED = {"Accept-Encoding": "identity"}


@pytest.fixture
async def channel(hub: Client, events: Path) -> bytes:
    """A channel of a few kilobytes; returns what stands in its file."""
    assert await post(hub, "/a-channel?id=1&event=a", "one\ntwo")
    assert await post(hub, "/a-channel?id=2&event=b", '{"n": 1.10}')
    for number in range(3, 60):
        await post(hub, f"/a-channel?id={number}&event=a", "x" * 50)
    body = (events / "a-channel.tsv").read_bytes()
    assert len(body) > COMPRESS_FROM
    return body


async def get(
    hub: Client, path: str = "/a-channel", **headers: str
) -> tuple[ClientResponse, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with hub.get(path, headers={**NOT_PACKED, **named}) as answer:
        return answer, await answer.read()


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
            cursor = "2026-11-20" if "since" in path else "start"
            assert answer.headers["Last-Event-ID"] == cursor
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


async def test_bytes_behind_the_committed_length_are_not_shown(
    hub: Client, channel: bytes, events: Path
) -> None:
    append_by_hand(events, b"99\ta\tby hand\n98\ta\ttorn")
    for path in ("/a-channel", "/a-channel?since=1", "/a-channel?event=a", "/a-channel?until=99"):
        answer, body = await get(hub, path)
        assert b"by hand" not in body
        assert b"torn" not in body
        assert (answer.status == 422) == ("until" in path)
    answer, body = await get(hub, "/a-channel", Range=f"bytes={len(channel)}-")
    assert answer.status == 416


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


# Ranges


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, None),
        ("bytes=100-199", 100, 200),
        ("bytes=100-", 100, None),
        ("bytes=-100", -100, None),
        ("bytes=-1000000000", 0, None),
        ("bytes=100-1000000000000", 100, None),
        ("Bytes=1-2", 1, 3),
    ],
)
async def test_ranges(
    hub: Client, channel: bytes, header: str, start: int, stop: int | None
) -> None:
    # A range is of the file as it is, even for those who would take it compressed.
    for accept in (NOT_PACKED, PACKED):
        answer, body = await get(hub, Range=header, **accept)
        assert (answer.status, body) == (206, channel[start:stop])
        first = channel.index(body) if len(body) > 1 else 0
        end = len(channel) if stop is None else stop
        assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(channel)}"
        assert answer.headers["Content-Length"] == str(len(body))
        assert answer.headers.get("Last-Event-ID") == ("59" if stop is None else None)


@pytest.mark.parametrize(
    "header", ["bytes={size}-", "bytes={size}-{size}", "bytes=-0", "bytes=9999999-"]
)
async def test_ranges_beyond_the_end(hub: Client, channel: bytes, header: str) -> None:
    answer, body = await get(hub, Range=header.format(size=len(channel)))
    assert (answer.status, body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{len(channel)}"
    assert answer.headers["Last-Event-ID"] == "59"


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=0-1,3-4", "bytes=--1",
     "lines=0-1", "bytes=0 - 1", "bytes=\u0660-", "bytes=1-2x", "bytes=" + "1" * 5000 + "-"],
)  # fmt: skip
async def test_ranges_that_make_no_sense_are_ignored(
    hub: Client, channel: bytes, header: str
) -> None:
    answer, body = await get(hub, Range=header)
    assert (answer.status, body) == (200, channel)


async def test_a_range_only_if_nothing_else_changed(hub: Client, channel: bytes) -> None:
    tag = (await get(hub))[0].headers["ETag"]
    assert (await get(hub, Range="bytes=1-2", If_Range=tag))[0].status == 206
    for other in ('"x"', f"W/{tag}", "Sat, 21 Nov 2026 01:40:30 GMT"):
        answer, body = await get(hub, Range="bytes=1-2", If_Range=other)
        assert (answer.status, body) == (200, channel)


async def test_a_range_of_a_selection(hub: Client, channel: bytes) -> None:
    _, whole = await get(hub, "/a-channel?since=50")
    answer, body = await get(hub, "/a-channel?since=50", Range="bytes=10-")
    assert (answer.status, body) == (206, whole[10:])
    assert answer.headers["Content-Range"] == f"bytes 10-{len(whole) - 1}/{len(whole)}"


async def test_no_range_of_what_is_made_on_the_way(hub: Client, channel: bytes) -> None:
    for path, headers in (("/a-channel?event=a", {}), ("/a-channel", AS_NDJSON)):
        answer, _ = await get(hub, path, Range="bytes=1-2", **headers)
        assert answer.status == 200
        assert "Accept-Ranges" not in answer.headers


async def test_head_has_no_range(hub: Client, channel: bytes) -> None:
    answer = await hub.head("/a-channel", headers={**NOT_PACKED, "Range": "bytes=1-2"})
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(channel)))


async def test_a_range_of_an_empty_history(hub: Client) -> None:
    answer, _ = await get(hub, Range="bytes=0-")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */0"


async def test_curl_fetches_only_what_is_new(hub: Client, channel: bytes, tmp_path: Path) -> None:
    async def curl() -> int:
        """Fetch; return how many bytes of body came."""
        url = str(hub.make_url("/a-channel"))
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", "-C", "-", "-O", "-w", "%{size_download}", url,
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode == 0
        return int(out)

    fetched = tmp_path / "a-channel"
    assert await curl() == len(channel)
    assert await curl() == 0
    assert fetched.read_bytes() == channel
    identity = await post(hub, "/a-channel?event=new", "data")
    assert await curl() == len(f"{identity}\tnew\tdata\n")
    assert await curl() == 0
    assert fetched.read_bytes() == channel + f"{identity}\tnew\tdata\n".encode()


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
