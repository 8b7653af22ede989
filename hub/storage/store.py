"""All logs of one events directory: the lock, what is in it, recovery at opening.

Owns the table of logs and keeps the index up to date. Must not know who reads
or what is asked for.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
from aiofiles.os import wrap
from msgspec import structs

from hub.document import KEYS, Draft, Keys
from hub.errors import (
    DirectoryLocked,
    FormatConflict,
    IndexFailed,
    InvalidRequest,
    NameTaken,
    StartupError,
    UnknownStream,
)
from hub.event import file_name
from hub.formats import NDJSON, TSV, Batch
from hub.matcher import Matcher, compile_matcher
from hub.options import Durability
from hub.storage import logfile
from hub.storage.catalog import Catalog, Record
from hub.storage.derived import DerivedStreams
from hub.storage.group import Receipt
from hub.storage.index import Derived, Entry, Index
from hub.storage.log import Committed, Guard, Log
from hub.storage.logfile import Disk, Unsynced
from hub.storage.opening import Opening
from hub.storage.order import Sources
from hub.storage.ordering import Tail, in_time_order
from hub.storage.sequencer import Sequencer
from hub.storage.watches import Sees, Watch, Watches
from hub.storage.writer import Writer

HUB_DIRECTORY = ".hub"
"""Below the events directory: what is not a log."""

SAVE_INTERVAL = 5.0
"""Seconds between two savings of the index: what a crash makes us read again."""

SAVED_AT_ONCE = 5000
"""Logs written to the index in one transaction."""

SYNCED_ONE_BY_ONE = 1000
"""Logs found changed at opening up to which each is synced; for more the whole system is."""

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
        keys: Keys = KEYS,
    ) -> None:
        self.directory = directory
        self._durability = durability
        self.disk = disk or Disk()
        self.logs: dict[str, Log] = {}
        self.on_commit: list[Callable[[Committed], None]] = []
        self.hub_directory = directory / HUB_DIRECTORY
        self._index = Index(self.hub_directory / "index.sqlite")
        self.sequencer = Sequencer(
            self._index, self.disk, self.path, keys, sync=durability is Durability.ALWAYS
        )
        self.watches = Watches(keys)
        self._writer = Writer(
            directory,
            self.disk,
            durability,
            sync_interval,
            self.sequencer.take,
            self._committed,
            clock,
            self._unmade,
            self.watches.tell,
        )
        self._catalog = Catalog(self.hub_directory / "streams", self.disk)
        self.derived: dict[str, Matcher] = {}  # by the name of the stream
        self._derived = DerivedStreams(self._index)
        self.sources = Sources(
            self.disk,
            lambda log: f"{directory}/{file_name(log.name, log.format)}",
            self._find,
            lambda number: self.sequencer.numbered[number],
            self.derived.get,
            keys,
        )
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
        await self.sequencer.close()
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
        return self._writer.submit(self._log(name, TSV), batch)

    def commit(
        self, name: str, draft: Draft, guard: Guard | None = None
    ) -> asyncio.Future[Receipt]:
        """Commit the events of a stream; like `append`, but a new log is one of documents.

        Raises `FormatConflict` if the log is of lines that cannot hold them.
        """
        log = self._log(name, NDJSON)
        if log.format == NDJSON:
            return self._writer.submit(log, draft, guard)
        if draft.metadata:
            raise FormatConflict(
                f"log {name!r} is a channel's: its lines have no room for a commit's metadata; "
                "commit without, or to another stream"
            )
        return self._writer.submit(log, draft.as_batch(), guard)

    def _log(self, name: str, form: str) -> Log:
        """The log of a name; a new one gets this format. Raises `NameTaken`."""
        log = self.logs.get(name)
        if log is None:
            if name in self.derived:
                raise NameTaken(f"stream {name!r} is derived: it takes no events of its own")
            log = self.logs[name] = Log(name, form)
        return log

    async def make(self, name: str, form: str) -> bool:
        """Make an empty log; return False if it is there. Raises `FormatConflict`, `NameTaken`."""
        new = name not in self.logs
        log = self._log(name, form)
        if log.format != form:
            raise FormatConflict(
                f"log {name!r} has the format {log.format}, for life: it cannot become {form}",
                expected=form,
                actual=log.format,
            )
        await self._writer.make(log)
        if not log.made:
            await self._writer.settle(log)
        if log.made and new:
            self._changed.add(log)
        return new

    async def seal(self, log: Log) -> None:
        """Let a log take no more events, for good. What is pending is written. Raises `OSError`."""
        log.closed = True
        try:
            await self._writer.settle(log)
            await wrap(self._catalog.put)(Record(log.name, closed=True))
        except BaseException:
            log.closed = False
            raise

    async def derive(self, name: str, matcher: Matcher) -> None:
        """Define a derived stream, durably. Raises `OSError`; then it is not defined."""
        if name in self.logs:
            raise NameTaken(f"stream {name!r} is a log: it cannot be derived")
        self.derived[name] = matcher
        try:
            record = Record(name, msgspec.json.decode(matcher.text))
            await wrap(self._catalog.put)(record)
        except BaseException:
            del self.derived[name]
            raise

    async def underive(self, name: str) -> None:
        """Take a derived stream away. Raises `OSError`, `sqlite3.Error`."""
        await wrap(self._catalog.remove)(name)
        self.derived.pop(name, None)
        await self.sequencer.in_thread(self._derived.remove, name)

    async def follow(self, name: str) -> Derived:
        """Bring a derived stream up to date.

        Raises `UnknownStream`, `IndexFailed`, `OSError`, `sqlite3.Error`.
        """
        await self.sequencer.settle()
        matcher = self.derived.get(name)
        if matcher is None:
            raise UnknownStream(f"there is no derived stream {name!r}, or no longer")
        head = self.sequencer.indexed
        return await self.sequencer.in_thread(
            self._derived.follow, name, matcher, head, self.sources
        )

    def watch(self, sees: Sees) -> Watch:
        """Watch for events that get their place from now on, or are on their way."""
        return self.watches.open(sees, self._writer.active)

    def reader(self) -> sqlite3.Connection:
        """A connection to the index that only reads, for one thread. Raises `sqlite3.Error`."""
        return self._index.reader()

    def _find(self, name: str) -> Log | None:
        log = self.logs.get(name)
        return log if log is not None and log.made else None

    def _unmade(self, log: Log) -> None:
        """On a full disk, names that never become files must not stay in memory."""
        self.logs.pop(log.name, None)

    async def look(self, name: str) -> None:
        """Take in lines, or a whole file, that somebody wrote by hand while the hub was running."""
        log = self.logs.get(name)
        for form in (TSV, NDJSON) if log is None else (log.format,):
            try:
                size = os.stat(f"{self.directory}/{file_name(name, form)}").st_size
            except OSError:
                continue
            if size != (log.length if log else 0):
                await self._writer.look(self.logs.setdefault(name, log or Log(name, form)))
            return

    def _committed(self, commit: Committed) -> None:
        self._changed.add(commit.log)
        if not commit.seconds:  # nobody looked at these lines when they got their place
            self.watches.alarm(commit.log.name)
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
            self.sequencer.load(max([each.number for each in known.values()], default=0))
            opening = Opening(self.directory, self.hub_directory / "torn", self.disk)
            indexed = bool(known)
            opening.find(known)
        except OSError as error:
            raise StartupError(f"cannot use the events directory: {error}") from error
        self.logs = opening.logs
        self.sequencer.numbered = {log.number: log for log in self.logs.values() if log.number}
        if self.logs and not indexed:
            logger.info("there was no index: %d logs were read to make it", len(self.logs))
        self._sync_all(opening.changed)
        # What is left in it has no file any more.
        self._index.save([], [each.number for each in known.values()])
        self._give_positions(opening.changed)
        self._save(map(_entry, opening.changed))
        for record in self._catalog.load():
            self._take_record(record)
        self._derived.load(self.derived)

    def _give_positions(self, changed: Iterable[Log]) -> None:
        """Bring what was found in files, and has no positions yet, into the global order."""
        tails: list[Tail] = []
        for log in changed:
            revision, offset = self._index.covered(log.number) if log.number else (0, 0)
            if revision > log.version:
                logger.error(
                    "%s has %d events, but %d had positions", self.path(log), log.version, revision
                )
                self._index.forget(log.number, log.version)
                revision, offset = self._index.covered(log.number)
            if revision < log.version:
                tails.append(Tail(log, str(self.path(log)), revision + 1, offset))
        try:
            self.sequencer.adopt(in_time_order(self.disk, tails))
        except (OSError, sqlite3.Error) as error:
            raise StartupError(f"the index could not be written: {error}") from error

    def _take_record(self, record: Record) -> None:
        log = self.logs.get(record.stream)
        if record.closed and log:
            log.closed = True
        elif record.closed or log:
            logger.error("what .hub/streams says of %r is passed over", record.stream)
        else:
            try:
                self.derived[record.stream] = compile_matcher(record.matcher)
            except InvalidRequest as error:
                logger.error("derived stream %r has no sound matcher: %s", record.stream, error)

    def _make_directories(self) -> None:
        path = self.hub_directory
        new = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for each in new:  # else all of it could be gone after a power cut
            logfile.sync_directory(self.disk, each.parent)

    def _take_lock(self) -> None:
        path = self.hub_directory / "lock"
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
                try:
                    await self.sequencer.settle()  # a row says that all of the log has positions
                    await self.sequencer.in_thread(self._save, entries)
                except IndexFailed:
                    self._changed.update(changed[at:])
                    break

    def _save(self, entries: Iterable[Entry | None]) -> None:
        self._index.save([dated for each in entries if each and (dated := self._dated(each))])

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
    if not log.made or not log.number:
        return None
    order = log.order
    return Entry(
        log.number,
        log.name,
        log.format,
        log.length,
        0,
        log.version,
        log.last_id,
        order.clock,
        order.ordered,
    )
