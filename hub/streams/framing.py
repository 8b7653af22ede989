"""Documents as server-sent events: `event` the type, `data` the document, `id` the number.

Owns the frames, and how many of them are made at once. Must not know who gets them.
"""

from __future__ import annotations

import re

from msgspec import Struct

from hub.document import Keys, labels_reader
from hub.engines.base import Slice
from hub.streams.views import View

PIECE = 256 * 1024
"""Bytes of frames above which a piece takes no more."""

_UNFIT = re.compile("[\r\n\0]")  # what no event's type can hold on the wire


class Framed(Struct, frozen=True):
    """Frames of what follows a number, and the number up to which was looked."""

    frames: bytes
    end: int


class Framer:
    """Makes frames of what a view has."""

    def __init__(self, keys: Keys) -> None:
        self._labels = labels_reader(keys)

    async def read(self, view: View, place: int, head: int) -> Framed:
        """A piece of what follows number `place`, not beyond `head`."""
        parts: list[bytes] = []
        size, end = 0, place
        reading = view.slices(place + 1, head)
        try:
            async for part in reading:
                if part.numbers:
                    frames = self._frames(part)
                    parts.append(frames)
                    size += len(frames)
                    end = part.numbers[-1]
                if size >= PIECE:
                    break
            else:
                end = head
        finally:
            await reading.aclose()
        return Framed(b"".join(parts), end)

    def _frames(self, part: Slice) -> bytes:
        frames: list[bytes] = []
        labels = self._labels
        for number, line in part.each():
            kind = labels(line).type
            if b"\r" in line:  # by hand, between its values; here it would be a line's end
                line = line.replace(b"\r", b" ")
            if kind and not _UNFIT.search(kind):
                frames.append(b"event: %b\ndata: %b\nid: %d\n\n" % (kind.encode(), line, number))
            else:
                frames.append(b"data: %b\nid: %d\n\n" % (line, number))
        return b"".join(frames)
