"""Puts on disk what was written without it: at opening, and at intervals.

Owns which logs have something that is not known to be on disk. A log whose sync
failed is left to its writer to mend, since another sync would succeed and tell
nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

from aiofiles.os import wrap

from hub.storage import logfile
from hub.storage.log import Log
from hub.storage.logfile import Disk, Unsynced

SYNCED_ONE_BY_ONE = 1000
"""Logs found changed at opening up to which each is synced; for more the whole system is."""

logger = logging.getLogger(__name__)


class RegularSync:
    """Syncs every `interval` seconds while there is something to sync."""

    def __init__(
        self,
        disk: Disk,
        path: Callable[[Log], Path],
        interval: float,
        threads: Executor,
        mend: Callable[[Log], Awaitable[None]],
    ) -> None:
        self._disk = disk
        self._path = path
        self._interval = interval
        self._threads = threads
        self._mend = mend
        self._unsynced: set[Log] = set()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def add(self, log: Log) -> None:
        """Of a log that has grown."""
        self._unsynced.add(log)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Sync what is left. What cannot be synced is told to the log."""
        self._closing.set()
        if self._task:
            await self._task
        await self._sync_all()
        for log in self._unsynced:
            logger.error("log %s: what was written last may not be on disk", log.name)
        self._unsynced.clear()

    async def _run(self) -> None:
        while self._unsynced and not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._interval)
            await self._sync_all()
        self._task = None

    async def _sync_all(self) -> None:
        logs, self._unsynced = self._unsynced, set()
        await asyncio.gather(*(self._sync(log) for log in logs))

    async def _sync(self, log: Log) -> None:
        if not log.unsound:
            await self._sync_sound(log)
            return
        await self._mend(log)
        if log.unsound:
            self._unsynced.add(log)

    async def _sync_sound(self, log: Log) -> None:
        length, version = log.length, log.version
        sync = wrap(logfile.sync)
        try:
            await sync(self._disk, self._path(log), not log.synced, executor=self._threads)
            log.synced, log.synced_version = length, version
        except (Unsynced, OSError) as error:
            log.unsound = True
            self._unsynced.add(log)
            logger.error("log %s: a sync failed: %s", log.name, error)


def sync_found(disk: Disk, path: Callable[[Log], Path], logs: Collection[Log]) -> None:
    """Put on disk what was found in files: from now on readers are told of it. Blocks."""
    one_by_one = len(logs) <= SYNCED_ONE_BY_ONE
    nameless: OSError | None = None  # why new logs may not be in their directory
    if not one_by_one:
        os.sync()
    elif logs:
        try:
            logfile.sync_directory(disk, path(next(iter(logs))).parent)
        except OSError as error:
            nameless = error
    for log in logs:
        try:
            if one_by_one:
                logfile.sync(disk, path(log))
            if nameless and not log.synced:
                raise nameless
            log.synced, log.synced_version = log.length, log.version
        except (OSError, Unsynced) as error:
            log.unsound = True
            logger.error("%s could not be synced: %s", path(log), error)
