"""Commits batches to logs: one writer task per active log, group commit, durability.

Owns the path from a batch to an acknowledgement. A writer task exists only
while its log has something pending; whatever arrives while a group is being
synced goes out as the next group, in one write and one sync. Must not know who
reads (`committed` is called with what became durable) nor HTTP.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from aiofiles.os import wrap
from msgspec import Struct

from hub.errors import Closing, DiskFull, HubError, LogDamaged, LogUnavailable, WriteFailed
from hub.event import IdOrder, file_name, id_at, time_of
from hub.formats import TSV, Batch, fill_ids
from hub.options import Durability
from hub.storage import logfile
from hub.storage.logfile import Disk, FileChanged, Unsynced
from hub.storage.recovery import Scan, scan

GROUP_BYTES = 256 * 1024
"""A group up to this size is built in memory and handed to readers as it is."""

FILE_SECONDS = 1.0
"""How long a file stays open under load: one that was removed meanwhile is then noticed."""

THREADS = 16
"""Syncs that can be under way at once, each of another log."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Log:
    """What is known of one log. Only its writer task changes it."""

    __slots__ = (
        "damage",
        "fd",
        "format",
        "last_id",
        "length",
        "made",
        "name",
        "order",
        "pending",
        "synced",
        "unsound",
        "version",
    )

    def __init__(self, name: str, form: str = TSV) -> None:
        self.name = name
        self.format = form
        self.length = 0  # bytes that readers may see
        self.version = 0  # events in them
        self.last_id = ""
        self.order = IdOrder()  # of what is committed and what is pending
        self.made = False  # its file exists
        self.synced = 0  # bytes known to be on disk
        self.unsound = False  # a sync failed: to be reopened before the next write
        self.damage: str | None = None
        self.fd: int | None = None  # open while its writer task runs
        self.pending: list[Pending] | None = None  # None: no writer task


class Receipt(Struct, frozen=True, gc=False):
    """What a batch got when it was committed."""

    count: int
    first_id: str
    last_id: str


class Pending(Struct):
    """A batch with its ids, waiting for the disk."""

    chunks: list[bytes]  # its lines
    first_time: int  # for the first line whose id is blank; 0: none is
    receipt: Receipt
    done: asyncio.Future[Receipt]


class Committed(Struct, frozen=True):
    """A group that has become visible: bytes `start` to `end` of the log.

    `lines` are those bytes, or None when there are too many to hold.
    """

    log: Log
    start: int
    end: int
    count: int
    lines: bytes | None
    seconds: float  # from the start of the write to its end


class Writer:
    """Commits to all logs of one directory, on threads of its own."""

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        durability: Durability,
        sync_interval: float,
        committed: Callable[[Committed], None],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._durability = durability
        self._sync = durability is Durability.ALWAYS
        self._sync_interval = sync_interval
        self._committed = committed
        self._clock = clock
        self._write_in_thread = wrap(self._write)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="hub-write")
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsynced: set[Log] = set()
        self._syncing: asyncio.Task[None] | None = None
        self._closing = False

    def path(self, log: Log) -> Path:
        """The file of a log."""
        return self._directory / file_name(log.name, log.format)

    def submit(self, log: Log, batch: Batch) -> asyncio.Future[Receipt]:
        """Give the batch its ids and queue it; the future ends when it is as durable as promised.

        The future ends with a `LogUnavailable` if it cannot be stored; then
        none of it is. Cancelling it is safe: the batch is committed or not,
        whole.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Receipt] = loop.create_future()
        if self._closing:
            done.set_exception(Closing("the hub is shutting down"))
            return done
        if log.damage:
            done.set_exception(LogDamaged(f"log {log.name!r} takes no writes: {log.damage}"))
            return done
        pending = self._assign(log, batch, done)
        if log.pending is None:
            log.pending = [pending]
            task = loop.create_task(self._drain(log))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            log.pending.append(pending)
        return done

    def _assign(self, log: Log, batch: Batch, done: asyncio.Future[Receipt]) -> Pending:
        order = log.order
        if not batch.blank:
            order.append(batch.order)
            return Pending(
                batch.chunks, 0, Receipt(batch.count, batch.first_id, batch.last_id), done
            )
        now = self._clock() // 1000
        if batch.count == 1:  # the usual case
            first = order.next_clock(now)
            order.append_own(first, first)
            identity = id_at(first)
            line = identity.encode() + batch.chunks[0]
            return Pending([line], 0, Receipt(1, identity, identity), done)
        first = max(order.next_clock(now), batch.order.next_clock(now))
        last = first + batch.blank - 1
        if batch.blank < batch.count:
            order.append(batch.order)
            order.ordered = False  # given and own ids mixed: not worth a look at each
        order.append_own(first, last)
        receipt = Receipt(batch.count, batch.first_id or id_at(first), batch.last_id or id_at(last))
        return Pending(batch.chunks, first, receipt, done)

    async def _drain(self, log: Log) -> None:
        """The log's writer task: commit groups until nothing is pending."""
        loop = asyncio.get_running_loop()
        look_again = loop.time() + FILE_SECONDS
        while log.pending:
            group, log.pending = log.pending, []
            if loop.time() > look_again:
                self._close(log)
                look_again = loop.time() + FILE_SECONDS
            try:
                await self._commit(log, group)
            except HubError as error:
                self._fail(log, group, error)
            except Exception as error:
                log.unsound = True  # nobody knows what was written: cut back first
                logger.exception("log %s: a write broke off", log.name)
                self._fail(log, group, WriteFailed(f"the write broke off: {error!r}"))
        self._close(log)
        log.pending = None

    def _fail(self, log: Log, group: list[Pending], error: HubError) -> None:
        # What came behind was checked against events that never came.
        group += log.pending or ()
        log.pending = []
        for each in group:
            if not each.done.done():
                each.done.set_exception(error)

    async def _commit(self, log: Log, group: list[Pending]) -> None:
        began = time.perf_counter()
        count = sum([each.receipt.count for each in group])
        try:
            end, lines = await self._write_in_thread(log, group, count, executor=self._threads)
        except FileChanged as change:
            await self._take_in(log, change.size, group)
            await self._commit(log, group)
            return
        except Unsynced as failure:
            log.unsound = True
            raise self._failed(log, failure.cause) from failure
        except OSError as error:
            raise self._failed(log, error) from error
        start = self._advance(log, end, count, group[-1].receipt.last_id)
        for each in group:
            if not each.done.done():
                each.done.set_result(each.receipt)
        self._committed(Committed(log, start, end, count, lines, time.perf_counter() - began))

    def _advance(self, log: Log, end: int, count: int, last_id: str) -> int:
        start = log.length
        log.length = end
        log.version += count
        log.last_id = last_id
        if self._sync:
            log.synced = end
        elif self._durability is Durability.INTERVAL:
            self._unsynced.add(log)
            if self._syncing is None:
                self._syncing = asyncio.get_running_loop().create_task(self._sync_regularly())
        return start

    def _write(self, log: Log, group: list[Pending], count: int) -> tuple[int, bytes | None]:
        """On a thread: write a group and make it durable."""
        path = self.path(log)
        if log.unsound:
            self._close(log)
            logfile.reopen(self._disk, path, log.synced, log.length)
            log.unsound = False
            logger.warning("log %s: reopened and verified, it takes writes again", log.name)
        if not log.made:
            logfile.create(self._disk, path, sync=self._sync)
            log.made = True
        if log.fd is None:
            log.fd = logfile.open_for_append(self._disk, path)
        size = sum([len(chunk) for each in group for chunk in each.chunks])
        disk, fd, good, sync = self._disk, log.fd, log.length, self._sync
        if size > GROUP_BYTES:
            return logfile.append_group(disk, fd, path, good, _pieces(group), sync=sync), None
        lines = b"".join([chunk for each in group for chunk in _filled(each)])
        if len(group) == count:
            return logfile.append(disk, fd, good, lines, sync=sync), lines
        return logfile.append_group(disk, fd, path, good, (lines,), sync=sync), lines

    def _close(self, log: Log) -> None:
        if log.fd is not None:
            self._disk.close(log.fd)
            log.fd = None

    async def _take_in(self, log: Log, size: int, group: list[Pending]) -> None:
        """Make events of lines that somebody appended by hand while the hub was running."""
        if size < log.length:
            log.damage = f"the file has {size} bytes, but {log.length} were acknowledged"
            logger.error("log %s: %s", log.name, log.damage)
            raise LogDamaged(f"log {log.name!r} takes no writes: {log.damage}")
        order = IdOrder()
        known = Scan(log.length, log.version, log.last_id, order)
        found = await self._in_thread(scan, self._disk, self.path(log), known)
        start, count = log.length, found.version - log.version
        if count:
            before = time_of(log.last_id) if log.version else order.earliest
            behind = min(
                (time_of(each.receipt.first_id) or 0 for each in group), default=order.latest
            )
            log.order.clock = max(log.order.clock, order.clock)
            log.order.ordered = (
                log.order.ordered
                and order.ordered
                and before is not None
                and before <= order.earliest
                and order.latest <= behind
            )
            self._advance(log, found.length, count, found.last_id)
            self._committed(Committed(log, start, found.length, count, None, 0.0))
            logger.info("log %s: took in %d lines appended by hand", log.name, count)
        if found.damage:
            log.damage = found.damage
            logger.error("log %s takes no writes: %s", log.name, found.damage)
            raise LogDamaged(f"log {log.name!r} takes no writes: {found.damage}")
        if found.torn:
            raise LogUnavailable(
                f"somebody is writing to the file of log {log.name!r} by hand: "
                "its last line has no line break yet"
            )

    def _failed(self, log: Log, error: OSError) -> LogUnavailable:
        logger.error("log %s: %s", log.name, error)
        if error.errno in _FULL:
            return DiskFull("no space left on the disk: nothing of this was stored")
        return WriteFailed(
            f"log {log.name!r} could not be written ({error.strerror or error}): "
            "nothing of this was acknowledged"
        )

    async def _sync_regularly(self) -> None:
        """Sync what was written without it, until nothing is left."""
        while self._unsynced:
            await asyncio.sleep(self._sync_interval)
            await self._sync_now()
        self._syncing = None

    async def _sync_now(self) -> None:
        logs, self._unsynced = self._unsynced, set()
        await asyncio.gather(*(self._sync_log(log) for log in logs))

    async def _sync_log(self, log: Log) -> None:
        length = log.length
        try:
            await self._in_thread(logfile.sync, self._disk, self.path(log))
            log.synced = length
        except (Unsynced, OSError) as error:
            log.unsound = True
            logger.error("log %s: a sync failed: %s", log.name, error)

    async def _in_thread(self, work: Callable[..., T], *args: object) -> T:
        return await wrap(work)(*args, executor=self._threads)

    async def close(self) -> None:
        """Take no more batches, commit what is pending, sync, and end the threads."""
        self._closing = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._syncing:
            self._syncing.cancel()
        await self._sync_now()
        self._threads.shutdown()


def _pieces(group: list[Pending]) -> Iterator[bytes]:
    """The lines of a group, with the ids that the hub gives filled in, in large pieces."""
    piece: list[bytes] = []
    size = 0
    for each in group:
        for chunk in _filled(each):
            piece.append(chunk)
            size += len(chunk)
            if size >= GROUP_BYTES:
                yield b"".join(piece)
                piece.clear()
                size = 0
    if piece:
        yield b"".join(piece)


def _filled(pending: Pending) -> Iterable[bytes]:
    if not pending.first_time:
        return pending.chunks
    return _fill(pending.chunks, pending.first_time)


def _fill(chunks: list[bytes], next_time: int) -> Iterator[bytes]:
    for chunk in chunks:
        filled, next_time = fill_ids(chunk, next_time)
        yield filled
