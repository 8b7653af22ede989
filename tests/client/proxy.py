"""A TCP proxy that breaks connections: after so many bytes of an answer, or all at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes bytes on to a port of this machine; what comes back is cut where `cut` says.

    `cut` is asked once for each connection: the bytes of the hub's answers after which
    it breaks; None: never.
    """

    def __init__(self, port: int, cut: Callable[[], int | None]) -> None:
        self._port = port
        self._cut = cut
        self._open: set[asyncio.StreamWriter] = set()
        self.count = 0
        """Connections so far."""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        left = self._cut()
        try:
            back, to = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, to}
        onwards = asyncio.create_task(_copy(reader, to, None))
        try:
            await _copy(back, writer, left)
        finally:
            onwards.cancel()
            with suppress(asyncio.CancelledError):
                await onwards
            # Not in good order: the peer sees a reset, as of a machine that has gone.
            for each in (writer, to):
                each.transport.abort()
                self._open.discard(each)

    def break_all(self) -> None:
        """Break what is open."""
        for each in tuple(self._open):
            each.transport.abort()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            writer.write(piece)
            await writer.drain()
            if left == 0:
                return


@asynccontextmanager
async def run_proxy(port: int, cut: Callable[[], int | None]) -> AsyncIterator[Proxy]:
    """A proxy, while the block runs."""
    proxy = Proxy(port, cut)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.break_all()
        await asyncio.sleep(0.05)
