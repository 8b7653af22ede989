from __future__ import annotations

import asyncio
import socket
import time
from typing import cast

import pytest
import uvloop

from evidence.crowd import cut_off
from hub.web import vanished
from hub.web.vanished import has_vanished


async def _pair() -> tuple[asyncio.Transport, socket.socket]:
    """A transport of the hub's event loop, and the socket at its other end."""
    arrived: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            arrived.set_result(cast(asyncio.Transport, transport))

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    client.connect(server.sockets[0].getsockname())
    transport = await arrived
    server.close()
    return transport, client


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vanished, "SILENT_SECONDS", 1.0)


async def test_nobody_acknowledges() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
    transport, client = await _pair()
    with client:
        cut_off(client)
        transport.write(b"one event")
        assert not has_vanished(transport)
        await asyncio.sleep(1.5)
        assert has_vanished(transport)
    transport.abort()


async def test_the_window_was_closed_when_it_vanished() -> None:
    transport, client = await _pair()
    with client:
        transport.write(b"x" * 1_000_000)
        await asyncio.sleep(0.5)
        cut_off(client)
        await asyncio.sleep(3)
        assert has_vanished(transport)
    transport.abort()


async def test_one_who_does_not_read_is_there() -> None:
    transport, client = await _pair()
    with client:
        transport.write(b"x" * 1_000_000)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            assert not has_vanished(transport)
            await asyncio.sleep(0.1)
    transport.abort()


async def test_one_who_has_nothing_to_acknowledge_is_there() -> None:
    transport, client = await _pair()
    with client:
        await asyncio.sleep(1.5)
        assert not has_vanished(transport)
    transport.abort()
    assert not has_vanished(transport)
