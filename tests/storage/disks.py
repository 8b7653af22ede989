"""Disks that fail: the operating system's calls, with a fault at the n-th of one kind."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub.storage.logfile import Disk

WRITES = ("pwritev", "pwrite")


class FaultyDisk(Disk):
    """Fails at the n-th call of one kind, and with `lasting` at all that follow.

    `error` is raised; 0 means that a write takes only half of what it is given.
    `fired` tells whether it has come to that.
    """

    def __init__(self, call: str, number: int, error: int, *, lasting: bool = False) -> None:
        self.left = number
        self.fired = False
        self.healed = False
        self._error = error
        self._lasting = lasting
        setattr(self, call, self._wrap(getattr(Disk, call)))

    def _wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.healed or self.left > 0 or (self.left < 0 and not self._lasting):
                return real(*arguments)
            self.fired = True
            if self._error:
                raise OSError(self._error, os.strerror(self._error))
            return self._half(real, *arguments)

        return call

    def _half(self, real: Callable[..., Any], fd: int, data: Any, *rest: int) -> Any:
        if isinstance(data, tuple):
            (part,) = data
            return real(fd, (part[: max(1, len(part) // 2)],), *rest)
        return real(fd, data[: max(1, len(data) // 2)], *rest)


class Appender(Disk):
    """Somebody else appends lines, right before the n-th write or right behind it."""

    def __init__(self, path: Path, number: int, lines: bytes, *, before: bool) -> None:
        self.path = path
        self.left = number
        self.lines = lines
        self.before = before

    def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
        self.left -= 1
        if not self.left and self.before:
            self._append()
        written = os.pwritev(fd, data, at, flags)
        if not self.left and not self.before:
            self._append()
        return written

    def _append(self) -> None:
        with open(self.path, "ab") as file:
            file.write(self.lines)


class RecordingDisk(Disk):
    """Keeps what the one file held after each call, and what of it a power cut would leave.

    `states` are pairs: the content after a call, and the content when it was
    synced last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.synced = path.read_bytes()
        self.states = [(self.synced, self.synced)]

    def pwritev(self, fd: Any, data: Any, at: int, flags: int = 0) -> int:
        written = os.pwritev(fd, data, at, flags & ~os.RWF_DSYNC)
        self._record()
        if flags & os.RWF_DSYNC:
            self._record(synced=True)
        return written

    def pwrite(self, fd: Any, data: Any, at: int) -> int:
        written = os.pwrite(fd, data, at)
        self._record()
        return written

    def ftruncate(self, fd: Any, length: int) -> None:
        os.ftruncate(fd, length)
        self._record()

    def fdatasync(self, fd: Any) -> None:
        self._record(synced=True)

    def _record(self, synced: bool = False) -> None:
        content = self.path.read_bytes()
        if synced:
            self.synced = content
        self.states.append((content, self.synced))


FAULTS = [
    *((call, error) for call in WRITES for error in (0, errno.ENOSPC, errno.EIO)),
    *(("open", error) for error in (errno.EIO, errno.EMFILE, errno.ENOSPC)),
    *((call, errno.EIO) for call in ("fdatasync", "fsync", "close", "lseek", "fstat", "pread")),
    ("fdatasync", errno.ENOSPC),
]
"""Every call that a write makes, with what can become of it."""
