"""Keeps positions that were told before the index has them, so that they outlast a crash.

Owns `events/.hub/order-a` and `order-b`, lines of `position TAB revision TAB
count TAB log TAB checksum`: the one thing that the logs do not hold. Which lines
are needed depends on the index: up to where that is as durable as it has to be,
they are not. Then the next lines begin one of the files anew, while the other
stands. Must not know who waits. All blocks, and one thread at a time may use it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from hub.storage.logfile import Disk, append, close, open_for_append

FILES = ("order-a", "order-b")

FILE_BYTES = 64 * 1024
"""Of a file from which on the next lines go to the other one, if that is not needed any more."""


class Record(Struct, frozen=True, order=True):
    """Events of one log that follow each other in the log and in the order."""

    position: int  # of the first
    revision: int
    count: int
    log: str  # its name

    @property
    def last(self) -> int:
        """The position of the last event."""
        return self.position + self.count - 1

    def behind(self, position: int) -> Record:
        """What of it comes behind a position that is its own, or the one before it."""
        had = position + 1 - self.position
        return Record(position + 1, self.revision + had, self.count - had, self.log)


class _File:
    """One of the two files: open, its good length, and the last position in it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.length = 0
        self.last = 0
        self.unsure = False  # a write failed: takes nothing more until it begins anew


class Journal:
    """The order of events behind the index, with `sync` on disk. `clear` before `append`."""

    def __init__(self, directory: Path, disk: Disk, *, sync: bool) -> None:
        self._directory = directory
        self._disk = disk
        self.sync = sync
        self._files: list[_File] = []  # the one in use first

    def read(self) -> list[Record]:
        """What both files say, in order; of what is torn nothing. Raises `OSError`."""
        found: set[Record] = set()
        for name in FILES:
            try:
                text = (self._directory / name).read_bytes()
            except FileNotFoundError:
                continue
            found.update(record for line in text.split(b"\n") if (record := _record_of(line)))
        return sorted(found)

    def clear(self) -> None:
        """Begin anew: the index has everything. Raises `OSError`; then nothing can be appended."""
        self.close()
        try:
            for name in FILES:
                path = self._directory / name
                file = _File(open_for_append(self._disk, path, new=True, sync=self.sync))
                self._files.append(file)
                if self._disk.fstat(file.fd).st_size:
                    self._disk.ftruncate(file.fd, 0)
                    if self.sync:
                        self._disk.fdatasync(file.fd)
        except BaseException:
            self.close()
            raise

    def append(self, records: Sequence[Record], indexed: int) -> int:
        """Add records, with `sync` on disk on return; return the last position.

        `indexed` is the position up to which the index stands by itself. Raises
        `OSError` and what `logfile.append` does: then nobody may rely on them.
        """
        if not self._files:
            raise OSError("there is no order journal")
        data = b"".join(map(_line_of, records))
        file, other = self._files
        if (file.length >= FILE_BYTES or file.unsure) and other.last <= indexed:
            self._files = [other, file]
            file = other
            file.unsure = True
            self._disk.ftruncate(file.fd, 0)
            file.length, file.unsure = 0, False
        if file.unsure:
            raise OSError("the order journal waits for the index")
        file.last = last = records[-1].last
        try:
            file.length = append(self._disk, file.fd, file.length, data, sync=self.sync)
        except BaseException:
            file.unsure = True
            raise
        return last

    def close(self) -> None:
        """Close the files; `clear` opens them again."""
        for file in self._files:
            close(self._disk, file.fd)
        self._files = []


def _line_of(record: Record) -> bytes:
    text = f"{record.position}\t{record.revision}\t{record.count}\t{record.log}\t".encode()
    return text + b"%08x\n" % zlib.crc32(text)


def _record_of(line: bytes) -> Record | None:
    """The record of a line, None of one that is torn."""
    text, _, checksum = line.rpartition(b"\t")
    text += b"\t"
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    position, revision, count, log, _ = text.decode().split("\t")
    return Record(int(position), int(revision), int(count), log)
