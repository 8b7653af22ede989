"""Standard input and files in pieces."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from hub.cli.input import pieces_of, size_of
from tests.cli.commands import environment
from tests.process import PATIENCE

COPY = """
import asyncio, sys
from hub.cli.input import standard_input
async def main():
    async for piece in standard_input():
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
asyncio.run(main())
"""


def test_what_comes_is_there_at_once_and_whole() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COPY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(3):
        process.stdin.write(b"line %d\n" % number)
        process.stdin.flush()
        assert process.stdout.readline() == b"line %d\n" % number
    out, _ = process.communicate(b"no end", timeout=PATIENCE)
    assert out == b"no end"


def test_a_large_file(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    done = subprocess.run(
        [sys.executable, "-c", COPY],
        input=content,
        capture_output=True,
        timeout=PATIENCE,
        env=environment(),
    )
    assert done.stdout == content


async def test_pieces_of_a_file() -> None:
    assert [each async for each in pieces_of(io.BytesIO(b"abcde"), 2)] == [b"ab", b"cd", b"e"]


def test_the_size_of_a_file_and_of_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    with open(tmp_path / "file", "rb") as file:
        assert size_of(file.fileno()) == 5
    one, other = os.pipe()
    assert size_of(one) is None
    os.close(one)
    os.close(other)
