"""Servers that answer what no hub would: real sockets, with a few bytes behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole answer of HTTP."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Requests(list[bytes]):
    """What was asked: the heads of requests."""

    url = ""


@asynccontextmanager
async def serve(*answers: bytes | None) -> AsyncIterator[Requests]:
    """Gives these answers, one each request, the last one for ever; None: hang up at once."""
    requests = Requests()
    left: list[bytes | None] = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                requests.append(head)
                if (length := _length(head.split(b"\r\n"))) > 0:
                    await reader.readexactly(length)
                now = left.pop(0) if len(left) > 1 else left[0]
                if now is None:
                    break
                writer.write(now)
                await writer.drain()
                if b"\r\nContent-Length:" not in now:
                    break  # it ends with its connection
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    requests.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield requests
    finally:
        server.close()
        await asyncio.sleep(0.01)


def _length(lines: Sequence[bytes]) -> int:
    for each in lines:
        name, _, value = each.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
