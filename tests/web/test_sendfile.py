"""Files from the kernel to the socket, to readers fast, slow and gone."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from hub.web.sendfile import PIECE, send_file
from tests.web.wire import PATIENCE, eventually

SIZE = 12 * PIECE + 17  # more than sockets hold
CONTENT = os.urandom(SIZE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that takes several pieces."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


class Sender:
    """A server that sends parts of a file, and keeps how each sending ended."""

    def __init__(self, path: Path, promised: int = 0) -> None:
        self.ends: list[BaseException | None] = []
        self._path = path
        self._promised = promised
        app = web.Application()
        app.router.add_get("/{start}/{end}", self.send)
        self.client = TestClient(TestServer(app))

    async def send(self, request: web.Request) -> web.StreamResponse:
        start, end = int(request.match_info["start"]), int(request.match_info["end"])
        response = web.StreamResponse()
        response.content_length = self._promised or end - start
        try:
            await send_file(request, response, self._path, start, end)
        except BaseException as error:
            self.ends.append(error)
            raise
        self.ends.append(None)
        return response


@pytest.mark.parametrize(
    ("start", "end"), [(0, SIZE), (0, 1), (SIZE - 1, SIZE), (1, PIECE + 1), (PIECE, 2 * PIECE)]
)
async def test_parts_of_a_file(file: Path, start: int, end: int) -> None:
    sender = Sender(file)
    async with sender.client as client:
        for _ in range(2):  # on one connection
            answer = await client.get(f"/{start}/{end}")
            assert await answer.read() == CONTENT[start:end]
    assert sender.ends == [None, None]


async def test_a_slow_reader_stops_nobody(file: Path) -> None:
    sender = Sender(file)
    async with sender.client as client:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        slow.connect((client.host, client.port))
        slow.sendall(b"GET /0/%d HTTP/1.0\r\n\r\n" % SIZE)
        for _ in range(3):
            answer = await client.get(f"/0/{SIZE}")
            assert len(await answer.read()) == SIZE
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        received = b""
        while piece := await asyncio.wait_for(loop.sock_recv(slow, 65536), PATIENCE):
            received += piece
        slow.close()
    assert received.partition(b"\r\n\r\n")[2] == CONTENT


async def test_who_does_not_read_costs_no_work(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before is still on its way: the file waits for that without looking."""
    sender = Sender(file)
    looks, before = 0, 8_000_000
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        nonlocal looks
        looks += 1
        await sleep(seconds)

    async def send(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(bytes(before))
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "sleep", counted)
            return await sender.send(request)

    sender.client.app.router.add_get("/{start}/{end}/behind", send)
    async with sender.client as client:
        reader, writer = await asyncio.open_connection(client.host, client.port, limit=1000)
        writer.write(b"GET /0/100/behind HTTP/1.1\r\nHost: x\r\n\r\n")
        await sleep(0.5)
        while_full = looks
        await asyncio.wait_for(reader.readexactly(before), PATIENCE)
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert await asyncio.wait_for(reader.readexactly(100), PATIENCE) == CONTENT[:100]
        # Nothing of it stays with the connection.
        writer.write(b"GET /7/%d HTTP/1.1\r\nHost: x\r\n\r\n" % SIZE)
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert await asyncio.wait_for(reader.readexactly(SIZE - 7), PATIENCE) == CONTENT[7:]
        writer.close()
    assert while_full < 10
    assert sender.ends == [None, None]


@pytest.mark.parametrize("abruptly", [True, False])
async def test_who_goes_without_having_read_is_let_go(file: Path, abruptly: bool) -> None:
    sender = Sender(file)

    async def send(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(bytes(8_000_000))
        return await sender.send(request)

    sender.client.app.router.add_get("/{start}/{end}/behind", send)
    async with sender.client as client:
        _, writer = await asyncio.open_connection(client.host, client.port, limit=1000)
        writer.write(b"GET /0/100/behind HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        writer.transport.abort() if abruptly else writer.close()
        await eventually(lambda: len(sender.ends) == 1)
    assert isinstance(sender.ends[0], ConnectionError | asyncio.CancelledError)


async def test_a_reader_who_goes_leaves_no_file_open(file: Path) -> None:
    sender = Sender(file)
    async with sender.client as client:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            reader, writer = await asyncio.open_connection(client.host, client.port, limit=100)
            writer.write(b"GET /0/%d HTTP/1.1\r\nHost: x\r\n\r\n" % SIZE)
            await reader.readexactly(50)
            writer.transport.abort()
        await eventually(lambda: len(sender.ends) == 5)
        await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
    for end in sender.ends:
        assert isinstance(end, ConnectionError | asyncio.CancelledError | None)


async def test_a_file_that_ends_early_breaks_the_connection_off(file: Path) -> None:
    sender = Sender(file, promised=2 * SIZE)
    async with sender.client as client:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET /0/%d HTTP/1.1\r\nHost: x\r\n\r\n" % (2 * SIZE))
        # No end that could be taken for a good one: fewer bytes than were promised.
        answer = await asyncio.wait_for(reader.read(-1), PATIENCE)
        assert len(answer.partition(b"\r\n\r\n")[2]) == SIZE
        writer.close()
    assert isinstance(sender.ends[0], ConnectionError)
