"""Checkpoints: one file for each consumer, with what it is and how far it has come.

Owns the file's form and that it is replaced whole: a temporary file, synced, takes
its place, and the directory is synced. Everything here blocks: call it in a thread.

A file is a JSON array of two on two lines, each with a checksum over its bytes, so
that a consumer can start over from its definition when the second line is damaged:

    [{"crc":…,"definition":{"identifier":…,"stream":…,"start":…,"handler":…,"state":…}},
    {"crc":…,"progress":{"position":…,"seen":…,"error":…,"state":…}}]
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import msgspec
from msgspec import Raw

from hub.errors import DiskFull, WriteFailed

SUFFIX = ".json"

_FULL = (errno.ENOSPC, errno.EDQUOT)

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)

T = TypeVar("T")


class Definition(msgspec.Struct, frozen=True):
    """What a consumer is. `start`: events that count as seen; `state`: what it begins with."""

    identifier: str
    stream: str
    start: int
    handler: str
    state: Raw


class Progress(msgspec.Struct, frozen=True):
    """How far a consumer has come. Position and state belong together.

    `position` is the number of the last event folded, `seen` that of the last one
    looked at; with `error` it has stopped.
    """

    position: int
    seen: int
    state: Raw
    error: str | None = None


def is_identifier(text: str) -> bool:
    """Whether a consumer can have this identifier."""
    return _IDENTIFIER.fullmatch(text) is not None


class _First(msgspec.Struct):
    crc: int
    definition: Raw


class _Second(msgspec.Struct):
    crc: int
    progress: Raw


class Damaged(Exception):
    """The file does not hold what was written; `definition` is what is left of it."""

    def __init__(self, reason: str, definition: Definition | None) -> None:
        super().__init__(reason)
        self.definition = definition


class Checkpoints:
    """The directory of the files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def identifiers(self) -> Iterator[str]:
        """Every consumer that has a file; what a crash left behind is removed."""
        if not self.directory.is_dir():
            return
        for path in sorted(self.directory.iterdir()):
            if path.suffix == SUFFIX:
                if is_identifier(path.stem):
                    yield path.stem
            elif path.suffix == ".tmp":
                path.unlink()

    def read(self, identifier: str) -> tuple[Definition, Progress]:
        """Raises `Damaged`."""
        try:
            content = self._path(identifier).read_bytes()
        except OSError as error:
            raise Damaged(f"it cannot be read: {error.strerror or error}", None) from error
        first, _, second = content.partition(b"\n")
        try:
            outer = msgspec.json.decode(first[1:-1], type=_First)
            definition = _checked(outer.crc, outer.definition, Definition)
            if definition.identifier != identifier:
                raise ValueError("it is that of another consumer")
        except (ValueError, RecursionError) as error:
            raise Damaged(f"line 1: {error}", None) from error
        try:
            inner = msgspec.json.decode(second.rstrip(b"\n")[:-1], type=_Second)
            progress = _checked(inner.crc, inner.progress, Progress)
        except (ValueError, RecursionError) as error:
            raise Damaged(f"line 2: {error}", definition) from error
        return definition, progress

    def write(self, definition: Definition, progress: Progress, *, lasting: bool = True) -> None:
        """Replace the file; on return it is on disk. Raises `DiskFull` or `WriteFailed`, and
        then the file is as before, unless that says otherwise.

        If it need not be `lasting`, a power cut may bring the file before it back, whole.
        """
        content = b'[{"crc":%d,"definition":%b},\n{"crc":%d,"progress":%b}]\n' % (
            *_summed(definition),
            *_summed(progress),
        )
        path = self._path(definition.identifier)
        _guarded(lambda: self._replace(path, content, lasting))

    def remove(self, identifier: str) -> None:
        """Remove the file; on return that is on disk. Raises as `write` does."""
        path = self._path(identifier)

        def remove() -> None:
            before = _content(path)
            path.unlink(missing_ok=True)
            self._sync(path, before)

        _guarded(remove)

    def _path(self, identifier: str) -> Path:
        return self.directory / (identifier + SUFFIX)

    def _replace(self, path: Path, content: bytes, lasting: bool) -> None:
        if not self.directory.is_dir():
            self.directory.mkdir(parents=True)
            try:
                _sync(self.directory.parent)
            except OSError:
                with suppress(OSError):
                    self.directory.rmdir()  # else the next one would find it there
                raise
        before = _content(path) if lasting else None
        _put(path, content)
        if lasting:
            self._sync(path, before)

    def _sync(self, path: Path, before: bytes | None) -> None:
        """Put on disk that a file was replaced; if that fails, it is as before again."""
        try:
            _sync(self.directory)
        except OSError as error:
            try:
                if before is None:
                    path.unlink(missing_ok=True)
                else:
                    _put(path, before)
            except OSError:
                reason = f"{error.strerror or error}; nor could it be taken back: it may last"
                raise OSError(error.errno, reason) from error
            with suppress(OSError):
                _sync(self.directory)
            raise


def _put(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # there is none, or it is damaged
        return None


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _guarded(act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        kind = DiskFull if error.errno in _FULL else WriteFailed
        raise kind(f"the consumer could not be kept: {error.strerror or error}") from error


def _summed(value: msgspec.Struct) -> tuple[int, bytes]:
    content = msgspec.json.encode(value)
    return crc32(content), content


def _checked(crc: int, content: Raw, kind: type[T]) -> T:
    if crc32(content) != crc:
        raise ValueError("its checksum is another")
    return msgspec.json.decode(content, type=kind)
