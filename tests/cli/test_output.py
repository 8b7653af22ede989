"""Standard output of commands: exactly the bytes, and an end when nobody reads."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.cli.commands import environment
from tests.process import PATIENCE

WAITING = """
import asyncio
from hub.cli.output import end_with_reader, write
async def main():
    end_with_reader()
    write(b"\\xff\\0one\\r\\n")
    await asyncio.sleep(60)
asyncio.run(main())
"""


def start(**streams: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WAITING], env=environment(), **streams)  # type: ignore[call-overload, no-any-return]


def test_bytes_come_at_once_and_the_end_with_the_reader() -> None:
    process = start(stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"\xff\0one\r\n"
    process.stdout.close()
    assert process.wait(PATIENCE) == -signal.SIGPIPE


def test_where_there_is_no_pipe_nothing_ends_it() -> None:
    process = start(stdout=subprocess.DEVNULL)
    try:
        process.wait(1.5)
    except subprocess.TimeoutExpired:
        process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
