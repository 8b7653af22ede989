"""Gives positions: the one order over all logs, and its way into the index.

Owns which event comes next in the global order, and when the index knows. A
position is given to what is durable already, in the event loop, so that there
are no gaps. It may be told to who wrote the event once the journal has it, which
`secure` waits for, and to readers once the index has it, which `settle` waits
for. What no reader waits for comes into the index in larger transactions a little
later. While there is no index no position is given. Must not know who reads.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path

from msgspec import structs

from hub.document import Keys
from hub.errors import IndexFailed
from hub.storage.index import Index, is_damage
from hub.storage.indexthread import IndexThread
from hub.storage.journal import Journal, Record
from hub.storage.log import Committed, Log
from hub.storage.logfile import Disk
from hub.storage.ordering import Stretch
from hub.storage.promises import Promises
from hub.storage.runs import Runs, Taken

LAZY_SECONDS = 0.2
"""How long positions that nobody waits for stay out of the index."""

HELD_BYTES = 4 * 1024 * 1024
"""Bytes of lines held for the index; of what comes beyond, the file is read again."""

RETRY_SECONDS = 0.5
"""Before the index is tried again after it could not be written."""

QUEUED = 4096
"""Groups that wait for an index that fails; with more of them the index is attached anew later."""

INLINE_RUNS = 64
INLINE_BYTES = 256 * 1024
"""What is written without a thread where nothing has to be synced."""

logger = logging.getLogger(__name__)


class Sequencer:
    """The positions of one events directory. Its index may be used in its thread only."""

    def __init__(
        self,
        index: Index,
        journal: Journal,
        disk: Disk,
        path: Callable[[Log], Path],
        keys: Keys,
        *,
        sync: bool,
    ) -> None:
        self._index = index
        self._runs = Runs(index, disk, path, keys, sync=sync)
        self._sync = sync
        self.head = 0  # position of the last event
        self.indexed = 0  # the same, as far as the index knows
        self._promises = Promises(journal, lambda: self.indexed, self._given, sync=sync)
        self._absent = True  # no index: what comes is passed over, or waits until there is one
        self._waiting: list[Committed] | None = None
        self._followers = 0  # readers of the global order that want to be told at once
        self.on_indexed: list[Callable[[], None]] = []
        self.numbered: dict[int, Log] = {}  # every log that has a number
        self._next_number = 1
        self._new: list[Log] = []
        self._queue: list[Taken] = []
        self._writing: list[Taken] = []  # on its way into the index
        self._held = 0
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._thread = IndexThread(index)
        self.in_thread = self._thread.do
        self._failing = False
        self.condemned = False  # the index was found to be damaged
        self._closing = asyncio.Event()

    def load(self, numbered: dict[int, Log], highest: int) -> None:
        """Take over what the index knows: the logs, and the end of the order.

        `highest` is the highest number that a log has or had. Raises `sqlite3.Error`.
        """
        self.numbered = numbered
        self._new = []
        self._next_number = highest + 1
        self.head = self.indexed = self._runs.load()

    @property
    def absent(self) -> bool:
        """Whether there is no index, and so no positions."""
        return self._absent

    async def hold(self) -> None:
        """From when this returns on what comes waits for `release`: all before will be adopted."""
        await self._promises.forget()
        self._waiting = []  # last: what came meanwhile is found in its log

    def release(self, *, absent: bool) -> None:
        """Go on giving positions, or without them, as always with a condemned index."""
        waiting, self._waiting = self._waiting or [], None
        self._absent = absent or self.condemned
        if not self._absent:
            for each in waiting:
                self.take(each)
            self._tell()

    def take(self, commit: Committed) -> int:
        """Give a group the next positions; returns that of its first event, 0 if it has none."""
        if self._absent:
            if self._waiting is not None:  # for long perhaps: without its lines
                self._waiting.append(structs.replace(commit, lines=None))
            return 0
        log = commit.log
        position = self.head + 1
        self.head += commit.count
        lines = commit.lines
        if lines is not None:
            self._held += len(lines)
            if self._held > HELD_BYTES:
                lines = None
        if not log.number:
            self._number(log)
        self._queue.append(
            Taken(position, log, commit.revision, commit.start, commit.end, commit.count, lines)
        )
        if self._failing and len(self._queue) > QUEUED:
            self._give_up()
            return 0
        if self._followers or self._held > HELD_BYTES:
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
        if self._absent or position == 0:
            raise _failed("there is none")
        if self.indexed >= wanted:
            return
        if self._closing.is_set():
            raise _failed("the hub is shutting down")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiters.append((wanted, done))
        if self._sync:
            self._begin()
        elif len(self._waiters) == 1:
            loop.call_soon(self._write_soon)  # with all that others wait for by then
        await done

    def secure_now(self, position: int) -> bool:
        """Make a position outlast a crash, if that takes no waiting; else `secure` does it."""
        return position > 0 and not self._absent and self._promises.keep_now(position)

    async def secure(self, position: int) -> None:
        """Wait until a position outlasts a crash. Cancelling is safe; raises as `settle` does."""
        if self._absent or position == 0:
            raise _failed("there is none")
        if not await self._promises.keep(position):
            await self.settle(position)

    def _given(self, after: int) -> list[Record]:
        """What has positions behind `after`, which a group ends with, and is not in the index."""
        found: list[Record] = []
        for each in chain(reversed(self._queue), reversed(self._writing)):
            if each.position <= after:
                break
            found.append(Record(each.position, each.revision, each.count, each.log.name))
        found.reverse()
        return found

    def check(self) -> None:
        """Raise `IndexFailed` while no position can be told: nothing that needs one may begin."""
        if self._absent or self._failing:
            raise IndexFailed("the index cannot be used just now: nothing of this was stored")

    def follow(self, on: bool) -> None:
        """Count a reader who wants to be told of positions at once, or count him no more."""
        self._followers += 1 if on else -1
        if on:
            self._begin()

    def _write_soon(self) -> None:
        """Write the queue at once if that is quick, else in the thread."""
        idle = self._task is None and not self._thread.busy and not self._closing.is_set()
        if not (idle and self._queue and self._is_quick()):
            self._begin()
            return
        new, queue = self._pop()
        try:
            self._runs.write(new, queue, wait=False)
        except Exception:  # what is wrong will be seen again
            self._push(new, queue)
            self._begin()
        else:
            self._written(queue)

    def _is_quick(self) -> bool:
        lines = [each.lines for each in self._queue]
        return len(lines) <= INLINE_RUNS and all(lines) and self._held <= INLINE_BYTES

    def _begin(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._task is None and self._queue and not self._closing.is_set():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Write the queue, as long as somebody waits for it."""
        try:
            while self._queue:
                new, queue = self._pop()
                try:
                    await self.in_thread(self._runs.write, new, queue)
                except Exception as error:
                    if queue is self._writing:  # else it was given up: attaching sees to them
                        self._push(new, queue)
                        self._fail(error)
                        with suppress(TimeoutError):
                            await asyncio.wait_for(self._closing.wait(), RETRY_SECONDS)
                else:
                    self._written(queue)
                if self._closing.is_set() or not (self._waiters or self._followers):
                    break
        finally:
            self._task = None
            if self._queue and not self._closing.is_set():
                self._timer = asyncio.get_running_loop().call_later(LAZY_SECONDS, self._begin)

    def _pop(self) -> tuple[list[Log], list[Taken]]:
        new, self._writing = self._new, self._queue
        self._new, self._queue, self._held = [], [], 0
        return new, self._writing

    def _push(self, new: list[Log], queue: list[Taken]) -> None:
        """Put back what could not be written, without its lines."""
        for each in queue:
            each.lines = None
        self._new[:0], self._queue[:0] = new, queue
        self._writing = []

    def _written(self, queue: list[Taken]) -> None:
        if queue is not self._writing:  # it was given up meanwhile
            return
        self.indexed = queue[-1].last
        self._writing = []
        if self._failing:
            self._failing = False
            logger.warning("the index can be written again")
        waiting: list[tuple[int, asyncio.Future[None]]] = []
        for wanted, done in self._waiters:
            if wanted > self.indexed:
                waiting.append((wanted, done))
            elif not done.done():
                done.set_result(None)
        self._waiters = waiting
        self._tell()
        self._thread.tidy()

    def _tell(self) -> None:
        for each in self.on_indexed:
            try:
                each()
            except Exception:  # the positions are there all the same
                logger.exception("new positions could not be told")

    def _fail(self, error: Exception) -> None:
        if not self._failing:  # said once, and not again twice a second
            self._failing = True
            logger.error("the index could not be written: %r", error)
        self._refuse(str(error))
        if isinstance(error, sqlite3.IntegrityError):
            self._give_up()  # it has other positions than were given here: attaching goes by it
        elif is_damage(error):
            self.condemn()

    def condemn(self) -> None:
        """Do without positions until the next start, which makes the index anew: it is damaged."""
        if not self.condemned:
            self.condemned = True
            self._index.condemn()
            logger.error("the index is damaged: there are no positions until the next start")
            self._give_up()

    def _give_up(self) -> None:
        """Do without positions: what has none gets one when an index is attached."""
        self._absent = True
        self._failing = False
        self._pop()
        self._writing = []
        self._refuse("it was given up for now")

    def _refuse(self, reason: str) -> None:
        waiters, self._waiters = self._waiters, []
        for _, done in waiters:
            if not done.done():
                done.set_exception(_failed(reason))

    async def close(self) -> None:
        """Write what is left, and end the thread."""
        self._closing.set()
        if self._timer:
            self._timer.cancel()
        if self._task:
            await asyncio.wait([self._task])
        if self._queue:
            new, queue = self._pop()
            try:
                await self.in_thread(self._runs.write, new, queue)
            except Exception as error:
                logger.error("the index lacks the last positions: %r", error)
            else:
                self._written(queue)
        self._refuse("the hub is shutting down")
        await self._thread.close()
        await self._promises.close()

    # From here on at opening, or in the index's thread while there are no positions.

    def adopt(self, stretches: Iterable[Stretch]) -> None:
        """Give positions to events that have none. Raises as the index and the files do."""
        queue: list[Taken] = []
        held = 0
        for each in stretches:
            log = each.log
            if not log.number:
                self._number(log)
            end = each.start + len(each.lines)
            position = each.position or self.head + 1
            self.head = position + each.count - 1
            queue.append(
                Taken(position, log, each.revision, each.start, end, each.count, each.lines)
            )
            held += len(each.lines)
            if held > HELD_BYTES:
                self._adopt(queue)
                queue, held = [], 0
        if queue:
            self._adopt(queue)

    def skip(self, last: int) -> None:
        """Give no position up to `last` again. Raises `sqlite3.Error`."""
        if last > self.head:
            self._index.skip(last)
            self.head = self.indexed = self._runs.load()

    def _adopt(self, queue: list[Taken]) -> None:
        new, self._new = self._new, []
        self._runs.write(new, queue)
        self.indexed = self.head
        if self._index.is_long():  # else one who closes it soon has much to wait for
            self._index.checkpoint()


def _failed(reason: str) -> IndexFailed:
    return IndexFailed(
        f"the index cannot be used ({reason}): events are stored, but their positions "
        "are not known yet"
    )
