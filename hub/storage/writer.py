"""Commits batches to logs: one writer task per active log, and group commit.

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
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import structs

from hub.document import Draft
from hub.errors import (
    Closing,
    DiskFull,
    HubError,
    LogDamaged,
    LogUnavailable,
    StreamClosed,
    WriteFailed,
)
from hub.event import IdOrder, file_name
from hub.formats import Batch
from hub.options import Durability
from hub.storage.directory import HUB_DIRECTORY, TORN
from hub.storage.eager import start
from hub.storage.group import Entry, Receipt, enter
from hub.storage.groupfiles import GroupFiles
from hub.storage.log import Committed, Earlier, Guard, Log, Pending, Tell, tell
from hub.storage.logfile import Disk, FileChanged, Unsynced
from hub.storage.recovery import Scan, scan
from hub.storage.syncing import RegularSync

EARLIER_SECONDS = 0.001
"""Between two looks at whether a batch that must have its position before has it."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

logger = logging.getLogger(__name__)


class Writer:
    """Commits to all logs of one directory, on threads of its own."""

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        durability: Durability,
        sync_interval: float,
        sequence: Callable[[Committed], int],
        committed: Callable[[Committed], None],
        clock: Callable[[], int] = time.time_ns,
        unmade: Callable[[Log], None] = lambda log: None,
        forming: Callable[[Log, Entry, Guard | None], Iterable[Earlier]] = lambda *_: (),
    ) -> None:
        self._directory = directory
        self._disk = disk
        torn = directory / HUB_DIRECTORY / TORN
        self._files = GroupFiles(disk, self.path, torn, sync=durability is Durability.ALWAYS)
        self._durability = durability
        self._sync = durability is Durability.ALWAYS
        self._sequence = sequence  # gives a group its place in the global order, 0: none
        self._committed = committed
        self._clock = clock
        self._unmade = unmade  # told of a log whose file could not be made
        self._forming = forming  # told of every batch that has its place, before it is written
        self.active: set[Log] = set()  # with a group on its way into the file
        self._soon: list[Log] = []  # whose writer tasks begin in the next turn of the loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._syncing = RegularSync(disk, self.path, sync_interval, self._files.threads, self._mend)
        self._closing = asyncio.Event()

    def path(self, log: Log) -> Path:
        """The file of a log."""
        return self._directory / file_name(log.name, log.format)

    def submit(
        self, log: Log, batch: Batch | Draft, guard: Guard | None = None, tell: Tell = tell
    ) -> asyncio.Future[Receipt]:
        """Queue the batch; when it is as durable as promised, `tell` ends the future.

        The future ends with a `LogUnavailable` if it cannot be stored, or with
        what `guard` says when it refuses; then none of it is. Cancelling it is
        safe: the batch is committed or not, whole.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Receipt] = loop.create_future()
        if self._closing.is_set():
            done.set_exception(Closing("the hub is shutting down"))
            return done
        if log.damage:
            done.set_exception(LogDamaged(f"log {log.name!r} takes no writes: {log.damage}"))
            return done
        if log.closed:
            done.set_exception(StreamClosed(f"stream {log.name!r} is closed: it takes no events"))
            return done
        pending = Pending(batch, done, guard, tell)
        if log.pending is None:
            log.pending = [pending]
            if not self._soon:
                loop.call_soon(self._drain_all)  # with what else comes until then
            self._soon.append(log)
        else:
            log.pending.append(pending)
        return done

    async def settle(self, log: Log) -> None:
        """Wait until nothing is pending on a log. Cancelling is safe."""
        while log.pending is not None:
            if self._tasks and log not in self._soon:
                await asyncio.wait(tuple(self._tasks), return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)

    async def make(self, log: Log) -> None:
        """Make the file of a new log, empty. Raises `LogUnavailable`."""
        if log.pending is not None or log.made:
            return  # whoever writes to it makes it
        try:
            await self._alone(log, self._files.make(log))
        except OSError as error:
            raise self._failed(log, error) from error

    async def sync(self, log: Log) -> None:
        """Put on disk what a sealed log has, and its name, whatever else is promised.

        Raises `OSError`, `LogDamaged`.
        """
        await self.settle(log)
        try:
            await self._alone(log, self._files.sync(log))
        except Unsynced as failure:
            self._distrust(log)
            raise failure.cause from failure

    async def look(self, log: Log) -> None:
        """Take in what somebody appended by hand, unless the log is being written.

        Cancelling is safe. What is wrong with the lines is logged, and told to
        the next writer.
        """
        if log.unsound:
            return  # what is too much in the file may be a write that was refused
        if log.pending is None and not log.damage and not self._closing.is_set():
            await self._alone(log, self._look(log))

    def _drain_all(self) -> None:
        logs, self._soon = self._soon, []
        for log in logs:
            rest = start(self._drain(log))
            if rest:  # else it needed no thread, and so no task
                self._begin(rest)

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to who waits, if anybody does

    async def _alone(self, log: Log, work: Coroutine[None, None, None]) -> None:
        """Do something to a log that nothing is pending on, as its writer task; to the end."""
        log.pending = []
        await asyncio.shield(self._begin(self._and_drain(log, work)))

    async def _and_drain(self, log: Log, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        finally:
            await self._drain(log)

    async def _look(self, log: Log) -> None:
        path = self.path(log)
        try:
            if not log.made:
                await self._files.make(log)
            size = (await self._files.in_thread(path.stat)).st_size
            if size != log.length:
                await self._take_in(log, size)
        except (OSError, HubError) as error:
            logger.debug("log %s: %s", log.name, error)  # damage has been logged

    async def _drain(self, log: Log) -> None:
        """The log's writer task: commit groups until nothing is pending."""
        begins = True
        while log.pending:
            group, log.pending = log.pending, []
            if group[0].guard and group[0].guard.turn and not await self._take_turn(log, group):
                continue
            try:
                self._files.begin(log, begins=begins)
                begins = False
                await self._commit(log, group)
            except HubError as error:
                self._fail(log, group, error)
            except Exception as error:
                log.uncut = True  # nobody knows what was written: cut back first
                self._distrust(log)
                logger.exception("log %s: a write broke off", log.name)
                self._fail(log, group, WriteFailed(f"the write broke off: {error!r}"))
        self._files.end(log)
        log.pending = None
        if not log.made:
            self._unmade(log)

    async def _take_turn(self, log: Log, group: list[Pending]) -> bool:
        """Whether the first of a group may get its place now, alone."""
        self._put_back(log, group, 1)
        (first,) = group
        try:
            if first.guard and first.guard.turn:
                await first.guard.turn(log)
        except Exception as error:
            if not first.done.done():
                first.done.set_exception(error)
            return False
        return True

    def _put_back(self, log: Log, group: list[Pending], start: int) -> None:
        log.pending = [*group[start:], *(log.pending or ())]
        del group[start:]

    def _fail(self, log: Log, group: list[Pending], error: HubError) -> None:
        # What came behind was checked against events that never came.
        group += log.pending or ()
        log.pending = []
        for each in group:
            if not each.done.done():
                each.done.set_exception(error)

    async def _commit(self, log: Log, group: list[Pending]) -> None:
        began = time.perf_counter()
        try:
            while True:
                order = structs.replace(log.order)
                accepted, refused, earlier = self._form(log, order, group)
                if not accepted:
                    break
                try:
                    end, lines = await self._files.write(log, log.forming)
                    break
                except FileChanged as change:
                    await self._take_in(log, change.size)
                except Unsynced as failure:
                    log.uncut = log.uncut or failure.uncut
                    self._distrust(log)
                    raise self._failed(log, failure.cause) from failure
                except OSError as error:
                    raise self._failed(log, error) from error
            if accepted:
                for each in earlier:
                    while each.is_under_way():  # noqa: ASYNC110 - this is rare, and soon over
                        await asyncio.sleep(EARLIER_SECONDS)
                self._succeed(log, accepted, end, lines, order, began)
        finally:
            log.forming = []
            self.active.discard(log)
        for pending, refusal in refused:
            if not pending.done.done():
                pending.done.set_exception(refusal)

    def _form(
        self, log: Log, order: IdOrder, group: list[Pending]
    ) -> tuple[list[Pending], list[tuple[Pending, HubError]], list[Earlier]]:
        """Give each batch its ids and revisions, unless its guard refuses: one synchronous step.

        Also returns what must have its position before.
        """
        version = log.version
        log.forming = []
        self.active.add(log)
        accepted: list[Pending] = []
        refused: list[tuple[Pending, HubError]] = []
        earlier: list[Earlier] = []
        for each in group:
            if each.guard:
                if each.guard.turn and each is not group[0]:
                    self._put_back(log, group, len(accepted) + len(refused))
                    break
                error = each.guard.refusal(log.name, version)
                if error:
                    refused.append((each, error))
                    continue
            entry = enter(log.name, log.format, version, order, each.batch, self._clock)
            log.forming.append(entry)
            accepted.append(each)
            version += entry.receipt.count
            earlier += self._forming(log, entry, each.guard)
        return accepted, refused, earlier

    def _succeed(
        self,
        log: Log,
        group: list[Pending],
        end: int,
        lines: bytes | None,
        order: IdOrder,
        began: float,
    ) -> None:
        entries = log.forming
        count = sum([each.receipt.count for each in entries])
        version = log.version
        start = self._advance(log, end, count, entries[-1].receipt.last_id, order)
        if self._sync:
            log.synced, log.synced_version = end, log.version
        seconds = time.perf_counter() - began
        commit = Committed(log, start, end, count, version + 1, lines, seconds)
        first = self._sequence(commit)
        for each, entry in zip(group, entries, strict=True):
            receipt = entry.receipt
            if first:
                receipt.position = first + receipt.version - version + receipt.count - 1
            each.tell(each.done, receipt)
        self._committed(commit)

    def _advance(self, log: Log, end: int, count: int, last_id: str, order: IdOrder) -> int:
        start = log.length
        log.length = end
        log.version += count
        log.last_id = last_id
        log.order = order
        if self._durability is Durability.INTERVAL:
            self._syncing.add(log)
        return start

    async def _take_in(self, log: Log, size: int) -> None:
        """Make events of lines that somebody appended by hand while the hub was running."""
        known = Scan(log.length, log.version, log.last_id, structs.replace(log.order))
        if size < log.length:
            known.damage = f"the file has {size} bytes, but {log.length} were acknowledged"
        else:
            try:
                await self._files.in_thread(
                    scan, self._disk, self.path(log), known, None, log.format
                )
            except OSError as error:
                raise self._failed(log, error) from error
        count = known.version - log.version
        if count:
            revision = log.version + 1
            start = self._advance(log, known.length, count, known.last_id, known.order)
            commit = Committed(log, start, known.length, count, revision, None, 0.0, by_hand=True)
            self._sequence(commit)
            self._committed(commit)
            logger.info("log %s: took in %d lines appended by hand", log.name, count)
        if known.damage:
            log.damage = known.damage
            logger.error("log %s takes no writes: %s", log.name, log.damage)
            raise LogDamaged(f"log {log.name!r} takes no writes: {log.damage}")
        if known.torn:
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

    def _distrust(self, log: Log) -> None:
        """Let a log be reopened before the next write, and soon: lines by hand wait for it."""
        log.unsound = True
        self._syncing.add(log)

    async def _mend(self, log: Log) -> None:
        """Reopen a log whose sync failed. While somebody writes to it, he will do it."""
        if log.pending is None:
            with suppress(OSError, LogDamaged):  # damage has been logged
                await self._alone(log, self._files.reopen(log))

    async def close(self) -> None:
        """Take no more batches, commit what is pending, sync, and end the threads."""
        self._closing.set()
        while self._soon or self._tasks:
            await (asyncio.wait(self._tasks) if self._tasks else asyncio.sleep(0))
        await self._syncing.close()
        self._files.close()
