"""Keeps the files of logs open between writes, for a moment and not too many.

Owns the descriptors that writes go to. Must not know what is written.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from hub.storage import logfile
from hub.storage.log import Log
from hub.storage.logfile import Disk

SECONDS = 1.0
"""How long a file stays open, about: one that was removed meanwhile is then noticed."""

KEPT = 64
"""Files that stay open while nothing is written to them."""


class OpenFiles:
    """The open files of logs. All is called by the log's writer task, or by its thread."""

    def __init__(self, disk: Disk, most: int = KEPT) -> None:
        self._disk = disk
        self._most = most
        self._kept: set[Log] = set()

    def make(self, log: Log, path: Path, *, sync: bool) -> None:
        """Make the file of a log unless it is there; with `sync` also on disk."""
        log.fd = logfile.open_for_append(self._disk, path, new=True, sync=sync)
        log.opened = time.monotonic()

    def get(self, log: Log, path: Path) -> int:
        """A descriptor to append to the log."""
        if log.fd is None:
            log.fd = logfile.open_for_append(self._disk, path)
            log.opened = time.monotonic()
        return log.fd

    def renew(self, log: Log, *, begins: bool) -> None:
        """Before a write: close a file that may not be the log's any more.

        With `begins` it is looked whether somebody removed it since the last write.
        """
        if log.fd is None:
            return
        old = time.monotonic() > log.opened + SECONDS
        if old or (begins and logfile.is_removed(self._disk, log.fd)):
            self.close(log)

    def keep(self, log: Log) -> None:
        """After a write: posts often come one after the other."""
        if log.fd is None or log in self._kept:
            return
        if len(self._kept) >= self._most:
            self.close(log)
            return
        if not self._kept:
            asyncio.get_running_loop().call_later(SECONDS, self.close_idle)
        self._kept.add(log)

    def close(self, log: Log) -> None:
        """Close the file of a log, if it is open."""
        if log.fd is not None:
            logfile.close(self._disk, log.fd)
            log.fd = None

    def close_idle(self) -> None:
        """Close the files that were kept and are not being written."""
        for log in self._kept:
            if log.pending is None:
                self.close(log)
        self._kept.clear()
