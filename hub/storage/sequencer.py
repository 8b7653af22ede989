"""Gives positions: the one order over all logs, and its way into the index.

Owns which event comes next in the global order, and when the index knows. A
position is given to what is durable already, in the event loop, so that there
are no gaps; it may be told once the index has it, which `settle` waits for.
What nobody waits for is written in larger transactions a little later: a crash
before that loses only positions that nobody was told. Must not know who reads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from aiofiles.os import wrap
from msgspec import Struct

from hub.document import Keys
from hub.errors import IndexFailed
from hub.storage.index import Additions, Entry, Index, Run
from hub.storage.log import Committed, Log
from hub.storage.logfile import Disk, opened
from hub.storage.ordering import Stretch
from hub.storage.search import Reader
from hub.storage.terms import terms_of

RUN_EVENTS = 256
"""Events in a run, at most: what has to be looked through for one of them."""

RUN_BYTES = 64 * 1024
"""Bytes of a run above which it takes no more events."""

LAZY_SECONDS = 0.2
"""How long positions that nobody waits for stay out of the index."""

HELD_BYTES = 4 * 1024 * 1024
"""Bytes of lines held for the index; of what comes beyond, the file is read again."""

RETRY_SECONDS = 0.5
"""Before the index is tried again after it could not be written."""

INLINE_RUNS = 64
"""Runs that are written without a thread where nothing has to be synced."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Taken(Struct):
    """A group that has its positions, on its way into the index."""

    position: int
    log: Log
    revision: int
    start: int
    end: int
    count: int
    lines: bytes | None


class Sequencer:
    """The positions of one events directory."""

    def __init__(
        self, index: Index, disk: Disk, path: Callable[[Log], Path], keys: Keys, *, sync: bool
    ) -> None:
        self._index = index
        self._disk = disk
        self._path = path
        self._keys = keys
        self._sync = sync
        self.head = 0  # position of the last event
        self.indexed = 0  # the same, as far as the index knows
        self._followers = 0  # readers of the global order that want to be told at once
        self.on_indexed: list[Callable[[], None]] = []
        self.numbered: dict[int, Log] = {}  # every log that has a number
        self._next_number = 1
        self._new: list[Log] = []
        self._queue: list[Taken] = []
        self._held = 0
        self._last: Run | None = None
        self._posted_for = 0  # the last run, of which these terms have been written
        self._posted: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub-index")
        self._busy = 0  # works of the thread under way
        self._closing = False

    def load(self, highest_number: int) -> None:
        """Take over what the index knows; before anything else."""
        self._next_number = highest_number + 1
        self._last = self._index.last_run()
        self.head = self.indexed = self._last.last if self._last else 0

    def take(self, commit: Committed) -> int:
        """Give a group the next positions; returns that of its first event."""
        log = commit.log
        position = self.head + 1
        self.head += commit.count
        lines = commit.lines
        if lines is not None:
            if self._held + len(lines) > HELD_BYTES:
                lines = None
            else:
                self._held += len(lines)
        if not log.number:
            self._number(log)
        self._queue.append(
            Taken(position, log, commit.revision, commit.start, commit.end, commit.count, lines)
        )
        if self._followers:
            self._begin()
        elif self._timer is None and self._task is None:
            self._timer = asyncio.get_running_loop().call_later(LAZY_SECONDS, self._begin)
        return position

    def _number(self, log: Log) -> None:
        log.number = self._next_number
        self._next_number += 1
        self.numbered[log.number] = log
        self._new.append(log)

    async def settle(self, position: int | None = None) -> None:
        """Wait until the index has every position given so far, or up to `position`.

        Cancelling is safe. Raises `IndexFailed` if the index cannot be written;
        the events are stored all the same.
        """
        wanted = self.head if position is None else position
        if self.indexed >= wanted:
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiters.append((wanted, done))
        if self._sync:
            self._begin()
        elif len(self._waiters) == 1:
            loop.call_soon(self._write_soon)  # with all that others wait for by then
        await done

    def follow(self, on: bool) -> None:
        """Count a reader who wants to be told of positions at once, or count him no more."""
        self._followers += 1 if on else -1
        if on:
            self._begin()

    def _write_soon(self) -> None:
        """Write the queue at once if that is quick, else in the thread."""
        idle = self._task is None and not self._busy
        quick = len(self._queue) <= INLINE_RUNS and all(each.lines for each in self._queue)
        if not (idle and quick and self._queue):
            self._begin()
            return
        batch = self._pop()
        try:
            self._write(*batch)
        except sqlite3.Error:
            self._push(*batch)
            self._begin()
        else:
            self._written(batch[1])

    def _begin(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._task is None and self._queue and not self._closing:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._queue:
                batch = self._pop()
                try:
                    await self.in_thread(self._write, *batch)
                except (sqlite3.Error, OSError) as error:
                    self._push(*batch)
                    self._fail(error)
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    self._written(batch[1])
                if self._closing or not (self._waiters or self._followers):
                    break
        finally:
            self._task = None
            if self._queue and not self._closing:
                self._timer = asyncio.get_running_loop().call_later(LAZY_SECONDS, self._begin)

    def _pop(self) -> tuple[list[Log], list[Taken]]:
        batch = self._new, self._queue
        self._new, self._queue, self._held = [], [], 0
        return batch

    def _push(self, new: list[Log], queue: list[Taken]) -> None:
        """Put back what could not be written, without its lines."""
        for each in queue:
            each.lines = None
        self._new[:0], self._queue[:0] = new, queue

    def _written(self, queue: list[Taken]) -> None:
        if queue:
            self.indexed = queue[-1].position + queue[-1].count - 1
        waiting: list[tuple[int, asyncio.Future[None]]] = []
        for wanted, done in self._waiters:
            if wanted > self.indexed:
                waiting.append((wanted, done))
            elif not done.done():
                done.set_result(None)
        self._waiters = waiting
        for each in self.on_indexed:
            each()

    def _fail(self, error: Exception) -> None:
        logger.error("the index could not be written: %s", error)
        for _, done in self._waiters:
            if not done.done():
                done.set_exception(
                    IndexFailed(
                        f"the index could not be written ({error}): the events are stored, "
                        "but their positions are not known yet"
                    )
                )
        self._waiters = []

    async def in_thread(self, work: Callable[..., T], *args: object) -> T:
        """Do something with the index, on its one thread."""
        self._busy += 1
        try:
            return await wrap(work)(*args, executor=self._thread)
        finally:
            self._busy -= 1

    async def close(self) -> None:
        """Write what is left, and end the thread."""
        self._closing = True
        if self._timer:
            self._timer.cancel()
        if self._task:
            await self._task
        if self._queue:
            try:
                await self.in_thread(self._write, *self._pop())
            except (sqlite3.Error, OSError) as error:
                logger.error("the index lacks the last positions: %s", error)
        self._fail_waiters_at_close()
        self._thread.shutdown()

    def _fail_waiters_at_close(self) -> None:
        for _, done in self._waiters:
            if not done.done():
                done.set_exception(IndexFailed("the hub is shutting down"))
        self._waiters = []

    # From here on in the index's thread, at opening, or at once if nothing has to be synced.

    def adopt(self, stretches: Iterable[Stretch]) -> None:
        """Give positions to events that have none; before the hub takes others."""
        queue: list[Taken] = []
        held = 0
        for each in stretches:
            log = each.log
            if not log.number:
                self._number(log)
            end = each.start + len(each.lines)
            position, self.head = self.head + 1, self.head + each.count
            queue.append(
                Taken(position, log, each.revision, each.start, end, each.count, each.lines)
            )
            held += len(each.lines)
            if held > HELD_BYTES:
                self._adopt(queue)
                queue, held = [], 0
        self._adopt(queue)

    def _adopt(self, queue: list[Taken]) -> None:
        new, self._new = self._new, []
        self._write(new, queue)
        self.indexed = self.head

    def _write(self, new: list[Log], queue: list[Taken]) -> None:
        additions = Additions([_entry(log) for log in new], None, [], [])
        last = self._last
        for each in queue:
            for offset, lines in self._pieces(each):
                last = self._extend(additions, each, last, offset, lines)
        try:
            self._index.add(additions, sync=self._sync)
        except BaseException:
            self._posted_for = 0
            raise
        self._last = last

    def _pieces(self, taken: Taken) -> Iterator[tuple[int, bytes]]:
        if taken.lines is not None:
            yield taken.start, taken.lines
            return
        flags = os.O_RDONLY
        with opened(self._disk, self._path(taken.log), flags) as fd:
            yield from Reader(self._disk, fd, taken.end, False).blocks(taken.start)

    def _extend(
        self, additions: Additions, taken: Taken, last: Run | None, offset: int, lines: bytes
    ) -> Run | None:
        """Add whole lines that begin at `offset` to the order, behind the run `last`."""
        log = taken.log
        each = lines.split(b"\n")
        each.pop()
        for part in _parts(each):
            size = sum(map(len, part)) + len(part)
            checksum = last.checksum if last and _grows(last, log, offset, part, size) else 0
            text = b"\n".join(part) + b"\n" if len(part) < len(each) else lines
            checksum = zlib.crc32(text, checksum)
            if last and _grows(last, log, offset, part, size):
                grown = Run(
                    last.position,
                    last.log,
                    last.revision,
                    last.offset,
                    last.count + len(part),
                    last.size + size,
                    checksum,
                )
                if additions.runs:
                    additions.runs[-1] = grown
                else:
                    additions.grown = grown
                last = grown
            else:
                before = offset - taken.start
                done = 0 if not before else self._done(additions, taken)
                last = Run(
                    taken.position + done,
                    log.number,
                    taken.revision + done,
                    offset,
                    len(part),
                    size,
                    checksum,
                )
                additions.runs.append(last)
            terms = terms_of(part, log.format, self._keys)
            if last.position != self._posted_for:
                self._posted_for, self._posted = last.position, set()
            additions.postings += [(term, last.position) for term in terms - self._posted]
            self._posted |= terms
            offset += size
        return last

    @staticmethod
    def _done(additions: Additions, taken: Taken) -> int:
        """How many events of a group have a run already."""
        last = additions.runs[-1] if additions.runs else additions.grown
        assert last is not None  # noqa: S101 - it has the lines before these
        return last.revision + last.count - taken.revision


def _grows(last: Run, log: Log, offset: int, part: list[bytes], size: int) -> bool:
    """Whether lines can join the last run."""
    return (
        last.log == log.number
        and last.offset + last.size == offset
        and last.count + len(part) <= RUN_EVENTS
        and last.size + size <= RUN_BYTES
    )


def _parts(lines: list[bytes]) -> Iterable[list[bytes]]:
    """Lines in parts that fit into a run."""
    if len(lines) == 1:
        yield lines
        return
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and (len(part) >= RUN_EVENTS or size + len(line) > RUN_BYTES):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line) + 1
    if part:
        yield part


def _entry(log: Log) -> Entry:
    """A new log, of which the index does not know anything yet but its number."""
    return Entry(log.number, log.name, log.format, 0, 0, 0, "", 0, True)
