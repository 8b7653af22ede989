"""The events directory: made, and taken by one hub at a time.

Owns the lock. Must not know what is in it. All blocks.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from hub.errors import DirectoryLocked
from hub.storage import logfile
from hub.storage.logfile import Disk

HUB_DIRECTORY = ".hub"
"""Below the events directory: what is not a log."""

TORN = "torn"
"""Below that: what was cut off logs."""


class Directory:
    """One events directory, at `path`; what is the hub's own lies in `own`."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self.own = path / HUB_DIRECTORY
        self._disk = disk
        self._lock: int | None = None

    def take(self) -> None:
        """Make the directory if it is missing, and lock it. Raises `DirectoryLocked`, `OSError`."""
        self._make()
        self._lock = os.open(self.own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 100, 0).decode(errors="replace").strip()
            raise DirectoryLocked(
                f"{self.path} is in use by another hub (process {holder or 'unknown'}): "
                "stop it, or choose another directory with --events"
            ) from None
        with suppress(OSError):  # the disk may be full; that is no reason not to read
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _make(self) -> None:
        new = [each for each in (self.own, *self.own.parents) if not each.exists()]
        self.own.mkdir(parents=True, exist_ok=True)
        for each in new:  # else all of it could be gone after a power cut
            logfile.sync_directory(self._disk, each.parent)

    def release(self) -> None:
        """Let go of the lock, if it was taken."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
