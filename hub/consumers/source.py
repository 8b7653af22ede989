"""What consumers need of streams: to read them in pieces, and to wait for more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from hub.streams.views import Piece

__all__ = ["OpenSource", "Piece", "Source"]


class Source(Protocol):
    """A stream, of whatever kind; `hub.streams.View` is one."""

    def head(self) -> int:
        """The number of the last event that there may be."""

    async def settle(self) -> int:
        """The number of the last event, of all that were acknowledged. Cancelling is safe."""

    async def read(self, after: int, limit: int, size: int) -> Piece:
        """About `limit` events with numbers beyond `after`, or `size` bytes; fewer at the end.

        Cancelling is safe.
        """

    async def wait(self, after: int) -> None:
        """Return when there may be events beyond `after`. Cancelling is safe."""


OpenSource = Callable[[str], Awaitable[Source]]
"""From the stream's name, as it stands in the URL; raises `HubError` if there is none."""
