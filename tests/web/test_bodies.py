"""Bodies that are compressed, large, cut off, or lie about themselves."""

from __future__ import annotations

import asyncio
import gc
import gzip
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hub.batch import TsvReader
from hub.event import Limits
from hub.web import bodies, heaps
from hub.web.bodies import FREED_SECONDS
from hub.web.context import HUB
from tests import examples
from tests.conftest import Client, RunHub, StartHub
from tests.process import HubProcess
from tests.web.wire import PATIENCE, TSV, eventually, exchange, post, post_batch, refused, rows

GZIP = {"Content-Encoding": "gzip"}
LINES = b"".join(b"\ttype\t%d\n" % number for number in range(20_000))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "identity"])
async def test_a_compressed_event(hub: Client, events: Path, encoding: str) -> None:
    body = "ä\nb\n".encode()
    if encoding == "deflate":
        body = zlib.compress(body)
    elif encoding != "identity":
        body = gzip.compress(body)
    answer = await exchange(
        hub,
        b"POST /a-channel HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (encoding.encode(), len(body), body),
    )
    assert answer.status == 201
    assert rows(events)[0][2] == "ä\x0bb".encode()


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_compressed_batch(hub: Client, events: Path, chunked: bool) -> None:
    answer = await hub.post(
        "/a-channel", data=gzip.compress(LINES), headers={**GZIP, **TSV}, chunked=chunked or None
    )
    assert (answer.status, (await answer.json())["count"]) == (201, 20_000)
    assert b"".join(b"\ttype\t%b\n" % row[2] for row in rows(events)) == LINES


async def test_a_compressed_event_at_its_limit_and_over(start_hub: StartHub) -> None:
    hub = await start_hub(max_event_bytes=50)
    for size, status in ((50, 201), (51, 413), (500, 413)):
        # Of random bytes, gzip makes more than they were.
        body = gzip.compress(bytes(33 + (at * 7919) % 90 for at in range(size)), 0)
        answer = await hub.post("/a-channel", data=body, headers=GZIP)
        assert answer.status == status
        if status == 413:
            await refused(answer, 413, "too_large", "50")


@pytest.mark.parametrize("encoding", ["compress", "gzip, gzip", "x-unknown", "aes128gcm"])
async def test_an_encoding_that_nobody_undoes(hub: Client, events: Path, encoding: str) -> None:
    for headers in ({}, TSV):
        answer = await hub.post(
            "/a-channel", data=b"7\t\ta\n", headers={**headers, "Content-Encoding": encoding}
        )
        await refused(answer, 415, "unknown_encoding", encoding.split(",")[0])
    assert not rows(events)


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"one", mtime=0) + b"junk"])
async def test_a_body_that_is_not_in_its_encoding(hub: Client, events: Path, body: bytes) -> None:
    for headers in ({}, TSV):
        # aiohttp closes the connection behind such a body, but does not say so.
        headers = {**GZIP, **headers, "Connection": "close"}
        answer = await hub.post("/a-channel", data=body, headers=headers)
        await refused(answer, 400, "invalid_request", "encoding")
    assert not rows(events)
    await post(hub, "/a-channel")


@pytest.mark.parametrize("missing", [1, 8, 9, 100])
async def test_a_compressed_body_that_breaks_off(hub: Client, events: Path, missing: int) -> None:
    body = gzip.compress(LINES)[:-missing]
    answer = await hub.post("/a-channel", data=body, headers={**GZIP, **TSV})
    await refused(answer, 400, "invalid_request", "breaks off")
    assert not rows(events)


async def test_a_zip_bomb(start_hub: StartHub, events: Path) -> None:
    hub = await start_hub(max_request_bytes=1_000_000)
    bomb = gzip.compress(bytes(100_000_000), 1)
    assert len(bomb) < 1_000_000
    for headers in ({}, TSV):
        answer = await hub.post("/a-channel", data=bomb, headers={**GZIP, **headers})
        assert answer.status in (413, 422)
    assert not rows(events)


async def posted(hub: Client, body: bytes, *headers: bytes) -> int:
    """Post with a socket alone, which takes little of the loop's time; returns the status."""
    head = b"\r\n".join([b"POST /a-channel HTTP/1.1", b"Host: x", b"Connection: close", *headers])
    return (await exchange(hub, head + b"\r\n\r\n" + body)).status


AS_TSV = b"Content-Type: text/tab-separated-values"
IN_GZIP = b"Content-Encoding: gzip"
SHORTEST = b"\t\t\n"


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage collection, which takes long among the objects of all tests."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("packed", [True, False])
async def test_a_batch_of_the_shortest_lines_stops_nobody(hub: Client, packed: bool) -> None:
    """What the loop does at one go is little, in its own time: the machine may be busy."""
    lines = SHORTEST * 1_000_000
    body = gzip.compress(lines) if packed else lines
    headers = [AS_TSV, IN_GZIP] if packed else [AS_TSV]
    feed, begun = TsvReader(Limits()).feed, time.thread_time()
    for _ in range(10):
        feed(SHORTEST * (bodies.PIECE // len(SHORTEST)))
    one = (time.thread_time() - begun) / 10
    length = b"Content-Length: %d" % len(body)
    posting = asyncio.create_task(posted(hub, body, *headers, length))
    longest, last = 0.0, time.thread_time()
    while not posting.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    assert posting.result() == 201
    assert longest < bodies.TURN_SECONDS + 8 * one, f"{longest:.3f} s, a piece takes {one:.4f} s"


async def test_members_of_gzip_that_hold_nothing_are_bytes_too(
    start_hub: StartHub, events: Path
) -> None:
    hub = await start_hub(max_request_bytes=1_000_000)
    empty = gzip.compress(b"", mtime=0)
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(b"POST /a-channel HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n")
    writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
    block = empty * 1000
    answering = asyncio.create_task(reader.readuntil(b"}\n"))
    sent = 0
    while not answering.done() and sent < 5_000_000:
        writer.write(b"%x\r\n%b\r\n" % (len(block), block))
        sent += len(block)
        await writer.drain()
        await asyncio.sleep(0)
    writer.write(b"0\r\n\r\n")
    answer = await answering
    writer.close()
    assert b" 413 " in answer
    assert b"limit is 1000000" in answer
    assert not rows(events)


async def test_members_of_gzip_of_all_sizes(hub: Client, events: Path) -> None:
    lines = [b"\t\t%b\n" % (b"%d" % number * (number % 40) ** 2) for number in range(400)]
    body = b"".join(gzip.compress(each, 1) + gzip.compress(b"") for each in lines)
    answer = await hub.post("/a-channel", data=body, headers={**GZIP, **TSV})
    assert (answer.status, (await answer.json())["count"]) == (201, len(lines))
    assert b"".join(b"\t\t%b\n" % row[2] for row in rows(events)) == b"".join(lines)


def test_many_members_of_gzip_are_not_copied_again_and_again() -> None:
    """The time for each is the same, however many come at once."""
    empty = gzip.compress(b"", mtime=0)

    def seconds(count: int) -> float:
        best = float("inf")
        for _ in range(3):
            begun = time.thread_time()
            assert not b"".join(bodies._Decoder().decode(empty * count))
            best = min(best, time.thread_time() - begun)
        return best / count

    assert seconds(40_000) < 4 * seconds(1000)


def resident(hub: HubProcess, what: str) -> int:
    """Bytes of memory that the hub has (`VmRSS`) or ever had (`VmHWM`)."""
    assert hub.process
    lines = Path(f"/proc/{hub.process.pid}/status").read_text().split("\n")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def test_the_memory_of_a_large_batch(run_hub: RunHub) -> None:
    hub = run_hub()
    line = b"2026-11-20T11:40:10.793214Z\ttype\t" + b"x" * 163 + b"\n"
    body = line * (60 * 2**20 // len(line))
    urllib.request.urlopen(f"{hub.url}/a-channel", b"data").close()
    before = resident(hub, "VmRSS")
    request = urllib.request.Request(f"{hub.url}/a-channel", body, TSV)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201
    assert resident(hub, "VmHWM") - before < 2 * len(body)
    with (hub.events / "a-channel.tsv").open("rb") as file:
        file.readline()
        assert file.read() == body


async def test_after_large_bodies_the_heaps_give_back_what_is_free(
    hub: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back = 0

    def give_back() -> None:
        nonlocal given_back
        given_back += 1

    monkeypatch.setattr(heaps, "give_back", give_back)
    monkeypatch.setattr(bodies, "FREED_BYTES", 4 * 2**20)
    await hub.post("/a-channel", data=b"small")
    lines = b"\t\tdata of some length\n" * (2**15)
    for count in range(12):
        assert (await hub.post("/a-channel", data=lines, headers=TSV)).status == 201
        await asyncio.sleep(2 * FREED_SECONDS)
        assert given_back == (count + 1) // 6  # 0.7 MiB each


def test_the_memory_of_a_zip_bomb(run_hub: RunHub) -> None:
    hub = run_hub()
    urllib.request.urlopen(f"{hub.url}/a-channel", b"data").close()
    before = resident(hub, "VmRSS")
    bomb = gzip.compress(b"\t\t" + b"a" * 2**28, 1)
    for headers in (GZIP, {**GZIP, **TSV}):
        request = urllib.request.Request(f"{hub.url}/a-channel", bomb, headers)
        with pytest.raises(urllib.error.HTTPError, match=r"413|422") as caught:
            urllib.request.urlopen(request)
        caught.value.close()
    assert resident(hub, "VmHWM") - before < 32 * 2**20


# The other end of the connection


@pytest.mark.parametrize("media_type", [b"text/plain", b"text/tab-separated-values"])
@pytest.mark.parametrize("length", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_a_body_that_breaks_off_stores_nothing(
    hub: Client, events: Path, length: bytes, media_type: bytes
) -> None:
    _, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(
        b"POST /a-channel HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\n%b\r\n\r\n"
        b"c\r\n7\t\tand more\n\r\n" % (media_type, length)
    )
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await writer.wait_closed()
    await post(hub, "/other-channel")
    assert not rows(events)


async def test_bytes_behind_the_content_length_are_the_next_request(
    hub: Client, events: Path
) -> None:
    request = b"POST /a-channel HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    answer = await exchange(hub, request + b"\r\ndata" + request + b"Connection: close\r\n\r\nmore")
    assert answer.status == 201
    assert answer.body.count(b"201 Created") == 1  # the second answer
    assert [row[2] for row in rows(events)] == [b"data", b"more"]


async def test_a_body_that_is_too_long_is_refused_by_its_length(start_hub: StartHub) -> None:
    hub = await start_hub(max_event_bytes=1000)
    request = b"POST /a-channel HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n"
    # What curl does with a large body: it asks first.
    for more in (b"Expect: 100-continue\r\n", b""):
        reader, writer = await asyncio.open_connection(hub.host, hub.port)
        writer.write(request + more + b"\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"}\n"), PATIENCE)
        assert b" 413 " in answer
        assert b"limit is 1000" in answer
        writer.close()
        await writer.wait_closed()


async def test_a_body_in_drops(hub: Client, events: Path) -> None:
    body = "7\tt\täää".encode()

    async def trickle() -> AsyncIterator[bytes]:
        for drop in examples.bytewise(body):
            yield drop
            await asyncio.sleep(0.001)

    async with hub.post("/a-channel", data=trickle(), headers=TSV) as answer:
        assert answer.status == 201
    assert rows(events) == [[b"7", b"t", "äää".encode()]]


async def test_posts_side_by_side(hub: Client, events: Path) -> None:
    async def many(poster: int) -> None:
        for number in range(20):
            await post(hub, "/a-channel", f"{poster} {number}")
        await post_batch(hub, b"\t\t%d 20\n\t\t%d 21\n" % (poster, poster), TSV, "/a-channel")

    await asyncio.gather(*(many(poster) for poster in range(10)))
    found = rows(events)
    assert len(found) == 220
    ids = [row[0] for row in found]
    assert ids == sorted(set(ids))
    for poster in range(10):
        own = [row[2] for row in found if row[2].startswith(b"%d " % poster)]
        assert own == [b"%d %d" % (poster, number) for number in range(22)]


async def test_more_large_bodies_than_the_hub_may_hold_are_turned_away(
    start_hub: StartHub,
) -> None:
    hub = await start_hub(max_held_bytes=300_000)
    first = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"\ta\t" + b"x" * 200_000 + b"\n"
        await first.wait()
        yield b"\tb\tend\n"

    headers = {"Content-Type": "text/tab-separated-values"}
    uploading = asyncio.create_task(hub.post("/a-channel", data=slow(), headers=headers))
    bodies = hub.app[HUB].bodies
    await eventually(lambda: bodies.held > 200_000)
    for body in (b"y" * 150_000, b"y" * 150_000):
        denied = await hub.post("/a-channel", data=body)
        assert denied.status == 503
        assert denied.headers["Retry-After"] == "1"
        answer = await denied.json()
        assert answer["code"] == "busy"
        assert "300000" in answer["error"]
    assert (await hub.post("/a-channel", data=b"small")).status == 201
    first.set()
    assert (await (await uploading).json())["count"] == 2
    assert bodies.held == 0
    assert (await hub.post("/a-channel", data=b"y" * 150_000)).status == 201
    assert bodies.held == 0
