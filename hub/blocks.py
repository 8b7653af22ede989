"""Framed blocks of logs, for subscribers that catch up: many go through the same part of a log.

Owns which pieces of logs are held as frames, and where they end. Wherever a reader begins,
the blocks that it asks for soon end at the same places as those of the others: at the last
line before a multiple of a step. So a thousand slow readers cost the reading and framing of
what they read, once. Must not know who reads.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from hub import sse
from hub.engines.base import Engine
from hub.formats import TSV
from hub.lines import lines_of_format

HELD_BYTES = 4 * 1024 * 1024
"""Bytes of frames that are held for whoever comes next."""

MORE_BYTES = 4 * 1024
"""For each reader; if that is more than the above, so much is held for all of them."""

MOST_BYTES = 16 * 1024 * 1024
"""But no more than this."""

HELD_BLOCKS = 4096
"""The same as a number: of one type there may be no frames in a block."""

LEAST = 8
"""A block has at least the 8th part of the size that was asked for, unless the log ends."""

Key = tuple[str, bytes | None, int, int]
"""Log, type (None: all), the place where a block begins, and the one up to which it may go."""

Block = tuple[bytes, int]
"""Frames, and the place behind their events."""


class Blocks:
    """The blocks of all logs of an engine. `readers` tells how many ask for blocks."""

    def __init__(self, engine: Engine, readers: Callable[[], int]) -> None:
        self._engine = engine
        self._readers = readers
        self._held: OrderedDict[Key, Block] = OrderedDict()  # the one used last at the end
        self._size = 0
        self._coming: dict[Key, asyncio.Future[Block]] = {}

    async def read(self, name: str, only: bytes | None, place: int, end: int, size: int) -> Block:
        """The frames of the next whole lines from `place` on, up to about `size` bytes of the log.

        `end` is where the log ends, behind `place`. With `only`, frames of events of that type:
        perhaps none. Does not wait for what is held. Cancelling is safe. Raises `HubError`.
        """
        key = (name, only, place, min(end, _stop(place, size)))
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
            return held
        coming = self._coming.get(key)
        if coming is None:
            coming = self._coming[key] = asyncio.ensure_future(self._frame(key, end))
            coming.add_done_callback(partial(self._hold, key))
        return await asyncio.shield(coming)

    async def _frame(self, key: Key, end: int) -> Block:
        name, only, place, stop = key
        lines = await self._engine.read(name, place, end, stop - place)
        log = self._engine.find(name)
        rows = lines_of_format(log.format if log else TSV, self._engine.keys).rows(lines)
        return sse.frames(rows, only), place + len(lines)

    def _hold(self, key: Key, done: asyncio.Future[Block]) -> None:
        del self._coming[key]
        if done.cancelled() or done.exception():
            return  # told to who waits, if anybody does
        block = done.result()
        self._held[key] = block
        self._size += len(block[0])
        self.shed()

    def shed(self) -> None:
        """Let go what is too much for so many readers."""
        most = max(HELD_BYTES, min(MOST_BYTES, MORE_BYTES * self._readers()))
        while self._size > most or len(self._held) > HELD_BLOCKS:
            _, (frames, _) = self._held.popitem(last=False)
            self._size -= len(frames)


def _stop(place: int, size: int) -> int:
    """The place up to which a block goes: of `size` bytes at most, and a `LEAST`th at least."""
    least = size // LEAST
    step = size - least
    return ((place + least - 1) // step + 1) * step
