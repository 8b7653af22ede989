"""Tells readers when a stream may have more.

Owns who waits for which log, and who for the global order. Must not know what
they read.
"""

from __future__ import annotations

import asyncio

from hub.engines.base import Committed, Engine


class Waiting:
    """All who wait. A wake-up says that there may be more, not that there is."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._logs: dict[str, set[asyncio.Future[None]]] = {}
        self._order: set[asyncio.Future[None]] = set()
        self._closing = False
        engine.on_commit.append(self._committed)
        engine.on_indexed.append(self._indexed)

    async def for_log(self, name: str) -> None:
        """Wait until something is committed to a log, or the hub closes. Cancelling is safe."""
        if self._closing:
            return
        waiting = self._logs.setdefault(name, set())
        change = asyncio.get_running_loop().create_future()
        waiting.add(change)
        try:
            await change
        finally:
            waiting.discard(change)
            if not waiting and self._logs.get(name) is waiting:
                del self._logs[name]

    async def for_order(self) -> None:
        """Wait until there are new positions, or the hub closes. Cancelling is safe."""
        if self._closing:
            return
        change = asyncio.get_running_loop().create_future()
        self._order.add(change)
        self._engine.follow_order(True)
        try:
            await change
        finally:
            self._engine.follow_order(False)
            self._order.discard(change)

    def look_again(self) -> None:
        """Wake all who wait for the global order: what they follow of it may be gone."""
        _wake(self._order)

    def close(self) -> None:
        """Wake everybody, for the last time."""
        self._closing = True
        for name in tuple(self._logs):
            _wake(self._logs[name])
        _wake(self._order)

    def _committed(self, commit: Committed) -> None:
        waiting = self._logs.get(commit.log.name)
        if waiting:
            _wake(waiting)

    def _indexed(self) -> None:
        if self._order:
            _wake(self._order)


def _wake(waiting: set[asyncio.Future[None]]) -> None:
    for change in waiting:
        if not change.done():
            change.set_result(None)
