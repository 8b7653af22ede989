"""The default engine: one text file a log, in one directory, for one process.

Owns the crossing from the event loop to threads for reading. Must not know
HTTP or subscriptions.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from aiofiles.os import wrap

from hub.document import KEYS, Draft, Keys, parts_of
from hub.engines.base import BLOCK, Committed, Cursor, LogState, Receipt, Selection, Window
from hub.errors import ConditionConflict, IndexFailed, ReadFailed, UnknownStream, WriteFailed
from hub.formats import Batch
from hub.matcher import Matcher
from hub.options import Durability
from hub.selector import Condition
from hub.storage import places, search
from hub.storage.derived import members
from hub.storage.log import Log
from hub.storage.logfile import Disk, Reading, ReadTooMuch
from hub.storage.order import OrderCursor, Slice, documents_at
from hub.storage.plan import Scope
from hub.storage.soundness import faults
from hub.storage.sources import Sources, seer
from hub.storage.store import Store
from hub.storage.texts import PIECE, LogChanged
from hub.storage.watches import CommitGuard, Watch, condition_conflict

ATTEMPTS = 3
"""How often a commit tries to come between batches that cannot be looked at, before it insists."""

READ_THREADS = 8
"""Reads that can be under way at once; apart from the threads that sync."""

SEARCH_THREADS = 4
"""Long searches that can be under way at once; others wait for these, and no short read does."""

SHORT_BYTES = 1024 * 1024
"""Bytes of a log that a short read goes through at most."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

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
        keys: Keys = KEYS,
    ) -> None:
        self.keys = keys
        self._store = Store(directory, durability, sync_interval, disk, clock, keys)
        self._readers = threading.local()  # each reading thread's connection to the index
        self._connections: list[sqlite3.Connection] = []  # the same, to close them
        self._looked_through = 0  # the index, when it had been opened so often
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="hub-read")
        self._search_threads = ThreadPoolExecutor(SEARCH_THREADS, thread_name_prefix="hub-search")
        self.on_commit: list[Callable[[Committed], None]] = self._store.on_commit
        self.on_indexed: list[Callable[[], None]] = self._store.sequencer.on_indexed

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()
        self._threads.shutdown()
        self._search_threads.shutdown()
        for db in self._connections:
            db.close()

    def logs(self) -> Iterable[LogState]:
        return (log for log in self._store.logs.values() if log.made)

    def names(self, prefix: str, after: str = "", limit: int | None = None) -> Sequence[str]:
        return self._store.names.page(prefix, after, limit)

    def find(self, name: str) -> Log | None:
        log = self._store.logs.get(name)
        return log if log is not None and log.made else None

    def append(self, name: str, batch: Batch) -> asyncio.Future[Receipt]:
        return self._store.append(name, batch)

    async def look(self, name: str) -> None:
        log = self._store.logs.get(name)
        if log is not None and log.unread:  # it would look like an empty one
            raise ReadFailed(f"log {name!r} could not be read when the hub started: {log.damage}")
        await self._store.look(name)

    async def window(self, name: str, wanted: Selection, end: int) -> Window:
        log = self._store.logs[name]
        ordered = log.order.ordered
        return await self._search(search.window, name, end, ordered, wanted, log.format, self.keys)

    async def resume(self, name: str, identity: str, end: int, *, seen: bool = False) -> int | None:
        log = self._store.logs[name]
        ordered = log.order.ordered
        return await self._search(search.resume, name, end, ordered, identity, log.format, seen)

    async def read(self, name: str, start: int, end: int, size: int = BLOCK) -> bytes:
        return await self._search(places.block, name, start, end, size)

    async def count(self, name: str, start: int, end: int) -> int:
        return await self._search(places.count, name, start, end)

    def file(self, name: str) -> Path:
        return self._store.path(self._store.logs[name])

    async def written(self, names: Sequence[str]) -> Mapping[str, int]:
        files = [(name, self.file(name)) for name in names]
        return await wrap(_written)(files, executor=self._threads) if files else {}

    async def make(self, name: str, form: str) -> bool:
        return await self._store.make(name, form)

    async def seal(self, name: str) -> None:
        with self._as_write_failed(name):
            await self._store.seal(self._store.logs[name])

    def commit(
        self,
        name: str,
        draft: Draft,
        expected: int | None = None,
        condition: Condition | None = None,
    ) -> Awaitable[Receipt]:
        confirming = self._store.confirming
        if condition is not None:
            return confirming.secured(self._commit_if(name, draft, expected, condition))
        guard = None if expected is None else CommitGuard(expected)
        return self._store.commit(name, draft, guard, confirming.confirm)

    async def _commit_if(
        self, name: str, draft: Draft, expected: int | None, condition: Condition
    ) -> Receipt:
        watches = self._store.watches
        commit = _Conditional(name, draft, expected, condition)
        for _ in range(ATTEMPTS):
            await watches.quiet()
            receipt = await self._attempt(commit)
            if receipt:
                return receipt
        async with watches.turn():
            while True:
                receipt = await self._attempt(commit, insists=True)
                if receipt:
                    return receipt

    async def _attempt(self, commit: _Conditional, *, insists: bool = False) -> Receipt | None:
        """Commit, or say that it is not known whether the condition holds."""
        store = self._store
        watch = store.watch(seer(commit.scope, store.sources))

        async def turn(log: Log) -> None:
            watch.insist(log)
            await self._check(commit, watch)

        try:
            if not insists:
                await self._check(commit, watch)
            guard = CommitGuard(commit.expected, watch, turn if insists else None)
            return await store.commit(commit.name, commit.draft, guard)
        except ConditionConflict:
            # Was it for an event that was never stored, or for what nobody looked at?
            if watch.hit is None or await watch.is_true():
                raise
            return None
        finally:
            store.watches.close(watch)

    async def _check(self, commit: _Conditional, watch: Watch) -> None:
        """Raise `ConditionConflict` if a position not looked at yet has an event of the scope."""
        await watch.unseen()
        head = await self.settle()
        if commit.after > head:
            raise ConditionConflict(
                f"no event has the position {commit.after} yet, after which none may match: "
                f"the last one is {head}; query again",
                position=head,
            )
        if commit.after < head:
            cursor = self.cursor(commit.scope, commit.after + 1, head)
            while (part := await self.read_order(cursor)) is not None:
                if part.numbers:
                    found = parts_of(part.lines.partition(b"\n")[0])
                    raise condition_conflict(found.stream, part.numbers[0])
        commit.after = head

    async def place(self, name: str, revision: int) -> int:
        return await self._read_index(_place, self._store.logs[name], revision)

    async def read_back(self, name: str, start: int, end: int) -> bytes:
        return await self._search(places.block_before, name, start, end)

    @property
    def head(self) -> int:
        return self._store.sequencer.indexed

    async def settle(self) -> int:
        await self._store.sequencer.settle()
        return self._store.sequencer.indexed

    def follow_order(self, on: bool) -> None:
        self._store.sequencer.follow(on)

    def cursor(self, scope: Scope, low: int, high: int, *, backwards: bool = False) -> OrderCursor:
        cursor = OrderCursor(scope, low, high, backwards=backwards)
        cursor.index = self._store.index_opened
        return cursor

    async def read_order(self, cursor: Cursor) -> Slice | None:
        assert isinstance(cursor, OrderCursor)  # noqa: S101
        return await self._read_index(self._read_on, cursor)

    @property
    def derived(self) -> Mapping[str, Matcher]:
        return self._store.derived

    async def derive(self, name: str, matcher: Matcher) -> None:
        with self._as_write_failed(name):
            await self._store.derive(name, matcher)

    async def underive(self, name: str) -> None:
        with self._as_write_failed(name):
            await self._store.underive(name)

    async def version_of(self, derived: str) -> int:
        with self._as_write_failed(derived):
            return (await self._store.follow(derived)).version

    async def read_derived(self, name: str, revisions: Sequence[int]) -> list[bytes]:
        with self._as_write_failed(name):
            row = await self._store.follow(name)
        found = await self._read_index(_members, row.number, revisions)
        if found is None:  # it was removed meanwhile, and perhaps made again
            raise UnknownStream(f"there is no derived stream {name!r}, or no longer")
        return found

    async def _read_index(self, work: Callable[..., T], *args: object) -> T:
        """Do something with a connection to the index, on a reading thread."""
        try:
            found: T = await wrap(self._with_index)(work, *args, executor=self._threads)
        except LogChanged as error:
            await self._look_through_index(error)
            raise ReadFailed(f"the global order could not be read: {error}") from error
        except (OSError, sqlite3.Error) as error:
            self._condemn_if_damaged(error)
            raise ReadFailed(f"the global order could not be read: {error}") from error
        except (TypeError, ValueError, LookupError, ArithmeticError, MemoryError) as error:
            await self._look_through_index(error)
            raise
        return found

    async def _look_through_index(self, error: Exception) -> None:
        """Raise `ReadFailed` if the index is damaged; a long one has not been looked through yet.

        Once each time that it is opened: this reads all of it.
        """
        if self._looked_through == self._store.index_opened:
            return
        self._looked_through = self._store.index_opened
        try:
            fault = await wrap(self._with_index)(_first_fault, executor=self._threads)
        except sqlite3.Error as other:  # it was opened anew just then, or cannot be read
            self._condemn_if_damaged(other)
            fault = str(other)
        else:
            if fault:
                self._store.sequencer.condemn()
        if fault:
            raise ReadFailed(f"the global order could not be read: {fault} ({error!r})") from error

    @contextmanager
    def _as_write_failed(self, name: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._condemn_if_damaged(error)
            raise IndexFailed(f"the index could not be written: {error}") from error
        except OSError as error:
            reason = error.strerror or error
            raise WriteFailed(
                f"what is said of stream {name!r} could not be stored: {reason}"
            ) from error

    def _condemn_if_damaged(self, error: Exception) -> None:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
            self._store.sequencer.condemn()

    def _with_index(self, work: Callable[..., T], *args: object) -> T:
        readers, opened = self._readers, self._store.index_opened
        if getattr(readers, "opened", 0) != opened:
            before, after = getattr(readers, "db", None), self._store.reader()
            self._connections.append(after)
            readers.db, readers.opened = after, opened
            if before:
                self._connections.remove(before)
                before.close()
        try:
            return work(readers.db, self._store.sources, *args)
        finally:
            self._check_opened(opened)

    def _read_on(
        self, db: sqlite3.Connection, sources: Sources, cursor: OrderCursor
    ) -> Slice | None:
        self._check_opened(cursor.index)
        return cursor.read(db, sources)

    def _check_opened(self, before: int) -> None:
        """Raise if the index was opened anew: its logs may have other numbers now."""
        if self._store.index_opened != before:
            raise sqlite3.OperationalError("the index was opened anew meanwhile")

    async def _search(self, work: Callable[..., T], name: str, *args: object) -> T:
        reading = Reading(self._store.disk, SHORT_BYTES)
        search, path = wrap(work), self.file(name)
        try:
            try:
                return await search(reading, path, *args, executor=self._threads)
            except ReadTooMuch:  # from its beginning: that was little
                reading.left = sys.maxsize
                return await search(reading, path, *args, executor=self._search_threads)
        except asyncio.CancelledError:
            reading.abandoned = True
            raise
        except OSError as error:
            raise ReadFailed(
                f"log {name!r} could not be read: {error.strerror or error}"
            ) from error


def _written(files: Sequence[tuple[str, Path]]) -> dict[str, int]:
    found = {}
    for name, path in files:
        with suppress(OSError):
            found[name] = path.stat().st_mtime_ns // 1_000_000
    return found


def _first_fault(db: sqlite3.Connection, sources: Sources) -> str | None:
    return next((f"the index is damaged: {reason}" for _, reason in faults(db)), None)


def _place(db: sqlite3.Connection, sources: Sources, log: Log, revision: int) -> int:
    """Where an event of a log begins: from the run that holds it, line by line."""
    row = db.execute(
        "SELECT revision, offset FROM runs WHERE log = ? AND revision <= ? "
        "ORDER BY revision DESC LIMIT 1",
        (log.number, revision),
    ).fetchone()
    first, offset = row or (1, 0)
    path = Path(sources.path(log))
    return places.skip(sources.disk, path, offset, revision - first, log.length)


def _members(
    db: sqlite3.Connection, sources: Sources, number: int, revisions: Sequence[int]
) -> list[bytes] | None:
    low, high = min(revisions), max(revisions)
    found = members(db, number, low, high)
    if len(found) <= high - low:
        return None
    return documents_at(db, sources, [found[each - low] for each in revisions], PIECE)


class _Conditional:
    """A commit with a condition; up to the position `after` that is known to hold."""

    def __init__(self, name: str, draft: Draft, expected: int | None, condition: Condition) -> None:
        self.name = name
        self.draft = draft
        self.expected = expected
        self.scope = Scope(condition.selector, matcher=condition.matcher)
        self.after = condition.none_match_after
