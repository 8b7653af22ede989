"""What is said of streams and cannot be read from logs: that one is derived, or sealed.

Owns the small files in `events/.hub/streams/`, one for each such stream: JSON,
`{"stream": …, "matcher": …}` or `{"stream": …, "closed": true}`. Each is replaced
whole and on disk when its function returns. All functions block.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from hub.errors import InvalidRequest
from hub.event import file_name
from hub.matcher import Matcher, compile_matcher
from hub.storage import logfile
from hub.storage.log import Log
from hub.storage.logfile import Disk

logger = logging.getLogger(__name__)


class Record(Struct, omit_defaults=True):
    """What is said of one stream."""

    stream: str
    matcher: Any = None  # of a derived stream, as JSON
    closed: bool = False


class Catalog:
    """The records of one events directory."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk

    def load(self) -> Iterator[Record]:
        """Every record. One that cannot be read is told to the log."""
        with suppress(FileNotFoundError):
            for path in sorted(self._directory.glob("*.json")):
                try:
                    record = msgspec.json.decode(path.read_bytes(), type=Record)
                    if path.name != file_name(record.stream, "json"):
                        raise ValueError(f"it is of stream {record.stream!r}")
                except (OSError, ValueError) as error:  # the latter: also what msgspec raises
                    logger.error("%s cannot be read, and is passed over: %s", path, error)
                else:
                    yield record

    def find(self, stream: str) -> Record | None:
        """What is said of a stream, for whoever starts now; None if nothing can be read."""
        try:
            return msgspec.json.decode(self._path(stream).read_bytes(), type=Record)
        except (OSError, ValueError):
            return None

    def put(self, record: Record) -> None:
        """Write a record. Raises `OSError`; then all is as before, or `find` tells otherwise."""
        if not self._directory.exists():
            self._directory.mkdir(exist_ok=True)
            try:
                logfile.sync_directory(self._disk, self._directory.parent)
            except OSError:
                with suppress(OSError):
                    self._directory.rmdir()  # else the next one would find it there
                raise
        path = self._path(record.stream)
        before = _content(path)
        self._write(path, msgspec.json.encode(record) + b"\n")
        self._sync(path, before)

    def remove(self, stream: str) -> None:
        """Take a record away. Raises `OSError`, as `put` does."""
        path = self._path(stream)
        before = _content(path)
        if before is not None:
            self._disk.unlink(path)
            self._sync(path, before)

    def _write(self, path: Path, data: bytes) -> None:
        new = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            with logfile.opened(self._disk, new, flags) as fd:
                if self._disk.pwrite(fd, data, 0) != len(data):
                    raise OSError(f"{new} could not be written whole")
                self._disk.fsync(fd)
            self._disk.replace(new, path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise

    def _sync(self, path: Path, before: bytes | None) -> None:
        """Put on disk that a file was replaced; if that fails, it is as before again."""
        try:
            logfile.sync_directory(self._disk, self._directory)
        except OSError as error:
            try:
                if before is None:
                    self._disk.unlink(path)
                else:
                    self._write(path, before)
            except OSError:
                reason = f"{error.strerror or error}; nor could it be taken back: it may last"
                raise OSError(error.errno, reason) from error
            with suppress(OSError):
                logfile.sync_directory(self._disk, self._directory)
            raise

    def _path(self, stream: str) -> Path:
        return self._directory / file_name(stream, "json")


def apply(record: Record, logs: Mapping[str, Log], derived: dict[str, Matcher]) -> None:
    """Let it be so, of these logs and derived streams. What cannot be is told to the log."""
    log = logs.get(record.stream)
    if record.closed and log:
        log.closed = True
    elif record.closed or log:
        logger.error("what .hub/streams says of %r is passed over", record.stream)
    else:
        try:
            derived[record.stream] = compile_matcher(record.matcher)
        except InvalidRequest as error:
            logger.error("derived stream %r has no sound matcher: %s", record.stream, error)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
