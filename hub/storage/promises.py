"""Makes positions outlast a crash before the index has them: then they may be told.

Owns when what goes into the order journal, and who waits for it. Positions that
were asked for while others were synced go into the next append together. Must
not know who gives positions nor what becomes of them in the index.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hub.storage.journal import Journal, Record

logger = logging.getLogger(__name__)


class Promises:
    """The positions that the journal keeps.

    `indexed` tells how far the index stands by itself, `given` the records of
    all behind a position, as far as they are known.
    """

    def __init__(
        self,
        journal: Journal,
        indexed: Callable[[], int],
        given: Callable[[int], list[Record]],
        *,
        sync: bool,
    ) -> None:
        self._journal = journal
        self._indexed = indexed
        self._given = given
        self._sync = sync
        self._kept = 0  # the last position that the journal has
        self._task: asyncio.Task[bool] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub-journal")
        self._failing = False

    def keep_now(self, position: int) -> bool:
        """Whether a position outlasts a crash, without waiting for a sync."""
        if self._kept >= position or self._indexed() >= position:
            return True
        if self._sync:
            return False
        records = self._records(position)
        return bool(records) and self._append(records)

    async def keep(self, position: int) -> bool:
        """Wait until a position outlasts a crash; False if only the index can see to that.

        Cancelling is safe.
        """
        while not self.keep_now(position):
            if not self._sync:
                return False
            if self._task is None:
                records = self._records(position)
                if not records:
                    return False
                self._task = asyncio.get_running_loop().create_task(self._append_in_thread(records))
            if not await asyncio.shield(self._task):
                return False
        return True

    def _records(self, position: int) -> list[Record]:
        """What the journal lacks; nothing if that does not reach to a position."""
        records = self._given(max(self._kept, self._indexed()))
        return records if records and records[-1].last >= position else []

    async def forget(self) -> None:
        """Let what is on its way into the journal end, and begin anew: it will be cleared."""
        if self._task:
            await asyncio.wait([self._task])
        self._kept = 0

    async def close(self) -> None:
        """End the thread."""
        await self.forget()
        self._thread.shutdown()

    def _append(self, records: list[Record]) -> bool:
        try:
            return self._appended(self._journal.append(records, self._indexed()))
        except Exception as error:
            return self._failed(error)

    async def _append_in_thread(self, records: list[Record]) -> bool:
        append, loop = self._journal.append, asyncio.get_running_loop()
        try:
            last = await loop.run_in_executor(self._thread, append, records, self._indexed())
            return self._appended(last)
        except Exception as error:
            return self._failed(error)
        finally:
            self._task = None

    def _appended(self, last: int) -> bool:
        self._kept = last
        self._failing = False
        return True

    def _failed(self, error: Exception) -> bool:
        if not self._failing:  # said once
            self._failing = True
            logger.error("the order journal could not be written: %r", error)
        return False
