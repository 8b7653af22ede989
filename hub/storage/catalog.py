"""What is said of streams and cannot be read from logs: that one is derived, or sealed.

Owns the small files in `events/.hub/streams/`, one for each such stream: JSON,
`{"stream": …, "matcher": …}` or `{"stream": …, "closed": true}`. Each is replaced
whole and on disk when its function returns. All functions block.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from hub.event import file_name
from hub.storage import logfile
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

    def put(self, record: Record) -> None:
        """Write a record. Raises `OSError`; then the old one, if any, is still there."""
        if not self._directory.exists():
            self._directory.mkdir(exist_ok=True)
            logfile.sync_directory(self._disk, self._directory.parent)
        path = self._path(record.stream)
        new = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            with logfile.opened(self._disk, new, flags) as fd:
                data = msgspec.json.encode(record) + b"\n"
                if self._disk.pwrite(fd, data, 0) != len(data):
                    raise OSError(f"{new} could not be written whole")
                self._disk.fsync(fd)
            os.replace(new, path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise
        logfile.sync_directory(self._disk, self._directory)

    def remove(self, stream: str) -> None:
        """Take a record away. Raises `OSError`."""
        self._path(stream).unlink(missing_ok=True)
        logfile.sync_directory(self._disk, self._directory)

    def _path(self, stream: str) -> Path:
        return self._directory / file_name(stream, "json")
