"""How documents are sent: from the file, converted, compressed, and as they come."""

from __future__ import annotations

import asyncio
import gzip
import time
from typing import Any

import pytest

from hub.options import Durability
from hub.web.context import HUB
from hub.window import split_window
from tests.conftest import Client, StartHub
from tests.web.streaming import commit, of_type, read, split, types
from tests.web.wire import PACKED, PATIENCE, eventually, exchange, get, post, post_batch, refused

READ = "/streams/orders"
DERIVED = {"payload": {"type": ["A", "B", "C", "D", "E", "F", "G"]}}
VIEWS = ["/streams/orders", "/streams/a-channel", "/streams/derived", "/streams/_all",
         "/streams/category/a", "/streams/join"]  # fmt: skip
NUMBERED = [*VIEWS[:3], "/streams/_all"]


@pytest.fixture
async def hub(start_hub: StartHub) -> Client:
    """A hub that leaves syncing to the system: these tests are about something else."""
    return await start_hub(durability=Durability.OS, read_timeout=0.2)


@pytest.fixture
async def five(hub: Client) -> Client:
    """Streams of all kinds that have the events A to E, if they are read alone."""
    for name in ("orders", "a-channel"):
        if name == "a-channel":
            for each in "ABCDE":
                await post(hub, f"/a-channel?event={each}", "text")
        else:
            await commit(hub, name, *of_type("A", "B", "C"))
            await commit(hub, name, *of_type("D", "E"))
    await hub.put("/streams/derived", json={"stream": "orders", **DERIVED})
    return hub


def parameters(path: str) -> dict[str, str]:
    return {"streams": "orders"} if path.endswith("join") or "/join/" in path else {}


WINDOWS = {
    "": "ABCDE",
    "/from/2": "BCDE",
    "/from/2/until/3": "BC",
    "/until/3/from/2": "BC",
    "/from/-2": "DE",
    "/from/end": "E",
    "/until/start": "A",
    "/from/6": "",
    "/from/6/until/end": "",
    "/from/100": "",
    "/until/-6": "",
    "/forwards/2": "AB",
    "/from/4/forwards/9": "DE",
    "/backwards/2": "ED",
    "/backwards/9": "EDCBA",
    "/until/3/backwards/2": "CB",
    "/from/4/until/2": "DCB",
    "/from/end/until/start": "EDCBA",
    "/until/9/backwards/2": "ED",
}


async def test_windows_of_every_kind_of_stream(five: Client) -> None:
    for path in ("/streams/orders", "/streams/a-channel", "/streams/derived"):
        for window, expected in WINDOWS.items():
            assert types(await read(five, path + window)) == expected, path + window
    # Numbered by position, and for category `a` only the second five are of it.
    for path, here in (
        ("/streams/_all", range(1, 11)),
        ("/streams/join", range(1, 6)),
        ("/streams/category/a", range(6, 11)),
    ):
        for window in WINDOWS:
            bounds = split_window(window.split("/")[1:])[1].bounds(10)
            wanted = range(bounds.low, min(bounds.high, 10) + 1)
            expected = "".join("ABCDEABCDE"[at - 1] for at in wanted if at in here)
            found = types(await read(five, path + window, **parameters(path)))
            assert found == (expected[::-1] if bounds.backwards else expected), path + window


BAD = [
    "/from/0", "/until/0", "/from/x", "/until/1.5", "/forwards/0", "/forwards/-1", "/backwards/x",
    "/forwards/1/backwards/1", "/from/1/from/2", "/backwards/end", "/from/1" + "0" * 30,
]  # fmt: skip


async def test_windows_that_make_no_sense(five: Client) -> None:
    for path in VIEWS:
        for window in BAD:
            answer = await five.get(path + window, params=parameters(path))
            await refused(answer, 400, "invalid_request")


async def test_headers(five: Client) -> None:
    for path in VIEWS:
        async with five.get(path, params=parameters(path)) as answer:
            name = path.removeprefix("/streams/")
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-cache"
            assert answer.headers["x-event-store-stream"] == name
            whole = "5" if path in NUMBERED[:3] else "10"
            assert answer.headers["x-event-store-version"] == whole
    answer, body = await get(five, f"{READ}/from/2/until/3")
    assert answer.headers["Content-Length"] == str(len(body))
    assert answer.headers["x-event-store-version"] == "5"


async def test_head(five: Client) -> None:
    for path in VIEWS:
        for window in ("", "/from/2", "/backwards/2", "/from/9", "/until/99"):
            query = "?streams=orders" if path.endswith("join") else ""
            request = f"HEAD {path}{window}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            for accepted in ("", "Accept-Encoding: gzip\r\n"):
                answer = await exchange(five, f"{request}{accepted}\r\n".encode())
                assert (answer.status, answer.body) == (200, b"")
                assert answer.headers["x-event-store-version"] in ("5", "10")
    answer = await exchange(
        five, b"HEAD /streams/no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert (answer.status, answer.body) == (404, b"")
    raw = await exchange(
        five, b"HEAD /streams/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    _, body = await get(five, READ)
    assert raw.headers["Content-Length"] == str(len(body))


async def test_compression(five: Client) -> None:
    await commit(five, "orders", *({"type": "F", "text": "x" * 100} for _ in range(100)))
    for path in VIEWS:
        for window in ("", "/from/2", "/backwards/50"):
            _, plain = await get(
                five, path + window + ("?streams=orders" if "join" in path else "")
            )
            async with five.get(path + window, params=parameters(path), headers=PACKED) as answer:
                if len(plain) > 10_000:
                    assert answer.headers["Content-Encoding"] == "gzip"
                assert await answer.read() == plain
    request = b"GET /streams/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b\r\n"
    packed = await exchange(five, request % b"Accept-Encoding: gzip\r\n")
    plain_answer = await exchange(five, request % b"")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain_answer.headers
    assert len(packed.body) < len(plain_answer.body) / 5
    assert gzip.decompress(b"".join(chunks(packed.body))) == plain_answer.body


def chunks(body: bytes) -> list[bytes]:
    """What stands in a chunked body."""
    found = []
    while body:
        size, _, body = body.partition(b"\r\n")
        found.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return found


async def test_unknown_streams(hub: Client) -> None:
    for window in ("", "/from/1", "/version", "/until/9"):
        await refused(await hub.get(READ + window), 404, "unknown_stream", "orders")
    for path in ("/streams/_all", "/streams/category/a"):
        assert await read(hub, path) == []
        assert await read(hub, f"{path}/backwards/3") == []


@pytest.mark.parametrize("path", ["/streams/long", "/streams/long-tsv", "/streams/_all"])
async def test_long_streams(hub: Client, path: str) -> None:
    """Read in pieces, whichever way."""
    count = 5000
    if path == "/streams/long-tsv":
        body = b"".join(b"%d\tA\t%b\n" % (number, b"x" * 300) for number in range(1, count + 1))
        await post_batch(hub, body, {"Content-Type": "text/tab-separated-values"}, "/long-tsv")
    else:
        for at in range(0, count, 1000):
            events = [{"type": "A", "n": n, "x": "x" * 300} for n in range(at + 1, at + 1001)]
            await commit(hub, "long", *events)

    def numbers(found: list[dict[str, Any]]) -> list[int]:
        return [each["metadata"]["streamVersion"] + 1 for each in found]

    assert numbers(await read(hub, path)) == list(range(1, count + 1))
    assert numbers(await read(hub, f"{path}/backwards/{count}")) == list(range(count, 0, -1))
    assert numbers(await read(hub, f"{path}/from/1234/until/4321")) == list(range(1234, 4322))
    assert numbers(await read(hub, f"{path}/from/4321/until/1234")) == list(range(4321, 1233, -1))
    filtered = await read(hub, f"{path}/from/4999", filter={"payload": {"type": "A"}})
    assert numbers(filtered) == [4999, 5000]


# Waiting


async def test_a_read_waits_for_what_is_to_come(start_hub: StartHub) -> None:
    hub = await start_hub(durability=Durability.OS)
    await commit(hub, "orders", *of_type("A"))
    await hub.put("/streams/derived", json=DERIVED)
    for path in (
        "/streams/orders",
        "/streams/derived",
        "/streams/_all",
        "/streams/category/orders",
    ):
        await commit(hub, "orders-1", *of_type("A"))
        version = int((await get(hub, path))[0].headers["x-event-store-version"])
        window = f"/from/{version + 1}/until/{version + 3}"
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read(hub, path + window))
            await asyncio.sleep(0.05)
            assert not reading.done()
            name = "orders-1" if "category" in path else "orders"
            await commit(hub, name, *of_type("B", "C"))
            await asyncio.sleep(0.05)
            assert not reading.done()
            await commit(hub, name, *of_type("D", "E"))
        assert types(reading.result()) == "BCD", path


async def test_events_are_sent_as_they_come(hub: Client) -> None:
    await commit(hub, "orders", *of_type("A"))
    for accepted in ("", "gzip"):
        version = (await commit(hub, "orders", *of_type("A")))["version"]
        async with hub.get(
            f"{READ}/from/{version}/until/{version + 50}", headers={"Accept-Encoding": accepted}
        ) as answer:
            for kind in "ABC":
                line = await asyncio.wait_for(answer.content.readuntil(b"\n"), PATIENCE)
                assert types(split(line.decode())) == kind
                await commit(hub, "orders", *of_type(chr(ord(kind) + 1)))
            assert types(split((await answer.read()).decode())) == "D"


async def test_nothing_came(hub: Client) -> None:
    await commit(hub, "orders", *of_type("A", "B"))
    await hub.put("/streams/derived", json=DERIVED)
    began = time.monotonic()
    paths = [
        f"{READ}/from/3/until/4",
        f"{READ}/from/9/until/12",
        f"{READ}/until/9?filter={{}}".replace("{}", '{"stream":"x"}'),
        "/streams/derived/from/3/until/99",
        "/streams/_all/from/3/until/99",
        "/streams/category/x/until/9",
        "/streams/join/until/99?streams=x,y",
    ]
    answers = await asyncio.gather(*(hub.get(path) for path in paths))
    for answer in answers:
        await refused(answer, 408, "timed_out", "did not reach version", "0.2 s", "has version 2")
    assert 0.2 <= time.monotonic() - began < 5


async def test_something_came_but_not_all(hub: Client) -> None:
    await commit(hub, "orders", *of_type("A", "B"))
    assert types(await read(hub, f"{READ}/from/2/until/9")) == "B"
    assert types(await read(hub, "/streams/_all/until/9")) == "AB"


async def test_what_comes_before_the_window_is_not_sent(hub: Client) -> None:
    await commit(hub, "orders", *of_type("A", "B"))
    for path in (READ, "/streams/_all"):
        version = int((await get(hub, path))[0].headers["x-event-store-version"])
        reading = asyncio.create_task(read(hub, f"{path}/from/{version + 3}/until/{version + 4}"))
        await asyncio.sleep(0.05)
        await commit(hub, "orders", *of_type("C", "D"))
        await commit(hub, "orders", *of_type("E", "F", "G"))
        assert types(await reading) == "EF"


async def test_who_waits_for_what_does_not_match(hub: Client) -> None:
    await commit(hub, "orders", *of_type("A"))
    wanted = {"payload": {"type": "C"}}
    reading = asyncio.create_task(read(hub, f"{READ}/until/3", filter=wanted))
    await asyncio.sleep(0.05)
    await commit(hub, "orders", *of_type("B"))
    await commit(hub, "orders", *of_type("C", "C"))
    assert types(await reading) == "C"


@pytest.mark.parametrize("window", ["/until/end", "/until/-1", "/from/3", "/forwards/9", ""])
async def test_who_does_not_wait(start_hub: StartHub, window: str) -> None:
    hub = await start_hub(durability=Durability.OS, read_timeout=PATIENCE)
    await hub.put("/streams/orders", json={"stream": "orders"})
    began = time.monotonic()
    assert await read(hub, READ + window) == []
    await commit(hub, "orders", *of_type("A", "B"))
    await read(hub, READ + window)
    assert time.monotonic() - began < PATIENCE / 4


async def test_many_wait_and_leave(start_hub: StartHub) -> None:
    hub = await start_hub(durability=Durability.OS)
    await commit(hub, "orders", *of_type("A"))
    before = len(asyncio.all_tasks())
    writers = []
    for number in range(100):
        _, writer = await asyncio.open_connection(hub.host, hub.port)
        path = ("/streams/orders", "/streams/_all", "/streams/join")[number % 3]
        query = "?streams=orders" if path.endswith("join") else ""
        writer.write(f"GET {path}/from/2/until/9{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        writers.append(writer)
    waiting = hub.app[HUB].streams._waiting
    await eventually(lambda: len(waiting._order) + sum(map(len, waiting._logs.values())) == 100)
    for at, writer in enumerate(writers):
        (writer.transport.abort if at % 2 else writer.close)()
    await eventually(lambda: not waiting._order and not waiting._logs)
    await eventually(lambda: len(asyncio.all_tasks()) <= before)
    assert types(await read(hub, READ)) == "A"


async def test_those_who_wait_are_counted(start_hub: StartHub) -> None:
    hub = await start_hub(durability=Durability.OS, max_subscriptions=2)
    await commit(hub, "orders", *of_type("A"))
    waiting = [asyncio.create_task(read(hub, f"{READ}/from/2/until/2")) for _ in range(2)]
    subscriptions = hub.app[HUB].subscriptions
    await eventually(lambda: len(subscriptions) == 2)
    async with hub.get(f"{READ}/from/2/until/2") as answer:
        await refused(answer, 503, "busy")
    assert types(await read(hub, READ)) == "A"  # that takes no waiting
    await commit(hub, "orders", *of_type("B"))
    for each in waiting:
        assert types(await each) == "B"
    await eventually(lambda: len(subscriptions) == 0)


async def test_a_hub_that_closes_lets_nobody_wait(start_hub: StartHub) -> None:
    hub = await start_hub(durability=Durability.OS)
    await commit(hub, "orders", *of_type("A"))
    paths = [f"{READ}/from/2/until/9", "/streams/_all/from/2/until/9", f"{READ}/from/1/until/9"]
    reading = [asyncio.create_task(hub.get(path)) for path in paths]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    context = hub.app[HUB]
    context.subscriptions.close()
    context.streams.close()
    answers = await asyncio.gather(*reading)
    for answer in answers[:2]:
        await refused(answer, 503, "closing")
    assert types(split(await answers[2].text())) == "A"
    assert time.monotonic() - began < 2


async def test_a_derived_stream_that_is_removed_while_it_is_waited_for(start_hub: StartHub) -> None:
    hub = await start_hub(durability=Durability.OS)
    await commit(hub, "orders", *of_type("A"))
    await hub.put("/streams/derived", json=DERIVED)
    reading = asyncio.create_task(hub.get("/streams/derived/from/2/until/9"))
    await asyncio.sleep(0.05)
    await hub.delete("/streams/derived")
    await commit(hub, "orders", *of_type("A"))
    await refused(await reading, 404, "unknown_stream")
