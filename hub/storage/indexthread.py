"""The one thread that uses the index while the hub runs.

Owns what is under way there, and when the index's write-ahead log is brought
into it. Must not know what is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hub.storage.index import Index

CHECKPOINT_SECONDS = 1.0
"""At least between two checkpoints: one that readers keep from its end is soon due again."""

T = TypeVar("T")


class IndexThread:
    """A thread for an index; `close` in the end."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub-index")
        self._under_way = 0
        self._checkpoint: asyncio.Task[bool] | None = None
        self._next_checkpoint = 0.0
        self._closing = False

    @property
    def busy(self) -> bool:
        """Whether something is under way: then nobody else may use the index."""
        return self._under_way > 0

    async def do(self, work: Callable[..., T], *args: object) -> T:
        """Do something with the index. Cancelled, it is done all the same."""
        call = asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args))
        self._under_way += 1
        call.add_done_callback(self._done)
        return await asyncio.shield(call)  # the thread goes on, whoever waits no longer

    def _done(self, call: asyncio.Future[T]) -> None:
        self._under_way -= 1
        if not call.cancelled():
            call.exception()  # perhaps nobody else asks for it

    def tidy(self) -> None:
        """Begin a checkpoint if one is due."""
        now = time.monotonic()
        if self._checkpoint or now < self._next_checkpoint or self._closing:
            return
        if self._index.is_long():
            self._next_checkpoint = now + CHECKPOINT_SECONDS
            work = self.do(self._index.checkpoint)
            self._checkpoint = asyncio.get_running_loop().create_task(work)
            self._checkpoint.add_done_callback(self._tidied)

    def _tidied(self, task: asyncio.Task[bool]) -> None:
        self._checkpoint = None

    async def close(self) -> None:
        """Let what is under way end, then the thread."""
        self._closing = True
        if self._checkpoint:
            await asyncio.wait([self._checkpoint])
        self._thread.shutdown()
