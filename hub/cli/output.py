"""Standard output of commands that read: bytes, exactly those and at once.

Owns that a command ends when nobody reads any more what it prints. Must not know
what it is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys

from hub.cli.program import end_by


def write(data: bytes) -> None:
    """Print bytes; on return they are on their way. Raises `BrokenPipeError`."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def end_with_reader() -> None:
    """From now on, end as soon as the other end of a pipe is closed.

    A write would tell, but perhaps there is none for hours: `hub tail -f orders | head -1`
    should end when `head` does. Call it in a coroutine.
    """
    fd = sys.stdout.fileno()
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        # Nothing can be read from it: the one thing to be told is that the reader has gone.
        asyncio.get_running_loop().add_reader(fd, end_by, signal.SIGPIPE)
