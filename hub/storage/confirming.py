"""Tells who commits what became of it, once his position outlasts a crash.

Owns the futures of commits, from when they are stored. Where nothing has to be synced
that takes no task. Must not know how positions are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from hub.storage.group import Receipt
from hub.storage.log import tell


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
        self._stored: list[tuple[asyncio.Future[Receipt], Receipt]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def confirm(self, told: asyncio.Future[Receipt], receipt: Receipt) -> None:
        """End a future with a receipt once its position may be told.

        Or with `IndexFailed` where the position is not safe: the events are stored all the same.
        """
        if not self._stored:  # what is stored until then goes into the journal together
            asyncio.get_running_loop().call_soon(self._tell)
        self._stored.append((told, receipt))

    def _tell(self) -> None:
        stored, self._stored = self._stored, []
        for told, receipt in stored:
            if self._positions.secure_now(receipt.position):
                tell(told, receipt)
            elif not told.done():  # else nobody waits for it any more
                task = asyncio.get_running_loop().create_task(self._secure(told, receipt))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def secured(self, commit: Awaitable[Receipt]) -> Receipt:
        """The same for a commit that takes longer, and is cancelled with who waits for it."""
        receipt = await commit
        await self._positions.secure(receipt.position)
        return receipt

    async def _secure(self, told: asyncio.Future[Receipt], receipt: Receipt) -> None:
        try:
            await self._positions.secure(receipt.position)
        except Exception as error:
            if not told.done():
                told.set_exception(error)
        else:
            tell(told, receipt)

    async def close(self) -> None:
        """Wait for what is not yet confirmed."""
        self._tell()
        if self._tasks:
            await asyncio.wait(self._tasks)
