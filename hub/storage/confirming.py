"""Tells who commits what became of it, once his position outlasts a crash.

Owns the futures of commits, from when they are stored. Where nothing has to be synced
that takes no task. Must not know how positions are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Protocol

from hub.storage.group import Receipt

Stored = asyncio.Future[Receipt]


class Positions(Protocol):
    """Makes positions outlast a crash: the sequencer."""

    def secure_now(self, position: int) -> bool:
        """Do so if that takes no waiting; else False, and `secure` does it."""

    async def secure(self, position: int) -> None:
        """Wait for it. Raises `IndexFailed`."""


class Confirming:
    """What is stored, and not yet confirmed. `close` it when nothing is stored any more."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions
        self._tasks: set[asyncio.Task[None]] = set()

    def confirmed(self, stored: Stored) -> Stored:
        """A future of the same receipt, when its position may be told.

        It ends with the error of what could not be stored, and with `IndexFailed` where
        the position is not safe: the events are stored all the same. Cancelling is safe.
        """
        told: Stored = asyncio.get_running_loop().create_future()
        stored.add_done_callback(partial(self._confirm, told))
        return told

    async def secured(self, commit: Awaitable[Receipt]) -> Receipt:
        """The same for a commit that takes longer, and is cancelled with who waits for it."""
        receipt = await commit
        await self._positions.secure(receipt.position)
        return receipt

    def _confirm(self, told: Stored, stored: Stored) -> None:
        error = stored.exception()
        if told.done():
            return  # nobody waits for it any more
        if error:
            told.set_exception(error)
        elif self._positions.secure_now((receipt := stored.result()).position):
            told.set_result(receipt)
        else:
            task = asyncio.get_running_loop().create_task(self._secure(told, receipt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _secure(self, told: Stored, receipt: Receipt) -> None:
        try:
            await self._positions.secure(receipt.position)
        except Exception as error:
            if not told.done():
                told.set_exception(error)
        else:
            if not told.done():
                told.set_result(receipt)

    async def close(self) -> None:
        """Wait for what is not yet confirmed."""
        if self._tasks:
            await asyncio.wait(self._tasks)
