"""One request after the other, whichever way each goes; and what happens in between."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web

from hub.engines.base import Receipt
from hub.engines.files import FilesEngine
from hub.formats import Batch
from hub.web.connection import Connection
from hub.web.context import HUB
from hub.web.express import Express
from hub.web.runner import Runner
from tests.conftest import Client, RunHub, StartHub
from tests.process import PATIENCE, HubProcess
from tests.web.test_express import CLOSE, commit, known, request
from tests.web.wire import eventually, exchange

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
TAIL = b"GET /a-channel?tail=1 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n"


def statuses(raw: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.[01] (\d{3}) ", raw)]


async def test_requests_in_one_are_answered_in_their_order(hub: Client) -> None:
    """Each read sees what the writes before it on its connection have stored."""
    await known(hub)
    message, wanted = b"", []
    for number in range(100):
        message += request(b"/a-channel?id=%d" % number, b"text") + TAIL
        message += request(b"/streams/orders/commit", commit(expectedVersion=number))
        message += request(b"/streams/orders/commit", commit(expectedVersion=number))
        wanted += [201, 200, 201, 409]
    raw = (await exchange(hub, message + CLOSE)).raw
    assert statuses(raw) == [*wanted, 200]
    assert re.findall(rb"\n(\d+)\t\ttext\n", raw) == [b"%d" % number for number in range(100)]


@pytest.mark.parametrize("most", [1, 7, 300, 3000])
async def test_requests_in_any_pieces(hub: Client, most: int) -> None:
    await known(hub)
    message = b""
    for number in range(20):
        message += request(b"/a-channel?id=%d" % number, b"x" * random.randrange(200))
        message += random.choice([b"", TAIL, HEALTH])
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    message += CLOSE
    while message:
        size = random.randint(1, most)
        writer.write(message[:size])
        await writer.drain()
        await asyncio.sleep(0)
        message = message[size:]
    raw = await asyncio.wait_for(reader.read(-1), PATIENCE)
    writer.close()
    assert statuses(raw).count(201) == 20
    assert statuses(raw)[-1] == 200
    async with hub.get("/a-channel?since=start") as answer:
        found = [line.split("\t")[0] for line in (await answer.text()).split("\n")[1:-1]]
    assert found == [str(number) for number in range(20)]


async def test_what_is_no_http_behind_a_write(hub: Client) -> None:
    await known(hub)
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(request(b"/a-channel?id=7", b"x"))
    raw = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"nonsense\r\n\r\n")
    raw += await asyncio.wait_for(reader.read(-1), PATIENCE)
    writer.close()
    assert statuses(raw) == [201, 400]


def server_of(hub: Client) -> web.Server:
    runner = hub.server.runner
    assert isinstance(runner, Runner)
    server = runner.server
    assert isinstance(server, web.Server)
    return server


def requests_of(hub: Client) -> int:
    """How many have been begun."""
    return server_of(hub).requests_count


def connections(hub: Client) -> list[Connection]:
    """Those of the hub."""
    server = server_of(hub)
    return [each for each in server.connections if isinstance(each, Connection)]


def under_way(hub: Client) -> int:
    """How many requests are on their express way."""
    return sum(each._under_way for each in connections(hub))


class Held(FilesEngine):
    """An engine that stores nothing until it is told to."""

    hold: asyncio.Event | None = None

    def append(self, name: str, batch: Batch) -> asyncio.Future[Receipt]:
        if self.hold is None:
            return super().append(name, batch)
        return asyncio.ensure_future(self._later(self.hold, name, batch))

    async def _later(self, hold: asyncio.Event, name: str, batch: Batch) -> Receipt:
        await hold.wait()
        return await super().append(name, batch)


HeldHub = tuple[Client, Held, asyncio.Event]


@pytest.fixture
async def held(start_hub: StartHub, events: Path) -> HeldHub:
    """A hub whose doors are known, its engine, and what makes that store."""
    engine = Held(events)
    hub = await start_hub(engine=engine)
    await known(hub)
    engine.hold = asyncio.Event()
    return hub, engine, engine.hold


async def test_the_next_waits_until_one_is_stored(held: HeldHub) -> None:
    hub, _, hold = held
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(request(b"/a-channel?id=7", b"x"))
    await eventually(lambda: under_way(hub) == 1)
    for message in (request(b"/a-channel?id=8", b"x"), HEALTH * 50, CLOSE):
        writer.write(message)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
    assert requests_of(hub) == 3
    hold.set()
    raw = await asyncio.wait_for(reader.read(-1), PATIENCE)
    writer.close()
    assert statuses(raw) == [201, 201, *[200] * 51]


async def test_a_client_that_hangs_up_meanwhile(
    held: HeldHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub, engine, hold = held
    others = set(connections(hub))  # that of the client which `known` asked with
    writers = []
    for number in range(20):
        _, writer = await asyncio.open_connection(hub.host, hub.port)
        writer.write(request(b"/a-channel?id=%d" % number, b"x"))
        writers.append(writer)
    await eventually(lambda: under_way(hub) == 20)
    for writer in writers:
        writer.transport.abort()
    await eventually(lambda: set(connections(hub)) <= others)
    hold.set()
    await eventually(lambda: engine.find("a-channel").version == 21)  # type: ignore[union-attr]  # it is there
    assert not caplog.records


async def test_who_does_not_read_gets_no_more_answers(hub: Client) -> None:
    """A write waits on the other way, which drains, until its client has taken what is due."""
    await known(hub)
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(HEALTH)
    await reader.readuntil(b"}\n")
    (connection,) = [each for each in connections(hub) if each.transport is not None][-1:]
    connection.pause_writing()
    for number in range(3):
        writer.write(request(b"/a-channel?id=%d" % number, b"x"))
    await asyncio.sleep(0.3)
    log = engine_of(hub).find("a-channel")
    assert log is not None
    assert log.version <= 2  # that of `known`, and one whose answer waits
    connection.resume_writing()
    raw = b""
    while raw.count(b"HTTP/1.1 201 ") < 3:
        raw += await asyncio.wait_for(reader.read(65536), PATIENCE)
    writer.close()


async def test_a_client_that_does_not_read(hub: Client) -> None:
    """What it is owed stays bounded."""
    await known(hub)
    with socket.create_connection((hub.host, hub.port)) as client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        message = request(b"/streams/orders/commit", commit(metadata={"a": "x" * 10_000}))
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await loop.sock_sendall(client, message)
                sent += 1

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flood(), 3)
        owed = max(
            each.transport.get_write_buffer_size()
            for each in connections(hub)
            if each.transport is not None
        )
        assert owed < 300_000
        log = engine_of(hub).find("orders")
        assert log is not None
        assert log.version < sent


def engine_of(hub: Client) -> FilesEngine:
    found = hub.app[HUB].engine
    assert isinstance(found, FilesEngine)
    return found


def test_a_connection_that_is_used_is_not_idle(run_hub: RunHub) -> None:
    hub = run_hub("--idle-timeout", "1")
    with socket.create_connection(("127.0.0.1", hub.port), timeout=PATIENCE) as connection:
        for number in range(8):
            connection.sendall(request(b"/a-channel?id=%d" % number, b"x"))
            assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
            time.sleep(0.3)
        began = time.monotonic()
        assert connection.recv(1) == b""
        assert 0.3 < time.monotonic() - began < 10


async def test_idle_is_only_who_waits_for_nothing(held: HeldHub) -> None:
    hub, _, hold = held
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(request(b"/a-channel?id=7", b"x"))
    await eventually(lambda: under_way(hub) == 1)
    (connection,) = [each for each in connections(hub) if each._under_way]
    connection._next_keepalive_close_time = 0.0
    connection._process_keepalive()
    hold.set()
    assert (await asyncio.wait_for(reader.read(100), PATIENCE)).startswith(b"HTTP/1.1 201 ")
    connection._next_keepalive_close_time = 0.0
    connection._process_keepalive()
    assert await asyncio.wait_for(reader.read(-1), PATIENCE) is not None
    writer.close()


async def test_the_end_of_the_hub_waits_for_what_is_under_way(held: HeldHub) -> None:
    hub, _, hold = held
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(request(b"/a-channel?id=7", b"x"))
    await eventually(lambda: under_way(hub) == 1)
    asyncio.get_running_loop().call_later(0.3, hold.set)
    (connection,) = [each for each in connections(hub) if each._under_way]
    connection.close()
    await asyncio.wait_for(connection.shutdown(PATIENCE), PATIENCE)
    assert (await asyncio.wait_for(reader.read(-1), PATIENCE)).endswith(b"\r\n\r\n7")
    writer.close()


async def test_what_the_hub_waits_for_no_longer_ends_the_connection(
    held: HeldHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub, _, _ = held
    before = asyncio.all_tasks()
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(request(b"/a-channel?id=7", b"x"))
    await eventually(lambda: under_way(hub) == 1)
    for task in asyncio.all_tasks() - before:
        if "_later" in repr(task):
            task.cancel()
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(-1), PATIENCE) == b""
    writer.close()
    assert not caplog.records


def test_what_is_under_way_at_sigterm_is_answered(run_hub: RunHub) -> None:
    hub = run_hub()
    with socket.create_connection(("127.0.0.1", hub.port), timeout=PATIENCE) as connection:
        told: list[bytes] = []
        number = 0
        connection.sendall(request(b"/a-channel?id=first", b"x"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
        process = hub.process
        assert process is not None
        began = time.monotonic()
        while True:
            if number == 50:
                process.terminate()
            try:
                connection.sendall(request(b"/a-channel?id=%d" % number, b"x"))
                answer = connection.recv(65536)
            except OSError:
                break
            if not answer:
                break
            assert answer.startswith(b"HTTP/1.1 201 ")
            told.append(b"%d" % number)
            number += 1
            assert time.monotonic() - began < PATIENCE
        process.wait(PATIENCE)
    stored = [line.split(b"\t")[0] for line in lines_of_log(hub)]
    assert stored[1 : 1 + len(told)] == told
    assert len(told) >= 50
    assert "Traceback" not in hub.log


def lines_of_log(hub: HubProcess) -> list[bytes]:
    return (hub.events / "a-channel.tsv").read_bytes().split(b"\n")[:-1]


async def test_what_is_logged_goes_the_other_way(
    hub: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(hub)
    offered: list[object] = []
    monkeypatch.setattr(Express, "take", lambda _, *message: offered.append(message))
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(request(b"/a-channel?id=1", b"x"))
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n1"), PATIENCE)
    assert len(offered) == 1
    for each in connections(hub):
        each._logging_enabled = True
    writer.write(request(b"/a-channel?id=2", b"x"))
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n2"), PATIENCE)
    writer.close()
    assert len(offered) == 1
