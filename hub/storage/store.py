"""All logs of one events directory: the lock, what is in it, recovery at opening.

Owns the table of logs and keeps the index up to date. Must not know who reads
or what is asked for.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from aiofiles.os import wrap
from msgspec import structs

from hub.errors import DirectoryLocked, StartupError
from hub.event import IdOrder, file_name, is_channel_name, time_of
from hub.formats import NDJSON, TSV, Batch
from hub.options import Durability
from hub.storage import logfile
from hub.storage.index import Entry, Index
from hub.storage.logfile import Disk
from hub.storage.recovery import Scan, scan
from hub.storage.writer import Committed, Log, Receipt, Writer

HUB_DIRECTORY = ".hub"
"""Below the events directory: what is not a log."""

SAVE_INTERVAL = 5.0
"""Seconds between two savings of the index: what a crash makes us read again."""

PROGRESS_INTERVAL = 2.0
"""Seconds between two lines of log about a long recovery."""

logger = logging.getLogger(__name__)


class Store:
    """The logs of one directory. `open` before use, `close` in the end."""

    def __init__(
        self,
        directory: Path,
        durability: Durability = Durability.ALWAYS,
        sync_interval: float = 0.1,
        disk: Disk | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.directory = directory
        self.disk = disk or Disk()
        self.logs: dict[str, Log] = {}
        self.on_commit: list[Callable[[Committed], None]] = []
        self._writer = Writer(
            directory, self.disk, durability, sync_interval, self._committed, clock
        )
        self._index = Index(directory / HUB_DIRECTORY / "index.sqlite")
        self._changed: set[Log] = set()
        self._lock: int | None = None
        self._saver: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take the lock and make every log sound.

        Raises `DirectoryLocked` when another hub has the directory open, and
        `StartupError` when it cannot be used.
        """
        try:
            await wrap(self._open)()
        except BaseException:
            self._release()
            raise
        self._saver = asyncio.get_running_loop().create_task(self._save_regularly())

    async def close(self) -> None:
        """Commit what is pending, save the index, release the lock."""
        if self._saver:
            self._saver.cancel()
        await self._writer.close()
        await wrap(self._save)(self._take_changed())
        self._release()

    def _release(self) -> None:
        self._index.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def path(self, log: Log) -> Path:
        """The file of a log."""
        return self._writer.path(log)

    def append(self, name: str, batch: Batch) -> asyncio.Future[Receipt]:
        """Commit a batch to the log of this name, making it if it is new.

        The future is as `Writer.submit` gives it.
        """
        log = self.logs.get(name)
        if log is None:
            log = self.logs[name] = Log(name)
        return self._writer.submit(log, batch)

    def _committed(self, commit: Committed) -> None:
        self._changed.add(commit.log)
        for each in self.on_commit:
            each(commit)

    def _open(self) -> None:
        try:
            (self.directory / HUB_DIRECTORY).mkdir(parents=True, exist_ok=True)
            self._take_lock()
            known = {(entry.name, entry.format): entry for entry in self._index.open()}
            self._find_logs(known)
            self._index.save((), known.keys())  # what is left in it has no file any more
            self._save(self._take_changed())
        except OSError as error:
            raise StartupError(f"cannot use the events directory: {error}") from error

    def _take_lock(self) -> None:
        path = self.directory / HUB_DIRECTORY / "lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 100, 0).decode(errors="replace").strip()
            raise DirectoryLocked(
                f"{self.directory} is in use by another hub (process {holder or 'unknown'}): "
                "stop it, or choose another directory with --events"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _find_logs(self, known: dict[tuple[str, str], Entry]) -> None:
        with os.scandir(self.directory) as files:
            for file in files:
                stem, dot, form = file.name.rpartition(".")
                if not dot or not stem or form not in (TSV, NDJSON) or not file.is_file():
                    continue
                name = unquote(stem)
                if not is_channel_name(name) or form == NDJSON:
                    logger.warning("%s is not the file of a channel: passed over", file.path)
                    continue
                stat = file.stat()
                log = Log(name, form)
                log.made = True
                self._learn(log, known.pop((name, form), None), stat.st_size, stat.st_mtime_ns)
                log.synced = log.length
                self.logs[name] = log

    def _learn(self, log: Log, entry: Entry | None, size: int, modified: int) -> None:
        """Take over what the index knows of a log, or read what it does not know."""
        if entry and entry.length > size:
            logger.error(
                "log %s: its file has %d bytes, but %d had been written",
                log.name,
                size,
                entry.length,
            )
            entry = None
        if entry and entry.length == size and entry.modified != modified:
            entry = None  # changed in place: read it all again
        found = Scan(0, 0, "", IdOrder())
        if entry:
            moment = time_of(entry.last_id) if entry.ordered and entry.version else None
            order = IdOrder(clock=entry.clock, ordered=entry.ordered)
            if moment is not None:
                order.earliest = order.latest = moment
            found = Scan(entry.length, entry.version, entry.last_id, order)
        if not entry or entry.length != size:
            found = scan(self.disk, self.path(log), found, _Progress(log.name))
            self._mend(log, found)
            self._changed.add(log)
        log.length = found.length
        log.version = found.version
        log.last_id = found.last_id
        log.order = found.order

    def _mend(self, log: Log, found: Scan) -> None:
        path = self.path(log)
        if found.damage:
            log.damage = found.damage
            logger.error("%s is damaged and takes no writes: %s", path, found.damage)
        elif found.torn:
            if found.group:
                self._keep_torn(path, found)
            logfile.cut(self.disk, path, found.length)
            logger.warning(
                "%s: cut off a torn write that was never acknowledged: %d bytes at offset %d",
                path,
                found.torn,
                found.length,
            )

    def _keep_torn(self, path: Path, found: Scan) -> None:
        """Put the lines of an unfinished group aside, for whoever wants to look at them."""
        aside = self.directory / HUB_DIRECTORY / "torn" / f"{path.name}-{found.length}"
        try:
            aside.parent.mkdir(exist_ok=True)
            with open(path, "rb") as source, open(aside, "wb") as target:
                os.sendfile(target.fileno(), source.fileno(), found.length, found.torn)
        except OSError as error:
            logger.warning("%s: could not keep what is cut off: %s", path, error)
        else:
            logger.warning("%s: what is cut off is kept in %s", path, aside)

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL)
            if self._changed:
                try:
                    await wrap(self._save)(self._take_changed())
                except Exception:
                    logger.exception("the index could not be saved; the logs are not affected")

    def _take_changed(self) -> list[Entry]:
        """What is known now of each log that has changed since the last time."""
        changed, self._changed = self._changed, set()
        return [
            Entry(
                log.name,
                log.format,
                log.length,
                0,
                log.version,
                log.last_id,
                log.order.clock,
                log.order.ordered,
            )
            for log in changed
            if log.made and not log.damage
        ]

    def _save(self, entries: list[Entry]) -> None:
        self._index.save(filter(None, map(self._dated, entries)))

    def _dated(self, entry: Entry) -> Entry | None:
        """The row with its file's modification time, unless the file has gone on."""
        stat = os.stat(self.directory / file_name(entry.name, entry.format))
        # If it has, the commit that is under way puts it on the list again.
        if stat.st_size != entry.length:
            return None
        return structs.replace(entry, modified=stat.st_mtime_ns)


class _Progress:
    """Tells the log how far a long recovery is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = time.monotonic() + PROGRESS_INTERVAL

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_INTERVAL
            logger.info("log %s: reading it again, %d %%", self._name, 100 * done // total)
