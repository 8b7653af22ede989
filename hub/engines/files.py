"""The default engine: one text file a log, in one directory, for one process.

Owns the crossing from the event loop to threads for reading. Must not know
HTTP or subscriptions.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from aiofiles.os import wrap

from hub.engines.base import Committed, LogState, Receipt, Selection, Window
from hub.errors import ReadFailed
from hub.formats import Batch
from hub.options import Durability
from hub.storage import search
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.store import Store

READ_THREADS = 8
"""Reads that can be under way at once; apart from the threads that sync."""

T = TypeVar("T")


class FilesEngine:
    """Logs as files below `directory`; see `Engine` for what each method promises."""

    def __init__(
        self,
        directory: Path,
        durability: Durability = Durability.ALWAYS,
        sync_interval: float = 0.1,
        disk: Disk | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = Store(directory, durability, sync_interval, disk, clock)
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="hub-read")
        self.on_commit: list[Callable[[Committed], None]] = self._store.on_commit

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()
        self._threads.shutdown()

    def logs(self) -> Iterable[LogState]:
        return (log for log in self._store.logs.values() if log.made)

    def find(self, name: str) -> Log | None:
        log = self._store.logs.get(name)
        return log if log is not None and log.made else None

    def append(self, name: str, batch: Batch) -> asyncio.Future[Receipt]:
        return self._store.append(name, batch)

    async def look(self, name: str) -> None:
        await self._store.look(name)

    async def window(self, name: str, wanted: Selection, end: int) -> Window:
        return await self._search(search.window, name, end, self._ordered(name), wanted)

    async def resume(self, name: str, identity: str, end: int) -> int | None:
        return await self._search(search.resume, name, end, self._ordered(name), identity)

    async def read(self, name: str, start: int, end: int) -> bytes:
        return await self._search(search.block, name, start, end)

    async def count(self, name: str, start: int, end: int) -> int:
        return await self._search(search.count, name, start, end)

    def file(self, name: str) -> Path:
        return self._store.path(self._store.logs[name])

    def _ordered(self, name: str) -> bool:
        return self._store.logs[name].order.ordered

    async def _search(self, work: Callable[..., T], name: str, *args: object) -> T:
        reading = _Reading(self._store.disk)
        try:
            return await wrap(work)(reading, self.file(name), *args, executor=self._threads)
        except asyncio.CancelledError:
            reading.abandoned = True
            raise
        except OSError as error:
            raise ReadFailed(
                f"log {name!r} could not be read: {error.strerror or error}"
            ) from error


class _Reading(Disk):
    """The disk for one search, which ends soon once nobody waits for it any more."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.abandoned = False

    def open(self, path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        return self._disk.open(path, flags, mode, **rest)

    def close(self, fd: int) -> None:
        self._disk.close(fd)

    def pread(self, fd: Any, size: int, at: int) -> bytes:
        if self.abandoned:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        return self._disk.pread(fd, size, at)
