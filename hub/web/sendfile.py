"""Sends a part of a file from the kernel to the socket.

Owns what uvloop lacks: it has no `loop.sendfile`, and does not let go of a
transport's descriptor. So a duplicate of it is used, once aiohttp's own bytes
are out. Must not know logs.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from aiofiles.os import wrap
from aiohttp import web

from hub.errors import ReadFailed

PIECE = 512 * 1024
"""Bytes given to the kernel at once; then other work has its turn."""

AHEAD = 4 * 1024 * 1024
"""Bytes that the kernel is asked to read ahead, so that a cold file stalls nobody."""

_open = wrap(os.open)


async def send_file(
    request: web.Request, response: web.StreamResponse, path: Path, start: int, end: int
) -> None:
    """Send the headers, then the bytes from `start` to `end` of the file.

    Cancelling is safe: the connection ends. Raises `ReadFailed` before anything
    is sent, `ConnectionError` if the client has gone.
    """
    try:
        file = await _open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ReadFailed(f"{path.name} could not be read: {error.strerror or error}") from error
    try:
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        await _flush(request, transport)
        socket = os.dup(transport.get_extra_info("socket").fileno())
        try:
            await _pump(socket, file, start, end)
        finally:
            os.close(socket)
    finally:
        os.close(file)


async def _flush(request: web.Request, transport: asyncio.Transport) -> None:
    """Wait until everything written to the transport is in the socket."""
    for _ in range(3):
        await asyncio.sleep(0)
        if not transport.get_write_buffer_size():
            return
    if not transport.is_closing():
        transport.set_write_buffer_limits(0)  # now draining waits for the last byte
        try:
            await request.writer.drain()
        finally:
            if not transport.is_closing():
                transport.set_write_buffer_limits()
    if transport.is_closing():
        raise ConnectionResetError("the client has gone")


async def _pump(socket: int, file: int, start: int, end: int) -> None:
    asked = start
    while start < end:
        if start + AHEAD // 2 >= asked:
            os.posix_fadvise(file, asked, AHEAD, os.POSIX_FADV_WILLNEED)
            asked += AHEAD
        try:
            sent = os.sendfile(socket, file, start, min(PIECE, end - start))
        except BlockingIOError:
            await _writable(socket)
            continue
        if not sent:
            raise ConnectionResetError("the file ended early")
        start += sent
        await asyncio.sleep(0)


async def _writable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(socket, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(socket)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
