"""Standard input and files, as pieces that come when they are there.

Owns that a pipe is read while something is sent, but never far ahead, and that
Ctrl-C does not wait for a line.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import IO

PIECE = 64 * 1024
AHEAD = 32
"""Pieces that are read ahead."""


async def standard_input() -> AsyncGenerator[bytes, None]:
    """What comes, as much at once as is there."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue(AHEAD)
    fd = sys.stdin.fileno()

    def pump() -> None:
        piece = b"."
        with suppress(RuntimeError):  # the loop has ended meanwhile
            while piece:
                piece = os.read(fd, PIECE)
                asyncio.run_coroutine_threadsafe(queue.put(piece), loop).result()

    # A daemon: nobody waits for the end of a read that may never come.
    threading.Thread(target=pump, daemon=True).start()
    while piece := await queue.get():
        pieces = [piece]
        while not queue.empty() and pieces[-1]:
            pieces.append(queue.get_nowait())
        yield b"".join(pieces)
        if not pieces[-1]:
            return


async def pieces_of(file: IO[bytes], size: int) -> AsyncGenerator[bytes, None]:
    """A file, so many bytes at a time."""
    while piece := file.read(size):
        yield piece


def size_of(fd: int) -> int | None:
    """The bytes of a file; None for what is none."""
    found = os.fstat(fd)
    return found.st_size if stat.S_ISREG(found.st_mode) else None
