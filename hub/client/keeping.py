"""A file that keeps what a program has to know when it starts again.

Owns that the file is whole at any time: what is there is the old content or the new
one, on disk, whatever breaks. It must not know what it keeps.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from threading import Lock
from typing import TypeVar

import msgspec

from hub.client.errors import InvalidFile

T = TypeVar("T")


class Keeper:
    """One file, JSON, replaced as a whole. One program at a time may use it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()  # also if the program goes elsewhere meanwhile
        self._lock = Lock()  # for a write that goes on in a thread after its task was cancelled
        self._begun = self._written = 0

    def load(self, kind: type[T]) -> T | None:
        """What the file keeps; None if there is none.

        Raises `InvalidFile` if it holds something else: it may be a file that has
        nothing to do with this, and must not be lost.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidFile(f"{self.path} cannot be read: {error.strerror}") from None
        try:
            return msgspec.json.decode(text, type=kind)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise InvalidFile(
                f"{self.path} is not what this program keeps there ({error}): "
                "remove it to start over"
            ) from None

    async def save(self, content: bytes) -> None:
        """Replace the content. It is on disk on return; cancelling is safe."""
        self._begun += 1
        await asyncio.to_thread(self._write, content, self._begun)

    def save_now(self, content: bytes) -> None:
        """The same, without waiting for other tasks."""
        self._begun += 1
        self._write(content, self._begun)

    def _write(self, content: bytes, number: int) -> None:
        with self._lock:
            if number < self._written:
                return  # a later one has been faster
            self._written = number
            try:
                _replace(self.path, content)
            except OSError as error:
                raise InvalidFile(f"{self.path} cannot be written: {error.strerror}") from error


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
