"""What subscribers of streams are sent: documents as frames, read once for all of them.

Owns the frames of documents, and the pieces that subscribers at the same place of
the same view share. Must not know who they are.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Struct

from hub.document import Keys, labels_reader
from hub.engines.base import Slice
from hub.errors import HubError
from hub.streams.views import View

PIECE = 256 * 1024
"""Bytes of frames above which a piece takes no more."""

REMEMBERED = 32
"""Pieces kept for others who come to the same place."""

_UNFIT = re.compile("[\r\n\0]")  # what no event's type can hold on the wire


class Framed(Struct, frozen=True):
    """Frames of what follows a number, and the number up to which was looked."""

    frames: bytes
    end: int


class Feed:
    """The pieces that subscribers read."""

    def __init__(self, keys: Keys) -> None:
        self._labels = labels_reader(keys)
        self._pieces: OrderedDict[tuple[str, int], asyncio.Task[Framed]] = OrderedDict()

    def forget(self) -> None:
        """Drop what is remembered: a stream may be another one under its name."""
        self._pieces.clear()

    async def after(self, view: View, place: int, head: int) -> Framed:
        """What follows number `place` of a view, not beyond `head`. Cancelling is safe.

        It may be that nothing does. Raises what reading raises.
        """
        key = (view.key, place)
        task = self._pieces.get(key)
        if task is None or (task.done() and not task.cancelled() and _is_short(task, head)):
            task = asyncio.get_running_loop().create_task(self._read(view, place, head))
            self._pieces[key] = task
            self._pieces.move_to_end(key)
            if len(self._pieces) > REMEMBERED:
                self._pieces.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except HubError:
            if self._pieces.get(key) is task:
                del self._pieces[key]
            raise

    async def _read(self, view: View, place: int, head: int) -> Framed:
        parts: list[bytes] = []
        size, end = 0, place
        reading = view.slices(place + 1, head)
        try:
            async for slices in reading:
                if slices:
                    part = self._frames(slices)
                    parts.append(part)
                    size += len(part)
                    end = slices[-1].number + slices[-1].count - 1
                if size >= PIECE:
                    break
            else:
                end = head
        finally:
            await reading.aclose()  # type: ignore[attr-defined]
        return Framed(b"".join(parts), end)

    def _frames(self, slices: Sequence[Slice]) -> bytes:
        parts: list[bytes] = []
        labels = self._labels
        for each in slices:
            lines = each.lines.split(b"\n")
            lines.pop()
            for number, line in enumerate(lines, each.number):
                kind = labels(line).type
                if b"\r" in line:  # by hand, between its values; here it would be a line's end
                    line = line.replace(b"\r", b" ")
                if kind and not _UNFIT.search(kind):
                    parts.append(b"event: %b\ndata: %b\nid: %d\n\n" % (kind.encode(), line, number))
                else:
                    parts.append(b"data: %b\nid: %d\n\n" % (line, number))
        return b"".join(parts)


def _is_short(task: asyncio.Task[Framed], head: int) -> bool:
    """Whether a piece was read when there was less, and holds nothing of what came since."""
    return task.exception() is not None or (not task.result().frames and task.result().end < head)
