"""The door of subscriptions: what the stream begins with, where, and how it ends."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from urllib.parse import quote

import pytest

from hub.options import MOST_ID_BYTES
from hub.sse import HEARTBEAT, Message
from hub.web.context import HUB
from hub.web.events import BUSY_RETRY
from tests.conftest import Client, StartHub
from tests.web.wire import (
    NDJSON,
    PATIENCE,
    TSV,
    Answer,
    append_by_hand,
    eventually,
    exchange,
    post,
    post_batch,
    refused,
    rows,
    subscribe,
)

SSE = {"Accept": "text/event-stream"}
THREE = b"1\ta\tone\n2\tb\ttwo\x0blines\n3\t\tthree\n"
MESSAGES = [
    Message("a", "one", "1"),
    Message("b", "two\nlines", "2"),
    Message("message", "three", "3"),
]


@pytest.fixture
async def three(hub: Client) -> Client:
    """A hub whose channel has three events, with the ids 1, 2 and 3."""
    await post_batch(hub, THREE, TSV, "/a-channel")
    return hub


async def test_the_head_of_the_stream(three: Client) -> None:
    async with subscribe(three, "/a-channel") as stream:
        assert stream.raw == b"retry: 2000\n:\n"
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-cache, no-transform"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.headers["Last-Event-ID"] == "3"
        assert "Content-Length" not in stream.headers
        identity = await post(three, "/a-channel?event=type", "data")
        await stream.take(1)
        frame = f"event: type\ndata: data\nid: {identity}\n\n".encode()
        assert stream.raw == b"retry: 2000\n:\n" + frame


async def test_the_time_to_wait_is_an_option(start_hub: StartHub) -> None:
    hub = await start_hub(retry=70)
    async with subscribe(hub, "/a-channel") as stream:
        assert stream.raw == b"retry: 70\n:\n"


@pytest.mark.parametrize(
    "accept", ["text/event-stream", "text/event-stream, */*;q=0.1", "text/html, text/event-stream"]
)
async def test_who_gets_a_stream(hub: Client, accept: str) -> None:
    async with hub.get("/a-channel", headers={"Accept": accept}) as answer:
        assert answer.content_type == "text/event-stream"
    async with hub.get("/a-channel", headers={"Accept": "*/*"}) as answer:
        assert answer.content_type == "text/tab-separated-values"


async def test_a_channel_that_was_never_written(hub: Client, events: Path) -> None:
    async with (
        subscribe(hub, "/a-channel") as live,
        subscribe(hub, "/a-channel?since=start") as all_,
    ):
        assert "Last-Event-ID" not in live.headers
        assert os.listdir(events) == [".hub"]
        identity = await post(hub, "/a-channel")
        for stream in (live, all_):
            assert await stream.take(1) == [Message("message", "data", identity)]


@pytest.mark.parametrize("form", ["tsv", "ndjson"])
async def test_a_channel_that_is_empty(hub: Client, form: str) -> None:
    assert (await hub.put(f"/a-channel?format={form}")).status == 201
    async with (
        subscribe(hub, "/a-channel") as live,
        subscribe(hub, "/a-channel?tail=1") as tail,
        subscribe(hub, "/a-channel?since=start") as all_,
        subscribe(hub, "/a-channel?since=2026-11-20") as since,
        subscribe(hub, "/a-channel?since=unknown") as unknown,
    ):
        assert "Last-Event-ID" not in live.headers
        assert [each.event for each in await unknown.take(1)] == ["hub-reset"]
        identity = await post(hub, "/a-channel?event=t", "{}")
        data = "{}" if form == "tsv" else '{"type":"t"}'
        for stream in (live, tail, all_, since, unknown):
            assert await stream.take(1) == [Message("t", data, identity)]


SPELLINGS = ["lastEventID", "last_event_id", "lastEventId", "since"]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_every_spelling_of_a_cursor(three: Client, spelling: str) -> None:
    async with subscribe(three, f"/a-channel?{spelling}=1") as stream:
        assert stream.headers["Last-Event-ID"] == "1"
        assert await stream.take(2) == MESSAGES[1:]
    for start in ("start", "earliest"):
        async with subscribe(three, f"/a-channel?{spelling}={start}") as stream:
            assert await stream.take(3) == MESSAGES


async def test_the_header_goes_before_the_query(three: Client) -> None:
    query = "&".join(f"{each}=start" for each in SPELLINGS)
    async with subscribe(three, f"/a-channel?{query}", last_event_id="2") as stream:
        assert await stream.take(1) == MESSAGES[2:]
    async with subscribe(three, "/a-channel?since=2", last_event_id="") as stream:
        assert await stream.take(1) == MESSAGES[2:]
    async with subscribe(three, "/a-channel", last_event_id="start") as stream:
        assert await stream.take(3) == MESSAGES


@pytest.mark.parametrize("cursor", ["unknown", "0", "ä", "2026-02-30", "1 "])
async def test_an_unknown_id_starts_over_and_says_so(three: Client, cursor: str) -> None:
    async with subscribe(three, f"/a-channel?since={quote(cursor)}") as stream:
        assert stream.headers["Last-Event-ID"] == ""
        assert await stream.take(4) == [Message("hub-reset", "", ""), *MESSAGES]
        frame = b"retry: 2000\n:\nevent: hub-reset\ndata: \n\nevent: a\n"
        assert stream.raw.startswith(frame)


@pytest.mark.parametrize("written", [True, False])
async def test_a_cursor_that_is_not_utf8_is_unknown(hub: Client, written: bool) -> None:
    if written:
        await post_batch(hub, THREE, TSV, "/a-channel")
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(b"GET /a-channel HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
                 b"Last-Event-ID: a\xff\r\n\r\n")  # fmt: skip
    answer = await asyncio.wait_for(reader.readuntil(b"hub-reset\n"), PATIENCE)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    writer.close()


async def test_a_time_in_a_channel_that_was_never_written(hub: Client) -> None:
    async with subscribe(hub, "/a-channel?since=2026-11-20") as stream:
        await post(hub, "/a-channel")
        assert [each.event for each in await stream.take(1)] == ["message"]


async def test_a_bad_number_for_a_channel_that_was_never_written(hub: Client) -> None:
    await refused(await hub.get("/a-channel?tail=x", headers=SSE), 400, "invalid_request")


async def test_an_id_that_no_header_carries(start_hub: StartHub, events: Path) -> None:
    append_by_hand(events, b"1\x0b\t\tby hand\n")
    hub = await start_hub()
    async with subscribe(hub, "/a-channel") as stream:
        assert "Last-Event-ID" not in stream.headers


@pytest.mark.parametrize(
    ("cursor", "first"),
    [
        ("2026-11-20T11:40:10Z", 1),
        ("2026-11-20T11:40:10.999999Z", 1),
        ("2026-11-20T12:40:11%2B01:00", 2),
        ("2026-11-20T12:40:11+01:00", 2),
        ("2026-11-20", 0),
        ("2026-11-21", 3),
        ("2099-01-01T00:00:00Z", 3),
    ],
)
async def test_a_time_starts_at_the_next_event(hub: Client, cursor: str, first: int) -> None:
    ids = [f"2026-11-20T11:40:{second}.000000Z" for second in (10, 11, 12)]
    await post_batch(hub, "".join(f"{each}\t\tdata\n" for each in ids).encode(), TSV, "/a-channel")
    async with subscribe(hub, f"/a-channel?since={cursor}") as stream:
        assert stream.headers["Last-Event-ID"]
        last = await post(hub, "/a-channel", "last")
        assert [each.id for each in await stream.until_data("last")] == [*ids[first:], last]


LATER = "2026-11-20T11:50:00.000000Z"
SEEN = ["lastEventID", "last_event_id", "lastEventId"]


@pytest.mark.parametrize("form", ["tsv", "ndjson"])
@pytest.mark.parametrize("spelling", ["Last-Event-ID", *SEEN])
async def test_who_has_seen_what_comes_later_has_seen_another_log(
    hub: Client, spelling: str, form: str
) -> None:
    """A restored events directory, a new one, or one whose end was lost in a power cut."""
    ids = [f"2026-11-20T11:40:{second}.000000Z" for second in (10, 11, 12)]
    lines = "".join(f"{each}\t\t{{}}\n" for each in ids).encode()
    header = LATER if spelling == "Last-Event-ID" else None
    query = "" if header else f"?{spelling}={LATER}"

    async def come_back(path: str, count: int) -> list[str]:
        async with subscribe(hub, f"{path}{query}", last_event_id=header) as stream:
            assert stream.headers["Last-Event-ID"] == ""
            await post(hub, path, "{}")
            return [each.event for each in await stream.take(count)]

    assert await come_back("/never-written", 2) == ["hub-reset", "message"]
    assert (await hub.put(f"/a-channel?format={form}")).status == 201
    await post_batch(hub, lines, TSV, "/a-channel")
    assert len(await come_back("/a-channel", 5)) == 5


async def test_the_longest_id_comes_back(start_hub: StartHub) -> None:
    """As a header, and in a URL, where each of its bytes takes three."""
    hub = await start_hub(max_id_bytes=MOST_ID_BYTES)
    longest = "ä" * (MOST_ID_BYTES // 2)
    await post_batch(hub, f"{longest}\t\tone\nb\t\ttwo\n".encode(), TSV, "/a-channel")
    for spelling in ("Last-Event-ID", *SEEN, "since"):
        header = longest if spelling == "Last-Event-ID" else None
        query = "" if header else f"?{spelling}={quote(longest)}"
        async with subscribe(hub, f"/a-channel{query}", last_event_id=header) as stream:
            assert [each.data for each in await stream.take(1)] == ["two"]


async def test_a_time_that_somebody_gave_is_no_event_that_was_seen(hub: Client) -> None:
    for path in ("/never-written", "/a-channel"):
        async with subscribe(hub, f"{path}?since={LATER}") as stream:
            here = stream.headers["Last-Event-ID"]
            last = await post(hub, f"{path}?id=2026-11-20T11:40:10.000000Z")
            assert [each.id for each in await stream.take(1)] == [last]
        if path == "/never-written":
            assert here == LATER
            await post(hub, "/a-channel?id=2026-11-20T11:40:09.000000Z")
        else:  # what to come back with: that time would be no event's
            assert here == "2026-11-20T11:40:09.000000Z"


@pytest.mark.parametrize(
    ("cursor", "last", "first"),
    [
        ("2026-11-20T11:40:11.000000Z", "", 1),
        ("2026-11-20T12:40:12+01:00", "", 2),  # the last one, in other words
        ("2026-11-20T11:40:12.000000Z", "", 2),
        (LATER, "own", 2),  # after an id that is no time nothing can be said
    ],
)
async def test_an_id_that_may_be_of_this_log_is_no_reset(
    hub: Client, cursor: str, last: str, first: int
) -> None:
    ids = ["2026-11-20T11:40:10.000000Z", "2026-11-20T11:40:12.000000Z", *([last] if last else [])]
    lines = "".join(f"{each}\t\tdata\n" for each in ids).encode()
    await post_batch(hub, lines, TSV, "/a-channel")
    async with subscribe(hub, "/a-channel", last_event_id=cursor) as stream:
        assert stream.headers["Last-Event-ID"]
        await post(hub, "/a-channel?id=new")
        found = await stream.take(len(ids) - first + 1)
    assert [each.id for each in found] == [*ids[first:], "new"]


async def test_ids_that_are_not_unique(hub: Client) -> None:
    ids = ["1", "7", "7", "2", "7", "7", "7", "3"]
    lines = "".join(f"{each}\t\t{at}\n" for at, each in enumerate(ids))
    await post_batch(hub, lines.encode(), TSV, "/a-channel")
    # Right after the first event of the latest run: half a batch is delivered whole again.
    async with subscribe(hub, "/a-channel", last_event_id="7") as stream:
        assert [each.data for each in await stream.take(3)] == ["5", "6", "7"]
    async with subscribe(hub, "/a-channel", last_event_id="2") as stream:
        assert [each.data for each in await stream.take(4)] == ["4", "5", "6", "7"]


async def test_events_of_one_type(three: Client) -> None:
    async with subscribe(three, "/a-channel?event=b&since=start") as replayed:
        async with subscribe(three, "/a-channel?event=b") as live:
            for kind in ("a", "b", "", "bb", "b"):
                await post(three, f"/a-channel?event={kind}", f"new {kind}")
            await post_batch(three, b"8\ta\tx\n9\tb\ty\n", TSV, "/a-channel")
            assert [each.data for each in await live.take(3)] == ["new b", "new b", "y"]
        messages = await replayed.take(4)
        assert [each.data for each in messages] == ["two\nlines", "new b", "new b", "y"]
        assert {each.event for each in messages} == {"b"}
    async with subscribe(three, "/a-channel?event=&since=start") as stream:
        assert [each.data for each in await stream.take(2)] == ["three", "new "]


async def test_the_last_events_first(three: Client) -> None:
    async with subscribe(three, "/a-channel?tail=2") as stream:
        assert await stream.take(2) == MESSAGES[1:]
        identity = await post(three, "/a-channel")
        assert await stream.take(1) == [Message("message", "data", identity)]
    async with subscribe(three, "/a-channel?tail=1&event=a") as stream:
        assert await stream.take(1) == MESSAGES[:1]
    async with subscribe(three, "/a-channel?tail=0") as stream:
        await post(three, "/a-channel", "new")
        assert [each.data for each in await stream.take(1)] == ["new"]
    # A client that comes back goes on where it was.
    async with subscribe(three, "/a-channel?tail=1", last_event_id="1") as stream:
        assert await stream.take(2) == MESSAGES[1:]


@pytest.mark.parametrize("query", ["until=3", "limit=1", "tail=x", "tail=-1", "since=start&tail="])
async def test_what_makes_no_sense_is_refused(three: Client, query: str) -> None:
    await refused(await three.get(f"/a-channel?{query}", headers=SSE), 400, "invalid_request")


async def test_a_bad_name_is_refused(hub: Client) -> None:
    await refused(await hub.get("/abc", headers=SSE), 400, "invalid_name")


async def test_data_arrives_as_it_was_posted(hub: Client) -> None:
    bodies = [
        "",
        " leading",
        "a\nb",
        "\n\na",
        "\u0085\u2028\f",
        "data: x\nid: 9",
        ":",
        "\ufeff",
        "{}",
    ]
    async with subscribe(hub, "/a-channel") as stream:
        for body in bodies:
            await post(hub, "/a-channel", f"{body}\n".encode())
        live = await stream.take(len(bodies))
    assert [each.data for each in live] == bodies
    async with subscribe(hub, "/a-channel?since=start") as stream:
        assert await stream.take(len(bodies)) == live


async def test_heartbeats_are_no_messages(start_hub: StartHub) -> None:
    hub = await start_hub(heartbeat=0.02)
    async with subscribe(hub, "/a-channel") as stream:
        while stream.raw.count(HEARTBEAT) < 4:
            await stream.more()
        assert b"\n\n" not in stream.raw
        identity = await post(hub, "/a-channel")
        assert await stream.take(1) == [Message("message", "data", identity)]


async def test_http_1_0(three: Client) -> None:
    reader, writer = await asyncio.open_connection(three.host, three.port)
    writer.write(b"GET /a-channel?since=2 HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n")
    answer = Answer(await asyncio.wait_for(reader.readuntil(b"id: 3\n\n"), PATIENCE))
    assert (answer.version, answer.status) == ("HTTP/1.0", 200)
    assert answer.body == b"retry: 2000\n:\ndata: three\nid: 3\n\n"
    assert "Transfer-Encoding" not in answer.headers
    writer.close()


async def test_a_full_hub_says_when_to_come_back(start_hub: StartHub) -> None:
    hub = await start_hub(max_subscriptions=2)
    async with subscribe(hub, "/a-channel") as first:
        async with subscribe(hub, "/b-channel"):
            answer = await exchange(
                hub, b"GET /c-channel HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
            )
            assert answer.status == 200  # any other, and a browser gives up for good
            assert answer.headers["Content-Type"] == "text/event-stream"
            assert answer.body == b"retry: %d\n:\n" % (2000 * BUSY_RETRY)
            await post(hub, "/a-channel")
            assert await first.take(1)
        await eventually(lambda: len(hub.app[HUB].subscriptions) == 1)
        async with subscribe(hub, "/c-channel") as stream:
            assert stream.raw == b"retry: 2000\n:\n"


async def test_many_at_once_do_not_pass_the_limit(start_hub: StartHub) -> None:
    hub = await start_hub(max_subscriptions=3)
    identity = await post(hub, "/a-channel")
    headers = {**SSE, "Last-Event-ID": identity}  # its place is looked for on a thread
    answers = await asyncio.gather(*(hub.get("/a-channel", headers=headers) for _ in range(12)))
    heads = [await answer.content.readuntil(b":\n") for answer in answers]
    assert heads.count(b"retry: 2000\n:\n") == 3
    assert len(hub.app[HUB].subscriptions) == 3
    for answer in answers:
        answer.close()


async def test_a_hub_that_closes_ends_streams_between_events(three: Client) -> None:
    async with subscribe(three, "/a-channel?since=start") as stream:
        await stream.take(3)
        three.app[HUB].subscriptions.close()
        assert await stream.rest() == []
        assert stream.raw.endswith(b"data: three\nid: 3\n\n")
        answer = await exchange(
            three, b"GET /a-channel HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
        )
        assert answer.body == b"retry: %d\n:\n" % (2000 * BUSY_RETRY)


async def test_who_leaves_leaves_nothing_behind(three: Client) -> None:
    subscriptions = three.app[HUB].subscriptions
    await post(three, "/a-channel")
    files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    writers = []
    for number in range(30):
        reader, writer = await asyncio.open_connection(three.host, three.port)
        writer.write(
            b"GET /a-channel?since=start&event=%d HTTP/1.1\r\nHost: x\r\n"
            b"Accept: text/event-stream\r\n\r\n" % (number % 3)
        )
        await asyncio.wait_for(reader.readuntil(HEARTBEAT), PATIENCE)
        writers.append(writer)
    await eventually(lambda: subscriptions.live_count == 30)
    for at, writer in enumerate(writers):
        (writer.transport.abort if at % 2 else writer.close)()
    await eventually(lambda: len(subscriptions) == subscriptions.live_count == 0)
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= files)
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
    await post(three, "/a-channel")


# The seam: nothing missed, nothing doubled, while others post


async def poster(hub: Client, number: int, count: int) -> None:
    for at in range(count):
        if at % 5:
            await post(hub, "/a-channel", f"{number} {at}")
        else:
            lines = b"".join(b"\t\t%d %d.%d\n" % (number, at, part) for part in range(3))
            await post_batch(hub, lines, TSV, "/a-channel")
        if at % 7 == 0:
            await asyncio.sleep(0.002)


async def follow(hub: Client, how: str) -> list[str]:
    """Read up to the event `end`; return the ids that came."""
    seen: list[str] = []
    path, cursor = "/a-channel?since=start", None
    if how == "history":
        async with hub.get("/a-channel") as answer:
            cursor = answer.headers["Last-Event-ID"]
            lines = (await answer.text()).split("\n")[:-1]
        seen = [line.partition("\t")[0] for line in lines]
        path = "/a-channel"
    elif how == "tail":
        path = "/a-channel?tail=3"
    async with subscribe(hub, path, cursor) as stream:
        if how == "break":  # and come back, as a browser does
            seen = [each.id for each in await stream.take(random.randrange(1, 20))]
            path, cursor = "/a-channel", seen[-1]
        else:
            return seen + [each.id for each in await stream.until_data("end")]
    async with subscribe(hub, path, cursor) as stream:
        return seen + [each.id for each in await stream.until_data("end")]


async def test_every_event_once_and_in_order(hub: Client, events: Path) -> None:
    for number in range(30):
        await post(hub, "/a-channel", f"before {number}")
    posters = [asyncio.create_task(poster(hub, number, 60)) for number in range(4)]
    followers = []
    for how in ["start", "history", "tail", "break"] * 10:
        followers.append(asyncio.create_task(follow(hub, how)))
        await asyncio.sleep(0.005)
    await asyncio.gather(*posters)
    await post(hub, "/a-channel", "end")
    ids = [row[0].decode() for row in rows(events)]
    assert len(ids) == len(set(ids)) == 30 + 4 * (48 + 36) + 1
    for at, follower in enumerate(followers):
        seen = await asyncio.wait_for(follower, PATIENCE)
        if at % 4 == 2:
            assert seen == ids[-len(seen) :]
        else:
            assert seen == ids


async def test_a_seam_in_a_long_channel(hub: Client, events: Path) -> None:
    """Far behind, served from the file, until it has caught up with those who post."""
    lines = b"".join(b"%d\t\t%b\n" % (number, b"x" * 500) for number in range(4000))
    await post_batch(hub, lines, TSV, "/a-channel")
    posting = asyncio.create_task(poster(hub, 1, 100))
    seen = await asyncio.gather(*(follow_to_the_end(hub, posting) for _ in range(5)))
    ids = [row[0].decode() for row in rows(events)]
    for each in seen:
        assert each == ids


async def follow_to_the_end(hub: Client, posting: asyncio.Task[None]) -> list[str]:
    async with subscribe(hub, "/a-channel?since=start") as stream:
        seen = [each.id for each in await stream.take(4000)]
        await posting
        return seen + [each.id for each in await stream.take(80 + 60)]


async def test_everybody_sees_a_batch_as_it_was_posted(hub: Client) -> None:
    async with subscribe(hub, "/a-channel") as one, subscribe(hub, "/a-channel") as other:
        body = b"".join(b'{"n":%d}\n' % number for number in range(3000))
        await post_batch(hub, body, NDJSON, "/a-channel?event=n")
        messages = await one.take(3000)
        assert [each.data for each in messages] == body.decode().split("\n")[:-1]
        assert await other.take(3000) == messages
