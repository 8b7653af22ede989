"""All logs of one events directory, and what else is known of their streams.

Owns the table of logs, and how the parts of storage work together. Must not
know who reads or what is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path

import msgspec
from aiofiles.os import wrap

from hub.document import KEYS, Draft, Keys
from hub.errors import FormatConflict, NameTaken, StartupError, UnknownStream, WriteFailed
from hub.event import file_name
from hub.formats import NDJSON, TSV, Batch
from hub.matcher import Matcher
from hub.options import Durability
from hub.storage.alignment import Alignment, Found
from hub.storage.catalog import Catalog, Record, apply
from hub.storage.confirming import Confirming
from hub.storage.derived import Derived, DerivedStreams
from hub.storage.directory import TORN, Directory
from hub.storage.group import Receipt
from hub.storage.index import Entry, Index, is_damage
from hub.storage.journal import Journal
from hub.storage.log import Committed, Guard, Log, Tell, tell
from hub.storage.logfile import Disk
from hub.storage.names import Names
from hub.storage.opening import Opening, format_of, known_of
from hub.storage.saving import Saver
from hub.storage.sequencer import Sequencer
from hub.storage.sources import Sources
from hub.storage.syncing import sync_found
from hub.storage.watches import Sees, Watch, Watches
from hub.storage.writer import Writer

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
        self.names = Names()  # of logs and derived streams
        self.on_commit: list[Callable[[Committed], None]] = []
        self._place = Directory(directory, self.disk)
        self._index = Index(self._place.own / "index.sqlite")
        sync = durability is Durability.ALWAYS
        self._journal = Journal(self._place.own, self.disk, sync=sync)
        order = self._index, self._journal
        self.sequencer = Sequencer(*order, self.disk, self.path, keys, sync=sync)
        self.confirming = Confirming(self.sequencer)
        self._alignment = Alignment(*order, self.sequencer, self.disk, self.path, keys)
        self._saver = Saver(self._index, self.sequencer, directory)
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
        self._catalog = Catalog(self._place.own / "streams", self.disk)
        self._defining = asyncio.Lock()  # what is said of streams changes one by one
        self._definitions: set[asyncio.Task[None]] = set()
        self.derived: dict[str, Matcher] = {}  # by the name of the stream
        self._derived = DerivedStreams(self._index)
        self._without_index = False  # and that has been said
        self.sources = Sources(
            self.disk,
            lambda log: f"{directory}/{file_name(log.name, log.format)}",
            self._find,
            lambda number: self.sequencer.numbered[number],
            self.derived.get,
            keys,
        )

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
        self.sequencer.release(absent=not self._index.is_open)
        self._saver.start(self._attach)

    async def close(self) -> None:
        """Commit what is pending, save the index, release the lock."""
        self._alignment.reading.abandoned = True  # it may take minutes, the closing may not
        if self._definitions:
            await asyncio.wait(self._definitions)
        await self._writer.close()
        await self._saver.close()
        await self.sequencer.close()
        await self.confirming.close()
        self._release()

    def _release(self) -> None:
        self._index.close()
        self._journal.close()
        self._place.release()

    def path(self, log: Log) -> Path:
        """The file of a log."""
        return self._writer.path(log)

    def append(self, name: str, batch: Batch) -> asyncio.Future[Receipt]:
        """Commit a batch to the log of this name, making it if it is new.

        The future is as `Writer.submit` gives it.
        """
        return self._writer.submit(self._log(name, TSV), batch)

    def commit(
        self, name: str, draft: Draft, guard: Guard | None = None, tell: Tell = tell
    ) -> asyncio.Future[Receipt]:
        """Commit the events of a stream; like `append`, but a new log is one of documents.

        Raises `FormatConflict` if the log is of lines that cannot hold them, and
        `IndexFailed` while no position can be told.
        """
        self.sequencer.check()
        log = self._log(name, NDJSON)
        if log.format == NDJSON:
            return self._writer.submit(log, draft, guard, tell)
        if draft.metadata:
            raise FormatConflict(
                f"log {name!r} is a channel's: its lines have no room for a commit's metadata; "
                "commit without, or to another stream"
            )
        return self._writer.submit(log, draft.as_batch(), guard, tell)

    def _log(self, name: str, form: str) -> Log:
        """The log of a name; a new one gets this format, or its file's. Raises `NameTaken`."""
        log = self.logs.get(name)
        if log is None:
            if name in self.derived:
                raise NameTaken(f"stream {name!r} is derived: it takes no events of its own")
            log = self._enter(Log(name, format_of(self.directory, name, form)))
        return log

    def _enter(self, log: Log) -> Log:
        self.logs[log.name] = log
        self.names.add(log.name)
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
        if not log.made:  # somebody else is about to make it
            await self._writer.settle(log)
            if not log.made:
                raise WriteFailed(f"the file of log {name!r} could not be made")
        return new

    async def _define(self, work: Coroutine[None, None, None]) -> None:
        """Do something to the catalog, to its end even if nobody waits any more."""
        task = asyncio.get_running_loop().create_task(work)
        self._definitions.add(task)
        task.add_done_callback(self._defined)
        await asyncio.shield(task)

    def _defined(self, task: asyncio.Task[None]) -> None:
        self._definitions.discard(task)
        if not task.cancelled():
            task.exception()  # told to who waits, if anybody does

    async def seal(self, log: Log) -> None:
        """Let a log take no more events, for good. What is pending is written. Raises `OSError`."""
        await self._define(self._seal(log))

    async def _seal(self, log: Log) -> None:
        async with self._defining:
            before, log.closed = log.closed, True
            record = Record(log.name, closed=True)
            try:
                await self._writer.sync(log)
                await wrap(self._catalog.put)(record)
            except BaseException:
                log.closed = before or self._catalog.find(log.name) == record
                raise

    async def derive(self, name: str, matcher: Matcher) -> None:
        """Define a derived stream, durably. Raises `NameTaken`, `OSError`; then it is not."""
        await self._define(self._derive(name, matcher))

    async def _derive(self, name: str, matcher: Matcher) -> None:
        async with self._defining:
            if name in self.logs or self.derived.get(name, matcher) != matcher:
                raise NameTaken(f"there is a stream {name!r}: no other can be derived by this name")
            if name in self.derived:
                return
            self.derived[name] = matcher
            self.names.add(name)
            try:
                record = Record(name, msgspec.json.decode(matcher.text))
                await wrap(self._catalog.put)(record)
            except BaseException:
                if self._catalog.find(name) != record:
                    del self.derived[name]
                    self.names.discard(name)
                raise

    async def underive(self, name: str) -> None:
        """Take a derived stream away. Raises `OSError`, `sqlite3.Error`."""
        await self._define(self._underive(name))

    async def _underive(self, name: str) -> None:
        async with self._defining:
            try:
                await wrap(self._catalog.remove)(name)
            finally:  # in memory it is what the next start will find
                if self._catalog.find(name) is None:
                    self.derived.pop(name, None)
                    self.names.discard(name)
            await self.sequencer.in_thread(self._derived.remove, name)

    async def follow(self, name: str) -> Derived:
        """Bring a derived stream up to date.

        Raises `UnknownStream`, `IndexFailed`, `OSError`, `sqlite3.Error`.
        """
        await self.sequencer.settle()
        head = self.sequencer.indexed
        while True:
            matcher = self.derived.get(name)
            if matcher is None:
                raise UnknownStream(f"there is no derived stream {name!r}, or no longer")
            row = await self.sequencer.in_thread(
                self._derived.follow, name, matcher, head, self.sources
            )
            if row.looked >= head:
                return row

    def watch(self, sees: Sees) -> Watch:
        """Watch for events that get their place from now on, or are on their way."""
        return self.watches.open(sees, self._writer.active)

    @property
    def index_opened(self) -> int:
        """How often the index was opened: what `reader` gave before may be out of date."""
        return self._index.opened

    def reader(self) -> sqlite3.Connection:
        """A connection to the index that only reads, for one thread. Raises `sqlite3.Error`."""
        return self._index.reader()

    def _find(self, name: str) -> Log | None:
        log = self.logs.get(name)
        return log if log is not None and log.made else None

    def _unmade(self, log: Log) -> None:
        """On a full disk, names that never become files must not stay in memory."""
        self.logs.pop(log.name, None)
        self.names.discard(log.name)

    async def look(self, name: str) -> None:
        """Take in lines, or a whole file, that somebody wrote by hand while the hub was running."""
        log = self.logs.get(name)
        if name in self.derived:
            return  # the name is taken
        form = log.format if log else format_of(self.directory, name, TSV)
        try:
            size = os.stat(f"{self.directory}/{file_name(name, form)}").st_size
        except OSError:
            return
        if size != (log.length if log else 0):
            await self._writer.look(log or self._enter(Log(name, form)))

    def _committed(self, commit: Committed) -> None:
        self._saver.changed.add(commit.log)
        if commit.by_hand:  # nobody looked at these lines when they got their place
            self.watches.alarm(commit.log)
        for each in self.on_commit:
            try:
                each(commit)
            except Exception:  # the events are stored all the same
                logger.exception("log %s: what was committed could not be told", commit.log.name)

    def _open(self) -> None:
        try:
            self._place.take()
            known = self._open_index()
            entries = list(known.values())
            opening = Opening(self.directory, self._place.own / TORN, self.disk)
            opening.find(known)
        except OSError as error:
            raise StartupError(f"cannot use the events directory: {error}") from error
        self.logs = opening.logs
        if self.logs and not entries and not self._index.rescued:
            logger.warning("there was no index: %d logs were read to make it", len(self.logs))
        if self._durability is not Durability.OS:
            sync_found(self.disk, self.path, opening.changed)
        for record in self._catalog.load():
            apply(record, self.logs, self.derived)
        self.names = Names([*self.logs, *self.derived])
        found = [
            Found(log, log.version, log.length, trusted) for log, trusted in opening.changed.items()
        ]
        logs = list(self.logs.values())
        if not self._index.is_open or self._align(logs, found, entries, known.values()):
            self._saver.save(opening.changed)
        else:
            self._attach_now([Found(log, log.version, log.length) for log in logs])

    def _open_index(self) -> dict[tuple[str, str], Entry]:
        """What the index knows of logs. Without an index: nothing."""
        try:
            entries = self._index.open()
        except (sqlite3.Error, OSError) as error:
            if self.sequencer.absent and not self._without_index:
                logger.error("there is no index, so no positions until there is: %s", error)
            self._without_index = True
            return {}
        self._without_index = False
        return {(entry.name, entry.format): entry for entry in entries}

    def _align(
        self, logs: list[Log], found: list[Found], entries: list[Entry], gone: Iterable[Entry]
    ) -> bool:
        """Give positions to what has none; without success there is no index afterwards."""
        highest = max([each.number for each in entries], default=0)
        try:
            self._alignment.align(logs, found, [each.number for each in gone], highest)
            self._derived.load(self.derived)
        except Exception as error:
            if not self._alignment.reading.abandoned:
                logger.error("the index could not be brought in line with the logs: %r", error)
            if is_damage(error):
                self._index.condemn()
            self._index.close()
            return False
        return True

    async def _attach(self) -> None:
        """While there is no index: try to open it again."""
        await self.sequencer.hold()
        logs = [log for log in self.logs.values() if log.made]
        found = [Found(log, log.version, log.length) for log in logs]
        try:
            await self.sequencer.in_thread(self._attach_now, found)
        finally:
            self.sequencer.release(absent=not self._index.is_open)
        self._saver.changed.update(logs)

    def _attach_now(self, found: list[Found]) -> None:
        self._index.close()
        known = self._open_index()
        if not self._index.is_open:
            return
        entries = list(known.values())
        for each in found:
            entry = known.pop((each.log.name, each.log.format), None)
            each.log.number = entry.number if entry else 0
            if entry:
                each.trusted = known_of(self.disk, self.path(each.log), each.log, entry)
        self._align([each.log for each in found], found, entries, known.values())
