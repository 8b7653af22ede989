"""All logs of one events directory: the lock, what is in it, recovery at opening.

Owns the table of logs and keeps the index up to date. Must not know who reads
or what is asked for.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from aiofiles.os import wrap
from msgspec import structs

from hub.errors import DirectoryLocked, StartupError
from hub.event import IdOrder, file_name, is_channel_name, time_of
from hub.formats import NDJSON, TSV, Batch
from hub.options import Durability
from hub.storage import logfile, search
from hub.storage.group import Receipt
from hub.storage.index import Entry, Index
from hub.storage.log import Committed, Log
from hub.storage.logfile import Disk, Unsynced
from hub.storage.recovery import Scan, scan
from hub.storage.writer import Writer

HUB_DIRECTORY = ".hub"
"""Below the events directory: what is not a log."""

SAVE_INTERVAL = 5.0
"""Seconds between two savings of the index: what a crash makes us read again."""

SAVED_AT_ONCE = 5000
"""Logs written to the index in one transaction."""

SYNCED_ONE_BY_ONE = 1000
"""Logs found changed at opening up to which each is synced; for more the whole system is."""

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
        self._durability = durability
        self.disk = disk or Disk()
        self.logs: dict[str, Log] = {}
        self.on_commit: list[Callable[[Committed], None]] = []
        self._writer = Writer(
            directory, self.disk, durability, sync_interval, self._committed, clock, self._unmade
        )
        self._index = Index(directory / HUB_DIRECTORY / "index.sqlite")
        self._changed: set[Log] = set()
        self._lock: int | None = None
        self._saver: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

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
        await self._writer.close()
        self._closing.set()
        if self._saver:
            await self._saver
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

    def _unmade(self, log: Log) -> None:
        """On a full disk, names that never become files must not stay in memory."""
        self.logs.pop(log.name, None)

    async def look(self, name: str) -> None:
        """Take in lines, or a whole file, that somebody wrote by hand while the hub was running."""
        log = self.logs.get(name)
        path = self.directory / file_name(name, TSV) if log is None else self.path(log)
        try:
            size = os.stat(path).st_size
        except OSError:
            return
        if size != (log.length if log else 0):
            await self._writer.look(self.logs.setdefault(name, log or Log(name)))

    def _committed(self, commit: Committed) -> None:
        self._changed.add(commit.log)
        for each in self.on_commit:
            try:
                each(commit)
            except Exception:  # the events are stored all the same
                logger.exception("log %s: what was committed could not be told", commit.log.name)

    def _open(self) -> None:
        try:
            self._make_directories()
            self._take_lock()
            known = {(entry.name, entry.format): entry for entry in self._index.open()}
            indexed = bool(known)
            self._find_logs(known)
        except OSError as error:
            raise StartupError(f"cannot use the events directory: {error}") from error
        if self.logs and not indexed:
            logger.info("there was no index: %d logs were read to make it", len(self.logs))
        changed, self._changed = self._changed, set()
        self._sync_all(changed)
        self._save(map(_entry, changed), known)  # what is left in it has no file any more

    def _make_directories(self) -> None:
        path = self.directory / HUB_DIRECTORY
        new = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for each in new:  # else all of it could be gone after a power cut
            logfile.sync_directory(self.disk, each.parent)

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
        with suppress(OSError):  # the disk may be full; that is no reason not to read
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _find_logs(self, known: dict[tuple[str, str], Entry]) -> None:
        with os.scandir(self.directory) as files:
            for file in files:
                stem, dot, form = file.name.rpartition(".")
                if not dot or not stem or form not in (TSV, NDJSON) or not file.is_file():
                    continue
                name = unquote(stem)
                is_log = is_channel_name(name) and file.name == file_name(name, form)
                if not is_log or form == NDJSON:
                    logger.warning("%s is not the file of a channel: passed over", file.path)
                    continue
                stat = file.stat()
                log = Log(name, form)
                log.made = True
                self._learn(log, known.pop((name, form), None), stat.st_size, stat.st_mtime_ns)
                self.logs[name] = log

    def _learn(self, log: Log, entry: Entry | None, size: int, modified: int) -> None:
        """Take over what the index knows of a log, and read what it does not know."""
        found = Scan(0, 0, "", IdOrder())
        if entry and self._goes_on(log, entry, size, modified):
            found = _scan_of(entry)
        log.synced = found.length
        if not entry or found.length < size or entry.length > size:
            self._read(log, found, entry.length if entry and entry.length <= size else 0)
            self._changed.add(log)
        log.damage = found.damage
        log.length = found.length
        log.version = found.version
        log.last_id = found.last_id
        log.order = found.order

    def _goes_on(self, log: Log, entry: Entry, size: int, modified: int) -> bool:
        """Whether the file is what the index knows, perhaps with more behind it."""
        if entry.length == size:
            return entry.modified == modified
        if entry.length > size:
            written = entry.length
            logger.error("%s has %d bytes, but %d had been written", self.path(log), size, written)
            return False
        try:
            return search.ends_with(self.disk, self.path(log), entry.length, entry.last_id)
        except OSError:
            return False  # reading it all will tell

    def _read(self, log: Log, found: Scan, promised: int) -> None:
        """Read a log from where `found` ends. Of `promised` bytes nothing may be cut off."""
        path = self.path(log)
        try:
            scan(self.disk, path, found, _Progress(log.name))
            if found.zeroed and 0 < promised <= found.length:
                # A power cut: what was acknowledged since lies before what never got to the disk.
                found.damage, found.torn = None, os.stat(path).st_size - found.length
            if found.torn and found.length < promised:
                found.damage = f"line {found.version + 1}: it is torn, though it had been written"
            elif found.torn:
                self._cut(path, found)
        except OSError as error:
            found.damage = f"its file cannot be read or mended: {error.strerror or error}"
        if found.damage:
            logger.error("%s takes no writes: %s", path, found.damage)

    def _cut(self, path: Path, found: Scan) -> None:
        self._keep_torn(path, found)
        logfile.cut(self.disk, path, found.length)
        logger.warning(
            "%s: cut off a torn write that was never acknowledged: %d bytes at offset %d",
            path,
            found.torn,
            found.length,
        )

    def _keep_torn(self, path: Path, found: Scan) -> None:
        """Put what is to be cut off aside, for whoever wants to look at it."""
        aside = self.directory / HUB_DIRECTORY / "torn" / f"{path.name}-{found.length}"
        try:
            aside.parent.mkdir(exist_ok=True)
            with open(path, "rb") as source, open(aside, "wb") as target:
                source.seek(found.length)
                shutil.copyfileobj(source, target)
        except OSError as error:
            logger.warning("%s: could not keep what is cut off: %s", path, error)
        else:
            logger.warning("%s: what is cut off is kept in %s", path, aside)

    def _sync_all(self, logs: Collection[Log]) -> None:
        """Put on disk what was found in files: from now on readers are told of it."""
        if self._durability is Durability.OS:
            return
        if len(logs) > SYNCED_ONE_BY_ONE:
            os.sync()
        for log in logs:
            try:
                if len(logs) <= SYNCED_ONE_BY_ONE:
                    logfile.sync(self.disk, self.path(log))
                log.synced = log.length
            except (OSError, Unsynced) as error:
                log.unsound = True
                logger.error("%s could not be synced: %s", self.path(log), error)

    async def _save_regularly(self) -> None:
        """Save the index now and then, and once more at the end."""
        last = False
        while not last:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), SAVE_INTERVAL)
            last = self._closing.is_set()
            changed, self._changed = list(self._changed), set()
            for at in range(0, len(changed), SAVED_AT_ONCE):
                entries = [_entry(log) for log in changed[at : at + SAVED_AT_ONCE]]
                await wrap(self._save)(entries)

    def _save(self, entries: Iterable[Entry | None], gone: Iterable[tuple[str, str]] = ()) -> None:
        self._index.save([dated for each in entries if each and (dated := self._dated(each))], gone)

    def _dated(self, entry: Entry) -> Entry | None:
        """The row with its file's modification time, unless the file has gone on."""
        try:
            stat = os.stat(f"{self.directory}/{file_name(entry.name, entry.format)}")
        except OSError:
            return None  # it is gone, or will be read again
        # If it has, the commit that is under way puts it on the list again.
        if stat.st_size != entry.length:
            return None
        return structs.replace(entry, modified=stat.st_mtime_ns)


def _entry(log: Log) -> Entry | None:
    """What is known of a log, as a row of the index; None if it must be read again."""
    if not log.made:
        return None
    order = log.order
    return Entry(
        log.name, log.format, log.length, 0, log.version, log.last_id, order.clock, order.ordered
    )


def _scan_of(entry: Entry) -> Scan:
    """What a row of the index knows, as the beginning of a scan."""
    order = IdOrder(clock=entry.clock, ordered=entry.ordered)
    moment = time_of(entry.last_id) if entry.ordered and entry.version else None
    if moment is not None:
        order.earliest = order.latest = moment
    return Scan(entry.length, entry.version, entry.last_id, order)


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
