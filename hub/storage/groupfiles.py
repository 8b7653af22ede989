"""Writes groups to the files of logs, on threads where that takes time.

Owns how a group gets into a file, whole or not at all, and the threads for it.
Must not know who waits. One write at a time to each log is the caller's part.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from aiofiles.os import wrap

from hub.errors import LogDamaged
from hub.event import IdOrder
from hub.formats import NDJSON
from hub.storage import logfile
from hub.storage.files import OpenFiles
from hub.storage.group import GROUP_BYTES, Entry, lines_of_group, pieces_of, size_of
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.recovery import Scan, scan
from hub.storage.torn import Torn

THREADS = 16
"""Syncs that can be under way at once, each of another log."""

INLINE_BYTES = 16 * 1024
"""A group up to this size that need not be synced is written without a thread: the system takes
it into its cache in less time than the way to a thread takes."""

T = TypeVar("T")
Written = tuple[int, bytes | None]
"""Where a group ends, and its lines unless they are too many to hold."""

logger = logging.getLogger(__name__)


class GroupFiles:
    """The files of logs, for writing. With `sync` all is on disk when it is done."""

    def __init__(self, disk: Disk, path: Callable[[Log], Path], torn: Path, *, sync: bool) -> None:
        self._disk = disk
        self._path = path
        self._torn = Torn(torn)
        self._sync = sync
        self._files = OpenFiles(disk)
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="hub-write")

    def begin(self, log: Log, *, begins: bool) -> None:
        """Before each write; with `begins` it is the first after a pause."""
        self._files.renew(log, begins=begins)

    def end(self, log: Log) -> None:
        """After the last write for now."""
        self._files.keep(log)

    async def write(self, log: Log, entries: list[Entry]) -> Written:
        """Append a group. Raises `OSError`, `FileChanged`, `Unsynced`."""
        quick = log.fd is not None and not self._sync and not log.unsound
        if quick and size_of(entries) <= INLINE_BYTES:
            return self._write(log, entries)
        return await self._write_in_thread(log, entries)

    def _write_in_thread(self, log: Log, entries: list[Entry]) -> asyncio.Future[Written]:
        """Without the two chained futures of `run_in_executor`: this is on the way of each post."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Written] = loop.create_future()

        def work() -> None:
            try:
                result = self._write(log, entries)
            except BaseException as error:
                loop.call_soon_threadsafe(done.set_exception, error)
            else:
                loop.call_soon_threadsafe(done.set_result, result)

        self.threads.submit(work)
        return done

    def _write(self, log: Log, entries: list[Entry]) -> Written:
        if not log.made:
            self._make(log)
        if log.unsound:
            self._reopen(log)
        fd = self._files.get(log, self._path(log)) if log.fd is None else log.fd
        disk, good, sync = self._disk, log.length, self._sync
        if size_of(entries) > GROUP_BYTES:
            path, pieces = self._path(log), pieces_of(entries)
            return logfile.append_group(disk, fd, path, good, pieces, sync=sync), None
        lines = lines_of_group(entries)
        # What stands in a document tells of a commit that is not whole; a TSV line does not.
        if log.format == NDJSON or all(each.receipt.count == 1 for each in entries):
            return logfile.append(disk, fd, good, lines, sync=sync), lines
        path = self._path(log)
        return logfile.append_group(disk, fd, path, good, (lines,), sync=sync), lines

    async def make(self, log: Log) -> None:
        """Make the file of a log unless it is there. Raises `OSError`."""
        await self.in_thread(self._make, log)

    def _make(self, log: Log) -> None:
        self._files.make(log, self._path(log), sync=self._sync)
        log.made = True

    async def sync(self, log: Log) -> None:
        """Put on disk what a log has, and its name. Raises `OSError`, `Unsynced`, `LogDamaged`."""
        if log.unsound:  # another sync would succeed, and tell nothing
            await self.reopen(log)
        length, version = log.length, log.version
        await self.in_thread(logfile.sync, self._disk, self._path(log), True)
        log.synced, log.synced_version = length, version

    async def reopen(self, log: Log) -> None:
        """Make a log sound again whose sync failed. Raises `OSError` while that fails, too.

        Raises `LogDamaged` if what was written is no longer there.
        """
        await self.in_thread(self._reopen, log)

    def _reopen(self, log: Log) -> None:
        self._files.close(log)
        path = self._path(log)
        surplus = path.stat().st_size - log.length if log.uncut else 0
        if surplus > 0:
            self._torn.keep(path, log.length)
        logfile.reopen(self._disk, path, log.synced, log.length, uncut=log.uncut)
        if surplus > 0:
            logger.warning("%s: cut off what was refused: %d bytes", path, surplus)
        log.uncut = False
        self._check(log, path)
        log.synced, log.synced_version = log.length, log.version
        log.unsound = False
        logger.warning("log %s: reopened and verified, it takes writes again", log.name)

    def _check(self, log: Log, path: Path) -> None:
        """The system may have dropped what it could not write: what it has now must be events."""
        found = Scan(log.synced, log.synced_version, "", IdOrder())
        if log.synced < log.length:
            scan(self._disk, path, found, None, log.format)
        if found.length < log.length:
            fault = found.damage or f"line {found.version + 1}: it is torn"
            log.damage = f"{fault}; the disk lost what had been written"
            log.unsound = False
            logger.error("%s takes no writes: %s", path, log.damage)
            raise LogDamaged(f"log {log.name!r} takes no writes: {log.damage}")

    async def in_thread(self, work: Callable[..., T], *args: object) -> T:
        """Do something that blocks."""
        return await wrap(work)(*args, executor=self.threads)

    def close(self) -> None:
        """Close the files and end the threads: nothing may be under way."""
        self._files.close_idle()
        self.threads.shutdown()
