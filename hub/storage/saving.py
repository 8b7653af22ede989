"""Saves what is known of logs in the index, so that the next start need not read them.

Owns when that is done. A row says that all events of its log have positions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import structs

from hub.errors import IndexFailed
from hub.event import file_name
from hub.storage.index import Entry, Index
from hub.storage.log import Log
from hub.storage.sequencer import Sequencer

SAVE_INTERVAL = 5.0
"""Seconds between two savings: what a crash makes us read again."""

SAVED_AT_ONCE = 5000
"""Logs written to the index in one transaction."""


class Saver:
    """Saves logs regularly, from `start` to `close`."""

    def __init__(self, index: Index, sequencer: Sequencer, directory: Path) -> None:
        self.changed: set[Log] = set()
        self._index = index
        self._sequencer = sequencer
        self._directory = directory
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, attach: Callable[[], Awaitable[None]]) -> None:
        """Begin; `attach` is called now and then while there is no index."""
        self._task = asyncio.get_running_loop().create_task(self._run(attach))

    async def close(self) -> None:
        """Save once more, and end."""
        self._closing.set()
        if self._task:
            await self._task

    async def _run(self, attach: Callable[[], Awaitable[None]]) -> None:
        last = False
        while not last:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), SAVE_INTERVAL)
            last = self._closing.is_set()
            if self._sequencer.absent and not self._sequencer.condemned and not last:
                await attach()
            await self._save_changed()

    async def _save_changed(self) -> None:
        changed, self.changed = list(self.changed), set()
        for at in range(0, len(changed), SAVED_AT_ONCE):
            entries = [_entry(log) for log in changed[at : at + SAVED_AT_ONCE]]
            try:
                await self._sequencer.settle()
                await self._sequencer.in_thread(self._save, entries)
            except IndexFailed:
                self.changed.update(changed[at:])
                break

    def save(self, logs: Iterable[Log]) -> None:
        """At opening: save logs that have all their positions."""
        self._save(map(_entry, logs))

    def _save(self, entries: Iterable[Entry | None]) -> None:
        self._index.save([dated for each in entries if each and (dated := self._dated(each))])

    def _dated(self, entry: Entry) -> Entry | None:
        """The row with its file's modification time, unless the file has gone on."""
        try:
            stat = os.stat(f"{self._directory}/{file_name(entry.name, entry.format)}")
        except OSError:
            return None  # it is gone, or will be read again
        # If it has, the commit that is under way puts it on the list again.
        if stat.st_size != entry.length:
            return None
        return structs.replace(entry, modified=stat.st_mtime_ns)


def _entry(log: Log) -> Entry | None:
    """What is known of a log, as a row of the index; None if it must be read again."""
    if not log.made or not log.number or log.damage:
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
