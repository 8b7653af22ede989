"""Connections whose other side has vanished without a word: a phone out of reach, a pulled cable.

The system repeats itself for a quarter of an hour before it gives one up. Owns
how one is told from a reader that is only slow, for which nothing is too long:
whoever is there acknowledges what arrives, and answers when asked for room. Must
not know what a connection is used for.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence

from aiohttp import web

SILENT_SECONDS = 60.0
"""What was sent is not acknowledged for so long: there is nobody."""

LOOK_SECONDS = 15.0

_SLICE = 128  # connections that are looked at before other work has its turn
_INFO = struct.Struct("=3xB20xI28xI")  # of Linux' tcp_info: probes, unacked, last_ack_recv


async def abort_vanished(connections: Callable[[], Sequence[web.RequestHandler]]) -> None:
    """Look again and again, and abort the connections that nobody is at the end of.

    Runs until it is cancelled, which is safe at any time.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for at, each in enumerate(connections(), 1):
            transport = each.transport
            if transport is not None and has_vanished(transport):
                transport.abort()
            if at % _SLICE == 0:
                await asyncio.sleep(0)


def has_vanished(transport: asyncio.Transport) -> bool:
    """Whether what was sent has been waiting for an answer of the other side's system too long."""
    borrowed = transport.get_extra_info("socket")
    if borrowed is None or borrowed.fileno() < 0:
        return False
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, borrowed.fileno())
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    finally:
        connection.detach()  # it is the transport's
    probes: int
    unacknowledged: int
    silent: int
    probes, unacknowledged, silent = _INFO.unpack(info)
    # One probe may be on its way to a slow reader; of two the first was not answered.
    return (unacknowledged > 0 or probes > 1) and silent > SILENT_SECONDS * 1000
